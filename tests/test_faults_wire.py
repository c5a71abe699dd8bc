"""What can go wrong below the answer: addresses, TLS, proxies, connections that break or stall, HTTP's own framing."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import datetime
from functools import partial

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from bench import KEY, PAGE, TOKEN, Bench, Nobody, case, only
from buddy_sessions import BuddyClient, BuddyError, ResponseError, Session, TransportError
from buddy_sessions.testing import FakeBuddy
from raw import End, Script, Step, answer, raw_server

GOOD = answer(PAGE)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def encoded(body: bytes, coding: str = "gzip") -> bytes:
    return answer(body, f"Content-Encoding: {coding}")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Resolver(AbstractResolver):
    """Resolves every name to one port of this machine after the other; 0 is a failure."""

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
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver(*ports), use_dns_cache=False))


@pytest.fixture
def dead() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield unheard.getsockname()[1]


class TestAddresses:
    @pytest.mark.parametrize("refused", [case("01-refused-for-ever", True), case("01-no-such-host-for-ever", False)])
    async def test_an_address_that_leads_nowhere_is_tried_to_the_last_attempt(
        self, bench: Bench, dead: int, refused: bool
    ) -> None:
        async with session_to(*[dead if refused else 0] * 3) as session:
            error = await bench.error(Nobody(URL("http://localhost")), TransportError, 0, http_session=session)
        assert error.transient
        assert "Cannot connect to host localhost" in str(error)
        assert (bench.stats.requests, bench.stats.retries) == (3, 2)

    @pytest.mark.parametrize("refused", [case("01-refused-at-first", True), case("01-no-such-host-at-first", False)])
    async def test_an_address_that_leads_somewhere_at_last_is_read(
        self, bench: Bench, dead: int, refused: bool
    ) -> None:
        async with (
            raw_server(GOOD) as server,
            session_to(dead if refused else 0, server.base_url.port or 0) as session,
        ):
            base_url = server.base_url.with_host("localhost")
            assert len(await bench.sessions(server, 1, http_session=session, base_url=base_url)) == 3


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextlib.asynccontextmanager
async def secure(authority: trustme.CA, *names: str, not_after: datetime | None = None) -> AsyncIterator[FakeBuddy]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=not_after).configure_cert(context)
    async with FakeBuddy(token=TOKEN, ssl_context=context) as server:
        server.add_suite(*KEY).populate(3)
        yield server


class TestTLS:
    @pytest.mark.parametrize(
        ("names", "not_after", "trusted", "reason"),
        [
            case("02-untrusted-certificate", ["127.0.0.1"], None, False, "unable to get local issuer"),
            case("02-wrong-host-name", ["buddy.example.com"], None, True, "IP address mismatch"),
            case("02-expired", ["127.0.0.1"], datetime(2020, 1, 1), True, "expired"),  # noqa: DTZ001 - trustme takes naive UTC
        ],
    )
    async def test_a_certificate_that_does_not_hold_ends_it_at_once(
        self,
        bench: Bench,
        authority: trustme.CA,
        trusting: ssl.SSLContext,
        names: list[str],
        not_after: datetime | None,
        trusted: bool,
        reason: str,
    ) -> None:
        async with secure(authority, *names, not_after=not_after) as server:
            error = await bench.error(server, TransportError, 0, ssl=trusting if trusted else None)
        assert "TLS failed" in str(error)
        assert reason in str(error)
        assert (error.transient, bench.stats.requests) == (False, 1)

    @only("02-https-to-a-plaintext-port")
    async def test_plain_http_behind_https_ends_it_at_once(self, bench: Bench, fake: FakeBuddy) -> None:
        error = await bench.error(fake, TransportError, 0, base_url=fake.base_url.with_scheme("https"))
        assert "TLS failed" in str(error)
        assert (error.transient, bench.stats.requests) == (False, 1)

    @only("02-context-of-the-callers")
    async def test_a_context_of_the_callers_is_used(
        self, bench: Bench, authority: trustme.CA, trusting: ssl.SSLContext
    ) -> None:
        async with secure(authority, "127.0.0.1") as server:
            assert len(await bench.sessions(server, 1, ssl=trusting)) == 3


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a proxy does that lets everyone through to where they like."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while data := await reader.read(2**16):
                writer.write(data)

    _, to, _ = (await reader.readuntil(b"\r\n\r\n")).split(maxsplit=2)
    host, _, port = to.decode().partition(":")
    there = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))


class TestProxies:
    """The proxy is that of the caller's own aiohttp session."""

    @only("02-tunnel-through-a-proxy")
    async def test_https_goes_through_a_proxy_as_a_tunnel(
        self, bench: Bench, authority: trustme.CA, trusting: ssl.SSLContext
    ) -> None:
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        address = URL.build(scheme="http", host="127.0.0.1", port=proxy.sockets[0].getsockname()[1])
        connector = aiohttp.TCPConnector(force_close=True)  # what a session of the caller's keeps open is the caller's
        async with (
            proxy,
            secure(authority, "127.0.0.1") as server,
            aiohttp.ClientSession(proxy=address, connector=connector) as session,
        ):
            assert len(await bench.sessions(server, 1, ssl=trusting, http_session=session)) == 3

    @only("02-plain-http-by-a-proxy")
    async def test_plain_http_is_asked_of_the_proxy(self, bench: Bench) -> None:
        async with raw_server(GOOD) as proxy, aiohttp.ClientSession(proxy=proxy.base_url) as session:
            base_url = URL("http://localhost:9")
            assert len(await bench.sessions(proxy, 1, base_url=base_url, http_session=session)) == 3
        assert proxy.requests[0].startswith(b"GET http://localhost:9/workspaces/")

    @pytest.mark.parametrize(
        ("status", "transient"),
        [
            case("02-proxy-that-wants-credentials", "407 Proxy Authentication Required", False),
            case("02-proxy-that-forbids", "403 Forbidden", False),
            case("02-proxy-that-cannot-connect", "502 Bad Gateway", True),
        ],
    )
    async def test_a_proxy_that_refuses_is_named(self, bench: Bench, status: str, transient: bool) -> None:
        async with raw_server(answer(b"<html>", status=status)) as proxy:
            address = proxy.base_url.with_user("me").with_password("hunter2")
            async with aiohttp.ClientSession(proxy=address) as session:
                base_url = URL("https://buddy.example.com")
                hits = 3 if transient else 1
                error = await bench.error(proxy, TransportError, hits, base_url=base_url, http_session=session)
        assert f"the proxy {proxy.base_url} answered {status}" in str(error)
        assert "hunter2" not in str(error)
        assert error.transient == transient
        assert proxy.requests[0].startswith(b"CONNECT buddy.example.com:443 ")
        assert b"Bearer" not in b"".join(proxy.requests)

    @only("02-nobody-at-the-proxys-address")
    async def test_a_proxy_that_is_not_there_is_named(self, bench: Bench, dead: int) -> None:
        async with aiohttp.ClientSession(proxy=f"http://127.0.0.1:{dead}") as session:
            nobody = Nobody(URL("https://buddy.example.com"))
            error = await bench.error(nobody, TransportError, 0, http_session=session)
        assert f"127.0.0.1:{dead}" in str(error)
        assert bench.stats.requests == 3


BROKEN = [
    # aiohttp itself sends a request again, once, where the connection breaks before the body: two hits per attempt.
    case("03-fin-before-the-status-line", b"", TransportError, 6),
    case("03-half-close-before-the-status-line", [End.FIN], TransportError, 6),
    case("03-rst-before-the-status-line", [End.RST], TransportError, 6),
    case("03-fin-in-the-status-line", b"HTTP/1.1 2", TransportError, 6),
    case("03-fin-in-the-headers", HEAD, TransportError, 6),
    case("03-rst-in-the-headers", [HEAD, End.RST], TransportError, 6),
    case("03-fin-before-the-body", SIZED, TransportError, 3),
    case("03-half-close-in-the-body", [SIZED + PAGE[:100], End.FIN], TransportError, 3),
    case("03-rst-in-the-body", [SIZED + PAGE[:100], End.RST], TransportError, 3),
    case("04-shorter-than-content-length", SIZED + PAGE[:-1], TransportError, 3),
    case("04-no-last-chunk", CHUNKED + chunk(PAGE), TransportError, 3),
    case("04-cut-within-a-chunk", CHUNKED + chunk(PAGE)[:100], TransportError, 3),
    case("04-cut-within-a-chunks-size", CHUNKED + chunk(PAGE[:40]) + b"4", TransportError, 3),
    case("05-not-gzip", encoded(b"nonsense"), TransportError, 3),
    case("05-bad-crc", encoded(gzip.compress(PAGE)[:-8] + b"\0" * 8), TransportError, 3),
    case("05-not-deflate", encoded(b"nonsense", "deflate"), TransportError, 3),
    case("05-deflate-cut-short", encoded(zlib.compress(PAGE)[:-20], "deflate"), TransportError, 3),
    # Nothing but the JSON tells that these are not whole: what is no JSON twice in a row is given up.
    case("03-rst-in-a-body-without-length", [HEAD + b"\r\n" + PAGE[:100], End.RST], ResponseError, 2),
    case("04-body-without-length-cut-short", HEAD + b"\r\n" + PAGE[:100], ResponseError, 2),
    case("05-gzip-cut-short", encoded(gzip.compress(PAGE)[:-20]), ResponseError, 2),
]


class TestConnections:
    @pytest.mark.parametrize(("script", "kind", "hits"), BROKEN)
    async def test_an_answer_that_breaks_off_is_asked_for_again(
        self, bench: Bench, script: Script, kind: type[BuddyError], hits: int
    ) -> None:
        async with raw_server(script, GOOD) as server:
            assert len(await bench.sessions(server, 2)) == 3

    @pytest.mark.parametrize(("script", "kind", "hits"), BROKEN)
    async def test_an_answer_that_breaks_off_each_time_is_an_error_after_the_last_attempt(
        self, bench: Bench, script: Script, kind: type[BuddyError], hits: int
    ) -> None:
        async with raw_server(script) as server:
            assert (await bench.error(server, kind, hits)).transient

    @only("03-reset-in-the-tls-handshake")
    async def test_a_handshake_that_is_reset_is_tried_again(self, bench: Bench) -> None:
        server = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            error = await bench.error(Nobody(URL(f"https://127.0.0.1:{port}")), TransportError, 0)
        assert error.transient
        assert bench.stats.requests == 3

    @pytest.mark.parametrize(
        ("end", "hits"),
        [
            case("03-kept-connection-closed-while-idle", True, 2),
            case("03-kept-connection-reset-by-a-request", False, 3),
        ],
    )
    async def test_a_kept_connection_that_has_gone_stale_is_replaced(self, bench: Bench, end: bool, hits: int) -> None:
        async def twice(buddy: BuddyClient) -> list[Session]:
            await buddy.sessions(*KEY).collect()
            (kept,) = server.connections
            if end:
                kept.transport.close()
            return await buddy.sessions(*KEY).collect()

        script: list[Script] = [[SIZED + PAGE, End.KEEP], *([] if end else [[End.RST]]), GOOD]
        async with raw_server(*script) as server:
            assert len(await bench.sessions(server, hits, read=twice)) == 3

    @only("05-gzip-without-its-trailer")
    async def test_a_gzip_trailer_is_not_missed_where_all_the_json_is_there(self, bench: Bench) -> None:
        async with raw_server(encoded(gzip.compress(PAGE)[:-8])) as server:
            assert len(await bench.sessions(server, 1)) == 3

    @pytest.mark.parametrize("coding", [case("05-brotli", "br"), case("05-zstd", "zstd")])
    async def test_a_coding_that_was_not_asked_for_is_no_answer(self, bench: Bench, coding: str) -> None:
        async with raw_server(encoded(PAGE, coding)) as server:
            assert (await bench.error(server, TransportError, 3)).transient


MIB = 2**20


class TestSize:
    @pytest.mark.parametrize(
        "script",
        [
            case("06-gzip-bomb", encoded(gzip.compress(bytes(300 * MIB)))),
            case("06-endless-body", itertools.chain([HEAD + b"\r\n"], itertools.repeat(bytes(MIB)))),
            case("06-endless-chunks", itertools.chain([CHUNKED], itertools.repeat(chunk(bytes(MIB))))),
            case("06-large-content-length", [HEAD + b"Content-Length: 16777217\r\n\r\n", End.KEEP]),
            case(
                "06-bomb-in-an-error",
                answer(gzip.compress(bytes(300 * MIB)), "Content-Encoding: gzip", status="403 No"),
            ),
        ],
    )
    async def test_what_is_too_large_is_stopped_early(self, bench: Bench, script: Script) -> None:
        peak = 0

        async def traced(buddy: BuddyClient) -> list[Session]:
            nonlocal peak
            tracemalloc.start()
            try:
                return await buddy.sessions(*KEY).collect()
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()

        async with raw_server(script) as server:
            error = await bench.error(server, ResponseError, 1, read=traced)
        assert "too large: over 16 MiB" in str(error)
        assert peak < 40 * MIB

    @only("06-endless-headers")
    async def test_headers_without_end_are_stopped_early(self, bench: Bench) -> None:
        script = itertools.chain([b"HTTP/1.1 200 OK\r\n"], (b"X-%d: 1\r\n" % n for n in itertools.count()))
        async with raw_server(script) as server:
            assert "not HTTP" in str(await bench.error(server, ResponseError, 1))


def drip(data: bytes) -> list[Step]:
    return [step for byte in data for step in (bytes([byte]), partial(asyncio.sleep, 0.1))]


def silence() -> Awaitable[object]:
    return asyncio.Event().wait()


class TestTime:
    @pytest.mark.parametrize(
        "script",
        [
            case("07-one-byte-at-a-time", drip(SIZED + PAGE)),
            case("07-headers-that-never-come", [silence]),
            case("07-headers-that-stall", [HEAD, silence]),
            case("07-body-that-stalls", [SIZED + PAGE[:100], silence]),
            case("07-body-that-stalls-after-a-chunk", [CHUNKED + chunk(PAGE), silence]),
        ],
    )
    async def test_an_answer_that_takes_too_long_is_given_up_in_time(self, bench: Bench, script: Script) -> None:
        async with raw_server(script) as server:
            error = await bench.error(server, TransportError, 2, timeout=0.2, attempts=2)
        assert "no answer within 0.2 s" in str(error)
        assert error.transient
        assert 2 * 0.2 <= bench.seconds < 10 * 0.2

    @only("14-malformed-chunk-after-the-headers")
    async def test_a_malformed_chunk_that_comes_later_ends_in_time_as_well(self, bench: Bench) -> None:
        """Aiohttp closes the connection, but does not tell the reader of the body."""
        script: Script = [CHUNKED, partial(asyncio.sleep, 0.05), b"nonsense\r\n"]
        async with raw_server(script) as server:
            await bench.error(server, TransportError, 2, timeout=0.2, attempts=2)

    @only("07-handshake-that-never-comes")
    async def test_a_handshake_that_takes_too_long_is_given_up_in_time(self, bench: Bench) -> None:
        async with raw_server(GOOD) as server:
            base_url = server.base_url.with_scheme("https")
            error = await bench.error(server, TransportError, 0, base_url=base_url, timeout=0.2, attempts=2)
        assert "no answer within 0.2 s" in str(error)
        assert 2 * 0.2 <= bench.seconds < 10 * 0.2


@pytest.mark.parametrize(
    "script",
    [
        case("14-two-content-lengths", HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        case("14-content-length-and-chunks", HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"),
        case("14-content-length-is-no-number", HEAD + b"Content-Length: two\r\n\r\n{}"),
        case("14-header-of-9-kb", HEAD + b"X: " + b"x" * 9_000 + b"\r\n" + SIZED),
        case("14-status-line-of-9-kb", b"HTTP/1.1 200 " + b"x" * 9_000 + b"\r\n\r\n"),
        case("14-chunks-size-is-no-number", CHUNKED + b"nonsense\r\n"),
        case("14-another-protocol", b"SSH-2.0-OpenSSH_9.6\r\n"),
        case("14-status-is-no-number", b"HTTP/1.1 OK\r\n\r\n"),
        case("14-no-status-line", PAGE),
        case("14-zeros", bytes(100)),
        case("14-echo-of-the-token", HEAD + b"X: \0" + TOKEN.encode() + b"\r\n\r\n"),
        case("14-echo-of-the-token-as-status-line", TOKEN.encode() + b"\r\n\r\n"),
    ],
)
async def test_what_is_not_http_is_never_reported_as_a_status(bench: Bench, script: bytes) -> None:
    async with raw_server(script) as server:
        error = await bench.error(server, ResponseError, 1)
    assert "not HTTP" in str(error)
    assert not error.transient
