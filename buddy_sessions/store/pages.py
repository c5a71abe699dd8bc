"""The SQL of a sync: the state of a suite, and the changes of a page. A function that writes is one transaction."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from attrs import evolve

from ..models import Session, SessionStatus, SuiteKey
from .cases import forget_cases
from .columns import (
    IS_NOT_MARKED,
    MARK_ABSENT,
    Row,
    StoredId,
    from_sql,
    time_to_prefix,
    time_to_sql,
    to_rows,
    to_sql,
    to_time,
)
from .evidence import PageChanges, SavedSession, judge
from .exchange import (
    NOTHING_KNOWN,
    CompleteSync,
    KnownRange,
    PageToSave,
    SavedPage,
    SessionId,
    SuiteState,
    SyncScope,
    SyncStart,
)
from .file import DatabaseFile
from .plan import is_check_due, is_more_below
from .schema import FIELDS, SUITE_NUMBER
from .suites import add_suite, load_state, mark_suite_found, save_state

_COLUMNS = ", ".join(FIELDS)
_VALUES = _COLUMNS.replace("created_by", "member")
_LIVING = f"FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL AND missing_since IS NULL"
# The conditions are those of the index sessions_unfinished, so that SQLite uses it.
_UNFINISHED = f"{_LIVING} AND status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED'"
_HIGHEST = f"SELECT max(relative_id) FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL"
_CREATED_BY = FIELDS.index("created_by")

_SAVE_SESSION = f"""
    INSERT INTO session_rows (suite, checked_at, position, {_COLUMNS})
    VALUES (?, ?, next_position(){", ?" * len(FIELDS)})
    ON CONFLICT (suite, id) DO UPDATE SET ({_COLUMNS}, checked_at, position, missing_since, deleted_at, marked_at) =
    ({", ".join(f"excluded.{name}" for name in FIELDS)}, excluded.checked_at, excluded.position, NULL, NULL, NULL)
"""


def load_start(file: DatabaseFile, key: SuiteKey, now: datetime) -> SyncStart:
    """Return what the database knows of a suite when a sync begins."""
    return SyncStart(load_state(file, key), file.number(_HIGHEST, key), _load_due(file, key, now))


def load_newest(file: DatabaseFile, key: SuiteKey) -> SessionId | None:
    """Return the newest living session of a suite."""
    row = file.execute(f"SELECT relative_id, id {_LIVING} ORDER BY relative_id DESC LIMIT 1", key).fetchone()
    return None if row is None else SessionId(row["relative_id"], from_sql(row["id"]))


def find_missing(file: DatabaseFile, key: SuiteKey, scope: SyncScope, now: datetime, *, below: int) -> int:
    """Return the highest `relative_id` below `below` of a session that is missing since an earlier sync; 0 for none."""
    sql = f"""
        {_HIGHEST} AND missing_since IS NOT NULL
        AND marked_at <> ? AND relative_id > ? AND relative_id < ? AND coalesce(create_date >= ?, TRUE)
    """
    since = None if scope.since is None else time_to_prefix(scope.since)
    return file.number(sql, (*key, time_to_sql(now), scope.after, below, since))


def count_above(file: DatabaseFile, key: SuiteKey, number: int) -> int:
    """Return the number of living sessions with a higher `relative_id`."""
    return file.number(f"SELECT count(*) {_LIVING} AND relative_id > ?", (*key, number))


def save_page(file: DatabaseFile, key: SuiteKey, page: PageToSave, now: datetime) -> SavedPage:
    """Save a page, and what it proves. `now` is the time of the sync: all its marks have it."""
    with file.transaction():
        number, before = add_suite(file, key), load_state(file, key)
        rows: dict[StoredId, Row] = {row[0]: row for row in to_rows(page.sessions)}
        saved = _load_saved(file, number, page)
        newest = 0 if page.top is None else file.number(f"SELECT max(relative_id) {_LIVING}", key)
        changes = judge(page, rows, saved, before.known, newest=newest, pruned_before=before.pruned_before)
        # Absent sessions are marked before new ones are saved, because the new ones are not in `changes.present`.
        is_change = _mark_absent(file, number, changes, now) or bool(changes.changed or changes.restored)
        after = _after_page(before, page, changes, is_change=is_change)
        if after != before:
            save_state(file, key, after)
        mark_suite_found(file, key)
        unfinished = {to_sql(session.id) for session in page.sessions if not session.is_finished}
        _save_sessions(file, number, [rows[id_] for id_ in changes.changed], unfinished, now)
        _restore(file, changes.restored)
        forget_cases(file, number, set(changes.changed).difference(changes.new))
        if page.checked is not None:
            sql = "UPDATE session_rows SET checked_at = ? WHERE suite = ? AND relative_id BETWEEN ? AND ?"
            file.execute(sql, (time_to_sql(now), number, *page.checked))
    changed, new = set(changes.changed), set(changes.new)
    saved_now = tuple(session for session in page.sessions if to_sql(session.id) in changed)
    unsaved = [each for each in saved_now if to_sql(each.id) in new and before.known.contains(each.relative_id)]
    return SavedPage(
        known=after.known,
        changed=saved_now,
        is_contradiction=changes.is_contradiction,
        is_recreated=changes.is_recreated,
        is_stale=changes.is_stale,
        repaired=len(unsaved) + len(changes.restored),
    )


def withdraw_claims(file: DatabaseFile, key: SuiteKey, known: KnownRange, now: datetime) -> None:
    """Restore the known range, and remove the marks that a sync has set, because its list was out of order."""
    sql = f"""
        UPDATE session_rows SET position = next_position(), deleted_at = NULL,
            missing_since = iif(deleted_at IS NULL, NULL, missing_since)
        WHERE suite = {SUITE_NUMBER} AND marked_at = ?
    """
    with file.transaction():
        state = load_state(file, key)
        if state.is_synced:
            save_state(file, key, evolve(state, known=known, complete=None))
            file.execute(sql, (*key, time_to_sql(now)))


def finish_sync(file: DatabaseFile, key: SuiteKey, complete: CompleteSync, *, top: int) -> None:
    """Record that a sync is complete: unless something remains to be read, the same first page needs no comparison.

    `top` is the highest `relative_id` on that page.
    """
    with file.transaction():
        state = load_state(file, key)
        recorded = state.complete
        if recorded and recorded.digest == complete.digest and complete.scope.is_within(recorded.scope):
            return
        is_complete = state.known.upper is None and (not top or not is_more_below(state.known, complete.scope))
        is_missing = file.number(f"{_HIGHEST} AND missing_since IS NOT NULL", key)
        if is_complete and not is_missing and file.number(_HIGHEST, key) == top:
            save_state(file, key, evolve(state, complete=complete))


def _after_page(state: SuiteState, page: PageToSave, changes: PageChanges, *, is_change: bool) -> SuiteState:
    """Return the state of a suite after a page. `is_change`: whether the page changes saved sessions."""
    known = state.known
    if changes.is_contradiction:
        known = NOTHING_KNOWN
    elif changes.is_stale:
        known = known.up_to(page.top or 0)
    if page.read is not None and (page.is_whole_top or not changes.is_contradiction):
        known = known.extend(page.read)
        if page.older_than is not None and known.main is not None and known.main[0] == page.read[0]:
            known = evolve(known, older_than=page.older_than)
    return SuiteState(
        is_synced=True,
        known=known,
        complete=state.complete if known == state.known and not is_change else None,
        pruned_before=None if changes.is_recreated else state.pruned_before,
        cases_pruned_before=None if changes.is_recreated else state.cases_pruned_before,
    )


def _load_due(file: DatabaseFile, key: SuiteKey, now: datetime) -> Sequence[SessionId]:
    """Return the unfinished sessions that are due for a check: first those whose last check is the longest ago."""
    columns = "relative_id, id, status, finish_date, coalesce(create_date, start_date) AS created, checked_at"
    due: list[tuple[str, SessionId]] = []
    for row in file.execute(f"SELECT {columns} {_UNFINISHED} ORDER BY relative_id DESC", key):
        session = Session(
            id=from_sql(row["id"]),
            relative_id=row["relative_id"],
            status=SessionStatus(from_sql(row["status"])),
            finish_date=to_time(row["finish_date"]),
        )
        if not session.is_finished and is_check_due(to_time(row["created"]), to_time(row["checked_at"]), now=now):
            due.append((row["checked_at"] or "", SessionId(session.relative_id, session.id)))
    return [session for _, session in sorted(due, key=lambda each: each[0])]


def _load_saved(file: DatabaseFile, suite: int, page: PageToSave) -> list[SavedSession]:
    """Return the sessions in the database that have the same `relative_id` as one on the page."""
    sql = f"""
        SELECT {_VALUES}, session_rows.number, missing_since, deleted_at
        FROM session_rows LEFT JOIN members ON members.number = created_by
        WHERE suite = ? AND relative_id IN (SELECT value FROM json_each(?))
    """
    numbers = json.dumps([*{session.relative_id for session in (*page.listed, *page.sessions)}])
    return [
        SavedSession(
            number=row["number"],
            id=row["id"],
            relative_id=row["relative_id"],
            row=tuple(row)[: len(FIELDS)],
            is_missing=row["missing_since"] is not None,
            is_deleted=row["deleted_at"] is not None,
        )
        for row in file.execute(sql, (suite, numbers))
    ]


def _save_sessions(
    file: DatabaseFile, suite: int, rows: Sequence[Row], unfinished: Collection[StoredId], now: datetime
) -> None:
    """Save sessions. An unfinished one counts as checked now: the page has just shown its state."""
    members = _save_members(file, {row[_CREATED_BY] for row in rows})
    checked = time_to_sql(now)
    file.execute_many(
        _SAVE_SESSION,
        [
            (
                *(suite, checked if row[0] in unfinished else None),
                *(*row[:_CREATED_BY], members[row[_CREATED_BY]], *row[_CREATED_BY + 1 :]),
            )
            for row in rows
        ],
    )


def _restore(file: DatabaseFile, numbers: Iterable[int]) -> None:
    """Remove the marks of sessions that were found again."""
    sql = """
        UPDATE session_rows SET (missing_since, deleted_at, marked_at, position) = (NULL, NULL, NULL, next_position())
        WHERE number = ?
    """
    file.execute_many(sql, [(number,) for number in numbers])


def _mark_absent(file: DatabaseFile, suite: int, changes: PageChanges, now: datetime) -> bool:
    """Mark sessions that a page should have listed, by `MARK_ABSENT`. Return whether any was marked.

    This is done in SQL, since a page may prove that many sessions do not exist.
    """
    sql = f"""
        UPDATE session_rows SET {MARK_ABSENT}, marked_at = :now, position = next_position()
        WHERE suite = :suite AND relative_id BETWEEN :low AND :high AND {IS_NOT_MARKED}
        AND number NOT IN (SELECT value FROM json_each(:present))
    """
    parameters = {"now": time_to_sql(now), "suite": suite, "present": json.dumps(changes.present)}
    marked = [file.execute(sql, {**parameters, "low": low, "high": high}).rowcount for low, high in changes.absent]
    return any(marked)


def _save_members(file: DatabaseFile, texts: Iterable[str | None]) -> dict[str | None, int | None]:
    """Save members that were not saved before. Return the numbers of all by their JSON."""
    numbers: dict[str | None, int | None] = {None: None}
    for text in texts:
        if text is not None:
            row = file.execute("SELECT number FROM members WHERE member = ?", (text,)).fetchone()
            insert = "INSERT INTO members (member) VALUES (?)"
            numbers[text] = file.execute(insert, (text,)).lastrowid if row is None else row["number"]
    return numbers
