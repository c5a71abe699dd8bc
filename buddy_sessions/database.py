"""The SQLite file behind a store: each thing done with it is one transaction. For one thread.

`sqlite3` costs as much to import as a client, so that comes with the first file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import attrs

from .converter import session_from_json, to_json
from .errors import DecodeError, StoreError
from .intervals import Interval, Intervals, contains, gaps, union
from .models import Cursor, Session, SuiteKey
from .schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    import sqlite3

_P = ParamSpec("_P")
_T = TypeVar("_T")

_BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process that is writing."""

_FIELDS = tuple(field.name for field in attrs.fields(Session))
_COLUMNS = ", ".join(_FIELDS)
_SUITE = "workspace = ? AND project = ? AND suite_id = ?"
_WATCH = f"{_SUITE} AND branch = ?"
# Made of this module's own names alone, which is why S608 is of no concern in what follows.
_SELECT = f"SELECT {_COLUMNS} FROM sessions WHERE {_SUITE} AND deleted_at IS NULL"  # noqa: S608
_SELECT_ONE = f"SELECT {_COLUMNS}, deleted_at FROM sessions WHERE {_SUITE} AND id = ?"  # noqa: S608
_SELECT_IDS = f"SELECT id FROM sessions WHERE {_SUITE} AND deleted_at IS NULL AND relative_id BETWEEN ? AND ?"  # noqa: S608
_COUNT = f"SELECT count(*) FROM sessions WHERE {_SUITE} AND deleted_at IS NULL AND relative_id BETWEEN ? AND ?"  # noqa: S608
_NEWEST = f"SELECT max(relative_id) FROM sessions WHERE {_SUITE} AND deleted_at IS NULL"  # noqa: S608
_INSERT = f"""
    INSERT OR REPLACE INTO sessions (workspace, project, suite_id, {_COLUMNS})
    VALUES (?, ?, ?{", ?" * len(_FIELDS)})
"""  # noqa: S608

_ADVICE = {
    "BUSY": "another program holds it: let that end, and try again",
    "LOCKED": "another program holds it: let that end, and try again",
    "FULL": "the disk is full: make room, and harvest again; what was saved is safe",
    "NOTADB": "it is not a SQLite file, and was not changed: choose another path",
    "CORRUPT": "it is damaged: put it aside, and harvest into a new one",
    "CANTOPEN": "make sure that its folder exists, and that both may be written",
    "READONLY": "make sure that it and its folder may be written",
    "IOERR": "the disk fails, or its file system does not suit SQLite",
}


class Database:
    """The file: each method is one transaction, and leaves nothing of itself where it fails. Call them by `guard`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def guard(self, work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what `work` makes of this file.

        Raises:
            StoreError: It cannot be done, for whatever reason. The message says what to do.
        """
        import sqlite3  # noqa: PLC0415 - see above

        try:
            return work(self, *args, **kwargs)
        except sqlite3.Error as error:
            # Extended names such as SQLITE_IOERR_WRITE begin with the plain one; what Python itself refuses has none.
            name = getattr(error, "sqlite_errorname", "").split("_")
            advice = _ADVICE.get(name[1], "") if len(name) > 1 else ""
            raise StoreError(f"{self._path}: {error}{advice and f' ({advice})'}") from error
        except OverflowError as error:
            raise StoreError(
                f"{self._path}: a session has a number of more than 64 bits, which no file holds"
            ) from error
        except (DecodeError, ValueError) as error:
            raise StoreError(f"{self._path}: a row was changed to what is no session: {error}") from error

    def open(self) -> None:
        """Open the file; create it, or bring its schema up to date, where that is needed."""
        import sqlite3  # noqa: PLC0415 - see above

        if Path(self._path).is_file() and Path(self._path).stat().st_size == 1:  # SQLite takes that for an empty file
            raise StoreError(f"{self._path}: {_ADVICE['NOTADB']}")
        database = self._connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        version = self._version()
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            "PRAGMA synchronous = NORMAL"
        )  # in WAL mode a power cut loses the latest pages, never the file
        if version < len(MIGRATIONS):
            with self._transaction():
                for migration in MIGRATIONS[self._version() :]:  # another process may have been faster
                    for statement in migration.split(";"):
                        database.execute(statement)
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def close(self) -> None:
        """Close the file. What is not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def newest(self, key: SuiteKey) -> tuple[int, int]:
        """Return the highest number of a session that is alive, and the highest that is covered; 0 where none is."""
        (number,) = self._execute(_NEWEST, *_names(key)).fetchone()
        return number or 0, max((high for _, high in self.covered(key)), default=0)

    def save(
        self, key: SuiteKey, sessions: Sequence[Session], covers: Interval | None, settles: Interval | None
    ) -> tuple[Session, ...]:
        """Save a page, and return the sessions on it that are new or have changed.

        Args:
            key: The suite.
            sessions: The page.
            covers: The numbers of which every session alive is in the file with this page.
            settles: The numbers of which every session alive is on the page itself: the others are gone.
        """
        names = _names(key)
        rows = {session.id: (*map(_to_sql, to_json(session).values()), None) for session in sessions}
        with self._transaction():
            changed = tuple(
                session
                for session in sessions
                if self._execute(_SELECT_ONE, *names, _to_sql(session.id)).fetchone() != rows[session.id]
            )
            for session in changed:
                self._execute(_INSERT, *names, *rows[session.id][:-1])
            if settles:
                alive = {row[0] for row in rows.values()}
                gone = [session_id for (session_id,) in self._execute(_SELECT_IDS, *names, *settles)]
                now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                for session_id in gone:
                    if session_id not in alive:
                        self._execute(
                            f"UPDATE sessions SET deleted_at = ? WHERE {_SUITE} AND id = ?",  # noqa: S608
                            now,
                            *names,
                            session_id,
                        )
            if covers:
                before = self.covered(key)
                after = union(before, covers)
                for low, _ in set(before) - set(after):
                    self._execute(f"DELETE FROM covered WHERE {_SUITE} AND low = ?", *names, low)  # noqa: S608
                for interval in set(after) - set(before):
                    self._execute("INSERT INTO covered VALUES (?, ?, ?, ?, ?)", *names, *interval)
        return changed

    def missing(
        self, key: SuiteKey, since: int, below: int, settled: Intervals, after: Cursor | None
    ) -> tuple[Interval, Cursor] | None:
        """Return the topmost numbers that remain to be read, and where to begin; None if there are none.

        They are those that are not covered, and those of sessions that were not finished when they were last read.

        Args:
            key: The suite.
            since: Only numbers above this one.
            below: Only numbers below this one.
            settled: Numbers that were read just now, finished or not.
            after: Where the latest walk has ended. Its place is right, while the file may hold sessions above that
                are gone, and nobody has noticed.
        """
        within = ((max(low, since + 1), min(high, below - 1)) for low, high in gaps(self.covered(key)))
        target = next(((low, high) for low, high in within if low <= high), (0, 0))
        for session in self._unfinished(key, since, below):
            number = session.relative_id
            if not contains(settled, number):
                target = max(target, (number, number), key=lambda interval: interval[1])
                break
        if target[1] == 0:
            return None
        after = after or Cursor(below, 0)
        (between,) = self._execute(_COUNT, *_names(key), target[1] + 1, after.below - 1).fetchone()
        return target, Cursor(target[1] + 1, after.place + between)

    def covered(self, key: SuiteKey) -> Intervals:
        """Return the numbers of which every session alive is in the file."""
        sql = f"SELECT low, high FROM covered WHERE {_SUITE} ORDER BY low"  # noqa: S608
        return tuple(self._execute(sql, *_names(key)))

    def sessions(self, key: SuiteKey, branch: str | None) -> list[Session]:
        """Return the sessions of a suite that are alive, newest first."""
        only, names = ("", ()) if branch is None else (" AND ref_type = 'BRANCH' AND ref_name = ?", (_to_sql(branch),))
        rows = self._execute(f"{_SELECT}{only} ORDER BY relative_id DESC", *_names(key), *names)
        return [_to_session(row) for row in rows]

    def watched(self, key: SuiteKey, branch: str) -> list[Session] | None:
        """Return the sessions that a watch of a suite has seen; None if it has never begun."""
        names = *_names(key), _to_sql(branch)
        if not self._execute(f"SELECT 1 FROM watches WHERE {_WATCH}", *names).fetchone():  # noqa: S608
            return None
        rows = self._execute(f"SELECT session FROM watched WHERE {_WATCH}", *names)  # noqa: S608
        return [session_from_json(json.loads(text)) for (text,) in rows]

    def begin_watch(self, key: SuiteKey, branch: str, seen: Sequence[Session]) -> None:
        """Note that a watch of a suite begins with these sessions seen, and no others."""
        names = *_names(key), _to_sql(branch)
        with self._transaction():
            self._execute("INSERT OR IGNORE INTO watches VALUES (?, ?, ?, ?)", *names)
            self._execute(f"DELETE FROM watched WHERE {_WATCH}", *names)  # noqa: S608
            for session in seen:
                self._note(names, session)

    def note_watched(self, key: SuiteKey, branch: str, session: Session, keep: int) -> None:
        """Note a session as a watch has seen it, and keep so many of the newest."""
        names = *_names(key), _to_sql(branch)
        oldest = f"SELECT relative_id FROM watched WHERE {_WATCH} ORDER BY relative_id DESC LIMIT 1 OFFSET ?"  # noqa: S608
        with self._transaction():
            self._note(names, session)
            sql = f"DELETE FROM watched WHERE {_WATCH} AND relative_id <= ({oldest})"  # noqa: S608
            self._execute(sql, *names, *names, keep)

    def _note(self, names: tuple[Any, ...], session: Session) -> None:
        row = _to_sql(session.id), session.relative_id, json.dumps(to_json(session))
        self._execute("INSERT OR REPLACE INTO watched VALUES (?, ?, ?, ?, ?, ?, ?)", *names, *row)

    def suites(self) -> list[SuiteKey]:
        """Return the suites that have sessions in the file."""
        sql = "SELECT DISTINCT workspace, project, suite_id FROM sessions ORDER BY 1, 2, 3"
        return [SuiteKey(*map(_from_sql, row)) for row in self._execute(sql)]

    def _unfinished(self, key: SuiteKey, since: int, below: int) -> Iterator[Session]:
        # The statuses stand here as in the partial index, or SQLite would not use it; `finished` has the last word.
        unfinished = "status NOT IN ('SUCCESSFUL', 'ERROR', 'SKIPPED')"
        sql = f"{_SELECT} AND {unfinished} AND relative_id > ? AND relative_id < ? ORDER BY relative_id DESC"
        for row in self._execute(sql, *_names(key), since, below):
            session = _to_session(row)
            if not session.finished:
                yield session

    def _version(self) -> int:
        """Return the version of the schema, 0 for a new file.

        Raises:
            StoreError: The file is another program's, or of a newer version of this package.
        """
        (owner,) = self._execute("PRAGMA application_id").fetchone()
        (version,) = self._execute("PRAGMA user_version").fetchone()
        (tables,) = self._execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner != APPLICATION_ID and (owner or version or tables):
            raise StoreError(f"{self._path} is another program's SQLite file, and was not changed: choose another path")
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self._path} was written by a newer buddy_sessions (schema {version}, known up to "
                f"{len(MIGRATIONS)}), and was not changed: upgrade this one, or choose another path"
            )
        return int(version)

    def _execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if self._connection is None:
            raise StoreError(f"{self._path} is closed")
        return self._connection.execute(sql, parameters)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            with suppress(Exception):  # SQLite may have rolled it back itself
                self._execute("ROLLBACK")
            raise


def _names(key: SuiteKey) -> tuple[Any, ...]:
    return tuple(map(_to_sql, key))


def _to_sql(value: Any) -> Any:
    """Return a JSON value as SQLite holds it: an object as JSON; text that is not Unicode (half a pair) as a blob."""
    if type(value) is dict:
        return json.dumps(value)
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode(errors="surrogatepass")
    return value


def _from_sql(value: Any) -> Any:
    return value.decode(errors="surrogatepass") if type(value) is bytes else value


def _to_session(row: Sequence[Any]) -> Session:
    fields = dict(zip(_FIELDS, map(_from_sql, row), strict=True))
    fields["created_by"] = fields["created_by"] and json.loads(fields["created_by"])
    return session_from_json(fields)
