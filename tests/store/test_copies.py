"""A copy that applies the changes of a database, from any position, is equal to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from buddy_sessions import (
    BuddyClient,
    ConfigError,
    Session,
    SessionStatus,
    SessionStore,
    StoreError,
    TestCase,
    TestStatus,
)
from buddy_sessions.models import CaseScope
from buddy_sessions.store.cases import save_cases
from buddy_sessions.store.copies import load_changes
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.pages import save_page
from buddy_sessions.store.suites import SuiteState
from buddy_sessions.store.sync_rules import ListEvidence
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.effort import repeats
from helpers.stores import KEY, OTHER_KEY, DatabaseCopy, SyncedSuite, create_finished, query

FAILING = [{"name": "test", "status": "FAILED"}, {"name": "other"}]
DAY = timedelta(days=1)


async def follow(copy: DatabaseCopy, store: SessionStore, limit: int | None = None) -> int:
    """Apply the next changes to a copy, at most `limit`. Return their number."""
    changes = [change async for change in store.changes(copy.position)][:limit]
    for change in changes:
        copy.apply(change)
    return len(changes)


def change_suite(random: Random, suite: FakeSuite) -> None:
    for _ in range(random.choice([0, 1, 30])):
        created = datetime.now(UTC) - DAY * random.randrange(60)
        suite.create(cases=random.choice([FAILING, None]), create_date=created.isoformat())
    for session in random.sample(suite.sessions, min(len(suite.sessions), 4)):
        random.choice([suite.delete, suite.reopen, suite.finish])(session["id"])


async def change_database(random: Random, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
    age = DAY * random.randrange(1, 80)
    match random.choice(["sync", "sync", "sync", "keep", "prune", "forget"]):
        case "prune":
            await store.prune(older_than=age)
        case "forget":
            await store.forget(suite.key)
        case kind:
            cases: CaseScope | None = random.choice([None, "failed", "all"])
            keep, full = age if kind == "keep" else None, random.random() < 0.3
            await store.sync(buddy, [suite.key], cases=cases, keep=keep, full=full).run()


@pytest.mark.parametrize("seed", range(repeats(quick=2, thorough=15, long=500)))
async def test_copy_follows_from_any_position(fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path, seed: int) -> None:
    """Also if it stops anywhere, and the file is vacuumed or replaced by its copy: it equals one that begins now."""
    random, path = Random(seed), tmp_path / "first.db"
    suites = [fake.add_suite(*KEY), fake.add_suite(*OTHER_KEY)]
    copies = [DatabaseCopy() for _ in range(4)]
    for number in range(12):
        async with SessionStore(path) as store:
            for suite in random.choices(suites, k=3):
                change_suite(random, suite)
                await change_database(random, store, buddy, suite)
                await follow(random.choice(copies), store, random.choice([0, 1, 5, 30]))
            await follow(copies[0], store)
            new = DatabaseCopy()
            await follow(new, store)
            assert copies[0].sessions == new.sessions
            assert query(path, "SELECT count(*) FROM sessions") == [(len(new.sessions),)]
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM" if number % 2 else f"VACUUM INTO '{tmp_path / str(number)}.db'")
        path = path if number % 2 else tmp_path / f"{number}.db"
    async with SessionStore(path) as store:
        for copy in copies:
            await follow(copy, store)
            assert copy.sessions == copies[0].sessions
            assert await follow(copy, store) == 0


async def test_change_has_session_and_failing_tests(db: SyncedSuite) -> None:
    create_finished(db.suite, 2)
    await db.sync()
    assert [change.failures async for change in db.store.changes()] == [None, None]
    db.suite.create(cases=FAILING)
    await db.sync(cases="failed")
    changes = [change async for change in db.store.changes()]
    newest = changes[-1].position
    assert {change.suite for change in changes} == {KEY}
    assert [[case.name for case in change.failures or ()] for change in changes if change.session] == [[], [], ["test"]]
    await db.sync(full=True)
    assert [change async for change in db.store.changes(newest)] == [], "unchanged sessions keep their positions"


async def test_position_of_another_file_is_an_error(db: SyncedSuite) -> None:
    create_finished(db.suite, 3)
    await db.sync()
    with pytest.raises(StoreError, match="has no position 4, its newest one is 3: it is not the file that was copied"):
        await anext(aiter(db.store.changes(4)))
    with pytest.raises(ConfigError, match="after must be a whole number of at least 0"):
        db.store.changes(-1)


def test_few_sessions_with_long_tests_are_in_memory_at_once(database: DatabaseFile) -> None:
    case = TestCase(id="1", name="a", status=TestStatus.FAILED, test_group_id="1", data="x" * 5_000_000)
    sessions = [Session(id=f"{each}", relative_id=each, status=SessionStatus.ERROR) for each in range(1, 6)]
    page = ListEvidence(claimed=SuiteState(), sessions=sessions)
    save_page(database, KEY, page, datetime.now(UTC))
    for session in sessions:
        save_cases(database, KEY, session, "failed", [case], is_complete=True, is_verified=True)
    found, position = [], 0
    while changes := load_changes(database, position):
        position = changes[-1].position
        found.append([change.session and change.session.relative_id for change in changes])
    assert found == [[1, 2], [3, 4], [5]]
