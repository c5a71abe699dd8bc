"""503 with `Retry-After`, and servers that are down for a while."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest
from yarl import URL

from buddy_sessions import BuddyClient, RateLimitError, ServerError, Session
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader, assert_nothing_left_open
from helpers.raw_server import http_response, raw_server

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]

GOOD = http_response(PAGE)
BODY = b'{"errors": [{"message": "Maintenance"}]}'


def response_503(*headers: str) -> bytes:
    return http_response(BODY, *headers, status="503 Service Unavailable")


async def test_503_with_retry_after(reader: CheckedReader) -> None:
    """The client waits as long as the server asks. This is no attempt."""
    async with raw_server(response_503("Retry-After: 30"), GOOD) as server:
        assert len(await reader.read(server, requests=2, max_attempts=1)) == 3
    assert reader.stats.waited == pytest.approx(30, abs=1)
    (message,) = [record.getMessage() for record in reader.log.records if record.levelname == "WARNING"]
    assert message == "the server is unavailable (503): the next request is sent in 30.0 s"


async def test_503_with_retry_after_0_for_ever(reader: CheckedReader) -> None:
    """The pauses double, so this ends within `max_wait`."""
    async with raw_server(response_503("Retry-After: 0")) as server:
        error = await reader.fail(server, ServerError, requests=4, max_wait=5)
    assert reader.seconds == pytest.approx(0.5 + 1 + 2, abs=0.1)
    assert (error.messages, error.retryable) == (("Maintenance",), True)


async def test_503_with_retry_after_beyond_max_wait(reader: CheckedReader) -> None:
    async with raw_server(response_503("Retry-After: 3600")) as server:
        await reader.fail(server, ServerError, requests=1, max_wait=60)
    assert reader.seconds < 1


async def test_503_with_retry_after_pauses_all_callers(reader: CheckedReader) -> None:
    async def read_often(buddy: BuddyClient) -> list[Session]:
        results = await asyncio.gather(*(buddy.sessions(KEY).collect() for _ in range(50)))
        return [session for result in results for session in result]

    async with raw_server(response_503("Retry-After: 30"), GOOD) as server:
        assert len(await reader.read(server, requests=51, function=read_often, max_concurrency=1)) == 50 * 3
    assert reader.seconds == pytest.approx(30, abs=1)


async def test_503_with_retry_after_rejects_callers_that_cannot_wait(reader: CheckedReader) -> None:
    async def read_twice(buddy: BuddyClient) -> list[Session]:
        with pytest.raises(ServerError):
            await buddy.sessions(KEY).collect()
        return await buddy.sessions(KEY).collect()

    async with raw_server(response_503("Retry-After: 60")) as server:
        error = await reader.fail(server, RateLimitError, requests=1, function=read_twice, max_wait=30)
    assert str(error).startswith("the server permits no request for 60.0 s")


@pytest.mark.parametrize("header", ["Retry-After: soon", "X-Rate-Limit-Reset: 4000000000"])
async def test_503_without_a_valid_retry_after(reader: CheckedReader, header: str) -> None:
    """It is a failed attempt, as without these headers."""
    async with raw_server(response_503(header)) as server:
        await reader.fail(server, ServerError, requests=3)


async def test_slow_shared_limiter_leaves_time_for_retries(reader: CheckedReader) -> None:
    class SlowLimiter:
        async def acquire(self) -> None:
            await asyncio.sleep(100)

    async with raw_server(response_503(), response_503("Retry-After: 3"), response_503(), GOOD) as server:
        assert len(await reader.read(server, requests=4, max_wait=10, limiter=SlowLimiter())) == 3
    assert reader.seconds == pytest.approx(400)
    assert reader.stats.waited == pytest.approx(reader.seconds)


async def respond(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        writer.write(GOOD)


async def test_server_is_down_for_3_seconds(
    record_property: Callable[[str, object], None], caplog: pytest.LogCaptureFixture
) -> None:
    """With the default settings, the retries take longer than that."""

    async def start_late(listener: socket.socket) -> None:
        await asyncio.sleep(3)
        async with await asyncio.start_server(respond, sock=listener) as server:
            await server.serve_forever()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # until it listens, connections are refused
        base_url = URL(f"http://127.0.0.1:{listener.getsockname()[1]}")
        outage = asyncio.create_task(start_late(listener))
        async with assert_nothing_left_open(), BuddyClient(TOKEN, base_url=base_url) as buddy:
            started = asyncio.get_running_loop().time()
            paginator = buddy.sessions(KEY)
            assert len(await paginator.collect()) == 3
            record_property("seconds", asyncio.get_running_loop().time() - started)
        outage.cancel()
        await asyncio.wait([outage])
    record_property("requests", paginator.stats.requests)
    assert 3 <= paginator.stats.waited < 6
    warnings = [record.getMessage() for record in caplog.records if record.name == "buddy_sessions"]
    assert len(warnings) == paginator.stats.retries
    assert all(f"cannot connect to 127.0.0.1:{base_url.port} (connection refused)" in warning for warning in warnings)
