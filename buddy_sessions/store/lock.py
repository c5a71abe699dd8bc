"""Locks next to the file of a store: one process at a time writes the file, and one watch uses a name.

A lock is an exclusive transaction on another SQLite file, which stays empty. The system releases it when the process
ends, also after kill -9. To take or release a lock takes a tenth of a millisecond, so the event loop does it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ..errors import StoreError
from ..models import SuiteKey
from .file import DatabaseFile

_POLL = 0.1
"""Seconds between two attempts to take a lock of another process."""

_SUITE_POLL = 0.02
"""Seconds between two checks whether another sync of this process still reads a suite."""


def hold_file(path: str, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
    """Hold the lock of a database file, which all stores of this process share.

    Raises:
        StoreError: Another process has held it for `wait` seconds, or its file cannot be written.
    """
    message = (
        f"another process is syncing or pruning {path}: try again when it has finished, or wait for it (wait=600, or "
        "--wait 10m)"
    )
    return _hold(path, "-lock", None, message, wait=wait)


def hold_watch(path: str, kind: str, name: str, *, owner: object) -> AbstractAsyncContextManager[None]:
    """Hold the lock of the watches of a kind and name. The workers of one watch, its `owner`, share it.

    Raises:
        StoreError: Another watch holds it, or its file cannot be written.
    """
    message = (
        f"another watch named {name!r} is running with {path}: stop it, or give this one another name (name=, or "
        "--name)"
    )
    return _hold(path, f"-lock-{kind}-{name}", owner, message)


@asynccontextmanager
async def _hold(path: str, suffix: str, owner: object, message: str, *, wait: float = 0.0) -> AsyncIterator[None]:
    """Hold a lock. Raise StoreError if it is not free within `wait` seconds."""
    lock = _find_lock(path, suffix)
    end = time.monotonic() + wait
    while not lock.take(owner):
        remaining = end - time.monotonic()
        if remaining <= 0:
            raise StoreError(message, retryable=True)
        await asyncio.sleep(min(_POLL, remaining))
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def hold_suite(path: str, key: SuiteKey) -> AsyncIterator[None]:
    """Wait until no other task of this process syncs or deletes a suite of a file, and let no other begin."""
    suite, owner = (os.getpid(), _real_path(path), key), object()
    while _suites.setdefault(suite, owner) is not owner:  # noqa: ASYNC110 - the other sync may run in another loop
        await asyncio.sleep(_SUITE_POLL)
    try:
        yield
    finally:
        del _suites[suite]


class _Lock:
    """A lock file, and its owner in this process, which may hold it several times."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner: object = None
        self._holders = 0

    def take(self, owner: object) -> bool:
        """Return whether the owner holds the lock now. Otherwise another owner, or another process, does."""
        with self._mutex:
            if not self._holders:
                self._connection, self._owner = _lock_file(self._path), owner
            if self._connection is None or self._owner is not owner:
                return False
            self._holders += 1
            return True

    def release(self) -> None:
        """Undo one `take`."""
        with self._mutex:
            self._holders -= 1
            if not self._holders:
                self.close()

    def close(self) -> None:
        """End the transaction."""
        connection, self._connection, self._owner = self._connection, None, None
        if connection is not None:
            connection.close()


# The keys begin with the id of the process: a fork copies what its parent holds, but holds nothing. Both dictionaries
# are changed by `setdefault` and `del`, each in one step for other threads.
_locks: dict[tuple[int, str], _Lock] = {}
_suites: dict[tuple[int, str, SuiteKey], object] = {}


def _real_path(path: str) -> str:
    """Return the path of a file without symbolic links: what identifies it."""
    return os.path.realpath(path)


def _find_lock(path: str, suffix: str) -> _Lock:
    """Return the lock of this process whose file is next to a database file."""
    process = os.getpid()
    for copied in [key for key in list(_locks) if key[0] != process]:
        _locks.pop(copied).close()  # else SQLite would take this process for the holder; the parent still holds it
    lock_path = _real_path(path) + suffix
    return _locks.setdefault((process, lock_path), _Lock(lock_path))


def _lock_file(path: str) -> sqlite3.Connection | None:
    """Lock a lock file; return None if another process has locked it. It is created if it does not exist."""
    with DatabaseFile(path).translate_errors():
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = MEMORY")  # otherwise there would be a third file
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise
        return connection
