"""Clients that are closed too early, used in a second event loop, thread or process, or get a bad argument."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import aiohttp
import pytest
import trio

from buddy_sessions import AuthenticationError, BuddyClient, BuddyError, ClientClosedError, ConfigError, Session
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY, TOKEN, CheckedReader

pytestmark = pytest.mark.fault

OTHER_LOOP = "^the client was first used in another event loop"


@pytest.fixture
def client() -> Iterator[BuddyClient]:
    """A client that has read from a server in an event loop that is still open."""

    async def use() -> BuddyClient:
        async with FakeBuddy(token=TOKEN) as fake:
            fake.add_suite(*KEY).populate(3)
            buddy = BuddyClient(TOKEN, base_url=fake.base_url)
            assert len(await buddy.sessions(KEY).collect()) == 3
        return buddy

    with asyncio.Runner() as runner:
        buddy = runner.run(use())
        yield buddy
        runner.run(buddy.close())


async def read(buddy: BuddyClient) -> None:
    await buddy.sessions(KEY).collect()


async def enter(buddy: BuddyClient) -> None:
    async with buddy:
        pass


async def harvest(buddy: BuddyClient) -> None:
    await buddy.harvest([KEY]).run()


async def watch(buddy: BuddyClient) -> None:
    async with asyncio.timeout(120), buddy.watch([KEY]) as changes:
        await anext(changes)


async def read_in_a_thread(buddy: BuddyClient) -> None:
    await asyncio.to_thread(asyncio.run, read(buddy))


USES = [read, harvest, watch, enter, BuddyClient.close]


@pytest.mark.parametrize("use", [*USES, read_in_a_thread])
def test_second_event_loop(client: BuddyClient, use: Callable[[BuddyClient], Coroutine[Any, Any, None]]) -> None:
    with pytest.raises(ConfigError, match=OTHER_LOOP):
        asyncio.run(use(client))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("use", USES)
def test_after_a_fork(client: BuddyClient, use: Callable[[BuddyClient], Coroutine[Any, Any, None]]) -> None:
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(use(client))
        except (BuddyError, TimeoutError) as error:
            os.write(sender, str(error).encode())
        finally:
            os._exit(0)
    os.close(sender)
    os.waitpid(pid, 0)
    with open(receiver, "rb") as pipe:
        assert pipe.read() == b"this process was forked after the client was used: create a client in each process"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda buddy: buddy, id="client"),
        pytest.param(lambda buddy: buddy.sessions(KEY), id="sessions"),
        pytest.param(lambda buddy: buddy.harvest([KEY]), id="harvest"),
        pytest.param(lambda buddy: buddy.watch([KEY]), id="watch"),
    ],
)
def test_pickle_is_refused(make: Callable[[BuddyClient], object]) -> None:
    """It would contain the token."""
    with pytest.raises(TypeError, match="create a client in each process"):
        pickle.dumps(make(BuddyClient(TOKEN)))


@pytest.mark.parametrize("use", [read, harvest, enter])
def test_trio(use: Callable[[BuddyClient], Awaitable[None]]) -> None:
    with pytest.raises(ConfigError, match=r"^no asyncio event loop is running: "):
        trio.run(use, BuddyClient(TOKEN))


async def test_session_closed_before(reader: CheckedReader, fake: FakeBuddy) -> None:
    session = aiohttp.ClientSession()
    await session.close()
    error = await reader.fail(fake, ClientClosedError, requests=0, http_session=session)
    assert "borrowed" in str(error)
    assert reader.stats.requests == 0


@pytest.mark.parametrize("is_borrowed", [False, True], ids=["client", "session"])
async def test_closed_in_flight(reader: CheckedReader, fake: FakeBuddy, is_borrowed: bool) -> None:
    async with aiohttp.ClientSession() as session:

        async def close_while_reading(buddy: BuddyClient) -> list[Session]:
            fake.on_request = lambda _: asyncio.create_task(session.close() if is_borrowed else buddy.close())
            return await buddy.sessions(KEY).collect()

        fake.inject(Fault.hang())
        options = {"function": close_while_reading, "http_session": session if is_borrowed else None}
        error = await reader.fail(fake, ClientClosedError, requests=1, **options)
    assert "in flight" in str(error)


async def test_nested_read_with_one_connection(reader: CheckedReader, fake: FakeBuddy) -> None:
    async def read_nested(buddy: BuddyClient) -> list[Session]:
        return [inner async for _ in buddy.sessions(KEY, per_page=1) async for inner in buddy.sessions(KEY, per_page=1)]

    assert len(await reader.read(fake, requests=12, function=read_nested, max_concurrency=1)) == 9


async def test_only_the_names_of_a_url_are_used(reader: CheckedReader, fake: FakeBuddy) -> None:
    """The client reads from its own server, which may reject the token of another region."""

    async def read(buddy: BuddyClient) -> list[Session]:
        return await buddy.sessions("https://evil.example/acme/shop/unit-tests/MNbyVedg").collect()

    assert len(await reader.read(fake, requests=1, function=read)) == 3
    error = await reader.fail(fake, AuthenticationError, requests=1, function=read, token="t0ken-of-a-region")
    assert "a token of one region is not valid in another" in str(error)


async def token_with_line_break() -> str:
    return f"{TOKEN}\r\nHost:evil"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"token": f"{TOKEN}\r\nHost:evil"}, id="line-break-in-token"),
        pytest.param({"token": f"{TOKEN} "}, id="space-in-token"),
        pytest.param({"token": f"{TOKEN}ż"}, id="token-beyond-ascii"),
        pytest.param({"token": ""}, id="empty-token"),
        pytest.param({"token": token_with_line_break}, id="callable-returns-a-line-break"),
        pytest.param({"token": lambda: TOKEN}, id="callable-not-async"),
        pytest.param({"base_url": "http://buddy.example.com"}, id="http-off-loopback"),
    ],
)
async def test_invalid_client_argument(reader: CheckedReader, fake: FakeBuddy, options: dict[str, Any]) -> None:
    await reader.fail(fake, ConfigError, requests=0, **options)
