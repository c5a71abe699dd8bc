"""Decides what a sync of a suite reads next, and what its pages prove. Pure.

A sync reads the top of the list first, then each gap in the coverage, from the highest to the lowest. At the end, it
checks unfinished sessions that it has not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from attrs import evolve, frozen

from ..models import Session, SessionPage
from .intervals import Interval, Intervals, contains, gaps, union
from .messages import CompleteSync, PageToSave, SavedPage, SessionId, SuiteState, SyncScope

MAX_CHECKS = 10
"""The number of requests by which a sync of a suite checks unfinished sessions: of one session, or of a page."""

_GROUP_SPAN = 80
"""Unfinished sessions whose numbers differ by less are read together: usually one page of the default size."""

_SHORTEST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(days=1)


class ReadRange(NamedTuple):
    """A range of a suite's list to read.

    Attributes:
        low: The lowest `relative_id` to read.
        high: The highest one; None for the newest session.
        commit: The number of the last commit before the first request.
        offset: An estimate of the number of sessions above `high`. If it is wrong, the sync makes more requests, but
            misses no session.
        check_end: Whether to check the end of the list.
        is_check: Whether the range is read only to check unfinished sessions.
        session_id: The id of the session to request in place of a page; None for pages.
        held: The range just above that is not claimed yet; None if there is none.
    """

    low: int
    high: int | None
    commit: int
    offset: int = 0
    check_end: bool = True
    is_check: bool = False
    session_id: str | None = None
    held: Interval | None = None


@frozen(kw_only=True)
class Progress:
    """What one sync of a suite has read so far.

    Attributes:
        above: Only sessions with a higher `relative_id` are to be read.
        sync: The number of the sync in the database, once it has saved something.
        top: The highest `relative_id` on the first page.
        done: The `relative_id`s that were read.
        is_verified: Whether no session was missed or repeated.
        is_not_modified: Whether the first page is the one of the last complete sync, so that nothing else is read.
        is_stale: Whether the first page lacks the newest living session.
        is_repair: Whether all coverage was dropped, so that the whole suite is read again.
        checks: The ranges with unfinished sessions that remain to be checked; None before they were planned.
        check_requests: The number of requests of checks.
        changed: The number of sessions that were saved.
        unsaved: The number of sessions that the database should have contained.
        restored: The number of sessions that were marked as missing or deleted, and exist.
    """

    above: int = 0
    sync: int | None = None
    top: int = 0
    done: Intervals = ()
    is_verified: bool = True
    is_not_modified: bool = False
    is_stale: bool = False
    is_repair: bool = False
    checks: tuple[ReadRange, ...] | None = None
    check_requests: int = 0
    changed: int = 0
    unsaved: int = 0
    restored: int = 0

    def after_page(self, read: PageToSave, read_range: Interval | None, saved: SavedPage, scope: SyncScope) -> Progress:
        """Return the progress after a page was saved. It has all sessions of a range; None without a proof."""
        above, done = (scope.after, ()) if saved.is_contradiction else (self.above, self.done)
        return evolve(
            self,
            above=above if read.older is None else read.older[1],
            sync=saved.sync,
            done=done if read_range is None else union(done, read_range),
            is_stale=self.is_stale or saved.is_stale,
            is_repair=self.is_repair or saved.is_contradiction,
            changed=self.changed + len(saved.changed),
            unsaved=self.unsaved + saved.unsaved,
            restored=self.restored + saved.restored,
        )

    def after_range(self, part: ReadRange, *, was_repair: bool, requests: int) -> Progress:
        """Return the progress after a range was read to its end: it is done, unless coverage was dropped meanwhile."""
        done, checks, spent = self.done, self.checks, self.check_requests
        if self.is_repair == was_repair:
            done = union(done, (part.low, max(part.low, part.high or self.top)))
        if checks and (part.is_check or part.session_id is not None):
            checks, spent = checks[1:], spent + requests
        return evolve(self, done=done, checks=checks if spent < MAX_CHECKS else (), check_requests=spent)

    def with_checks(self, state: SuiteState) -> Progress:
        """Return the progress with the checks that remain. They are planned once, after all gaps were read."""
        return self if self.checks is not None else evolve(self, checks=plan_checks(state, self))


def begin(state: SuiteState, scope: SyncScope) -> Progress:
    """Return the progress before the first request."""
    above = scope.after
    if scope.since is not None and state.older_than is not None and state.older_than <= scope.since:
        above = max(above, state.older_id)  # the sessions below were too old before
    return Progress(above=above)


def plan_top(state: SuiteState, progress: Progress, scope: SyncScope, *, full: bool) -> ReadRange:
    """Return the first range: from the top down to a living session that is covered.

    If another session has its `relative_id` now, the suite was created again.
    """
    if scope.branch is not None:
        return ReadRange(progress.above + 1, None, state.commit, check_end=False)
    low = max(scope.after + 1, progress.above)  # also the first one that is too old: it may be another one now
    if state.covered and not full:
        highest = state.covered[-1][1]
        low = low if highest < progress.above else (state.living_below or highest)
    check_end = full or state.highest > 0 or not state.was_synced
    return ReadRange(low, None, state.commit, check_end=check_end)


def needs_no_comparison(state: SuiteState, progress: Progress, scope: SyncScope, *, full: bool) -> bool:
    """Return whether the suite is right if its first page is still the one of the last complete sync."""
    return (
        state.complete is not None
        and not full
        and scope.branch is None
        and scope.is_within(state.complete.scope)
        and not any(session.relative_id > progress.above for session in state.due_checks)
    )


def is_recorded(complete: CompleteSync, state: SuiteState) -> bool:
    """Return whether the database knows that a sync with this first page, and at least this scope, was complete."""
    known = state.complete
    return known is not None and known.digest == complete.digest and complete.scope.is_within(known.scope)


def next_gap(covered: Intervals, progress: Progress) -> Interval | None:
    """Return the highest range that is neither covered nor read; None if nothing remains to be read."""
    present = covered
    for interval in progress.done:
        present = union(present, interval)
    return max(gaps(present, above=progress.above, below=progress.top + 1), default=None)


def plan_gap(gap: Interval, state: SuiteState, progress: Progress, living_below: int, *, full: bool) -> ReadRange:
    """Return the range for a gap. It ends at a living session below, so that the two lists are compared."""
    low, high = gap
    if living_below and not full and contains(state.covered, low - 1):
        low = living_below
    return ReadRange(low, None if high == progress.top else high, state.commit)


def plan_checks(state: SuiteState, progress: Progress) -> tuple[ReadRange, ...]:
    """Return the ranges of sessions that are checked at the end: a few requests, the newest sessions first."""
    checks: list[ReadRange] = []
    newest = state.newest
    if progress.is_stale and newest is not None and newest.relative_id > progress.top:
        # A 404 shows that the first page was up to date: then all sessions above its top are marked as missing.
        checks.append(ReadRange(progress.top + 1, newest.relative_id, state.commit, session_id=newest.id))
    unread = [
        session
        for session in state.due_checks
        if session.relative_id > progress.above and not contains(progress.done, session.relative_id)
    ]
    for group in _group(unread):
        low, high = group[-1].relative_id, group[0].relative_id
        session_id = group[0].id if low == high else None
        checks.append(ReadRange(low, high, state.commit, is_check=True, session_id=session_id))
    return tuple(checks[:MAX_CHECKS])


def is_check_due(created: str | None, checked: str | None, *, now: datetime) -> bool:
    """Return whether an unfinished session is to be requested again.

    The pause between two checks is a tenth of the session's age, at least a minute, at most a day. A check in the
    future does not count: the clock was wrong.

    Args:
        created: The time at which the session was created, in ISO 8601; None if it is unknown.
        checked: The time of the last check; None if there was none.
        now: The current time.
    """
    if checked is None:
        return True
    age = now - datetime.fromisoformat(created) if created else timedelta()
    pause = min(max(age / 10, _SHORTEST_PAUSE), _LONGEST_PAUSE)
    return not timedelta() <= now - datetime.fromisoformat(checked) < pause


def proven_range(page: SessionPage, scope: SyncScope) -> Interval | None:
    """Return the range of `relative_id`s whose existing sessions are all among those of a page that are in scope."""
    if page.proven_range is None:
        return None
    low, high = page.proven_range
    omitted = [session.relative_id for session in page.sessions if not scope.includes(session)]
    low = max(low, scope.after + 1, *(number + 1 for number in omitted))
    return (low, high) if low <= high else None


def join(proven: Interval | None, held: Interval | None) -> Interval | None:
    """Return the range to claim: what a page proves, and the range just above it that was not claimed yet."""
    if proven is None or held is None:
        return proven or held
    return min(proven[0], held[0]), max(proven[1], held[1])


def _group(sessions: Sequence[SessionId]) -> list[list[SessionId]]:
    """Return groups of sessions that are near each other: each is one request."""
    groups: list[list[SessionId]] = []
    for session in sessions:
        if groups and groups[-1][0].relative_id - session.relative_id < _GROUP_SPAN:
            groups[-1].append(session)
        else:
            groups.append([session])
    return groups


def highest_of(sessions: Sequence[Session]) -> int:
    """Return the highest `relative_id` of some sessions; 0 if there are none."""
    return max((session.relative_id for session in sessions), default=0)


def is_all_too_old(sessions: Sequence[Session], scope: SyncScope) -> bool:
    """Return whether a page is entirely older than `since`: then reading stops."""
    return bool(sessions) and all(map(scope.is_too_old, sessions))
