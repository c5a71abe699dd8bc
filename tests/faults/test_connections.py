"""Faults of a connection: addresses, TLS, proxies, broken and slow responses, size limits, malformed HTTP."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import Awaitable
from datetime import datetime
from functools import partial

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from buddy_sessions import BuddyClient, BuddyError, ResponseError, Session, TransportError
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader, UnreachableServer
from helpers.raw_server import End, Script, Step, http_response, raw_server

pytestmark = pytest.mark.fault

GOOD = http_response(PAGE)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 2**20


def encoded(body: bytes, encoding: str = "gzip") -> bytes:
    return http_response(body, f"Content-Encoding: {encoding}")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class FakeResolver(AbstractResolver):
    """Resolves every name to the next of these ports on the loopback interface; 0 is a failure."""

    def __init__(self, *ports: int) -> None:
        self._ports = iter(ports)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if port := next(self._ports):
            flags = socket.AI_NUMERICHOST
            return [
                ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=flags)
            ]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None: ...


def session_to(*ports: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=FakeResolver(*ports), use_dns_cache=False))


@pytest.mark.parametrize("port", [1, 0], ids=["refused", "no-such-host"])
async def test_unreachable(reader: CheckedReader, port: int) -> None:
    """For ever, and at first."""
    async with session_to(port, port, port) as session:
        nowhere = UnreachableServer(URL("http://localhost"))
        error = await reader.fail(nowhere, TransportError, requests=0, http_session=session)
    assert error.retryable
    assert str(error).startswith("cannot connect to localhost:80 (")
    assert (reader.stats.requests, reader.stats.retries) == (3, 2)
    async with raw_server(GOOD) as server, session_to(port, server.base_url.port or 0) as session:
        base_url = server.base_url.with_host("localhost")
        assert len(await reader.read(server, requests=1, http_session=session, base_url=base_url)) == 3


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


class TestBrokenResponses:
    @pytest.mark.parametrize(
        ("script", "error_type", "requests"),
        [
            # aiohttp itself repeats a request once if there is no complete header: two requests per attempt.
            pytest.param(b"", TransportError, 6, id="fin-before-status-line"),
            pytest.param([End.RST], TransportError, 6, id="rst-before-status-line"),
            pytest.param(HEAD, TransportError, 6, id="fin-in-headers"),
            pytest.param([HEAD, End.RST], TransportError, 6, id="rst-in-headers"),
            pytest.param([SIZED + PAGE[:100], End.RST], TransportError, 3, id="rst-in-body"),
            pytest.param(SIZED + PAGE[:-1], TransportError, 3, id="body-shorter-than-content-length"),
            pytest.param(CHUNKED + chunk(PAGE), TransportError, 3, id="no-last-chunk"),
            pytest.param(CHUNKED + chunk(PAGE)[:100], TransportError, 3, id="fin-in-chunk"),
            pytest.param(encoded(b"nonsense"), TransportError, 3, id="invalid-gzip"),
            pytest.param(encoded(gzip.compress(PAGE)[:-8] + b"\0" * 8), TransportError, 3, id="gzip-with-bad-crc"),
            pytest.param(encoded(PAGE, "br"), TransportError, 3, id="unrequested-brotli"),
            # Only the JSON shows that these are incomplete; invalid JSON is retried once.
            pytest.param(HEAD + b"\r\n" + PAGE[:100], ResponseError, 2, id="fin-in-body-without-length"),
            pytest.param(encoded(gzip.compress(PAGE)[:-20]), ResponseError, 2, id="truncated-gzip"),
        ],
    )
    async def test_broken_response(
        self, reader: CheckedReader, script: Script, error_type: type[BuddyError], requests: int
    ) -> None:
        async with raw_server(script, GOOD) as server:
            assert len(await reader.read(server, requests=2)) == 3
        async with raw_server(script) as server:
            error = await reader.fail(server, error_type, requests=requests)
        assert error.retryable

    async def test_rst_in_tls_handshake(self, reader: CheckedReader) -> None:
        server = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0)
        async with server:
            base_url = URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            error = await reader.fail(UnreachableServer(base_url), TransportError, requests=0)
        assert error.retryable
        assert reader.stats.requests == 3

    @pytest.mark.parametrize("is_idle", [True, False], ids=["closed-meanwhile", "reset-by-the-next-request"])
    async def test_stale_connection(self, reader: CheckedReader, is_idle: bool) -> None:
        async def read_twice(buddy: BuddyClient) -> list[Session]:
            await buddy.sessions(KEY).collect()
            (connection,) = server.connections
            if is_idle:
                connection.transport.close()
            return await buddy.sessions(KEY).collect()

        responses: list[Script] = [[SIZED + PAGE, End.KEEP], *([] if is_idle else [[End.RST]]), GOOD]
        async with raw_server(*responses) as server:
            assert len(await reader.read(server, requests=len(responses), function=read_twice)) == 3


def gzip_bomb() -> bytes:
    """Return the start of a gzip stream of 300 MiB of zeros: equal blocks, so that only two are compressed."""
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    first, block = (compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 299 * block


class TestSize:
    @pytest.mark.parametrize(
        "script",
        [
            pytest.param(encoded(gzip_bomb()), id="gzip-bomb"),
            pytest.param(itertools.chain([HEAD + b"\r\n"], itertools.repeat(bytes(MIB))), id="endless-body"),
            pytest.param(itertools.chain([CHUNKED], itertools.repeat(chunk(bytes(MIB)))), id="endless-chunks"),
            pytest.param([HEAD + b"Content-Length: 4194305\r\n\r\n", End.KEEP], id="large-content-length"),
            pytest.param(
                http_response(gzip_bomb(), "Content-Encoding: gzip", status="403 Forbidden"),
                id="gzip-bomb-in-an-error",
            ),
        ],
    )
    async def test_body_too_large(self, reader: CheckedReader, script: Script) -> None:
        peak = 0

        async def measure_memory(buddy: BuddyClient) -> list[Session]:
            nonlocal peak
            tracemalloc.start()
            try:
                return await buddy.sessions(KEY).collect()
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()

        async with raw_server(script) as server:
            error = await reader.fail(server, ResponseError, requests=1, function=measure_memory)
        assert "too large: over 4 MiB" in str(error)
        assert peak < 12 * MIB

    async def test_endless_headers(self, reader: CheckedReader) -> None:
        script = itertools.chain([b"HTTP/1.1 200 OK\r\n"], (b"X-%d: 1\r\n" % n for n in itertools.count()))
        async with raw_server(script) as server:
            assert "not HTTP" in str(await reader.fail(server, ResponseError, requests=1))


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
        assert "no response within 30 s" in str(error)
        assert error.retryable
        assert reader.seconds == pytest.approx(2 * 30, abs=1)

    async def test_malformed_chunk_after_the_headers(self, reader: CheckedReader) -> None:
        """aiohttp closes the connection, but does not notify the reader of the body."""
        script: Script = [CHUNKED, partial(asyncio.sleep, 1), b"nonsense\r\n"]
        async with raw_server(script) as server:
            await reader.fail(server, TransportError, requests=2, timeout=30, max_attempts=2)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", id="two-content-lengths"),
        pytest.param(
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", id="content-length-and-chunks"
        ),
        pytest.param(HEAD + b"X: " + b"x" * 9_000 + b"\r\n" + SIZED, id="header-of-9-kb"),
        pytest.param(CHUNKED + b"nonsense\r\n", id="chunk-size-not-a-number"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="other-protocol"),
        pytest.param(b"HTTP/1.1 OK\r\n\r\n", id="status-not-a-number"),
        pytest.param(PAGE, id="no-status-line"),
        pytest.param(HEAD + b"X: \0" + TOKEN.encode() + b"\r\n\r\n", id="token-in-invalid-header"),
        pytest.param(TOKEN.encode() + b"\r\n\r\n", id="token-as-status-line"),
    ],
)
async def test_malformed_http(reader: CheckedReader, script: bytes) -> None:
    async with raw_server(script) as server:
        error = await reader.fail(server, ResponseError, requests=1)
    assert "not HTTP" in str(error)
    assert not error.retryable
