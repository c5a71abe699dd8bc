"""The thread of a database: its calls, their outcomes, and what cancels them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buddy_sessions.store.file import DatabaseFile
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
