"""Two tasks that iterate over the same stream: the second one gets an error, and the first one loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, Session, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, TOKEN, CheckedReader

pytestmark = pytest.mark.fault

OTHER_KEY = SuiteKey("acme", "shop", "other")
KEYS = [KEY, OTHER_KEY]

Open = Callable[[BuddyClient, AsyncExitStack, Path], Awaitable[AsyncIterator[Any]]]
"""Opens a stream. The stack closes it."""


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    fake.token = TOKEN
    fake.latency = 0.001
    for key in KEYS:
        fake.add_suite(*key).populate(120)
    return fake


async def open_sessions(buddy: BuddyClient, _stack: AsyncExitStack, _path: Path) -> AsyncIterator[Any]:
    return aiter(buddy.sessions(KEY, per_page=20))


async def open_pages(buddy: BuddyClient, _stack: AsyncExitStack, _path: Path) -> AsyncIterator[Any]:
    return buddy.sessions(KEY, per_page=20).pages()


async def open_harvest(buddy: BuddyClient, stack: AsyncExitStack, _path: Path) -> AsyncIterator[Any]:
    return await stack.enter_async_context(buddy.harvest(KEYS))


async def open_harvest_pages(buddy: BuddyClient, stack: AsyncExitStack, _path: Path) -> AsyncIterator[Any]:
    harvest = await stack.enter_async_context(buddy.harvest(KEYS))
    return harvest.pages()


async def open_sync(buddy: BuddyClient, stack: AsyncExitStack, path: Path) -> AsyncIterator[Any]:
    store = await stack.enter_async_context(SessionStore(path))
    return await stack.enter_async_context(store.sync(buddy, KEYS))


async def open_watch(buddy: BuddyClient, stack: AsyncExitStack, _path: Path) -> AsyncIterator[Any]:
    return await stack.enter_async_context(buddy.watch(KEYS, interval=0.01))


async def open_stored_watch(buddy: BuddyClient, stack: AsyncExitStack, path: Path) -> AsyncIterator[Any]:
    store = await stack.enter_async_context(SessionStore(path))
    return await stack.enter_async_context(store.watch(buddy, KEYS, interval=0.01))


async def next_item(stream: AsyncIterator[Any]) -> Any:
    return await anext(stream)


def sessions_of(item: Any) -> list[Session]:
    """Return the sessions of an item of any stream: a session, a page, a pair or a change."""
    match item:
        case Session():
            return [item]
        case (_, Session() as session):
            return [session]
        case _ if hasattr(item, "sessions"):
            return list(item.sessions)
        case _:
            return [item.session]


READS = [open_sessions, open_pages, open_harvest, open_harvest_pages, open_sync]
WATCHES = [open_watch, open_stored_watch]


def name_of(function: Open) -> str:
    return function.__name__.removeprefix("open_").replace("_", "-")


@pytest.mark.parametrize("open_stream", READS, ids=name_of)
async def test_two_tasks_iterate_over_one_read(
    reader: CheckedReader, fake: FakeBuddy, open_stream: Open, tmp_path: Path
) -> None:
    async def read(buddy: BuddyClient) -> list[Session]:
        async with AsyncExitStack() as stack:
            stream = await open_stream(buddy, stack, tmp_path / "sessions.db")
            first = asyncio.create_task(next_item(stream))
            await asyncio.sleep(0)
            for _ in range(3):
                with pytest.raises(RuntimeError):
                    await anext(stream)
            items = [await first]
            del first
            items += [item async for item in stream]
        return [session for item in items for session in sessions_of(item)]

    sessions = await reader.read(fake, requests=range(4, 16), function=read)
    ids = [session.id for session in sessions]
    suites = [KEY] if open_stream in (open_sessions, open_pages) else KEYS
    expected = {session["id"] for key in suites for session in fake.suites[key].sessions}
    assert len(ids) == len(set(ids))
    assert set(ids) == expected


@pytest.mark.parametrize("open_stream", WATCHES, ids=name_of)
async def test_two_tasks_iterate_over_one_watch(
    reader: CheckedReader, fake: FakeBuddy, open_stream: Open, tmp_path: Path
) -> None:
    async def watch(buddy: BuddyClient) -> list[Session]:
        async with AsyncExitStack() as stack:
            stream = await open_stream(buddy, stack, tmp_path / "watch.db")
            first = asyncio.create_task(next_item(stream))
            async with asyncio.timeout(10):
                while len(fake.requests) < 8:  # each first round takes up to three requests
                    await asyncio.sleep(0.001)
            suite = fake.suites[KEY]
            for _ in range(5):
                suite.create()
            with pytest.raises(RuntimeError, match="another task is iterating over this watch"):
                await anext(stream)
            items = [await first]
            del first
            items += [await anext(stream) for _ in range(4)]
        return [session for item in items for session in sessions_of(item)]

    sessions = await reader.read(fake, requests=range(8, 1000), function=watch)
    assert [session.relative_id for session in sessions] == [121, 122, 123, 124, 125]
