"""Decides which pages of a list to request while it changes, and which to accept. No I/O, no clock, no asyncio.

`Frontier` proves that an accepted page misses no session: read that module first. `Pacing` estimates which pages to
request next; a wrong estimate costs requests, no session. The `Reconciler` joins them, and adds what the proof leaves
open:

- Where the list ends: at `relative_id` 1; if some are missing above it, one page later. A page with fewer rows than
  requested usually is the last one, too, but the server may have cut or filtered it. `_EndCheck` finds out.
- A list that is out of order. It is read with deduplication by id, and the read is not verified.
- A list that changes faster than it can be read, or that never ends: `check_stability`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UnstableListingError
from ..models import Session
from .frontier import Accepted, Frontier, Gap, Outdated, Skipped, Unordered
from .pacing import Pacing
from .scope import PageResult, ReadScope, ReadSpec
from .window import DOCUMENTED_SIZE, PageLength, ServerLimits, Window

MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new."""

MAX_ROWS_BY_ID = 1_000_000
"""The number of rows of a list without an order, whose rows can only be recognised by their ids: it may never end."""

_LONG_LIST = 50
"""The end of a list of at least so many pages is always checked."""

_MAX_END_CHECKS = 3
"""The number of attempts to check one end. An attempt is inconclusive if many rows are created or deleted meanwhile."""


class _EndCheck(NamedTuple):
    """A check whether a short page is the end of the list: two requests that must show no row below the frontier.

    The page after it, of the same size, has the rows that a filter has displaced. The other request, of at most 20 rows
    around the last row, has the rows that follow if the server has cut the page.
    """

    rows: int  # of the short page
    last_id: int  # the `relative_id` of its last row, 0 if it is empty: a lower one shows that it is not the end
    next_page: Window


class Reconciler:
    """Plans the requests of one read: `windows` returns the pages to request, `accept_page` takes the first of them.

    `per_page` and `read_ahead` replace those of the spec. `first_read_ahead` is the maximum of pages at once until
    useful pages have raised it: the list may be shorter than its first `relative_id` says.

    `verified` is False if the list is out of order, or its end is in doubt: the server has shortened a page, and no
    check could confirm the end. `is_complete`: the list was read to its end, or down to `after` or `since`.
    """

    def __init__(
        self,
        spec: ReadSpec,
        *,
        per_page: int,
        limits: ServerLimits,
        read_ahead: int = 1,
        first_read_ahead: int | None = None,
    ) -> None:
        self.verified = True
        self.is_complete = False
        self._limits = limits
        self._scope = ReadScope(spec)
        self._frontier = Frontier(spec.cursor)
        self._pacing = Pacing(
            per_page,
            limits,
            offset=self._frontier.offset,
            overlap=1 if spec.cursor else 0,
            read_ahead=min(read_ahead, first_read_ahead or read_ahead),
            max_read_ahead=read_ahead,
        )
        self._planned: list[Window] = []
        self._requested_before_last_accept: set[Window] = set()
        self._rejected: tuple[Window, Sequence[Session]] | None = None  # kept until another page closes the gap
        self._check_end = spec.check_end
        self._end_check: _EndCheck | None = None
        self._end_checks = 0  # since the last new row
        self._stalled_pages = 0
        self._seen_ids: set[str] = set()  # used once the list is known to be out of order

    @property
    def is_done(self) -> bool:
        """Whether no more pages are needed."""
        return self.is_complete or self._scope.remaining == 0

    def windows(self, limit: float = math.inf) -> Sequence[Window]:
        """Return the pages to request now: at most `limit`, and those that were returned before."""
        pacing, lowest_id = self._pacing, self._frontier.lowest_id
        if not self._planned:
            self._planned.append(pacing.window_at(pacing.offset) if self.verified else pacing.unordered_window())
        if self.verified and lowest_id is not None:
            end = pacing.expected_end(lowest_id - 1 - self._scope.after, self._scope.remaining)
            limit = min(limit, pacing.read_ahead)
            while len(self._planned) < limit and self._planned[-1].end < end:
                self._planned.append(pacing.window_at(self._planned[-1].end))
        return tuple(self._planned)

    def on_bad_request(self) -> bool:
        """Handle a 400 for the first window; return whether a smaller page is worth a request."""
        if not self._pacing.page_size.refuse(self._planned[0]):
            return False
        self._drop_plan()
        return True

    def accept_page(self, sessions: Sequence[Session]) -> PageResult:
        """Take the sessions of the first window, and return the new ones. Raises what `check_stability` does."""
        window = self._planned.pop(0)
        is_outdated = window in self._requested_before_last_accept
        self._requested_before_last_accept.discard(window)
        before = self._frontier.lowest_id, len(self._seen_ids)
        result = self._take_page(window, sessions, is_outdated=is_outdated)
        has_new = before != (self._frontier.lowest_id, len(self._seen_ids))
        self._stalled_pages = 0 if has_new else self._stalled_pages + 1
        check_stability("sessions", stalled_pages=self._stalled_pages, rows_by_id=len(self._seen_ids))
        if not has_new:
            return result
        if self._rejected and not self.is_done:
            result = self._take_rejected(result, self._rejected)
        if self._scope.is_exceeded:
            self.is_complete = False  # the limit was reached before the end
        return result

    def _take_page(self, window: Window, sessions: Sequence[Session], *, is_outdated: bool) -> PageResult:
        length = self._limits.classify(window, len(sessions))
        if not self.verified:
            return self._take_unordered(window, sessions, length)
        check = self._frontier.check(window, sessions, requested_before_last_accept=is_outdated)
        if self._end_check and not isinstance(check, Outdated | Unordered):
            # A row of a page that was requested earlier may have been deleted before the short page was read.
            if not is_outdated and sessions and sessions[-1].relative_id < self._end_check.last_id:
                self._limits.trusts_short_pages = False
            result = self._take_end_check(self._end_check, window, sessions, touches=not isinstance(check, Gap))
            if result is not None:
                return result
        match check:
            case Accepted(known):
                return self._continue(window, sessions, known, length)
            case Gap():
                return self._step_back(window, sessions)
            case Skipped():
                self._frontier.mark_reread_above()
                self._drop_plan()
                self._planned.append(Window.around(window.start, DOCUMENTED_SIZE))
            case Outdated():
                self._drop_plan()
            case Unordered():
                self._switch_to_unordered()
                return self._take_unordered(window, sessions, length)
        return PageResult()

    def _continue(self, window: Window, sessions: Sequence[Session], known: int, length: PageLength) -> PageResult:
        """Move on over an accepted page, or complete the read."""
        count, relative_ids = len(sessions), [session.relative_id for session in sessions]
        start = self._start_of(window, count, length)
        proven_range = self._frontier.move(sessions, known, start + count)
        self._pacing.on_accepted(relative_ids, known, start + count)
        lowest_id = self._frontier.lowest_id
        if known < count:
            self._end_checks = 0
            self._requested_before_last_accept = set(self._planned)
        elif lowest_id is not None and relative_ids:
            self._drop_plan()
            self._pacing.skip_ahead(relative_ids[-1] - lowest_id)
        if length is PageLength.UNKNOWN:  # one more page shows whether this is the end of the list or a cap
            self._drop_plan()
            self._pacing.page_size.lower(count)
            self._pacing.overlap = 1
        is_end = length is PageLength.END
        if lowest_id == 1 and not self._scope.after and not is_end and self._frontier.has_holes:
            self._pacing.overlap = 1  # one more page: a list that is out of order may go on with the missing ones
        elif self._scope.ends_at(lowest_id, sessions):
            self._finish(is_end=is_end)
        elif is_end and self._needs_end_check(relative_ids):
            next_page = Window(window.page + 1, window.per_page)
            self._drop_plan()
            self._end_check = _EndCheck(count, min(relative_ids, default=0), next_page)
            self._end_checks += 1
            self._check_end = True  # also the next one: this check may be inconclusive
            self._planned = [Window.around(self._frontier.offset, DOCUMENTED_SIZE), next_page]
        elif is_end:
            self.verified = not self._end_checks  # otherwise, no check was conclusive
            self._finish(is_end=True)
        return self._scope.select(sessions[known:], start + known, known, proven_range)

    @staticmethod
    def _start_of(window: Window, count: int, length: PageLength) -> int:
        """Return the offset of a page. A server that cuts pages to its own size counts by that size, too."""
        return (window.page - 1) * count if length is PageLength.UNKNOWN else window.start

    def _finish(self, *, is_end: bool) -> None:
        """Complete the read: at the end of the list, or where nothing below is in scope."""
        self.is_complete = True
        lowest_id = self._frontier.lowest_id
        # A sparse list, such as that of one branch, may end above 1 without retention: ignore it.
        if lowest_id is not None and (is_end or lowest_id == 1) and not self._pacing.is_sparse:
            self._limits.retained_rows = self._frontier.offset if lowest_id > 1 else None

    def _needs_end_check(self, relative_ids: Sequence[int]) -> bool:
        """Return whether to check the end that a short page seems to show."""
        if self._end_checks:
            return self._end_checks < _MAX_END_CHECKS
        is_due = self._limits.count_short_end()
        is_long = self._frontier.offset > (_LONG_LIST - 1) * self._pacing.page_size.value
        # The lowest row may have been deleted. Or the server counts offsets by a smaller size.
        is_above_frontier = self._frontier.lowest_id is not None and relative_ids[-1:] != [self._frontier.lowest_id]
        return is_due or is_long or is_above_frontier or self._check_end or not self._limits.trusts_short_pages

    def _take_end_check(
        self, check: _EndCheck, window: Window, sessions: Sequence[Session], *, touches: bool
    ) -> PageResult | None:
        """Take a page of the end check; return None if it must be taken like any other page, without a check."""
        lowest_id, is_next_page = self._frontier.lowest_id, window == check.next_page
        if sessions and (lowest_id is None or sessions[-1].relative_id < lowest_id):
            self._on_false_end(check)
            if is_next_page and not touches:
                # A filter has hidden rows of the short page: request the rows around its end.
                self._rejected = window, sessions
                size = max(self._pacing.page_size.value, DOCUMENTED_SIZE)
                self._planned.append(Window.around(window.start, size))
                return PageResult()
            return None
        is_conclusive = (not sessions) if is_next_page else (touches and len(sessions) < window.per_page)
        if not is_conclusive:
            return None  # many rows were created or deleted meanwhile; a page with only known rows drops the check
        if self._planned:
            return PageResult(duplicates=len(sessions))
        self._finish(is_end=True)
        return self._scope.select((), self._frontier.offset, len(sessions), (1, (lowest_id or 1) - 1))

    def _on_false_end(self, check: _EndCheck) -> None:
        """Continue the read: there are rows below the frontier."""
        self._drop_plan()
        self._end_checks = 0
        if not self._limits.trusts_short_pages:
            self._pacing.page_size.limit(max(check.rows, DOCUMENTED_SIZE))
            self._pacing.overlap = 1

    def _step_back(self, window: Window, sessions: Sequence[Session]) -> PageResult:
        """Request rows farther up. Keep one rejected page: it may be accepted after another has closed the gap."""
        if self._rejected or not sessions:
            self._drop_plan()
        else:
            self._rejected = window, sessions
        self._pacing.step_back(window, self._frontier.offset)
        self._planned.insert(0, self._pacing.window_at(self._pacing.offset))
        return PageResult()

    def _take_rejected(self, result: PageResult, rejected: tuple[Window, Sequence[Session]]) -> PageResult:
        """Take the rejected page again, now that a page has moved the frontier. Return both results as one."""
        self._rejected = None
        more = self._take_page(*rejected, is_outdated=True)
        upper, lower = result.proven_range, more.proven_range
        if upper and lower and lower[1] + 1 >= upper[0]:
            upper = lower[0], upper[1]
        return PageResult(
            sessions=result.sessions + more.sessions,
            offset=result.offset,
            duplicates=result.duplicates + more.duplicates,
            proven_range=upper,
        )

    def _switch_to_unordered(self) -> None:
        """Fall back to deduplication by id: the list is out of order."""
        self.verified = False
        self._seen_ids.update(self._frontier.recent_ids)
        self._drop_plan()

    def _take_unordered(self, window: Window, sessions: Sequence[Session], length: PageLength) -> PageResult:
        """Take a page of a list that is out of order: all sessions not seen before. A short page ends the list.

        A session that was read before the recent rows is repeated if it is listed again: its id is not known any more.
        """
        start = self._start_of(window, len(sessions), length)
        pacing, is_trusted = self._pacing, self._limits.trusts_short_pages
        if length is PageLength.UNKNOWN:
            pacing.page_size.lower(len(sessions))
        pacing.offset = start + len(sessions) if is_trusted else window.end
        new = {session.id: session for session in sessions if session.id not in self._seen_ids}
        self._seen_ids.update(new)
        self.is_complete = not sessions or (length is PageLength.END and is_trusted)
        return self._scope.select(tuple(new.values()), start, len(sessions) - len(new), None)

    def _drop_plan(self) -> None:
        """Drop the planned windows, the rejected page and the end check."""
        self._planned.clear()
        self._end_check = None
        self._rejected = None
        self._pacing.read_ahead = 1


def check_stability(rows: str, *, stalled_pages: int, rows_by_id: int) -> None:
    """Raise `UnstableListingError` if a limit is exceeded. `rows` names the rows of the list for the message."""
    if stalled_pages > MAX_STALLED_PAGES:
        raise UnstableListingError(
            f"{MAX_STALLED_PAGES} pages of {rows} in a row contained nothing new: the list changes faster than it can "
            "be read, or the server returns the same page again and again; try later, or use a larger per_page"
        )
    if rows_by_id > MAX_ROWS_BY_ID:
        raise UnstableListingError(f"the list has more than {MAX_ROWS_BY_ID:,} {rows}, in no order: it may never end")
