"""A quota of few requests per window with many callers, or with other clients that use it, too."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from buddy_sessions import BuddyClient, Session, SuiteKey
from helpers.faults import PAGE, CheckedReader
from helpers.raw_server import Step, http_response, raw_server

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]

GOOD = http_response(PAGE)
RESPONSE_429 = http_response(b"", "Retry-After: 1", status="429 Too Many Requests")


class QuotaScript:
    """The response of a server that permits `limit` requests per window of `seconds`, with the headers of Buddy."""

    def __init__(self, limit: int, seconds: int) -> None:
        self._limit = limit
        self._seconds = seconds
        self._used = Counter[int]()

    def __iter__(self) -> Iterator[Step]:
        yield lambda: asyncio.sleep(0.02)
        now = 1_700_000_000 + asyncio.get_running_loop().time()
        window = int(now // self._seconds)
        self._used[window] += 1
        headers = (
            f"Date: {formatdate(int(now), usegmt=True)}",
            f"X-Rate-Limit-Limit: {self._limit}",
            f"X-Rate-Limit-Remaining: {max(0, self._limit - self._used[window])}",
            f"X-Rate-Limit-Reset: {(window + 1) * self._seconds}",
        )
        status = "200 OK" if self._used[window] <= self._limit else "429 Too Many Requests"
        yield http_response(PAGE, *headers, status=status)


@pytest.mark.parametrize(("limit", "seconds", "callers"), [(1, 1, 60), (1, 60, 5), (2, 5, 60), (60, 60, 300)])
async def test_few_requests_per_window_with_many_callers(
    reader: CheckedReader, limit: int, seconds: int, callers: int
) -> None:
    """The turn of each comes within `max_wait`, so none fails, and there is no 429. First come, first served."""

    async def read(buddy: BuddyClient) -> list[Session]:
        reads = (buddy.sessions(SuiteKey("acme", "shop", str(number))).collect() for number in range(callers))
        return [session for sessions in await asyncio.gather(*reads) for session in sessions]

    async with raw_server(QuotaScript(limit, seconds)) as server:
        sessions = await reader.read(server, requests=callers, function=read)
        order = [int(number) for request in server.requests for number in re.findall(rb"/suites/(\d+)/", request)]
    assert len(sessions) == callers * 3
    assert sorted(order) == list(range(callers))
    assert all(abs(number - place) < 8 for place, number in enumerate(order))  # 8 requests are sent at once
    assert reader.seconds <= math.ceil(callers / limit) * seconds


async def test_429s_count_neither_as_attempts_nor_as_retries(reader: CheckedReader) -> None:
    """Other clients use up the quota. After 300 429s, a failure is still retried, although 100 retries are allowed."""
    failure = http_response(b"", status="500 Internal Server Error")
    async with raw_server(*[RESPONSE_429] * 300, failure, GOOD) as server:
        assert len(await reader.read(server, requests=302, max_attempts=2, max_wait=100_000)) == 3
    assert reader.stats.retries == 301
