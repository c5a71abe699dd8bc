from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stamina
import trustme
from yarl import URL

from buddy_sessions import (
    AuthenticationError,
    BadRequestError,
    BuddyClient,
    BuddyError,
    ClientClosedError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
    TransportError,
    pacing,
    transport,
)
from buddy_sessions.testing import FakeBuddy, Fault
from raw import answer, raw_server

TOKEN = "s3cr3t-t0ken"
KEY = ("acme", "shop", "MNbyVedg")
EMPTY = b'{"sessions": []}'


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy(token=TOKEN) as server:
        server.add_suite(*KEY).populate(3)
        yield server


async def read(base_url: URL, **options: Any) -> int:
    """Read the suite by a client of its own; return how many sessions came."""
    async with BuddyClient(TOKEN, base_url=base_url, **options) as buddy:
        return len(await buddy.sessions(*KEY).collect())


async def fail(base_url: URL, kind: type[BuddyError], **options: Any) -> BuddyError:
    """Read the suite; return the error, which is of that very kind and shows the token nowhere."""
    with pytest.raises(kind) as caught:
        await read(base_url, **options)
    error = caught.value
    assert type(error) is kind
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = "".join(report.format()) + repr(error) + str(error.args) + str(error.__dict__)
    assert TOKEN not in shown
    return error


async def test_a_request_says_who_asks_and_what_it_takes(fake: FakeBuddy) -> None:
    assert await read(fake.base_url) == 3
    (request,) = fake.requests
    assert (request.method, request.path) == (
        "GET",
        "/workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions",
    )
    assert request.query == {"page": "1", "per_page": "100"}
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["User-Agent"] == f"buddy_sessions/{transport.__version__}"
    assert request.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, StatusError),
        (501, ServerError),
    ],
)
async def test_a_status_that_no_attempt_can_cure_is_one_typed_error_at_once(
    fake: FakeBuddy, status: int, kind: type[StatusError]
) -> None:
    fake.inject(Fault.status(status, body=b'{"errors": [{"message": "not like this"}]}'), times=2)
    error = await fail(fake.base_url, kind, per_page=20)
    assert isinstance(error, StatusError)
    assert (error.status, error.messages, error.method) == (status, ("not like this",), "GET")
    assert error.url.startswith(str(fake.base_url))
    assert len(fake.requests) == 1


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_passing_failure_is_retried(fake: FakeBuddy, status: int) -> None:
    fake.inject(Fault.status(status), times=3)
    assert await read(fake.base_url) == 3
    assert len(fake.requests) == 4


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "fault",
    [
        Fault.disconnect(),
        Fault.truncate(after=100),
        Fault.body(b'{"sessions": [{"id"'),
        Fault.body(b""),
        Fault.body(b"\x1f\x8bnonsense", headers={"Content-Encoding": "gzip"}),
    ],
    ids=repr,
)
async def test_an_answer_that_came_to_harm_is_asked_for_again(fake: FakeBuddy, fault: Fault) -> None:
    fake.inject(fault)
    assert await read(fake.base_url) == 3


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Fault.status(500), ServerError), (Fault.status(503), ServerError), (Fault.truncate(9), TransportError)],
)
async def test_after_the_last_attempt_the_error_is_raised(
    fake: FakeBuddy, fault: Fault, kind: type[BuddyError]
) -> None:
    fake.inject(fault, times=10)
    error = await fail(fake.base_url, kind, attempts=3)
    assert error.transient
    assert len(fake.requests) == 3


async def test_a_single_attempt_is_not_repeated(fake: FakeBuddy) -> None:
    fake.inject(Fault.status(503))
    await fail(fake.base_url, ServerError, attempts=1)
    assert len(fake.requests) == 1


async def test_hosts_can_switch_retries_off(fake: FakeBuddy) -> None:
    fake.inject(Fault.status(503))
    stamina.set_active(False)
    try:
        await fail(fake.base_url, ServerError)
    finally:
        stamina.set_active(True)
    assert len(fake.requests) == 1


@pytest.mark.usefixtures("no_waiting")
async def test_a_failure_that_becomes_final_is_raised_at_once(fake: FakeBuddy) -> None:
    fake.inject(Fault.status(503), Fault.status(404))
    await fail(fake.base_url, NotFoundError)
    assert len(fake.requests) == 2


@pytest.mark.usefixtures("no_waiting")
async def test_a_page_of_a_proxy_is_asked_for_once_more_and_then_reported(fake: FakeBuddy) -> None:
    fake.inject(Fault.body(b"<html>", headers={"Content-Type": "text/html"}), times=9)
    error = await fail(fake.base_url, ResponseError)
    assert "<html>" in str(error)
    assert len(fake.requests) == 2


async def test_waiting_is_bounded_by_max_wait(fake: FakeBuddy) -> None:
    fake.rate_limit, fake.rate_window = 1, 3600.0
    assert await read(fake.base_url) == 3
    error = await fail(fake.base_url, RateLimitError, max_wait=60)
    assert isinstance(error, RateLimitError)
    assert error.status == 429
    assert error.messages == ("The API rate limit is exceeded",)  # what Buddy said, not what the gate would say
    assert error.retry_after is not None
    assert 3500 < error.retry_after < 3602
    assert error.reset_at is not None
    assert timedelta(seconds=3500) < error.reset_at - datetime.now(UTC) < timedelta(seconds=3602)
    assert len(fake.requests) == 2


async def test_a_rate_limit_is_waited_out_and_the_wait_is_told(
    fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "backoff", lambda retry: 0.01 * retry)
    monkeypatch.setattr(pacing, "_BACKOFF_BASE", 0.5)
    fake.inject(Fault.status(429, headers={"Retry-After": "0"}), Fault.status(503))
    async with BuddyClient(TOKEN, base_url=fake.base_url) as buddy:
        paginator = buddy.sessions(*KEY)
        assert len(await paginator.collect()) == 3
    stats = paginator.stats
    assert (stats.requests, stats.retries, stats.pages) == (3, 2, 1)
    # What is left of the pause of 0.5 s when the waiting begins, the 0.02 s after the 503, and at most 0.1 s of jitter.
    assert 0.4 < stats.waited <= 0.62


async def test_after_a_429_nobody_waits_longer_than_it_says(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "backoff", lambda retry: 1000.0)
    fake.inject(Fault.status(429, headers={"Retry-After": "0"}))
    assert await read(fake.base_url) == 3


@pytest.mark.usefixtures("no_waiting")
async def test_retries_that_succeed_do_not_use_up_the_quota(fake: FakeBuddy) -> None:
    async with BuddyClient(TOKEN, base_url=fake.base_url) as buddy:
        for _ in range(150):
            fake.inject(Fault.status(503))
            assert len(await buddy.sessions(*KEY).collect()) == 3


@pytest.mark.usefixtures("no_waiting")
async def test_a_quota_that_is_used_up_is_earned_back_by_successes(fake: FakeBuddy) -> None:
    async with BuddyClient(TOKEN, base_url=fake.base_url, attempts=5) as buddy:
        fake.inject(Fault.status(503), times=25 * 5 + 1)
        for _ in range(26):
            with pytest.raises(ServerError):
                await buddy.sessions(*KEY).collect()
        assert len(fake.requests) == 25 * 5 + 1
        for _ in range(5):
            await buddy.sessions(*KEY).collect()
        fake.inject(Fault.status(503))
        assert len(await buddy.sessions(*KEY).collect()) == 3


async def test_the_client_knows_what_the_last_answer_said_of_the_rate_limit(fake: FakeBuddy) -> None:
    async with BuddyClient(TOKEN, base_url=fake.base_url) as buddy:
        assert buddy.rate_limit is None
        await buddy.sessions(*KEY).collect()
        assert buddy.rate_limit is None
        fake.rate_limit = 50
        await buddy.sessions(*KEY).collect()
        assert buddy.rate_limit is not None
        assert (buddy.rate_limit.limit, buddy.rate_limit.remaining) == (50, 49)


@pytest.mark.parametrize("location", ["https://evil.example/", "/elsewhere", "file:///etc/passwd", None])
async def test_a_redirect_is_not_followed(fake: FakeBuddy, location: str | None) -> None:
    fake.inject(Fault.status(302, headers={"Location": location} if location else {}))
    error = await fail(fake.base_url, ResponseError)
    assert (location or "''") in str(error)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("status", [201, 204, 206])
async def test_another_success_than_200_is_no_answer(fake: FakeBuddy, status: int) -> None:
    fake.inject(Fault.status(status, body=b""))
    await fail(fake.base_url, ResponseError)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_what_is_not_http_is_never_reported_as_a_status(raw: bytes) -> None:
    async with raw_server(raw) as server:
        error = await fail(server.base_url, ResponseError)
    assert "not HTTP" in str(error)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("no_waiting")
async def test_chunks_without_their_end_are_asked_for_again() -> None:
    cut = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"sessi'
    async with raw_server(cut, answer(EMPTY)) as server:
        assert await read(server.base_url) == 0


async def test_json_without_a_content_type_is_fine() -> None:
    async with raw_server(answer(EMPTY)) as server:
        assert await read(server.base_url) == 0


async def test_a_compressed_answer_is_fine(fake: FakeBuddy) -> None:
    fake.compress = True
    assert await read(fake.base_url) == 3


@pytest.mark.parametrize("told", [True, False])
async def test_a_body_that_is_too_large_is_left_unread(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(transport, "MAX_BODY", 2**20)
    body = b" " * (2**20 + 1)
    whole = answer(body) if told else answer(gzip.compress(body), "Content-Encoding: gzip")
    async with raw_server(whole) as server:
        error = await fail(server.base_url, ResponseError)
    assert "too large: over 1 MiB" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("told", [True, False])
async def test_a_body_of_just_the_largest_size_is_read(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(transport, "MAX_BODY", 2**20)
    body = EMPTY.ljust(2**20)
    whole = answer(body) if told else answer(gzip.compress(body), "Content-Encoding: gzip")
    async with raw_server(whole) as server:
        assert await read(server.base_url) == 0


async def test_an_attempt_ends_with_its_time(fake: FakeBuddy) -> None:
    fake.inject(Fault.hang())
    error = await fail(fake.base_url, TransportError, timeout=0.05, attempts=1)
    assert "no answer within 0.05 s" in str(error)


async def test_nobody_listening_is_a_transport_error() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        error = await fail(URL(f"http://127.0.0.1:{port}"), TransportError, attempts=1)
    assert error.transient


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[FakeBuddy]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with FakeBuddy(token=TOKEN, ssl_context=context) as server:
        server.add_suite(*KEY)
        yield server


class TestTLS:
    async def test_a_context_of_the_callers_is_used(self, authority: trustme.CA, secure: FakeBuddy) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        assert await read(secure.base_url, ssl=context) == 0

    async def test_a_certificate_that_nobody_vouches_for_ends_it_at_once(self, secure: FakeBuddy) -> None:
        error = await fail(secure.base_url, TransportError)
        assert "TLS" in str(error)
        assert not error.transient
        assert not secure.requests

    async def test_plain_http_behind_https_ends_it_at_once(self, fake: FakeBuddy) -> None:
        error = await fail(fake.base_url.with_scheme("https"), TransportError)
        assert "TLS" in str(error)
        assert not fake.requests


class TestToken:
    async def test_a_callable_is_asked_when_needed_and_its_token_is_reused(self, fake: FakeBuddy) -> None:
        asked = 0

        async def token() -> str:
            nonlocal asked
            asked += 1
            return TOKEN

        async with BuddyClient(token, base_url=fake.base_url) as buddy:
            assert asked == 0
            await asyncio.gather(*(buddy.sessions(*KEY).collect() for _ in range(5)))
        assert asked == 1

    async def test_a_token_that_expired_is_asked_for_once_by_all_callers_together(self, fake: FakeBuddy) -> None:
        tokens = iter(["expired", TOKEN])

        async def token() -> str:
            await asyncio.sleep(0)
            return next(tokens)

        async with BuddyClient(token, base_url=fake.base_url) as buddy:
            lists = await asyncio.gather(*(buddy.sessions(*KEY).collect() for _ in range(5)))
        assert [len(sessions) for sessions in lists] == [3] * 5
        assert sum(request.status == 401 for request in fake.requests) <= 5

    async def test_a_token_that_stays_refused_is_asked_for_once_more_and_then_reported(self, fake: FakeBuddy) -> None:
        asked = 0

        async def token() -> str:
            nonlocal asked
            asked += 1
            return f"wrong-{asked}"

        async with BuddyClient(token, base_url=fake.base_url) as buddy:
            with pytest.raises(AuthenticationError):
                await buddy.sessions(*KEY).collect()
        assert asked == len(fake.requests) == 2

    async def test_what_a_callable_raises_comes_out_as_it_is(self, fake: FakeBuddy) -> None:
        async def token() -> str:
            raise LookupError("the vault is shut")

        async with BuddyClient(token, base_url=fake.base_url) as buddy:
            with pytest.raises(LookupError, match="vault"):
                await buddy.sessions(*KEY).collect()

    @pytest.mark.usefixtures("no_waiting")
    async def test_what_a_callable_raises_between_two_attempts_comes_out_as_it_is(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(503), Fault.status(401))
        tokens = [TOKEN]

        async def token() -> str:
            if not tokens:
                raise LookupError("the vault is shut")
            return tokens.pop()

        async with BuddyClient(token, base_url=fake.base_url) as buddy:
            with pytest.raises(LookupError, match="vault"):
                await buddy.sessions(*KEY).collect()
        assert len(fake.requests) == 2

    async def test_a_callable_that_is_not_async_is_refused(self, fake: FakeBuddy) -> None:
        token: Any = lambda: TOKEN  # noqa: E731 - this very mistake
        async with BuddyClient(token, base_url=fake.base_url) as buddy:
            with pytest.raises(ConfigError, match="async"):
                await buddy.sessions(*KEY).collect()

    @pytest.mark.parametrize("token", ["", "a b", "a\r\nHost: evil", "a\n", "\ttoken", "żeton", None, 7])
    def test_what_is_no_token_is_refused_and_not_repeated(self, token: Any) -> None:
        with pytest.raises(ConfigError, match="token") as caught:
            BuddyClient(token)
        assert str(token) not in str(caught.value) or not token


class TestSession:
    """Whose aiohttp session it is, and what happens when it is closed."""

    async def test_the_callers_session_is_used_and_left_as_it_was(self, fake: FakeBuddy) -> None:
        async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as session:
            headers = dict(session.headers)
            async with BuddyClient(TOKEN, base_url=fake.base_url, http_session=session) as buddy:
                assert len(await buddy.sessions(*KEY).collect()) == 3
                fake.inject(Fault.status(404))
                with pytest.raises(NotFoundError):
                    await buddy.sessions(*KEY).collect()
            assert not session.closed
            assert dict(session.headers) == headers
        assert fake.requests[0].headers["X-Mine"] == "1"

    async def test_a_session_with_credentials_of_its_own_is_refused(
        self, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hunter2")
        monkeypatch.setenv("NETRC", str(netrc))
        async with aiohttp.ClientSession(trust_env=True) as session:
            error = await fail(fake.base_url, ConfigError, http_session=session)
        assert "the aiohttp session cannot send this request" in str(error)
        assert not fake.requests

    async def test_a_session_that_is_closed_before_is_named(self, fake: FakeBuddy) -> None:
        session = aiohttp.ClientSession()
        await session.close()
        error = await fail(fake.base_url, ClientClosedError, http_session=session)
        assert "borrowed" in str(error)

    async def test_a_session_that_is_closed_in_flight_is_named(self, fake: FakeBuddy) -> None:
        session = aiohttp.ClientSession()
        fake.on_request = lambda _: asyncio.create_task(session.close())
        fake.inject(Fault.stall(0.05))
        await fail(fake.base_url, ClientClosedError, http_session=session)

    async def test_a_closed_client_says_so(self, fake: FakeBuddy) -> None:
        buddy = BuddyClient(TOKEN, base_url=fake.base_url)
        await buddy.sessions(*KEY).collect()
        await buddy.close()
        await buddy.close()
        with pytest.raises(ClientClosedError, match="the client is closed"):
            await buddy.sessions(*KEY).collect()

    async def test_no_more_requests_are_in_flight_than_max_concurrency(self, fake: FakeBuddy) -> None:
        fake.latency = 0.01
        async with BuddyClient(TOKEN, base_url=fake.base_url, max_concurrency=3) as buddy:
            await asyncio.gather(*(buddy.sessions(*KEY).collect() for _ in range(20)))
        assert fake.max_in_flight == 3

    async def test_max_concurrency_may_be_more_than_the_hundred_connections_of_aiohttp(self, fake: FakeBuddy) -> None:
        fake.inject(Fault.hang(), times=120)
        async with (
            BuddyClient(TOKEN, base_url=fake.base_url, max_concurrency=120) as buddy,
            asyncio.timeout(10),
            asyncio.TaskGroup() as group,
        ):
            walks = [group.create_task(buddy.sessions(*KEY).collect()) for _ in range(120)]
            while fake.in_flight < 120:
                await asyncio.sleep(0.001)
            for walk in walks:
                walk.cancel()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


async def test_each_request_is_one_debug_line_without_the_token(fake: FakeBuddy, log: pytest.LogCaptureFixture) -> None:
    await read(fake.base_url)
    (line,) = [record.getMessage() for record in log.records if record.name == "buddy_sessions"]
    assert line.startswith(
        "GET /workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions?page=1&per_page=100 200 "
    )
    assert line.endswith(" bytes")
    assert TOKEN not in log.text


@pytest.mark.usefixtures("no_waiting")
async def test_a_failed_request_is_logged_too(fake: FakeBuddy, log: pytest.LogCaptureFixture) -> None:
    fake.inject(Fault.disconnect(), times=2)  # aiohttp itself repeats a GET once
    await read(fake.base_url)
    assert "failed after" in log.text
    assert TOKEN not in log.text


async def test_what_a_server_repeats_of_the_token_is_hidden(fake: FakeBuddy) -> None:
    fake.inject(Fault.status(403, body=f'{{"errors": [{{"message": "bad token {TOKEN}!"}}]}}'.encode()))
    error = await fail(fake.base_url, ForbiddenError)
    assert isinstance(error, ForbiddenError)
    assert error.messages == ("bad token ***!",)


async def test_cancelling_a_request_is_never_turned_into_anything_else(fake: FakeBuddy) -> None:
    fake.inject(Fault.hang())
    async with BuddyClient(TOKEN, base_url=fake.base_url) as buddy:
        task = asyncio.create_task(buddy.sessions(*KEY).collect())
        while not fake.in_flight:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert TOKEN not in "".join(report.format())
        assert len(await buddy.sessions(*KEY).collect()) == 3
