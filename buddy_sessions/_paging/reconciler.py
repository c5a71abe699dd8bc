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

Two things can break this proof, and are checked. A server may end the list early: a page with fewer rows than requested
usually is the last one, but the server may have cut it to a smaller size, or may have filtered its rows (`_EndCheck`).
And the list may be out of order: then a page contradicts itself, or the rows that were read before (`RecentRows`).
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
from .recent_rows import RecentRows
from .server_traits import ServerTraits
from .window import DOCUMENTED_SIZE, Window

__all__ = ["DOCUMENTED_SIZE", "MAX_UNORDERED_SESSIONS", "Reconciler", "ServerTraits", "Step", "Window"]

_MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new before a list is reported as unstable."""

MAX_UNORDERED_SESSIONS = 1_000_000
"""The number of sessions after which a list that is out of order is reported as unstable: it may never end."""

_MAX_OFFSET = 10**9
"""A cursor's offset is a hint, which may be wrong. Servers refuse page numbers that are too high."""

_DENSE = 0.75
"""If a list uses a smaller share of its numbers, its pages overlap by one row: a number that is missing at a page
border looks like a gap, and without a shared row the page is rejected."""

_LONG_LIST = 50
"""The number of pages from which on the end of a list is always checked."""

_MAX_END_CHECKS = 3
"""The number of attempts to check one end. An attempt is inconclusive if many rows are created or deleted meanwhile."""


class Step(NamedTuple):
    """The result of one page.

    Attributes:
        sessions: The new sessions, newest first.
        offset: The number of rows above them.
        duplicates: The number of sessions that were dropped because they had been read before.
        covers: The range of numbers, `(low, high)`, whose existing sessions are all known now; None without a proof. It
            reaches below the last row only if the end of the list was checked.
    """

    sessions: tuple[Session, ...] = ()
    offset: int = 0
    duplicates: int = 0
    covers: tuple[int, int] | None = None


class _EndCheck(NamedTuple):
    """A check whether a short page is the end of the list: two requests that must show no row below the frontier.

    Attributes:
        rows: The number of rows of the short page.
        next_page: The page after it, of the same size. It has the rows that a filter has displaced. The other request,
            of at most 20 rows around the last row, has the rows that follow if the server has cut the page.
    """

    rows: int
    next_page: Window


class Reconciler:
    """Plans the requests of one read: `windows` returns the pages to request, `feed` takes the first of them.

    Attributes:
        verified: Whether no session was missed or repeated so far. False if the list is out of order.
        is_complete: Whether the list was read to its end, or down to `after` or `since`.

    Args:
        per_page: The page size to request. To overlap, pages of up to 20 rows are requested even if this is smaller.
        traits: What is known of the server; updated here.
        read_ahead: The maximum number of pages to request at once.
        first_read_ahead: The maximum until useful pages have raised it: the list may be shorter than its numbers say.
            None for `read_ahead`.
        after: Only sessions with a higher `relative_id` are wanted.
        since: Only sessions that were created at this time or later are wanted, and sessions without a date.
        max_sessions: The number of sessions wanted; None for all.
        cursor: The position to resume from; None for the newest session.
        trim: Whether to leave out sessions at or below `after` that arrive on the same page as wanted ones.
        check_end: Whether to check the end of the list in any case, unless it is number 1.
    """

    def __init__(
        self,
        *,
        per_page: int,
        traits: ServerTraits,
        read_ahead: int = 1,
        first_read_ahead: int | None = None,
        after: int = 0,
        since: datetime | None = None,
        max_sessions: int | None = None,
        cursor: Cursor | None = None,
        trim: bool = True,
        check_end: bool = False,
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
        # The number of rows at or above `_lowest_id`; an estimate after a jump
        self._offset = min(cursor.offset, _MAX_OFFSET) if cursor else 0
        self._accepted_offset = self._offset  # after the last accepted page; a jump moves `_offset` beyond it
        self._overlap = 1 if cursor else 0  # rows by which a window overlaps the one before
        self._density = 1.0  # the share of the numbers on the last accepted page that exist
        self._read_ahead = (
            ReadAhead(read_ahead, start=min(read_ahead, first_read_ahead or read_ahead))
            if traits.retained_rows is None
            else ReadAhead(read_ahead, start=1, delay=3)
        )
        self._check_end = check_end
        self._end_check: _EndCheck | None = None
        self._end_checks = 0  # since the last new row
        self._stalled_pages = 0
        self._suspects_cap = False  # whether `_per_page` was lowered, and is not yet known to be the server's cap
        self._planned: list[Window] = []
        self._early: set[Window] = set()  # planned before the last of the recent rows were read
        self._rejected: tuple[Window, Sequence[Session]] | None = None  # kept until another page closes the gap
        self._recent = RecentRows()
        self._has_looked_above = False  # since the last new row
        self._seen_ids: set[str] = set()  # used once the list is known to be out of order

    @property
    def is_done(self) -> bool:
        """Whether no more pages are needed."""
        return self.is_complete or self._remaining == 0

    def windows(self, limit: float = math.inf) -> Sequence[Window]:
        """Return the pages to request now; `feed` takes the page of the first window.

        Args:
            limit: The maximum number of windows, at least 1. Those that were returned before are kept.
        """
        if not self._planned:
            self._planned.append(self._window_at(self._offset - self._overlap))
        end = self._offset + self._expected_rows()
        limit = min(limit, self._read_ahead.size)
        while len(self._planned) < limit and self._planned[-1].end < end:
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
            UnstableListingError: Too many pages in a row contained nothing new, or the list is out of order and has
                more than 1,000,000 sessions.
        """
        window = self._planned.pop(0)
        before = self._lowest_id, len(self._seen_ids)
        is_early = window in self._early
        self._early.discard(window)
        step = self._take_page(window, sessions, is_early=is_early)
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

    @property
    def _page_size(self) -> int:
        return self._per_page if self._traits.cap is None else min(self._per_page, self._traits.cap)

    def _window_at(self, offset: int) -> Window:
        size = self._page_size
        if not self.verified:  # without an order, an overlap proves nothing: request the next rows
            return Window(self._offset // size + 1, size)
        # To overlap and still reach a new row, a window needs a size that does not divide the offset. Some size up to
        # 20 does not divide it.
        return Window.reaching(max(offset, 0), max(size, DOCUMENTED_SIZE) if self._overlap else size)

    def _expected_rows(self) -> float:
        """Return an upper bound of the remaining rows, or an estimate if numbers are missing; 0 if it is unknown."""
        if self._lowest_id is None or not self.verified:
            return 0
        rows = min((self._lowest_id - 1 - self._after) * self._density, self._remaining)
        retained = self._traits.retained_rows
        return rows if retained is None or self._offset > retained else min(rows, retained - self._offset)

    def _take_page(self, window: Window, sessions: Sequence[Session], *, is_early: bool) -> Step:
        numbers = [session.relative_id for session in sessions]
        count = len(numbers)
        if self.verified:
            if any(map(le, numbers, numbers[1:])):  # not strictly descending
                self._lose_order()
            elif self._recent.are_contradicted_by(sessions):
                if is_early:  # it proves nothing: the row may have been deleted before the recent rows were requested
                    self._drop_plan()
                    return Step()
                self._lose_order()
        # A page that is shorter than a size that the server has honoured is probably the last one. Any other short page
        # may be cut to a size that is not known yet.
        is_short = count < window.per_page
        may_be_capped = is_short and count >= self._traits.known_size
        # A server that cuts pages to its own size counts offsets by that size, too.
        start = (window.page - 1) * count if may_be_capped else window.start
        self._traits.known_size = max(self._traits.known_size, count)
        is_end = is_short and not may_be_capped
        if not self.verified:
            if may_be_capped:
                self._per_page = count
            end = start + count if self._traits.trusts_short_pages else window.end
            return self._take_unordered(sessions, start, end, is_end=is_end)
        if self._end_check and (step := self._take_end_check(self._end_check, window, sessions)):
            return step
        if not self._touches_frontier(window, numbers):
            return self._reject_page(window, sessions)
        if window.page > 1 and not self._has_looked_above and self._recent.are_skipped_by(numbers):
            # They were all deleted, or the first row has moved down to a page border: look at the rows above it.
            self._has_looked_above = True
            self._drop_plan()
            self._planned.append(Window.around(window.start, DOCUMENTED_SIZE))
            return Step()
        return self._accept_page(window, sessions, numbers, start, is_end=is_end, may_be_capped=may_be_capped)

    def _touches_frontier(self, window: Window, numbers: Sequence[int]) -> bool:
        """Return whether there is no gap between the frontier and a page.

        An empty page touches nothing: the list may have shrunk above it.
        """
        if window.page == 1:
            return True
        return self._lowest_id is not None and bool(numbers) and numbers[0] >= self._lowest_id - 1

    def _accept_page(
        self,
        window: Window,
        sessions: Sequence[Session],
        numbers: Sequence[int],
        start: int,
        *,
        is_end: bool,
        may_be_capped: bool,
    ) -> Step:
        lowest_id, count = self._lowest_id, len(numbers)
        self._offset = self._accepted_offset = start + count
        if count > 1:
            self._density = count / (numbers[0] - numbers[-1] + 1)
        known = 0 if lowest_id is None else bisect_right(numbers, -lowest_id, key=neg)
        high = lowest_id - 1 if lowest_id is not None else max(numbers, default=0)
        if known < count:
            self._recent.add(sessions[known:])
            self._early = set(self._planned)
            self._advance(numbers[-1], is_mostly_new=known * 2 < count)
        elif lowest_id is not None and numbers:
            self._jump_forward(numbers[-1] - lowest_id)
        if may_be_capped:  # either the end of the list, or a cap: one more page shows which
            self._drop_plan()
            self._per_page, self._suspects_cap, self._overlap = count, True, 1
        low = self._lowest_id
        number_above = numbers[-2] if count > 1 else lowest_id
        if low == 1 and not self._after and not is_end and number_above != 2:
            self._overlap = 1  # the page ends in 3, 1: one more page shows whether 2 exists
        elif (low is not None and low <= self._after + 1) or self._is_older(sessions):
            self._finish(is_end=is_end)
        elif is_end and not self._needs_end_check(numbers):
            self._finish(is_end=True)
        elif is_end:
            self._start_end_check(_EndCheck(count, Window(window.page + 1, window.per_page)))
        return self._emit(sessions[known:], start + known, known, None if low is None else (low, high))

    def _finish(self, *, is_end: bool) -> None:
        """Complete the read.

        Args:
            is_end: Whether this is the end of the list.
        """
        self.is_complete = True
        # A sparse list, such as that of one branch, may end above number 1 without retention: it tells nothing.
        if self._lowest_id is not None and (is_end or self._lowest_id == 1) and self._density > _DENSE:
            self._traits.retained_rows = self._accepted_offset if self._lowest_id > 1 else None

    def _needs_end_check(self, numbers: Sequence[int]) -> bool:
        """Return whether to check the end that a short page seems to show."""
        if self._end_checks:
            return self._end_checks < _MAX_END_CHECKS
        is_due = self._traits.count_short_end()
        is_long = self._accepted_offset > (_LONG_LIST - 1) * self._page_size
        # The lowest row may have been deleted. Or the server counts offsets by a smaller size.
        is_above_frontier = self._lowest_id is not None and numbers[-1:] != [self._lowest_id]
        return is_due or is_long or is_above_frontier or self._check_end or not self._traits.trusts_short_pages

    def _start_end_check(self, check: _EndCheck) -> None:
        self._drop_plan()
        self._end_check = check
        self._end_checks += 1
        self._planned = [Window.around(self._accepted_offset, DOCUMENTED_SIZE), check.next_page]

    def _take_end_check(self, check: _EndCheck, window: Window, sessions: Sequence[Session]) -> Step | None:
        """Take a page of the end check; return None if it must be taken like any other page, without a check."""
        count = len(sessions)
        touches = self._touches_frontier(window, [session.relative_id for session in sessions])
        is_next_page = window == check.next_page
        if sessions and (self._lowest_id is None or sessions[-1].relative_id < self._lowest_id):
            self._on_false_end(check)
            if is_next_page and not touches:
                # A filter has hidden rows of the short page: look at the rows around its end.
                self._rejected = window, sessions
                self._planned.append(Window.around(window.start, max(self._page_size, DOCUMENTED_SIZE)))
                return Step()
            return None
        is_conclusive = (not sessions) if is_next_page else (touches and count < window.per_page)
        if not is_conclusive:  # many rows were created or deleted meanwhile
            self._drop_plan()
            return None
        if self._planned:
            return Step(duplicates=count)
        self._finish(is_end=True)
        return self._emit((), self._accepted_offset, count, (1, (self._lowest_id or 1) - 1))

    def _on_false_end(self, check: _EndCheck) -> None:
        """Stop to trust short pages: there are rows below the frontier."""
        self._drop_plan()
        self._check_end = True
        self._end_checks = 0
        if self._lowest_id is not None:  # otherwise, the list was empty, and the rows may be new
            self._traits.trusts_short_pages = False
            self._per_page = min(self._per_page, max(check.rows, DOCUMENTED_SIZE))
            self._overlap = 1

    def _advance(self, lowest_id: int, *, is_mostly_new: bool) -> None:
        """Move the frontier down to a new row."""
        self._lowest_id = lowest_id
        self._end_checks = 0
        self._has_looked_above = False
        may_be_end = self._offset == self._traits.retained_rows  # and an empty page would prove nothing
        is_doubtful = may_be_end or self._density <= _DENSE or not self._traits.trusts_short_pages
        self._overlap = 1 if is_doubtful else 0
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
        more = self._take_page(*rejected, is_early=True)
        upper, lower = step.covers, more.covers
        if upper and lower and lower[1] + 1 >= upper[0]:
            upper = lower[0], upper[1]
        return Step(
            sessions=step.sessions + more.sessions,
            offset=step.offset,
            duplicates=step.duplicates + more.duplicates,
            covers=upper,
        )

    def _lose_order(self) -> None:
        """Read on without an order: from now on, sessions are recognised by their ids."""
        self.verified = False
        self._seen_ids.update(self._recent.ids)
        self._drop_plan()

    def _take_unordered(self, sessions: Sequence[Session], start: int, end: int, *, is_end: bool) -> Step:
        """Take a page of a list that is out of order: all sessions not seen before. A short page ends the list.

        A session that was read before the recent rows is repeated if it is listed again: its id is not known any more.
        """
        new = {session.id: session for session in sessions if session.id not in self._seen_ids}
        self._seen_ids.update(new)
        if len(self._seen_ids) > MAX_UNORDERED_SESSIONS:
            raise UnstableListingError(
                f"the list is out of order and has more than {MAX_UNORDERED_SESSIONS:,} sessions: it may never end"
            )
        self._offset = end
        self.is_complete = not sessions or (is_end and self._traits.trusts_short_pages)
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
        """Drop the planned windows, the rejected page and the end check, which are outdated."""
        self._planned.clear()
        self._end_check = None
        self._rejected = None
        self._read_ahead.reset()


def _is_before(session: Session, time: datetime) -> bool:
    return session.create_date is not None and session.create_date < time
