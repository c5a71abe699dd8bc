"""The recipe for dlt: real pipelines into a DuckDB file, each run in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.recipe_programs import RECIPES, run_program


@pytest.fixture
def suites(fake: FakeBuddy) -> list[FakeSuite]:
    """A suite of several pages, and a small one. All sessions are finished, and no test fails."""
    suites = [fake.add_suite("acme", "storefront", name) for name in ("api", "web")]
    for suite, count in zip(suites, (150, 3), strict=True):
        for _ in range(count):
            suite.create(status="SUCCESSFUL", cases=[{"name": "adds"}], duration=60)
    return suites


def failing(name: str) -> dict[str, Any]:
    return {"name": name, "status": "FAILED", "type": "AssertionError", "message": "1 != 2"}


async def load(fake: FakeBuddy, folder: Path) -> None:
    """Run the recipe, after which the table contains exactly the sessions of all suites, each once."""
    environment = {"DLT_DATA_DIR": str(folder), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    fake.requests.clear()
    finished = await run_program(fake, folder, RECIPES / "dlt_pipeline.py", **environment)
    assert finished.code == 0, finished.err
    expected = [(*key, one["id"], one["status"]) for key, suite in fake.suites.items() for one in suite.sessions]
    assert rows(folder, "workspace, project, suite_id, id, status", "sessions") == sorted(expected)


def rows(folder: Path, columns: str, table: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "buddy.duckdb"), read_only=True) as database:
        return database.execute(f"SELECT {columns} FROM ci.{table} ORDER BY ALL").fetchall()


async def test_next_run_reads_what_is_new_or_was_unfinished(
    fake: FakeBuddy, suites: list[FakeSuite], tmp_path: Path
) -> None:
    api, web = suites
    running = api.create(status="IN_PROGRESS", cases=[failing("subtracts")])
    api.create(status="SUCCESSFUL", cases=[])
    await load(fake, tmp_path)
    api.finish(running["id"])
    web.create(status="ERROR", cases=[failing("adds")])
    await load(fake, tmp_path)
    columns = "suite_id, name, failure__type, failure__message"
    expected = [("api", "subtracts", "AssertionError", "1 != 2"), ("web", "adds", "AssertionError", "1 != 2")]
    assert rows(tmp_path, columns, "cases") == expected
    await load(fake, tmp_path)
    assert len(fake.requests) == 1 + len(suites)  # the list of suites, and one page of each
