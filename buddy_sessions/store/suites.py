"""The SQL of the suites: what is known of each, and its name."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from ..models import Suite, SuiteKey
from .columns import IS_NOT_MARKED, MARK_ABSENT, from_json, from_sql, time_to_sql, to_sql, to_time
from .exchange import CompleteSync, SyncScope
from .file import DatabaseFile
from .known_range import NOTHING_KNOWN, Interval, KnownRange

_OF_SUITE = "workspace = ? AND project = ? AND suite_id = ?"
_COLUMNS = (
    "is_synced",
    "missing_since",
    "deleted_at",
    *("known_low", "known_high", "upper_low", "upper_high", "older_than"),
    *("digest", "digest_scope"),
    *("pruned_before", "cases_pruned_before"),
)


@frozen(kw_only=True)
class SuiteRow:
    """A row of `suite_rows`, without the names. The defaults are those of a suite that is not in the database."""

    number: int | None = None
    is_synced: bool = False
    missing_since: datetime | None = None
    deleted_at: datetime | None = None
    known: KnownRange = NOTHING_KNOWN
    complete: CompleteSync | None = None
    pruned_before: datetime | None = None
    cases_pruned_before: datetime | None = None

    def values(self) -> tuple[object, ...]:
        """Return the values of `_COLUMNS`."""
        complete = self.complete
        return (
            self.is_synced,
            time_to_sql(self.missing_since),
            time_to_sql(self.deleted_at),
            *(self.known.main or (None, None)),
            *(self.known.upper or (None, None)),
            time_to_sql(self.known.older_than),
            None if complete is None else complete.digest,
            None if complete is None else _scope_to_json(complete.scope),
            time_to_sql(self.pruned_before),
            time_to_sql(self.cases_pruned_before),
        )


def load_suite_row(file: DatabaseFile, key: SuiteKey) -> SuiteRow:
    """Return the row of a suite."""
    row = file.execute(f"SELECT number, {', '.join(_COLUMNS)} FROM suite_rows WHERE {_OF_SUITE}", key).fetchone()
    if row is None:
        return SuiteRow()
    known = KnownRange(
        main=_interval(row["known_low"], row["known_high"]),
        upper=_interval(row["upper_low"], row["upper_high"]),
        older_than=to_time(row["older_than"]),
    )
    return SuiteRow(
        number=row["number"],
        is_synced=bool(row["is_synced"]),
        missing_since=to_time(row["missing_since"]),
        deleted_at=to_time(row["deleted_at"]),
        known=known,
        complete=CompleteSync(row["digest"], _scope_from_json(row["digest_scope"])) if row["digest"] else None,
        pruned_before=to_time(row["pruned_before"]),
        cases_pruned_before=to_time(row["cases_pruned_before"]),
    )


def save_suite_row(file: DatabaseFile, key: SuiteKey, before: SuiteRow, after: SuiteRow) -> int:
    """Save the row of a suite if it has changed. Return its number."""
    if before.number is not None and after == before:
        return before.number
    sql = f"""
        INSERT INTO suite_rows (workspace, project, suite_id, {", ".join(_COLUMNS)})
        VALUES (?, ?, ?{", ?" * len(_COLUMNS)}) ON CONFLICT (workspace, project, suite_id) DO UPDATE
        SET ({", ".join(_COLUMNS)}) = ({", ".join(f"excluded.{name}" for name in _COLUMNS)}) RETURNING number
    """
    number: int
    (number,) = file.execute(sql, (*key, *after.values())).fetchone()
    return number


def mark_suite_missing(file: DatabaseFile, key: SuiteKey, now: datetime) -> None:
    """Record that the server does not know a suite: it is missing, and deleted the second time, in another sync."""
    sql = f"""
        UPDATE suite_rows SET {MARK_ABSENT}, digest = NULL, digest_scope = NULL
        WHERE workspace = :workspace AND project = :project AND suite_id = :suite_id AND {IS_NOT_MARKED}
    """
    with file.transaction():
        file.execute(sql, {**key._asdict(), "now": time_to_sql(now)})


def mark_suite_found(file: DatabaseFile, key: SuiteKey) -> None:
    """Record that the server knows a suite."""
    with file.transaction():
        suite = load_suite_row(file, key)
        save_suite_row(file, key, suite, evolve(suite, missing_since=None, deleted_at=None))


def load_suites(file: DatabaseFile, *, with_deleted: bool = False) -> list[Suite]:
    """Return the suites that were synced, sorted by their keys."""
    columns = "workspace, project, suite_id, name, identifier, html_url"
    condition = "is_synced" if with_deleted else "is_synced AND deleted_at IS NULL"
    sql = f"SELECT {columns} FROM suite_rows WHERE {condition} ORDER BY 1, 2, 3"
    return [
        Suite(key=SuiteKey(*key), id=key[2], name=name, identifier=identifier, html_url=html_url)
        for *key, name, identifier, html_url in (map(from_sql, row) for row in file.execute(sql))
    ]


def mark_suite_synced(file: DatabaseFile, key: SuiteKey, now: datetime) -> None:
    """Record that a sync of a suite has read to its end."""
    with file.transaction():
        file.execute(f"UPDATE suite_rows SET synced_at = ? WHERE {_OF_SUITE}", (time_to_sql(now), *key))


@frozen(kw_only=True)
class SavedSuite:
    """What a database has of a suite.

    Attributes:
        suite: The suite.
        name: Its name; None until its project was listed.
        sessions: The number of saved sessions that are not deleted.
        missing: How many of them the last sync did not find.
        deleted: The number of saved sessions that are deleted.
        known_range: The known range, as of `SessionStore.known_range`.
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
    synced_at: datetime | None
    missing_since: datetime | None
    deleted_at: datetime | None


def load_saved_suites(file: DatabaseFile) -> list[SavedSuite]:
    """Return the suites that were synced, sorted by their keys, with deleted ones."""
    count = "SELECT count(*) FROM session_rows WHERE suite = suite_rows.number AND deleted_at"
    sql = f"""
        SELECT workspace, project, suite_id, name, synced_at, missing_since, deleted_at, known_low, known_high,
            ({count} IS NULL) AS sessions, ({count} IS NULL AND missing_since IS NOT NULL) AS missing,
            ({count} IS NOT NULL) AS deleted
        FROM suite_rows WHERE is_synced ORDER BY 1, 2, 3
    """
    return [
        SavedSuite(
            suite=SuiteKey(*map(from_sql, row[:3])),
            name=from_sql(row["name"]),
            sessions=row["sessions"],
            missing=row["missing"],
            deleted=row["deleted"],
            known_range=_interval(row["known_low"], row["known_high"]),
            synced_at=to_time(row["synced_at"]),
            missing_since=to_time(row["missing_since"]),
            deleted_at=to_time(row["deleted_at"]),
        )
        for row in file.execute(sql)
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
        file.execute("INSERT OR REPLACE INTO projects VALUES (?, ?, ?)", (workspace, project, time_to_sql(now)))
        file.execute_many(
            """
            INSERT INTO suite_rows (workspace, project, suite_id, name, identifier, html_url) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, project, suite_id) DO UPDATE
            SET (name, identifier, html_url, missing_since, deleted_at) =
                (excluded.name, excluded.identifier, excluded.html_url, NULL, NULL)
            """,
            [
                tuple(map(to_sql, (workspace, project, suite.id, suite.name, suite.identifier, suite.html_url)))
                for suite in suites
            ],
        )
    listed = {suite.id for suite in suites}
    sql = "SELECT suite_id FROM suite_rows WHERE workspace = ? AND project = ? AND is_synced AND deleted_at IS NULL"
    saved = [from_sql(row["suite_id"]) for row in file.execute(sql, (workspace, project))]
    return [SuiteKey(workspace, project, suite_id) for suite_id in saved if suite_id not in listed]


def _interval(low: int | None, high: int | None) -> Interval | None:
    return None if low is None or high is None else (low, high)


def _scope_to_json(scope: SyncScope) -> str:
    values = {
        "after": scope.after,
        "since": time_to_sql(scope.since),
        "cases": scope.cases,
        "cases_branch": scope.cases_branch,
        "details": scope.details,
    }
    return json.dumps(values)


def _scope_from_json(text: str) -> SyncScope:
    values: dict[str, Any] = from_json(text)
    return SyncScope(**{**values, "since": to_time(values["since"])})
