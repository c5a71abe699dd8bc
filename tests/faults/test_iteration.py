"""Two tasks that iterate over the same stream: the second one gets an error, and the first one loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, Session, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, TOKEN, CheckedReader

pytestmark = pytest.mark.fault

OTHER_KEY = SuiteKey("acme", "shop", "other")
KEYS = [KEY, OTHER_KEY]

Open = Callable[[BuddyClient, SessionStore], Any]
"""Opens a stream: an async iterator, which may also be an async context manager."""

READS: dict[str, Open] = {
    "sessions": lambda buddy, _: aiter(buddy.sessions(KEY, per_page=20)),
    "pages": lambda buddy, _: buddy.sessions(KEY, per_page=20).pages(),
    "harvest": lambda buddy, _: buddy.harvest(KEYS),
    "harvest-pages": lambda buddy, _: buddy.harvest(KEYS).pages(),
    "sync": lambda buddy, store: store.sync(buddy, KEYS),
}
WATCHES: dict[str, Open] = {
    "watch": lambda buddy, _: buddy.watch(KEYS, interval=0.01),
    "stored-watch": lambda buddy, store: store.watch(buddy, KEYS, interval=0.01),
}


@asynccontextmanager
async def opened(open_stream: Open, buddy: BuddyClient, path: Path) -> AsyncIterator[AsyncIterator[Any]]:
    async with AsyncExitStack() as stack:
        stream: Any = open_stream(buddy, await stack.enter_async_context(SessionStore(path)))
        if hasattr(stream, "__aexit__"):
            await stack.enter_async_context(stream)
        yield stream


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    fake.token = TOKEN
    fake.latency = 0.001
    for key in KEYS:
        fake.add_suite(*key).populate(120)
    return fake


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


@pytest.mark.parametrize("name", READS)
async def test_two_tasks_iterate_over_one_read(
    reader: CheckedReader, fake: FakeBuddy, name: str, tmp_path: Path
) -> None:
    async def read(buddy: BuddyClient) -> list[Session]:
        async with opened(READS[name], buddy, tmp_path / "sessions.db") as stream:
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
    suites = [KEY] if name in ("sessions", "pages") else KEYS
    expected = {session["id"] for key in suites for session in fake.suites[key].sessions}
    assert len(ids) == len(set(ids))
    assert set(ids) == expected


@pytest.mark.parametrize("name", WATCHES)
async def test_two_tasks_iterate_over_one_watch(
    reader: CheckedReader, fake: FakeBuddy, name: str, tmp_path: Path
) -> None:
    async def watch(buddy: BuddyClient) -> list[Session]:
        async with opened(WATCHES[name], buddy, tmp_path / "watch.db") as stream:
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
