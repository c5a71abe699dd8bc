"""The thread of a database: its calls, their outcomes, and what cancels them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, StoreError
from buddy_sessions.store.file import DatabaseFile, DatabaseThread
from buddy_sessions.store.sync_run import SyncRun


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
        release.wait(120)
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


FORK = """
import asyncio, os, sys
from datetime import timedelta
from buddy_sessions import BuddyClient, SessionStore, StoreError
from buddy_sessions.store.lock import hold_file

KEY, DAY = "acme/shop/a", timedelta(days=1)

async def report(name, call):
    try:
        await call
    except StoreError as error:
        print(name, error)

async def start(method):
    method(BuddyClient("token"), [KEY])

async def use(store):
    await report("open", store.open())
    await report("sessions", store.sessions(KEY))
    await report("prune", store.prune(older_than=DAY))
    await report("sync", start(store.sync))
    await report("watch", start(store.watch))
    await report("close", store.close())

async def prune(name, path, **options):
    async with SessionStore(path) as store:
        await report(name, store.prune(older_than=DAY, **options))

path = sys.argv[1]
store, loop, lock = SessionStore(path), asyncio.new_event_loop(), hold_file(path)
loop.run_until_complete(store.open())
loop.run_until_complete(lock.__aenter__())
if os.fork() == 0:
    asyncio.run(use(store))
    asyncio.run(prune("own", path))
    sys.stdout.flush()
    os._exit(0)
os.wait()
released = os.pipe()
if os.fork() == 0:
    asyncio.run(prune("own", path))
    os.read(released[0], 1)
    asyncio.run(prune("released", path))
    sys.stdout.flush()
    os._exit(0)
loop.run_until_complete(lock.__aexit__(None, None, None))
os.write(released[1], b"x")
os.wait()
loop.run_until_complete(prune("parent", path))
loop.run_until_complete(store.close())
"""


def test_fork_can_use_neither_store_nor_lock_of_its_parent(path: Path) -> None:
    """Each call names the cause at once."""
    result = subprocess.run([sys.executable, "-c", FORK, path], capture_output=True, text=True, timeout=120, check=True)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    methods = "open", "sessions", "prune", "sync", "watch", "close"
    message = f"this process was forked after the store {path} was opened: open a store in each process"
    assert lines[:6] == [f"{method} {message}" for method in methods]
    assert all(line.startswith(f"own another process is syncing or pruning {path}") for line in lines[6:])
