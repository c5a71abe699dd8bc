"""Servers that ask the client to wait, once or for ever, and quotas of few requests per window."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from buddy_sessions import BuddyClient, RateLimitError, ServerError, Session, StatusError
from buddy_sessions._http.retries import RetryQuota
from helpers.faults import KEY, PAGE, CheckedReader, concurrent_reads
from helpers.raw_server import Script, http_response, raw_server

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]

GOOD = http_response(PAGE)
STATUSES = {429: "429 Too Many Requests", 500: "500 Internal Server Error", 503: "503 Service Unavailable"}
ERRORS: dict[int, type[StatusError]] = {429: RateLimitError, 503: ServerError}


def throttled(status: int, *headers: str) -> bytes:
    return http_response(b'{"errors": [{"message": "Not now"}]}', *headers, status=STATUSES[status])


def http_date(seconds_from_now: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds_from_now), usegmt=True)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("X-Rate-Limit-Reset: 1500000000", id="reset-in-the-past"),
        pytest.param("X-Rate-Limit-Reset: soon", id="reset-not-a-number"),
        pytest.param("X: 1", id="no-reset"),
        pytest.param("Retry-After: 0", id="retry-after-0"),
    ],
)
async def test_wait_without_a_future_time(reader: CheckedReader, header: str) -> None:
    """The wait is 0.5 s, 1 s, 2 s, and so on; only `max_wait` limits it."""
    async with raw_server(throttled(429, header), throttled(429, header), GOOD) as server:
        assert len(await reader.read(server, requests=3, max_attempts=1)) == 3
    assert reader.stats.waited == pytest.approx(0.5 + 1, abs=0.1)
    async with raw_server(throttled(429, header)) as server:
        error = await reader.fail(server, RateLimitError, requests=4, max_wait=5)
    assert reader.seconds == pytest.approx(0.5 + 1 + 2, abs=0.1)
    assert (error.retryable, error.messages) == (True, ("Not now",))


@pytest.mark.parametrize(
    ("status", "header"),
    [
        pytest.param(429, "Retry-After: 30", id="seconds"),
        # By the server's own clock.
        pytest.param(429, "X-Rate-Limit-Reset: {reset}\r\nDate: {now}", id="reset"),
        pytest.param(429, f"Retry-After: {http_date(-3570)}\r\nDate: {http_date(-3600)}", id="date"),
        pytest.param(503, "Retry-After: 30", id="503"),
        pytest.param(
            200, "X-Rate-Limit-Remaining: 0\r\nX-Rate-Limit-Reset: {reset}\r\nDate: {now}", id="nothing-remains"
        ),
    ],
)
async def test_wait_for_a_future_time(reader: CheckedReader, status: int, header: str) -> None:
    """All callers wait, once."""
    header = header.format(reset=int(time.time()) + 30, now=http_date(0))
    is_throttled = status != 200
    first = throttled(status, header) if is_throttled else http_response(PAGE, header)
    async with raw_server(first, GOOD) as server:
        options = {"function": concurrent_reads(8), "max_attempts": 1, "max_concurrency": 1}
        assert len(await reader.read(server, requests=8 + is_throttled, **options)) == 8 * 3
    assert reader.seconds == pytest.approx(30, abs=2)
    assert sum(record.levelname == "WARNING" for record in reader.log.records) == is_throttled


@pytest.mark.parametrize(
    ("status", "header"),
    [
        pytest.param(429, "X-Rate-Limit-Reset: 4000000000", id="reset"),
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
    assert re.match(r"Not now \(\d+\): wait .*, or allow a longer max_wait; GET ", str(errors[0]))
    assert re.match(r"the server permits no request yet \(429\): wait .*, or allow a longer max_wait; GET ", str(error))
    assert error.retry_after is not None
    assert error.retry_after > 60
    assert status != 429 or error.reset_at == datetime.fromtimestamp(4_000_000_000, UTC)
    assert reader.seconds < 5


@pytest.mark.parametrize(
    ("status", "header"),
    [
        (503, "Retry-After: soon"),
        (503, "Retry-After: 0"),
        pytest.param(503, f"Retry-After: {http_date(-3600)}", id="503-Retry-After: a time in the past"),
        (503, "X-Rate-Limit-Reset: 4000000000"),
        (500, "Retry-After: 30"),
    ],
)
async def test_failure_that_asks_for_no_wait(reader: CheckedReader, status: int, header: str) -> None:
    """It is a failed attempt, as without these headers."""
    async with raw_server(throttled(status, header)) as server:
        await reader.fail(server, ServerError, requests=3)


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [
        pytest.param(1, 3600, id="an-hour-ahead"),
        pytest.param(0, 3600, id="nothing-for-an-hour"),
        pytest.param(1, 200, id="within-max-wait"),
        pytest.param(1, 30, id="only-what-remains"),
    ],
)
async def test_one_wrong_report(reader: CheckedReader, remaining: int, seconds: int) -> None:
    """After the next response, which is honest, all requests are sent eight at once."""

    def page(remaining: int, seconds: int) -> Script:
        reset = int(time.time()) + seconds
        headers = f"X-Rate-Limit-Remaining: {remaining}", f"X-Rate-Limit-Reset: {reset}", f"Date: {http_date(0)}"
        return [lambda: asyncio.sleep(0.5), http_response(PAGE, *headers)]

    async with raw_server(page(remaining, seconds), page(100, 30)) as server:
        await reader.read(server, requests=2 + 8 * 25, function=concurrent_reads(2 + 8 * 25))
    assert reader.seconds == pytest.approx(0.5 * (2 + 25), abs=0.1)


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


async def test_pause_beyond_max_wait_is_not_waited(reader: CheckedReader) -> None:
    async with raw_server(throttled(500)) as server:
        await reader.fail(server, ServerError, requests=1, max_wait=0.1)
        await reader.fail(server, ServerError, requests=3, max_wait=5)


async def test_429s_count_neither_as_attempts_nor_as_retries(reader: CheckedReader) -> None:
    """Other clients use up the quota. After 300 429s, a failure is still retried, although 100 retries are allowed."""
    async with raw_server(*[throttled(429, "Retry-After: 1")] * 300, throttled(500), GOOD) as server:
        assert len(await reader.read(server, requests=302, max_attempts=2, max_wait=100_000)) == 3
    assert reader.stats.retries == 301
