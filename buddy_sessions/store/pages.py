"""The SQL of a sync: the state of a suite, and the changes of a page. A function that writes is one transaction."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from array import array
from datetime import datetime

from attrs import evolve

from .._decoding.hooks import unstructure_time
from ..models import Session, SuiteKey
from .cases import delete_cases, load_pending
from .file import DatabaseFile
from .schema import (
    FIELDS,
    OF_SUITE,
    SESSION_SQL,
    SESSIONS,
    SUITE_NUMBER,
    SessionValues,
    keep_values,
    to_sessions,
    to_time,
    to_values,
)
from .suites import NO_MARKS, LastCleanSync, SyncScope, add_suite, clear_suite_marks, load_state, save_state
from .sync_rules import (
    MAX_CHECKS,
    ListEvidence,
    PageEffects,
    SavedSession,
    SessionToCheck,
    SyncProgress,
    find_effects,
    is_check_due,
    marks_of_absent,
    stored_values,
)

_CHUNK = 1_000
"""The number of sessions that are marked at once: the memory is bounded, however many are absent."""

_COLUMNS = ", ".join(FIELDS)
_MEMBER = "(SELECT number FROM members WHERE member = ?)"
_PARAMETERS = ", ".join(_MEMBER if name == "created_by" else "?" for name in FIELDS)
_CREATED_BY = FIELDS.index("created_by")
_LIVING = f"sessions.suite = {SUITE_NUMBER} AND sessions.deleted_at IS NULL"
# The conditions are those of the index sessions_unfinished, so that SQLite uses it.
_UNFINISHED = f"{_LIVING} AND status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED'"
_HIGHEST = f"SELECT max(relative_id) FROM session_rows AS sessions WHERE {_LIVING}"

_SAVE_SESSION = f"""
    INSERT INTO session_rows (suite, checked_at, position, {_COLUMNS})
    VALUES (?, ?, ?, {_PARAMETERS})
    ON CONFLICT (suite, id) DO UPDATE SET {NO_MARKS}, ({_COLUMNS}, checked_at, position) =
    ({", ".join(f"excluded.{name}" for name in FIELDS)}, excluded.checked_at, excluded.position)
"""
_ABSENT = """
    SELECT number FROM session_rows WHERE suite = ? AND relative_id BETWEEN ? AND ? AND deleted_at IS NULL
    AND number NOT IN (SELECT value FROM json_each(?))
"""
_CHANGE = "UPDATE session_rows SET position = next_position(),"
_SET_MARKS = f"{_CHANGE} missing_since = ?, deleted_at = ? WHERE number = ?"


def load_start(file: DatabaseFile, key: SuiteKey, now: datetime, since: datetime | None) -> SyncProgress:
    """Return what the database knows of a suite, for a sync with this `since`."""
    state = load_state(file, key).limit_to(since)
    # A sync checks few of the unfinished sessions: those whose last check is the longest ago.
    sql = f"""
        SELECT {SESSION_SQL}, checked_at FROM {SESSIONS}
        WHERE {_UNFINISHED} AND sessions.missing_since IS NULL AND relative_id >= ?
        ORDER BY ifnull(checked_at, ''), relative_id DESC
    """
    rows = file.execute(sql, (*key, state.lowest)).fetchall()
    due = [
        (session.relative_id, session.id)
        for session, row in zip(to_sessions(rows), rows, strict=True)
        if not session.is_finished and is_check_due(session.create_date, to_time(row["checked_at"]), now=now)
    ]
    sql = f"""
        SELECT relative_id, id FROM session_rows AS sessions
        WHERE {_LIVING} AND missing_since IS NOT NULL AND relative_id >= ? ORDER BY relative_id
    """
    missing, newest = array("q"), None
    for row in file.execute(sql, (*key, state.lowest)):
        newest = SessionToCheck(*row)
        missing.append(newest.relative_id)
    return SyncProgress(start=state, state=state, due=dict(due[:MAX_CHECKS]), missing=missing, newest_missing=newest)


def save_page(file: DatabaseFile, key: SuiteKey, evidence: ListEvidence, now: datetime) -> PageEffects:
    """Save a page, and what the database claims now. It marks nothing."""
    time = unstructure_time(now)
    with file.transaction():
        suite = add_suite(file, key)
        listed = json.dumps([*{session.relative_id for session in (*evidence.listed, *evidence.sessions)}])
        same = "sessions.suite = ? AND relative_id IN (SELECT value FROM json_each(?))"
        saved = _load_saved(file, same, suite, listed)
        values: dict[str, SessionValues] = {each[0]: each for each in to_values(evidence.sessions)}
        for each in saved:
            if each["id"] in values and (names := evidence.invalid_fields.get(each["id"])):
                values[each["id"]] = keep_values(stored_values(each), values[each["id"]], names)
        effects = find_effects(evidence, values, saved)
        if evidence.proven is not None:  # before new ones are saved, which are not `present`
            rows = file.execute(_ABSENT, (suite, *evidence.proven, json.dumps(effects.present)))
            effects.absent.extend(row[0] for row in rows)
        save_state(file, key, effects.state)
        clear_suite_marks(file, key)
        # The page has just shown the state of an unfinished one: it counts as checked.
        to_save = [
            (suite, None if each.is_finished else time, file.next_position(), *values[each.id])
            for each in effects.sessions
        ]
        members = {row[3 + _CREATED_BY] for row in to_save} - {None}
        sql = "INSERT INTO members (member) VALUES (?) ON CONFLICT DO NOTHING"
        file.execute_many(sql, [(member,) for member in members])
        file.execute_many(_SAVE_SESSION, to_save)
        file.execute_many(f"{_CHANGE} {NO_MARKS} WHERE number = ?", [(each,) for each in effects.restored])
        if effects.changed:
            of_changed = "FROM session_rows WHERE suite = :suite AND id IN (SELECT value FROM json_each(:ids))"
            delete_cases(file, of_changed, {"suite": suite, "ids": json.dumps([*effects.changed])})
        if evidence.checked is not None:
            sql = "UPDATE session_rows SET checked_at = ? WHERE suite = ? AND relative_id = ?"
            file.execute(sql, (time, suite, evidence.checked))
    return effects


def finish_sync(
    file: DatabaseFile,
    key: SuiteKey,
    progress: SyncProgress,
    now: datetime,
    scope: SyncScope,
    *,
    digest: bytes | None,
    full: bool,
) -> list[Session]:
    """Mark what a list lacks that was read to its end, and record the sync, in one transaction.

    Return the sessions whose test cases are to be read. Once that is done, this is called again. If nothing is left,
    and the sync was clean, a first page with this digest needs no comparison.
    """
    time, state, pending = unstructure_time(now), progress.state, list[Session]()
    with file.transaction():
        file.execute(f"UPDATE suite_rows SET synced_at = ? WHERE {OF_SUITE}", (time, *key))
        if progress.stop is None:
            _mark_absent(file, key, progress, time)
        if scope.cases is not None and progress.stop != "unchanged":
            pending = load_pending(file, key, scope, full=full)
        if progress.stop is None:
            if digest and not pending and _is_clean(file, key, progress):
                state = evolve(state, clean=LastCleanSync(digest, scope))
            save_state(file, key, state)
    return pending


def _mark_absent(file: DatabaseFile, key: SuiteKey, progress: SyncProgress, time: str) -> None:
    """Mark the sessions that a verified read should have listed: see `marks_of_absent`."""
    of_chunk = "sessions.number IN (SELECT value FROM json_each(?)) AND sessions.deleted_at IS NULL"
    for start in range(0, len(progress.absent), _CHUNK):
        for session in _load_saved(file, of_chunk, json.dumps([*progress.absent[start : start + _CHUNK]])):
            marks = marks_of_absent(session, progress, time)
            if marks != (session["missing_since"], session["deleted_at"]):
                file.execute(_SET_MARKS, (*marks, session["number"]))
    # Buddy has deleted what is older: below the end of the list, nothing is missing.
    older = f"suite = {SUITE_NUMBER} AND relative_id < ? AND missing_since IS NOT NULL AND deleted_at IS NULL"
    file.execute(f"{_CHANGE} {NO_MARKS} WHERE {older}", (*key, progress.state.lowest))


def _is_clean(file: DatabaseFile, key: SuiteKey, progress: SyncProgress) -> bool:
    """Return whether all that exists is saved, nothing above the top of the list is, and nothing is missing."""
    if progress.top and progress.state.below not in {"nothing", "limit"}:
        return False
    is_missing = file.number(f"{_HIGHEST} AND missing_since IS NOT NULL", key)
    return not is_missing and file.number(_HIGHEST, key) == progress.top


def _load_saved(file: DatabaseFile, where: str, *parameters: object) -> list[SavedSession]:
    """Return the sessions in the database that a condition selects."""
    marks = "sessions.number, sessions.missing_since, sessions.deleted_at"
    return file.execute(f"SELECT {SESSION_SQL}, {marks} FROM {SESSIONS} WHERE {where}", parameters).fetchall()
