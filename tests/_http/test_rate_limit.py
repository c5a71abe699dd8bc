from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions._http.rate_limit import RateLimiter, WaitBudget
from buddy_sessions.errors import RateLimitError
from buddy_sessions.models import RateLimit
from helpers.virtual_time import count_jumps

pytestmark = pytest.mark.virtual_time

NOW = datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)


def report(limit: int, remaining: int, reset: float, at: float = 0.0) -> RateLimit:
    """Return the report of a response at the time `at`, of a window that ends at `reset`. The server's `NOW` is 0."""
    responded_at = NOW + timedelta(seconds=at)
    return RateLimit(
        limit=limit, remaining=remaining, reset_at=NOW + timedelta(seconds=reset), responded_at=responded_at
    )


async def make_limiter(*, max_concurrency: int = 4, max_wait: float = 300.0, limiter: Any = None) -> RateLimiter:
    """Return a limiter that has sent one request."""
    result = RateLimiter(max_concurrency=max_concurrency, max_wait=max_wait, limiter=limiter)
    await result.acquire(WaitBudget(0))
    result.update(None, throttled=False)
    result.release()
    return result


async def acquire(limiter: RateLimiter, seconds: float = 300.0) -> float:
    """Acquire a turn; return the seconds that were charged."""
    budget = WaitBudget(seconds)
    await limiter.acquire(budget)
    assert budget.remaining == pytest.approx(seconds - budget.waited)
    return budget.waited


def now() -> float:
    return asyncio.get_running_loop().time()


def start(*waits: Coroutine[Any, Any, float]) -> list[asyncio.Task[float]]:
    return [asyncio.create_task(wait) for wait in waits]


class TestRateLimiter:
    async def test_failed_request_returns_its_turn(self) -> None:
        limiter = await make_limiter()
        begin = now()
        limiter.update(report(10, 1, reset=200), throttled=False)
        await acquire(limiter)
        (second,) = start(acquire(limiter))
        await asyncio.sleep(1)
        assert not second.done()
        limiter.release()
        assert await second == pytest.approx(1)
        assert now() == begin + 1

    async def test_pause_that_becomes_known_ends_waits_at_once(self) -> None:
        limiter = await make_limiter()
        limiter.update(report(10, 0, reset=30), throttled=False)
        patient, impatient = WaitBudget(300), WaitBudget(60)
        tasks = [asyncio.create_task(limiter.acquire(budget)) for budget in (patient, impatient)]
        await asyncio.sleep(10)
        limiter.update(RateLimit(retry_after=100.0), throttled=True)
        with pytest.raises(RateLimitError):
            await tasks[1]
        assert impatient.waited == pytest.approx(10)
        await tasks[0]
        assert patient.waited == pytest.approx(110)

    async def test_far_reset_is_believed_for_max_wait(self) -> None:
        limiter = await make_limiter()
        limiter.update(report(10, 0, reset=400), throttled=False)
        with pytest.raises(RateLimitError):
            await acquire(limiter)
        await asyncio.sleep(200)
        tasks = start(acquire(limiter), acquire(limiter))
        assert await tasks[0] == pytest.approx(100)
        assert await tasks[1] == pytest.approx(101), "nothing is known: the first one is sent alone for a second"

    async def test_requests_are_concurrent_if_max_wait_is_zero(self) -> None:
        limiter = await make_limiter(max_wait=0.0)
        for _ in range(4):
            limiter.update(report(10, 9, reset=30), throttled=False)
            assert await acquire(limiter, seconds=0.0) == 0.0

    async def test_earlier_calls_go_first(self) -> None:
        """Also when they have to repeat a request, and so join the queue again."""
        limiter = await make_limiter(max_concurrency=1)
        order: list[int] = []

        async def call(number: int, budget: WaitBudget) -> None:
            await limiter.acquire(budget)
            order.append(number)

        limiter.update(None, throttled=True)
        budgets = [WaitBudget(300) for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            for number in (1, 3, 0, 2):
                group.create_task(call(number, budgets[number]))
            for _ in range(4):
                await asyncio.sleep(1)
                limiter.update(None, throttled=False)
                limiter.release()
        assert order == [0, 1, 2, 3]

    async def test_rate_limit_is_the_last_report(self) -> None:
        limiter = await make_limiter()
        assert limiter.rate_limit is None
        limiter.update(report(10, 3, reset=30), throttled=False)
        limiter.update(None, throttled=False)
        assert limiter.rate_limit == report(10, 3, reset=30)


class TestCancellation:
    async def test_cancelled_waiters_leave_the_queue(self) -> None:
        limiter = await make_limiter()
        begin = now()
        limiter.update(report(10, 0, reset=250), throttled=False)
        tasks = start(*(acquire(limiter) for _ in range(8)))
        await asyncio.sleep(1)
        for task in tasks[:6]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [True] * 6 + [False] * 2
        assert now() == begin + 250
        await acquire(limiter)
        await acquire(limiter)

    async def test_turn_of_a_cancelled_waiter_goes_to_the_next_one(self) -> None:
        limiter = await make_limiter(max_concurrency=1)
        await acquire(limiter)
        first, second = start(acquire(limiter), acquire(limiter))
        await asyncio.sleep(1)
        limiter.release()  # it is the turn of the first one, which does not know yet
        first.cancel()
        assert await second == 0.0
        assert first.cancelled()

    async def test_failed_waiter_can_be_cancelled(self) -> None:
        limiter = await make_limiter(max_concurrency=1)
        await acquire(limiter)
        (waiter,) = start(acquire(limiter, seconds=1))
        await asyncio.sleep(0)
        limiter.update(RateLimit(retry_after=2.0), throttled=True)
        limiter.release()
        waiter.cancel()
        await asyncio.wait([waiter])
        assert waiter.cancelled()
        assert await acquire(limiter) == pytest.approx(2)

    async def test_no_timer_is_left(self) -> None:
        limiter = await make_limiter()
        limiter.update(report(10, 0, reset=250), throttled=False)
        (waiter,) = start(acquire(limiter))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        with pytest.raises(RateLimitError):
            await acquire(limiter, seconds=1)
        jumps = count_jumps()
        await asyncio.sleep(1000)
        assert count_jumps() == jumps + 1
