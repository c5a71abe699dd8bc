"""Decides what a page proves about the sessions in the database. Pure.

Presence is believed at once: a session on a page existed with these values when the page was requested. Absence is
believed the second time: a session that a page should have contained is marked as missing, and as deleted only when
another sync does not find it, either. So no single wrong response marks a session as deleted.

Later evidence overrules earlier evidence: a session that was marked as deleted and reappears proves that a response
was wrong, so all coverage of the suite is dropped, and the suite is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from attrs import Factory, define, frozen

from .intervals import Interval

Row = tuple[Any, ...]
"""The values of a session's fields as they are stored, in the order of the columns."""


class KnownSession(NamedTuple):
    """A session in the database.

    Attributes:
        id: The id of the session, as it is stored.
        relative_id: Its number.
        row: Its values.
        missing_by: The sync that did not find it; None if it is not missing.
        is_deleted: Whether it is marked as deleted.
        is_newer: Whether another sync has saved or marked it after the page was requested. Then the page proves nothing
            about it.
    """

    id: object
    relative_id: int
    row: Row
    missing_by: int | None = None
    is_deleted: bool = False
    is_newer: bool = False


@frozen(kw_only=True)
class Evidence:
    """The evidence on a page.

    Attributes:
        rows: The values of the sessions to be saved, by their ids.
        numbers: The numbers of these sessions, by their ids.
        covers: The range of numbers whose existing sessions are all on this page; None if there is no proof.
        sync: The number of the sync that has read the page.
        top: For the first page of the list, the highest number on it, 0 if it is empty; None for another page.
        has_known: For the first page of the list, whether the database knows a session on it, with this number.
        newest: For the first page of the list, the highest number of a session in the database that is neither missing
            nor deleted, and that no other sync has saved since the page was requested; 0 if there is none.
        is_repair: Whether this sync has already dropped all coverage. It never does so twice, or it might not end.
    """

    rows: Mapping[object, Row]
    numbers: Mapping[object, int]
    covers: Interval | None = None
    sync: int
    top: int | None = None
    has_known: bool = False
    newest: int = 0
    is_repair: bool = False

    @property
    def is_outdated(self) -> bool:
        """Whether this is the first page of an older state of the list: it lacks the newest known session."""
        return self.top is not None and self.newest > self.top and self.has_known

    @property
    def is_recreated(self) -> bool:
        """Whether the suite seems to have been created again. Also true for an empty first page.

        The first page has no known session, and no number above the newest known one.
        """
        return self.top is not None and self.newest > 0 and self.newest >= self.top and not self.has_known


@define
class Verdict:
    """The changes to make in the database.

    Attributes:
        unknown: The ids of the sessions that are not in the database.
        changed: The ids of the sessions that are unknown or have other values than before.
        restored: The ids of the sessions that are not missing or deleted any more.
        missing: The ids of the sessions to be marked as missing.
        deleted: The ids of the sessions to be marked as deleted.
        dropped: The range of numbers to be removed from the coverage before `covers` is added; None if there is none.
        doubtful: The numbers to be removed from the coverage after that, so that the next sync reads them again.
        is_contradiction: Whether the page contradicts what earlier pages have shown: a deleted session has reappeared,
            or the suite was created again. Then all coverage is dropped.
    """

    unknown: list[object] = Factory(list)
    changed: list[object] = Factory(list)
    restored: list[object] = Factory(list)
    missing: list[object] = Factory(list)
    deleted: list[object] = Factory(list)
    dropped: Interval | None = None
    doubtful: list[int] = Factory(list)
    is_contradiction: bool = False

    @property
    def is_change(self) -> bool:
        """Whether there is any session to be saved or marked."""
        return bool(self.changed or self.restored or self.missing or self.deleted)


ALL_NUMBERS: Interval = (1, 2**63 - 1)


def judge(evidence: Evidence, known: Iterable[KnownSession]) -> Verdict:
    """Return what a page proves.

    Args:
        evidence: The page.
        known: The sessions in the database whose numbers are on the page, in the covered range or, if the page is the
            first one, above its top.
    """
    verdict = Verdict(is_contradiction=evidence.is_recreated)
    unknown = dict(evidence.rows)
    numbers = set(evidence.numbers.values())
    low, high = evidence.covers or (1, 0)
    for session in known:
        row = unknown.pop(session.id, None)
        if session.is_newer:
            continue
        if row is not None:
            _judge_present(session, row, verdict)
        elif not session.is_deleted:
            is_covered = low <= session.relative_id <= high
            if is_covered and session.relative_id in numbers and session.missing_by is None:
                verdict.is_contradiction = True  # another session has its number
            if is_covered or _is_gone_above(session, evidence):
                _judge_absent(session, evidence.sync, verdict)
    verdict.unknown += unknown
    verdict.changed += unknown
    if evidence.is_repair:
        verdict.is_contradiction = False
    if verdict.is_contradiction:
        verdict.dropped = ALL_NUMBERS
    elif evidence.is_outdated:
        verdict.dropped = (evidence.top or 0) + 1, ALL_NUMBERS[1]
    return verdict


def _is_gone_above(session: KnownSession, evidence: Evidence) -> bool:
    """Return whether the first page proves that a session above its top is missing.

    It proves this for all sessions if the suite was created again, and otherwise for those that are missing already,
    unless the page is outdated.
    """
    if evidence.top is None or session.relative_id <= evidence.top:
        return False
    return evidence.is_recreated or (session.missing_by is not None and not evidence.is_outdated)


def _judge_present(session: KnownSession, row: Row, verdict: Verdict) -> None:
    if session.is_deleted:
        verdict.is_contradiction = True
    if session.row != row:
        verdict.changed.append(session.id)
    if session.is_deleted or session.missing_by is not None:
        verdict.restored.append(session.id)


def _judge_absent(session: KnownSession, sync: int, verdict: Verdict) -> None:
    if session.missing_by is None:
        verdict.missing.append(session.id)
        verdict.doubtful.append(session.relative_id)
    elif session.missing_by == sync:
        verdict.doubtful.append(session.relative_id)
    else:
        verdict.deleted.append(session.id)
