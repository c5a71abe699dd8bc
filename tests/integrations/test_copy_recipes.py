"""Copies of a database in PostgreSQL, and with dlt in DuckDB. They follow it, although they are killed."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from buddy_sessions import BuddyClient, SessionStore
from buddy_sessions.testing import FakeBuddy
from helpers.recipe_programs import copy_recipe, run_until_killed
from helpers.stores import query

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["buddy_sessions", "dlt", "psycopg"])  # so that a program starts at once


def run_recipe(path: Path, environment: dict[str, str], kill_after: float = 60.0) -> int:
    """Run a program that copies `sessions.db`, which is in its folder, in a process of its own; return the exit code.

    `kill_after` is in seconds of its own work.
    """
    process = FORK.Process(target=run_until_killed, args=(path, kill_after, environment))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


Row = tuple[object, ...]
"""The workspace, project, suite, id, status, `missing_since`, `deleted_at` and the failing tests of a session."""

COLUMNS = "workspace, project, suite_id, id, status, missing_since, deleted_at"


def saved_rows(path: Path) -> list[Row]:
    """Return the sessions of the database."""
    failing = """
        SELECT group_concat(name, ' ' ORDER BY name) FROM cases WHERE cases.workspace = sessions.workspace
        AND cases.suite_id = sessions.suite_id AND session_id = sessions.id AND status IN ('FAILED', 'ERROR')
    """
    rows = query(path, f"SELECT {COLUMNS}, ({failing}) FROM sessions")
    return sorted((*row[:5], *map(parse_time, row[5:7]), row[7] or "") for row in rows)


def copied_rows(rows: list[Row]) -> list[Row]:
    """Return the sessions of a copy, which has the failing tests as JSON, in the form of `saved_rows`."""
    return sorted((*row[:7], " ".join(sorted(case["name"] for case in as_json(row[7])))) for row in rows)


def as_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value or []


def parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


class Original:
    """A database that is synced while suites change, and from which sessions are deleted in all ways."""

    def __init__(self, fake: FakeBuddy, buddy: BuddyClient, path: Path) -> None:
        self.path = path
        self._fake = fake
        self._buddy = buddy
        self._chance = random.Random(5)
        for name in "abc":
            fake.add_suite("acme", "shop", name).populate(40)

    async def change(self, kind: int = 0) -> None:
        """Change the suites, and sync twice, because only a second sync notices a deletion. Maybe prune or forget."""
        for suite in self._fake.suites.values():
            for session in self._chance.sample(suite.sessions[:30], 3):
                change = suite.reopen if session.get("finish_date") else suite.finish
                change(session)
            suite.delete(suite.sessions[self._chance.randrange(30)])
            for status in self._chance.choices(["PASSED", "FAILED"], [9, 1], k=50):
                suite.create(cases=[{"name": "adds", "status": status}])
        keys = [suite.key for suite in self._fake.suites.values()]
        async with SessionStore(self.path) as store:
            for _ in range(2):
                await store.sync(self._buddy, keys, cases="failed", details=1).run()
            if kind == 1:
                oldest = (await store.sessions("acme/shop/a"))[-10].create_date
                assert oldest is not None
                await store.prune(older_than=datetime.now(UTC) - oldest)
            if kind == 2:
                await store.forget("acme/shop/b")


@pytest.fixture
def original(fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path) -> Original:
    return Original(fake, buddy, tmp_path / "sessions.db")


async def follow(
    original: Original, run: Callable[..., int], kills: int, work: float, load: Callable[[], list[Row]]
) -> None:
    """Change the database, and kill the program that copies it so many times. Then the copy equals the database.

    `run` runs the program, and `load` returns the rows of the copy. `work` is about the seconds of its own work after
    which it is first killed.
    """
    chance = random.Random(7)
    codes: list[int] = []
    while codes.count(-signal.SIGKILL) < kills:
        if len(codes) % 5 == 0:
            await original.change(len(codes) // 5)
        codes.append(run(chance.uniform(work / 2, work)))
        work *= 0.7 if codes[-1] == 0 else 1.1  # so that it often has work left
    assert set(codes) <= {0, -signal.SIGKILL}
    assert run() == 0
    assert copied_rows(load()) == saved_rows(original.path)


async def test_copy_in_postgresql(original: Original, postgres: str, tmp_path: Path) -> None:
    recipe = copy_recipe("copy_to_postgresql", tmp_path, AT_ONCE=5)

    def load() -> list[Row]:
        with psycopg.connect(postgres) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(f"SELECT {COLUMNS}, failures FROM sessions").fetchall()

    await follow(original, partial(run_recipe, recipe, {"DATABASE_URL": postgres}), 20, 0.02, load)


async def test_copy_with_dlt(original: Original, tmp_path: Path) -> None:
    """Its state is the loaded data: without its folder, it continues, too."""
    environment = {"DLT_DATA_DIR": str(tmp_path / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    run = partial(run_recipe, copy_recipe("dlt_pipeline", tmp_path), environment)

    def load() -> list[Row]:
        with duckdb.connect(str(tmp_path / "buddy.duckdb"), read_only=True) as database:
            database.execute("SET TimeZone = 'UTC'")
            return database.execute(f"SELECT {COLUMNS}, failures FROM ci.sessions").fetchall()

    await follow(original, run, 2, 1.0, load)
    shutil.rmtree(tmp_path / "dlt")
    for kind in range(4):
        await original.change(kind)
    assert run() == 0
    assert copied_rows(load()) == saved_rows(original.path)
