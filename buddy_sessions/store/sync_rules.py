"""The rules of a sync: pure functions of its progress, of a page, and of what is saved. `pages` and `sync` apply them.

In the order of a sync: `next_part` says what is read next, `find_effects` what a page changes in the database,
`state_after` what is covered then, and `marks_of_absent` which sessions are missing.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

from attrs import Factory, define, evolve, frozen

from .._paging.paginator import SessionPage
from ..models import Session, is_before
from .schema import FIELDS, SessionValues
from .suites import ALL_NUMBERS, BelowCovered, Interval, Marks, SuiteState, next_marks

MAX_CHECKS = 10
"""The number of unfinished sessions that the sync of a suite requests by themselves."""

# The time between two checks of an unfinished session: a share of its age, within these limits.
PAUSE_PER_AGE = 1 / 10
SHORTEST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(days=1)


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
    """The progress of the sync of one suite: what it has read, and what is left."""

    start: SuiteState  # what the database claimed before, with the limit of this sync
    state: SuiteState  # what it claims now
    due: dict[int, str]  # the ids of unfinished sessions that are still to be checked, by `relative_id`
    missing: array[int]  # the `relative_id`s of sessions that were missing before, still to be looked for; ascending
    newest_missing: SessionToCheck | None = None  # the newest one of these, until it was requested
    top: int | None = None  # the highest `relative_id` of the list, 0 if it is empty; None before its first page
    read_range: Interval | None = None  # what this sync itself has read without a gap, from the top of the list
    is_end_read: bool = False  # whether it has read the end of the list
    absent: array[int] = Factory(lambda: array("q"))  # the rows of sessions that pages should have listed
    # Why nothing else is read: the first page is that of the last clean sync, or a read is not verified.
    stop: Literal["unchanged", "unverified"] | None = None
    is_contradiction: bool = False  # whether a page has contradicted what the database claimed
    is_outdated: bool = False  # whether a session above the top of the list exists

    def note(self, evidence: ListEvidence, effects: PageEffects) -> None:
        """Note what a page has shown. Unfinished sessions that it lists, or should list, need no check."""
        self.state = effects.state
        self.absent.extend(effects.absent)
        self.is_contradiction |= effects.is_contradiction
        low, high = evidence.proven or (1, 0)
        lowest = self.state.lowest
        shown = {evidence.checked, *(each.relative_id for each in (*evidence.listed, *evidence.sessions))}
        for due in [each for each in self.due if each in shown or low <= each <= high or each < lowest]:
            del self.due[due]


def next_part(progress: SyncProgress, *, full: bool = False) -> Part | SessionToCheck | None:
    """Return what a sync reads next; None if nothing is left. With `full`, the whole list.

    The list from its top; the newest missing session, if it is above that; the list below the covered range, and around
    missing sessions; unfinished sessions.
    """
    state, newest = progress.state, progress.newest_missing
    if progress.stop is not None:
        return None
    if progress.top is None:
        return Part(low=1 if full or state.covered is None else state.covered[1])
    if newest is not None and newest.relative_id > progress.top > 0:
        return newest
    if state.covered and (state.below == "more" or (state.below == "end" and not progress.is_end_read)):
        return Part(high=state.covered[0])
    if progress.missing:
        return Part(low=progress.missing[-1], high=progress.missing[-1], is_around=True)
    return SessionToCheck(*next(iter(progress.due.items()))) if progress.due else None


def is_check_due(created: datetime | None, checked: datetime | None, *, now: datetime) -> bool:
    """Return whether an unfinished session is to be requested again: `checked` is the time of the last check or save.

    A check in the future does not count: the clock was wrong.
    """
    if checked is None:
        return True
    age = now - created if created else timedelta()
    pause = min(max(age * PAUSE_PER_AGE, SHORTEST_PAUSE), LONGEST_PAUSE)
    return not timedelta() <= now - checked < pause


@frozen(kw_only=True)
class ListEvidence:
    """A page to be saved, and what it proves."""

    claimed: SuiteState  # what the database claims before this page
    sessions: Sequence[Session]
    # What it claims afterwards, unless this is the first page that contradicts it.
    claimed_next: SuiteState = Factory(lambda self: self.claimed, takes_self=True)
    # All sessions that responses have listed since the page before, also those that were read before: they are compared
    # with what the database claims. Empty for a session that was requested alone, and for an unverified read.
    listed: Sequence[Session] = ()
    proven: Interval | None = None  # the range of `relative_id`s whose existing sessions are all listed
    read_range: Interval | None = None  # what the sync has read without a gap from the top of the list, with this page
    is_contradicted: bool = False  # an earlier page has contradicted it: it claims only what this sync has read
    limit: datetime | None = None  # sessions that were created before are saved only if they were saved before
    checked: int | None = None  # the `relative_id` of the session that was requested by itself
    invalid_fields: Mapping[str, AbstractSet[str]] = Factory(dict)  # that could not be read: they stay as they were

    def repeats(self, previous_ids: AbstractSet[str]) -> bool:
        """Return whether only sessions of the page before are listed, with these ids: so ends a list of full pages."""
        says_more = self.sessions or self.proven is not None or self.checked is not None
        return not says_more and {each.id for each in self.listed} <= previous_ids


SavedSession: TypeAlias = sqlite3.Row | Mapping[str, Any]
"""A session in the database: its `FIELDS` as they are stored, `missing_since`, `deleted_at`, and its row's `number`."""


@define(kw_only=True)
class PageEffects:
    """The changes of a page in the database, and what the database claims then."""

    state: SuiteState
    sessions: tuple[Session, ...] = ()  # those to save, in the order of the page: new ones, and those that have changed
    changed: set[str] = Factory(set)  # the ids of those that have changed
    present: list[int] = Factory(list)  # the rows of sessions that the page lists
    restored: list[int] = Factory(list)  # the rows of those that were missing or deleted
    absent: array[int] = Factory(lambda: array("q"))  # the rows of sessions that the page should list, but does not
    is_contradiction: bool = False  # the database claims something else
    repaired: int = 0  # sessions that should have been saved, but were not, or were missing or deleted


def stored_values(session: SavedSession) -> SessionValues:
    """Return the values of a session in the database, in the order of `FIELDS`."""
    return tuple(session[name] for name in FIELDS)


def find_effects(
    evidence: ListEvidence, values: Mapping[str, SessionValues], saved: Collection[SavedSession]
) -> PageEffects:
    """Return what a page shows. `values` are those of its sessions by their ids.

    `saved` are the sessions in the database that have a `relative_id` on the page. It contradicts what the database
    claims if a session should be saved, but is not, if it has another `id`, or if it was deleted: then an earlier
    response was wrong, or the suite was created again.
    """
    after, saved_ids = evolve(evidence.claimed_next, clean=None), {each["id"] for each in saved}
    effects = PageEffects(state=after)
    listed, relative_ids = {each.id for each in evidence.listed}, {each.relative_id for each in evidence.listed}
    for session in saved:
        id_ = session["id"]
        if id_ in values or id_ in listed:
            effects.present.append(session["number"])
            if id_ in values and values[id_] != stored_values(session):
                effects.changed.add(id_)
            if session["missing_since"] is not None:
                effects.restored.append(session["number"])
            effects.is_contradiction |= session["deleted_at"] is not None
        elif session["missing_since"] is None and session["relative_id"] in relative_ids:
            effects.is_contradiction = True  # another session has its `relative_id`
    new = [each for each in evidence.sessions if each.id not in saved_ids and not is_before(each, evidence.limit)]
    to_save = effects.changed.union(each.id for each in new)
    effects.sessions = tuple(each for each in evidence.sessions if each.id in to_save)
    effects.repaired = len(effects.restored) + sum(map(evidence.claimed.claims, new))
    effects.is_contradiction |= any(
        each.id not in saved_ids and evidence.claimed.claims(each) for each in evidence.listed
    )
    if effects.is_contradiction and not evidence.is_contradicted:  # from now on, only what the sync reads is covered
        below: BelowCovered = "nothing" if evidence.read_range and evidence.read_range[0] == 1 else "more"
        effects.state = evolve(after, covered=evidence.read_range, below=below)
    return effects


def read_range_after(progress: SyncProgress, part: Part) -> Interval | None:
    """Return what a sync itself has read without a gap, from the top of the list, after a page of a part."""
    read_range = progress.read_range
    if part.high is None:
        return part.kept
    if read_range is None or part.kept is None or read_range[0] > part.high:
        return read_range
    return min(read_range[0], part.kept[0]), read_range[1]


def state_after(progress: SyncProgress, part: Part) -> SuiteState:
    """Return what the database may claim after a page of a part, if the page does not contradict it.

    A part below the covered range, or of a list of which nothing is known, extends it page by page. One from the top
    extends it once it has come down to it, or to the end of the list.
    """
    state, covered, kept = progress.state, progress.state.covered, part.kept
    if part.is_around:
        if covered is None or not part.is_end or part.lowest > covered[1]:
            return state
        # The list ends in the covered range: Buddy may have deleted the missing session, and all below, by their age.
        return evolve(state, covered=(part.lowest, covered[1]), below="end")
    if part.high is None and covered is not None and covered != progress.read_range:
        highest = max(covered[1], kept[1] if kept else 0)
        if part.low > 1 and part.lowest <= covered[1]:
            return evolve(state, covered=(covered[0], highest))
        if not (part.is_end or part.is_done):
            return state
        covered = (kept[0], highest) if kept else None
    elif kept is not None:
        covered = (kept[0], covered[1] if covered else kept[1])
    below = _below(progress.start, covered, part) if part.is_end or part.is_done else "more"
    return evolve(state, covered=covered, below=below)


def _below(start: SuiteState, covered: Interval | None, part: Part) -> BelowCovered:
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


def marks_of_absent(session: SavedSession, progress: SyncProgress, now: str) -> Marks:
    """Return the marks of a saved session that a verified read should have listed, but has not.

    A read that has contradicted the database deletes nothing; nor does one whose first page is outdated, above it.
    """
    marks = Marks(session["missing_since"], session["deleted_at"])
    is_above = progress.is_outdated and session["relative_id"] > (progress.top or 0)
    return next_marks(marks, now, may_delete=not (progress.is_contradiction or is_above))
