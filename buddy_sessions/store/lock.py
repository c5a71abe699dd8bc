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
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ..errors import StoreError
from ..models import SuiteKey
from .file import DatabaseFile

_POLL = 0.02
"""Seconds between two attempts to take a lock."""

# What this process holds. The keys begin with its id: a fork copies what its parent holds, but holds nothing.
_held: dict[tuple[int, str], list[sqlite3.Connection]] = {}  # the connection to a lock file, once for each holder
_suites: set[tuple[int, str, SuiteKey]] = set()
_mutex = threading.Lock()  # loops of several threads may share a file


def hold_file(path: str, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
    """Hold the lock of a database file, which all stores of this process share.

    Raises:
        StoreError: Another process has held it for `wait` seconds, or its file cannot be written.
    """
    message = (
        f"another process is syncing or pruning {path}: try again when it has finished, or wait for it (wait=600, or "
        "--wait 10m)"
    )
    return _hold(path, "-lock", message, wait=wait, is_shared=True)


def hold_watch(path: str, kind: str, name: str) -> AbstractAsyncContextManager[None]:
    """Hold the lock of the watches of a kind and name.

    Raises:
        StoreError: Another watch holds it, or its file cannot be written.
    """
    message = (
        f"another watch named {name!r} is running with {path}: stop it, or give this one another name (name=, or "
        "--name)"
    )
    return _hold(path, f"-lock-{kind}-{name}", message)


@asynccontextmanager
async def _hold(
    path: str, suffix: str, message: str, *, wait: float = 0.0, is_shared: bool = False
) -> AsyncIterator[None]:
    """Hold a lock. Raise StoreError if it is not free within `wait` seconds."""
    key = os.getpid(), _real_path(path) + suffix
    await _wait_for(lambda: _take(key, is_shared=is_shared), message, wait)
    try:
        yield
    finally:
        with _mutex:
            connection = _held[key].pop()
            if not _held[key]:
                del _held[key]
                connection.close()


@asynccontextmanager
async def hold_suite(path: str, key: SuiteKey, *, wait: float = 0.0) -> AsyncIterator[None]:
    """Let no other task of this process sync or delete a suite of a file.

    Raises:
        StoreError: Another task does so, and has not ended within `wait` seconds.
    """
    suite = os.getpid(), _real_path(path), key
    message = f"another task is syncing or pruning {key}: try again when it has finished, or wait for it (wait=600)"
    await _wait_for(lambda: _take_suite(suite), message, wait)
    try:
        yield
    finally:
        with _mutex:
            _suites.remove(suite)


def _real_path(path: str) -> str:
    """Return the path of a file without symbolic links: what identifies it."""
    return os.path.realpath(path)


async def _wait_for(take: Callable[[], bool], message: str, wait: float) -> None:
    end = time.monotonic() + wait
    while not take():
        remaining = end - time.monotonic()
        if remaining <= 0:
            raise StoreError(message, retryable=True)
        await asyncio.sleep(min(_POLL, remaining))


def _take_suite(suite: tuple[int, str, SuiteKey]) -> bool:
    with _mutex:
        is_free = suite not in _suites
        _suites.add(suite)
        return is_free


def _take(key: tuple[int, str], *, is_shared: bool) -> bool:
    """Return whether a lock is held now, alone or, if it is shared, with others of this process."""
    with _mutex:
        for copied in [each for each in _held if each[0] != key[0]]:
            _held.pop(copied)[0].close()  # else SQLite would take this process for the holder; the parent still is
        if key in _held:
            if is_shared:
                _held[key].append(_held[key][0])
            return is_shared
        connection = _lock_file(key[1])
        if connection is not None:
            _held[key] = [connection]
        return connection is not None


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
