"""Servers that ask the client to wait, once or for ever, and quotas of few requests per window."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate

import pytest

from buddy_sessions import BuddyClient, RateLimitError, ServerError, Session, StatusError, SuiteKey
from buddy_sessions._http.retry import RetryQuota
from helpers.faults import KEY, PAGE, CheckedReader
from helpers.raw_server import Step, http_response, raw_server

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]

GOOD = http_response(PAGE)
STATUSES = {429: "429 Too Many Requests", 503: "503 Service Unavailable"}
ERRORS: dict[int, type[StatusError]] = {429: RateLimitError, 503: ServerError}


def throttled(status: int, *headers: str) -> bytes:
    return http_response(b'{"errors": [{"message": "Not now"}]}', *headers, status=STATUSES[status])


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


@pytest.mark.parametrize(
    ("status", "header"),
    [
        pytest.param(429, "X-Rate-Limit-Reset: 1500000000", id="reset-in-the-past"),
        pytest.param(429, "X-Rate-Limit-Reset: soon", id="reset-not-a-number"),
        pytest.param(429, "X: 1", id="no-reset"),
        pytest.param(429, "Retry-After: 0", id="retry-after-0"),
        pytest.param(503, "Retry-After: 0", id="503"),
    ],
)
async def test_wait_without_a_future_time(reader: CheckedReader, status: int, header: str) -> None:
    """The wait is 0.5 s, 1 s, 2 s, and so on; only `max_wait` limits it."""
    async with raw_server(throttled(status, header), throttled(status, header), GOOD) as server:
        assert len(await reader.read(server, requests=3, max_attempts=1)) == 3
    assert reader.stats.waited == pytest.approx(0.5 + 1, abs=0.1)
    async with raw_server(throttled(status, header)) as server:
        error = await reader.fail(server, ERRORS[status], requests=4, max_wait=5)
    assert reader.seconds == pytest.approx(0.5 + 1 + 2, abs=0.1)
    assert (error.retryable, error.messages) == (True, ("Not now",))


@pytest.mark.parametrize(
    ("status", "header"),
    [
        pytest.param(429, "Retry-After: 30", id="seconds"),
        pytest.param(429, "X-Rate-Limit-Reset: {reset}", id="reset"),
        # By the server's own clock.
        pytest.param(429, f"Retry-After: {http_date(-3570)}\r\nDate: {http_date(-3600)}", id="date"),
        pytest.param(503, "Retry-After: 30", id="503"),
    ],
)
async def test_wait_for_a_future_time(reader: CheckedReader, status: int, header: str) -> None:
    """All callers wait, once."""
    header = header.format(reset=int(time.time()) + 30)
    async with raw_server(throttled(status, header), GOOD) as server:
        function = concurrent_reads(8)
        sessions = await reader.read(server, requests=9, function=function, max_attempts=1, max_concurrency=1)
    assert len(sessions) == 8 * 3
    assert reader.seconds == pytest.approx(30, abs=2)
    (message,) = [record.getMessage() for record in reader.log.records if record.levelname == "WARNING"]
    reason = "too many requests" if status == 429 else "the server is unavailable"
    assert message.startswith(f"{reason} ({status}): the next request is sent in ")


@pytest.mark.parametrize(
    ("status", "header"),
    [
        pytest.param(429, "X-Rate-Limit-Reset: 4000000000", id="reset"),
        pytest.param(429, "Retry-After: 86400", id="seconds"),
        pytest.param(429, "Retry-After: Fri, 01 Oct 2096 00:00:00 GMT", id="date"),
        pytest.param(503, "Retry-After: 3600", id="503"),
    ],
)
async def test_time_beyond_max_wait(reader: CheckedReader, status: int, header: str) -> None:
    """The second read fails before it is sent."""

    async def read_twice(buddy: BuddyClient) -> list[Session]:
        with pytest.raises(ERRORS[status]) as caught:
            await buddy.sessions(KEY).collect()
        errors.append(caught.value)
        return await buddy.sessions(KEY).collect()

    errors: list[StatusError] = []
    async with raw_server(throttled(status, header)) as server:
        error = await reader.fail(server, RateLimitError, requests=1, function=read_twice, max_wait=60)
    assert errors[0].messages == ("Not now",)
    assert str(error).startswith("the server permits no request for ")
    assert error.retry_after is not None
    assert error.retry_after > 60
    if "Reset" in header:
        assert error.reset_at == datetime.fromtimestamp(4_000_000_000, UTC)
    assert reader.seconds < 5


@pytest.mark.parametrize("header", ["Retry-After: soon", "X-Rate-Limit-Reset: 4000000000"])
async def test_503_without_a_valid_retry_after(reader: CheckedReader, header: str) -> None:
    """It is a failed attempt, as without these headers."""
    async with raw_server(throttled(503, header)) as server:
        await reader.fail(server, ServerError, requests=3)


async def test_429_for_ever_with_1000_callers(reader: CheckedReader) -> None:
    """After each pause, one request is sent, and the other callers wait for its response."""
    async with raw_server(throttled(429)) as server:
        await reader.fail(server, RateLimitError, requests=range(2, 12), function=concurrent_reads(1000), max_wait=60)
    assert reader.seconds < 61


@pytest.mark.slow
async def test_503_for_ever_with_1000_callers(reader: CheckedReader) -> None:
    """The callers share a quota of retries."""
    requests = range(1000, 1000 + RetryQuota.CAPACITY // RetryQuota.COST + 1)
    async with raw_server(throttled(503)) as server:
        await reader.fail(server, ServerError, requests=requests, function=concurrent_reads(1000))


async def test_slow_shared_limiter_leaves_time_for_retries(reader: CheckedReader) -> None:
    class SlowLimiter:
        async def acquire(self) -> None:
            await asyncio.sleep(100)

    async with raw_server(throttled(503), throttled(503, "Retry-After: 3"), throttled(503), GOOD) as server:
        assert len(await reader.read(server, requests=4, max_wait=10, limiter=SlowLimiter())) == 3
    assert reader.seconds == pytest.approx(400)
    assert reader.stats.waited == pytest.approx(reader.seconds)


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
    async with raw_server(*[throttled(429, "Retry-After: 1")] * 300, failure, GOOD) as server:
        assert len(await reader.read(server, requests=302, max_attempts=2, max_wait=100_000)) == 3
    assert reader.stats.retries == 301
