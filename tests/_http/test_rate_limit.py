"""The rate limiter, by examples and in simulations: thousands of calls, a server with a clock of its own."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, field

from buddy_sessions._http.rate_limit import RateLimiter, WaitBudget
from buddy_sessions.errors import RateLimitError
from buddy_sessions.models import RateLimit
from helpers.virtual_time import count_jumps

pytestmark = pytest.mark.virtual_time

NOW = datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)
LATENCY = 0.05  # seconds


def report(remaining: int, reset: float) -> RateLimit:
    """Return the report of a response at `NOW`, of a window of ten requests that ends after `reset` seconds."""
    return RateLimit(limit=10, remaining=remaining, reset_at=NOW + timedelta(seconds=reset), responded_at=NOW)


async def make_limiter(*, max_concurrency: int = 4, max_wait: float = 300.0) -> RateLimiter:
    """Return a limiter that has sent one request."""
    result = RateLimiter(max_concurrency=max_concurrency, max_wait=max_wait)
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
    async def test_pause_that_becomes_known_ends_waits_at_once(self) -> None:
        limiter = await make_limiter()
        limiter.update(report(0, reset=30), throttled=False)
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
        assert limiter.rate_limit is None
        limiter.update(report(0, reset=400), throttled=False)
        limiter.update(None, throttled=False)
        assert limiter.rate_limit == report(0, reset=400)
        with pytest.raises(RateLimitError):
            await acquire(limiter)
        await asyncio.sleep(200)
        tasks = start(acquire(limiter), acquire(limiter))
        assert await tasks[0] == pytest.approx(100)
        assert await tasks[1] == pytest.approx(101), "nothing is known: the first one is sent alone for a second"

    async def test_requests_are_concurrent_if_max_wait_is_zero(self) -> None:
        limiter = await make_limiter(max_wait=0.0)
        for _ in range(4):
            limiter.update(report(9, reset=30), throttled=False)
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


class TestCancellation:
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
        limiter.update(report(0, reset=250), throttled=False)
        (waiter,) = start(acquire(limiter))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        with pytest.raises(RateLimitError):
            await acquire(limiter, seconds=1)
        jumps = count_jumps()
        await asyncio.sleep(1000)
        assert count_jumps() == jumps + 1


@define
class LimitedServer:
    """A server that accepts `limit` requests per window of `seconds`."""

    limit: int
    seconds: float
    skew: float = 0.0  # seconds by which its clock differs from the client's
    accepted: Counter[int] = field(factory=Counter[int])  # requests in each window
    throttled: int = 0  # 429s

    def time(self) -> float:
        return 1_700_000_000 + asyncio.get_running_loop().time() + self.skew

    def spend(self) -> bool:
        """Count a request; return whether it is accepted."""
        window = int(self.time() // self.seconds)
        if self.accepted[window] >= self.limit:
            return False
        self.accepted[window] += 1
        return True

    async def request(self) -> tuple[bool, RateLimit]:
        """Respond to a request as Buddy does: with whole seconds."""
        await asyncio.sleep(LATENCY / 2)
        accepted = self.spend()
        self.throttled += not accepted
        window = int(self.time() // self.seconds)
        now, reset = int(self.time()), math.ceil((window + 1) * self.seconds)
        report = RateLimit(
            limit=self.limit,
            remaining=self.limit - self.accepted[window],
            reset_at=datetime.fromtimestamp(reset, UTC),
            retry_after=float(reset - now),
            responded_at=datetime.fromtimestamp(now, UTC),
        )
        await asyncio.sleep(LATENCY / 2)
        return accepted, report

    def used(self) -> float:
        """Return the used part of the quota, in the windows between the first and the last one."""
        windows = range(min(self.accepted) + 1, max(self.accepted))
        return sum(self.accepted[window] for window in windows) / (self.limit * len(windows))


@define
class Simulation:
    """Calls that start at once, each with a number."""

    server: LimitedServer
    calls: int
    max_wait: float = 1e6
    max_concurrency: int = 8
    order: dict[int, None] = field(factory=dict[int, None])  # in which they sent their first request
    waited: dict[int, float] = field(factory=dict[int, float])  # seconds of each call
    failed: set[int] = field(factory=set[int])  # with a RateLimitError
    jumps: int = 0  # how often the event loop has waited for a timer

    async def run(self) -> None:
        limiter = RateLimiter(max_concurrency=self.max_concurrency, max_wait=self.max_wait)
        before = count_jumps()
        async with asyncio.TaskGroup() as group:
            for number in range(self.calls):
                group.create_task(self._call(number, limiter))
        self.jumps = count_jumps() - before

    async def _call(self, number: int, limiter: RateLimiter) -> None:
        budget = WaitBudget(self.max_wait)
        accepted = False
        try:
            while not accepted:
                await limiter.acquire(budget)
                self.order[number] = None
                accepted, report = await self.server.request()
                limiter.update(report, throttled=not accepted)
                limiter.release()
        except RateLimitError:
            self.failed.add(number)
        self.waited[number] = budget.waited


@pytest.mark.parametrize("skew", [0.0, 3600.37, -100.9])
@pytest.mark.parametrize(("limit", "seconds"), [(1, 1), (1, 60), (2, 5), (7, 3), (20, 1), (60, 3), (60, 60)])
async def test_single_client_uses_the_whole_quota_and_causes_no_429(limit: int, seconds: float, skew: float) -> None:
    calls = min(limit * 40, 2400)
    simulation = Simulation(LimitedServer(limit, seconds, skew), calls)
    await simulation.run()
    assert simulation.server.throttled == 0
    assert simulation.server.used() >= 0.95
    assert list(simulation.order) == list(range(calls)), "first come, first served"
    assert simulation.jumps <= 2 * calls + 3 * len(simulation.server.accepted), "nothing polls"


@pytest.mark.parametrize(("limit", "seconds"), [(1, 60), pytest.param(20, 1, marks=pytest.mark.slow), (60, 60)])
async def test_calls_fail_only_if_their_turn_comes_after_max_wait(limit: int, seconds: float) -> None:
    max_wait = 300.0
    simulation = Simulation(LimitedServer(limit, seconds), 10_000, max_wait)
    await simulation.run()
    served = len(simulation.order)
    assert list(simulation.order) == list(range(served))
    assert simulation.failed == set(range(served, 10_000))
    assert max(simulation.waited.values()) <= max_wait + 0.01
    # The end of a window is known to the second, so the next one may begin a second late.
    assert served >= limit * (1 + (max_wait - 1) // seconds)


@pytest.mark.slow
async def test_two_clients_share_a_quota() -> None:
    """Most of it: a pause after a 429 may end a second late, because the server reports whole seconds."""
    used: list[float] = []
    for skew in range(10):
        server = LimitedServer(20, 1.0, skew / 10)
        one, other = Simulation(server, 500), Simulation(server, 500)
        await asyncio.gather(one.run(), other.run())
        assert not one.failed | other.failed
        used.append(server.used())
    assert sum(used) / len(used) >= 0.9
