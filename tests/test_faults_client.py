"""What must not go wrong on this side: waiting for an allowance, storms, arguments, closing, deadlocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest

from bench import KEY, PAGE, TOKEN, Bench, case, only
from buddy_sessions import (
    BuddyClient,
    BuddyError,
    ClientClosedError,
    ConfigError,
    RateLimitError,
    ServerError,
    Session,
    pacing,
    transport,
)
from buddy_sessions.testing import FakeBuddy, Fault
from raw import answer, raw_server

GOOD = answer(PAGE)


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy(token=TOKEN) as server:
        server.add_suite(*KEY).populate(3)
        yield server


def refusal(*headers: str) -> bytes:
    return answer(b'{"errors": [{"message": "Too many"}]}', *headers, status="429 Too Many Requests")


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def together(count: int) -> Callable[[BuddyClient], Coroutine[Any, Any, list[Session]]]:
    """Return what reads the suite so many times at once; the first error is raised when all have ended."""

    async def read(buddy: BuddyClient) -> list[Session]:
        walks = (buddy.sessions(*KEY).collect() for _ in range(count))
        results = await asyncio.gather(*walks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                assert len({type(one) for one in results}) == 1
                raise result
        return [session for some in results if isinstance(some, list) for session in some]

    return read


@only("19-reset-in-one-second")
async def test_one_refusal_is_waited_out_by_all_together(bench: Bench, fake: FakeBuddy) -> None:
    fake.inject(Fault.status(429, headers={"X-Rate-Limit-Reset": str(int(time.time()) + 2)}))
    sessions = await bench.sessions(fake, 8 + 1, read=together(8), max_concurrency=1)
    assert len(sessions) == 8 * 3
    assert 0.5 < bench.seconds < 4


@pytest.mark.parametrize(
    "header",
    [
        case("20-reset-in-the-past", "X-Rate-Limit-Reset: 1500000000"),
        case("20-reset-0", "X-Rate-Limit-Reset: 0"),
        case("20-reset-negative", "X-Rate-Limit-Reset: -5"),
        case("20-reset-not-a-number", "X-Rate-Limit-Reset: soon"),
        case("20-reset-absent", "X: 1"),
        case("20-retry-after-0", "Retry-After: 0"),
        case("20-retry-after-a-date-in-the-past", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"),
    ],
)
async def test_a_refusal_that_names_no_time_to_come_is_waited_for_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setattr(pacing, "_BACKOFF_BASE", 0.05)
    async with raw_server(refusal(header), refusal(header), GOOD) as server:
        assert len(await bench.sessions(server, 3)) == 3
    assert bench.stats.waited > 0
    async with raw_server(refusal(header)) as server:
        error = await bench.error(server, RateLimitError, 3)
    assert error.transient
    assert error.messages == ("Too many",)


@pytest.mark.parametrize(
    "header",
    [
        case("20-retry-after-1", "Retry-After: 1"),
        # By the server's own clock.
        case("20-retry-after-a-date", f"Retry-After: {http_date(-3599)}\r\nDate: {http_date(-3600)}"),
    ],
)
async def test_a_wait_that_is_told_is_waited(bench: Bench, header: str) -> None:
    async with raw_server(refusal(header), GOOD) as server:
        assert len(await bench.sessions(server, 2)) == 3
    assert 0.9 <= bench.stats.waited < 3


@pytest.mark.parametrize(
    "header",
    [
        case("20-reset-past-max-wait", "X-Rate-Limit-Reset: 4000000000"),
        case("20-retry-after-past-max-wait", "Retry-After: 86400"),
        case("20-date-past-max-wait", "Retry-After: Fri, 01 Oct 2096 00:00:00 GMT"),
    ],
)
async def test_nobody_waits_longer_than_max_wait(bench: Bench, header: str) -> None:
    async with raw_server(refusal(header)) as server:
        error = await bench.error(server, RateLimitError, 1, max_wait=60)
    assert error.retry_after is not None
    assert error.retry_after > 60
    if "Reset" in header:
        assert error.reset_at == datetime.fromtimestamp(4_000_000_000, UTC)
    assert bench.seconds < 5


@pytest.mark.parametrize(
    ("status", "kind"), [case("21-429-for-ever", 429, RateLimitError), case("21-503-for-ever", 503, ServerError)]
)
async def test_a_thousand_callers_do_not_storm_a_server_that_refuses_for_ever(
    bench: Bench, fake: FakeBuddy, status: int, kind: type[BuddyError]
) -> None:
    fake.inject(Fault.status(status), times=5000)
    quota = pacing.RetryQuota.CAPACITY // pacing.RetryQuota.COST
    await bench.error(fake, kind, range(1, 1000 + quota + 1), read=together(1000), max_wait=1)


@pytest.mark.parametrize("place", range(3), ids=["workspace", "project", "suite"])
@pytest.mark.parametrize(
    "name",
    [
        case("23-two-dots", ".."),
        case("23-a-dot", "."),
        case("23-empty", ""),
        case("23-a-slash", "a/b"),
        case("23-two-dots-in-percents", "%2e%2e"),
        case("23-a-slash-in-percents", "a%2Fb"),
        case("23-half-a-character", "\ud800"),
        case("23-a-control-character", "a\x00b"),
        case("23-a-line-break", "a\r\nb"),
        case("23-no-text", None),
    ],
)
async def test_a_name_that_cannot_be_one_segment_is_refused_before_any_io(
    bench: Bench, fake: FakeBuddy, name: Any, place: int
) -> None:
    key: list[Any] = list(KEY)
    key[place] = name
    await bench.error(fake, ConfigError, 0, read=lambda buddy: buddy.sessions(*key).collect())
    if place < 2:
        await bench.error(fake, ConfigError, 0, read=lambda buddy: buddy.suites(*key[:2]))


@pytest.mark.parametrize(
    "options",
    [
        case("23-line-break-in-the-token", {"token": f"{TOKEN}\r\nHost: evil"}),
        case("23-space-in-the-token", {"token": f"{TOKEN} "}),
        case("23-token-beyond-ascii", {"token": f"{TOKEN}ż"}),
        case("23-empty-token", {"token": ""}),
        case("23-another-argument-is-wrong", {"per_page": 0}),
        case("24-http-off-loopback", {"base_url": "http://buddy.example.com"}),
        case("24-http-to-a-name-like-loopback", {"base_url": "http://localhost.example.com"}),
        case("24-user-info", {"base_url": "https://me:hunter2@buddy.example.com"}),
        case("24-user-without-password", {"base_url": "https://hunter2@buddy.example.com"}),
        case("24-no-url-with-user-info", {"base_url": "https://me:hunter2@buddy.example.com:port"}),
        case("24-another-scheme", {"base_url": "ftp://buddy.example.com"}),
    ],
)
async def test_a_setting_that_would_give_the_token_away_is_refused_before_any_io(
    bench: Bench, fake: FakeBuddy, options: dict[str, Any]
) -> None:
    assert "hunter2" not in str(await bench.error(fake, ConfigError, 0, **options))


async def bad_token() -> str:
    return f"{TOKEN}\r\nHost: evil"


@pytest.mark.parametrize(
    "token",
    [
        case("23-line-break-in-a-token-that-was-asked-for", bad_token),
        case("23-callable-that-is-not-async", lambda: TOKEN),
    ],
)
async def test_a_token_that_is_asked_for_is_checked_as_well(
    bench: Bench, fake: FakeBuddy, token: Callable[[], object]
) -> None:
    await bench.error(fake, ConfigError, 0, token=token)


class TestClosing:
    @only("28-session-closed-before")
    async def test_a_session_that_was_closed_before_is_told(self, bench: Bench, fake: FakeBuddy) -> None:
        session = aiohttp.ClientSession()
        await session.close()
        await bench.error(fake, ClientClosedError, 0, http_session=session)

    @only("28-session-closed-in-flight")
    async def test_a_session_that_is_closed_in_flight_is_told(self, bench: Bench, fake: FakeBuddy) -> None:
        async with aiohttp.ClientSession() as session:
            fake.on_request = lambda _: asyncio.create_task(session.close())
            fake.inject(Fault.stall(5))
            await bench.error(fake, ClientClosedError, 1, http_session=session, attempts=1)

    @only("28-session-closed-before-the-retry")
    async def test_a_session_that_is_closed_before_the_retry_is_told(
        self, bench: Bench, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with aiohttp.ClientSession() as session:
            closing: list[asyncio.Task[None]] = []

            def close(_: int) -> float:
                closing.append(asyncio.create_task(session.close()))
                return 0.0

            monkeypatch.setattr(transport, "backoff", close)
            fake.inject(Fault.status(503))
            error = await bench.error(fake, ClientClosedError, 1, http_session=session)
        assert "in flight" not in str(error)

    @only("28-client-closed-in-flight")
    async def test_a_client_that_is_closed_in_flight_is_told(self, bench: Bench, fake: FakeBuddy) -> None:
        async def read(buddy: BuddyClient) -> list[Session]:
            fake.on_request = lambda _: asyncio.create_task(buddy.close())
            return await buddy.sessions(*KEY).collect()

        fake.inject(Fault.stall(5))
        await bench.error(fake, ClientClosedError, 1, read=read, attempts=1)


@only("29-walk-within-a-walk")
async def test_a_walk_within_a_walk_ends_with_one_connection(bench: Bench, fake: FakeBuddy) -> None:
    async def nested(buddy: BuddyClient) -> list[Session]:
        return [
            inner async for _ in buddy.sessions(*KEY, per_page=1) async for inner in buddy.sessions(*KEY, per_page=1)
        ]

    assert len(await bench.sessions(fake, 12, read=nested, max_concurrency=1)) == 9
