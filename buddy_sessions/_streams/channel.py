"""`Channel`: the items that a task produces, for one consumer."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from .._base.workers import Work

_T = TypeVar("_T")

_running: set[asyncio.Task[None]] = set()
"""The tasks of all channels: the event loop alone would not keep them."""


class Channel(Generic[_T]):
    """Runs `work` in a task, and passes the items that it `put`s to one consumer, one call of `get` at a time.

    If the work fails, the consumer gets the items that are in the queue, of at most `size`, and then the error. `name`
    is that of the stream, for messages.
    """

    def __init__(self, work: Work, *, size: int, name: str) -> None:
        self._work = work
        self._name = name
        self._task: asyncio.Task[None] | None = None
        # The semaphore bounds the items. The queue itself is unbounded, so that None, which marks the end, always fits.
        self._queue: asyncio.Queue[_T | None] = asyncio.Queue()
        self._free_slots = asyncio.Semaphore(size)
        self._consumer: Callable[[], asyncio.Task[Any] | None] = lambda: None  # a weak reference
        self.failure: BaseException | None = None
        self.is_closed = False

    def abandon(self, owner: object) -> None:
        """End the work of a stream that is dropped, without waiting for it. A ResourceWarning says so."""
        if self._task is not None and not self._task.done() and not self.is_closed:
            message = f"unclosed {self._name}: use `async with`, or await its aclose()"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=owner)
            self.is_closed = True
            with suppress(RuntimeError):  # the event loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    async def put(self, item: _T) -> None:
        await self._free_slots.acquire()
        self._queue.put_nowait(item)

    @property
    def is_unused(self) -> bool:
        """Whether it was neither started nor closed."""
        return self._task is None and not self.is_closed

    @property
    def is_empty(self) -> bool:
        return self._queue.empty()

    def raise_if_unconsumed(self) -> None:
        """Raise RuntimeError if the current task is the consumer, or the last consumer has ended."""
        consumer = self._consumer()
        if self._task and (consumer is None or consumer.done() or consumer is asyncio.current_task()):
            raise RuntimeError(f"no other task is iterating over this {self._name}: start its loop in a task")

    async def get(self) -> _T | None:
        """Return the next item; None once the work has ended, or the channel is closed. The first call starts the work.

        The error of the work is raised. If this is cancelled, call it again.
        """
        self._consumer = weakref.ref(asyncio.current_task())
        if self._task is None and not self.is_closed:
            self._task = asyncio.create_task(self._work())
            _running.add(self._task)
            self._task.add_done_callback(_running.discard)
            self._task.add_done_callback(self._on_end)
        if self.is_closed:
            return None
        item = await self._queue.get()
        if self.is_closed:
            return None
        if item is not None:
            self._free_slots.release()
        elif self.failure is not None:
            self._queue.put_nowait(None)  # each later call raises it, too
            raise self.failure
        return item

    async def close(self) -> None:
        """Cancel the work, and wait until it has ended. A consumer that is waiting gets None."""
        self.is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _on_end(self, task: asyncio.Task[None]) -> None:
        # A task that was cancelled from outside must not look like the end of the stream.
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.failure = None if self.is_closed else failure
        self._queue.put_nowait(None)
