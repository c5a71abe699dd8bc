"""Decides which pages of a list to request while it changes, and which to accept. No I/O, no clock, no asyncio.

`Frontier` proves that an accepted page misses no session: read that module first. `Pacing` estimates which pages to
request next; a wrong estimate costs requests, no session. `ListEnd` decides where the list ends. The `Reconciler` joins
them, and adds what the proof leaves open:

- A list that is out of order. It is read with deduplication by id, and the read is not verified.
- A list that changes faster than it can be read, or that never ends: `check_stability`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from attrs import frozen

from ..errors import UnstableListingError
from ..models import Cursor, RefType, Session, is_before
from .end import EndCheck, ListEnd
from .frontier import Accepted, Frontier, Gap, Outdated, Skipped, Unordered
from .pacing import DOCUMENTED_SIZE, Pacing, PageLength, RequestSlots, ServerLimits, Window

MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new."""

MAX_ROWS_BY_ID = 1_000_000
"""The number of rows of a list without an order, whose rows can only be recognised by their ids: it may never end."""

_MAX_SEARCH = 20
"""The same, if short pages are not trusted: hidden rows may make a gap that no page closes."""


@frozen(kw_only=True)
class ReadSpec:
    """What to read of a suite, and how. The attributes up to `read_ahead` are arguments of `BuddyClient.sessions`.

    Attributes:
        min_id: The lowest `relative_id` to yield, if it is on the same page as a session above `after` (default:
            `after + 1`).
        check_end: Whether to request one more page at every end above `relative_id` 1. By default, the client does so
            until it trusts short pages.
        slots: Those of a harvest: pages are requested in advance only while slots are idle.
            Without, or with a `read_ahead` of 1, the read has slots of its own.
        known_digest: That of page 1 in an earlier read, or empty: the read ends if page 1 has the same one.
    """

    branch: str | None = None
    after: int = 0
    since: datetime | None = None
    cursor: Cursor | None = None
    max_sessions: int | None = None
    per_page: int | None = None
    read_ahead: int | None = None
    min_id: int | None = None
    check_end: bool = False
    slots: RequestSlots | None = None
    known_digest: bytes | None = None


class PageResult(NamedTuple):
    """What one page has added to the read.

    `proven_range` is `(low, high)`: every existing session with a `relative_id` from `low` to `high` is known now. None
    without a proof. `low` is below the last row only if the end of the list was checked.
    """

    sessions: tuple[Session, ...] = ()  # the new ones, newest first
    offset: int = 0  # the number of rows above them
    duplicates: int = 0  # sessions that were dropped because they had been read before
    proven_range: tuple[int, int] | None = None


class Reconciler:
    """Plans the requests of one read: `windows` returns the pages to request, `accept_page` takes the first of them.

    `per_page` and `read_ahead` replace those of the spec.

    `verified` is False if the list is out of order, or its end is in doubt. `is_complete`: the list was read to its
    end, or down to `after` or `since`.
    """

    def __init__(self, spec: ReadSpec, *, per_page: int, limits: ServerLimits, read_ahead: int = 1) -> None:
        self.verified = True
        self.is_complete = False
        self._limits = limits
        self._selection = _Selection(spec)
        self._frontier = Frontier(spec.cursor)
        self._pacing = Pacing(
            per_page, limits, offset=spec.cursor.offset if spec.cursor else None, max_read_ahead=read_ahead
        )
        self._end = ListEnd(limits, is_filtered=spec.branch is not None, is_always_checked=spec.check_end)
        self._planned: list[Window] = []
        self._in_advance: set[Window] = set()  # those that were planned when the last page was accepted
        self._kept_page: tuple[Window, Sequence[Session]] | None = None  # below a gap, until another page closes it
        self._stalled_pages = 0
        self._seen_ids: set[str] = set()  # used once the list is known to be out of order

    @property
    def is_done(self) -> bool:
        """Whether no more pages are needed."""
        return self.is_complete or self._selection.remaining == 0

    def windows(self, limit: float = math.inf) -> Sequence[Window]:
        """Return the pages to request now: at most `limit`, and those that were returned before."""
        pacing, lowest_id = self._pacing, self._frontier.lowest_id
        if not self._planned:
            self._planned.append(pacing.window_at(pacing.offset) if self.verified else pacing.unordered_window())
        if self.verified and lowest_id is not None:
            end = pacing.expected_end(lowest_id - 1 - self._selection.after, self._selection.remaining)
            limit = min(limit, pacing.read_ahead)
            while len(self._planned) < limit and (offset := pacing.page_size.end_of(self._planned[-1])) < end:
                self._planned.append(pacing.window_at(offset))
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
        in_advance = window in self._in_advance
        self._in_advance.discard(window)
        if not in_advance:
            self._end.compare_with_short_page(sessions)
        before = self._frontier.lowest_id, len(self._seen_ids)
        result = self._take_page(window, sessions, in_advance=in_advance)
        has_new = before != (self._frontier.lowest_id, len(self._seen_ids))
        self._stalled_pages = 0 if has_new else self._stalled_pages + 1
        check_stability("sessions", stalled_pages=self._stalled_pages, rows_by_id=len(self._seen_ids))
        if self._stalled_pages > _MAX_SEARCH and self._limits.rows_follow_short_pages and self.verified:
            self._switch_to_unordered()
        if has_new and self._kept_page and not self.is_done:
            result = self._take_kept_page(result, *self._kept_page)
        if self.verified and self._end.is_possible and not self._planned and not self.is_done:
            result = self._check_end(result)
        if self._selection.is_exceeded:
            self.is_complete = False  # the limit was reached before the end
        return result

    def _take_page(self, window: Window, sessions: Sequence[Session], *, in_advance: bool) -> PageResult:
        """Take a page; `in_advance`: it may have been requested before the last page was accepted."""
        length = self._pacing.page_size.classify(window, len(sessions))
        if not self.verified:
            return self._take_unordered(window, sessions, length)
        check = self._frontier.check(window, sessions, in_advance=in_advance)
        if in_advance and self._end.is_possible and (not sessions or check == Accepted(known=len(sessions))):
            return PageResult(duplicates=len(sessions))  # nothing new, but rows may have moved there since
        match check:
            case Accepted(known):
                return self._take_accepted(window, sessions, known, length)
            case Gap():
                return self._take_gap(window, sessions)
            case Skipped():
                self._frontier.mark_reread_above()
                self._end.on_gap()
                self._drop_plan()
                self._planned.append(Window.around(window.start, DOCUMENTED_SIZE))
            case Outdated():
                self._drop_plan()
            case Unordered():
                self._switch_to_unordered()
                return self._take_unordered(window, sessions, length)
        return PageResult(duplicates=len(sessions))

    def _take_accepted(self, window: Window, sessions: Sequence[Session], known: int, length: PageLength) -> PageResult:
        """Move on over an accepted page, or complete the read."""
        pacing, relative_ids = self._pacing, [session.relative_id for session in sessions]
        start, end = pacing.page_size.start_of(window), pacing.page_size.end_of(window)
        is_first, is_full = self._frontier.lowest_id is None, length is PageLength.FULL
        has_new = known < len(sessions)
        proven_range = self._frontier.move(sessions, known)
        lowest_id = self._frontier.lowest_id
        pacing.on_accepted(window, relative_ids, known, is_full=is_full)
        has_last = relative_ids[-1:] == [lowest_id]
        self._end.on_accepted(window, sessions, length, end, has_new=has_new, has_last=has_last)
        self._in_advance = set(self._planned)
        if lowest_id == 1 and is_full and not self._selection.after and (is_first or self._frontier.has_holes):
            pacing.overlap = 1  # one more page: a list that is out of order may go on with the missing ones
        elif self._selection.ends_at(lowest_id, sessions):
            self.is_complete = True
        elif not has_new and lowest_id is not None and not self._end.is_possible:
            self._drop_plan()  # the list has grown
            pacing.skip_ahead(relative_ids[-1] - lowest_id)
        return self._selection.select(sessions[known:], start + known, known, proven_range)

    def _take_gap(self, window: Window, sessions: Sequence[Session]) -> PageResult:
        """Request rows farther up, unless an empty page follows one that may be the last.

        The first such page is kept: it may be accepted after another one has closed the gap.
        """
        if not sessions and self._end.on_empty(window, self._pacing.page_size.end_of(window)):
            self._pacing.go_on_after(window)
            return PageResult()
        self._end.on_gap()
        if self._kept_page:
            self._drop_plan()
        elif sessions:
            self._kept_page = window, sessions
        self._planned.insert(0, self._pacing.step_back(window))
        return PageResult()

    def _take_kept_page(self, result: PageResult, window: Window, sessions: Sequence[Session]) -> PageResult:
        """Take the kept page, now that a page has moved the frontier. Return both results as one."""
        self._kept_page = None
        more = self._take_page(window, sessions, in_advance=True)
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
        """Take a page of a list that is out of order: all sessions not seen before. An empty page ends the list.

        A session that was read before the recent rows is repeated if it is listed again: its id is not known any more.
        """
        new = {session.id: session for session in sessions if session.id not in self._seen_ids}
        self._seen_ids.update(new)
        self._pacing.go_on_after(window)
        end, known = self._pacing.offset, len(sessions) - len(new)
        self._end.on_accepted(window, sessions, length, end, has_new=bool(new), has_last=False)
        self.is_complete = not sessions
        if self._limits.rows_follow_short_pages:
            self.is_complete = self._end.is_searched(self._pacing.page_size.value)
        start = self._pacing.page_size.start_of(window)
        return self._selection.select(tuple(new.values()), start, known, None)

    def _check_end(self, result: PageResult) -> PageResult:
        """Decide what follows a page that may be the last one: `result` is that of the latest page."""
        match self._end.check(self._pacing.page_size.value):
            case EndCheck.READ_ON:
                pass
            case EndCheck.REQUEST:
                self._planned.append(self._end.next_page)
            case EndCheck.TRUSTED:
                self.is_complete = True
            case EndCheck.PROVED:
                self.is_complete = True
                below = (1, (self._frontier.lowest_id or 1) - 1)
                return self._selection.select((), result.offset, result.duplicates, below)
            case EndCheck.MOVED:
                self.is_complete, self.verified = True, False
        return result

    def _drop_plan(self) -> None:
        """Drop the planned windows and the kept page."""
        self._planned.clear()
        self._kept_page = None
        self._pacing.restart()


class _Selection:
    """The sessions that a read is asked for."""

    def __init__(self, spec: ReadSpec) -> None:
        self.after = spec.after
        self.remaining = math.inf if spec.max_sessions is None else spec.max_sessions  # still to be emitted
        self.is_exceeded = False  # more of them were read than `max_sessions`
        self._min_id = spec.after + 1 if spec.min_id is None else spec.min_id
        self._since = spec.since
        self._branch = spec.branch

    def ends_at(self, lowest_id: int | None, sessions: Sequence[Session]) -> bool:
        """Return whether nothing below is selected: `lowest_id` is the lowest, or a page is entirely before `since`."""
        if lowest_id is not None and lowest_id <= self.after + 1:
            return True
        return bool(sessions) and all(is_before(session, self._since) for session in sessions)

    def select(
        self, new: Sequence[Session], offset: int, duplicates: int, proven_range: tuple[int, int] | None
    ) -> PageResult:
        """Return the selected ones of the new sessions, at most `remaining`, and the range without those left out.

        The range is that of the branch, if there is one.
        """
        selected = [session for session in new if session.relative_id >= self._min_id]
        if self._branch is not None:
            selected = [session for session in selected if _may_be_of_branch(session, self._branch)]
        lowest_proven = self._min_id
        if self._since is not None:
            old = [session.relative_id for session in selected if is_before(session, self._since)]
            lowest_proven = max(lowest_proven, max(old, default=0) + 1)
            selected = [session for session in selected if not is_before(session, self._since)]
        if len(selected) > self.remaining:
            self.is_exceeded = True
            selected = selected[: int(self.remaining)]
            lowest_proven = max(lowest_proven, selected[-1].relative_id)
        self.remaining -= len(selected)
        if proven_range:
            low, high = max(proven_range[0], lowest_proven), proven_range[1]
            proven_range = (low, high) if low <= high else None
        return PageResult(tuple(selected), offset, duplicates, proven_range)


def _may_be_of_branch(session: Session, branch: str) -> bool:
    """Return whether a session has tested a branch, or does not say what it has tested. A server may ignore filters."""
    return session.ref_name in {None, branch} and session.ref_type in {None, RefType.BRANCH}


def check_stability(rows: str, *, stalled_pages: int, rows_by_id: int) -> None:
    """Raise `UnstableListingError` if a limit is exceeded. `rows` names the rows of the list for the message."""
    if stalled_pages > MAX_STALLED_PAGES:
        raise UnstableListingError(
            f"{MAX_STALLED_PAGES} pages of {rows} in a row contained nothing new: the list changes faster than it can "
            "be read, or the server returns the same page again and again; try later, or use a larger per_page"
        )
    if rows_by_id > MAX_ROWS_BY_ID:
        raise UnstableListingError(f"the list has more than {MAX_ROWS_BY_ID:,} {rows}, in no order: it may never end")
