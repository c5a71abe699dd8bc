"""Requests of a client: what is sent, what is retried, which aiohttp session is used, what is logged."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions import BuddyClient, ConfigError, NotFoundError, RateLimitError, ServerError, TransportError
from buddy_sessions._version import __version__
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader
from helpers.raw_server import http_response, raw_server

PATH = f"/workspaces/{KEY.workspace}/projects/{KEY.project}/unit-tests/suites/{KEY.suite_id}/sessions"


async def test_request_identifies_the_client(reader: CheckedReader, fake: FakeBuddy) -> None:
    assert len(await reader.read(fake, requests=1)) == 3
    assert (reader.stats.requests, reader.stats.retries, reader.stats.waited) == (1, 0, 0)
    (request,) = fake.requests
    assert (request.method, request.path) == ("GET", PATH)
    headers = {name: request.headers[name] for name in ("Authorization", "User-Agent", "Cache-Control", "Accept")}
    assert headers == {
        "Authorization": f"Bearer {TOKEN}",
        "User-Agent": f"buddy_sessions/{__version__}",
        "Cache-Control": "no-cache",
        "Accept": "application/json",
    }


@pytest.mark.virtual_time
async def test_successful_retries_do_not_use_up_the_quota(fake: FakeBuddy) -> None:
    async with BuddyClient(TOKEN, base_url=fake.base_url) as buddy:
        for _ in range(150):
            fake.inject(Fault.status(503))
            assert len(await buddy.sessions(KEY).collect()) == 3


@pytest.mark.virtual_time
async def test_five_successes_allow_one_retry_after_an_outage(fake: FakeBuddy) -> None:
    async with BuddyClient(TOKEN, base_url=fake.base_url, max_attempts=2) as buddy:

        async def count_retries(calls: int) -> int:
            fake.inject(Fault.status(503), times=1000)
            before = len(fake.requests)
            for _ in range(calls):
                with pytest.raises(ServerError):
                    await buddy.sessions(KEY).collect()
            fake.faults.clear()
            return len(fake.requests) - before - calls

        assert await count_retries(110) == 100
        for _ in range(10):
            await buddy.sessions(KEY).collect()
        assert await count_retries(10) == 2


class TestSession:
    """Who owns the aiohttp session, and how many connections it has."""

    async def test_session_of_the_caller_is_not_changed(self, fake: FakeBuddy) -> None:
        async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as session:
            headers = dict(session.headers)
            async with BuddyClient(TOKEN, base_url=fake.base_url, http_session=session) as buddy:
                assert len(await buddy.sessions(KEY).collect()) == 3
                fake.inject(Fault.status(404))
                with pytest.raises(NotFoundError):
                    await buddy.sessions(KEY).collect()
            assert not session.closed
            assert dict(session.headers) == headers
        assert fake.requests[0].headers["X-Mine"] == "1"

    async def test_session_with_its_own_credentials_is_rejected(
        self, reader: CheckedReader, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hunter2")
        monkeypatch.setenv("NETRC", str(netrc))
        async with aiohttp.ClientSession(trust_env=True) as session:
            error = await reader.fail(fake, ConfigError, requests=0, http_session=session)
        assert str(error).startswith("http_session has credentials of its own for 127.0.0.1: create it without auth")
        assert "trust_env" in str(error)

    async def test_session_that_does_not_decompress(self, reader: CheckedReader) -> None:
        page = http_response(gzip.compress(PAGE), "Content-Encoding: gzip")
        async with aiohttp.ClientSession(auto_decompress=False) as session, raw_server(page) as server:
            assert len(await reader.read(server, requests=1, http_session=session)) == 3

    @pytest.mark.virtual_time
    @pytest.mark.parametrize("limit", [{"limit": 1}, {"limit_per_host": 1}], ids=str)
    async def test_wait_for_a_connection_of_the_session_is_no_timeout(self, fake: FakeBuddy, limit: Any) -> None:
        fake.latency = 0.4
        connector = aiohttp.TCPConnector(**limit)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            BuddyClient(TOKEN, base_url=fake.base_url, http_session=session, timeout=1, max_attempts=1) as buddy,
        ):
            await asyncio.gather(*(buddy.suite(KEY) for _ in range(8)))


async def test_each_request_and_each_retry_is_one_log_record(reader: CheckedReader, fake: FakeBuddy) -> None:
    fake.inject(Fault.disconnect(), times=2)  # aiohttp itself repeats a GET once
    await reader.read(fake, requests=3)
    logged = [each for each in reader.log.records if each.name == "buddy_sessions"]
    request = f"DEBUG GET {PATH}?page=1&per_page=100"
    expected = [
        (f"{request} failed after ", "disconnected"),
        ("WARNING Server disconnected", "; retry 1 of 2 in 0."),
        (f"{request} 200 ", " bytes"),
    ]
    for record, (start, end) in zip(logged, expected, strict=True):
        text = f"{record.levelname} {record.getMessage()}"
        assert text.startswith(start)
        assert end in text


class TestReceive:
    """`Api.receive` returns a response as it is."""

    async def test_token_is_not_in_the_response(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        fake.inject(Fault.status(401, body=f"no {fake.token}".encode(), headers={"X-Token": fake.token}))
        response = await buddy.api.receive("user", "token")
        assert (response.body, response.headers["x-token"]) == (b"no ***", "***")

    async def test_no_response(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        fake.inject(Fault.truncate(3), Fault.status(429, headers={"Retry-After": "3600"}))
        with pytest.raises(TransportError):
            await buddy.api.receive("workspaces")
        assert (await buddy.api.receive("workspaces")).status == 429
        with pytest.raises(RateLimitError):
            await buddy.api.receive("workspaces")
