"""Watches that continue where the last one stopped: real files and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from buddy_sessions import Change, ConfigError, StoreError
from helpers.stores import KEY, SyncedSuite

INTERVAL = 0.005  # seconds

Summary = tuple[str, int, str | None]


def summary(change: Change) -> Summary:
    """Return the kind of a change, the number of the session, and its previous status."""
    return change.kind, change.session.relative_id, None if change.previous is None else change.previous.status


async def check_changes(db: SyncedSuite, *expected: Summary, **options: Any) -> None:
    """Watch the suite: check that these changes are reported, and no others in the next two polls."""
    watch = db.store.watch(db.buddy, [KEY], interval=INTERVAL, on_failure="retry", **options)
    async with asyncio.timeout(120), watch:
        changes: list[Summary] = []

        async def collect() -> None:
            async for change in watch:
                changes.append(summary(change))  # noqa: PERF401 - the list is read meanwhile

        collecting = asyncio.create_task(collect())
        while len(changes) < len(expected):
            await asyncio.sleep(INTERVAL)
        enough = len(db.fake.requests) + 4  # one may be in progress, and the last one may not be processed yet
        while len(db.fake.requests) < enough:
            await asyncio.sleep(INTERVAL)
        assert changes == list(expected)
    await collecting


async def test_changes_since_the_last_watch_are_reported_once(db: SyncedSuite) -> None:
    running, finished = db.suite.create(), db.suite.create(status="SUCCESSFUL")
    await check_changes(db)
    db.suite.finish(running["id"], status="ERROR")
    db.suite.reopen(finished["id"])
    db.suite.create(status="SUCCESSFUL")
    expected = ("FINISHED", 1, "IN_PROGRESS"), ("CHANGED", 2, "SUCCESSFUL"), ("NEW", 3, None)
    await check_changes(db, *expected)
    await check_changes(db)


async def test_more_new_sessions_than_are_remembered_are_reported(db: SyncedSuite) -> None:
    db.suite.create()
    await check_changes(db)
    for _ in range(250):
        db.suite.create()
    await check_changes(db, *(("NEW", number, None) for number in range(2, 252)))
    await check_changes(db)


async def test_each_branch_name_and_sync_has_a_state_of_its_own(db: SyncedSuite) -> None:
    db.suite.create(branch="main", status="SUCCESSFUL")
    for options in ({"branch": "main"}, {"name": "chat"}):
        await check_changes(db, **options)
    db.suite.create(branch="main", status="SUCCESSFUL")
    db.suite.create(branch="dev", status="ERROR")
    await check_changes(db)  # the first watch of all branches
    assert await db.sync() == [3, 2, 1]
    await check_changes(db, ("NEW", 2, None), branch="main")
    await check_changes(db, ("NEW", 2, None), ("NEW", 3, None), name="chat")
    db.suite.create(branch="dev", status="SUCCESSFUL")
    assert await db.sync() == [4]
    await check_changes(db, ("NEW", 4, None))


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 101, None])
async def test_name_that_is_no_file_name(db: SyncedSuite, name: Any) -> None:
    for start in (db.store.watch, db.store.watch_status):
        with pytest.raises(ConfigError, match="name must be letters, digits"):
            start(db.buddy, [KEY], name=name)


@pytest.mark.fault
@pytest.mark.parametrize("kind", ["watch", "watch_status"])
async def test_change_that_cannot_be_acknowledged_is_repeated(db: SyncedSuite, kind: str) -> None:
    """Another file is in the place of the database: the watch ends, and the next one repeats the change."""
    db.suite.create(status="ERROR")
    await check_changes(db)
    db.suite.create(status="ERROR")
    moved = db.path.with_suffix(".old")
    async with getattr(db.store, kind)(db.buddy, [KEY], interval=INTERVAL) as watch:
        await anext(watch)
        db.path.rename(moved)
        db.path.write_text("another file")
        db.suite.create(status="SUCCESSFUL")
        for _ in range(2):
            with pytest.raises(StoreError, match="was deleted or replaced while it was open"):
                await anext(watch)
        moved.replace(db.path)
        if kind == "watch":
            await check_changes(db, ("NEW", 2, None), ("NEW", 3, None))


async def test_bot_that_stops_after_a_post_learns_that_main_has_recovered(db: SyncedSuite) -> None:
    """It has not asked for the next event: the last one comes again, and then what has happened meanwhile."""
    db.suite.create(status="SUCCESSFUL", branch="main")

    async def watch(*expected: str, then: Callable[[], object]) -> None:
        async with asyncio.timeout(120), db.store.watch_status(db.buddy, [KEY], interval=INTERVAL) as changes:
            assert [(await anext(changes)).kind for _ in expected] == list(expected)
            then()

    def create(status: str) -> Callable[[], object]:
        return lambda: db.suite.create(status=status, branch="main")

    await watch("CURRENT", then=create("ERROR"))
    await watch("CURRENT", "FAILING", then=create("SUCCESSFUL"))
    await watch("FAILING", "RECOVERED", then=create("SUCCESSFUL"))
