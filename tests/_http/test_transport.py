from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from buddy_sessions._decoding.converter import DecodedPage, decode_page
from buddy_sessions._http.credentials import Credentials
from buddy_sessions._http.rate_limit import RateLimiter
from buddy_sessions._http.transport import MAX_BODY, Transport
from buddy_sessions._http.urls import sessions_url
from buddy_sessions._stats import Fetched
from buddy_sessions._version import __version__
from buddy_sessions.errors import (
    BuddyError,
    ClientClosedError,
    ConfigError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
)
from buddy_sessions.models import SuiteKey
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.raw_server import http_response, raw_server

TOKEN = "s3cr3t-t0ken"
KEY = SuiteKey("acme", "shop", "MNbyVedg")
URL_OF_TEST = URL("https://api.buddy.works/x")
EMPTY = b'{"sessions": []}'


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy(token=TOKEN) as server:
        server.add_suite(*KEY).populate(3)
        yield server


@contextlib.asynccontextmanager
async def open_transport(
    token: Any = TOKEN, *, max_concurrency: int = 8, max_wait: float = 300.0, **options: Any
) -> AsyncIterator[Transport]:
    options = {"http_session": None, "ssl_context": None, "timeout": 30.0, "max_attempts": 4, **options}
    options.setdefault("proxy", None)
    limiter = RateLimiter(max_concurrency=max_concurrency, max_wait=max_wait)
    credentials = Credentials(token, options["timeout"])
    result = Transport(credentials, limiter, max_concurrency=max_concurrency, max_wait=max_wait, **options)
    try:
        yield result
    finally:
        await result.close()
        assert not result.is_open


async def get(opened: Transport, base_url: URL) -> Fetched[DecodedPage]:
    return await opened.get(sessions_url(base_url, KEY), decode_page)


async def fetch(base_url: URL, **options: Any) -> Fetched[DecodedPage]:
    async with open_transport(**options) as opened:
        return await get(opened, base_url)


async def read(base_url: URL, **options: Any) -> int:
    """Fetch the sessions; return their number."""
    return len((await fetch(base_url, **options)).result().sessions)


async def fail(base_url: URL, kind: type[BuddyError], **options: Any) -> BuddyError:
    """Fetch the sessions; return the error, of exactly this type, which exposes neither token nor response."""
    fetched = await fetch(base_url, **options)
    error = fetched.error
    assert error is not None
    assert type(error) is kind, error
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
    with pytest.raises(kind) as caught:
        fetched.result()
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert TOKEN not in "".join(report.format()) + repr(error) + str(error.args) + str(error.__dict__)
    return error


class TestRequest:
    async def test_request_identifies_the_client(self, fake: FakeBuddy) -> None:
        assert await read(fake.base_url) == 3
        (request,) = fake.requests
        assert (request.method, request.path) == (
            "GET",
            "/workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions",
        )
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert request.headers["User-Agent"] == f"buddy_sessions/{__version__}"
        assert request.headers["Cache-Control"] == "no-cache"
        assert request.headers["Accept"] == "application/json"

    async def test_cost_is_reported(self, fake: FakeBuddy) -> None:
        stats = (await fetch(fake.base_url)).stats
        assert (stats.requests, stats.retries, stats.waited) == (1, 0, 0)

    async def test_compressed_response_is_read(self, fake: FakeBuddy) -> None:
        fake.compress = True
        assert await read(fake.base_url) == 3

    @pytest.mark.parametrize("is_announced", [True, False])
    async def test_body_of_the_maximum_size_is_read(self, is_announced: bool) -> None:
        body = EMPTY.ljust(MAX_BODY)
        script = http_response(body) if is_announced else http_response(gzip.compress(body), "Content-Encoding: gzip")
        async with raw_server(script) as server:
            assert await read(server.base_url) == 0

    async def test_cancellation_stays_a_cancellation(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.hang())
        async with open_transport() as opened:
            task = asyncio.create_task(get(opened, fake.base_url))
            while not fake.in_flight:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            assert TOKEN not in "".join(report.format())
            assert len((await get(opened, fake.base_url)).result().sessions) == 3


@pytest.mark.usefixtures("no_waiting")
class TestRetries:
    async def test_retries_are_counted(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(503), times=3)
        fetched = await fetch(fake.base_url)
        assert len(fetched.result().sessions) == 3
        assert (fetched.stats.requests, fetched.stats.retries, len(fake.requests)) == (4, 3, 4)

    async def test_single_attempt_is_not_repeated(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(503))
        await fail(fake.base_url, ServerError, max_attempts=1)
        assert len(fake.requests) == 1

    async def test_final_failure_ends_the_retries(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(503), Fault.status(404))
        await fail(fake.base_url, NotFoundError)
        assert len(fake.requests) == 2

    async def test_successful_retries_do_not_use_up_the_quota(self, fake: FakeBuddy) -> None:
        async with open_transport() as opened:
            for _ in range(150):
                fake.inject(Fault.status(503))
                assert len((await get(opened, fake.base_url)).result().sessions) == 3

    async def test_quota_is_earned_back_by_successes(self, fake: FakeBuddy) -> None:
        async with open_transport(max_attempts=5) as opened:
            fake.inject(Fault.status(503), times=25 * 5 + 1)
            for _ in range(26):
                assert type((await get(opened, fake.base_url)).error) is ServerError
            assert len(fake.requests) == 25 * 5 + 1
            for _ in range(5):
                (await get(opened, fake.base_url)).result()
            fake.inject(Fault.status(503))
            assert len((await get(opened, fake.base_url)).result().sessions) == 3


@pytest.mark.virtual_time
class TestRateLimit:
    async def test_request_that_would_be_rejected_is_not_sent(self, fake: FakeBuddy) -> None:
        fake.rate_limit, fake.rate_window = 1, 3600.0
        async with open_transport(max_wait=60) as opened:
            (await get(opened, fake.base_url)).result()
            fetched = await get(opened, fake.base_url)
        assert isinstance(fetched.error, RateLimitError)
        assert "permits no request" in str(fetched.error)
        assert (fetched.stats.requests, fetched.stats.retries, len(fake.requests)) == (0, 0, 1)

    async def test_429s_count_neither_as_attempts_nor_against_the_quota(self, fake: FakeBuddy) -> None:
        """The quota would be used up after 100 retries."""
        fake.inject(Fault.status(429), times=110)
        fake.inject(Fault.status(503))
        fetched = await fetch(fake.base_url, max_attempts=2, max_wait=10_000)
        assert len(fetched.result().sessions) == 3
        assert (fetched.stats.requests, fetched.stats.retries) == (112, 111)

    async def test_pause_and_backoff_are_reported(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(429, headers={"Retry-After": "0"}), Fault.status(503))
        started = asyncio.get_running_loop().time()
        stats = (await fetch(fake.base_url)).stats
        assert (stats.requests, stats.retries) == (3, 2)
        assert 0.5 + 0.5 <= stats.waited <= 0.5 + 0.75
        assert asyncio.get_running_loop().time() - started == pytest.approx(stats.waited)


def tokens(*results: str | Exception) -> Callable[[], Any]:
    """Return an async callable that returns or raises these results, one after the other."""
    remaining = list(results)

    async def token() -> str:
        await asyncio.sleep(0)
        result = remaining.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    return token


class TestToken:
    async def test_callable_is_called_once(self, fake: FakeBuddy) -> None:
        async with open_transport(tokens(TOKEN)) as opened:
            await asyncio.gather(*(get(opened, fake.base_url) for _ in range(5)))
        assert [request.status for request in fake.requests] == [200] * 5

    async def test_expired_token_is_renewed_once_for_all_calls(self, fake: FakeBuddy) -> None:
        async with open_transport(tokens("expired", TOKEN)) as opened:
            results = await asyncio.gather(*(get(opened, fake.base_url) for _ in range(5)))
        assert [len(fetched.result().sessions) for fetched in results] == [3] * 5
        assert sum(request.status == 401 for request in fake.requests) <= 5

    async def test_error_of_the_callable_is_raised_unchanged(self, fake: FakeBuddy) -> None:
        with pytest.raises(LookupError, match="vault"):
            await fetch(fake.base_url, token=tokens(LookupError("the vault is locked")))

    @pytest.mark.usefixtures("no_waiting")
    async def test_error_of_the_callable_ends_the_retries(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(503), Fault.status(401))
        with pytest.raises(LookupError, match="vault"):
            await fetch(fake.base_url, token=tokens(TOKEN, LookupError("the vault is locked")))
        assert len(fake.requests) == 2

    @pytest.mark.usefixtures("no_waiting")
    async def test_token_is_redacted_in_a_body_that_cannot_be_decoded(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.body(f"<html>{TOKEN}".encode()), times=2)
        assert "<html>***" in str(await fail(fake.base_url, ResponseError))


class TestSession:
    """Who owns the aiohttp session, and what happens when it is closed."""

    async def test_session_of_the_caller_is_not_changed(self, fake: FakeBuddy) -> None:
        async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as session:
            headers = dict(session.headers)
            async with open_transport(http_session=session) as opened:
                assert len((await get(opened, fake.base_url)).result().sessions) == 3
                assert not opened.is_open
                fake.inject(Fault.status(404))
                assert type((await get(opened, fake.base_url)).error) is NotFoundError
            assert not session.closed
            assert dict(session.headers) == headers
        assert fake.requests[0].headers["X-Mine"] == "1"

    async def test_own_session_is_opened_on_demand(self, fake: FakeBuddy) -> None:
        async with open_transport() as opened:
            assert not opened.is_open
            await get(opened, fake.base_url)
            assert opened.is_open

    async def test_session_with_its_own_credentials_is_rejected(
        self, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hunter2")
        monkeypatch.setenv("NETRC", str(netrc))
        async with aiohttp.ClientSession(trust_env=True) as session:
            error = await fail(fake.base_url, ConfigError, http_session=session)
        assert "the aiohttp session cannot send this request" in str(error)
        assert not fake.requests

    async def test_closed_transport_is_named(self, fake: FakeBuddy) -> None:
        async with open_transport() as opened:
            await get(opened, fake.base_url)
            await opened.close()
            await opened.close()
            fetched = await get(opened, fake.base_url)
        assert type(fetched.error) is ClientClosedError
        assert str(fetched.error) == "the client is closed"

    async def test_connections_are_limited_by_max_concurrency(self, fake: FakeBuddy) -> None:
        fake.latency = 0.01
        async with open_transport(max_concurrency=3) as opened:
            await asyncio.gather(*(get(opened, fake.base_url) for _ in range(20)))
        assert fake.max_in_flight == 3

    async def test_max_concurrency_may_exceed_the_default_of_aiohttp(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.hang(), times=120)
        async with open_transport(max_concurrency=120) as opened, asyncio.timeout(10), asyncio.TaskGroup() as group:
            calls = [group.create_task(get(opened, fake.base_url)) for _ in range(120)]
            while fake.in_flight < 120:
                await asyncio.sleep(0.001)
            for call in calls:
                call.cancel()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "buddy_sessions"):
        yield caplog


class TestLog:
    async def test_each_request_is_one_debug_record(self, fake: FakeBuddy, log: pytest.LogCaptureFixture) -> None:
        await read(fake.base_url)
        (record,) = [record for record in log.records if record.name == "buddy_sessions"]
        assert record.levelname == "DEBUG"
        path = "/workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions"
        assert record.getMessage().startswith(f"GET {path} 200 ")
        assert record.getMessage().endswith(" bytes")
        assert TOKEN not in log.text

    @pytest.mark.usefixtures("no_waiting")
    async def test_failed_request_is_logged(self, fake: FakeBuddy, log: pytest.LogCaptureFixture) -> None:
        fake.inject(Fault.disconnect(), times=2)  # aiohttp itself repeats a GET once
        await read(fake.base_url)
        failed, retried, succeeded = [record.getMessage() for record in log.records if record.name == "buddy_sessions"]
        assert "failed after" in failed
        assert "retry 1 of 3" in retried
        assert " 200 " in succeeded
        assert TOKEN not in log.text
