"""The SQL of a sync: the state of a suite, and the changes of a page. A function that writes is one transaction."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve

from .._decoding.hooks import unstructure_time
from ..models import Session, SessionStatus, SuiteKey
from .cases import delete_cases
from .file import DatabaseFile
from .page_rules import (
    PageChanges,
    PageToSave,
    SavedPage,
    SavedSession,
    SessionToCheck,
    find_changes,
    is_check_due,
    state_after,
)
from .schema import FIELDS, OF_SUITE, SUITE_NUMBER, SessionValues, time_to_prefix, to_time, to_values
from .suites import (
    MARK_COLUMNS,
    CompleteSync,
    Marks,
    SuiteState,
    add_suite,
    load_state,
    mark_suite_found,
    next_marks,
    save_state,
)

_CHUNK = 10_000
"""The number of sessions that are marked at once: the memory is bounded, however many a page proves missing."""

_COLUMNS = ", ".join(FIELDS)
_VALUES = _COLUMNS.replace("created_by", "member")
_MEMBER = "(SELECT number FROM members WHERE member = ?)"
_PARAMETERS = ", ".join(_MEMBER if name == "created_by" else "?" for name in FIELDS)
_LIVING = f"FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL AND missing_since IS NULL"
# The conditions are those of the index sessions_unfinished, so that SQLite uses it.
_UNFINISHED = f"{_LIVING} AND status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED'"
_HIGHEST = f"SELECT max(relative_id) FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL"
_CREATED_BY = FIELDS.index("created_by")

_WITH_IDS = "FROM session_rows WHERE suite = :suite AND id IN (SELECT value FROM json_each(:ids))"
_SET_MARKS = f"UPDATE session_rows SET position = next_position(), ({MARK_COLUMNS}) = (?, ?, ?, ?)"

_SAVE_SESSION = f"""
    INSERT INTO session_rows (suite, checked_at, position, {_COLUMNS})
    VALUES (?, ?, next_position(), {_PARAMETERS})
    ON CONFLICT (suite, id) DO UPDATE SET ({_COLUMNS}, checked_at, position, {MARK_COLUMNS}) =
    ({", ".join(f"excluded.{name}" for name in FIELDS)}, excluded.checked_at, excluded.position, NULL, NULL, 0, NULL)
"""


def load_start(file: DatabaseFile, key: SuiteKey, now: datetime) -> tuple[SuiteState, dict[int, SessionToCheck]]:
    """Return what the database knows of a suite, and the unfinished sessions that are due for a check.

    First those whose last check is the longest ago.
    """
    state = load_state(file, key)
    counts = "failed_count", "error_count"
    columns = f"relative_id, id, status, finish_date, {', '.join(counts)}, coalesce(create_date, start_date) AS created"
    columns += ", checked_at"
    sql = f"SELECT {columns} {_UNFINISHED} AND relative_id >= ? ORDER BY ifnull(checked_at, ''), relative_id DESC"
    due: dict[int, SessionToCheck] = {}
    for row in file.execute(sql, (*key, _lowest(state))):
        number, id_, status = row[:3]
        known: dict[str, Any] = {"finish_date": to_time(row["finish_date"]), **{name: row[name] for name in counts}}
        session = Session(id=id_, relative_id=number, status=SessionStatus(status), **known)
        if not session.is_finished and is_check_due(to_time(row["created"]), to_time(row["checked_at"]), now=now):
            due[number] = SessionToCheck(number, id_)
    return state, due


def _lowest(state: SuiteState) -> int:
    """Return the lowest `relative_id` that a list can show: nothing is proved about the sessions below its end."""
    return state.end.number if state.end else 1


def load_newest(file: DatabaseFile, key: SuiteKey) -> SessionToCheck | None:
    """Return the newest living session of a suite."""
    row = file.execute(f"SELECT relative_id, id {_LIVING} ORDER BY relative_id DESC LIMIT 1", key).fetchone()
    return None if row is None else SessionToCheck(row["relative_id"], row["id"], is_newest=True)


def find_missing(file: DatabaseFile, key: SuiteKey, now: datetime, *, below: int) -> int:
    """Return the highest `relative_id` below `below` of a session that is missing since an earlier sync; 0 for none."""
    state = load_state(file, key)
    sql = f"{_HIGHEST} AND missing_since IS NOT NULL AND marked_at <> ? AND relative_id >= ? AND relative_id < ?"
    return file.number(sql, (*key, unstructure_time(now), _lowest(state), below))


def count_above(file: DatabaseFile, key: SuiteKey, number: int) -> int:
    """Return the number of living sessions with a higher `relative_id`."""
    return file.number(f"SELECT count(*) {_LIVING} AND relative_id > ?", (*key, number))


def save_page(file: DatabaseFile, key: SuiteKey, page: PageToSave, now: datetime) -> SavedPage:
    """Save a page, and what it proves. `now` is the time of the sync: all its marks have it."""
    with file.transaction():
        number, before = add_suite(file, key), load_state(file, key)
        values: dict[str, SessionValues] = {each[0]: each for each in to_values(page.sessions)}
        saved = _load_saved(file, number, page)
        newest = 0 if page.top is None else file.number(f"SELECT max(relative_id) {_LIVING}", key)
        changes = find_changes(page, values, saved, before, newest=newest)
        # Absent sessions are marked before new ones are saved, because the new ones are not in `changes.present`.
        is_change = _mark_absent(file, number, changes, now) or bool(changes.changed or changes.restored)
        after = state_after(before, page, changes, now)
        if is_change:
            after = evolve(after, complete=None)
        if after != before:
            save_state(file, key, after)
        if after.end is not None and after.end.is_final and after.end != before.end:
            # Buddy has deleted what is older: below the end of the list, nothing is missing.
            older = "suite = ? AND relative_id < ? AND missing_since IS NOT NULL AND deleted_at IS NULL"
            file.execute(f"{_SET_MARKS} WHERE {older}", (*Marks(), number, after.end.number))
        mark_suite_found(file, key)
        unfinished = {session.id for session in page.sessions if not session.is_finished}
        _save_sessions(file, number, [values[id_] for id_ in changes.changed], unfinished, now)
        file.execute_many(f"{_SET_MARKS} WHERE number = ?", [(*Marks(), each) for each in changes.restored])
        if changed := set(changes.changed).difference(changes.new):
            delete_cases(file, _WITH_IDS, {"suite": number, "ids": json.dumps([*changed])})
        if page.checked is not None:
            sql = "UPDATE session_rows SET checked_at = ? WHERE suite = ? AND relative_id = ?"
            file.execute(sql, (unstructure_time(now), number, page.checked))
    ids, new = set(changes.changed), set(changes.new)
    saved_now = tuple(session for session in page.sessions if session.id in ids)
    unsaved = [each for each in saved_now if each.id in new and before.knows(each.relative_id)]
    return SavedPage(
        state=after,
        changed=saved_now,
        is_contradiction=changes.is_contradiction,
        is_outdated=changes.is_outdated,
        repaired=len(unsaved) + len(changes.restored),
    )


def withdraw_claims(file: DatabaseFile, key: SuiteKey, before: SuiteState, now: datetime) -> None:
    """Restore the state of a suite, and remove the marks that a sync has set, because its list was out of order."""
    sql = f"""
        UPDATE session_rows SET position = next_position(), deleted_at = NULL, absences = absences - 1,
            missing_since = iif(absences > 1, missing_since, NULL)
        WHERE suite = {SUITE_NUMBER} AND marked_at = ? AND absences > 0
    """
    with file.transaction():
        save_state(file, key, evolve(before, complete=None))
        file.execute(sql, (*key, unstructure_time(now)))


def finish_sync(
    file: DatabaseFile, key: SuiteKey, now: datetime, complete: CompleteSync | None, *, top: int, unlisted: str | None
) -> None:
    """Record that a sync has read to the end, and if it was complete, that the same first page needs no comparison.

    `top` is the highest `relative_id` on that page. Nothing above it is saved, unless this and the last sync could
    request the newest session, `unlisted`, which no page lists.
    """
    with file.transaction():
        file.execute(f"UPDATE suite_rows SET synced_at = ? WHERE {OF_SUITE}", (unstructure_time(now), *key))
        state = load_state(file, key)
        last = state.complete
        if not complete or (last and last.digest == complete.digest and complete.scope.is_within(last.scope)):
            return
        is_read = not top or state.continues_at(complete.scope) is None
        is_missing = file.number(f"{_HIGHEST} AND missing_since IS NOT NULL", key)
        is_top = file.number(_HIGHEST, key) == top or (unlisted is not None and unlisted == state.unlisted)
        if is_read and not is_missing and is_top:
            state = evolve(state, complete=complete)
            # The first session is younger than a prune: the suite was created again, and nothing of it was pruned.
            sql = f"SELECT count(*) {_LIVING} AND relative_id = 1 AND create_date >= ?"
            if state.pruned_before and file.number(sql, (*key, time_to_prefix(state.pruned_before))):
                state = evolve(state, pruned_before=None)
            save_state(file, key, state)


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
            values=tuple(row)[: len(FIELDS)],
            is_missing=row["missing_since"] is not None,
            is_deleted=row["deleted_at"] is not None,
        )
        for row in file.execute(sql, (suite, numbers))
    ]


def _save_sessions(
    file: DatabaseFile, suite: int, sessions: Sequence[SessionValues], unfinished: Collection[str], now: datetime
) -> None:
    """Save sessions. An unfinished one counts as checked now: the page has just shown its state."""
    members = {values[_CREATED_BY] for values in sessions} - {None}
    sql = "INSERT INTO members (member) VALUES (?) ON CONFLICT DO NOTHING"
    file.execute_many(sql, [(member,) for member in members])
    checked = unstructure_time(now)
    rows = [(suite, checked if values[0] in unfinished else None, *values) for values in sessions]
    file.execute_many(_SAVE_SESSION, rows)


def _mark_absent(file: DatabaseFile, suite: int, changes: PageChanges, now: datetime) -> bool:
    """Mark sessions that a page should have listed, each once in a sync. Return whether there are any.

    If the suite was created again, no session gets its second mark: a later sync has to confirm it.
    """
    time, marked = unstructure_time(now), False
    sql = f"""
        SELECT {MARK_COLUMNS}, number FROM session_rows
        WHERE suite = ? AND relative_id BETWEEN ? AND ? AND number NOT IN (SELECT value FROM json_each(?))
        AND deleted_at IS NULL AND marked_at IS NOT ? AND (missing_since IS NULL OR NOT ?) LIMIT {_CHUNK}
    """
    for low, high in changes.absent:
        parameters = suite, low, high, json.dumps(changes.present), time, changes.is_recreated
        while rows := file.execute(sql, parameters).fetchall():
            marks = [(*next_marks(Marks(*row[:-1]), time), row["number"]) for row in rows]
            file.execute_many(f"{_SET_MARKS} WHERE number = ?", marks)
            marked = True
    return marked
