"""Locks of a store: one process at a time writes the file, one task a suite of it, and one watch uses a name.

The lock of a file or a name is an exclusive transaction on another SQLite file, which stays empty. The system releases
it when the process ends, also after kill -9. To acquire or release it takes a tenth of a millisecond, so the event loop
does it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from attrs import define

from ..errors import StoreError
from ..models import SuiteKey
from .file import DatabaseFile

_POLL = 0.02
"""Seconds between two attempts to acquire a lock."""
_WAIT = "try again when it has finished, or wait for it with {wait=600}"


@define
class _Lock:
    """A lock that this process holds."""

    connection: sqlite3.Connection | None  # to its file, if other processes may hold it, too
    holders: int = 0


# The keys begin with the id of the process: a fork copies what its parent holds, but holds nothing.
_held: dict[tuple[int, str], _Lock] = {}
_mutex = threading.Lock()  # loops of several threads may share a file


def lock_file(path: str, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
    """Acquire the lock of a database file, which all stores of this process share."""
    message = f"another process is syncing or pruning {path}"
    return _lock(os.path.realpath(path) + "-lock", message, _WAIT, wait=wait, is_shared=True)


def lock_suite(path: str, key: SuiteKey, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
    """Let no other task of this process sync or delete a suite of a file."""
    message = f"another task is syncing or pruning {key}"
    return _lock(f"{os.path.realpath(path)}/{key}", message, _WAIT, wait=wait, has_file=False)


def lock_watch(path: str, kind: str, name: str) -> AbstractAsyncContextManager[None]:
    """Acquire the lock of the watches of a kind and name."""
    message = f"another watch named {name!r} is running with {path}"
    return _lock(f"{os.path.realpath(path)}-lock-{kind}-{name}", message, "stop it, or pass another {name}")


@asynccontextmanager
async def _lock(
    name: str, message: str, advice: str, *, wait: float = 0.0, is_shared: bool = False, has_file: bool = True
) -> AsyncIterator[None]:
    """Acquire a lock, named by the path of its file. Raise StoreError if that cannot be written, or is not free."""
    key = os.getpid(), name
    deadline = time.monotonic() + wait
    while not _acquire(key, is_shared=is_shared, has_file=has_file):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise StoreError(message, retryable=True, advice=advice)
        await asyncio.sleep(min(_POLL, remaining))
    try:
        yield
    finally:
        with _mutex:
            lock = _held[key]
            lock.holders -= 1
            if not lock.holders:
                del _held[key]
                if lock.connection is not None:
                    lock.connection.close()


def _acquire(key: tuple[int, str], *, is_shared: bool, has_file: bool) -> bool:
    """Return whether a lock could be acquired, alone or, if it is shared, with others of this process."""
    with _mutex:
        for copied in [each for each in _held if each[0] != key[0]]:
            connection = _held.pop(copied).connection
            if connection is not None:
                connection.close()  # else SQLite would take this process for the holder; the parent still is
        if key not in _held:
            connection = _lock_path(key[1]) if has_file else None
            if has_file and connection is None:
                return False
            _held[key] = _Lock(connection)
        elif not is_shared:
            return False
        _held[key].holders += 1
        return True


def _lock_path(path: str) -> sqlite3.Connection | None:
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
