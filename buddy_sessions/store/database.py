"""The SQL of a store. Each method that writes is one transaction. A `Database` is used by one thread."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from attrs import evolve, frozen

from .._changes import REMEMBERED_SESSIONS
from .._decoding.converter import session_from_dict, to_dict
from ..models import Session, Suite, SuiteKey
from .case_database import CaseDatabase
from .coverage import Coverage, change_coverage, settle, union_all
from .evidence import ALL_NUMBERS, Evidence, KnownSession, Row, Verdict, judge
from .intervals import Interval, Intervals
from .plan import is_check_due
from .rows import FIELDS, Members, from_sql, to_rows, to_session, to_sql

_COLUMNS = ", ".join(FIELDS)
_SUITE = "workspace = ? AND project = ? AND suite_id = ?"
_IN_SUITE = f"suite = (SELECT number FROM suites WHERE {_SUITE})"
_ID, _NUMBER, _CREATED_BY = map(FIELDS.index, ("id", "relative_id", "created_by"))
_WATCH = f"{_SUITE} AND branch = ?"
_FROM_SESSIONS = f"FROM sessions WHERE {_SUITE} AND deleted_at IS NULL"
_NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"

_SAVE_SESSION = f"""
    INSERT INTO session_rows (suite, saved_in, saved_by, {_COLUMNS}) VALUES (?, ?, ?{", ?" * len(FIELDS)})
    ON CONFLICT (suite, id) DO UPDATE SET
    ({_COLUMNS}, saved_in, saved_by, missing_since, missing_by, deleted_at, deleted_by) =
    ({", ".join(f"excluded.{name}" for name in FIELDS)}, excluded.saved_in, excluded.saved_by, NULL, NULL, NULL, NULL)
"""
_MARK_SESSION = "UPDATE session_rows SET saved_in = :commit, saved_by = :sync, {} WHERE suite = :suite AND id = :id"
_MARK_RESTORED = _MARK_SESSION.format("missing_since = NULL, missing_by = NULL, deleted_at = NULL, deleted_by = NULL")
_MARK_MISSING = _MARK_SESSION.format(f"missing_since = {_NOW}, missing_by = :sync")
_MARK_DELETED = _MARK_SESSION.format("deleted_at = missing_since, deleted_by = :sync")


@frozen(kw_only=True)
class SuiteState:
    """The state of a suite in the database before a read.

    Attributes:
        commit: The number of the last commit.
        is_known: Whether the suite was synced before.
        newest: The highest number of a session that is not deleted; 0 if there is none.
        covered: The numbers of which the database contains every existing session.
        older_than: A time; None if no session is known to be older.
        older_id: The highest number of the sessions that are older than `older_than`.
    """

    commit: int
    is_known: bool
    newest: int
    covered: Intervals
    older_than: datetime | None
    older_id: int


@frozen(kw_only=True)
class ReadPage:
    """A page to be saved.

    Attributes:
        sessions: The sessions to save.
        covers: The range of numbers whose existing sessions are all among these; None if there is no proof.
        extends_coverage: Whether to add that range to the coverage.
        commit: The number of the last commit before the page was requested.
        sync: The sync that has read the page; None if it has not saved anything before.
        first_page: For the first page of the list, all sessions on it; None for another page.
        is_verified: Whether the read is verified so far. If not, all claims of this sync are withdrawn.
        is_repair: Whether this sync has already dropped all coverage.
    """

    sessions: Sequence[Session]
    covers: Interval | None
    commit: int
    extends_coverage: bool = True
    sync: int | None = None
    first_page: Sequence[Session] | None = None
    is_verified: bool = True
    is_repair: bool = False

    @property
    def top(self) -> int | None:
        """For the first page of the list, the highest number on it, 0 if it is empty; None for another page."""
        return None if self.first_page is None else max((each.relative_id for each in self.first_page), default=0)


@frozen(kw_only=True)
class SavedPage:
    """The result of saving a page.

    Attributes:
        sync: The number of the sync, which is that of its first commit; None if it has not saved anything yet.
        changed: The sessions that are new or have changed.
        is_contradiction: Whether all coverage was dropped.
        is_outdated: Whether the page is the first one of an older state of the list.
        unknown: The number of sessions that were not in the database, although it should have contained them.
        restored: The number of sessions whose mark, missing or deleted, was removed.
    """

    sync: int | None
    changed: tuple[Session, ...] = ()
    is_contradiction: bool = False
    is_outdated: bool = False
    unknown: int = 0
    restored: int = 0


class SessionRef(NamedTuple):
    """The number and the id of a session."""

    relative_id: int
    id: str


class _SuiteRow(NamedTuple):
    """The internal columns of a suite. The defaults are those of a suite that is not in the database."""

    number: int | None = None
    is_synced: bool = False
    missing_since: str | None = None
    uncovered_in: int = 0
    uncovered_by: int | None = None
    older_than: str | None = None
    older_id: int = 0

    @property
    def is_new(self) -> bool:
        """Whether a successful read changes the row: the suite is new, or was missing."""
        return not self.is_synced or self.missing_since is not None


class Database(CaseDatabase):
    """Sessions, cases, coverage and the state of watches in one SQLite file. A method that fails changes nothing."""

    def load_suite(self, key: SuiteKey) -> SuiteState:
        """Return what is known of a suite before a read."""
        suite = self._suite_row(key)
        return SuiteState(
            commit=self._number("SELECT number FROM commits"),
            is_known=bool(suite.is_synced),
            newest=self._number(f"SELECT max(relative_id) {_FROM_SESSIONS}", key),
            covered=union_all(self._coverage(suite.number).values()),
            older_than=None if suite.older_than is None else datetime.fromisoformat(suite.older_than),
            older_id=suite.older_id,
        )

    def covered(self, key: SuiteKey) -> Intervals:
        """Return the numbers of which the database contains every existing session."""
        return union_all(self._coverage(self._suite_row(key).number).values())

    def count_above(self, key: SuiteKey, number: int) -> int:
        """Return how many sessions with higher numbers are neither missing nor deleted."""
        sql = f"SELECT count(*) {_FROM_SESSIONS} AND missing_since IS NULL AND relative_id > ?"
        return self._number(sql, (*key, number))

    def unfinished(self, key: SuiteKey, *, above: int) -> list[SessionRef]:
        """Return the unfinished sessions above a number that are due for a check, newest first."""
        # Together, the conditions on `status` mean `not Session.is_finished`. The first three are those of the index
        # sessions_unfinished, so that SQLite uses it. The last one is for a status that this version does not know.
        sql = f"""
            SELECT relative_id, id, coalesce(create_date, start_date), checked_at {_FROM_SESSIONS}
            AND status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED' AND missing_since IS NULL
            AND (status = 'IN_PROGRESS' OR finish_date IS NULL) AND relative_id > ? ORDER BY relative_id DESC
        """
        now = datetime.now(UTC)
        rows = self._execute(sql, (*key, above)).fetchall()
        return [SessionRef(number, from_sql(id_)) for number, id_, *times in rows if is_check_due(*times, now=now)]

    def newest(self, key: SuiteKey) -> SessionRef | None:
        """Return the session with the highest number that is neither missing nor deleted; None if there is none."""
        sql = f"SELECT relative_id, id {_FROM_SESSIONS} AND missing_since IS NULL ORDER BY relative_id DESC LIMIT 1"
        row = self._execute(sql, key).fetchone()
        return None if row is None else SessionRef(row[0], from_sql(row[1]))

    def sessions(
        self, key: SuiteKey, *, branch: str | None = None, up_to: int | None = None, limit: int | None = None
    ) -> list[Session]:
        """Return the sessions of a suite that are not deleted, newest first: at most `limit`, up to a number."""
        sql, parameters = f"SELECT {_COLUMNS} {_FROM_SESSIONS}", list[object](key)
        if branch is not None:
            sql += " AND ref_type = 'BRANCH' AND ref_name = ?"
            parameters.append(to_sql(branch))
        if up_to is not None:
            sql += " AND relative_id <= ?"
            parameters.append(up_to)
        parameters.append(-1 if limit is None else limit)
        rows = self._execute(f"{sql} ORDER BY relative_id DESC LIMIT ?", parameters)
        members: Members = {}
        return [to_session(row, members) for row in rows]

    def suites(self) -> list[Suite]:
        """Return the suites that were synced, sorted by their keys."""
        columns = "workspace, project, suite_id, name, identifier, html_url"
        sql = f"SELECT {columns} FROM suites WHERE is_synced ORDER BY 1, 2, 3"
        return [
            Suite(key=SuiteKey(*key), id=key[2], name=name, identifier=identifier, html_url=html_url)
            for *key, name, identifier, html_url in (map(from_sql, row) for row in self._execute(sql))
        ]

    def save_page(self, key: SuiteKey, page: ReadPage) -> SavedPage:
        """Save a page, and what it proves."""
        rows: dict[object, Row] = {row[_ID]: row for row in to_rows(page.sessions)}
        with self._transaction():
            suite = self._suite_row(key)
            commit = self._number("SELECT number FROM commits") + 1
            sync = commit if page.sync is None else page.sync
            known = self._known_sessions(key, page, sync)
            evidence = _evidence(page, rows, known, sync)
            verdict = judge(evidence, known)
            # Another sync has reduced the coverage since the page was requested: do not extend it with older data.
            is_overruled = suite.uncovered_in > page.commit and suite.uncovered_by != sync
            before = self._coverage(suite.number)
            covered_before = union_all(before.values())
            after = change_coverage(
                before, verdict, page.covers if page.extends_coverage and not is_overruled else None, sync
            )
            if not page.is_verified:
                after.pop(sync, None)
                self._withdraw_marks(key, sync)
            is_uncovered = bool(verdict.dropped or verdict.doubtful or not page.is_verified)
            if not (verdict.is_change or after != before or is_uncovered or suite.is_new):
                return SavedPage(sync=page.sync)
            self._execute("UPDATE commits SET number = ?", (commit,))
            if is_uncovered:
                suite = suite._replace(uncovered_in=commit, uncovered_by=None if is_overruled else sync)
            if is_uncovered or suite.is_new:
                suite = self._save_suite(key, suite)
            if verdict.is_contradiction:
                self._execute(f"UPDATE suites SET older_than = NULL, older_id = 0 WHERE {_SUITE}", key)
            self._save_sessions(suite.number, commit, sync, verdict, rows)
            self._save_coverage(suite.number, before, after)
        changed = set(verdict.changed)
        return SavedPage(
            sync=sync,
            changed=tuple(session for session in page.sessions if to_sql(session.id) in changed),
            is_contradiction=verdict.is_contradiction,
            is_outdated=evidence.is_outdated,
            unknown=sum(low <= rows[id_][_NUMBER] <= high for low, high in covered_before for id_ in verdict.unknown),
            restored=len(verdict.restored),
        )

    def finish_sync(self, key: SuiteKey, sync: int) -> None:
        """Record that all claims of a sync are verified."""
        with self._transaction():
            number = self._suite_row(key).number
            before = self._coverage(number)
            self._save_coverage(number, before, settle(before, sync))

    def mark_checked(self, key: SuiteKey, low: int, high: int) -> None:
        """Record that the unfinished sessions with these numbers were requested now."""
        with self._transaction():
            sql = f"UPDATE session_rows SET checked_at = {_NOW} WHERE {_IN_SUITE} AND relative_id BETWEEN ? AND ?"
            self._execute(sql, (*key, low, high))

    def save_older(self, key: SuiteKey, time: datetime, number: int) -> None:
        """Record that all sessions up to a number were created before a time."""
        with self._transaction():
            sql = f"UPDATE suites SET older_than = ?, older_id = ? WHERE {_SUITE}"
            self._execute(sql, (time.astimezone(UTC).isoformat(), number, *key))

    def mark_suite_missing(self, key: SuiteKey, sync: int | None) -> int | None:
        """Record that the server does not know a suite: it is missing, and deleted if another sync has found the same.

        Returns:
            The number of the sync; None if it has not saved anything yet.
        """
        with self._transaction():
            sql = f"SELECT missing_by, deleted_at FROM suites WHERE {_SUITE} AND is_synced"
            suite = self._execute(sql, key).fetchone()
            if suite is None or suite[1] is not None:
                return sync
            commit = self._number("SELECT number FROM commits") + 1
            self._execute("UPDATE commits SET number = ?", (commit,))
            sync = commit if sync is None else sync
            if suite[0] is None:
                change = f"UPDATE suites SET missing_since = {_NOW}, missing_by = ? WHERE {_SUITE}"
                self._execute(change, (sync, *key))
            elif suite[0] != sync:
                self._execute(f"UPDATE suites SET deleted_at = missing_since WHERE {_SUITE}", key)
        return sync

    def is_listed(self, workspace: str, project: str) -> bool:
        """Return whether the suites of a project were listed within the last day."""
        is_recent = "julianday('now') - julianday(listed_at) < 1"
        sql = f"SELECT 1 FROM projects WHERE workspace = ? AND project = ? AND {is_recent}"
        return self._execute(sql, (workspace, project)).fetchone() is not None

    def save_suites(self, workspace: str, project: str, suites: Sequence[Suite]) -> None:
        """Save the names of the suites of a project, and that they were listed now."""
        with self._transaction():
            self._execute(f"INSERT OR REPLACE INTO projects VALUES (?, ?, {_NOW})", (workspace, project))
            self._execute_many(
                """
                INSERT INTO suites (workspace, project, suite_id, name, identifier, html_url) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (workspace, project, suite_id) DO UPDATE
                SET (name, identifier, html_url) = (excluded.name, excluded.identifier, excluded.html_url)
                """,
                [
                    (*suite.key, to_sql(suite.name), to_sql(suite.identifier), to_sql(suite.html_url))
                    for suite in suites
                ],
            )

    def load_watch(self, key: SuiteKey, branch: str) -> list[Session] | None:
        """Return the sessions that a watch of a suite has seen; None if the suite was never watched."""
        if self._execute(f"SELECT 1 FROM watches WHERE {_WATCH}", (*key, branch)).fetchone() is None:
            return None
        rows = self._execute(f"SELECT session FROM watched WHERE {_WATCH}", (*key, branch))
        return [session_from_dict(json.loads(text)) for (text,) in rows]

    def start_watch(self, key: SuiteKey, branch: str, sessions: Sequence[Session]) -> None:
        """Save the sessions that exist when the watch of a suite starts, in place of all that were saved before."""
        with self._transaction():
            self._execute("INSERT OR IGNORE INTO watches VALUES (?, ?, ?, ?)", (*key, branch))
            self._execute(f"DELETE FROM watched WHERE {_WATCH}", (*key, branch))
            for session in sessions:
                self._save_watched_session(key, branch, session)

    def save_watched(self, key: SuiteKey, branch: str, session: Session) -> None:
        """Save a session as a watch has seen it. Of the sessions saved for the suite, keep only the newest."""
        with self._transaction():
            self._save_watched_session(key, branch, session)
            old = f"SELECT rowid FROM watched WHERE {_WATCH} ORDER BY relative_id DESC LIMIT -1 OFFSET ?"
            self._execute(f"DELETE FROM watched WHERE rowid IN ({old})", (*key, branch, REMEMBERED_SESSIONS))

    def _suite_row(self, key: SuiteKey) -> _SuiteRow:
        sql = f"SELECT {', '.join(_SuiteRow._fields)} FROM suites WHERE {_SUITE}"
        return _SuiteRow(*self._execute(sql, key).fetchone() or ())

    def _known_sessions(self, key: SuiteKey, page: ReadPage, sync: int) -> list[KnownSession]:
        """Return the sessions about which a page may prove something, and those that are on it."""
        numbers = [session.relative_id for session in page.first_page or page.sessions]
        numbers += page.covers or ()
        low, high = min(numbers, default=1), max(numbers, default=0)
        if page.top is not None:
            low, high = min(low, page.top + 1), ALL_NUMBERS[1]
        state = "missing_by, deleted_at IS NOT NULL, saved_in > ? AND saved_by <> ?"
        sql = f"SELECT {_COLUMNS}, {state} FROM sessions WHERE {_SUITE} AND relative_id BETWEEN ? AND ?"
        return [
            KnownSession(row[_ID], row[_NUMBER], row[:-3], row[-3], bool(row[-2]), bool(row[-1]))
            for row in self._execute(sql, (page.commit, sync, *key, low, high))
        ]

    def _save_suite(self, key: SuiteKey, suite: _SuiteRow) -> _SuiteRow:
        """Save that a suite exists, and when its coverage was reduced. Return its row."""
        self._execute(
            """
            INSERT INTO suites (workspace, project, suite_id, is_synced, uncovered_in, uncovered_by)
            VALUES (?, ?, ?, 1, ?, ?)
            ON CONFLICT (workspace, project, suite_id) DO UPDATE SET
            (is_synced, uncovered_in, uncovered_by, missing_since, missing_by, deleted_at) =
            (1, excluded.uncovered_in, excluded.uncovered_by, NULL, NULL, NULL)
            """,
            (*key, suite.uncovered_in, suite.uncovered_by),
        )
        return self._suite_row(key)

    def _save_sessions(
        self, suite: int | None, commit: int, sync: int, verdict: Verdict, rows: Mapping[object, Row]
    ) -> None:
        members = self._save_members({rows[id_][_CREATED_BY] for id_ in verdict.changed})
        self._execute_many(
            _SAVE_SESSION,
            [
                (suite, commit, sync, *row[:_CREATED_BY], members[row[_CREATED_BY]], *row[_CREATED_BY + 1 :])
                for row in map(rows.__getitem__, verdict.changed)
            ],
        )
        changed = set(verdict.changed)
        restored = [id_ for id_ in verdict.restored if id_ not in changed]
        marks = ((_MARK_RESTORED, restored), (_MARK_MISSING, verdict.missing), (_MARK_DELETED, verdict.deleted))
        for sql, ids in marks:
            self._execute_many(sql, [{"commit": commit, "sync": sync, "suite": suite, "id": id_} for id_ in ids])

    def _save_members(self, texts: Iterable[str | None]) -> dict[str | None, int | None]:
        """Save members that were not saved before. Return the numbers of all by their JSON."""
        numbers: dict[str | None, int | None] = {None: None}
        for text in texts:
            if text is not None:
                row = self._execute("SELECT number FROM members WHERE member = ?", (text,)).fetchone()
                insert = "INSERT INTO members (member) VALUES (?)"
                numbers[text] = self._execute(insert, (text,)).lastrowid if row is None else row[0]
        return numbers

    def _withdraw_marks(self, key: SuiteKey, sync: int) -> None:
        """Remove the marks that a sync has set, because its pages were out of order."""
        change = "deleted_at = NULL, deleted_by = NULL"
        self._execute(f"UPDATE session_rows SET {change} WHERE {_IN_SUITE} AND deleted_by = ?", (*key, sync))
        change = "missing_since = NULL, missing_by = NULL"
        self._execute(f"UPDATE session_rows SET {change} WHERE {_IN_SUITE} AND missing_by = ?", (*key, sync))

    def _coverage(self, suite: int | None) -> Coverage:
        coverage: dict[int | None, list[Interval]] = {}
        sql = "SELECT sync, low, high FROM covered WHERE suite = ? ORDER BY low"
        for sync, low, high in self._execute(sql, (suite,)):
            coverage.setdefault(sync, []).append((low, high))
        return {sync: tuple(intervals) for sync, intervals in coverage.items()}

    def _save_coverage(self, suite: int | None, before: Coverage, after: Coverage) -> None:
        old = {(suite, sync, *interval) for sync, intervals in before.items() for interval in intervals}
        new = {(suite, sync, *interval) for sync, intervals in after.items() for interval in intervals}
        delete = "DELETE FROM covered WHERE suite = ? AND sync IS ? AND low = ? AND high = ?"
        self._execute_many(delete, list(old - new))
        self._execute_many("INSERT INTO covered (suite, sync, low, high) VALUES (?, ?, ?, ?)", list(new - old))

    def _save_watched_session(self, key: SuiteKey, branch: str, session: Session) -> None:
        self._execute(
            "INSERT OR REPLACE INTO watched VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, branch, to_sql(session.id), session.relative_id, json.dumps(to_dict(session))),
        )

    def _number(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Return the number that a query selects; 0 if it is null."""
        (number,) = self._execute(sql, parameters).fetchone()
        return number or 0


def _evidence(page: ReadPage, rows: Mapping[object, Row], known: Iterable[KnownSession], sync: int) -> Evidence:
    numbers: dict[object, int] = {id_: row[_NUMBER] for id_, row in rows.items()}
    evidence = Evidence(rows=rows, numbers=numbers, covers=page.covers, sync=sync, is_repair=page.is_repair)
    if page.first_page is None:
        return evidence
    listed = {(to_sql(session.id), session.relative_id) for session in page.first_page}
    # Not the sessions that another sync has saved since the page was requested.
    current = [
        session.relative_id
        for session in known
        if session.missing_by is None and not session.is_deleted and not session.is_newer
    ]
    return evolve(
        evidence,
        top=page.top,
        has_known=any((session.id, session.relative_id) in listed for session in known),
        newest=max(current, default=0),
    )
