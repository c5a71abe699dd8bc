"""Decides what a sync of a suite reads next, and what its pages prove. Pure.

A sync reads the list from the top down to the known range, then below the known range, then around each session that is
missing since an earlier sync. At the end, it checks the due sessions that no page has shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal

from attrs import define, evolve, field, frozen

from .._paging.paginator import SessionPage
from ..models import Session, is_before
from .exchange import (
    ALL_NUMBERS,
    NOTHING_KNOWN,
    CompleteSync,
    Interval,
    KnownRange,
    PageToSave,
    SavedPage,
    SessionId,
    SyncScope,
    SyncStart,
)

MAX_CHECKS = 10
"""The number of requests for checks after which the sync of a suite begins no other check."""

# The time between two checks of an unfinished session: a share of its age, within these limits.
PAUSE_PER_AGE = 1 / 10
SHORTEST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(days=1)

_GROUP_SPAN = 80
"""Unfinished sessions whose `relative_id`s differ by less are read together: usually one page of the default size."""

_NEAR = 10_000
"""The largest gap above the known range that is read whatever `after` and `since` are: 100 pages of 100 sessions."""

_Part = Literal["top", "gap", "below"]
"""A part of the list that extends the known range."""


@frozen(kw_only=True)
class ReadRange:
    """What to read next: a range of `relative_id`s of the list, or one session by its id.

    Attributes:
        high: The highest `relative_id`; None for the newest session.
        part: Which part of the list it is; None if it does not extend the known range.
        joins: Whether `low` is the upper end of a known range, which the pages must reach.
        is_check: Whether the range is read only to check unfinished sessions.
        check_end: Whether to check the end of the list.
        known_digest: The digest of a first page after which nothing else needs to be read.
    """

    low: int
    high: int | None = None
    part: _Part | None = None
    joins: bool = False
    is_check: bool = False
    check_end: bool = True
    session_id: str | None = None
    known_digest: bytes = b""


@define
class SyncPlan:
    """What one sync of a suite has read so far, and what it reads next.

    Attributes:
        known: The known range in the database.
        fallback: The known range to restore if the list proves to be out of order.
        due: The unfinished sessions that are due for a check, and that no page has shown, by their `relative_id`s.
        parts_left: The parts of the list that are still to be read.
        top: The highest `relative_id` on the first page.
        repair_above: If the known range was dropped, the `relative_id` above which the suite is read again.
        missing_below: The `relative_id` below which to look for missing sessions.
        complete: What to save if nothing remains to be read.
        checks: The requests so far that were checks of unfinished sessions.
    """

    scope: SyncScope
    full: bool
    known: KnownRange
    fallback: KnownRange
    pruned_before: datetime | None
    due: dict[int, SessionId]
    parts_left: list[_Part] = field(factory=lambda: ["gap", "below"])
    top: int = 0
    repair_above: int | None = None
    missing_below: int = ALL_NUMBERS[1]
    is_verified: bool = True
    is_stale: bool = False
    complete: CompleteSync | None = None
    checks: int = 0

    @classmethod
    def begin(cls, start: SyncStart, scope: SyncScope, *, full: bool) -> tuple[SyncPlan, ReadRange]:
        """Return the plan of a sync that begins, and the first range to read."""
        due = {session.relative_id: session for session in start.due if session.relative_id > scope.after}
        state, complete = start.state, start.state.complete
        plan = cls(scope, full, state.known, state.known, state.pruned_before, due)
        is_complete = complete is not None and not full and not due and scope.is_within(complete.scope)
        first = evolve(
            plan._range("top"),
            check_end=full or start.highest > 0 or not state.is_synced,
            known_digest=complete.digest if complete is not None and is_complete else b"",
        )
        return plan, first

    @property
    def restarts(self) -> bool:
        """Whether the list is to be read again from the top."""
        return "top" in self.parts_left

    def next_range(self) -> ReadRange | None:
        """Return the next part of the list to read; None if the known range needs no more."""
        while self.parts_left:
            part = self.parts_left.pop(0)
            if self._is_needed(part):
                return self._range(part)
        return None

    def _is_needed(self, part: _Part) -> bool:
        if part == "top":
            return True
        if part == "gap":
            return self.known.upper is not None and self.scope.after + 1 < self.known.upper[0]
        return self.known.main is not None and is_more_below(self.known, self.scope)

    def _range(self, part: _Part) -> ReadRange:
        """Return the range of a part of the list. It ends at a known session, to compare it, if there is one."""
        known = self.known
        end = (self.scope.after if self.repair_above is None else min(self.scope.after, self.repair_above)) + 1
        if part == "top" and known.main is not None and not self.full:
            return ReadRange(low=(known.upper or known.main)[1], part=part, joins=True)
        if part == "gap" and known.main is not None and known.upper is not None:
            return ReadRange(low=known.main[1], high=known.upper[0], part=part, joins=True)
        return ReadRange(low=end, high=known.main[0] if part == "below" and known.main else None, part=part)

    def next_check(self) -> ReadRange | None:
        """Return the next check: of the session whose last check is the longest ago, with due sessions near it."""
        if not self.due or self.checks >= MAX_CHECKS:
            return None
        first = next(iter(self.due))
        numbers = [number for number in self.due if abs(number - first) < _GROUP_SPAN]
        high = max(numbers)
        low = min(number for number in numbers if high - number < _GROUP_SPAN)
        session_id = self.due[first].id if low == high else None
        return ReadRange(low=low, high=high, is_check=True, session_id=session_id)

    def after_page(self, page: PageToSave, saved: SavedPage) -> None:
        """Update the plan after a page was saved."""
        self.known = saved.known
        if saved.is_contradiction:
            self.repair_above = self.fallback.main[0] - 1 if self.fallback.main else ALL_NUMBERS[1]
            self.fallback = NOTHING_KNOWN
            # A read that began at the top continues: its pages are known. Any other one begins again at the top.
            self.parts_left = ["gap", "below"] if page.is_whole_top else ["top"]
            self.pruned_before = None if saved.is_recreated else self.pruned_before
        if saved.is_stale:
            self.is_stale = True
            self.fallback = self.fallback.up_to(self.top)
        for low, high in filter(None, (page.proven, page.checked)):
            shown = range(low, high + 1)
            for number in [each for each in self.due if each in shown]:
                del self.due[number]
        for session in page.listed or page.sessions:
            self.due.pop(session.relative_id, None)


@define
class RangeReading:
    """One range while it is read.

    Attributes:
        read: The range of `relative_id`s that were read, and that are saved completely.
        is_cut: Whether `read` ends above a session that is not in scope.
        is_whole: Whether all sessions were in scope so far.
    """

    plan: SyncPlan
    part: ReadRange
    is_first: bool
    read: Interval | None = None
    is_cut: bool = False
    is_whole: bool = True

    def take(self, page: SessionPage, listed: Sequence[Session]) -> tuple[PageToSave, bool]:
        """Return what to save of a page, and what it proves. Also return whether the range needs no other page."""
        plan, scope, sessions = self.plan, self.plan.scope, page.sessions
        is_first, self.is_first = self.is_first, False
        if is_first:
            plan.top = max((session.relative_id for session in listed), default=0)
        unlimited = self._unlimited_above()
        end = min(scope.after, unlimited) + 1
        kept = [session for session in sessions if not is_before(session, plan.pruned_before)]
        included = [each for each in kept if each.relative_id > unlimited or scope.includes(each)]
        is_pruned = bool(sessions) and not kept
        is_old = bool(sessions) and all(each.relative_id <= unlimited and scope.is_too_old(each) for each in kept)
        self.is_whole &= len(included) == len(kept)
        if plan.is_verified and page.proven_range is not None and not self.is_cut:
            left_out = {session.relative_id for session in kept}.difference(each.relative_id for each in included)
            self._extend(page.proven_range, left_out, is_pruned=is_pruned)
        is_last = page.is_last or is_old or (self.part.joins and any(each.relative_id <= end for each in sessions))
        to_save = PageToSave(
            sessions=included,
            listed=listed if plan.is_verified else (),
            proven=page.proven_range if plan.is_verified else None,
            read=self.read if plan.is_verified and self.part.part is not None else None,
            is_whole_top=self.is_whole and self.part.part == "top",
            is_first=is_first and plan.is_verified,
            is_repair=plan.repair_above is not None,
            checked=(self.part.low, self.part.high or self.part.low) if self.part.is_check and is_last else None,
            older_than=scope.since if is_old and not is_pruned else None,
        )
        return to_save, is_last

    def _extend(self, proven: Interval, left_out: Collection[int], *, is_pruned: bool) -> None:
        """Extend `read` by a page, down to the first session that is left out."""
        low, high = (1, proven[1]) if is_pruned else proven
        cut = max((number for number in left_out if not self.plan.known.contains(number)), default=0)
        self.is_cut = cut >= low
        low, high = max(low, cut + 1), self.read[1] if self.read else high
        self.read = (low, high) if low <= high else None

    def _unlimited_above(self) -> int:
        """Return the `relative_id` above which all sessions are saved, whatever the scope is.

        So a sync leaves no gap above the known range, unless the gap is larger than `_NEAR`.
        """
        plan, part = self.plan, self.part
        is_near = part.joins and (part.high or plan.top) - part.low <= _NEAR
        lowest = part.low - 1 if is_near else ALL_NUMBERS[1]
        return lowest if plan.repair_above is None else min(lowest, plan.repair_above)


def is_more_below(known: KnownRange, scope: SyncScope) -> bool:
    """Return whether sessions below the known range may be in scope."""
    if known.main is None:
        return True
    if known.main[0] <= scope.after + 1:
        return False
    return known.older_than is None or scope.since is None or known.older_than > scope.since


def is_check_due(created: datetime | None, checked: datetime | None, *, now: datetime) -> bool:
    """Return whether an unfinished session is to be requested again: `checked` is the time of the last check or save.

    A check in the future does not count: the clock was wrong.
    """
    if checked is None:
        return True
    age = now - created if created else timedelta()
    pause = min(max(age * PAUSE_PER_AGE, SHORTEST_PAUSE), LONGEST_PAUSE)
    return not timedelta() <= now - checked < pause
