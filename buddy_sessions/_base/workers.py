"""A bounded number of tasks, and the memory of what they read.

`CommonCause` says when to start no more of them, `add_jitter` when to poll again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..errors import BuddyError, StatusError, TransportError

_S = TypeVar("_S")
_T = TypeVar("_T")

Work = Callable[[], Coroutine[Any, Any, None]]

_MAX_EQUAL_FAILURES = 20
_JITTER = 0.1
"""The share of an interval by which a poll is earlier or later."""
_MAX_ARRIVED = 32 * 2**20
"""The bytes of long bodies that may have arrived at once."""


async def run_workers(work: Work, count: int) -> None:
    """Run `count` tasks until all have ended. If one fails, the others are cancelled, and its error is raised."""
    workers = [asyncio.create_task(work()) for _ in range(count)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


async def map_concurrently(
    function: Callable[[_S], Coroutine[Any, Any, _T]], items: Iterable[_S], *, concurrency: int
) -> list[_T]:
    """Return the results of an async function for each item, in their order, with at most `concurrency` calls at once.

    If one call fails, the others are cancelled, and its error is raised.
    """
    remaining = enumerate(items)
    results: dict[int, _T] = {}

    async def work() -> None:
        for index, item in remaining:
            results[index] = await function(item)

    await run_workers(work, concurrency)
    return [results[index] for index in sorted(results)]


def add_jitter(interval: float) -> float:
    """Return a random number of seconds close to an interval, so that programs do not poll at the same times."""
    return interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not a secret


class CommonCause:
    """Notices that the cause of failures is outside of the suites that fail: the token, an outage, a proxy, a file."""

    def __init__(self) -> None:
        self._previous: tuple[object, ...] = ()
        self._count = 0

    def record_success(self) -> None:
        self._count = 0

    def record_failure(self, error: BuddyError) -> bool:
        """Count a failure. Return whether no other suite can be read either, as it and those before show."""
        kind = (type(error), error.status if isinstance(error, StatusError) else None)
        self._count = self._count + 1 if kind == self._previous else 1
        self._previous = kind
        is_down = self._count >= _MAX_EQUAL_FAILURES and (error.retryable or isinstance(error, TransportError))
        return is_down or error.ends_harvest


class LongBodies:
    """Bounds the memory of long bodies that are read side by side. The one that began first always goes on."""

    def __init__(self) -> None:
        self._sizes: dict[object, int] = {}
        self._has_ended = asyncio.Event()

    @contextmanager
    def track(self) -> Iterator[Callable[[int], Awaitable[None]]]:
        """Count a body until the block ends. The function records what has arrived, and waits until it may go on."""
        body = object()
        self._sizes[body] = 0

        async def wait(size: int) -> None:
            self._sizes[body] = size
            while sum(self._sizes.values()) > _MAX_ARRIVED and next(iter(self._sizes)) is not body:
                self._has_ended.clear()
                await self._has_ended.wait()

        try:
            yield wait
        finally:
            del self._sizes[body]
            self._has_ended.set()
