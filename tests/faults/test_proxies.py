"""Proxies: those of the environment, which `trust_env` enables, and that of the caller's aiohttp session."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from attrs import define, field
from yarl import URL

from buddy_sessions import BuddyClient, ConfigError, StatusError, TransportError
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import run_process
from helpers.faults import KEY, TOKEN, CheckedReader, UnreachableServer, text_of_error, text_of_log
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.fault

PASSWORD = "hun@t er:2/%"


@define
class ForwardProxy:
    """A small HTTP proxy that requires a password. One request, or one tunnel, per connection.

    Attributes:
        url: Its URL, with the password.
        requests: The URLs of the requests so far; for a tunnel, the host and the port.
    """

    url: URL = field(init=False)
    requests: list[str] = field(factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.decode().split(" ", 2)
            self.requests.append(target)
            if base64.b64encode(f"me:{PASSWORD}".encode()) not in head:
                writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
                return
            if method == "CONNECT":
                await self._tunnel(target, reader, writer)
                return
            url = URL(target)
            server_reader, server_writer = await asyncio.open_connection(url.host, url.port)
            with contextlib.closing(server_writer):
                path = head.replace(target.encode(), url.raw_path_qs.encode(), 1)
                server_writer.write(path.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                await copy(server_reader, writer)

    @staticmethod
    async def _tunnel(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.partition(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.closing(server_writer):
            await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy data to the other end of a connection, and close that end after the last byte."""
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ForwardProxy]:
    """A proxy that `http_proxy` names."""
    proxy = ForwardProxy()
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy.url = URL(f"http://127.0.0.1:{port}").with_user("me").with_password(PASSWORD)
    monkeypatch.setenv("http_proxy", str(proxy.url))
    async with server:
        yield proxy


@pytest.mark.parametrize(
    ("options", "no_proxy", "is_used"),
    [
        pytest.param({"trust_env": True}, "", True, id="trust-env"),
        pytest.param({}, "", False, id="default"),
        pytest.param({"trust_env": True}, "127.0.0.1", False, id="no-proxy-for-the-host"),
        pytest.param({"trust_env": True}, "127.0.0.1:{port}", False, id="no-proxy-for-the-port"),
        pytest.param({"trust_env": True, "http_session": {}}, "", False, id="session-without-a-proxy"),
        pytest.param({"http_session": {"proxy": True}}, "", True, id="session-with-a-proxy"),
    ],
)
async def test_which_proxy_is_used(
    reader: CheckedReader,
    fake: FakeBuddy,
    proxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    no_proxy: str,
    is_used: bool,
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy.format(port=fake.base_url.port))
    async with contextlib.AsyncExitStack() as stack:
        if "http_session" in options:
            connector = aiohttp.TCPConnector(force_close=True)  # the caller's connections may stay open otherwise
            session = aiohttp.ClientSession(connector=connector, proxy=(options["http_session"] and proxy.url) or None)
            options = {**options, "http_session": await stack.enter_async_context(session)}
        assert len(await reader.read(fake, requests=1, **options)) == 3
    assert [URL(url).origin() for url in proxy.requests] == [fake.base_url] * is_used


async def test_netrc_is_ignored(
    reader: CheckedReader,
    fake: FakeBuddy,
    proxy: ForwardProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aiohttp would replace the token by a user and a password for the same host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2")
    monkeypatch.setenv("NETRC", str(netrc))
    assert len(await reader.read(fake, requests=1, trust_env=True)) == 3
    assert fake.requests[-1].headers["Authorization"] == f"Bearer {TOKEN}"
    assert len(proxy.requests) == 1


async def test_proxy_rejects_the_password(
    reader: CheckedReader, fake: FakeBuddy, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", str(proxy.url.with_password("hunter3")))
    error = await reader.fail(fake, StatusError, requests=0, trust_env=True)
    assert str(error).startswith("the request failed (407), but the response is not Buddy's: probably a proxy's")
    assert "hun" not in text_of_error(error) + text_of_log(reader.log.records)


async def test_proxy_of_a_command(fake: FakeBuddy, proxy: ForwardProxy) -> None:
    for password, expected in ((PASSWORD, (0, 3)), ("hunter3", (7, 0))):
        proxy_url = str(proxy.url.with_password(password))
        variables = {"http_proxy": proxy_url, "BUDDY_TOKEN": TOKEN, "BUDDY_API_URL": str(fake.base_url)}
        result = await asyncio.to_thread(run_process, os.environ | variables, "list", str(KEY), "--verbose")
        assert (result.code, result.out.count("\n")) == expected
        assert ("(407)" in result.err) == (result.code == 7)
        assert TOKEN not in result.err
        assert "hun" not in result.err
    assert len(proxy.requests) == 2


@pytest.mark.parametrize(
    ("proxy", "error_type"),
    [
        pytest.param("http://me:hunter2@127.0.0.1:1", TransportError, id="unreachable"),
        pytest.param("http://me:hunter2@127.0.0.1:port", ConfigError, id="port-not-a-number"),
        pytest.param("http://me:hun@ter2@", ConfigError, id="no-host"),
        pytest.param("me:hunter2@127.0.0.1:1", ConfigError, id="no-scheme"),
        pytest.param("http://me:hunter2/@127.0.0.1:1", ConfigError, id="slash-in-the-password"),
    ],
)
async def test_unusable_proxy(
    reader: CheckedReader, monkeypatch: pytest.MonkeyPatch, proxy: str, error_type: type[TransportError | ConfigError]
) -> None:
    """The password is not shown."""
    monkeypatch.setenv("http_proxy", proxy)
    error = await reader.fail(UnreachableServer(URL("http://localhost:1")), error_type, requests=0, trust_env=True)
    assert "hun" not in text_of_error(error) + text_of_log(reader.log.records)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_borrowed", [False, True], ids=["environment", "borrowed-session"])
async def test_cancellation_does_not_show_the_password(
    monkeypatch: pytest.MonkeyPatch, scheme: str, is_borrowed: bool
) -> None:
    is_waiting = asyncio.Event()

    async def respond() -> None:
        is_waiting.set()
        await asyncio.Event().wait()

    async with raw_server([respond]) as server, contextlib.AsyncExitStack() as stack:
        proxy = server.base_url.with_user("me").with_password(PASSWORD)
        monkeypatch.setenv(f"{scheme}_proxy", str(proxy))
        session = await stack.enter_async_context(aiohttp.ClientSession(proxy=proxy)) if is_borrowed else None
        base_url = f"{scheme}://127.0.0.1:1"
        client = BuddyClient(TOKEN, base_url=base_url, trust_env=True, http_session=session)
        buddy = await stack.enter_async_context(client)
        task = asyncio.create_task(buddy.sessions(KEY).collect())
        await is_waiting.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    text = text_of_error(caught.value)
    assert "transport.py" in text
    for secret in ("hun", base64.b64encode(f"me:{PASSWORD}".encode()).decode(), TOKEN):
        assert secret not in text


@pytest.mark.parametrize("source", ["https_proxy", "session"])
async def test_https_proxy_is_used(
    reader: CheckedReader, proxy: ForwardProxy, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees neither the path nor the token."""
    authority = trustme.CA()
    server_context, context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    authority.configure_trust(context)
    async with FakeBuddy(token=TOKEN, ssl_context=server_context) as server:
        server.add_suite(*KEY).populate(3)
        if source == "session":
            connector = aiohttp.TCPConnector(force_close=True)
            async with aiohttp.ClientSession(proxy=proxy.url, connector=connector) as session:
                found = await reader.read(server, requests=1, ssl=context, http_session=session)
        else:
            monkeypatch.setenv(source, str(proxy.url))
            found = await reader.read(server, requests=1, ssl=context, trust_env=True)
        assert len(found) == 3
        assert proxy.requests == [f"127.0.0.1:{server.base_url.port}"]


class TestProxyOfTheSession:
    @pytest.mark.parametrize(
        ("status", "requests"),
        [("407 Proxy Authentication Required", 1), ("403 Forbidden", 1), ("502 Bad Gateway", 3)],
    )
    async def test_proxy_responds_with_an_error(self, reader: CheckedReader, status: str, requests: int) -> None:
        async with raw_server(http_response(b"<html>", status=status)) as proxy:
            proxy_url = proxy.base_url.with_user("me").with_password(PASSWORD)
            async with aiohttp.ClientSession(proxy=proxy_url) as session:
                options = {"base_url": URL("https://buddy.example.com"), "http_session": session}
                error = await reader.fail(proxy, TransportError, requests=requests, **options)
        assert f"the proxy {proxy.base_url} responded with {status}" in str(error)
        assert "hun" not in str(error)
        assert error.retryable == (requests > 1)
        assert proxy.requests[0].startswith(b"CONNECT buddy.example.com:443 ")
        assert b"Bearer" not in b"".join(proxy.requests)
