"""Servers that reject or fail requests for a while, or for ever: 429, Retry-After, and many callers at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from buddy_sessions import BuddyClient, RateLimitError, ServerError, Session
from buddy_sessions._http.retry import RetryQuota
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader
from helpers.raw_server import http_response, raw_server

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]

GOOD = http_response(PAGE)


def response_429(*headers: str) -> bytes:
    body = b'{"errors": [{"message": "Too many"}]}'
    return http_response(body, *headers, status="429 Too Many Requests")


def http_date(seconds_from_now: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds_from_now), usegmt=True)


def concurrent_reads(count: int) -> Callable[[BuddyClient], Awaitable[list[Session]]]:
    """Return a function that reads the suite so many times at once. If one read fails, all must fail alike."""

    async def read(buddy: BuddyClient) -> list[Session]:
        reads = (buddy.sessions(KEY).collect() for _ in range(count))
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert len({type(result) for result in results}) == 1
        sessions: list[Session] = []
        for result in results:
            if isinstance(result, BaseException):
                raise result
            sessions += result
        return sessions

    return read


async def test_429_pauses_all_callers_once(reader: CheckedReader, fake: FakeBuddy) -> None:
    fake.token = TOKEN
    fake.add_suite(*KEY).populate(3)
    fake.inject(Fault.status(429, headers={"X-Rate-Limit-Reset": str(int(time.time()) + 2)}))
    sessions = await reader.read(fake, requests=8 + 1, function=concurrent_reads(8), max_concurrency=1)
    assert len(sessions) == 8 * 3
    assert 0.5 < reader.seconds < 4


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("X-Rate-Limit-Reset: 1500000000", id="reset-in-the-past"),
        pytest.param("X-Rate-Limit-Reset: 0", id="reset-0"),
        pytest.param("X-Rate-Limit-Reset: -5", id="reset-negative"),
        pytest.param("X-Rate-Limit-Reset: soon", id="reset-not-a-number"),
        pytest.param("X: 1", id="no-reset"),
        pytest.param("Retry-After: 0", id="retry-after-0"),
        pytest.param("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", id="retry-after-in-the-past"),
    ],
)
async def test_429_without_a_future_time(reader: CheckedReader, header: str) -> None:
    """The wait is 0.5 s, 1 s, 2 s, and so on."""
    async with raw_server(response_429(header), response_429(header), GOOD) as server:
        assert len(await reader.read(server, requests=3)) == 3
    assert reader.stats.waited == pytest.approx(0.5 + 1, abs=0.1)
    async with raw_server(response_429(header)) as server:
        error = await reader.fail(server, RateLimitError, requests=4, max_wait=5)
    assert reader.seconds == pytest.approx(0.5 + 1 + 2, abs=0.1)
    assert error.retryable
    assert error.messages == ("Too many",)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("Retry-After: 30", id="retry-after"),
        # By the server's own clock.
        pytest.param(f"Retry-After: {http_date(-3570)}\r\nDate: {http_date(-3600)}", id="retry-after-a-date"),
    ],
)
async def test_429_with_a_future_time(reader: CheckedReader, header: str) -> None:
    async with raw_server(response_429(header), GOOD) as server:
        assert len(await reader.read(server, requests=2)) == 3
    assert reader.stats.waited == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("X-Rate-Limit-Reset: 4000000000", id="reset"),
        pytest.param("Retry-After: 86400", id="retry-after"),
        pytest.param("Retry-After: Fri, 01 Oct 2096 00:00:00 GMT", id="retry-after-a-date"),
    ],
)
async def test_429_with_a_time_beyond_max_wait(reader: CheckedReader, header: str) -> None:
    async with raw_server(response_429(header)) as server:
        error = await reader.fail(server, RateLimitError, requests=1, max_wait=60)
    assert error.messages == ("Too many",)
    assert error.retry_after is not None
    assert error.retry_after > 60
    if "Reset" in header:
        assert error.reset_at == datetime.fromtimestamp(4_000_000_000, UTC)
    assert reader.seconds < 5


async def test_429_for_ever_with_1000_callers(reader: CheckedReader) -> None:
    """After each pause, one request is sent, and the other callers wait for its response."""
    async with raw_server(response_429()) as server:
        await reader.fail(server, RateLimitError, requests=range(2, 12), function=concurrent_reads(1000), max_wait=60)
    assert reader.seconds < 61


@pytest.mark.slow
async def test_503_for_ever_with_1000_callers(reader: CheckedReader) -> None:
    """The callers share a quota of retries."""
    retries = RetryQuota.CAPACITY // RetryQuota.COST
    async with raw_server(http_response(b"", status="503 Service Unavailable")) as server:
        await reader.fail(
            server, ServerError, requests=range(1000, 1000 + retries + 1), function=concurrent_reads(1000)
        )
