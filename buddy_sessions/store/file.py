"""A SQLite file of this package: opened, checked, created; its transactions and errors; the thread that uses it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event
from typing import Concatenate, Literal, ParamSpec, TypeVar

from ..errors import ConfigError, DecodeError, StoreError
from .schema import APPLICATION_ID, APPLICATION_ID_1, NEWEST_POSITION, SCHEMA, VERSION

Parameters = Sequence[object] | Mapping[str, object]
"""The parameters of a statement, by position or by name."""

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another program that is writing to the file."""

SQLITE_TIMEOUT = 0.1
"""Seconds of that which SQLite itself may wait: in this time, a call cannot be interrupted."""

_SMALLEST_DATABASE = 512
"""The bytes of the smallest file of SQLite, except an empty one."""

_COPY = "to read a file that you may not change, copy it: SQLite writes next to it"
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another program is writing to it: wait until that has finished, and try again",
    sqlite3.SQLITE_FULL: "the disk is full: free some space, and try again; all pages saved so far are kept",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite file, and was not changed: choose another path",
    sqlite3.SQLITE_CORRUPT: "it is damaged: move it away, and sync into a new file",
    sqlite3.SQLITE_CANTOPEN: f"check that you may write to it and its folder; {_COPY}",
    sqlite3.SQLITE_READONLY: f"check that you may write to it and its folder; {_COPY}",
    sqlite3.SQLITE_IOERR: "the disk fails, or its file system does not support SQLite",
}


class FileError(StoreError):
    """The whole file cannot be used, as opposed to the values of one suite."""

    ends_harvest = True


class OtherFileError(FileError, ConfigError):
    """The file is no database of this package, or one of a newer version."""


class DatabaseFile:
    """A SQLite file of this package. Used by one thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.closing = Event()  # a call that waits for another program fails once it is set, by another thread
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._position = 0  # the last one that the current transaction has used

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise `StoreError`, with advice if there is any, in place of errors of SQLite and of stored values."""
        try:
            yield
        except (sqlite3.DataError, sqlite3.IntegrityError) as error:  # a value
            raise StoreError(f"{self.path}: {error}") from error
        except sqlite3.Error as error:
            self.check_same_file()  # if it was replaced, any error can follow
            # The low byte is the kind of the error. Errors of the Python module itself have no code.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            advice, kind = _ADVICE.get(code), OtherFileError if code == sqlite3.SQLITE_NOTADB else FileError
            if code == sqlite3.SQLITE_CANTOPEN and os.path.isdir(self.path):
                advice = "it is a folder: name a file in it"
            elif code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(os.path.dirname(self.path) or "."):
                advice = "its folder does not exist: create it, or choose another path"
            raise kind(f"{self.path}: {error}" + (f" ({advice})" if advice else "")) from error
        except UnicodeDecodeError as error:  # of a message of SQLite, which quotes a damaged schema
            raise FileError(f"{self.path}: {error} ({_ADVICE[sqlite3.SQLITE_CORRUPT]})") from error
        except DecodeError as error:
            raise StoreError(f"{self.path}: a saved value was changed, and is not valid any more: {error}") from error

    def open(self) -> None:
        """Open the file, or create it. Raise `StoreError` for a file of another program or version."""
        self.closing.clear()
        if os.path.isfile(self.path) and 0 < os.path.getsize(self.path) < _SMALLEST_DATABASE:  # to SQLite, it is empty
            raise OtherFileError(f"{self.path} is not a SQLite file, and was not changed: choose another path")
        if self.path.lower().endswith((".jsonl", ".csv", ".parquet")) and not os.path.exists(self.path):
            raise OtherFileError(
                f"{self.path} is the name of an export, not of a database: sync into a .db file, then export"
            )
        self._connection = sqlite3.connect(self.path, timeout=SQLITE_TIMEOUT, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.create_function("next_position", 0, self.next_position)
        self._identity = self._find_identity()
        is_new = self._is_new()  # first, since the next statements change the file
        if is_new:
            self.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that what is pruned can be given back
        # In WAL mode, a power failure loses the latest transactions at most, and never damages the file.
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")
        if is_new:
            self._create()

    def _find_identity(self) -> tuple[int, int] | None:
        """Return the device and inode of the file that has the path now; None if there is none."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def check_same_file(self) -> None:
        """Raise `StoreError` if the file was deleted or replaced since it was opened: then nothing is saved in it."""
        if self._connection is not None and self._find_identity() != self._identity:
            raise FileError(
                f"{self.path} was deleted or replaced while it was open: open the store again, and repeat the call; "
                "nothing that was saved meanwhile is in the file"
            )

    def close(self) -> None:
        """Close the file. Can be repeated."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _is_new(self) -> bool:
        """Return whether the file has no schema yet."""
        # In one statement, since another process may be creating the schema. A new file has none of the three values.
        sql = "SELECT * FROM pragma_application_id, pragma_user_version, (SELECT count(*) FROM sqlite_master)"
        owner, version, tables = self.execute(sql).fetchone()
        if owner == APPLICATION_ID and version > VERSION:
            raise OtherFileError(
                f"{self.path} was written by a newer buddy_sessions (schema {version}, supported up to {VERSION}), and "
                "was not changed: upgrade buddy_sessions, or choose another path"
            )
        if owner not in {APPLICATION_ID, APPLICATION_ID_1} and (owner or version or tables):
            message = "was written by another program, and was not changed: choose another path"
            raise OtherFileError(f"{self.path} {message}")
        return not version

    def _create(self) -> None:
        """Create the schema, unless another process has just done it."""
        with self.begin("IMMEDIATE"):
            if self._is_new():
                for statement in SCHEMA:
                    self.execute(statement)
                self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.execute(f"PRAGMA user_version = {VERSION}")

    def execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Execute a statement. Wait up to `BUSY_TIMEOUT` for a program that is writing, or until `closing`.

        SQLite's own wait cannot be interrupted.
        """
        connection, deadline = self._open_connection(), time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                return connection.execute(sql, parameters)
            except sqlite3.OperationalError as error:
                may_wait = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY and not connection.in_transaction
                if not may_wait or time.monotonic() > deadline or self.closing.wait(0.01):
                    raise

    def execute_many(self, sql: str, rows: Sequence[Parameters]) -> None:
        """Execute a statement for each row."""
        self._open_connection().executemany(sql, rows)

    def number(self, sql: str, parameters: Parameters = ()) -> int:
        """Return the number that a query selects; 0 if it is null."""
        (number,) = self.execute(sql, parameters).fetchone()
        return number or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Save all changes of a block, or none of them after an error."""
        # IMMEDIATE waits for other writers here. A transaction that begins with a read cannot wait: it fails at its
        # first write if another program has written since.
        with self.begin("IMMEDIATE"):
            self._position = self.number(NEWEST_POSITION)
            yield

    def begin(self, kind: Literal["IMMEDIATE", "DEFERRED"]) -> sqlite3.Connection:
        """Begin a transaction: all its queries see one state of the file.

        Return its context, which commits, or rolls back after an error.
        """
        return self.execute(f"BEGIN {kind}").connection

    def next_position(self) -> int:
        """Return the next position in a transaction. It is also the function `next_position()` in SQL."""
        self._position += 1
        return self._position

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise FileError(f"{self.path} is closed")
        return self._connection


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _call(file: DatabaseFile, function: Callable[[], _T]) -> _T:
    file.check_same_file()
    return function()


class DatabaseThread:
    """A thread that calls functions of a file, one at a time, so that the event loop never waits for a disk.

    A function gets the file and plain data, and returns plain data. A closed thread can be opened again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._executor: ThreadPoolExecutor | None = None
        self._process = 0  # that has started the thread
        self._file = DatabaseFile(path)

    # A default argument still exists while the interpreter is shutting down, when `warnings` may be gone.
    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._executor is not None and self._process == os.getpid():
            message = f"unclosed SessionStore {self.path}: use `async with`, or await its close()"
            _warn(message, ResourceWarning, source=self)
            with suppress(RuntimeError):  # an executor takes no calls while the interpreter is shutting down
                self._executor.submit(self._file.close)

    def check_open(self) -> ThreadPoolExecutor:
        """Return the executor of the thread. Raise `StoreError` if the thread is not open in this process."""
        if self._executor is None:
            raise FileError(f"the store {self.path} is not open: use `async with`, or await its open()")
        if self._process != os.getpid():  # a fork has no such thread
            raise StoreError(
                f"this process was forked after the store {self.path} was opened: open a store in each process"
            )
        return self._executor

    async def open(self) -> None:
        """Start the thread and open the database. Does nothing if it is open."""
        if self._executor is None:
            self._process = os.getpid()
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="buddy_sessions-store")
            try:
                await self.run(DatabaseFile.open)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close the database and end the thread, after the calls made before. Does nothing if it is not open.

        A call that waits for another program fails at once.
        """
        if self._executor is not None:
            executor, self._executor = self.check_open(), None
            self._file.closing.set()
            closing = asyncio.wrap_future(executor.submit(self._file.close))
            executor.shutdown(wait=False)
            await asyncio.shield(closing)  # else a cancelled close() could leave the database open

    async def run(
        self, function: Callable[Concatenate[DatabaseFile, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Call a function in the thread. A call that has begun is completed even if its caller is cancelled."""
        # Not methods: the thread must not keep an unclosed store alive.
        future = self.check_open().submit(_call, self._file, partial(function, self._file, *args, **kwargs))
        with self._file.translate_errors():
            return await asyncio.wrap_future(future)
