"""The SQL of a sync: the state of a suite, and the changes of a page. A function that writes is one transaction."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from datetime import datetime

from attrs import evolve

from .._decoding.hooks import unstructure_time
from ..models import Session, SessionStatus, SuiteKey
from .cases import delete_cases
from .file import DatabaseFile
from .page_rules import ListEvidence, SavedSession, SaveResult, find_effects, is_check_due, settle_state
from .schema import FIELDS, OF_SUITE, SUITE_NUMBER, SessionValues, keep_values, to_time, to_values
from .suites import (
    ALL_TIME,
    MARK_COLUMNS,
    LastCleanSync,
    Marks,
    add_suite,
    clear_suite_marks,
    load_state,
    next_marks,
    save_state,
)
from .sync_parts import SessionToCheck, SyncProgress

_CHUNK = 1_000
"""The number of sessions that are marked at once: the memory is bounded, however many are absent."""

_COLUMNS = ", ".join(FIELDS)
_VALUES = _COLUMNS.replace("created_by", "member")
_MEMBER = "(SELECT number FROM members WHERE member = ?)"
_PARAMETERS = ", ".join(_MEMBER if name == "created_by" else "?" for name in FIELDS)
_LIVING = f"FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL AND missing_since IS NULL"
# The conditions are those of the index sessions_unfinished, so that SQLite uses it.
_UNFINISHED = f"{_LIVING} AND status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED'"
_MISSING = f"FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL AND missing_since IS NOT NULL"
_HIGHEST = f"SELECT max(relative_id) FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL"
_CREATED_BY = FIELDS.index("created_by")

_WITH_IDS = "FROM session_rows WHERE suite = :suite AND id IN (SELECT value FROM json_each(:ids))"

_SAVE_SESSION = f"""
    INSERT INTO session_rows (suite, checked_at, position, {_COLUMNS})
    VALUES (?, ?, next_position(), {_PARAMETERS})
    ON CONFLICT (suite, id) DO UPDATE SET ({_COLUMNS}, checked_at, position, {MARK_COLUMNS}) =
    ({", ".join(f"excluded.{name}" for name in FIELDS)}, excluded.checked_at, excluded.position, NULL, NULL)
"""
_SET_MARKS = f"UPDATE session_rows SET position = next_position(), ({MARK_COLUMNS}) = (?, ?) WHERE"


def load_start(file: DatabaseFile, key: SuiteKey, now: datetime, since: datetime | None) -> SyncProgress:
    """Return what the database knows of a suite, for a sync with this `since`.

    Of the unfinished sessions that are due for a check, those come first whose last check is the longest ago.
    """
    state = load_state(file, key).limit_to(since)
    fields = "relative_id, id, status, finish_date, failed_count, error_count"
    fields += ", coalesce(create_date, start_date) AS created, checked_at"
    sql = f"SELECT {fields} {_UNFINISHED} AND relative_id >= ? ORDER BY ifnull(checked_at, ''), relative_id DESC"
    due: dict[int, str] = {}
    for row in file.execute(sql, (*key, state.lowest)):
        number, id_, status = row[:3]
        session = Session(
            id=id_,
            relative_id=number,
            status=SessionStatus(status),
            finish_date=to_time(row["finish_date"]),
            failed_count=row["failed_count"],
            error_count=row["error_count"],
        )
        if not session.is_finished and is_check_due(to_time(row["created"]), to_time(row["checked_at"]), now=now):
            due[number] = id_
    missing, newest = array("q"), None
    sql = f"SELECT relative_id, id {_MISSING} AND relative_id >= ? ORDER BY relative_id"
    for number, id_ in file.execute(sql, (*key, state.lowest)):
        missing.append(number)
        newest = SessionToCheck(number, id_)
    return SyncProgress(start=state, state=state, due=due, missing=missing, newest_missing=newest)


def count_above(file: DatabaseFile, key: SuiteKey, number: int) -> int:
    """Return the number of sessions that are not deleted, and have a higher `relative_id`."""
    sql = f"SELECT count(*) FROM session_rows WHERE suite = {SUITE_NUMBER} AND deleted_at IS NULL AND relative_id > ?"
    return file.number(sql, (*key, number))


def save_page(file: DatabaseFile, key: SuiteKey, page: ListEvidence, now: datetime) -> SaveResult:
    """Save a page, and what the database claims now. It marks nothing."""
    with file.transaction():
        number = add_suite(file, key)
        saved = _load_saved(file, number, page)
        values: dict[str, SessionValues] = {each[0]: each for each in to_values(page.sessions)}
        for each in saved:
            if each.id in values and (names := page.invalid_fields.get(each.id)):
                values[each.id] = keep_values(each.values, values[each.id], names)
        effects = find_effects(page, values, saved)
        after = evolve(settle_state(page, effects), clean=None)
        absent = _find_absent(file, number, page, effects.present)  # before new ones are saved: these are not `present`
        save_state(file, key, after)
        clear_suite_marks(file, key)
        _save_sessions(file, number, page.sessions, [values[id_] for id_ in (*effects.changed, *effects.new)], now)
        file.execute_many(f"{_SET_MARKS} number = ?", [(*Marks(), each) for each in effects.restored])
        if effects.changed:
            delete_cases(file, _WITH_IDS, {"suite": number, "ids": json.dumps(effects.changed)})
        if page.checked is not None:
            sql = "UPDATE session_rows SET checked_at = ? WHERE suite = ? AND relative_id = ?"
            file.execute(sql, (unstructure_time(now), number, page.checked))
    new, changed = set(effects.new), {*effects.changed, *effects.new}
    unsaved = sum(each.id in new and page.before.claims(each) for each in page.sessions)
    return SaveResult(
        state=after,
        changed=tuple(session for session in page.sessions if session.id in changed),
        absent=absent,
        is_contradiction=effects.is_contradiction,
        repaired=len(effects.restored) + unsaved,
    )


def judge_absent(file: DatabaseFile, key: SuiteKey, progress: SyncProgress, now: datetime, *, verified: bool) -> None:
    """Mark the sessions that a read should have listed, if it is verified: missing, and the next time deleted.

    A read that has contradicted the database deletes nothing; nor does one whose first page is outdated, above it.
    """
    time, state = unstructure_time(now), progress.state
    sql = f"""
        SELECT {MARK_COLUMNS}, number, relative_id FROM session_rows
        WHERE number IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL
    """
    with file.transaction():
        for start in range(0, len(progress.absent) if verified else 0, _CHUNK):
            for row in file.execute(sql, (json.dumps([*progress.absent[start : start + _CHUNK]]),)).fetchall():
                before = Marks(*row[:2])
                marks = next_marks(before, time, may_delete=_may_delete(progress, row["relative_id"]))
                if marks != before:
                    file.execute(f"{_SET_MARKS} number = ?", (*marks, row["number"]))
        if state.below == "nothing":
            # Buddy has deleted what is older: below the end of the list, nothing is missing.
            older = f"suite = {SUITE_NUMBER} AND relative_id < ? AND missing_since IS NOT NULL AND deleted_at IS NULL"
            file.execute(f"{_SET_MARKS} {older}", (*Marks(), *key, state.lowest))
        save_state(file, key, state)


def finish_sync(file: DatabaseFile, key: SuiteKey, now: datetime, clean: LastCleanSync | None, *, top: int) -> None:
    """Record that a sync has read to the end, and if it was clean, that the same first page needs no comparison.

    `top` is the highest `relative_id` on that page: nothing above it is saved, and nothing is missing.
    """
    with file.transaction():
        file.execute(f"UPDATE suite_rows SET synced_at = ? WHERE {OF_SUITE}", (unstructure_time(now), *key))
        state = load_state(file, key)
        is_read = not top or state.below in {"nothing", "limit"}
        is_missing = file.number(f"{_HIGHEST} AND missing_since IS NOT NULL", key)
        if clean is None or not is_read or is_missing or file.number(_HIGHEST, key) != top:
            return
        state = evolve(state, clean=clean)
        if state.lowest == 1 and state.below == "nothing":
            state = evolve(state, limit=ALL_TIME)  # nothing was left out, or the suite was created again
        save_state(file, key, state)


def _may_delete(progress: SyncProgress, number: int) -> bool:
    return not progress.is_contradiction and not (progress.is_outdated and number > (progress.top or 0))


def _find_absent(file: DatabaseFile, suite: int, page: ListEvidence, present: Sequence[int]) -> array[int]:
    """Return the rows of the sessions that a page should have listed. There may be many: 8 bytes for each."""
    sql = """
        SELECT number FROM session_rows WHERE suite = ? AND relative_id BETWEEN ? AND ? AND deleted_at IS NULL
        AND number NOT IN (SELECT value FROM json_each(?))
    """
    rows = file.execute(sql, (suite, *page.proven, json.dumps(present))) if page.proven else ()
    return array("q", (row[0] for row in rows))


def _load_saved(file: DatabaseFile, suite: int, page: ListEvidence) -> list[SavedSession]:
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
    file: DatabaseFile, suite: int, sessions: Sequence[Session], saved: Sequence[SessionValues], now: datetime
) -> None:
    """Save the values of some sessions. An unfinished one counts as checked now: the page has just shown its state."""
    members = {values[_CREATED_BY] for values in saved} - {None}
    sql = "INSERT INTO members (member) VALUES (?) ON CONFLICT DO NOTHING"
    file.execute_many(sql, [(member,) for member in members])
    checked, unfinished = unstructure_time(now), {session.id for session in sessions if not session.is_finished}
    rows = [(suite, checked if values[0] in unfinished else None, *values) for values in saved]
    file.execute_many(_SAVE_SESSION, rows)
