"""One writer for a file: which processes and stores wait for each other, and which are refused."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, ConfigError, SessionStore, StoreError
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.stores import KEY, OTHER_KEY, SyncedSuite, create_finished, query, sync

HOLDER = """
import asyncio, os, sys
from buddy_sessions import StoreError
from buddy_sessions.store.lock import hold_file

async def main(path):
    try:
        async with hold_file(path):
            os.write(1, b"held\\n")
            await asyncio.to_thread(sys.stdin.readline)
    except StoreError:
        os.write(1, b"refused\\n")

asyncio.run(main(sys.argv[1]))
"""

BUSY = "another process is syncing .*sessions.db: try again when it has finished, or wait for it"

Hold = Callable[..., Awaitable[Process]]


@pytest.fixture
async def hold(path: Path) -> AsyncIterator[Hold]:
    """Start another process that writes the file, until a line is written to its stdin."""
    started: list[Process] = []

    async def start(expected: bytes = b"held") -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOLDER, path), stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        started.append(process)
        assert process.stdout
        assert await process.stdout.readline() == expected + b"\n"
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def release(process: Process) -> None:
    """Let the other process end its work."""
    await process.communicate(b"\n")


class TestOtherProcess:
    @pytest.mark.fault
    async def test_second_writer_is_refused(self, db: SyncedSuite, hold: Hold) -> None:
        create_finished(db.suite, 3)
        await db.sync()
        db.fake.requests.clear()
        process = await hold()
        writers = (
            db.sync(),
            db.store.prune(older_than=timedelta(days=1)),
            db.store.forget(KEY),
        )
        for writer in writers:
            with pytest.raises(StoreError, match=BUSY) as caught:
                await writer
            assert caught.value.retryable
        assert db.fake.requests == []
        assert await db.is_complete()
        await release(process)
        create_finished(db.suite, 1)
        assert await db.sync() == [4]

    @pytest.mark.fault
    async def test_killed_writer_holds_nothing(self, db: SyncedSuite, hold: Hold) -> None:
        create_finished(db.suite, 3)
        process = await hold()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await db.sync() == [3, 2, 1]

    async def test_writer_waits_if_it_is_told_to(self, db: SyncedSuite, hold: Hold) -> None:
        create_finished(db.suite, 3)
        process = await hold()
        with pytest.raises(StoreError, match=BUSY):
            await db.sync(wait=0.15)
        waiting = asyncio.create_task(db.sync(wait=20))
        pruning = asyncio.create_task(db.store.prune(older_than=timedelta(days=9000), wait=20))
        await asyncio.sleep(0.15)
        assert not waiting.done()
        await release(process)
        assert (await waiting, await pruning) == ([3, 2, 1], 0)

    async def test_waiting_writer_can_be_cancelled(self, db: SyncedSuite, hold: Hold) -> None:
        process = await hold()
        waiting = asyncio.create_task(db.sync(wait=600))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await release(process)
        await db.sync()

    async def test_readers_and_watches_are_not_blocked(self, db: SyncedSuite, hold: Hold, tmp_path: Path) -> None:
        create_finished(db.suite, 3)
        await db.sync()
        await hold()
        async with SessionStore(db.path) as reader:
            assert len(await reader.sessions(KEY)) == await reader.export(tmp_path / "a.csv") == 3
            async with reader.watch_status(db.buddy, [KEY], interval=0.01) as watch:
                assert (await anext(watch)).session.relative_id == 3
        assert query(db.path, "SELECT count(*) FROM sessions") == [(3,)]

    async def test_symbolic_link_names_the_same_file(self, db: SyncedSuite, hold: Hold) -> None:
        await hold()
        folder = db.path.parent / "folder"
        folder.mkdir()
        link = folder / "link.db"
        link.symlink_to(db.path)
        async with SessionStore(link) as store:
            with pytest.raises(StoreError, match=r"another process is syncing .*link\.db"):
                await sync(store, db.buddy)
        assert os.listdir(folder) == ["link.db"]


class TestSameProcess:
    async def test_stores_sync_other_suites_side_by_side(
        self, fake: FakeBuddy, suite: FakeSuite, path: Path, buddy: BuddyClient, store: SessionStore
    ) -> None:
        create_finished(suite, 3)
        create_finished(fake.add_suite(*OTHER_KEY), 2)
        async with SessionStore(path) as other, store.sync(buddy, [KEY]) as first:
            await anext(first)
            assert await sync(other, buddy, OTHER_KEY) == [2, 1]
            assert await other.prune(older_than=timedelta(days=9000)) == 0
            assert len([session async for session in first]) == 2

    async def test_second_writer_of_a_suite_waits(self, db: SyncedSuite) -> None:
        create_finished(db.suite, 100)
        async with SessionStore(db.path) as other, db.store.sync(db.buddy, [KEY], concurrency=1) as first:
            await anext(first)
            requests = len(db.fake.requests)
            later = [
                asyncio.create_task(writer)
                for writer in (
                    sync(other, db.buddy),
                    other.prune(older_than=timedelta(days=9000)),
                    asyncio.to_thread(asyncio.run, self.sync_in_another_loop(db)),
                )
            ]
            await asyncio.sleep(0.1)
            assert not any(task.done() for task in later)
            assert len(db.fake.requests) <= requests + 2  # of the first sync, until its queue is full
            assert len([session async for session in first]) == 99
            assert await asyncio.gather(*later) == [[], 0, []]

    async def sync_in_another_loop(self, db: SyncedSuite) -> list[int]:
        async with BuddyClient(db.fake.token, base_url=db.fake.base_url) as buddy, SessionStore(db.path) as store:
            return await sync(store, buddy)

    async def test_process_holds_the_file_until_its_last_sync_ends(
        self, fake: FakeBuddy, suite: FakeSuite, path: Path, buddy: BuddyClient, store: SessionStore, hold: Hold
    ) -> None:
        create_finished(suite, 100)
        fake.add_suite(*OTHER_KEY)
        async with store.sync(buddy, [KEY], concurrency=1) as first:
            await anext(first)
            async with SessionStore(path) as other:
                await sync(other, buddy, OTHER_KEY)
            await hold(b"refused")
        await hold()


async def test_file_is_free_however_a_sync_ends(db: SyncedSuite, hold: Hold) -> None:
    """After an error, a break, a cancellation; and before its first item."""
    create_finished(db.suite, 100)
    unused = db.store.sync(db.buddy, [KEY])
    async with db.store.sync(db.buddy, [KEY], concurrency=1) as left:
        async for _ in left:
            break
    await release(await hold())
    task = asyncio.create_task(db.sync())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await release(await hold())
    with pytest.raises(ConfigError):
        await db.store.sync(db.buddy, ["no suite"]).run()
    await hold()
    await unused.aclose()


async def test_readers_create_no_lock_file(db: SyncedSuite) -> None:
    names = {"sessions.db", "sessions.db-wal", "sessions.db-shm"}
    await db.store.sessions(KEY)
    assert set(os.listdir(db.path.parent)) == names
    await db.sync()
    await db.store.close()
    assert set(os.listdir(db.path.parent)) == {"sessions.db", "sessions.db-lock"}


@pytest.mark.fault
async def test_lock_file_that_cannot_be_written(db: SyncedSuite) -> None:
    os.mkdir(f"{db.path}-lock")
    for writer in (db.sync(), db.store.prune(older_than=timedelta(days=1))):
        with pytest.raises(
            StoreError, match=r"sessions\.db-lock: .*check that its folder exists, and that you may write"
        ):
            await writer


async def test_forgotten_suite_is_read_anew(db: SyncedSuite) -> None:
    db.suite.create(status="ERROR", cases=[{"name": "a", "status": "FAILED"}])
    await db.sync(cases="all")
    await db.store.forget(KEY)
    await db.store.forget(KEY)  # does nothing
    tables = "session_rows", "case_rows", "case_groups", "case_reads", "tests", "covered", "suite_rows"
    assert {query(db.path, f"SELECT count(*) FROM {table}")[0][0] for table in tables} == {0}
    create_finished(db.fake.add_suite(*OTHER_KEY), 2)
    await db.sync(OTHER_KEY)
    await db.store.forget(KEY)
    assert [suite.key for suite in await db.store.suites()] == [OTHER_KEY]
    assert len(await db.store.sessions(OTHER_KEY)) == 2
    assert await db.sync(cases="all") == [1]
    assert len(await db.store.runs(KEY)) == 1
