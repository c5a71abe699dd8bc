"""The rules that decide what pages prove about the sessions in the database. Pure; `pages` applies them.

A contradiction proves that an earlier response was wrong, or that the suite was created again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from attrs import Factory, define, evolve, frozen

from .._paging.paginator import SessionPage
from ..models import Session
from .schema import SessionValues
from .suites import ALL_NUMBERS, Interval, SuiteState, SyncScope

# The time between two checks of an unfinished session: a share of its age, within these limits.
PAUSE_PER_AGE = 1 / 10
SHORTEST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(days=1)


def is_check_due(created: datetime | None, checked: datetime | None, *, now: datetime) -> bool:
    """Return whether an unfinished session is to be requested again: `checked` is the time of the last check or save.

    A check in the future does not count: the clock was wrong.
    """
    if checked is None:
        return True
    age = now - created if created else timedelta()
    pause = min(max(age * PAUSE_PER_AGE, SHORTEST_PAUSE), LONGEST_PAUSE)
    return not timedelta() <= now - checked < pause


class SessionToCheck(NamedTuple):
    """A session that is requested by itself: an unfinished one, or the newest one, which the first page lacks."""

    relative_id: int
    id: str
    is_newest: bool = False


@frozen(kw_only=True)
class PageToSave:
    """A page to be saved, and what it proves."""

    sessions: Sequence[Session]
    too_old: Collection[int] = ()  # the `relative_id`s of sessions that are saved only if they were saved before
    # All sessions that responses have listed since the page before, also those that were read before: they are compared
    # with the database. Empty for a session that was requested alone, and for a list out of order.
    listed: Sequence[Session] = ()
    proven: Interval | None = None  # the range of `relative_id`s whose existing sessions are all listed
    # The range of `relative_id`s that this read has saved completely, from its first page to this one.
    read: Interval | None = None
    # The lowest `relative_id` of the list, if it is above 1, and this page proves that the list ends there.
    end: int | None = None
    is_first: bool = False  # of the list
    # Whether a page before was a contradiction. There is only one in a sync, or it might not end.
    after_contradiction: bool = False
    checked: int | None = None  # the `relative_id` of the session that was requested by itself
    # The id of the newest session, which could be requested, although the first page lacks it.
    unlisted: str | None = None
    older_than: datetime | None = None  # a time before which all sessions below `read` were created

    @property
    def top(self) -> int | None:
        """For the first page of the list, the highest `relative_id` on it, 0 if it is empty; None for another page."""
        return max((session.relative_id for session in self.listed), default=0) if self.is_first else None


@frozen(kw_only=True)
class SavedPage:
    """What saving a page has changed, and the state of the suite afterwards.

    `repaired` is the number of sessions that it has corrected: they should have been saved, but were not, or were
    marked as missing or deleted.
    """

    state: SuiteState
    changed: tuple[Session, ...] = ()
    is_contradiction: bool = False
    is_outdated: bool = False
    repaired: int = 0


@define(kw_only=True)
class ReadRange:
    """A range of `relative_id`s that a sync reads, and what was read of it."""

    low: int = 1  # the `relative_id` at which the read ends
    high: int | None = None  # the `relative_id` at which it begins; None for the newest session
    all_above: int = ALL_NUMBERS[1]  # all sessions above this `relative_id` are saved, whatever `since` is
    extends: bool = True  # whether the range extends the known range
    lowest: int | None = None  # the lowest `relative_id` that was read
    read: Interval | None = None  # the range of `relative_id`s that were read, and that are saved completely
    is_cut: bool = False  # whether `read` ends above a session that `since` leaves out
    is_done: bool = False  # whether a page was read whose sessions all were pruned, or are older than `since`

    def take(
        self, page: SessionPage, listed: Sequence[Session], state: SuiteState, scope: SyncScope, *, is_verified: bool
    ) -> PageToSave:
        """Return what to save of a page, and what it proves: nothing if the list is out of order."""
        sessions = page.sessions
        kept = [session for session in sessions if not state.was_pruned(session)]
        too_old = {each.relative_id for each in kept if each.relative_id <= self.all_above and not scope.includes(each)}
        is_pruned = bool(sessions) and not kept
        self.is_done = bool(sessions) and len(too_old) == len(kept)
        is_first = self.high is None and self.lowest is None
        if not is_verified:
            self.is_done |= self.low > 1 and any(each.relative_id <= self.low for each in sessions)
            return PageToSave(sessions=sessions, too_old=too_old)
        if sessions:
            self.lowest = sessions[-1].relative_id
        elif self.lowest is None and self.high is not None:
            self.lowest = self.high + 1
        proven, is_end = page.proven_range, False
        if proven is not None and self.lowest is not None and proven[0] < self.lowest:
            # The list ends above 1: Buddy has deleted what is older, which proves nothing about the sessions below.
            is_end = page.is_last and not self.is_cut
            proven = (self.lowest, proven[1]) if self.lowest <= proven[1] else None
        if proven is not None and not self.is_cut:
            self._extend(proven, [number for number in too_old if not state.knows(number)], is_pruned=is_pruned)
        is_older = (self.is_done and not is_pruned) or (self.is_cut and page.is_last and self.low == 1)
        return PageToSave(
            sessions=sessions,
            too_old=too_old,
            listed=listed,
            proven=proven,
            read=self.read if self.extends else None,
            end=self.lowest if is_end and not self.is_cut else None,
            is_first=is_first,
            older_than=scope.since if is_older else None,
        )

    def _extend(self, proven: Interval, left_out: Sequence[int], *, is_pruned: bool) -> None:
        """Extend `read` by a page, down to the first session that is left out. What was pruned is known."""
        low, cut = 1 if is_pruned else proven[0], max(left_out, default=0)
        self.is_cut = cut >= low
        low, high = max(low, cut + 1), self.read[1] if self.read else proven[1]
        self.read = (low, high) if low <= high else None


class SavedSession(NamedTuple):
    """A session in the database, with the number of its row."""

    number: int
    id: str
    relative_id: int
    values: SessionValues
    is_missing: bool = False
    is_deleted: bool = False

    @property
    def is_living(self) -> bool:
        """Whether it is neither missing nor deleted."""
        return not self.is_missing and not self.is_deleted


@define
class PageChanges:
    """What a page changes in the database."""

    new: list[str] = Factory(list)  # the ids of sessions that are not saved yet
    changed: list[str] = Factory(list)  # the ids of those that have other values than before, and of the new ones
    present: list[int] = Factory(list)  # the numbers of sessions that the page lists, as in `SavedSession`
    restored: list[int] = Factory(list)  # the numbers of those that were missing or deleted
    # The ranges of `relative_id`s in which only the sessions exist that the page lists.
    absent: list[Interval] = Factory(list)
    is_contradiction: bool = False  # the known range is dropped
    is_recreated: bool = False  # the suite was created again, which is a contradiction, too
    is_outdated: bool = False  # a first page lacks the newest living session: the list is an older one


def find_changes(
    page: PageToSave,
    values: Mapping[str, SessionValues],
    saved: Collection[SavedSession],
    state: SuiteState,
    *,
    newest: int,
) -> PageChanges:
    """Return what a page proves.

    `values` are those of its sessions by their ids. `saved` are the sessions in the database that have a
    `relative_id` on the page, and `newest` is the highest one of a living session, 0 if there is none.
    """
    changes = _compare(page, values, saved)
    saved_ids = {session.id for session in saved}
    left_out = {each.id for each in page.sessions if each.relative_id in page.too_old or state.was_pruned(each)}
    changes.new += [id_ for id_ in values if id_ not in saved_ids and id_ not in left_out]
    changes.changed += changes.new
    top = page.top or 0
    is_another_list = 0 < top <= newest and _is_another_list(page, saved, state)
    changes.is_outdated = 0 < top < newest and not is_another_list
    changes.is_recreated |= is_another_list
    changes.is_contradiction |= changes.is_recreated or any(
        each.id not in saved_ids and _should_be_saved(each, state) for each in page.listed
    )
    changes.is_contradiction &= not page.after_contradiction
    changes.is_recreated &= changes.is_contradiction
    if changes.is_recreated:
        # What is above this page was read before: it is of the list that this page shows.
        highest = ALL_NUMBERS[1] if page.is_first else max(session.relative_id for session in page.listed)
        changes.absent.append((1, highest))
        return changes
    if page.proven is not None:
        changes.absent.append(page.proven)
    if top and not is_another_list and not changes.is_outdated:
        changes.absent.append((top + 1, ALL_NUMBERS[1]))
    return changes


def _compare(page: PageToSave, values: Mapping[str, SessionValues], saved: Collection[SavedSession]) -> PageChanges:
    """Return what a page shows about saved sessions."""
    changes = PageChanges()
    listed, relative_ids = {each.id for each in page.listed}, {each.relative_id for each in page.listed}
    for session in saved:
        listed_now = values.get(session.id)
        if listed_now is not None or session.id in listed:
            changes.present.append(session.number)
            if listed_now is not None and session.values != listed_now:
                changes.changed.append(session.id)
            if not session.is_living:
                changes.restored.append(session.number)
            changes.is_contradiction |= session.is_deleted
        elif session.is_living and session.relative_id in relative_ids:
            changes.is_recreated = True  # another session has its `relative_id`
    return changes


def _is_another_list(page: PageToSave, saved: Collection[SavedSession], state: SuiteState) -> bool:
    """Return whether a page has no session that is saved or was pruned."""
    listed = {(each.id, each.relative_id) for each in page.listed}
    was_pruned = any(map(state.was_pruned, page.listed))
    return not was_pruned and listed.isdisjoint((each.id, each.relative_id) for each in saved)


def _should_be_saved(session: Session, state: SuiteState) -> bool:
    """Return whether a listed session should be in the database, if what is known is right."""
    if state.knows(session.relative_id):
        return not state.was_pruned(session)
    if state.known is None or state.older_than is None or session.relative_id > state.known[0]:
        return False
    return session.create_date is not None and session.create_date >= state.older_than


def state_after(state: SuiteState, page: PageToSave, changes: PageChanges, now: datetime) -> SuiteState:
    """Return the state of a suite after a page, if the page changes no saved session."""
    after = evolve(state, unlisted=page.unlisted or (None if page.is_first else state.unlisted))
    if changes.is_contradiction:
        after = after.forget()
    elif changes.is_outdated:
        after = evolve(after.up_to(page.top or 0), unlisted=state.unlisted)
    if after.end is not None and any(each.relative_id < after.end.number for each in page.listed):
        after = evolve(after, end=None)
    if page.read is not None and not changes.is_contradiction:
        after = after.extend(page.read, is_end=page.end is not None)
        if page.older_than is not None and after.known is not None and after.known[0] == page.read[0]:
            after = evolve(after, older_than=page.older_than)
    if page.end is not None and not changes.is_contradiction:
        after = after.end_at(page.end, now)
    return after if after == state else evolve(after, complete=None)
