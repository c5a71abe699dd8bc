"""Proxies: those of the environment, which `trust_env` enables, and that of the caller's aiohttp session."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from buddy_sessions import BuddyClient, BuddyError, ConfigError, StatusError, TransportError
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader, text_of_error, text_of_log
from helpers.raw_server import RawServer, http_response, raw_server

pytestmark = pytest.mark.fault

GOOD = http_response(PAGE)
PASSWORD = "hun@t er:2/%"
CREDENTIALS = base64.b64encode(f"me:{PASSWORD}".encode())
REJECTED = "407 Proxy Authentication Required"


def with_password(proxy: RawServer) -> URL:
    return proxy.base_url.with_user("me").with_password(PASSWORD)


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawServer]:
    """A proxy that `http_proxy` and `https_proxy` name. It responds with a page itself."""
    async with raw_server(GOOD) as proxy:
        monkeypatch.setenv("http_proxy", str(with_password(proxy)))
        monkeypatch.setenv("https_proxy", str(with_password(proxy)))
        yield proxy


def session_with(proxy: URL | None) -> aiohttp.ClientSession:
    """Return a session of the caller, whose connections do not stay open."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), proxy=proxy)


@pytest.mark.parametrize(
    ("options", "no_proxy", "is_used"),
    [
        pytest.param({"trust_env": True}, "", True, id="trust-env"),
        pytest.param({}, "", False, id="default"),
        pytest.param({"trust_env": True}, "127.0.0.1", False, id="no-proxy-for-the-host"),
        pytest.param({"trust_env": True, "http_session": False}, "", False, id="session-without-a-proxy"),
        pytest.param({"http_session": True}, "", True, id="session-with-a-proxy"),
    ],
)
async def test_which_proxy_is_used(
    reader: CheckedReader,
    fake: FakeBuddy,
    proxy: RawServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    no_proxy: str,
    is_used: bool,
) -> None:
    """`~/.netrc` is ignored: with it, aiohttp would replace the token by a user and a password for the same host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("no_proxy", no_proxy)
    async with AsyncExitStack() as stack:
        if "http_session" in options:
            session = session_with(with_password(proxy) if options["http_session"] else None)
            options = {**options, "http_session": await stack.enter_async_context(session)}
        server = proxy if is_used else fake
        assert len(await reader.read(server, requests=1, base_url=fake.base_url, **options)) == 3
    assert len(proxy.requests) + len(fake.requests) == 1
    for request in proxy.requests:
        assert request.startswith(f"GET {fake.base_url}/workspaces/".encode())
        assert b"\r\nAuthorization: Bearer %s\r\n" % TOKEN.encode() in request
        assert CREDENTIALS in request


@pytest.mark.parametrize("is_borrowed", [False, True], ids=["environment", "borrowed-session"])
@pytest.mark.parametrize(
    ("scheme", "status", "error_type", "requests"),
    [
        ("http", REJECTED, StatusError, 1),
        ("https", REJECTED, TransportError, 1),
        ("https", "403 Forbidden", TransportError, 1),
        ("https", "502 Bad Gateway", TransportError, 3),
    ],
)
async def test_proxy_responds_with_an_error(
    reader: CheckedReader,
    proxy: RawServer,
    is_borrowed: bool,
    scheme: str,
    status: str,
    error_type: type[BuddyError],
    requests: int,
) -> None:
    """If the connection is encrypted, the proxy sees neither the path nor the token."""
    proxy.scripts = (http_response(b"<html>", status=status),)
    async with session_with(with_password(proxy)) as session:
        options = {"http_session": session} if is_borrowed else {"trust_env": True}
        base_url = f"{scheme}://127.0.0.1:1"
        error = await reader.fail(proxy, error_type, requests=requests, base_url=base_url, **options)
    assert error.retryable == (requests > 1)
    assert "hun" not in text_of_error(error) + text_of_log(reader.log.records)
    assert all(CREDENTIALS in request for request in proxy.requests)
    if scheme == "http":
        assert str(error).startswith("the request failed (407), but the response is not Buddy's: probably a proxy's")
    else:
        assert f"the proxy {proxy.base_url} responded with {status}" in str(error)
        assert proxy.requests[0].startswith(b"CONNECT 127.0.0.1:1 ")
        assert b"Bearer" not in b"".join(proxy.requests)


@pytest.mark.parametrize(
    ("proxy_url", "error_type"),
    [
        pytest.param("http://me:hunter2@127.0.0.1:1", TransportError, id="unreachable"),
        pytest.param("http://me:hunter2@127.0.0.1:port", ConfigError, id="port-not-a-number"),
        pytest.param("http://me:hun@ter2@", ConfigError, id="no-host"),
        pytest.param("me:hunter2@127.0.0.1:1", ConfigError, id="no-scheme"),
        pytest.param("http://me:hunter2/@127.0.0.1:1", ConfigError, id="slash-in-the-password"),
    ],
)
@pytest.mark.parametrize("is_borrowed", [False, True], ids=["environment", "borrowed-session"])
async def test_unusable_proxy(
    reader: CheckedReader,
    fake: FakeBuddy,
    monkeypatch: pytest.MonkeyPatch,
    is_borrowed: bool,
    proxy_url: str,
    error_type: type[BuddyError],
) -> None:
    """The password is not shown."""
    monkeypatch.setenv("http_proxy", proxy_url)
    async with aiohttp.ClientSession(proxy=proxy_url) as session:
        options = {"http_session": session} if is_borrowed else {"trust_env": True}
        error = await reader.fail(fake, error_type, requests=0, base_url="http://localhost:1", **options)
    assert "hun" not in text_of_error(error) + text_of_log(reader.log.records)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_borrowed", [False, True], ids=["environment", "borrowed-session"])
async def test_cancellation_does_not_show_the_password(proxy: RawServer, scheme: str, is_borrowed: bool) -> None:
    is_waiting = asyncio.Event()

    async def respond() -> None:
        is_waiting.set()
        await asyncio.Event().wait()

    proxy.scripts = ([respond],)
    async with session_with(with_password(proxy)) as session:
        options: Any = {"http_session": session} if is_borrowed else {"trust_env": True}
        async with BuddyClient(TOKEN, base_url=f"{scheme}://127.0.0.1:1", **options) as buddy:
            task = asyncio.create_task(buddy.suite(KEY))
            await is_waiting.wait()
            for _ in range(10):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
    text = text_of_error(caught.value)
    assert "transport.py" in text
    for secret in ("hun", CREDENTIALS.decode(), TOKEN):
        assert secret not in text
