"""The laws of `WorkerPool` that a harvest or a watch shows only by leaking or by losing an item."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from buddy_sessions._base.workers import WorkerPool

Work = Callable[[WorkerPool[int]], Coroutine[Any, Any, None]]


def make_pool(work: Work, size: int = 1) -> WorkerPool[int]:
    async def run() -> None:
        await work(pool)

    pool = WorkerPool[int](run, size=size, name="test")
    return pool


async def put_two(pool: WorkerPool[int]) -> None:
    for number in (1, 2):
        await asyncio.sleep(0)
        await pool.put(number)


async def test_worker_that_is_cancelled_cancels_the_consumer() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await make_pool(work).get()


async def test_cancelled_consumer_loses_nothing_and_is_not_kept() -> None:
    pool = make_pool(put_two)
    waiting = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    reference = weakref.ref(waiting)
    del waiting
    await asyncio.sleep(0)  # the event loop releases it, too
    gc.collect()
    assert reference() is None
    assert [await pool.get() for _ in range(3)] == [1, 2, None]


async def test_closing_waits_for_the_workers() -> None:
    ended: list[str] = []

    async def work(pool: WorkerPool[int]) -> None:
        try:
            await put_two(pool)
        finally:
            await asyncio.sleep(0)
            ended.append("worker")

    pool = make_pool(work)
    assert await pool.get() == 1
    await pool.close()
    assert ended == ["worker"]
    assert await pool.get() is None


async def test_unclosed_pool_warns() -> None:
    pool = make_pool(put_two)
    assert await pool.get() == 1
    with pytest.warns(ResourceWarning, match="unclosed test"):
        pool.__del__()
    await pool.close()
    pool.__del__()
