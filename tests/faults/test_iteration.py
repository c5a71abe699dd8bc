"""Wrong ways to iterate: two tasks over the same stream, of which the first one loses nothing; a forgotten `async`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, Session, SessionStore, SuiteKey, Watch
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY

pytestmark = pytest.mark.fault

OTHER_KEY = SuiteKey("acme", "shop", "other")

Open = Callable[[BuddyClient, SessionStore], Any]
"""Opens a stream: an async iterator, which may also be an async context manager."""

STREAMS: dict[str, tuple[Open, int]] = {
    "sessions": (lambda buddy, _: aiter(buddy.sessions(KEY, per_page=20)), 120),
    "harvest": (lambda buddy, _: buddy.harvest([KEY, OTHER_KEY]), 130),
    "sync": (lambda buddy, store: store.sync(buddy, [KEY, OTHER_KEY]), 130),
    "watch": (lambda buddy, _: buddy.watch([KEY], interval=0.01), 5),
    "stored-watch": (lambda buddy, store: store.watch(buddy, [KEY], interval=0.01), 5),
}
"""With the number of their items."""


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    fake.suites[KEY].populate(117)
    fake.add_suite(*OTHER_KEY).populate(10)
    return fake


@pytest.mark.parametrize(("open_stream", "count"), STREAMS.values(), ids=STREAMS)
async def test_two_tasks_iterate_over_one_stream(
    buddy: BuddyClient, fake: FakeBuddy, open_stream: Open, count: int, tmp_path: Path
) -> None:
    if count == 5:
        # The first one exists when the watch starts, so it is not reported.
        fake.on_request = lambda _: fake.suites[KEY].create() if len(fake.suites[KEY].sessions) < 126 else None
    async with AsyncExitStack() as stack:
        stream = open_stream(buddy, await stack.enter_async_context(SessionStore(tmp_path / "sessions.db")))
        if hasattr(stream, "__aexit__"):
            await stack.enter_async_context(stream)

        async def next_session() -> Session:
            item = await anext(stream)
            session: Session = item[1] if isinstance(item, tuple) else getattr(item, "session", item)
            return session

        first = asyncio.create_task(next_session())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):  # the first task waits for an item
            await next_session()
        ids = {(await first).id, (await next_session()).id}
        if not isinstance(stream, AsyncGenerator):
            with pytest.raises(RuntimeError, match="another task is iterating over this"):
                await asyncio.create_task(next_session())
        ids |= {(await next_session()).id for _ in range(count - 2)}
    assert len(ids) == count


async def test_second_task_acknowledges_no_change(buddy: BuddyClient, fake: FakeBuddy, tmp_path: Path) -> None:
    """The first task has not handled its change yet, so the next watch reports it again."""
    suite = fake.suites[KEY]

    async def next_change(watch: Watch) -> int:
        return (await anext(watch)).session.relative_id

    async with SessionStore(tmp_path / "watch.db") as store:
        async with store.watch(buddy, [KEY], interval=0.01) as watch:
            fake.on_request = lambda _: suite.create() if len(suite.sessions) < 123 else None
            change = await next_change(watch)
            with pytest.raises(RuntimeError):
                await asyncio.create_task(next_change(watch))
        async with store.watch(buddy, [KEY], interval=0.01) as watch:
            assert await next_change(watch) == change


async def await_it(value: Any) -> None:
    await value


def enter(value: Any) -> None:
    with value:
        pass


@pytest.mark.parametrize(
    ("use", "make", "advice"),
    [
        (list, lambda buddy: buddy.sessions(KEY), "needs `async for` in place of `for`, or `await ….collect()`"),
        (list, lambda buddy: buddy.cases(KEY, "1"), "needs `async for` in place of `for`, or `await ….collect()`"),
        (list, lambda buddy: buddy.harvest([KEY]), "needs `async for` in place of `for`, or `await ….run()`"),
        (await_it, lambda buddy: buddy.sessions(KEY), "needs `async for`, or `await ….collect()` for all of it"),
        (await_it, lambda buddy: buddy.harvest([KEY]), "needs `async for`, or `await ….run()` for all of it"),
        (enter, lambda buddy: buddy.harvest([KEY]), "needs `async with`"),
        (enter, lambda buddy: buddy, "needs `async with`"),
    ],
)
async def test_forgotten_async(
    buddy: BuddyClient, use: Callable[[Any], Any], make: Callable[[BuddyClient], Any], advice: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(advice)):
        await use(make(buddy))
