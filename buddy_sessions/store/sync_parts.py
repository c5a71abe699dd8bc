"""What a sync reads next, and what it makes of the list so far: pure functions of its progress."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from datetime import datetime
from typing import Literal, NamedTuple

from attrs import Factory, define, evolve

from .._paging.paginator import SessionPage
from ..models import is_before
from .suites import ALL_NUMBERS, Below, Interval, SuiteState

MAX_CHECKS = 10
"""The number of unfinished sessions that the sync of a suite requests by themselves."""


class SessionToCheck(NamedTuple):
    """A session that is requested by itself."""

    relative_id: int
    id: str


@define(kw_only=True)
class Part:
    """A part of the list that a sync reads downwards, and what was read of it."""

    low: int = 1  # the `relative_id` at which the read ends
    high: int | None = None  # the `relative_id` at which it begins; None for the newest session
    is_around: bool = False  # whether a missing session is looked for
    lowest: int = 0  # the lowest `relative_id` that was read; `high + 1` or 0 for none
    kept: Interval | None = None  # the lowest and the highest one that is not older than the limit
    has_older: bool = False  # whether older ones were listed
    is_done: bool = False  # whether nothing that follows is to be read, because all is older than the limit
    is_end: bool = False  # whether the list ends here

    def __attrs_post_init__(self) -> None:
        self.lowest = 0 if self.high is None else self.high + 1

    def take(self, page: SessionPage, limit: datetime | None) -> Interval | None:
        """Note what a page of a list that is in order shows.

        Return the range whose existing sessions it has all listed; None for none.
        """
        is_top, sessions, proven = not self.lowest, page.sessions, page.proven_range
        kept = [each.relative_id for each in sessions if not is_before(each, limit)]
        if sessions:
            self.lowest = sessions[-1].relative_id
        if kept:
            self.kept = kept[-1], self.kept[1] if self.kept else kept[0]
        self.has_older |= len(kept) < len(sessions)
        self.is_done = bool(sessions) and not kept
        is_below = self.lowest > self.low or (self.low == 1 and not self.is_around)  # the read has asked below `lowest`
        self.is_end = page.is_last and self.lowest > 0 and is_below
        if proven is None or not self.lowest:
            return None
        # If the list ends above 1, Buddy has deleted what was older: that proves nothing about saved sessions below.
        low, high = max(proven[0], self.lowest), ALL_NUMBERS[1] if is_top else proven[1]
        return (low, high) if low <= high else None


@define(kw_only=True)
class SyncProgress:
    """What a sync of a suite has found so far."""

    start: SuiteState  # what the database claimed before, with the limit of this sync
    state: SuiteState  # what it claims now
    due: dict[int, str]  # the ids of unfinished sessions that are still to be checked, by `relative_id`
    missing: array[int]  # the `relative_id`s of sessions that were missing before, still to be looked for; ascending
    newest_missing: SessionToCheck | None = None  # the newest one of these, until it was requested
    is_full: bool = False  # whether the sync reads the whole list
    top: int | None = None  # the highest `relative_id` of the list, 0 if it is empty; None before its first page
    read: Interval | None = None  # what this sync itself has read without a gap, from the top of the list
    is_end_read: bool = False  # whether it has read the end of the list
    checks: int = 0
    absent: array[int] = Factory(lambda: array("q"))  # the rows of sessions that pages should have listed
    # Why nothing else is read: the first page is that of the last clean sync, or the list is out of order.
    stop: Literal["unchanged", "unordered"] | None = None
    is_contradiction: bool = False  # whether a page has contradicted what the database claimed
    is_outdated: bool = False  # whether a session above the top of the list exists

    def settle(self, proven: Interval | None, shown: set[int | None]) -> None:
        """Note that unfinished sessions need no check, because a page has shown them, or should have."""
        low, high = proven or (1, 0)
        lowest = self.state.lowest
        for number in [each for each in self.due if each in shown or low <= each <= high or each < lowest]:
            del self.due[number]


def next_part(progress: SyncProgress) -> Part | SessionToCheck | None:
    """Return what a sync reads next; None if nothing is left.

    The list from its top; the newest missing session, if it is above that; the list below the covered range, and around
    missing sessions; unfinished sessions.
    """
    state, newest = progress.state, progress.newest_missing
    if progress.stop is not None:
        return None
    if progress.top is None:
        return Part(low=1 if progress.is_full or state.covered is None else state.covered[1])
    if newest is not None and newest.relative_id > progress.top > 0:
        return newest
    if state.covered and (state.below == "more" or (state.below == "end" and not progress.is_end_read)):
        return Part(high=state.covered[0])
    if progress.missing:
        return Part(low=progress.missing[-1], high=progress.missing[-1], is_around=True)
    may_check = progress.due and progress.checks < MAX_CHECKS
    return SessionToCheck(*next(iter(progress.due.items()))) if may_check else None


def read_after(progress: SyncProgress, part: Part) -> Interval | None:
    """Return what a sync itself has read without a gap, from the top of the list, after a page of a part."""
    read = progress.read
    if part.high is None:
        return part.kept
    if part.is_around or read is None or part.kept is None or read[0] > part.high:
        return read
    return min(read[0], part.kept[0]), read[1]


def state_after(progress: SyncProgress, part: Part, *, is_last: bool, verified: bool) -> SuiteState:
    """Return what the database may claim after a page of a part, if the page does not contradict it.

    A part below the covered range, or of a list of which nothing is known, extends it page by page. One from the top
    extends it once it has come down to it, or to the end of the list.
    """
    state, covered, kept = progress.state, progress.state.covered, part.kept
    if part.is_around:  # Buddy may have deleted the session, and all below
        is_above = part.is_end and covered is not None and part.lowest <= covered[1]
        return evolve(state, covered=(part.lowest, covered[1]), below="end") if covered and is_above else state
    is_last |= part.is_done
    is_doubtful = state.is_doubtful or not verified
    if part.high is None and covered is not None and covered != progress.read:
        if not is_last or not part.lowest:
            return state
        highest = max(covered[1], kept[1] if kept else 0)
        if part.low > 1 and part.lowest <= covered[1]:
            return evolve(state, covered=(covered[0], highest), is_doubtful=is_doubtful)
        covered = (kept[0], highest) if kept else None
    elif kept is not None:
        covered = (kept[0], covered[1] if covered else kept[1])
    below = _below(progress.start, covered, part) if part.is_end or part.is_done else "more"
    return evolve(state, covered=covered, below=below, is_doubtful=is_doubtful)


def _below(start: SuiteState, covered: Interval | None, part: Part) -> Below:
    """Return what is below the covered range, if a part has shown that. The end of a list above 1 is found twice."""
    if part.has_older:
        return "limit"
    is_found_again = start.below in {"nothing", "end"} and start.covered and covered and start.covered[0] == covered[0]
    return "nothing" if part.lowest == 1 or is_found_again else "end"


def end_part(progress: SyncProgress, part: Part) -> None:
    """Note that a part was read to its end: the missing sessions in it were looked for."""
    progress.is_end_read |= part.is_end
    missing = progress.missing
    if part.high is None:
        del missing[bisect_left(missing, part.lowest) :]
    else:
        del missing[bisect_left(missing, min(part.lowest, part.high)) : bisect_right(missing, part.high)]
    del missing[: bisect_left(missing, progress.state.lowest)]
