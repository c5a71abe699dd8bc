"""The proxies of the environment, which `trust_env` enables."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import trustme
from attrs import define, field
from yarl import URL

from buddy_sessions import BuddyClient, ConfigError, StatusError, TransportError
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import COMMAND, Result
from helpers.faults import KEY, TOKEN, CheckedReader, CostRecorder, UnreachableServer, text_of_error, text_of_log
from helpers.raw_server import raw_server

pytestmark = pytest.mark.fault

PASSWORD = "hunter2"


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
def fake(fake: FakeBuddy) -> FakeBuddy:
    fake.token = TOKEN
    fake.add_suite(*KEY).populate(3)
    return fake


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ForwardProxy]:
    """A proxy that `http_proxy` names."""
    proxy = ForwardProxy()
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy.url = URL(f"http://me:{PASSWORD}@127.0.0.1:{port}")
    monkeypatch.setenv("http_proxy", str(proxy.url))
    async with server:
        yield proxy


async def test_proxy_is_used(reader: CheckedReader, fake: FakeBuddy, proxy: ForwardProxy) -> None:
    assert len(await reader.read(fake, requests=1, trust_env=True)) == 3
    assert [URL(url).origin() for url in proxy.requests] == [fake.base_url]


async def test_proxy_is_used_by_a_client_from_the_environment(
    fake: FakeBuddy, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, cost: CostRecorder
) -> None:
    monkeypatch.setenv("BUDDY_TOKEN", TOKEN)
    async with BuddyClient.from_env(base_url=fake.base_url, trust_env=True) as buddy:
        with cost.measure(fake):
            assert len(await buddy.sessions(KEY).collect()) == 3
    assert len(proxy.requests) == 1


async def test_proxy_is_not_used_by_default(reader: CheckedReader, fake: FakeBuddy, proxy: ForwardProxy) -> None:
    assert len(await reader.read(fake, requests=1)) == 3
    assert proxy.requests == []


@pytest.mark.parametrize("port", ["", ":port"])
async def test_no_proxy_for_this_host(
    reader: CheckedReader, fake: FakeBuddy, proxy: ForwardProxy, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", f"127.0.0.1{port.replace('port', str(fake.base_url.port))}")
    assert len(await reader.read(fake, requests=1, trust_env=True)) == 3
    assert proxy.requests == []


@pytest.mark.parametrize("entry", ["default", "machine 127.0.0.1"])
async def test_netrc_is_ignored(
    reader: CheckedReader,
    fake: FakeBuddy,
    proxy: ForwardProxy,
    entry: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aiohttp would replace the token by a user and a password for the same host."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"{entry} login me password {PASSWORD}")
    monkeypatch.setenv("NETRC", str(netrc))
    assert len(await reader.read(fake, requests=1, trust_env=True)) == 3
    assert fake.requests[-1].headers["Authorization"] == f"Bearer {TOKEN}"
    assert len(proxy.requests) == 1


async def test_session_of_the_caller_decides(reader: CheckedReader, fake: FakeBuddy, proxy: ForwardProxy) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        assert len(await reader.read(fake, requests=1, trust_env=True, http_session=session)) == 3
    assert proxy.requests == []


async def test_proxy_rejects_the_password(
    reader: CheckedReader, fake: FakeBuddy, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", str(proxy.url.with_password(f"{PASSWORD}!")))
    error = await reader.fail(fake, StatusError, requests=0, trust_env=True)
    assert str(error).startswith("the request failed (407), but the response is not Buddy's: probably a proxy's")
    assert PASSWORD not in text_of_error(error) + text_of_log(reader.log.records)


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


@pytest.mark.parametrize(
    "response",
    [pytest.param(b"", id="in-headers"), pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", id="in-body")],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_borrowed", [False, True], ids=["environment", "borrowed-session"])
async def test_cancellation_does_not_show_the_password(
    monkeypatch: pytest.MonkeyPatch, response: bytes, scheme: str, is_borrowed: bool
) -> None:
    is_waiting = asyncio.Event()

    async def respond() -> None:
        is_waiting.set()
        await asyncio.Event().wait()

    async with raw_server([response, respond]) as server, contextlib.AsyncExitStack() as stack:
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
    for secret in (PASSWORD, base64.b64encode(f"me:{PASSWORD}".encode()).decode(), TOKEN):
        assert secret not in text


class TestHttps:
    """A server that is reached through a tunnel of the proxy."""

    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    async def secure_fake(self, authority: trustme.CA) -> AsyncIterator[FakeBuddy]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        async with FakeBuddy(token=TOKEN, ssl_context=context) as server:
            server.add_suite(*KEY).populate(3)
            yield server

    @pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
    async def test_https_proxy_is_used(
        self,
        reader: CheckedReader,
        secure_fake: FakeBuddy,
        authority: trustme.CA,
        proxy: ForwardProxy,
        variable: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The proxy sees neither the path nor the token."""
        monkeypatch.setenv(variable, str(proxy.url))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        assert len(await reader.read(secure_fake, requests=1, trust_env=True, ssl=context)) == 3
        assert proxy.requests == [f"127.0.0.1:{secure_fake.base_url.port}"]

    @pytest.mark.parametrize("no_proxy", [None, "127.0.0.1"], ids=["https-proxy", "no-proxy"])
    async def test_https_proxy_of_a_command(
        self,
        secure_fake: FakeBuddy,
        authority: trustme.CA,
        proxy: ForwardProxy,
        no_proxy: str | None,
        cost: CostRecorder,
        tmp_path: Path,
    ) -> None:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        environment = {"HTTPS_PROXY": str(proxy.url), "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        if no_proxy:
            environment["NO_PROXY"] = no_proxy
        with cost.measure(secure_fake):
            code, out, err = await run_list(secure_fake, environment)
        assert (code, len(out.splitlines())) == (0, 3)
        assert TOKEN not in err
        assert PASSWORD not in err
        assert len(proxy.requests) == (0 if no_proxy else 1)

    async def test_https_proxy_that_rejects_the_password_of_a_command(
        self, secure_fake: FakeBuddy, proxy: ForwardProxy, cost: CostRecorder
    ) -> None:
        environment = {"HTTPS_PROXY": str(proxy.url.with_password(f"{PASSWORD}!"))}
        with cost.measure(secure_fake):
            code, out, err = await run_list(secure_fake, environment)
        cost.record_property("outcome", f"exit code {code} {err.splitlines()[-1]}")
        assert (code, out, cost.requests) == (7, "", 0)
        assert "407" in err
        assert TOKEN not in err
        assert PASSWORD not in err


async def run_list(server: FakeBuddy, environment: dict[str, str]) -> Result:
    """List the suite in a process of its own, with all messages."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("list", str(KEY), "--verbose", "--attempts", "2"),
        env={**os.environ, **environment, "BUDDY_TOKEN": TOKEN, "BUDDY_API_URL": str(server.base_url)},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())
