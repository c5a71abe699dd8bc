"""What responses report of the rate limit, and the limiter: thousands of calls, a server with a clock of its own."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions._http.rate_limit import RateLimiter, RateLimitState, WaitBudget, parse_rate_limit
from buddy_sessions.errors import RateLimitError
from buddy_sessions.models import RateLimit
from helpers.virtual_time import count_jumps

pytestmark = pytest.mark.virtual_time

LATENCY = 0.05  # seconds
START = datetime.fromtimestamp(1_700_001_000, UTC)  # the time of a `LimitedServer` when a test starts


NOW = datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)
DATE = "Tue, 21 Oct 2025 06:42:16 GMT"
IN_30_SECONDS = str(int(NOW.timestamp()) + 30)


def parse(**headers: str) -> RateLimit | None:
    """Parse the headers of a response that was sent at `NOW`."""
    return parse_rate_limit({"Date": DATE} | {name.replace("_", "-"): value for name, value in headers.items()})


class TestHeaders:
    @pytest.mark.parametrize(
        ("headers", "limit"),
        [
            pytest.param({"Content_Type": "application/json"}, None, id="none"),
            pytest.param(
                {"X_Rate_Limit_Limit": "100", "X_Rate_Limit_Remaining": "7", "X_Rate_Limit_Reset": IN_30_SECONDS},
                RateLimit(limit=100, remaining=7, reset_at=NOW + timedelta(seconds=30), retry_after=30.0),
                id="all",
            ),
            pytest.param({"X_Rate_Limit_Remaining": "7"}, RateLimit(remaining=7), id="remaining-alone"),
            pytest.param(
                {"Retry_After": "3", "X_Rate_Limit_Reset": IN_30_SECONDS},
                RateLimit(reset_at=NOW + timedelta(seconds=30), retry_after=3.0),
                id="retry-after-overrides-reset",
            ),
            *(
                pytest.param({"Retry_After": text}, RateLimit(retry_after=seconds), id=f"retry-after-{text[:40]}")
                for text, seconds in [
                    ("12", 12.0),
                    ("Tue, 21 Oct 2025 06:43:16 GMT", 60.0),
                    ("Tue, 21 Oct 2020 06:42:16 GMT", 0.0),
                    ("-5", None),
                    ("9" * 400, None),
                    ("Tue, 21 Oct 99999999999999999999 06:42:16 GMT", None),
                ]
            ),
            *(
                pytest.param({"X_Rate_Limit_Limit": "1", "X_Rate_Limit_Reset": text}, RateLimit(limit=1), id=text[:20])
                for text in ["", "0", "-1", "soon", "1e9", "٣", "9" * 15, "9" * 40]
            ),
        ],
    )
    def test_reported_rate_limit(self, headers: dict[str, str], limit: RateLimit | None) -> None:
        assert parse(**headers) == (limit and attrs.evolve(limit, responded_at=NOW))

    @given(st.dictionaries(st.sampled_from(["X-Rate-Limit-Reset", "Retry-After", "Date"]), st.text()))
    def test_no_header_raises(self, headers: dict[str, str]) -> None:
        limit = parse_rate_limit(headers)
        assert limit is None or limit.retry_after is None or limit.retry_after >= 0


@pytest.mark.parametrize(
    ("limit", "now"),
    [
        pytest.param(RateLimit(limit=10, remaining=0), 0.0, id="no-reset"),
        pytest.param(RateLimit(limit=10, remaining=0, reset_at=NOW - timedelta(hours=1)), 0.0, id="reset-in-the-past"),
        pytest.param(RateLimit(remaining=0, reset_at=NOW + timedelta(seconds=10)), 10.0, id="no-limit-after-the-reset"),
    ],
)
def test_incomplete_report_blocks_nothing(limit: RateLimit, now: float) -> None:
    state = RateLimitState(max_wait=300.0, now=0.0, clock_offset=NOW.timestamp())
    state.update(limit, sent_at=0.0, now=0.0)
    state.resume(0.0)
    assert state.next_turn(now, in_flight=9) == now


def test_pause_outlasts_a_max_wait_of_zero() -> None:
    """Otherwise a throttled request would be repeated at once, for ever."""
    state = RateLimitState(max_wait=0.0, now=0.0, clock_offset=0.0)
    state.pause(0.0, 0.0)
    assert state.expires_at == state.next_turn(0.4, in_flight=0) == 0.5


async def test_turn_of_a_cancelled_waiter_goes_to_the_next_one() -> None:
    limiter = RateLimiter(max_concurrency=1, max_wait=300)
    await limiter.acquire(WaitBudget(0))
    limiter.update(None, sent_at=0.0, throttled=False)
    first, second = (asyncio.create_task(limiter.acquire(WaitBudget(300))) for _ in range(2))
    await asyncio.sleep(1)
    limiter.release()  # it is the turn of the first one, which does not know yet
    first.cancel()
    await second
    assert first.cancelled()


@define
class LimitedServer:
    """A server that accepts `limit` requests per window of `seconds`."""

    limit: int
    seconds: float
    skew: float = 0.0  # seconds by which its clock differs from the client's
    wrong: dict[str, Any] = field(factory=dict[str, Any])  # what the 50th response reports, in place of the truth
    delay: float = 0.0  # seconds by which every 20th response is late
    responses: int = 0
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
        self.responses += 1
        if self.responses == 50:
            report = attrs.evolve(report, **self.wrong)
        await asyncio.sleep(LATENCY / 2 + (0 if self.responses % 20 else self.delay))
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
                sent_at = asyncio.get_running_loop().time()
                accepted, report = await self.server.request()
                limiter.update(report, sent_at=sent_at, throttled=not accepted)
                limiter.release()
        except RateLimitError:
            self.failed.add(number)
        self.waited[number] = budget.waited


@pytest.mark.parametrize(("skew", "concurrency"), [(0.0, 8), (3600.37, 1), (-100.9, 8)])
@pytest.mark.parametrize(("limit", "seconds"), [(1, 1), (1, 60), (2, 5), (7, 3), (20, 1), (60, 3), (60, 60)])
async def test_client_uses_its_quota_without_429(limit: int, seconds: float, skew: float, concurrency: int) -> None:
    calls = min(limit * 40, 2400)
    simulation = Simulation(LimitedServer(limit, seconds, skew), calls, max_concurrency=concurrency)
    await simulation.run()
    assert simulation.server.throttled == 0
    assert simulation.server.used() >= 0.95
    assert list(simulation.order) == list(range(calls)), "first come, first served"
    assert simulation.jumps <= 2 * calls + 3 * len(simulation.server.accepted), "nothing polls"


@pytest.mark.parametrize("delay", [0.3, 2.5])
@pytest.mark.parametrize(("limit", "seconds"), [(2, 5), (7, 2.5), (20, 1), (60, 7.3)])
async def test_late_response_says_nothing_of_a_later_window(limit: int, seconds: float, delay: float) -> None:
    simulation = Simulation(LimitedServer(limit, seconds, delay=delay), limit * 40)
    await simulation.run()
    assert simulation.server.throttled == 0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"remaining": 0, "reset_at": START + timedelta(hours=1)}, id="reset-in-an-hour"),
        pytest.param({"reset_at": START - timedelta(hours=1)}, id="reset-in-the-past"),
        pytest.param({"remaining": 10**6}, id="remaining"),
        pytest.param({"limit": 1}, id="limit"),
        pytest.param({"responded_at": START + timedelta(days=1)}, id="date-in-the-future"),
        pytest.param({"responded_at": START - timedelta(days=1)}, id="date-in-the-past"),
    ],
)
async def test_wrong_report_costs_one_window(wrong: dict[str, Any]) -> None:
    simulation = Simulation(LimitedServer(20, 3, wrong=wrong), 600, max_wait=300)
    await simulation.run()
    assert simulation.server.throttled <= simulation.max_concurrency
    assert simulation.server.used() >= 0.95
    assert not simulation.failed


@pytest.mark.parametrize("limit", [3, 60])
async def test_window_longer_than_max_wait(limit: int) -> None:
    """One request finds out whether the reset is wrong."""
    simulation = Simulation(LimitedServer(limit, 3600), 200, max_wait=300)
    await simulation.run()
    assert simulation.server.accepted.total() == limit
    assert simulation.server.throttled == 1
    assert simulation.failed == set(range(limit, 200))


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
