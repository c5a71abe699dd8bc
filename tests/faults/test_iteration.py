"""Two tasks that iterate over the same stream: the second one gets an error, and the first one loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, Session, SessionStore, SuiteKey, Watch
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, TOKEN, CheckedReader

pytestmark = pytest.mark.fault

OTHER_KEY = SuiteKey("acme", "shop", "other")
KEYS = [KEY, OTHER_KEY]

Open = Callable[[BuddyClient, SessionStore], Any]
"""Opens a stream: an async iterator, which may also be an async context manager."""

STREAMS: dict[str, Open] = {
    "sessions": lambda buddy, _: aiter(buddy.sessions(KEY, per_page=20)),
    "pages": lambda buddy, _: buddy.sessions(KEY, per_page=20).pages(),
    "harvest": lambda buddy, _: buddy.harvest(KEYS),
    "harvest-pages": lambda buddy, _: buddy.harvest(KEYS).pages(),
    "sync": lambda buddy, store: store.sync(buddy, KEYS),
    "watch": lambda buddy, _: buddy.watch([KEY], interval=0.01),
    "stored-watch": lambda buddy, store: store.watch(buddy, [KEY], interval=0.01),
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
    fake.latency = 0.001
    fake.suites[KEY].populate(117)
    fake.add_suite(*OTHER_KEY).populate(120)
    return fake


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


@pytest.mark.parametrize("name", STREAMS)
async def test_two_tasks_iterate_over_one_stream(
    reader: CheckedReader, fake: FakeBuddy, name: str, tmp_path: Path
) -> None:
    suite, is_watch = fake.suites[KEY], "watch" in name
    if is_watch:
        fake.on_request = lambda _: suite.create()

    async def read(buddy: BuddyClient) -> list[Session]:
        async def next_item() -> Any:
            return await anext(stream)

        async with opened(STREAMS[name], buddy, tmp_path / "sessions.db") as stream:
            first = asyncio.create_task(next_item())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError):  # the first task waits for an item
                await anext(stream)
            items = [await first]
            del first
            items.append(await anext(stream))
            if not isinstance(stream, AsyncGenerator):
                with pytest.raises(RuntimeError, match="another task is iterating over this"):
                    await asyncio.create_task(next_item())
            if is_watch:
                items += [await anext(stream) for _ in range(3)]
            else:
                items += [item async for item in stream]
        return [session for item in items for session in sessions_of(item)]

    sessions = await reader.read(fake, requests=range(1, 1000), function=read)
    if is_watch:
        first_id = sessions[0].relative_id
        assert [session.relative_id for session in sessions] == list(range(first_id, first_id + 5))
    else:
        ids = [session.id for session in sessions]
        suites = [KEY] if name in ("sessions", "pages") else KEYS
        assert len(ids) == len(set(ids))
        assert set(ids) == {session["id"] for key in suites for session in fake.suites[key].sessions}


async def test_second_task_acknowledges_no_change(fake: FakeBuddy, tmp_path: Path) -> None:
    """The first task has not handled its change yet, so the next watch reports it again."""
    suite = fake.suites[KEY]
    async with BuddyClient(TOKEN, base_url=fake.base_url) as buddy, SessionStore(tmp_path / "watch.db") as store:

        async def next_change(watch: Watch) -> int:
            return (await anext(watch)).session.relative_id

        async with store.watch(buddy, [KEY], interval=0.01) as watch:
            fake.on_request = lambda _: suite.create() if len(suite.sessions) < 123 else None
            change = await next_change(watch)
            with pytest.raises(RuntimeError):
                await asyncio.create_task(next_change(watch))
        async with store.watch(buddy, [KEY], interval=0.01) as watch:
            assert await next_change(watch) == change
