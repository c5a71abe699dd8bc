"""A token callable that hangs, raises, is cancelled, or returns tokens that the server rejects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from buddy_sessions import AuthenticationError, BuddyClient, Cursor, Session, TransportError
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY, TOKEN, CheckedReader, assert_nothing_left_open, concurrent_reads

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]


class TokenSource:
    """A token callable that awaits one of these functions per call; the last one is repeated."""

    def __init__(self, *functions: Callable[[], Awaitable[str]]) -> None:
        self.calls = 0
        self._functions = functions

    async def __call__(self) -> str:
        self.calls += 1
        return await self._functions[min(self.calls, len(self._functions)) - 1]()


async def hang() -> str:
    return await asyncio.Future[str]()


async def cancelled() -> str:
    inner = asyncio.create_task(hang())
    asyncio.get_running_loop().call_later(1, inner.cancel)
    return await inner


async def give(token: str) -> str:
    await asyncio.sleep(1)
    return token


async def fail() -> str:
    raise LookupError("the vault is locked")


async def time_out() -> str:
    raise TimeoutError("the vault is slow")


@pytest.mark.parametrize(
    ("function", "error_type", "message", "seconds"),
    [
        (hang, TransportError, "the token callable did not return within 30s", 30),
        (cancelled, TransportError, "the token callable was cancelled", 1),
        (fail, LookupError, "the vault is locked", 0),
        (time_out, TimeoutError, "the vault is slow", 0),
    ],
)
async def test_callable_fails(
    reader: CheckedReader,
    fake: FakeBuddy,
    function: Callable[[], Awaitable[str]],
    error_type: type[Exception],
    message: str,
    seconds: float,
) -> None:
    """It is called once for all tasks, none of which waits longer than `timeout`. Its own error is raised unchanged."""

    async def read_again(buddy: BuddyClient) -> list[Session]:
        started = asyncio.get_running_loop().time()
        with pytest.raises(error_type, match=f"^{message}$"):
            await concurrent_reads(100)(buddy)
        assert source.calls == 1
        assert asyncio.get_running_loop().time() == pytest.approx(started + seconds)
        return await concurrent_reads(100)(buddy)

    source = TokenSource(function, partial(give, TOKEN))
    assert len(await reader.read(fake, requests=100, token=source, function=read_again)) == 100 * 3
    assert source.calls == 2


async def test_each_read_has_its_own_cursor(fake: FakeBuddy) -> None:
    async with BuddyClient(hang, base_url=fake.base_url) as buddy:
        cursors = [Cursor(number, 0) for number in (3, 2)]
        reads = (buddy.sessions(KEY, cursor=cursor).collect() for cursor in cursors)
        errors = await asyncio.gather(*reads, return_exceptions=True)
    assert [error.cursor for error in errors if isinstance(error, TransportError)] == cursors


async def test_one_caller_is_cancelled(reader: CheckedReader, fake: FakeBuddy) -> None:
    """The call goes on for the others."""

    async def cancel_first(buddy: BuddyClient) -> list[Session]:
        first, second = (asyncio.create_task(buddy.sessions(KEY).collect()) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        return await second

    source = TokenSource(partial(give, TOKEN))
    assert len(await reader.read(fake, requests=1, token=source, function=cancel_first)) == 3
    assert source.calls == 1
    assert reader.seconds == pytest.approx(1)


async def test_all_callers_are_cancelled(fake: FakeBuddy) -> None:
    """The call is cancelled as well: none of them waits for a slow token."""
    started = asyncio.get_running_loop().time()
    async with assert_nothing_left_open(), BuddyClient(hang, base_url=fake.base_url) as buddy:
        tasks = [asyncio.create_task(buddy.sessions(KEY).collect()) for _ in range(3)]
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
    assert asyncio.get_running_loop().time() == pytest.approx(started + 1)


async def test_every_token_is_rejected(reader: CheckedReader, fake: FakeBuddy) -> None:
    """The callable is called once more for all calls of a minute, also for later ones."""

    async def read_again_and_again(buddy: BuddyClient) -> list[Session]:
        for _ in range(5):
            with pytest.raises(AuthenticationError):
                await concurrent_reads(100)(buddy)
        assert source.calls == 2
        await asyncio.sleep(60)
        fake.token = "third"
        return await buddy.sessions(KEY).collect()

    fake.token = "none of them"
    source = TokenSource(partial(give, "first"), partial(give, "second"), partial(give, "third"))
    sessions = await reader.read(fake, requests=range(500, 602 + 2), token=source, function=read_again_and_again)
    assert (len(sessions), source.calls) == (3, 3)


async def test_tokens_that_expire_again_and_again(reader: CheckedReader, fake: FakeBuddy) -> None:
    """After a success, a token is renewed at once."""

    async def read_5_times(buddy: BuddyClient) -> list[Session]:
        sessions: list[Session] = []
        for _ in range(5):
            fake.inject(Fault.status(401))
            sessions = await buddy.sessions(KEY).collect()
        return sessions

    source = TokenSource(partial(give, TOKEN))
    await reader.read(fake, requests=10, token=source, function=read_5_times)
    assert source.calls == 6


async def test_call_tries_one_new_token(reader: CheckedReader, fake: FakeBuddy) -> None:
    """Also if its responses take longer than the minute between two renewals."""
    fake.token, fake.latency = "third", 70.0
    source = TokenSource(partial(give, "first"), partial(give, "second"), partial(give, "third"))
    await reader.fail(fake, AuthenticationError, requests=2, token=source, timeout=100)
    assert source.calls == 2
