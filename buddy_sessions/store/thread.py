"""Calls functions of a file in a thread of its own, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from ..errors import StoreError
from .file import DatabaseFile

_P = ParamSpec("_P")
_T = TypeVar("_T")

_Calls: TypeAlias = deque[tuple[Future[Any], Callable[[], Any]]]
"""Calls that have not begun, each with the future that reports its outcome."""


class DatabaseThread:
    """A thread that calls functions of a file, one at a time. It can be opened again after it was closed.

    A function gets the file and plain data, and returns plain data.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._executor: ThreadPoolExecutor | None = None
        self._process = 0  # that has started the thread
        self._calls: _Calls = deque()
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
            raise StoreError(f"the store {self.path} is not open: use `async with`, or await its open()")
        self._check_process()
        return self._executor

    def _check_process(self) -> None:
        """Raise `StoreError` in a fork of the process that has started the thread: it has no such thread."""
        if self._executor is not None and self._process != os.getpid():
            raise StoreError(
                f"this process was forked after the store {self.path} was opened: open a store in each process"
            )

    def check_writable(self) -> None:
        """Raise `StoreError` if the file is not open, or cannot be written."""
        self.check_open()
        if self._file.is_read_only:
            raise StoreError(f"{self.path} can only be read: check that you may write to the file and its folder")

    async def open(self) -> None:
        """Start the thread and open the database. Does nothing if it is open."""
        self._check_process()
        if self._executor is None:
            self._process = os.getpid()
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="buddy_sessions-store")
            try:
                await self.run(DatabaseFile.open)
            except BaseException:
                await self.close()
                raise

    async def check_same_file(self) -> None:
        """Raise `StoreError` if the file was deleted or replaced since it was opened."""
        await self.run(DatabaseFile.check_same_file)

    async def close(self) -> None:
        """Close the database and end the thread, after the calls made before. Does nothing if it is not open."""
        self._check_process()
        executor, self._executor = self._executor, None
        if executor is not None:
            closing = asyncio.wrap_future(executor.submit(self._file.close))
            executor.shutdown(wait=False)
            await asyncio.shield(closing)  # else a cancelled close() could leave the database open

    async def run(
        self, function: Callable[Concatenate[DatabaseFile, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Call a function in the thread. A call that has begun is completed even if its caller is cancelled.

        Raises:
            StoreError: The thread is not open, or the function failed.
        """
        executor, future = self.check_open(), Future[_T]()
        self._calls.append((future, partial(function, self._file, *args, **kwargs)))
        executor.submit(_run_calls, self._calls)  # not a method: the thread must not keep an unclosed store alive
        with self._file.translate_errors():
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
