"""Decides what a sync of a suite reads next, and what its pages prove. Pure.

A sync reads the top of the list first, then each gap in the coverage, from the highest to the lowest. At the end, it
checks unfinished sessions that it has not read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from attrs import evolve, frozen

from ..models import SessionPage
from .intervals import Interval, Intervals, contains, gaps, union, union_all
from .messages import PageToSave, SavedPage, SuiteState, SyncScope

MAX_CHECKS = 10
"""The number of requests by which a sync of a suite checks unfinished sessions: of one session, or of a page."""

# The time between two checks of an unfinished session: a share of its age, within these limits.
PAUSE_PER_AGE = 1 / 10
SHORTEST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(days=1)

_GROUP_SPAN = 80
"""Unfinished sessions whose `relative_id`s differ by less are read together: usually one page of the default size."""


class ReadRange(NamedTuple):
    """A range of a suite's list to read: `relative_id`s, or one session by its id.

    Attributes:
        high: The highest `relative_id`; None for the newest session.
        commit: The number of the last commit before the first request.
        offset: An estimate of the number of sessions above `high`. A wrong one costs requests, but no session.
        is_check: Whether the range is read only to check unfinished sessions.
        is_repair: Whether all coverage was dropped before this range was planned: the whole suite is read again.
        known_digest: The digest of a first page after which nothing else needs to be read.
    """

    low: int
    high: int | None
    commit: int
    offset: int = 0
    check_end: bool = True
    is_check: bool = False
    is_repair: bool = False
    session_id: str | None = None
    known_digest: bytes = b""


@frozen(kw_only=True)
class Progress:
    """What one sync of a suite has read so far, and the sum of its `SavedPage`s.

    Attributes:
        above: Only sessions with a higher `relative_id` are to be read.
        top: The highest `relative_id` on the first page.
        done: The `relative_id`s that were read, but not the lowest one of a page before the next page was read.
        ends: The lowest ones of the last pages of ranges.
        is_verified: Whether no session was missed or repeated.
        is_repair: Whether all coverage was dropped, so that the whole suite is read again.
    """

    sync: int
    above: int = 0
    top: int = 0
    done: Intervals = ()
    ends: Intervals = ()
    is_verified: bool = True
    is_stale: bool = False
    is_repair: bool = False
    check_requests: int = 0
    changed: int = 0
    unsaved: int = 0
    restored: int = 0

    def after_page(self, part: ReadRange, to_save: PageToSave, saved: SavedPage, *, requests: int) -> Progress:
        """Return the progress after a page of a range was saved. `requests` is the cost of the range so far."""
        done, top = () if saved.is_contradiction else self.done, to_save.top or self.top
        if to_save.joined is not None:
            done = union(done, to_save.joined)
        is_repair, high = self.is_repair or saved.is_contradiction, part.high or top
        if to_save.is_last and part.is_repair == is_repair and part.low <= high:  # otherwise the first page was stale
            done = union(done, (part.low, high))
        is_check = part.is_check or part.session_id is not None
        end = min((session.relative_id for session in to_save.listed), default=0)
        return evolve(
            self,
            top=top,
            done=done,
            ends=union(self.ends, (end, end)) if to_save.is_last and end else self.ends,
            check_requests=self.check_requests + (requests if is_check and to_save.is_last else 0),
            is_stale=self.is_stale or saved.is_stale,
            is_repair=is_repair,
            changed=self.changed + len(saved.changed),
            unsaved=self.unsaved + saved.unsaved,
            restored=self.restored + saved.restored,
        )


def find_end(state: SuiteState, scope: SyncScope) -> int:
    """Return the `relative_id` above which a sync reads: the sessions below are out of scope, or were pruned."""
    if scope.since is None or state.older is None or state.older[0] > scope.since:
        return scope.after
    return max(scope.after, state.older[1])


def plan_top(state: SuiteState, progress: Progress, scope: SyncScope, *, full: bool) -> ReadRange:
    """Return the first range: from the top down to the highest session that is covered, to compare it."""
    highest = state.covered[-1][1] if state.covered and not full else 0
    low = lowest_to_compare(max(highest, progress.above) + 1, state.covered, scope)
    check_end = full or state.highest > 0 or not state.was_synced
    needs_no_comparison = (
        state.complete is not None
        and not full
        and scope.is_within(state.complete.scope)
        and not any(session.relative_id > progress.above for session in state.due_checks)
    )
    known_digest = state.complete.digest if state.complete is not None and needs_no_comparison else b""
    return ReadRange(low, None, state.commit, check_end=check_end, known_digest=known_digest)


def next_range(state: SuiteState, progress: Progress, scope: SyncScope, *, full: bool) -> ReadRange | None:
    """Return the range to read after one that has ended; None if nothing remains to be read."""
    present = union_all((() if full else state.covered, progress.done))
    low, high = max(gaps(present, above=progress.above, below=progress.top + 1), default=(0, 0))
    if not high:
        return next_check(state, progress)
    low = lowest_to_compare(low, state.covered, scope)
    return ReadRange(low, None if high == progress.top else high, state.commit, is_repair=progress.is_repair)


def lowest_to_compare(low: int, covered: Intervals, scope: SyncScope) -> int:
    """Return where to end a read from `low` up: one lower, if a session there is in scope or covered, to compare it."""
    return low - 1 if low - 1 > scope.after or contains(covered, low - 1) else low


def next_check(state: SuiteState, progress: Progress) -> ReadRange | None:
    """Return the next check: of the session whose last check is the longest ago, and of those near it."""
    if progress.check_requests >= MAX_CHECKS:
        return None
    newest, done = state.newest, progress.done
    if progress.is_stale and newest and newest.relative_id > progress.top and not contains(done, newest.relative_id):
        # A 404 shows that the first page was up to date: then all sessions above its top are marked as missing.
        low, high = progress.top + 1, newest.relative_id
        return ReadRange(low, high, state.commit, is_repair=progress.is_repair, session_id=newest.id)
    shown = union_all((done, progress.ends))
    due = [
        each for each in state.due_checks if each.relative_id > progress.above and not contains(shown, each.relative_id)
    ]
    if not due:
        return None
    numbers = [each.relative_id for each in due if abs(each.relative_id - due[0].relative_id) < _GROUP_SPAN]
    high = max(numbers)
    low = min(number for number in numbers if high - number < _GROUP_SPAN)
    session_id = due[0].id if low == high else None
    return ReadRange(low, high, state.commit, is_check=True, is_repair=progress.is_repair, session_id=session_id)


def is_check_due(created: datetime | None, checked: datetime | None, *, now: datetime) -> bool:
    """Return whether an unfinished session is to be requested again: `checked` is the time of the last check or save.

    A check in the future does not count: the clock was wrong.
    """
    if checked is None:
        return True
    age = now - created if created else timedelta()
    pause = min(max(age * PAUSE_PER_AGE, SHORTEST_PAUSE), LONGEST_PAUSE)
    return not timedelta() <= now - checked < pause


def in_scope(interval: Interval | None, page: SessionPage, scope: SyncScope) -> Interval | None:
    """Return the part of a range whose existing sessions are all among those of a page that are in scope."""
    if interval is None:
        return None
    low, high = interval
    omitted = [session.relative_id for session in page.sessions if not scope.includes(session)]
    low = max(low, scope.after + 1, *(number + 1 for number in omitted))
    return (low, high) if low <= high else None


def page_to_save(
    page: SessionPage,
    part: ReadRange,
    progress: Progress,
    scope: SyncScope,
    *,
    is_first: bool,
    lowest: int,
) -> PageToSave:
    """Return what to save of a page, and what it proves. The progress is verified only if this page is, too.

    `lowest` is the lowest `relative_id` in scope on the pages before; 0 if there is none.
    """
    is_proof = progress.is_verified
    joined = joined_range(page, lowest, scope) if is_proof else None
    proven = in_scope(page.proven_range, page, scope) if is_proof else None
    is_too_old = bool(page.sessions) and all(map(scope.is_too_old, page.sessions))  # so reading stops
    is_last = page.is_last or is_too_old
    older = None
    if is_too_old and scope.since is not None and is_proof:
        highest = lowest - 1 if lowest else max(session.relative_id for session in page.sessions)
        older = scope.since, highest
    return PageToSave(
        branch=scope.branch,
        sessions=[session for session in page.sessions if scope.includes(session)],
        listed=page.sessions if is_proof else (),
        proven=proven,
        joined=joined,
        claimed=in_scope(joined, page, scope),
        commit=part.commit,
        sync=progress.sync,
        is_first=is_first and is_proof,
        withdraws_claims=not is_proof,
        is_repair=progress.is_repair,
        checked=(part.low, part.high or part.low) if part.is_check and is_last else None,
        older=older,
        is_last=is_last,
    )


def joined_range(page: SessionPage, lowest: int, scope: SyncScope) -> Interval | None:
    """Return the range that a page claims: what it proves, except its lowest session, which the next page claims.

    So a claim touches the coverage below it only with a page that is compared with that coverage.
    """
    if page.proven_range is None:
        return None
    low, high = page.proven_range
    if low > scope.after + 1 and any(session.relative_id == low for session in page.sessions):
        low += 1
    if lowest == high + 1:
        high = lowest
    return (low, high) if low <= high else None
