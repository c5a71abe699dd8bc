"""The SQL of a store. Each method that writes is one transaction. A `Database` is used by one thread."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from .._decoding.converter import session_from_dict, to_dict
from ..errors import DecodeError, StoreError
from ..models import Session, SuiteKey
from ..watch import REMEMBERED_SESSIONS
from .intervals import Interval, Intervals, union
from .schema import APPLICATION_ID, MIGRATIONS

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another program that is writing to the file."""

_FIELDS = tuple(field.name for field in attrs.fields(Session))
_COLUMNS = ", ".join(_FIELDS)
_NEW_VALUES = ", ".join(f"excluded.{name}" for name in _FIELDS)

_SUITE = "workspace = ? AND project = ? AND suite_id = ?"
_WATCH = f"{_SUITE} AND branch = ?"
_FROM_SESSIONS = f"FROM sessions WHERE {_SUITE} AND deleted_at IS NULL"

_SAVE_SESSION = f"""
    INSERT INTO sessions (workspace, project, suite_id, {_COLUMNS}) VALUES (?, ?, ?{", ?" * len(_FIELDS)})
    ON CONFLICT (workspace, project, suite_id, id) DO
    UPDATE SET ({_COLUMNS}, deleted_at) = ({_NEW_VALUES}, NULL)
    WHERE ({_COLUMNS}, deleted_at) IS NOT ({_NEW_VALUES}, NULL)
"""

_ADVICE = {
    sqlite3.SQLITE_BUSY: "another program is writing to it: wait until that has finished, and try again",
    sqlite3.SQLITE_FULL: "the disk is full: free some space, and try again; all pages saved so far are kept",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite file, and was not changed: choose another path",
    sqlite3.SQLITE_CORRUPT: "it is damaged: move it away, and sync into a new file",
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists, and that you may write to the file and the folder",
    sqlite3.SQLITE_READONLY: "check that you may write to the file and its folder",
    sqlite3.SQLITE_IOERR: "the disk fails, or its file system does not support SQLite",
}


class Database:
    """The sessions, the coverage and the state of watches in one SQLite file. A method that fails changes nothing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise `StoreError`, with advice if there is any, in place of the errors of SQLite and of invalid values."""
        try:
            yield
        except sqlite3.Error as error:
            # The low byte is the kind of the error. Errors of the Python module itself have no code.
            advice = _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
            raise StoreError(f"{self.path}: {error}" + (f" ({advice})" if advice else "")) from error
        except OverflowError as error:
            raise StoreError(f"{self.path}: a number of a session has more than 64 bits, SQLite's limit") from error
        except (DecodeError, ValueError) as error:  # ValueError: invalid JSON or text
            raise StoreError(f"{self.path}: a saved session was changed, and is not valid any more: {error}") from error

    def open(self) -> None:
        """Open the file. Create it, or update its schema, if necessary.

        Raises:
            StoreError: The file belongs to another program, or to a newer version of this package.
        """
        # SQLite treats a file of one byte as empty, and would overwrite it.
        if os.path.isfile(self.path) and os.path.getsize(self.path) == 1:
            raise StoreError(f"{self.path} is not a SQLite file, and was not changed: choose another path")
        self._connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
        version = self._check_version()  # first, since the next statement changes the file
        self._execute("PRAGMA journal_mode = WAL")
        # In WAL mode, a power failure loses the latest transactions at most, and never damages the file.
        self._execute("PRAGMA synchronous = NORMAL")
        if version < len(MIGRATIONS):
            self._migrate()

    def close(self) -> None:
        """Close the file. Can be repeated."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def newest(self, key: SuiteKey) -> int:
        """Return the highest number of a session that is not deleted; 0 if there is none."""
        return self._select_number(f"SELECT max(relative_id) {_FROM_SESSIONS}", key)

    def newest_unfinished(self, key: SuiteKey, *, above: int, below: int) -> int:
        """Return the highest number of an unfinished session between `above` and `below`, both excluded; 0 for none."""
        # Together, the two conditions on `status` mean `not Session.is_finished`. The first is that of the index
        # sessions_unfinished, so that SQLite uses it. The second is for a status that this version does not know.
        sql = f"""
            SELECT max(relative_id) {_FROM_SESSIONS}
            AND status NOT IN ('SUCCESSFUL', 'ERROR', 'SKIPPED') AND (status = 'IN_PROGRESS' OR finish_date IS NULL)
            AND relative_id > ? AND relative_id < ?
        """
        return self._select_number(sql, (*key, above, below))

    def count_sessions(self, key: SuiteKey, low: int, high: int) -> int:
        """Return how many sessions that are not deleted have numbers from `low` to `high`."""
        sql = f"SELECT count(*) {_FROM_SESSIONS} AND relative_id BETWEEN ? AND ?"
        return self._select_number(sql, (*key, low, high))

    def covered(self, key: SuiteKey) -> Intervals:
        """Return the numbers of which the database contains every existing session."""
        return tuple(self._execute(f"SELECT low, high FROM covered WHERE {_SUITE} ORDER BY low", key))

    def sessions(self, key: SuiteKey, *, branch: str | None = None) -> list[Session]:
        """Return the sessions of a suite that are not deleted, newest first."""
        sql, parameters = f"SELECT {_COLUMNS} {_FROM_SESSIONS}", [*key]
        if branch is not None:
            sql += " AND ref_type = 'BRANCH' AND ref_name = ?"
            parameters.append(_to_sql(branch))
        return [_to_session(row) for row in self._execute(f"{sql} ORDER BY relative_id DESC", parameters)]

    def suites(self) -> list[SuiteKey]:
        """Return the suites that have sessions in the database, deleted ones included, sorted by their names."""
        rows = self._execute("SELECT DISTINCT workspace, project, suite_id FROM sessions ORDER BY 1, 2, 3")
        return [SuiteKey(*row) for row in rows]

    def save_page(
        self, key: SuiteKey, sessions: Sequence[Session], covers: Interval | None, newest: int = 0
    ) -> tuple[Session, ...]:
        """Save a page. Return its sessions that are new or have changed.

        Args:
            key: The suite.
            sessions: The sessions of the page.
            covers: The range of numbers whose existing sessions are all on this page; None if there is no proof. The
                other sessions in this range are marked as deleted.
            newest: For a verified first page of a list: the newest number known before it was requested. Known
                sessions up to this number that are above the top of the list are marked as deleted, too.
        """
        low, high = covers or (1, 0)  # a verified first page that covers nothing is that of an empty list
        with self._transaction():
            changed = tuple(session for session in sessions if self._save_session(key, session))
            if covers is not None or newest:
                self._mark_deleted(key, (low, max(high, newest)), {_to_sql(session.id) for session in sessions})
            if covers is not None:
                self._add_coverage(key, covers)
        return changed

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

    def _check_version(self) -> int:
        """Return the version of the schema; 0 for a new file."""
        # In one statement, since another process may be creating the schema. A new file has none of the three values.
        sql = "SELECT * FROM pragma_application_id, pragma_user_version, (SELECT count(*) FROM sqlite_master)"
        owner, version, tables = self._execute(sql).fetchone()
        if owner != APPLICATION_ID and (owner or version or tables):
            raise StoreError(f"{self.path} is another program's SQLite file, and was not changed: choose another path")
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self.path} was written by a newer buddy_sessions (schema {version}, supported up to "
                f"{len(MIGRATIONS)}), and was not changed: upgrade buddy_sessions, or choose another path"
            )
        return int(version)

    def _migrate(self) -> None:
        """Update the schema to the latest version."""
        with self._transaction():
            # Read the version again: another process may have migrated the file before this transaction began.
            for migration in MIGRATIONS[self._check_version() :]:
                for statement in migration:
                    self._execute(statement)
            self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _save_session(self, key: SuiteKey, session: Session) -> bool:
        """Save a session. Return whether it is new or has changed."""
        return self._execute(_SAVE_SESSION, (*key, *map(_to_sql, to_dict(session).values()))).rowcount > 0

    def _mark_deleted(self, key: SuiteKey, numbers: Interval, listed: set[Any]) -> None:
        """Mark the sessions with these numbers as deleted, except those whose IDs are listed."""
        known = self._execute(f"SELECT id {_FROM_SESSIONS} AND relative_id BETWEEN ? AND ?", (*key, *numbers))
        for (session_id,) in known.fetchall():
            if session_id not in listed:
                self._execute(
                    f"UPDATE sessions SET deleted_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE {_SUITE} AND id = ?",
                    (*key, session_id),
                )

    def _add_coverage(self, key: SuiteKey, covers: Interval) -> None:
        """Add an interval to the covered numbers."""
        before = self.covered(key)
        after = union(before, covers)
        for low, _ in set(before) - set(after):
            self._execute(f"DELETE FROM covered WHERE {_SUITE} AND low = ?", (*key, low))
        for interval in set(after) - set(before):
            self._execute("INSERT INTO covered VALUES (?, ?, ?, ?, ?)", (*key, *interval))

    def _save_watched_session(self, key: SuiteKey, branch: str, session: Session) -> None:
        self._execute(
            "INSERT OR REPLACE INTO watched VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, branch, _to_sql(session.id), session.relative_id, json.dumps(to_dict(session))),
        )

    def _select_number(self, sql: str, parameters: Sequence[object]) -> int:
        """Return the number that a query selects; 0 if it is null."""
        (number,) = self._execute(sql, parameters).fetchone()
        return number or 0

    def _execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        if self._connection is None:
            raise StoreError(f"{self.path} is closed")
        return self._connection.execute(sql, parameters)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE waits for other writers here. A transaction that begins with a read cannot wait: it fails at its
        # first write if another program has written since.
        with self._execute("BEGIN IMMEDIATE").connection:  # commits, or rolls back after an error
            yield


def _to_sql(value: Any) -> Any:
    """Return a JSON value as it is stored: an object as JSON, text with a lone surrogate as a blob."""
    if type(value) is dict:
        return json.dumps(value)
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode(errors="surrogatepass")
    return value


def _to_session(row: Sequence[Any]) -> Session:
    """Return the session of a row of `_COLUMNS`."""
    fields = {
        name: value.decode(errors="surrogatepass") if type(value) is bytes else value
        for name, value in zip(_FIELDS, row, strict=True)
    }
    if fields["created_by"] is not None:
        fields["created_by"] = json.loads(fields["created_by"])
    return session_from_dict(fields)
