"""A quota of few requests per window with many callers, or with other clients that use it, too."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate

import pytest
from attrs import define, field

from buddy_sessions import BuddyClient, Session, SuiteKey
from helpers.faults import KEY, PAGE, CheckedReader, CostRecorder, assert_nothing_left_open
from helpers.raw_server import RawServer, Step, http_response, raw_server
from helpers.virtual_time import count_jumps

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]

GOOD = http_response(PAGE)
RESPONSE_429 = http_response(b"", "Retry-After: 1", status="429 Too Many Requests")


@define
class QuotaScript:
    """The response of a server that permits `limit` requests per window of `seconds`, with the headers of Buddy.

    Attributes:
        limit: The number of requests per window.
        seconds: The length of a window.
        others: The share of the windows that other clients use up before this client.
        used: The number of requests that were permitted in each window.
        throttled: The number of 429s.
    """

    limit: int
    seconds: int
    others: float = 0.0
    used: Counter[int] = field(factory=Counter[int])
    throttled: int = 0
    _random: random.Random = field(factory=lambda: random.Random(1))

    def __iter__(self) -> Iterator[Step]:
        yield lambda: asyncio.sleep(0.02)
        yield self._respond()

    def _respond(self) -> bytes:
        now = 1_700_000_000 + asyncio.get_running_loop().time()
        window = int(now // self.seconds)
        if window not in self.used and self._random.random() < self.others:
            self.used[window] = self.limit
        is_permitted = self.used[window] < self.limit
        self.used[window] += is_permitted
        self.throttled += not is_permitted
        headers = (
            f"Date: {formatdate(int(now), usegmt=True)}",
            f"X-Rate-Limit-Limit: {self.limit}",
            f"X-Rate-Limit-Remaining: {self.limit - self.used[window]}",
            f"X-Rate-Limit-Reset: {(window + 1) * self.seconds}",
        )
        status = "200 OK" if is_permitted else "429 Too Many Requests"
        return http_response(PAGE if is_permitted else b"", *headers, status=status)


def read_suites(count: int) -> Callable[[BuddyClient], Awaitable[list[Session]]]:
    """Return a function that starts to read so many suites at once."""

    async def read(buddy: BuddyClient) -> list[Session]:
        reads = (buddy.sessions(SuiteKey("acme", "shop", str(number))).collect() for number in range(count))
        return [session for sessions in await asyncio.gather(*reads) for session in sessions]

    return read


def check_order(server: RawServer, count: int) -> None:
    """Check that the first suites were requested in their order, except that 8 requests are sent at once."""
    order = [int(number) for request in server.requests for number in re.findall(rb"/suites/(\d+)/", request)]
    assert sorted(order) == list(range(count))
    assert all(abs(number - place) < 8 for place, number in enumerate(order))


class TestManyCallers:
    @pytest.mark.parametrize(
        ("limit", "seconds", "callers"),
        [(1, 1, 60), (1, 60, 5), (2, 5, 60), pytest.param(20, 1, 1000, marks=pytest.mark.slow), (60, 60, 300)],
    )
    async def test_few_requests_per_window_with_many_callers(
        self, reader: CheckedReader, limit: int, seconds: int, callers: int
    ) -> None:
        """The turn of each comes within `max_wait`, so none fails, and there is no 429. First come, first served."""
        quota = QuotaScript(limit, seconds)
        async with raw_server(quota) as server:
            sessions = await reader.read(server, requests=callers, function=read_suites(callers))
            check_order(server, callers)
        assert len(sessions) == callers * 3
        assert quota.throttled == 0
        assert reader.seconds <= math.ceil(callers / limit) * seconds

    @pytest.mark.slow
    @pytest.mark.parametrize("cause", ["quota", "429"])
    async def test_10000_callers_use_no_cpu_while_they_wait(self, cost: CostRecorder, cause: str) -> None:
        """They wait for one minute."""
        throttled = http_response(b"", "Retry-After: 60", status="429 Too Many Requests")
        script = QuotaScript(1, 60) if cause == "quota" else throttled
        async with (
            raw_server(script) as server,
            assert_nothing_left_open(),
            BuddyClient("token", base_url=server.base_url) as buddy,
        ):
            with cost.measure(server):
                reads = [asyncio.create_task(buddy.sessions(KEY).collect()) for _ in range(10_000)]
                await asyncio.sleep(2)
                jumps, started = count_jumps(), time.process_time()
                await asyncio.sleep(57)
                used = time.process_time() - started
            for read in reads:
                read.cancel()
            await asyncio.wait(reads)
        cost.record_property("outcome", f"{used * 1000:.1f} ms of CPU time")
        assert cost.requests == 1
        assert count_jumps() - jumps <= 3
        assert used < 0.05


class TestOtherClients:
    @pytest.mark.parametrize(("limit", "others"), [(1, 0.5), pytest.param(1, 0.9, marks=pytest.mark.slow), (5, 0.9)])
    async def test_other_clients_use_most_of_the_quota(self, reader: CheckedReader, limit: int, others: float) -> None:
        """No 429 counts as an attempt. After a pause, one request is sent, and the others wait for its response."""
        quota = QuotaScript(limit, 1, others)
        async with raw_server(quota) as server:
            function = read_suites(50)
            sessions = await reader.read(
                server, requests=range(50, 2000), function=function, max_attempts=1, max_wait=100_000
            )
        assert len(sessions) == 50 * 3
        assert quota.throttled > 10
        assert len(server.requests) == 50 + quota.throttled

    async def test_429s_do_not_count_against_the_retry_quota(self, reader: CheckedReader) -> None:
        """It has 100 retries. After 300 429s, a failure is still retried."""
        failure = http_response(b"", status="500 Internal Server Error")
        async with raw_server(*[RESPONSE_429] * 300, failure, GOOD) as server:
            assert len(await reader.read(server, requests=302, max_attempts=2, max_wait=100_000)) == 3
        assert reader.stats.retries == 301
