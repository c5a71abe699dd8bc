"""The thread of a database: its calls, their outcomes, and what cancels them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, StoreError
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.sync_run import SyncRun
from buddy_sessions.store.thread import DatabaseThread


@pytest.fixture
async def thread(path: Path) -> AsyncIterator[DatabaseThread]:
    opened = DatabaseThread(str(path))
    await opened.open()
    yield opened
    await opened.close()


async def test_call_that_has_not_begun_is_cancelled_with_its_caller(thread: DatabaseThread) -> None:
    started, release, done = threading.Event(), threading.Event(), list[str]()

    def wait(_file: DatabaseFile) -> None:
        started.set()
        release.wait(20)
        done.append("begun")

    begun, waiting, other = (
        asyncio.create_task(thread.run(call)) for call in (wait, lambda _: done.append("waiting"), lambda _: 7)
    )
    while not started.is_set():
        await asyncio.sleep(0)
    begun.cancel()
    waiting.cancel()
    await asyncio.sleep(0)  # until then, the cancellation is only requested
    release.set()
    assert await other == 7
    assert done == ["begun"]


async def test_value_that_cannot_be_saved_fails_only_its_call(thread: DatabaseThread) -> None:
    """Whatever constraint or encoding it breaks: the calls for other suites continue."""

    def insert(file: DatabaseFile, value: object) -> None:
        file.execute("CREATE TABLE IF NOT EXISTS texts (value TEXT NOT NULL UNIQUE)")
        file.execute("INSERT INTO texts VALUES (?)", (value,))

    sync = SyncRun(BuddyClient("token"), thread)
    values = ["a", "a", None, "half \ud83d a pair", 2**63, "b"]
    outcomes = await asyncio.gather(*(sync.call(insert, value) for value in values), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), *[StoreError] * 4, type(None)]
