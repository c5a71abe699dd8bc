"""Decides what a page proves about the sessions in the database. Pure.

Presence is believed at once: a session on a page existed with these values when the page was requested. Absence is
believed the second time: a session that a page should have contained is marked as missing, and as deleted only when
another sync does not find it, either. So no single wrong response marks a session as deleted. `deleted_at` is the time
at which it was first missing.

Later evidence overrules earlier evidence: a session that was marked as deleted and reappears proves that a response
was wrong, so all coverage of the suite is dropped, and the suite is read again. The same happens if the suite was
created again: then another session has the `relative_id` of a saved one, or a page lists sessions of the covered range
below it, none of which is saved.

A page of a branch proves that its sessions exist, but marks none as missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from attrs import Factory, define

from .intervals import Interval, Intervals, interval_at
from .messages import PageToSave
from .rows import Row, StoredId, to_sql


class SavedSession(NamedTuple):
    """A session in the database, with the sync that did not find it.

    It `is_newer` if another sync has saved or marked it after the page was requested: the page proves nothing about it.
    """

    id: StoredId
    relative_id: int
    row: Row
    missing_by: int | None = None
    is_deleted: bool = False
    is_newer: bool = False

    @property
    def is_living(self) -> bool:
        """Whether it is neither missing nor deleted."""
        return self.missing_by is None and not self.is_deleted


@define
class PageChanges:
    """The changes to make in the database: ids of sessions, and what becomes of the coverage.

    Attributes:
        changed: The sessions that have other values than before, and those that are `new`.
        restored: The sessions that are not missing or deleted any more.
        dropped: The range to be removed from the coverage before a claim is added.
        to_read_again: The `relative_id`s to be removed from it afterwards, so that the next sync reads them.
        is_contradiction: Whether all coverage is dropped: a deleted session has reappeared, or the suite was created
            again.
        is_stale: Whether the page is the first one of an older state of the list: it lacks the newest living session.
    """

    new: list[StoredId] = Factory(list)
    changed: list[StoredId] = Factory(list)
    restored: list[StoredId] = Factory(list)
    missing: list[StoredId] = Factory(list)
    deleted: list[StoredId] = Factory(list)
    dropped: Interval | None = None
    to_read_again: list[int] = Factory(list)
    is_contradiction: bool = False
    is_stale: bool = False

    @property
    def is_change(self) -> bool:
        """Whether there is any session to be saved or marked."""
        return bool(self.changed or self.restored or self.missing or self.deleted)


ALL_NUMBERS: Interval = (1, 2**63 - 1)


def judge(
    page: PageToSave,
    rows: Mapping[StoredId, Row],
    saved: Collection[SavedSession],
    *,
    others: Intervals = (),
    older: tuple[datetime, int] | None = None,
) -> PageChanges:
    """Return what a page proves.

    `saved` are the sessions in the database whose `relative_id`s are on the page, in the proven range or, if the page
    is the first one of all branches, above its top; `others` are the `relative_id`s that other syncs have covered.
    """
    listed = listed_ids(page)
    relative_ids = set(listed.values())
    kind = kind_of(page, saved) if page.branch is None else None
    is_other_list = kind in {"empty", "recreated"} or _is_younger(page, older) or _is_unexpected(page, saved, others)
    changes = PageChanges(is_contradiction=is_other_list, is_stale=kind == "stale")
    new = dict(rows)
    for session in saved:
        row = new.pop(session.id, None)
        if session.is_newer:
            continue
        if row is not None:
            _judge_present(session, row, changes)
        elif session.id not in listed and not session.is_deleted:
            if session.relative_id in relative_ids and session.missing_by is None:
                changes.is_contradiction = True  # another session has its `relative_id`
            if page.branch is not None:
                continue
            if _is_gone(session, page, kind):
                _judge_absent(session, page.sync, changes)
            elif session.missing_by is not None and _is_in(page.claimed, session):
                changes.to_read_again.append(session.relative_id)  # this sync did not find it on the page before
    changes.new += new
    changes.changed += new
    changes.is_contradiction = changes.is_contradiction and not page.is_repair
    stale = ((page.top or 0) + 1, ALL_NUMBERS[1]) if changes.is_stale else None
    changes.dropped = ALL_NUMBERS if changes.is_contradiction else stale
    return changes


def kind_of(page: PageToSave, saved: Collection[SavedSession]) -> Literal["stale", "empty", "recreated"] | None:
    """Return what the first page says about the list; None if nothing special, or for another page.

    - stale: an older state of the list. It lacks the newest living session.
    - empty: no session exists any more.
    - recreated: another list. It has no saved session, and no `relative_id` above the newest living one.
    """
    # Not the sessions that another sync has saved since the page was requested.
    newest = max((each.relative_id for each in saved if each.is_living and not each.is_newer), default=0)
    if page.top is None or page.top > newest or newest == 0:
        return None
    if page.top == 0:
        return "empty"
    listed = listed_ids(page)
    if not any(listed.get(session.id) == session.relative_id for session in saved):
        return "recreated"
    return "stale" if page.top < newest else None


def listed_ids(page: PageToSave) -> dict[StoredId, int]:
    """Return the `relative_id`s of the sessions on a page by their ids, as they are stored."""
    return {to_sql(session.id): session.relative_id for session in page.listed}


def _is_unexpected(page: PageToSave, saved: Collection[SavedSession], covered: Intervals) -> bool:
    """Return whether a page lists sessions of the covered range below it, none of which is saved."""
    below = interval_at(covered, page.claimed[0] - 1) if page.claimed else None
    if below is None:
        return False
    listed = {id_ for id_, relative_id in listed_ids(page).items() if below[0] <= relative_id <= below[1]}
    return bool(listed) and listed.isdisjoint(session.id for session in saved)


def _is_younger(page: PageToSave, older: tuple[datetime, int] | None) -> bool:
    """Return whether a session on a page is not as old as its `relative_id` says."""
    return older is not None and any(
        session.relative_id <= older[1] and session.create_date is not None and session.create_date >= older[0]
        for session in page.listed
    )


def _is_gone(session: SavedSession, page: PageToSave, kind: str | None) -> bool:
    """Return whether a page proves that a session, which is not on it, does not exist."""
    if page.top is not None and session.relative_id > page.top:
        # Sessions that are missing already are gone, unless the page is stale.
        return kind in {"empty", "recreated"} or (session.missing_by is not None and kind != "stale")
    return _is_in(page.proven, session)


def _is_in(interval: Interval | None, session: SavedSession) -> bool:
    return interval is not None and interval[0] <= session.relative_id <= interval[1]


def _judge_present(session: SavedSession, row: Row, changes: PageChanges) -> None:
    if session.is_deleted:
        changes.is_contradiction = True
    if session.row != row:
        changes.changed.append(session.id)
    if not session.is_living:
        changes.restored.append(session.id)


def _judge_absent(session: SavedSession, sync: int, changes: PageChanges) -> None:
    if session.missing_by is None:
        changes.missing.append(session.id)
        changes.to_read_again.append(session.relative_id)
    elif session.missing_by == sync:
        changes.to_read_again.append(session.relative_id)
    else:
        changes.deleted.append(session.id)
