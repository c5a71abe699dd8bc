"""Requests of a client: what is sent, what is retried, which aiohttp session is used, what is logged."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions import BuddyClient, BuddyError, ClientClosedError, ConfigError, NotFoundError, Stats
from buddy_sessions._http.transport import MAX_BODY
from buddy_sessions._version import __version__
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY, TOKEN, Server, text_of_error
from helpers.raw_server import http_response, raw_server

PATH = f"/workspaces/{KEY.workspace}/projects/{KEY.project}/unit-tests/suites/{KEY.suite_id}/sessions"


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy(token=TOKEN) as server:
        server.add_suite(*KEY).populate(3)
        yield server


def client_of(server: Server, **options: Any) -> BuddyClient:
    defaults: dict[str, Any] = {"token": TOKEN, "base_url": server.base_url}
    return BuddyClient(**defaults | options)


async def read(server: Server, **options: Any) -> Stats:
    """Read the suite with a new client; return the cost."""
    async with client_of(server, **options) as buddy:
        paginator = buddy.sessions(KEY)
        await paginator.collect()
        return paginator.stats


async def fail(server: Server, kind: type[BuddyError], **options: Any) -> BuddyError:
    """Read the suite; return the error, which does not expose the token."""
    with pytest.raises(kind) as caught:
        await read(server, **options)
    assert TOKEN not in text_of_error(caught.value)
    return caught.value


class TestRequest:
    @pytest.mark.parametrize("compress", [False, True])
    async def test_request_identifies_the_client(self, fake: FakeBuddy, compress: bool) -> None:
        fake.compress = compress
        stats = await read(fake)
        assert (stats.sessions, stats.requests, stats.retries, stats.waited) == (3, 1, 0, 0)
        (request,) = fake.requests
        assert (request.method, request.path) == ("GET", PATH)
        headers = {name: request.headers[name] for name in ("Authorization", "User-Agent", "Cache-Control", "Accept")}
        assert headers == {
            "Authorization": f"Bearer {TOKEN}",
            "User-Agent": f"buddy_sessions/{__version__}",
            "Cache-Control": "no-cache",
            "Accept": "application/json",
        }

    @pytest.mark.parametrize("is_announced", [True, False])
    async def test_body_of_the_maximum_size_is_read(self, is_announced: bool) -> None:
        body = b'{"sessions": []}'.ljust(MAX_BODY)
        script = http_response(body) if is_announced else http_response(gzip.compress(body), "Content-Encoding: gzip")
        async with raw_server(script) as server:
            assert (await read(server)).sessions == 0


@pytest.mark.usefixtures("no_waiting")
class TestRetries:
    async def test_retries_are_counted(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(503), times=3)
        stats = await read(fake)
        assert (stats.sessions, stats.requests, stats.retries, len(fake.requests)) == (3, 4, 3, 4)

    async def test_error_of_the_token_callable_ends_the_retries(self, fake: FakeBuddy) -> None:
        results = iter([TOKEN])

        async def token() -> str:
            for result in results:
                return result
            raise LookupError("the vault is locked")

        fake.inject(Fault.status(503), Fault.status(401))
        with pytest.raises(LookupError, match="vault"):
            await read(fake, token=token)
        assert len(fake.requests) == 2

    async def test_successful_retries_do_not_use_up_the_quota(self, fake: FakeBuddy) -> None:
        async with client_of(fake) as buddy:
            for _ in range(150):
                fake.inject(Fault.status(503))
                assert len(await buddy.sessions(KEY).collect()) == 3


@pytest.mark.virtual_time
async def test_pause_and_backoff_are_reported(fake: FakeBuddy) -> None:
    fake.inject(Fault.status(429, headers={"Retry-After": "0"}), Fault.status(503))
    started = asyncio.get_running_loop().time()
    stats = await read(fake)
    assert (stats.requests, stats.retries) == (3, 2)
    assert 0.5 + 0.5 <= stats.waited <= 0.5 + 0.75
    assert asyncio.get_running_loop().time() - started == pytest.approx(stats.waited)


class TestSession:
    """Who owns the aiohttp session, and how many connections it has."""

    async def test_session_of_the_caller_is_not_changed(self, fake: FakeBuddy) -> None:
        async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as session:
            headers = dict(session.headers)
            assert (await read(fake, http_session=session)).sessions == 3
            fake.inject(Fault.status(404))
            await fail(fake, NotFoundError, http_session=session)
            assert not session.closed
            assert dict(session.headers) == headers
        assert fake.requests[0].headers["X-Mine"] == "1"

    async def test_session_with_its_own_credentials_is_rejected(
        self, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hunter2")
        monkeypatch.setenv("NETRC", str(netrc))
        async with aiohttp.ClientSession(trust_env=True) as session:
            error = await fail(fake, ConfigError, http_session=session)
        assert "the aiohttp session cannot send this request" in str(error)
        assert not fake.requests

    async def test_closed_client_is_named(self, fake: FakeBuddy) -> None:
        buddy = client_of(fake)
        await buddy.sessions(KEY).collect()
        for _ in range(2):
            await buddy.close()
        with pytest.raises(ClientClosedError, match=r"^the client is closed$"):
            await buddy.sessions(KEY).collect()

    @pytest.mark.parametrize("max_concurrency", [3, 120])
    async def test_connections_are_limited_by_max_concurrency(self, fake: FakeBuddy, max_concurrency: int) -> None:
        """The default of aiohttp is 100."""
        fake.latency = 0.2
        async with client_of(fake, max_concurrency=max_concurrency) as buddy:
            await buddy.sessions(KEY).collect()
            await asyncio.gather(*(buddy.sessions(KEY).collect() for _ in range(max_concurrency + 5)))
        assert fake.max_in_flight == max_concurrency


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("fault", "records"),
    [
        pytest.param(None, [("DEBUG", f"GET {PATH}?page=1&per_page=100 200 ", " bytes")], id="success"),
        pytest.param(
            Fault.disconnect(),
            [
                ("DEBUG", f"GET {PATH}?page=1&per_page=100 failed after ", "disconnected"),
                ("WARNING", "Server disconnected", "; retry 1 of 3 in 0.0 s"),
                ("DEBUG", f"GET {PATH}?page=1&per_page=100 200 ", " bytes"),
            ],
            id="retry",
        ),
    ],
)
async def test_each_request_and_each_retry_is_one_log_record(
    fake: FakeBuddy, caplog: pytest.LogCaptureFixture, fault: Fault | None, records: list[tuple[str, str, str]]
) -> None:
    if fault:
        fake.inject(fault, times=2)  # aiohttp itself repeats a GET once
    with caplog.at_level(logging.DEBUG, "buddy_sessions"):
        await read(fake)
    logged = [record for record in caplog.records if record.name == "buddy_sessions" and "decoding" not in record.msg]
    assert len(logged) == len(records)
    for record, (level, start, end) in zip(logged, records, strict=True):
        assert record.levelname == level
        assert record.getMessage().startswith(start)
        assert end in record.getMessage()
    assert TOKEN not in caplog.text
