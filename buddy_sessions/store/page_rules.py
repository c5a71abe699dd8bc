"""What a page shows about the sessions in the database. Pure; `pages` applies it."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple

from attrs import Factory, define, evolve, frozen

from ..models import Session, is_before
from .schema import SessionValues
from .suites import Interval, SuiteState

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


@frozen(kw_only=True)
class ListEvidence:
    """A page to be saved, and what it proves."""

    before: SuiteState  # what the database claims before this page
    after: SuiteState  # what it claims afterwards, if the page does not contradict it
    sessions: Sequence[Session]
    # All sessions that responses have listed since the page before, also those that were read before: they are compared
    # with what the database claims. Empty for a session that was requested alone, and for a list out of order.
    listed: Sequence[Session] = ()
    proven: Interval | None = None  # the range of `relative_id`s whose existing sessions are all listed
    read: Interval | None = None  # what the sync has read without a gap from the top of the list, with this page
    limit: datetime | None = None  # sessions that were created before are saved only if they were saved before
    checked: int | None = None  # the `relative_id` of the session that was requested by itself
    invalid_fields: Mapping[str, AbstractSet[str]] = Factory(dict)  # that could not be read: they stay as they were


@frozen(kw_only=True)
class SaveResult:
    """What saving a page has changed, and the state of the suite afterwards.

    `absent` are the rows of sessions that the page should have listed. `repaired` is the number of sessions that it has
    corrected: they should have been saved, but were not, or were marked as missing or deleted.
    """

    state: SuiteState
    changed: tuple[Session, ...] = ()
    absent: array[int] = Factory(lambda: array("q"))
    is_contradiction: bool = False
    repaired: int = 0


class SavedSession(NamedTuple):
    """A session in the database, with the number of its row."""

    number: int
    id: str
    relative_id: int
    values: SessionValues
    is_missing: bool = False
    is_deleted: bool = False


@define
class PageEffects:
    """What a page changes in the database."""

    new: list[str] = Factory(list)  # the ids of sessions that are not saved yet
    changed: list[str] = Factory(list)  # the ids of those that have other values than before
    present: list[int] = Factory(list)  # the numbers of sessions that the page lists, as in `SavedSession`
    restored: list[int] = Factory(list)  # the numbers of those that were missing or deleted
    is_contradiction: bool = False  # the database claims something else


def find_effects(
    page: ListEvidence, values: Mapping[str, SessionValues], saved: Collection[SavedSession]
) -> PageEffects:
    """Return what a page shows. `values` are those of its sessions by their ids.

    `saved` are the sessions in the database that have a `relative_id` on the page. It contradicts what the database
    claims if a session should be saved, but is not, if it has another `id`, or if it was deleted: then an earlier
    response was wrong, or the suite was created again.
    """
    effects, saved_ids = PageEffects(), {each.id for each in saved}
    listed, relative_ids = {each.id for each in page.listed}, {each.relative_id for each in page.listed}
    for session in saved:
        if session.id in values or session.id in listed:
            effects.present.append(session.number)
            if session.values != values.get(session.id, session.values):
                effects.changed.append(session.id)
            if session.is_missing:
                effects.restored.append(session.number)
            effects.is_contradiction |= session.is_deleted
        elif not session.is_missing and session.relative_id in relative_ids:
            effects.is_contradiction = True  # another session has its `relative_id`
    unsaved = [each for each in page.sessions if each.id not in saved_ids]
    effects.new += [each.id for each in unsaved if not is_before(each, page.limit)]
    effects.is_contradiction |= any(each.id not in saved_ids and page.before.claims(each) for each in page.listed)
    return effects


def settle_state(page: ListEvidence, effects: PageEffects) -> SuiteState:
    """Return what the database claims after a page: after a contradiction, only what this sync has read."""
    if not effects.is_contradiction or page.after.covered == page.read:
        return page.after
    return evolve(page.after, covered=page.read, below="nothing" if page.read and page.read[0] == 1 else "more")
