"""The walk through a list that moves while it is read, as a pure state machine: no I/O, no clock, no asyncio.

A page number over a newest-first list is an offset into something that changes. `Walk` therefore keeps the lowest
`relative_id` that is covered, and takes a page only with a proof that nothing lies between: its first session is no
further down than the next number. That holds whatever was created or deleted meanwhile, and in whatever order the
pages were read, so it also certifies pages that were read ahead. Without the proof the walk steps back until a page
overlaps what is covered.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from operator import le, neg
from typing import NamedTuple

from .errors import UnstableListingError
from .models import Cursor, Session

DOCUMENTED_SIZE = 20
"""The page size that the API's documentation gives as its default, so that every server honours it."""

_PATIENCE = 100
"""Reads in a row that may bring nothing new before a list counts as unstable."""

_SPARSE = 0.75
"""The share of numbers in use below which pages are asked for with an overlap: a hole at their border is likely."""


class Window(NamedTuple):
    """A page to ask for."""

    page: int
    per_page: int

    @property
    def start(self) -> int:
        """The first place of the list that it shows, from 0."""
        return (self.page - 1) * self.per_page

    @property
    def end(self) -> int:
        """The place after its last."""
        return self.page * self.per_page

    @classmethod
    def reaching(cls, place: int, largest: int) -> Window:
        """Return the page that starts at `place` or before, and reaches farthest."""
        if place % largest == 0:
            return cls(place // largest + 1, largest)
        best, size = cls(place + 1, 1), largest
        while place + size > best.end:  # a smaller size may yet reach farther
            best = max(best, cls(place // size + 1, size), key=lambda window: window.end)
            size -= 1
        return best


class ServerTraits:
    """What a client has learnt of its server. Shared by all its walks.

    Attributes:
        honoured: The largest page size that is known to be served whole.
        limit: The size to which the server cuts larger ones; None while none is known.
        trimmed: Whether the last list walked to its end ended above number 1. Then numbers foretell no more than a
            bound of what is left, and reading ahead starts small.
    """

    def __init__(self) -> None:
        self.honoured = DOCUMENTED_SIZE
        self.limit: int | None = None
        self.trimmed = False


class Step(NamedTuple):
    """What one page brought.

    Attributes:
        sessions: What is new, newest first.
        place: How many places of the list lie above them.
        duplicates: How many sessions were dropped because they had come before.
        covers: The numbers that are settled by it, `(low, high)`; None without a proof.
    """

    sessions: tuple[Session, ...] = ()
    place: int = 0
    duplicates: int = 0
    covers: tuple[int, int] | None = None


class Walk:
    """The walk as a pure state machine: `wanted` says which pages to read, `feed` takes the first of them.

    Args:
        per_page: The page size to ask for.
        traits: What is known of the server, and is learnt here.
        read_ahead: How many pages to want at once, at most.
        since: Only sessions with a higher `relative_id` are wanted.
        most: How many sessions are wanted, at most; None for all.
        start: Where to go on; None for the newest session.
        trim: Whether steps leave out what lies at or below `since`; else they bring, and cover, all that came with it.
    """

    def __init__(
        self,
        *,
        per_page: int,
        traits: ServerTraits,
        read_ahead: int = 1,
        since: int = 0,
        most: int | None = None,
        start: Cursor | None = None,
        trim: bool = True,
    ) -> None:
        self.certified = True
        self.complete = False
        """Whether the list was walked to its end, or down to `since`."""
        self._traits = traits
        self._per_page = per_page
        self._since = since
        self._floor = since if trim else 0
        self._left = math.inf if most is None else most
        self._below = start.below if start else None
        self._place = start.place if start else 0
        self._anchor = self._place  # the place after the last page with a proof, before any leap
        self._overlap = 1 if start else 0
        self._density = 1.0
        self._read_ahead = read_ahead
        self._width = 1 if traits.trimmed else read_ahead
        self._stalled = 0
        self._unproved = False  # whether `per_page` was just lowered, and not yet seen to be the server's limit
        self._plan: list[Window] = []
        self._held: tuple[Window, Sequence[Session]] | None = None
        self._seen: set[str] = set()  # ids, once the list is known not to be in order

    @property
    def done(self) -> bool:
        """Whether nothing more is wanted."""
        return self.complete or self._left == 0

    def wanted(self) -> Sequence[Window]:
        """Return the pages to read now, the one to feed first ahead."""
        if not self._plan:
            self._plan.append(self._next(self._place - self._overlap))
        while len(self._plan) < self._width and self._plan[-1].end < self._place + self._expected():
            self._plan.append(self._next(self._plan[-1].end - self._overlap))
        return self._plan

    def refused(self) -> bool:
        """Take note that the first page wanted was refused with 400; return whether a smaller one is wanted now."""
        if self._plan[0].per_page <= DOCUMENTED_SIZE:
            return False
        self._per_page = DOCUMENTED_SIZE
        self._unproved = True
        self._forget()
        return True

    def feed(self, sessions: Sequence[Session]) -> Step:
        """Take the sessions of the first page wanted; return what is new.

        Raises:
            UnstableListingError: Too many pages in a row have brought nothing new.
        """
        window = self._plan.pop(0)
        step = self._take(window, sessions)
        if self._held and step.sessions and not self.done:
            step = self._take_held(step, self._held)
        if step.sessions:
            self._stalled = 0
        else:
            self._stalled += 1
            if self._stalled > _PATIENCE:
                self._stalled = 0
                raise UnstableListingError(
                    f"{_PATIENCE} pages in a row brought nothing new: the list changes faster than it can be read, "
                    "or the same page is served again and again; try later, or with a larger per_page"
                )
        return step

    def _next(self, place: int) -> Window:
        size = self._per_page if self._traits.limit is None else min(self._per_page, self._traits.limit)
        if not self.certified:
            return Window(self._place // size + 1, size)
        # Among the sizes up to the documented one, one overlaps and still goes on; among fewer, none may.
        return Window.reaching(max(place, 0), max(size, DOCUMENTED_SIZE) if self._overlap else size)

    def _expected(self) -> float:
        """Return how many more places there are, as far as can be foretold."""
        if self._below is None or not self.certified:
            return 0
        return min((self._below - 1 - self._since) * self._density, self._left)

    def _take(self, window: Window, sessions: Sequence[Session]) -> Step:
        numbers = [session.relative_id for session in sessions]
        count = len(numbers)
        if self.certified and any(map(le, numbers, numbers[1:])):
            self.certified = False
            self._forget()
        ended = count < min(window.per_page, self._traits.honoured)
        doubtful = not ended and count < window.per_page
        # Where the server cut the page to its own size, it counted the places by that size too.
        start = (window.page - 1) * count if doubtful else window.start
        self._traits.honoured = max(self._traits.honoured, count)
        if not self.certified:
            if doubtful:
                self._per_page = count
            return self._take_unproved(sessions, start, ended=ended)
        if window.page > 1 and (not numbers or numbers[0] < (self._below or 0) - 1):
            return self._refuse(window, sessions)
        return self._accept(sessions, numbers, start, ended=ended, doubtful=doubtful)

    def _accept(
        self, sessions: Sequence[Session], numbers: Sequence[int], start: int, *, ended: bool, doubtful: bool
    ) -> Step:
        below, count = self._below, len(numbers)
        self._place = self._anchor = start + count
        if count > 1:
            self._density = count / (numbers[0] - numbers[-1] + 1)
        known = 0 if below is None else bisect_right(numbers, -below, key=neg)
        high = below - 1 if below is not None else max(numbers, default=0)
        if known < count:
            self._below = numbers[-1]
            self._overlap = 0 if self._density > _SPARSE else 1
            self._width = min(self._width + 1, self._read_ahead) if known * 2 < count else max(self._width // 2, 1)
            if self._unproved:
                self._unproved = False
                self._traits.limit = self._per_page
        elif below is not None and numbers:  # the list has grown: leap forward, which the next proof checks
            self._forget()
            # Where the density is a guess, rather too short: another leap costs one request, a search several.
            share = 1.0 if self._density == 1 else 0.9 * self._density
            self._place += int((numbers[-1] - below) * share)
            self._overlap = 1
        if doubtful:  # the end, or a size cut by the server: one more page tells
            self._forget()
            self._per_page, self._unproved, self._overlap = count, True, 1
        low = self._below or 1
        if (ended or low == 1) and self._density > _SPARSE:
            self._traits.trimmed = low > 1
        self.complete = ended or low <= self._since + 1
        low = 1 if ended else low
        return self._emit(sessions[known:], start + known, known, (low, high))

    def _refuse(self, window: Window, sessions: Sequence[Session]) -> Step:
        """Step back, further each time; keep the page once, to be taken when another has closed the gap."""
        if self._held or not sessions:
            self._forget()
        else:
            self._held = window, sessions
            self._width = max(self._width // 2, 1)
        if self._place > self._anchor:  # leapt too far: what follows lies between
            self._place = max(self._anchor, (self._anchor + window.start) // 2)
            self._overlap = 1
        else:
            self._overlap = self._overlap * 4 or 1
        self._plan.insert(0, self._next(self._place - self._overlap))
        return Step()

    def _take_held(self, step: Step, held: tuple[Window, Sequence[Session]]) -> Step:
        """Take the page that was kept, after `step` has come nearer to it; return both as one step."""
        window, sessions = held
        self._held = None
        more = self._take(window, sessions)
        return Step(
            step.sessions + more.sessions,
            step.place,
            step.duplicates + more.duplicates,
            (more.covers[0], step.covers[1]) if step.covers and more.covers else step.covers,
        )

    def _take_unproved(self, sessions: Sequence[Session], start: int, *, ended: bool) -> Step:
        """Take a page of a list that is not in order, by the plain rule: all that was not seen, until a short page."""
        fresh = {
            session.id: session
            for session in sessions
            if session.id not in self._seen and (self._below is None or session.relative_id < self._below)
        }
        self._seen.update(fresh)
        self._place = start + len(sessions)
        self.complete = ended or not sessions
        return self._emit(tuple(fresh.values()), self._place, len(sessions) - len(fresh), None)

    def _emit(self, fresh: Sequence[Session], place: int, duplicates: int, covers: tuple[int, int] | None) -> Step:
        """Return a step of what is wanted among `fresh`: the floor and the number still wanted cut it at its end."""
        if self._floor:
            fresh = [session for session in fresh if session.relative_id > self._floor]
        if len(fresh) > self._left:
            fresh = fresh[: int(self._left)]
            self.complete = False
            covers = covers and (fresh[-1].relative_id, covers[1])
        self._left -= len(fresh)
        if covers:
            low, high = max(covers[0], self._floor + 1), covers[1]
            covers = (low, high) if low <= high else None
        return Step(tuple(fresh), place, duplicates, covers)

    def _forget(self) -> None:
        """Drop what was planned: it is stale."""
        self._plan.clear()
        self._held = None
        self._width = 1
