"""Decides which pages of a list to request while it changes, and which to accept. No I/O, no clock, no asyncio.

A page number is an offset into a list that is sorted newest first and changes while it is read: new sessions shift rows
down, deleted ones shift rows up. The `Reconciler` keeps a frontier: the lowest `relative_id` read so far, and the
number of rows at or above it. Page 1 is always accepted, because no row is above it. Any other page is accepted only if
its first `relative_id` is at least `lowest_id - 1`:

    read so far   … 205 204 203 | 202          frontier: lowest_id = 203
    accepted                204 203 202 201    overlaps
    accepted                        202 201    touches: no number is missing in between
    rejected                            200    201 and 202 may exist: step back until a page overlaps

A page has no gaps: it contains every session between its first and its last row that existed when it was requested. So
an accepted page misses no session between the frontier and its last row. This holds whatever was created or deleted
between two requests, and in whatever order the pages were requested, so also for pages that were requested in advance.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from operator import le, neg
from typing import NamedTuple

from ..errors import UnstableListingError
from ..models import Cursor, Session
from .read_ahead import ReadAhead

DOCUMENTED_SIZE = 20
"""The default page size in the API's documentation: every server honours it."""

_MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new before a list is reported as unstable."""

_DENSE = 0.75
"""If a list uses a smaller share of its numbers, its pages overlap by one row: a number that is missing at a page
border looks like a gap, and without a shared row the page is rejected."""


class Window(NamedTuple):
    """One page request."""

    page: int
    per_page: int

    @property
    def start(self) -> int:
        """The offset of its first row."""
        return (self.page - 1) * self.per_page

    @property
    def end(self) -> int:
        """The offset after its last row."""
        return self.page * self.per_page

    @classmethod
    def reaching(cls, offset: int, max_size: int) -> Window:
        """Return the window that contains `offset` and ends as far down as possible, with at most `max_size` rows.

        A window starts at a multiple of its size, so a smaller one may end farther down.
        """
        if offset % max_size == 0:
            return cls(offset // max_size + 1, max_size)
        best, size = cls(offset + 1, 1), max_size
        while offset + size > best.end:  # this size, or a smaller one, may still end farther down
            best = max(best, cls(offset // size + 1, size), key=lambda window: window.end)
            size -= 1
        return best


class ServerTraits:
    """What a client has learned about its server. Shared by all reads of the client.

    Attributes:
        known_size: The largest page size that the server is known to honour.
        cap: The size to which the server cuts larger pages; None if none is known.
        ends_above_one: Whether the last list that was read to its end ended above number 1, because retention deletes
            old sessions. Then a number says little about how many rows remain, and reading ahead starts with one page.
    """

    def __init__(self) -> None:
        self.known_size = DOCUMENTED_SIZE
        self.cap: int | None = None
        self.ends_above_one = False


class Step(NamedTuple):
    """The result of one page.

    Attributes:
        sessions: The new sessions, newest first.
        offset: The number of rows above them.
        duplicates: The number of sessions that were dropped because they had been read before.
        covers: The range of numbers, `(low, high)`, whose existing sessions are all known now; None without a proof.
    """

    sessions: tuple[Session, ...] = ()
    offset: int = 0
    duplicates: int = 0
    covers: tuple[int, int] | None = None


class Reconciler:
    """Plans the requests of one read: `windows` returns the pages to request, `feed` takes the first of them.

    Attributes:
        verified: Whether it is proved so far that no session was missed or repeated. False if a page is out of order.
        is_complete: Whether the list was read to its end, or down to `after` or `since`.

    Args:
        per_page: The page size to request. To overlap, pages of up to 20 rows are requested even if this is smaller.
        traits: What is known of the server; updated here.
        read_ahead: The maximum number of pages to request at once.
        after: Only sessions with a higher `relative_id` are wanted.
        since: Only sessions that were created at this time or later are wanted, and sessions without a date.
        max_sessions: The number of sessions wanted; None for all.
        cursor: The position to resume from; None for the newest session.
        trim: Whether to leave out sessions at or below `after` that arrive on the same page as wanted ones.
    """

    def __init__(
        self,
        *,
        per_page: int,
        traits: ServerTraits,
        read_ahead: int = 1,
        after: int = 0,
        since: datetime | None = None,
        max_sessions: int | None = None,
        cursor: Cursor | None = None,
        trim: bool = True,
    ) -> None:
        self.verified = True
        self.is_complete = False
        self._traits = traits
        self._per_page = per_page
        self._after = after
        self._trim_at = after if trim else 0
        self._since = since
        self._remaining = math.inf if max_sessions is None else max_sessions
        self._lowest_id = cursor.lowest_id if cursor else None
        self._offset = cursor.offset if cursor else 0  # rows at or above `_lowest_id`; an estimate after a jump
        self._accepted_offset = self._offset  # after the last accepted page; a jump moves `_offset` beyond it
        self._overlap = 1 if cursor else 0  # rows by which a window overlaps the one before
        self._density = 1.0  # the share of the numbers on the last accepted page that exist
        self._read_ahead = ReadAhead(read_ahead, start=1 if traits.ends_above_one else read_ahead)
        self._stalled_pages = 0
        self._suspects_cap = False  # whether `_per_page` was lowered, and is not yet known to be the server's cap
        self._planned: list[Window] = []
        self._rejected: tuple[Window, Sequence[Session]] | None = None  # kept until another page closes the gap
        self._seen_ids: set[str] = set()  # used once the list is known to be out of order

    @property
    def is_done(self) -> bool:
        """Whether no more pages are needed."""
        return self.is_complete or self._remaining == 0

    def windows(self) -> Sequence[Window]:
        """Return the pages to request now; `feed` takes the page of the first window."""
        if not self._planned:
            self._planned.append(self._window_at(self._offset - self._overlap))
        end = self._offset + self._expected_rows()
        while len(self._planned) < self._read_ahead.size and self._planned[-1].end < end:
            self._planned.append(self._window_at(self._planned[-1].end - self._overlap))
        return tuple(self._planned)

    def on_bad_request(self) -> bool:
        """Handle a 400 for the first window; return whether a smaller page is worth a request."""
        if self._planned[0].per_page <= DOCUMENTED_SIZE:
            return False
        self._per_page = DOCUMENTED_SIZE
        self._suspects_cap = True
        self._drop_plan()
        return True

    def feed(self, sessions: Sequence[Session]) -> Step:
        """Take the sessions of the first window, and return the new ones.

        Raises:
            UnstableListingError: Too many pages in a row contained nothing new.
        """
        window = self._planned.pop(0)
        before = self._lowest_id, len(self._seen_ids)
        step = self._take_page(window, sessions)
        if (self._lowest_id, len(self._seen_ids)) == before:
            self._count_stalled_page()
            return step
        self._stalled_pages = 0
        if self._rejected and not self.is_done:
            step = self._take_rejected(step, self._rejected)
        return step

    def _count_stalled_page(self) -> None:
        self._stalled_pages += 1
        if self._stalled_pages > _MAX_STALLED_PAGES:
            self._stalled_pages = 0  # a caller may continue to read after the error
            raise UnstableListingError(
                f"{_MAX_STALLED_PAGES} pages in a row contained nothing new: the list changes faster than it can be "
                "read, or the server returns the same page again and again; try later, or use a larger per_page"
            )

    def _window_at(self, offset: int) -> Window:
        size = self._per_page if self._traits.cap is None else min(self._per_page, self._traits.cap)
        if not self.verified:  # without an order, an overlap proves nothing: request the next rows
            return Window(self._offset // size + 1, size)
        # To overlap and still reach a new row, a window needs a size that does not divide the offset. Some size up to
        # 20 does not divide it.
        return Window.reaching(max(offset, 0), max(size, DOCUMENTED_SIZE) if self._overlap else size)

    def _expected_rows(self) -> float:
        """Return an upper bound of the remaining rows, or an estimate if numbers are missing; 0 if it is unknown."""
        if self._lowest_id is None or not self.verified:
            return 0
        return min((self._lowest_id - 1 - self._after) * self._density, self._remaining)

    def _take_page(self, window: Window, sessions: Sequence[Session]) -> Step:
        numbers = [session.relative_id for session in sessions]
        count = len(numbers)
        if self.verified and any(map(le, numbers, numbers[1:])):  # not strictly descending
            self.verified = False
            self._drop_plan()
        # A page that is shorter than a size that the server has honoured is the last one.
        is_end = count < min(window.per_page, self._traits.known_size)
        may_be_capped = not is_end and count < window.per_page
        # A server that cuts pages to its own size counts offsets by that size, too.
        start = (window.page - 1) * count if may_be_capped else window.start
        self._traits.known_size = max(self._traits.known_size, count)
        if not self.verified:
            if may_be_capped:
                self._per_page = count
            return self._take_unordered(sessions, start, is_end=is_end)
        # An empty page touches nothing: the list may have shrunk above it.
        if window.page > 1 and (not numbers or numbers[0] < (self._lowest_id or 0) - 1):
            return self._reject_page(window, sessions)
        return self._accept_page(sessions, numbers, start, is_end=is_end, may_be_capped=may_be_capped)

    def _accept_page(
        self, sessions: Sequence[Session], numbers: Sequence[int], start: int, *, is_end: bool, may_be_capped: bool
    ) -> Step:
        lowest_id, count = self._lowest_id, len(numbers)
        self._offset = self._accepted_offset = start + count
        if count > 1:
            self._density = count / (numbers[0] - numbers[-1] + 1)
        known = 0 if lowest_id is None else bisect_right(numbers, -lowest_id, key=neg)
        high = lowest_id - 1 if lowest_id is not None else max(numbers, default=0)
        if known < count:
            self._advance(numbers[-1], is_mostly_new=known * 2 < count)
        elif lowest_id is not None and numbers:
            self._jump_forward(numbers[-1] - lowest_id)
        if may_be_capped:  # either the end of the list, or a cap: one more page shows which
            self._drop_plan()
            self._per_page, self._suspects_cap, self._overlap = count, True, 1
        low = self._lowest_id or 1
        # A sparse list, such as that of one branch, may end above number 1 without retention: it tells nothing.
        if (is_end or low == 1) and self._density > _DENSE:
            self._traits.ends_above_one = low > 1
        self.is_complete = is_end or low <= self._after + 1 or self._is_older(sessions)
        return self._emit(sessions[known:], start + known, known, (1 if is_end else low, high))

    def _advance(self, lowest_id: int, *, is_mostly_new: bool) -> None:
        """Move the frontier down to a new row."""
        self._lowest_id = lowest_id
        self._overlap = 0 if self._density > _DENSE else 1
        if is_mostly_new:
            self._read_ahead.grow()
        else:
            self._read_ahead.shrink()
        if self._suspects_cap:
            self._suspects_cap = False
            self._traits.cap = self._per_page

    def _jump_forward(self, distance: int) -> None:
        """Skip rows after a page that had no row below the frontier: the list has grown."""
        self._drop_plan()
        # If the density is an estimate, jump a little less: a jump that is too short costs one request, one that is too
        # long (`_reject_page` finds this out) costs several.
        share = 1.0 if self._density == 1 else 0.9 * self._density
        self._offset += int(distance * share)
        self._overlap = 1

    def _reject_page(self, window: Window, sessions: Sequence[Session]) -> Step:
        """Step back, farther each time. Keep one rejected page: it may be accepted after another has closed the gap."""
        if self._rejected or not sessions:
            self._drop_plan()
        else:
            self._rejected = window, sessions
            self._read_ahead.shrink()
        if self._offset > self._accepted_offset:  # the jump was too long: halve it
            self._offset = max(self._accepted_offset, (self._accepted_offset + window.start) // 2)
            self._overlap = 1
        else:
            self._overlap = max(self._overlap * 4, 1)
        self._planned.insert(0, self._window_at(self._offset - self._overlap))
        return Step()

    def _take_rejected(self, step: Step, rejected: tuple[Window, Sequence[Session]]) -> Step:
        """Take the rejected page again, now that `step` has moved the frontier. Return both as one step."""
        self._rejected = None
        more = self._take_page(*rejected)
        upper, lower = step.covers, more.covers
        if upper and lower and lower[1] + 1 >= upper[0]:
            upper = lower[0], upper[1]
        return Step(
            sessions=step.sessions + more.sessions,
            offset=step.offset,
            duplicates=step.duplicates + more.duplicates,
            covers=upper,
        )

    def _take_unordered(self, sessions: Sequence[Session], start: int, *, is_end: bool) -> Step:
        """Take a page of a list that is out of order: all sessions not seen before. A short page ends the list."""
        # The sessions at or above the frontier were read while the list was in order; `_seen_ids` does not have them.
        new = {
            session.id: session
            for session in sessions
            if session.id not in self._seen_ids and (self._lowest_id is None or session.relative_id < self._lowest_id)
        }
        self._seen_ids.update(new)
        self._offset = start + len(sessions)
        self.is_complete = is_end or not sessions
        return self._emit(tuple(new.values()), start, len(sessions) - len(new), None)

    def _emit(self, new: Sequence[Session], offset: int, duplicates: int, covers: tuple[int, int] | None) -> Step:
        """Return a step with the wanted ones of the new sessions. It covers no number that was left out."""
        wanted, lowest_covered = new, self._trim_at + 1
        if self._trim_at:
            wanted = [session for session in wanted if session.relative_id > self._trim_at]
        if self._since is not None:
            old = [session.relative_id for session in wanted if _is_before(session, self._since)]
            lowest_covered = max(lowest_covered, max(old, default=0) + 1)
            wanted = [session for session in wanted if not _is_before(session, self._since)]
        if len(wanted) > self._remaining:
            wanted = wanted[: int(self._remaining)]
            self.is_complete = False  # the limit was reached before the end
            lowest_covered = max(lowest_covered, wanted[-1].relative_id)
        self._remaining -= len(wanted)
        if covers:
            low, high = max(covers[0], lowest_covered), covers[1]
            covers = (low, high) if low <= high else None
        return Step(tuple(wanted), offset, duplicates, covers)

    def _is_older(self, sessions: Sequence[Session]) -> bool:
        """Return whether a page is entirely older than `since`."""
        since = self._since
        return since is not None and bool(sessions) and all(_is_before(session, since) for session in sessions)

    def _drop_plan(self) -> None:
        """Drop the planned windows and the rejected page, which are outdated."""
        self._planned.clear()
        self._rejected = None
        self._read_ahead.reset()


def _is_before(session: Session, time: datetime) -> bool:
    return session.create_date is not None and session.create_date < time
