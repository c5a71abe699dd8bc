"""Faults of a connection: addresses, TLS, resets, timeouts."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable
from datetime import datetime
from functools import partial

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from buddy_sessions import BuddyClient, Session, TransportError
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, PAGE, CheckedReader
from helpers.raw_server import End, Script, Step, http_response, raw_server

pytestmark = pytest.mark.fault

GOOD = http_response(PAGE)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE)


class Resolver(AbstractResolver):
    """Resolves any name to addresses that cannot be connected to, or no name."""

    def __init__(self, addresses: dict[socket.AddressFamily, str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not self._addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in self._addresses.items()
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("host", "addresses", "reason"),
    [
        pytest.param("127.0.0.1", {}, "connection refused", id="refused"),
        pytest.param("localhost", {}, "Name or service not known", id="no-such-host"),
        pytest.param(
            "localhost", {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "ff02::1"}, "Multiple", id="two-reasons"
        ),
    ],
)
async def test_unreachable(
    reader: CheckedReader, fake: FakeBuddy, host: str, addresses: dict[socket.AddressFamily, str], reason: str
) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver(addresses))) as session:
        options = {"base_url": f"http://{host}:1", "http_session": session}
        error = await reader.fail(fake, TransportError, requests=0, **options)
    assert error.retryable
    assert str(error).startswith(f"cannot connect to {host}:1 ({reason}")
    assert (reader.stats.requests, reader.stats.retries) == (3, 2)


class TestTLS:
    @pytest.mark.parametrize(
        ("name", "not_after", "reason"),
        [
            pytest.param("127.0.0.1", None, "unable to get local issuer", id="untrusted"),
            pytest.param("buddy.example.com", None, "IP address mismatch", id="wrong-host-name"),
            pytest.param("127.0.0.1", datetime(2020, 1, 1), "expired", id="expired"),  # noqa: DTZ001 - for trustme
        ],
    )
    async def test_bad_certificate(
        self, reader: CheckedReader, name: str, not_after: datetime | None, reason: str
    ) -> None:
        authority = trustme.CA()
        server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert(name, not_after=not_after).configure_cert(server_context)
        if "local issuer" not in reason:
            authority.configure_trust(client_context)
        async with FakeBuddy(ssl_context=server_context) as server:
            error = await reader.fail(server, TransportError, requests=0, ssl=client_context)
        assert "TLS failed" in str(error)
        assert reason in str(error)
        assert (error.retryable, reader.stats.requests) == (False, 1)

    async def test_https_to_a_plaintext_port(self, reader: CheckedReader, fake: FakeBuddy) -> None:
        base_url = fake.base_url.with_scheme("https")
        error = await reader.fail(fake, TransportError, requests=0, base_url=base_url)
        assert "TLS failed" in str(error)
        assert (error.retryable, reader.stats.requests) == (False, 1)


@pytest.mark.parametrize("is_idle", [True, False], ids=["closed-meanwhile", "reset-by-the-next-request"])
async def test_stale_connection(reader: CheckedReader, is_idle: bool) -> None:
    async def read_twice(buddy: BuddyClient) -> list[Session]:
        await buddy.sessions(KEY).collect()
        (connection,) = server.connections
        if is_idle:
            connection.transport.close()
        return await buddy.sessions(KEY).collect()

    responses: list[Script] = [[SIZED + PAGE, End.KEEP], *([] if is_idle else [[End.RST]]), GOOD]
    async with raw_server(*responses) as server:
        assert len(await reader.read(server, requests=len(responses), function=read_twice)) == 3


def byte_by_byte(data: bytes) -> list[Step]:
    return [step for byte in data for step in (bytes([byte]), partial(asyncio.sleep, 0.1))]


def wait_for_ever() -> Awaitable[object]:
    return asyncio.Event().wait()


@pytest.mark.virtual_time
class TestTimeouts:
    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(byte_by_byte(SIZED + PAGE), id="one-byte-at-a-time"),
            pytest.param([wait_for_ever], id="no-headers"),
            pytest.param([SIZED + PAGE[:100], wait_for_ever], id="stall-in-body"),
        ],
    )
    async def test_slow_response(self, reader: CheckedReader, script: Script) -> None:
        async with raw_server(script) as server:
            error = await reader.fail(server, TransportError, requests=2, timeout=30, max_attempts=2)
        assert "no response within 30s" in str(error)
        assert error.retryable
        assert reader.seconds == pytest.approx(2 * 30, abs=1)
