"""Copies of a database in PostgreSQL and DuckDB. They follow it, although they are killed."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import psycopg
import pytest

from buddy_sessions import BuddyClient, SessionStore
from buddy_sessions.testing import FakeBuddy
from helpers.recipe_programs import copy_recipe, run_until_killed
from helpers.stores import query

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["buddy_sessions", "psycopg"])  # so that a program starts at once
COLUMNS = "workspace, project, suite_id, id, status, missing_since IS NULL, deleted_at IS NULL"
SAVED = f"""
    SELECT {COLUMNS}, (SELECT json_group_array(json_object('name', name)) FROM cases
    WHERE cases.workspace = sessions.workspace AND cases.suite_id = sessions.suite_id AND session_id = sessions.id
    AND status IN ('FAILED', 'ERROR')) FROM sessions
"""

Row: TypeAlias = tuple[Any, ...]
Change: TypeAlias = Callable[[int], Awaitable[None]]


def run_recipe(path: Path, environment: dict[str, str], kill_after: float = 60.0) -> int:
    """Run a program that copies `sessions.db`, which is in its folder, in a process of its own; return the exit code.

    `kill_after` is in seconds of its own work.
    """
    process = FORK.Process(target=run_until_killed, args=(path, kill_after, environment))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def with_names(rows: list[Row]) -> list[Row]:
    """Return rows whose last value has failing tests, as JSON or decoded, with their names in its place."""

    def names(value: Any) -> list[str]:
        return sorted(case["name"] for case in (json.loads(value) if isinstance(value, str) else value or []))

    return sorted((*row[:-1], names(row[-1])) for row in rows)


@pytest.fixture
def change(fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path) -> Change:
    """Return a function that changes suites, syncs them to `sessions.db`, and may prune (1) or forget a suite (2)."""
    chance = random.Random(5)
    suites = [fake.add_suite("acme", "shop", name).populate(40) for name in "abc"]

    async def change(kind: int) -> None:
        for suite in suites:
            for session in chance.sample(suite.sessions[:30], 3):
                (suite.reopen if session.get("finish_date") else suite.finish)(session)
            suite.delete(suite.sessions[chance.randrange(30)])
            for status in chance.choices(["PASSED", "FAILED"], [9, 1], k=50):
                suite.create(cases=[{"name": "adds", "status": status}])
        async with SessionStore(tmp_path / "sessions.db") as store:
            for _ in range(2):  # only a second sync notices a deletion
                await store.sync(buddy, [suite.key for suite in suites], cases="failed", details=1).run()
            if kind == 1:
                oldest = (await store.sessions("acme/shop/a"))[-10].create_date
                assert oldest is not None
                await store.prune(older_than=datetime.now(UTC) - oldest)
            if kind == 2:
                await store.forget("acme/shop/b")

    return change


async def follow(
    change: Change, run: Callable[..., int], kills: int, work: float, load: Callable[[], list[Row]], saved: Path
) -> None:
    """Change the database, and kill the program that copies it so many times. Then the copy equals the database.

    `run` runs the program, and `load` returns the rows of the copy. `work` is about the seconds of its own work after
    which it is first killed.
    """
    chance = random.Random(7)
    codes: list[int] = []
    while codes.count(-signal.SIGKILL) < kills:
        if len(codes) % 5 == 0:
            await change(len(codes) // 5)
        codes.append(run(chance.uniform(work / 2, work)))
        work *= 0.7 if codes[-1] == 0 else 1.1  # so that it often has work left
    assert set(codes) <= {0, -signal.SIGKILL}
    assert run() == 0
    assert with_names(load()) == with_names(query(saved, SAVED))


async def test_copy_in_postgresql(change: Change, postgres: str, tmp_path: Path) -> None:
    recipe = copy_recipe("copy_to_postgresql", tmp_path, AT_ONCE=5)

    def load() -> list[Row]:
        with psycopg.connect(postgres) as connection:
            return connection.execute(f"SELECT {COLUMNS}, failures FROM sessions").fetchall()

    run = partial(run_recipe, recipe, {"DATABASE_URL": postgres})
    await follow(change, run, 20, 0.02, load, tmp_path / "sessions.db")


async def test_copy_in_duckdb(change: Change, tmp_path: Path) -> None:
    def load() -> list[Row]:
        with duckdb.connect(str(tmp_path / "sessions.duckdb"), read_only=True) as database:
            return database.execute(f"SELECT {COLUMNS}, failures FROM sessions").fetchall()

    run = partial(run_recipe, copy_recipe("copy_to_duckdb", tmp_path, AT_ONCE=5), {})
    await follow(change, run, 5, 0.1, load, tmp_path / "sessions.db")
