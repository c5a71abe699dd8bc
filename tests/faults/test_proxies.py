"""Proxies: those of the environment, which `trust_env` enables, and that of the caller's aiohttp session."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from yarl import URL

from buddy_sessions import BuddyClient, BuddyError, ConfigError, Session, StatusError, TransportError
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader, text_of_error, text_of_log
from helpers.raw_server import End, RawServer, http_response, raw_server

pytestmark = pytest.mark.fault

GOOD = http_response(PAGE)
PASSWORD = "hun@t er:2/%"
CREDENTIALS = base64.b64encode(f"me:{PASSWORD}".encode())
REJECTED = "407 Proxy Authentication Required"
SERVERS = {"http": "http://127.0.0.1:1", "https": "https://buddy.invalid:1"}
WAYS = [("http", True), ("https", True), ("https", False)]
"""The scheme of the server, and whether the proxy is that of the caller's session: the environment's is for https."""


def with_password(proxy: RawServer) -> URL:
    return proxy.base_url.with_user("me").with_password(PASSWORD)


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawServer]:
    """A proxy that `http_proxy` and `https_proxy` name. It responds with a page itself."""
    async with raw_server(GOOD) as proxy:
        monkeypatch.setenv("http_proxy", str(with_password(proxy)))
        monkeypatch.setenv("https_proxy", str(with_password(proxy)))
        yield proxy


def session_with(proxy: URL | None, *, trust_env: bool = False) -> aiohttp.ClientSession:
    """Return a session of the caller, whose connections do not stay open."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), proxy=proxy, trust_env=trust_env)


@pytest.mark.parametrize(
    ("options", "is_used"),
    [
        pytest.param({"trust_env": True}, False, id="trust-env"),
        pytest.param({}, False, id="default"),
        pytest.param({"http_session": False}, False, id="session-without-a-proxy"),
        pytest.param({"http_session": True}, True, id="session-with-a-proxy"),
    ],
)
async def test_proxy_for_this_machine(
    reader: CheckedReader, fake: FakeBuddy, proxy: RawServer, options: dict[str, Any], is_used: bool
) -> None:
    """Only the caller's own: over http, another machine would get the token unencrypted."""
    async with AsyncExitStack() as stack:
        if "http_session" in options:
            session = session_with(with_password(proxy) if options["http_session"] else None)
            options = {"http_session": await stack.enter_async_context(session)}
        server = proxy if is_used else fake
        assert len(await reader.read(server, requests=1, base_url=fake.base_url, **options)) == 3
    assert len(proxy.requests) + len(fake.requests) == 1
    for request in proxy.requests:
        assert request.startswith(f"GET {fake.base_url}/workspaces/".encode())
        assert b"\r\nAuthorization: Bearer %s\r\n" % TOKEN.encode() in request
        assert CREDENTIALS in request


@pytest.mark.parametrize("is_late", [False, True], ids=["before-the-client", "after-the-client"])
@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        *(pytest.param(host, "", id=host) for host in ("127.0.0.1", "localhost", "::1")),
        pytest.param("127.0.0.1", "127.0.0.1:{port}", id="no-proxy-for-the-port"),  # which aiohttp ignores
    ],
)
async def test_borrowed_session_sends_no_token_to_a_proxy_of_the_environment(
    reader: CheckedReader,
    fake: FakeBuddy,
    proxy: RawServer,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    no_proxy: str,
    is_late: bool,
) -> None:
    """Over http, another machine would get it unencrypted."""

    async def read(buddy: BuddyClient) -> list[Session]:
        assert is_late, "the client was created"
        monkeypatch.setenv("http_proxy", str(proxy.base_url))
        return await buddy.sessions(KEY).collect()

    monkeypatch.setenv("no_proxy", no_proxy.format(port=fake.base_url.port))
    if is_late:
        monkeypatch.delenv("http_proxy")
    async with session_with(None, trust_env=True) as session:
        options = {"http_session": session, "base_url": fake.base_url.with_host(host), "function": read}
        error = await reader.fail(fake, ConfigError, requests=0, **options)
    assert "without trust_env" in str(error)
    assert not proxy.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_borrowed_session_obeys_no_proxy(
    reader: CheckedReader, fake: FakeBuddy, proxy: RawServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("no_proxy", host)
    async with session_with(None, trust_env=True) as session:
        options = {"http_session": session, "base_url": fake.base_url.with_host(host)}
        assert len(await reader.read(fake, requests=1, **options)) == 3
    assert not proxy.requests


async def test_borrowed_session_uses_the_proxy_for_https(reader: CheckedReader, proxy: RawServer) -> None:
    proxy.scripts = (http_response(b"", status=REJECTED),)
    async with session_with(None, trust_env=True) as session:
        options = {"http_session": session, "base_url": SERVERS["https"]}
        await reader.fail(proxy, TransportError, requests=1, **options)
    assert proxy.requests[0].startswith(b"CONNECT buddy.invalid:1 ")
    assert b"Bearer" not in proxy.requests[0]


@pytest.mark.parametrize(
    ("trust_env", "no_proxy", "is_used"),
    [
        pytest.param(True, "", True, id="trust-env"),
        pytest.param(False, "", False, id="default"),
        pytest.param(True, "buddy.invalid", False, id="no-proxy-for-the-host"),
        pytest.param(True, "buddy.invalid:1", False, id="no-proxy-for-the-port"),
    ],
)
async def test_proxy_of_the_environment(
    reader: CheckedReader,
    proxy: RawServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trust_env: bool,
    no_proxy: str,
    is_used: bool,
) -> None:
    """The proxy connects the client with the server, and sees no token.

    `~/.netrc` is ignored: with it, aiohttp would replace the token by a user and a password for the same host.
    """
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("no_proxy", no_proxy)
    options: dict[str, Any] = {"trust_env": trust_env, "base_url": SERVERS["https"], "max_attempts": 1}
    if not is_used:
        error = await reader.fail(proxy, TransportError, requests=0, **options)
        assert "cannot connect to buddy.invalid:1" in str(error)
        return
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("buddy.invalid").configure_cert(context)
    authority.configure_trust(trust := ssl.create_default_context())

    async def encrypt() -> None:
        (connection,) = proxy.connections
        start_tls = asyncio.get_running_loop().start_tls
        transport = await start_tls(connection.transport, connection, context, server_side=True)
        assert transport is not None
        connection.transport = transport

    proxy.scripts = ([b"HTTP/1.1 200 Connected\r\n\r\n", encrypt, End.KEEP], GOOD)
    assert len(await reader.read(proxy, requests=2, ssl=trust, **options)) == 3
    to_proxy, to_server = proxy.requests
    assert to_proxy.startswith(b"CONNECT buddy.invalid:1 ")
    assert CREDENTIALS in to_proxy
    assert b"Bearer" not in to_proxy
    assert b"\r\nAuthorization: Bearer %s\r\n" % TOKEN.encode() in to_server
    assert CREDENTIALS not in to_server


@pytest.mark.parametrize(
    ("scheme", "is_borrowed", "status", "requests"),
    [
        ("http", True, REJECTED, 1),
        *(("https", is_borrowed, REJECTED, 1) for is_borrowed in (True, False)),
        *(("https", is_borrowed, "403 Forbidden", 1) for is_borrowed in (True, False)),
        *(("https", is_borrowed, "500 Internal Server Error", 3) for is_borrowed in (True, False)),
    ],
)
async def test_proxy_responds_with_an_error(
    reader: CheckedReader,
    proxy: RawServer,
    scheme: str,
    is_borrowed: bool,
    status: str,
    requests: int,
) -> None:
    """If the connection is encrypted, the proxy sees neither the path nor the token."""
    proxy.scripts = (http_response(b"<html>", status=status),)
    async with session_with(with_password(proxy)) as session:
        options = {"http_session": session} if is_borrowed else {"trust_env": True}
        error_type = StatusError if scheme == "http" else TransportError
        error = await reader.fail(proxy, error_type, requests=requests, base_url=SERVERS[scheme], **options)
    assert error.retryable == (requests > 1)
    assert "hun" not in text_of_error(error) + text_of_log(reader.log.records)
    assert all(CREDENTIALS in request for request in proxy.requests)
    if scheme == "http":
        assert str(error).startswith("the request failed (407), but the response is not Buddy's: probably a proxy's")
    else:
        assert f"the proxy {proxy.base_url} responded with {status}" in str(error)
        assert proxy.requests[0].startswith(b"CONNECT buddy.invalid:1 ")
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
    monkeypatch.setenv("https_proxy", proxy_url)
    async with aiohttp.ClientSession(proxy=proxy_url) as session:
        options = {"http_session": session} if is_borrowed else {"trust_env": True}
        error = await reader.fail(fake, error_type, requests=0, base_url=SERVERS["https"], **options)
    assert "hun" not in text_of_error(error) + text_of_log(reader.log.records)


@pytest.mark.parametrize(("scheme", "is_borrowed"), WAYS)
async def test_cancellation_does_not_show_the_password(proxy: RawServer, scheme: str, is_borrowed: bool) -> None:
    is_waiting = asyncio.Event()

    async def respond() -> None:
        is_waiting.set()
        await asyncio.Event().wait()

    proxy.scripts = ([respond],)
    async with session_with(with_password(proxy)) as session:
        options: Any = {"http_session": session} if is_borrowed else {"trust_env": True}
        async with BuddyClient(TOKEN, base_url=SERVERS[scheme], **options) as buddy:
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
