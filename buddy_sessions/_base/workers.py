"""A bounded number of workers: `WorkerPool` for a stream with one consumer, `map_concurrently` for a list."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Generic, TypeVar

_S = TypeVar("_S")
_T = TypeVar("_T")


async def map_concurrently(
    function: Callable[[_S], Coroutine[Any, Any, _T]], items: Iterable[_S], *, limit: int
) -> list[_T]:
    """Return the results of an async function for each item, in their order, with at most `limit` calls at once.

    If one call fails, the others are cancelled, and its error is raised.
    """
    remaining = enumerate(items)
    results: dict[int, _T] = {}

    async def work() -> None:
        for index, item in remaining:
            results[index] = await function(item)

    workers = [asyncio.create_task(work()) for _ in range(limit)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    return [results[index] for index in sorted(results)]


def _no_task() -> None:
    """Return None, as a weak reference to a task that is gone does."""


class WorkerPool(Generic[_T]):
    """Runs workers, and passes the items that they `put` to one consumer: the first task that asks for one.

    The first worker that fails ends the pool: the other workers are cancelled, the consumer gets the items that are in
    the queue, and then the error. There are at most `size` workers, and as many items in the queue. `name` is that of
    the stream, for messages. Each worker runs inside `hold()`.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        size: int,
        name: str,
        hold: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self._work = work
        self._hold = hold
        self._size = size
        self._name = name
        self._workers: list[asyncio.Task[None]] = []
        # The semaphore bounds the items. The queue itself is unbounded, so that None, which marks the end, always fits.
        self._queue: asyncio.Queue[_T | None] = asyncio.Queue()
        self._free_slots = asyncio.Semaphore(size)
        self._running = 0
        self.failure: BaseException | None = None
        self._is_closed = False
        self._consumer: Callable[[], asyncio.Task[Any] | None] = _no_task

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._running and not self._is_closed:
            _warn(f"unclosed {self._name}: use `async with`, or await its aclose()", ResourceWarning, source=self)

    async def put(self, item: _T) -> None:
        """Append an item to the queue. Waits while the queue is full."""
        await self._free_slots.acquire()
        self._queue.put_nowait(item)

    def claim(self) -> None:
        """Make the current task the only consumer, until it has ended; RuntimeError if another task is."""
        current, consumer = asyncio.current_task(), self._consumer()
        if consumer is current:
            return
        if consumer is not None and not consumer.done():
            raise RuntimeError(f"another task is iterating over this {self._name}: only one can at a time")
        self._consumer = weakref.ref(current) if current else _no_task

    @property
    def is_empty(self) -> bool:
        """Whether no item waits for the consumer."""
        return self._queue.empty()

    def raise_if_unconsumed(self) -> None:
        """Raise RuntimeError if the current task is the consumer, or the last consumer has ended."""
        consumer = self._consumer()
        if self._workers and (consumer is None or consumer.done() or consumer is asyncio.current_task()):
            raise RuntimeError(f"no other task is iterating over this {self._name}: start its loop in a task")

    async def get(self) -> _T | None:
        """Return the next item; None once all workers have ended, or the pool is closed. The first call starts them.

        The error of a worker that failed is raised once; RuntimeError if another task is the consumer.
        """
        self.claim()
        if self._is_closed:
            return None
        if not self._workers:
            self._start()
        item = await self._queue.get()
        if item is not None:
            self._free_slots.release()
            return item
        self._is_closed = True
        if self.failure is not None:
            raise self.failure
        return None

    async def close(self) -> None:
        """Cancel the workers, and wait until they have ended. A consumer that is waiting gets None."""
        self._is_closed = True
        self._cancel_workers()
        if self._workers:
            await asyncio.wait(self._workers)

    def _start(self) -> None:
        self._running = self._size
        self._workers = [asyncio.create_task(self._run()) for _ in range(self._size)]
        for worker in self._workers:
            worker.add_done_callback(self._on_worker_done)

    async def _run(self) -> None:
        async with self._hold():
            await self._work()

    def _on_worker_done(self, worker: asyncio.Task[None]) -> None:
        self._running -= 1
        # A worker that was cancelled from outside must not look like the end of the stream.
        failure = asyncio.CancelledError() if worker.cancelled() else worker.exception()
        if failure is not None and self.failure is None and not self._is_closed:
            self.failure = failure
            self._cancel_workers()
        if not self._running:
            self._queue.put_nowait(None)

    def _cancel_workers(self) -> None:
        for worker in self._workers:
            worker.cancel()
