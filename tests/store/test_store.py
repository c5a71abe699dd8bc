"""The store: its file, its thread and its arguments."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, ConfigError, HarvestError, NoVerdictError, SessionStore, StoreError
from buddy_sessions.testing import FakeSuite
from helpers.stores import KEY, OTHER_KEY, SyncedSuite, create_finished, file_size_limit, query, sessions_of, sync


def store_threads() -> list[threading.Thread]:
    """Return the threads of all open stores."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("buddy_sessions-store")]


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.001)


def is_closed(path: Path) -> bool:
    """Return whether no program has the database open: SQLite deletes this file with the last connection."""
    return not path.with_name(f"{path.name}-wal").exists()


class TestOpenAndClose:
    async def test_store_can_be_opened_again(self, path: Path, buddy: BuddyClient, suite: FakeSuite) -> None:
        create_finished(suite, 3)
        store = SessionStore(str(path))
        await store.open()
        await store.open()
        await sync(store, buddy)
        await store.close()
        await store.close()
        for start in store.sync, store.watch, store.watch_status:
            with pytest.raises(StoreError, match="not open"):
                start(buddy, [KEY])
        async with store:
            assert await store.sessions(KEY) == sessions_of(suite)

    async def test_unclosed_store_warns_and_is_closed(self, path: Path) -> None:
        stores = [SessionStore(path)]
        await stores[0].open()
        with pytest.warns(ResourceWarning, match="unclosed SessionStore"):
            stores.clear()
        await wait_until(lambda: is_closed(path) and not store_threads())

    async def test_sync_that_was_never_run_warns(self, store: SessionStore, buddy: BuddyClient) -> None:
        harvest = store.sync(buddy, [KEY])
        with pytest.warns(RuntimeWarning, match="never run: use `async for`, or `await"):
            harvest.__del__()
        await harvest.aclose()

    async def test_closing_during_a_sync_ends_it(self, path: Path, buddy: BuddyClient, suite: FakeSuite) -> None:
        create_finished(suite, 200)
        async with SessionStore(path) as store:
            harvest = store.sync(buddy, [KEY])
            await anext(harvest)
        with pytest.raises(StoreError, match="not open"):
            async for _ in harvest:
                pass
        await harvest.aclose()


class TestArguments:
    @pytest.mark.parametrize(
        "options",
        [
            {"cases_branch": ""},
            {"concurrency": 0},
            {"on_failure": "ignore"},
            {"since": datetime(2025, 6, 1)},  # noqa: DTZ001 - the invalid value
            {"keep": timedelta(0)},
            {"cases": "passed"},
            {"cases": True},
        ],
        ids=str,
    )
    def test_invalid_option_is_rejected_at_once(
        self, store: SessionStore, buddy: BuddyClient, options: dict[str, Any]
    ) -> None:
        (name,) = options
        with pytest.raises(ConfigError, match=name):
            store.sync(buddy, [KEY], **options)

    async def test_number_that_sqlite_cannot_compare(self, store: SessionStore) -> None:
        with pytest.raises(NoVerdictError, match="no session #1000"):
            await store.failures(KEY, 10**30)

    async def test_suite_that_was_never_synced_is_named(self, store: SessionStore) -> None:
        with pytest.raises(NoVerdictError, match=r"^acme/shop/none has no saved session: sync it with cases=.failed.$"):
            await store.flaky("acme/shop/none")


async def test_pages_are_parts_of_all_sessions(db: SyncedSuite) -> None:
    """After a wrong response, several sessions can have one number, also in two pages."""
    for number in range(2010):
        db.suite.create("main" if number % 2 else "fix", "SUCCESSFUL", relative_id=min(number + 1, 910))
    async with BuddyClient(db.fake.token, base_url=db.fake.base_url) as buddy:
        await sync(db.store, buddy)
    for branch in None, "main":
        pages = [page async for page in db.store.pages(KEY, branch=branch)]
        assert [*itertools.chain(*pages)] == await db.store.sessions(KEY, branch=branch)
        assert branch or list(map(len, pages)) == [100, 1000, 910]
    assert len([*itertools.chain(*pages)]) == 1005


class TestFile:
    async def test_file_that_cannot_be_opened_is_closed(self, path: Path) -> None:
        """Which files these are is tested for `DatabaseFile`."""
        query(path, "CREATE TABLE another_program (x)")
        store = SessionStore(path)
        with pytest.raises(StoreError, match="another program"):
            await store.open()
        await wait_until(lambda: not store_threads())
        with pytest.raises(StoreError, match="not open"):
            await store.suites()

    @pytest.mark.fault
    @pytest.mark.slow
    async def test_lock_of_another_program_is_an_error_after_30_seconds(self, db: SyncedSuite) -> None:
        """It ends the sync, because no other suite can be saved either."""
        create_finished(db.suite, 3)
        create_finished(db.fake.add_suite(*OTHER_KEY), 3)
        with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="another program is writing to it: wait") as caught:
                await db.sync(KEY, OTHER_KEY, concurrency=1)
        assert (caught.value.not_tried, len(db.fake.requests)) == (1, 1)
        assert len(await db.sync(KEY, OTHER_KEY)) == 6

    @pytest.mark.fault
    async def test_lock_of_another_program_is_waited_for(self, db: SyncedSuite) -> None:
        """For up to 30 seconds, without blocking the event loop; but not to close the store."""
        with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
            for is_released in (True, False):
                create_finished(db.suite, 50)
                other.execute("BEGIN EXCLUSIVE")
                syncing = asyncio.create_task(db.sync())
                await asyncio.sleep(0.5)
                assert not syncing.done()
                if is_released:
                    other.execute("ROLLBACK")
                    assert await syncing == list(range(50, 0, -1))
                    assert await db.is_complete()
            async with asyncio.timeout(20):
                await db.store.close()
            with pytest.raises(StoreError):
                await syncing

    @pytest.mark.fault
    async def test_saved_pages_are_kept_on_a_disk_that_takes_no_more(self, db: SyncedSuite) -> None:
        """Here, the disk is full at one place after the other: what is covered is saved, and the next sync goes on."""
        create_finished(db.suite, 500)
        failed = 0
        for size in itertools.count(120_000, 30_000):
            with file_size_limit(size), suppress(StoreError):
                await db.sync()
            low, high = await db.covered_range() or (1, 0)
            saved = {session.relative_id for session in await db.store.sessions(KEY)}
            assert saved.issuperset(range(low, high + 1))
            if len(saved) == 500:
                break
            failed += 1
        assert failed > 3
        assert await db.is_complete()

    async def test_value_that_cannot_be_saved_fails_only_its_suite(self, db: SyncedSuite) -> None:
        db.suite.create(relative_id=2**63)
        create_finished(db.fake.add_suite(*OTHER_KEY), 3)
        with pytest.raises(HarvestError) as caught:
            await db.sync(KEY, OTHER_KEY, concurrency=1)
        assert set(caught.value.failures) == {KEY}
        assert "64 bits" in str(caught.value.failures[KEY])
        assert [each.key for each in await db.store.suites()] == [OTHER_KEY]
