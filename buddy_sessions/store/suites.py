"""The SQL of the suites: what is known of each, and its name."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import frozen
from cattrs.preconf.json import make_converter

from .._decoding.hooks import unstructure_time
from ..models import Suite, SuiteKey
from .evidence import Marks, next_marks
from .exchange import Bottom, Interval, SuiteState
from .file import DatabaseFile
from .schema import OF_SUITE, SUITE_NUMBER, convert, to_time

MARK_INCOMPLETE = "state = json_remove(state, '$.complete')"
"""Marks that the last sync of a suite was incomplete: the next one compares the first page, even if it is the same."""

_json = make_converter(detailed_validation=False)


def load_state(file: DatabaseFile, key: SuiteKey) -> SuiteState:
    """Return the state of a suite."""
    row = file.execute(f"SELECT state FROM suite_rows WHERE {OF_SUITE}", key).fetchone()
    return SuiteState() if row is None else to_state(row["state"])


def save_state(file: DatabaseFile, key: SuiteKey, state: SuiteState) -> None:
    """Save the state of a suite that is in the database."""
    file.execute(f"UPDATE suite_rows SET state = ? WHERE {OF_SUITE}", (_json.dumps(state), *key))


def add_suite(file: DatabaseFile, key: SuiteKey) -> int:
    """Add a suite, unless it is in the database. Return its number in other tables."""
    file.execute("INSERT INTO suite_rows (workspace, project, suite_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", key)
    return file.number(f"SELECT {SUITE_NUMBER}", key)


def to_state(text: str | None) -> SuiteState:
    """Return the state of a suite that is stored as JSON."""
    return SuiteState() if text is None else convert(lambda text: _json.loads(text, SuiteState), text)


def mark_suite_missing(file: DatabaseFile, key: SuiteKey, now: datetime) -> None:
    """Record that the server does not know a suite, by `next_marks`. Its sessions and its known range stay."""
    names = ", ".join(Marks._fields)
    row = file.execute(f"SELECT {names} FROM suite_rows WHERE {OF_SUITE}", key).fetchone()
    if row is not None:
        marks = next_marks(Marks(*row), unstructure_time(now))
        sql = f"UPDATE suite_rows SET ({names}) = (?, ?, ?, ?), {MARK_INCOMPLETE} WHERE {OF_SUITE}"
        file.execute(sql, (*marks, *key))


def mark_suite_found(file: DatabaseFile, key: SuiteKey) -> None:
    """Record that the server knows a suite."""
    names = ", ".join(Marks._fields)
    sql = f"UPDATE suite_rows SET ({names}) = (?, ?, ?, ?) WHERE {OF_SUITE} AND missing_since NOT NULL"
    file.execute(sql, (*Marks(), *key))


def load_suites(file: DatabaseFile, *, with_deleted: bool = False) -> list[Suite]:
    """Return the suites that were synced, sorted by their keys."""
    columns = "workspace, project, suite_id, name, identifier, html_url"
    condition = "state NOT NULL" if with_deleted else "state NOT NULL AND deleted_at IS NULL"
    sql = f"SELECT {columns} FROM suite_rows WHERE {condition} ORDER BY 1, 2, 3"
    return [
        Suite(key=SuiteKey(*key), id=key[2], name=name, identifier=identifier, html_url=html_url)
        for *key, name, identifier, html_url in file.execute(sql)
    ]


def mark_suite_synced(file: DatabaseFile, key: SuiteKey, now: datetime) -> None:
    """Record that a sync of a suite has read to its end."""
    file.execute(f"UPDATE suite_rows SET synced_at = ? WHERE {OF_SUITE}", (unstructure_time(now), *key))


@frozen(kw_only=True)
class SavedSuite:
    """What a database has of a suite.

    Attributes:
        suite: The suite.
        name: Its name; None until its project was listed.
        sessions: The number of saved sessions that are not deleted.
        missing: How many of them the last sync did not find.
        deleted: The number of saved sessions that are deleted.
        known_range: The lowest and the highest `relative_id` between which every existing session is saved or pruned;
            None if nothing is known, for example because the list of the suite is out of order.
        bottom: What is below. "start": nothing, since it begins at 1. "retention": nothing that Buddy still has.
            "prune", "since": older sessions, which were pruned, or left out by `since`. None: that is not known.
        synced_at: When the last sync began that has read the suite to its end.
        missing_since: When the first sync began that did not find the suite; None if the last one has found it.
        deleted_at: The same time, once two syncs did not find it.
    """

    suite: SuiteKey
    name: str | None
    sessions: int
    missing: int
    deleted: int
    known_range: Interval | None
    bottom: Bottom | None
    synced_at: datetime | None
    missing_since: datetime | None
    deleted_at: datetime | None


def load_saved_suites(file: DatabaseFile) -> list[SavedSuite]:
    """Return the suites that were synced, sorted by their keys, with deleted ones."""
    count = "SELECT count(*) FROM session_rows WHERE suite = suite_rows.number AND deleted_at"
    sql = f"""
        SELECT workspace, project, suite_id, name, synced_at, missing_since, deleted_at, state,
            ({count} IS NULL) AS sessions, ({count} IS NULL AND missing_since IS NOT NULL) AS missing,
            ({count} IS NOT NULL) AS deleted
        FROM suite_rows WHERE state NOT NULL ORDER BY 1, 2, 3
    """
    states = ((row, to_state(row["state"])) for row in file.execute(sql))
    return [
        SavedSuite(
            suite=SuiteKey(*row[:3]),
            name=row["name"],
            sessions=row["sessions"],
            missing=row["missing"],
            deleted=row["deleted"],
            known_range=state.known,
            bottom=state.bottom,
            synced_at=to_time(row["synced_at"]),
            missing_since=to_time(row["missing_since"]),
            deleted_at=to_time(row["deleted_at"]),
        )
        for row, state in states
    ]


def is_listed(file: DatabaseFile, workspace: str, project: str, now: datetime) -> bool:
    """Return whether the suites of a project were listed within the last day. A time in the future does not count."""
    sql = "SELECT listed_at FROM projects WHERE workspace = ? AND project = ?"
    row = file.execute(sql, (workspace, project)).fetchone()
    listed = None if row is None else to_time(row["listed_at"])
    return listed is not None and timedelta() <= now - listed < timedelta(days=1)


def save_names(
    file: DatabaseFile, workspace: str, project: str, suites: Sequence[Suite], now: datetime
) -> list[SuiteKey]:
    """Save the names of the suites of a project, and when they were listed. Return the suites that were not listed.

    Those that were listed are neither missing nor deleted. The others are suites that were synced, and are not deleted.
    """
    with file.transaction():
        file.execute("INSERT OR REPLACE INTO projects VALUES (?, ?, ?)", (workspace, project, unstructure_time(now)))
        file.execute_many(
            """
            INSERT INTO suite_rows (workspace, project, suite_id, name, identifier, html_url) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, project, suite_id) DO UPDATE
            SET (name, identifier, html_url, missing_since, deleted_at, absences, marked_at) =
                (excluded.name, excluded.identifier, excluded.html_url, NULL, NULL, 0, NULL)
            """,
            [(workspace, project, suite.id, suite.name, suite.identifier, suite.html_url) for suite in suites],
        )
    listed = {suite.id for suite in suites}
    sql = (
        "SELECT suite_id FROM suite_rows WHERE (workspace, project) = (?, ?) AND state NOT NULL AND deleted_at IS NULL"
    )
    saved = [row["suite_id"] for row in file.execute(sql, (workspace, project))]
    return [SuiteKey(workspace, project, suite_id) for suite_id in saved if suite_id not in listed]
