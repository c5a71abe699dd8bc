"""One writer for a file: which processes and stores wait for each other, and which are refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import frozen

from buddy_sessions import HarvestError, SessionStore, StoreError
from helpers.stores import KEY, OTHER_KEY, SyncedSuite, create_finished, query, sync

PROGRAM = """
import asyncio, os, sys
from contextlib import AsyncExitStack
from buddy_sessions import StoreError
from buddy_sessions.store.lock import lock_file, lock_watch

async def main(path):
    async with AsyncExitStack() as held:
        for line in sys.stdin:
            await held.aclose()
            try:
                if line == "lock\\n":
                    await held.enter_async_context(lock_file(path))
                elif line == "watch\\n":
                    await held.enter_async_context(lock_watch(path, "changes", "default"))
            except StoreError:
                line = "refused\\n"
            os.write(1, line.encode())

asyncio.run(main(sys.argv[1]))
"""

BUSY = r"another process is syncing or pruning .*sessions\.db: try again when it has finished, or wait for it"


@frozen
class OtherProcess:
    """Another process, which takes the lock of the file, and releases it."""

    process: Process

    async def try_to_lock(self) -> bool:
        return await self._ask(b"lock\n") == b"lock\n"

    async def watch(self) -> None:
        assert await self._ask(b"watch\n") == b"watch\n"

    async def release(self) -> None:
        await self._ask(b"release\n")

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def _ask(self, command: bytes) -> bytes:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(command)
        async with asyncio.timeout(120):
            return await self.process.stdout.readline()


@pytest.fixture
async def other(path: Path) -> AsyncIterator[OtherProcess]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, path, stdin=PIPE, stdout=PIPE)
    yield OtherProcess(process)
    await process.communicate(b"")  # closes stdin, which ends the process


class TestOtherProcess:
    @pytest.mark.fault
    async def test_second_writer_is_refused(self, db: SyncedSuite, other: OtherProcess) -> None:
        create_finished(db.suite, 3)
        await db.sync()
        db.fake.requests.clear()
        assert await other.try_to_lock()
        for writer in (db.sync(), db.store.prune(older_than=timedelta(days=1)), db.store.forget(KEY)):
            with pytest.raises(StoreError, match=BUSY) as caught:
                await writer
            assert caught.value.retryable
        assert db.fake.requests == []
        await other.kill()  # the system releases its lock
        create_finished(db.suite, 1)
        assert await db.sync() == [4]

    async def test_writer_waits_if_it_is_told_to(self, db: SyncedSuite, other: OtherProcess) -> None:
        create_finished(db.suite, 3)
        assert await other.try_to_lock()
        with pytest.raises(StoreError, match=BUSY):
            await db.sync(wait=0.15)
        waiting = asyncio.create_task(db.sync(wait=20))
        pruning = asyncio.create_task(db.store.prune(older_than=timedelta(days=9000), wait=20))
        await asyncio.sleep(0.15)
        assert not waiting.done()
        await other.release()
        assert (await waiting, await pruning) == ([3, 2, 1], 0)

    async def test_readers_and_other_watches_are_not_blocked(
        self, db: SyncedSuite, other: OtherProcess, tmp_path: Path
    ) -> None:
        create_finished(db.suite, 3)
        await db.sync()
        assert await other.try_to_lock()
        async with SessionStore(db.path) as reader:
            assert len(await reader.sessions(KEY)) == await reader.export(tmp_path / "a.csv") == 3
            async with reader.watch_status(db.buddy, [KEY], interval=0.01) as watch:
                assert (await anext(watch)).commit.session.relative_id == 3
                with pytest.raises(StoreError, match="another watch named 'default' is running"):
                    await anext(db.store.watch_status(db.buddy, [KEY]))
        assert query(db.path, "SELECT count(*) FROM sessions") == [(3,)]
        await other.watch()
        with pytest.raises(StoreError, match="another watch named 'default' is running"):
            await anext(db.store.watch(db.buddy, [KEY]))
        async with db.store.watch_status(db.buddy, [KEY]) as watch:  # another kind
            await anext(watch)
        assert await db.sync() == []


class TestSameProcess:
    async def test_stores_sync_other_suites_side_by_side(self, db: SyncedSuite, other: OtherProcess) -> None:
        """The process holds the file until the last sync ends."""
        create_finished(db.suite, 100)
        create_finished(db.fake.add_suite(*OTHER_KEY), 2)
        async with SessionStore(db.path) as store, db.store.sync(db.buddy, [KEY], concurrency=1) as first:
            await anext(first)
            assert await sync(store, db.buddy, OTHER_KEY) == [2, 1]
            assert not await other.try_to_lock()
            assert len([session async for session in first]) == 99
        assert await other.try_to_lock()

    async def test_second_writer_of_a_suite_waits_if_it_is_told_to(self, db: SyncedSuite) -> None:
        create_finished(db.suite, 100)
        async with SessionStore(db.path) as other, db.store.sync(db.buddy, [KEY], concurrency=1) as first:
            await anext(first)
            syncing = asyncio.create_task(sync(other, db.buddy, wait=60))
            pruning = asyncio.create_task(other.prune(older_than=timedelta(days=9000), wait=60))
            await asyncio.sleep(0.1)
            assert not syncing.done()
            assert not pruning.done()
            assert len([session async for session in first]) == 99
            assert (await syncing, await pruning) == ([], 0)

    async def test_sync_inside_a_sync_of_the_suite_is_refused(self, db: SyncedSuite) -> None:
        """It would wait for itself."""
        create_finished(db.suite, 100)
        async with db.store.sync(db.buddy, [KEY], concurrency=1) as sync:
            await anext(sync)
            with pytest.raises(HarvestError) as caught:
                await db.sync(wait=0.05)
            for writer in (lambda: db.store.prune(older_than=timedelta(days=1)), lambda: db.store.forget(KEY)):
                with pytest.raises(StoreError, match="another task is syncing or pruning acme/shop/MNbyVedg") as error:
                    await writer()
            assert str(caught.value.failures[KEY]) == str(error.value)


async def test_file_is_free_however_a_sync_ends(db: SyncedSuite, other: OtherProcess) -> None:
    """After a break, and a cancellation, also while it waits."""
    create_finished(db.suite, 100)
    async with db.store.sync(db.buddy, [KEY], concurrency=1) as left:
        async for _ in left:
            break
    assert await other.try_to_lock()
    for _ in range(2):  # the first one waits
        task = asyncio.create_task(db.sync(wait=600))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await other.release()
    assert await other.try_to_lock()


async def test_forgotten_suite_is_read_anew(db: SyncedSuite) -> None:
    db.suite.create(status="ERROR", cases=[{"name": "a", "status": "FAILED"}])
    create_finished(db.fake.add_suite(*OTHER_KEY), 2)
    await db.sync(KEY, OTHER_KEY, cases="all")
    for _ in range(2):  # the second one does nothing
        await db.store.forget(KEY)
    ids = [query(db.path, f"SELECT DISTINCT suite_id FROM {view}") for view in ("suites", "sessions", "cases")]
    assert ids == [[("other",)]] * 3
    assert await db.sync(cases="all") == [1]
    assert len(await db.store.recent_tests(KEY)) == 1


FORK = """
import asyncio, os, sys
from datetime import timedelta
from buddy_sessions import BuddyClient, SessionStore, StoreError
from buddy_sessions.store.lock import lock_file

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
    async with SessionStore(path) as own:
        await report("own", own.prune(older_than=DAY))
        os.write(reported, b"x")
        await report("own", own.prune(older_than=DAY, wait=30))  # the parent releases its lock

path, (is_reported, reported) = sys.argv[1], os.pipe()
store, loop, lock = SessionStore(path), asyncio.new_event_loop(), lock_file(path)
loop.run_until_complete(store.open())
loop.run_until_complete(lock.__aenter__())
if os.fork() == 0:
    asyncio.run(use(store))
    sys.stdout.flush()
    os._exit(0)
os.read(is_reported, 1)
loop.run_until_complete(lock.__aexit__(None, None, None))
os.wait()
loop.run_until_complete(store.close())
"""


def test_fork_can_use_neither_store_nor_lock_of_its_parent(path: Path) -> None:
    """Each call names the cause at once. It can lock the file when the parent does not hold the lock any more."""
    result = subprocess.run([sys.executable, "-c", FORK, path], capture_output=True, text=True, timeout=120, check=True)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    methods = "open", "sessions", "prune", "sync", "watch", "close"
    message = f"this process was forked after the store {path} was opened: open a store in each process"
    assert lines[:6] == [f"{method} {message}" for method in methods]
    (busy,) = lines[6:]
    assert busy.startswith(f"own another process is syncing or pruning {path}")
