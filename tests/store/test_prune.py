"""Old sessions are deleted, or only their test cases, and no sync brings them back."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import ConfigError, SessionStore, StoreError
from helpers.stores import ABSENCES, KEY, OTHER_KEY, SyncedSuite, create_daily, file_size_limit, query

MONTH = timedelta(days=30)
CASES = [{"name": "test", "status": "FAILED"}]


def size_of(path: Path) -> int:
    """Return the bytes of a database, with those of its write-ahead log."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


async def numbers(store: SessionStore) -> list[int]:
    return [session.relative_id for session in await store.sessions(KEY)]


@pytest.mark.parametrize("status", ["SUCCESSFUL", "IN_PROGRESS"])
async def test_old_sessions_are_deleted_and_stay_away(db: SyncedSuite, status: str) -> None:
    create_daily(db.suite, 101, create_date=None)  # kept
    create_daily(db.suite, 89, status=status)
    await db.sync()
    assert await db.store.prune(older_than=MONTH) == 59
    kept = [*range(190, 160, -1), *range(101, 0, -1)]
    assert await numbers(db.store) == kept
    create_daily(db.suite, 1)
    for options, requests in (({}, 1), ({"full": True}, 12)):
        assert await db.count_requests(**options) <= requests, options
        assert await numbers(db.store) == [191, *kept]
    assert [(each.covered, each.below) for each in await db.store.info()] == [((161, 191), "limit")]


async def test_newest_verdict_of_the_main_branch_stays(db: SyncedSuite) -> None:
    """With its test cases, however many newer sessions other branches have."""
    old = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    for _ in range(3):
        db.suite.create(status="ERROR", branch="main", create_date=old, cases=CASES)
    create_daily(db.suite, 40, branch="feature")
    create_daily(db.suite, 40, status="IN_PROGRESS")
    await db.sync(cases="failed")
    for count in (2 + 10 + 10, 0):
        assert await db.store.prune(older_than=MONTH) == count
        assert await db.sync() == []
    (run,) = await db.store.recent_tests(KEY, cases="failed", branch="main")
    assert (run.session.relative_id, len(run.cases)) == (3, 1)


@pytest.mark.parametrize("is_first", [True, False], ids=["first-sync-with-keep", "prune"])
async def test_sessions_of_one_commit_stay_together(db: SyncedSuite, is_first: bool) -> None:
    """If they were created on one day: not those of nightly tests of the same commit."""
    now = datetime.now(UTC)
    jobs = [
        ("a" * 40, 32, "ERROR"),
        ("b" * 40, 30.1, "ERROR"),
        ("a" * 40, 29.9, "ERROR"),
        ("b" * 40, 29.8, "SUCCESSFUL"),
    ]
    for revision, days, status in [*jobs, (None, 30.1, "ERROR"), (None, 29.7, "ERROR"), ("c" * 40, 0, "ERROR")]:
        date = (now - timedelta(days=days)).isoformat()
        db.suite.create(status=status, revision=revision, branch="fix", create_date=date)
    await db.sync(keep=MONTH if is_first else None)
    assert await db.store.prune(older_than=MONTH) == (0 if is_first else 2)
    assert await numbers(db.store) == [7, 6, 4, 3, 2]


async def test_sync_prunes_its_suites_and_reads_nothing_older(db: SyncedSuite) -> None:
    create_daily(db.fake.add_suite(*OTHER_KEY), 90)
    create_daily(db.suite, 90)
    await db.sync(KEY, OTHER_KEY)
    create_daily(db.suite, 1)
    assert await db.sync(keep=MONTH) == [91]
    assert await numbers(db.store) == list(range(91, 60, -1))
    assert len(await db.store.sessions(OTHER_KEY)) == 90
    assert [await db.count_requests(keep=MONTH) for _ in range(2)] == [1, 1]
    assert await db.sync() == []


async def test_sync_after_a_long_time_prunes_at_once(db: SyncedSuite) -> None:
    """The age is counted from the newest session that it reads, not from the newest saved one."""
    for oldest, newest, options in ((200, 110, {}), (110, 0, {"keep": timedelta(days=25)})):
        for age in range(oldest, newest, -10):
            db.suite.create(create_date=(datetime.now(UTC) - timedelta(days=age)).isoformat())
        await db.sync(**options)
    assert await numbers(db.store) == [20, 19, 18]


async def test_recreated_suite_was_not_pruned(db: SyncedSuite) -> None:
    """Once a second sync has confirmed the new list: a wrong response does not bring back what was pruned."""
    create_daily(db.suite, 40)
    await db.sync()
    await db.store.prune(older_than=MONTH)
    create_daily(db.recreate(0), 3)
    bottoms = []
    for _ in range(ABSENCES + 1):
        await db.sync()
        bottoms += [each.below for each in await db.store.info()]
    assert bottoms == ["nothing"] * (ABSENCES + 1)
    assert await numbers(db.store) == [3, 2, 1]


async def test_only_an_earlier_since_brings_back_what_was_pruned(
    db: SyncedSuite, caplog: pytest.LogCaptureFixture
) -> None:
    """It is earlier than that of every sync before. Nothing is read again above."""
    caplog.set_level(logging.INFO)
    create_daily(db.suite, 90)
    now = datetime.now(UTC)
    assert len(await db.sync(since=now - timedelta(80))) == 80
    assert await db.store.prune(older_than=MONTH) == 50
    for options in {}, {"full": True}, {"since": now - timedelta(60)}, {"keep": timedelta(60)}:
        assert await db.sync(**options) == []
        assert ("pass an earlier since than ever, or forget the suite" in caplog.text) is ("since" in options)
        caplog.clear()
    assert await db.sync(since=now - timedelta(85)) == list(range(60, 5, -1))
    assert await db.sync(full=True) == []
    assert [(each.covered, each.below) for each in await db.store.info()] == [((6, 90), "limit")]


@pytest.mark.fault
async def test_date_of_the_year_1_is_the_zero_of_a_program(db: SyncedSuite) -> None:
    """Also if it is the newest date of the file: nothing is older."""
    create_daily(db.suite, 2, create_date="0001-01-01T00:00:00Z")
    for _ in range(2):
        await db.sync(keep=MONTH)
        assert await db.store.prune(older_than=MONTH) == 0
    create_daily(db.suite, 1)
    await db.sync(keep=MONTH)
    assert 3 in await numbers(db.store)


async def test_file_becomes_smaller_once_nobody_reads_it(db: SyncedSuite) -> None:
    create_daily(db.suite, 1000)
    await db.sync()
    before = size_of(db.path)
    with closing(sqlite3.connect(db.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM sessions").fetchone() == (1000,)
        await asyncio.wait_for(db.store.prune(older_than=MONTH), 25)
        reader.execute("COMMIT")
    await db.store.prune(older_than=MONTH)
    assert size_of(db.path) < before / 3
    assert query(db.path, "PRAGMA freelist_count") == [(0,)]


@pytest.mark.fault
async def test_prune_deletes_everything_or_nothing(db: SyncedSuite) -> None:
    """Here, the disk is full at one place after the other."""
    create_daily(db.suite, 300, cases=CASES)
    await db.sync(cases="failed", concurrency=1)
    counts = "SELECT count(*), (SELECT count(*) FROM cases), (SELECT count(*) FROM tests) FROM sessions"
    before = query(db.path, counts)
    query(db.path, "PRAGMA wal_checkpoint(TRUNCATE)")  # its log begins anew
    saved, size = before, 0
    while saved == before:
        size += 8_192
        with file_size_limit(size), suppress(StoreError):
            await db.store.prune(older_than=MONTH)
        saved = query(db.path, counts)
    assert saved == [(30, 30, 1)]
    assert size > 10 * 8_192


@pytest.mark.parametrize("age", [timedelta(0), timedelta(-1), timedelta.max, 90, None], ids=str)
async def test_age_must_be_above_zero(db: SyncedSuite, age: Any) -> None:
    with pytest.raises(ConfigError, match="older_than must be a timedelta above zero"):
        await db.store.prune(older_than=age)
