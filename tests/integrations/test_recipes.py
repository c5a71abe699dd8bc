"""The recipes for other tools run, each as a program of its own."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.recipe_programs import RECIPES, finish, run_program, running

SESSIONS = 250
EXTENSION = "duckdb_extension_sqlite_scanner"
INSTALL = f"""
import duckdb, importlib.resources
(file,) = (importlib.resources.files("{EXTENSION}") / "extensions" / f"v{{duckdb.__version__}}").iterdir()
duckdb.sql(f"INSTALL '{{file}}'")
"""


@pytest.fixture
def filled(fake: FakeBuddy) -> FakeBuddy:
    suite = fake.add_suite("acme", "storefront", "MNbyVedg")
    suite.create(branch="slow", status="SUCCESSFUL", duration=1000.5)
    suite.populate(SESSIONS - 1)
    return fake


async def run(fake: FakeBuddy, folder: Path, *command: str | Path) -> str:
    """Run Python in a folder, and return what it prints."""
    # DuckDB keeps its extensions in the home folder.
    finished = await run_program(fake, folder, *command, HOME=str(folder))
    assert finished.code == 0, finished.err
    return finished.out


async def run_command(fake: FakeBuddy, folder: Path, command: str, *into: str) -> None:
    await run(fake, folder, "-m", "buddy_sessions", command, "acme/storefront", *into)


async def test_duckdb_reads_a_database(filled: FakeBuddy, tmp_path: Path) -> None:
    if find_spec(EXTENSION) is None:
        pytest.skip(f"DuckDB's SQLite extension is not installed as a package: {EXTENSION}")
    await run(filled, tmp_path, "-c", INSTALL)
    await run_command(filled, tmp_path, "sync", "--db", "sessions.db")
    assert "MNbyVedg" in await run(filled, tmp_path, RECIPES / "duckdb_store.py")


async def test_duckdb_reads_a_database_through_pandas(filled: FakeBuddy, tmp_path: Path) -> None:
    await run_command(filled, tmp_path, "sync", "--db", "sessions.db")
    printed = await run(filled, tmp_path, RECIPES / "store_without_extension.py")
    assert "MNbyVedg" in printed
    assert f" {SESSIONS} " in printed


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("sqlite_utils", ["rows", "sessions.db", "sessions", "--limit", "1", "--order", "duration desc"]),
        ("datasette", ["--get", "/sessions/sessions.json?_shape=array&_size=1&_sort_desc=duration", "sessions.db"]),
    ],
)
async def test_tool_reads_a_database(filled: FakeBuddy, tmp_path: Path, module: str, arguments: list[str]) -> None:
    """`sessions` is a view, which such tools list and read as a table."""
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    await run_command(filled, tmp_path, "sync", "--db", "sessions.db")
    (row,) = json.loads(await run(filled, tmp_path, "-m", module, *arguments))
    assert (row["suite_id"], row["ref_name"], row["duration"]) == ("MNbyVedg", "slow", 1000.5)
    assert {"name", "email"} < json.loads(row["created_by"]).keys()


async def test_duckdb_reads_parquet(filled: FakeBuddy, tmp_path: Path) -> None:
    await run_command(filled, tmp_path, "harvest", "--out", "sessions.parquet")
    assert "1000.5" in await run(filled, tmp_path, RECIPES / "duckdb_parquet.py")
    assert pl.read_parquet(tmp_path / "sessions.parquet").schema["duration"] == pl.Float64


async def test_pandas_and_polars_take_sessions(filled: FakeBuddy, tmp_path: Path) -> None:
    (suite,) = filled.suites.values()
    for _ in range(120):  # polars infers types from the first hundred rows
        suite.create(created_by=None, duration=0)
    printed = await run(filled, tmp_path, RECIPES / "frames.py")
    assert printed.count("1000.5") == 2


async def test_opentelemetry_recipe(filled: FakeBuddy, tmp_path: Path) -> None:
    assert await run(filled, tmp_path, RECIPES / "opentelemetry_spans.py") == f"{SESSIONS} sessions\n"


DAILY_JOB = RECIPES / "daily_job.py"


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def failing(*names: str) -> list[dict[str, Any]]:
    group = {"test_group_name": "cart", "classname": ""}
    return [{"name": name, **group, "status": "FAILED", "message": "1 != 2"} for name in names]


@pytest.fixture
def red(fake: FakeBuddy) -> FakeSuite:
    """A suite in which a test fails for four days, and one since a session that ended today. Another suite is green."""
    fake.add_suite("acme", "storefront", "green", name="Green").create(cases=[{"name": "passes"}])
    suite = fake.add_suite("acme", "storefront", "red", name="Red")
    suite.create(cases=failing("old"), create_date=days_ago(6))
    suite.create(cases=[{"name": "old"}], create_date=days_ago(5))
    suite.create(cases=failing("old", "fixed"), create_date=days_ago(4))
    suite.create(cases=[], status="ERROR", create_date=days_ago(3))  # the tests did not run
    suite.create(cases=failing("old"), create_date=days_ago(2))
    suite.create(cases=failing("old", "new"), create_date=days_ago(1.1), finish_date=days_ago(0.9))
    suite.create(branch="feature", cases=failing("hidden"))
    return suite


async def test_daily_job_prints_what_fails_since_when(fake: FakeBuddy, red: FakeSuite, tmp_path: Path) -> None:
    """A second run requests only the list of suites and one page a suite. A run without failing tests is silent."""
    expected = [
        f"Red, main: 2 failing tests, {red.html_url}",
        f"  since {days_ago(4)[:10]} (#3) cart > old: 1 != 2",
        f"  NEW since {days_ago(0.9)[:10]} (#6) cart > new: 1 != 2",
    ]
    for _ in range(2):
        fake.requests.clear()
        code, out, err = await run_program(fake, tmp_path, DAILY_JOB)
        assert (code, out.splitlines(), err) == (2, expected, "")
    assert len(fake.requests) == 3
    red.create(cases=failing("old"))
    assert (await run_program(fake, tmp_path, DAILY_JOB))[::2] == (0, "")
    red.create(cases=[{"name": "old"}])
    assert await run_program(fake, tmp_path, DAILY_JOB) == (0, "", "")


async def test_daily_job_prints_the_other_suites_if_one_cannot_be_read(
    fake: FakeBuddy, red: FakeSuite, tmp_path: Path
) -> None:
    def on_request(request: RecordedRequest) -> None:
        if "/green/" in request.path:
            fake.inject(Fault.status(404))

    fake.on_request = on_request
    code, out, err = await run_program(fake, tmp_path, DAILY_JOB)
    assert (code, len(out.splitlines())) == (1, 3)
    assert err.startswith("could not read acme/storefront/green: ")
    fake.on_request = None
    assert (await run_program(fake, tmp_path, DAILY_JOB))[::2] == (2, "")


async def test_daily_job_says_that_the_token_was_rejected(fake: FakeBuddy, red: FakeSuite, tmp_path: Path) -> None:
    code, out, err = await run_program(fake, tmp_path, DAILY_JOB, BUDDY_TOKEN="wrong-token")
    assert (code, out) == (1, "")
    assert err.startswith("the daily job failed: Unauthorized")
    assert len(err.splitlines()) == 1
    assert "wrong-token" not in err


async def test_daily_job_continues_after_a_kill(fake: FakeBuddy, red: FakeSuite, tmp_path: Path) -> None:
    stopped = asyncio.Event()

    def on_request(request: RecordedRequest) -> None:
        if request.path.endswith("/cases"):
            fake.inject(Fault.hang())
            stopped.set()

    fake.on_request = on_request
    async with running(fake, tmp_path, DAILY_JOB) as process:
        await stopped.wait()
        process.kill()
        await finish(process)
    fake.on_request = None
    code, out, _ = await run_program(fake, tmp_path, DAILY_JOB)
    assert (code, len(out.splitlines())) == (2, 3)


async def test_daily_job_can_run_twice_at_once(fake: FakeBuddy, red: FakeSuite, tmp_path: Path) -> None:
    runs = await asyncio.gather(*(run_program(fake, tmp_path, DAILY_JOB) for _ in range(2)))
    assert [(code, len(out.splitlines()), err) for code, out, err in runs] == [(2, 3, "")] * 2


async def test_daily_job_prints_any_name(fake: FakeBuddy, red: FakeSuite, tmp_path: Path) -> None:
    red.create(cases=failing("\ud800 two\nlines"))
    code, out, err = await run_program(fake, tmp_path, DAILY_JOB)
    assert (code, err) == (2, "")
    assert out.splitlines()[1].endswith(r"cart > \ud800 two lines: 1 != 2")
