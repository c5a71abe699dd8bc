"""The queries and the backup of the guide, run against a file that was synced."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, SessionStore
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.stores import KEY, SyncedSuite, create_finished, list_requests, query

GUIDE = (Path(__file__).parents[2] / "buddy_sessions" / "store" / "README.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)

ROWS: list[list[tuple[Any, ...]]] = [
    [("Tests", "quick", 1, "2026-01-02"), ("Tests", "slow", 1, "2026-01-03")],
]
"""The rows of each query, in the order of the guide."""


@pytest.fixture
async def synced(db: SyncedSuite) -> SyncedSuite:
    """On `main`, one session has passed, and two of the same commit have failed, each because of another test."""
    history = [
        ("main", "a", "Ada", "PASSED", "PASSED"),
        ("main", "b", "Ada", "FAILED", "PASSED"),
        ("main", "b", "Ada", "PASSED", "FAILED"),
        ("feature", "c", "Elif", None, None),
    ]
    for day, (branch, revision, author, quick, slow) in enumerate(history, 1):
        cases = [("quick", quick, 0.1), ("slow", slow, 10 - day)]
        db.suite.create(
            branch=branch,
            revision=revision,
            created_by={"name": author},
            status="ERROR" if "FAILED" in {quick, slow} else "SUCCESSFUL",
            create_date=f"2026-01-0{day}T00:00:00Z",
            duration=20,
            cases=[
                {"name": name, "classname": "Tests", "status": status, "time": time}
                for name, status, time in cases
                if status
            ],
        )
    await db.sync(cases="all")
    return db


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_query_of_the_guide(synced: SyncedSuite, number: int) -> None:
    assert len(QUERIES) == len(ROWS)
    assert query(synced.path, QUERIES[number]) == ROWS[number]


async def test_queries_find_rows_of_a_fake_buddy(db: SyncedSuite) -> None:
    """As after the first sync of the guide, from `buddy-sessions serve`."""
    db.suite.populate(50)
    await db.sync(cases="failed")
    assert all(query(db.path, each) for each in QUERIES)


async def test_backup_is_continued_by_the_next_sync(synced: SyncedSuite, tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"
    with closing(sqlite3.connect(synced.path)) as connection:
        connection.execute(f"VACUUM INTO '{copy}'")
    async with SessionStore(copy) as store:
        assert await store.sync(synced.buddy, [KEY]).run()
        assert await store.sessions(KEY) == await synced.store.sessions(KEY)
    assert query(copy, "PRAGMA auto_vacuum") == [(2,)]


async def test_example_of_three_syncs(fake: FakeBuddy, suite: FakeSuite, store: SessionStore, path: Path) -> None:
    create_finished(suite, 250)
    rows: list[Any] = [
        [3, range(250, 0, -1), (1, 250), [], []],
        [1, [251], (1, 251), [248], []],
        [1, [], (1, 251), [248], [248]],
    ]
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        for requests, saved, covered, missing, deleted in rows:
            db = SyncedSuite(fake, suite, path, buddy, store)
            fake.requests.clear()
            assert await db.sync() == list(saved)
            assert (len(list_requests(fake)), await db.covered_range()) == (requests, covered)
            assert (db.marked("missing_since"), db.marked()) == (missing, deleted)
            if covered == (1, 250):
                create_finished(suite, 1)
                suite.delete(suite.sessions[3]["id"])
