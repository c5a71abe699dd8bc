from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from buddy_sessions._workers import WorkerPool

Work = Callable[[WorkerPool[int]], Coroutine[Any, Any, None]]


def make_pool(work: Work, size: int = 2) -> WorkerPool[int]:
    async def run() -> None:
        await work(pool)

    pool = WorkerPool[int](run, size=size, name="test")
    return pool


async def get_all(pool: WorkerPool[int]) -> list[int]:
    items = []
    while (item := await pool.get()) is not None:
        items.append(item)
    return items


async def test_every_item_arrives_and_then_the_end() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        for number in range(1, 6):
            await pool.put(number)

    pool = make_pool(work, size=3)
    assert sorted(await get_all(pool)) == sorted([1, 2, 3, 4, 5] * 3)
    assert await pool.get() is None


async def test_workers_wait_while_the_queue_is_full() -> None:
    produced = 0

    async def work(pool: WorkerPool[int]) -> None:
        nonlocal produced
        while True:
            await pool.put(produced)
            produced += 1

    pool = make_pool(work)
    for _ in range(3):
        await pool.get()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert produced <= 3 + 2
    await pool.close()
    assert await pool.get() is None


async def test_failed_worker_ends_the_pool_after_the_queued_items() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        await pool.put(1)
        raise LookupError

    pool = make_pool(work, size=1)
    assert await pool.get() == 1
    with pytest.raises(LookupError):
        await pool.get()
    assert await pool.get() is None


async def test_failed_worker_cancels_the_others() -> None:
    cancelled = 0

    async def work(pool: WorkerPool[int]) -> None:
        nonlocal cancelled
        if not starts:
            starts.append(1)
            await asyncio.sleep(0)
            raise LookupError
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    starts: list[int] = []
    pool = make_pool(work, size=4)
    with pytest.raises(LookupError):
        await pool.get()
    assert cancelled == 3


async def test_worker_that_is_cancelled_cancels_the_consumer() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        raise asyncio.CancelledError

    pool = make_pool(work)
    with pytest.raises(asyncio.CancelledError):
        await pool.get()


async def test_second_consumer_gets_an_error_and_the_first_loses_nothing() -> None:
    release = asyncio.Event()

    async def work(pool: WorkerPool[int]) -> None:
        await release.wait()
        await pool.put(1)

    pool = make_pool(work, size=1)
    first = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task is iterating over this test"):
        await pool.get()
    release.set()
    assert await first == 1
    assert await pool.get() is None


async def test_first_consumer_keeps_the_pool_between_two_items() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        for number in range(3):
            await pool.put(number)

    pool = make_pool(work, size=1)
    assert await pool.get() == 0
    with pytest.raises(RuntimeError, match="another task is iterating over this test"):
        await asyncio.create_task(pool.get())
    assert await get_all(pool) == [1, 2]


async def test_another_task_continues_after_the_consumer_has_ended() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        for number in range(3):
            await pool.put(number)

    pool = make_pool(work, size=1)
    assert [await asyncio.create_task(pool.get()) for _ in range(2)] == [0, 1]
    assert await get_all(pool) == [2]


async def test_pool_does_not_keep_its_consumer() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        await pool.put(1)

    pool = make_pool(work, size=1)
    consumer = asyncio.create_task(pool.get())
    await consumer
    reference = weakref.ref(consumer)
    del consumer
    await asyncio.sleep(0)  # the event loop releases it, too
    gc.collect()
    assert reference() is None
    assert await pool.get() is None


async def test_closing_ends_a_consumer_that_waits() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        await asyncio.Event().wait()

    pool = make_pool(work)
    waiting = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    await pool.close()
    async with asyncio.timeout(5):
        assert await waiting is None


async def test_cancelled_consumer_loses_nothing() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await pool.put(1)

    pool = make_pool(work, size=1)
    waiting = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await get_all(pool) == [1]


async def test_pool_that_is_closed_before_it_starts_runs_nothing() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        raise AssertionError

    pool = make_pool(work)
    await pool.close()
    assert await pool.get() is None


async def test_unclosed_pool_warns() -> None:
    async def work(pool: WorkerPool[int]) -> None:
        await pool.put(1)
        await pool.put(2)

    pool = make_pool(work, size=1)
    assert await pool.get() == 1
    await asyncio.sleep(0)
    with pytest.warns(ResourceWarning, match="unclosed test"):
        pool.__del__()
    await pool.close()
    pool.__del__()
    del pool
    gc.collect()
