"""Decides what a page proves about the sessions in the database. Pure. `pages` marks absent sessions.

A contradiction proves that an earlier response was wrong, or that the suite was created again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from attrs import Factory, define

from ..models import Session, is_before
from .columns import Row, StoredId, to_sql
from .exchange import ALL_NUMBERS, Interval, KnownRange, PageToSave


class SavedSession(NamedTuple):
    """A session in the database, with the number of its row."""

    number: int
    id: StoredId
    relative_id: int
    row: Row
    is_missing: bool = False
    is_deleted: bool = False

    @property
    def is_living(self) -> bool:
        """Whether it is neither missing nor deleted."""
        return not self.is_missing and not self.is_deleted


@define
class PageChanges:
    """What a page changes in the database.

    Attributes:
        new: The ids of sessions that are not saved yet.
        changed: The ids of those that have other values than before, and of the new ones.
        present: The rows of sessions that the page lists.
        restored: The rows of those that were missing or deleted.
        absent: The ranges of `relative_id`s in which only the sessions exist that the page lists.
        is_contradiction: Whether the page is a contradiction that drops the known range.
        is_recreated: Whether the suite was created again.
        is_stale: Whether the page is a first page that shows an older state of the list.
    """

    new: list[StoredId] = Factory(list)
    changed: list[StoredId] = Factory(list)
    present: list[int] = Factory(list)
    restored: list[int] = Factory(list)
    absent: list[Interval] = Factory(list)
    is_contradiction: bool = False
    is_recreated: bool = False
    is_stale: bool = False


def judge(
    page: PageToSave,
    rows: Mapping[StoredId, Row],
    saved: Collection[SavedSession],
    known: KnownRange,
    *,
    newest: int,
    pruned_before: datetime | None = None,
) -> PageChanges:
    """Return what a page proves.

    `rows` are the values of its sessions by their ids. `saved` are the sessions in the database that have a
    `relative_id` on the page, and `newest` is the highest one of a living session, 0 if there is none.
    """
    listed = {to_sql(session.id) for session in page.listed}
    relative_ids = {session.relative_id for session in page.listed}
    kind = kind_of(page, saved, newest, pruned_before)
    changes = PageChanges(is_stale=kind == "stale", is_recreated=kind == "recreated")
    new = dict(rows)
    for session in saved:
        row = new.pop(session.id, None)
        if row is not None or session.id in listed:
            changes.present.append(session.number)
            if row is not None and session.row != row:
                changes.changed.append(session.id)
            if not session.is_living:
                changes.restored.append(session.number)
            changes.is_contradiction |= session.is_deleted
        elif session.is_living and session.relative_id in relative_ids:
            changes.is_recreated = True  # another session has its `relative_id`
    changes.new += new
    changes.changed += new
    unsaved = listed.difference(session.id for session in saved)
    is_unexpected = any(
        to_sql(session.id) in unsaved and _should_be_saved(session, known, pruned_before) for session in page.listed
    )
    changes.is_contradiction |= is_unexpected or changes.is_recreated or kind == "empty"
    changes.is_contradiction &= not page.is_repair
    changes.is_recreated &= not page.is_repair
    if page.proven is not None:
        changes.absent.append(page.proven)
    if page.top is not None and kind != "stale":
        changes.absent.append((page.top + 1, ALL_NUMBERS[1]))
    return changes


def kind_of(
    page: PageToSave, saved: Collection[SavedSession], newest: int, pruned_before: datetime | None = None
) -> Literal["stale", "empty", "recreated"] | None:
    """Return what is unusual about a first page; None if nothing is, or for another page.

    - stale: an older state of the list. It lacks the newest living session.
    - empty: no session exists any more.
    - recreated: another list. It has no session that is saved or was pruned, and no `relative_id` above the newest
      living one.
    """
    if page.top is None or page.top > newest or newest == 0:
        return None
    if page.top == 0:
        return "empty"
    listed = {(to_sql(each.id), each.relative_id) for each in page.listed}
    was_pruned = any(is_before(each, pruned_before) for each in page.listed)
    if not was_pruned and listed.isdisjoint((session.id, session.relative_id) for session in saved):
        return "recreated"
    return "stale" if page.top < newest else None


def _should_be_saved(session: Session, known: KnownRange, pruned_before: datetime | None) -> bool:
    """Return whether a listed session should be in the database, if the known range is right."""
    if known.contains(session.relative_id):
        return not is_before(session, pruned_before)
    if known.main is None or known.older_than is None or session.relative_id > known.main[0]:
        return False
    return session.create_date is not None and not is_before(session, known.older_than)
