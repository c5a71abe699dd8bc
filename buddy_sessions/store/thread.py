"""Runs a `Database` in a thread of its own, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeAlias, TypeVar

from ..errors import StoreError
from ..models import Session, SuiteKey

_P = ParamSpec("_P")
_T = TypeVar("_T")

_Calls: TypeAlias = deque[tuple[Future[Any], Callable[[], Any]]]
"""Calls that have not begun, each with the future that reports its outcome."""


class DatabaseThread:
    """A thread that calls the methods of a database, one at a time. It can be opened again after it was closed.

    Attributes:
        database: The database. Call its methods with `run`.
    """

    def __init__(self, path: str) -> None:
        self._executor: ThreadPoolExecutor | None = None  # first: an interrupt may end the import below
        self._calls: _Calls = deque()
        from .database import Database  # noqa: PLC0415 - a program that uses no store does not need sqlite3

        self.database = Database(path)

    # A default argument still exists while the interpreter is shutting down, when `warnings` may be gone.
    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._executor is not None:
            message = f"unclosed SessionStore {self.database.path}: use `async with`, or await its close()"
            _warn(message, ResourceWarning, source=self)
            with suppress(RuntimeError):  # an executor takes no calls while the interpreter is shutting down
                self._executor.submit(self.database.close)

    def check_open(self) -> ThreadPoolExecutor:
        """Return the executor of the thread.

        Raises:
            StoreError: The thread is not open.
        """
        if self._executor is None:
            raise StoreError(f"the store {self.database.path} is not open: use `async with`, or await its open()")
        return self._executor

    async def open(self) -> None:
        """Start the thread and open the database. Does nothing if it is open."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="buddy_sessions-store")
            try:
                await self.run(self.database.open)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close the database and end the thread, after the calls made before. Does nothing if it is not open."""
        executor, self._executor = self._executor, None
        if executor is not None:
            closing = asyncio.wrap_future(executor.submit(self.database.close))
            executor.shutdown(wait=False)
            await asyncio.shield(closing)  # else a cancelled close() could leave the database open

    async def run(self, method: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a method in the thread. A call that has begun is completed even if its caller is cancelled.

        Raises:
            StoreError: The thread is not open, or the method failed.
        """
        executor, future = self.check_open(), Future[_T]()
        self._calls.append((future, partial(method, *args, **kwargs)))
        executor.submit(_run_calls, self._calls)  # not a method: the thread must not keep an unclosed store alive
        with self.database.translate_errors():
            return await asyncio.wrap_future(future)


def _run_calls(waiting: _Calls) -> None:
    """Run the calls that are waiting, then report all outcomes. Called in the thread.

    A report wakes the event loop, which then competes with this thread for the GIL. That would take more time than most
    calls do.
    """
    calls = [waiting.popleft() for _ in range(len(waiting))]
    reports = [_run_call(future, call) for future, call in calls if future.set_running_or_notify_cancel()]
    for report in reports:
        report()


def _run_call(future: Future[_T], call: Callable[[], _T]) -> Callable[[], object]:
    """Run a call, and return the function that reports its outcome."""
    try:
        return partial(future.set_result, call())
    except BaseException as error:  # noqa: BLE001 - raised by `DatabaseThread.run`
        return partial(future.set_exception, error)


class SyncThread:
    """A `DatabaseThread` for one sync of many suites.

    Once the file fails (locked, full, damaged), every later call fails at once with the same message, so that no more
    requests are made for sessions that cannot be saved.
    """

    def __init__(self, thread: DatabaseThread) -> None:
        self.database = thread.database
        self._thread = thread
        self._failure: str | None = None

    async def run(self, method: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a method in the thread, unless the file has failed before. See `DatabaseThread.run`."""
        return await self._thread.run(self._call, partial(method, *args, **kwargs))

    def _call(self, call: Callable[[], _T]) -> _T:
        """Call a function, unless the file has failed, also while this call was waiting. Called in the thread."""
        if self._failure is not None:
            raise StoreError(self._failure)
        try:
            with self.database.translate_errors():
                return call()
        except StoreError as error:
            # An OverflowError concerns a number of one session. All other errors concern the file.
            if not isinstance(error.__cause__, OverflowError):
                self._failure = str(error)
            raise


class StoreWatchState:
    """The `WatchState` of the watches of one branch, or of all branches if it is None."""

    def __init__(self, thread: DatabaseThread, *, branch: str | None) -> None:
        self._thread = thread
        self._database = thread.database
        self._branch = branch or ""  # not null: in SQL, null is not equal to null

    async def load(self, key: SuiteKey) -> list[Session] | None:
        """Return the sessions of a suite that were saved; None if the suite was never watched."""
        return await self._thread.run(self._database.load_watch, key, self._branch)

    async def start(self, key: SuiteKey, sessions: Iterable[Session]) -> None:
        """Save the sessions that exist when the watch of a suite starts, in place of all that were saved before."""
        await self._thread.run(self._database.start_watch, key, self._branch, list(sessions))

    async def save(self, key: SuiteKey, session: Session) -> None:
        """Save a session whose change was acknowledged. Of the saved sessions, keep only the newest."""
        await self._thread.run(self._database.save_watched, key, self._branch, session)
