"""The recipes for other tools run, each as a program of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from distributed import LocalCluster
from prometheus_client.parser import text_string_to_metric_families

from buddy_sessions.testing import FakeBuddy, Fault
from helpers.recipe_programs import RECIPES, copy_recipe, finish, run_program, running

SESSIONS = 250
EXTENSION = "duckdb_extension_sqlite_scanner"
INSTALL = f"""
import duckdb, importlib.resources
(file,) = (importlib.resources.files("{EXTENSION}") / "extensions" / f"v{{duckdb.__version__}}").iterdir()
duckdb.sql(f"INSTALL '{{file}}'")
"""


async def run(fake: FakeBuddy, folder: Path, *command: str | Path) -> str:
    """Run Python in a folder, and return what it prints."""
    # DuckDB keeps its extensions in the home folder.
    finished = await run_program(fake, folder, *command, HOME=str(folder))
    assert finished.code == 0, finished.err
    return finished.out


@pytest.mark.parametrize(
    ("recipe", "command", "printed"),
    [
        ("duckdb_parquet", ("harvest", "--out", "sessions.parquet"), "1000.5"),
        ("frames", (), "1000.5"),
        ("opentelemetry_spans", (), f"{SESSIONS} sessions"),
    ],
)
async def test_recipe_prints_what_it_reads(
    fake: FakeBuddy, tmp_path: Path, recipe: str, command: tuple[str, ...], printed: str
) -> None:
    suite = fake.add_suite("acme", "storefront", "MNbyVedg")
    suite.create(branch="slow", status="SUCCESSFUL", duration=1000.5)
    suite.populate(SESSIONS - 1)
    if command:
        await run(fake, tmp_path, "-m", "buddy_sessions", command[0], "acme/storefront", *command[1:])
    assert printed in await run(fake, tmp_path, RECIPES / f"{recipe}.py")


async def test_duckdb_queries_several_files_at_once(fake: FakeBuddy, tmp_path: Path) -> None:
    if find_spec(EXTENSION) is None:
        pytest.skip(f"DuckDB's SQLite extension is not installed as a package: {EXTENSION}")
    await run(fake, tmp_path, "-c", INSTALL)
    for number, suite in enumerate(("first", "second")):
        fake.add_suite("acme", suite, suite).populate(3)
        await run(fake, tmp_path, "-m", "buddy_sessions", "sync", f"acme/{suite}", "--db", f"sessions-{number}.db")
    printed = await run(fake, tmp_path, RECIPES / "duckdb_store.py")
    assert "first" in printed
    assert "second" in printed


async def test_gauges_for_prometheus(fake: FakeBuddy, tmp_path: Path) -> None:
    name = 'API "v2"\n\\ \x01\ud83d'
    fake.add_suite("acme", "shop", "red", name=name).create(status="ERROR", create_date="2026-01-02T03:04:05Z")
    fake.add_suite("acme", "shop", "green").create(status="SUCCESSFUL")
    fake.add_suite("acme", "shop", "empty")
    sync = ["-m", "buddy_sessions", "sync", "acme", "--db", "sessions.db"]
    await run(fake, tmp_path, *sync)
    fake.delete_suite(fake.suites["acme", "shop", "green"])
    await run_program(fake, tmp_path, *sync, "acme/shop/green")
    status = ["-m", "buddy_sessions", "status", "--db", "sessions.db", "--format", "jsonl"]
    rows = (await run_program(fake, tmp_path, *status)).out
    command = [sys.executable, str(RECIPES / "prometheus_gauges.py")]
    printed = await asyncio.to_thread(subprocess.check_output, command, input=rows, encoding="utf-8")
    gauges = {gauge.name: gauge for gauge in text_string_to_metric_families(printed)}
    found = {
        gauge.name: {sample.labels["suite_id"]: sample.value for sample in gauge.samples} for gauge in gauges.values()
    }
    assert found["buddy_suite_red"] == {"red": 1}
    assert found["buddy_suite_since_seconds"] == {"red": 1767323045}
    assert found["buddy_suite_lost"] == {"red": 0, "green": 1, "empty": 0}
    assert found["buddy_suite_synced_seconds"]["red"] == pytest.approx(time.time(), abs=60)
    (sample,) = gauges["buddy_suite_red"].samples
    assert sample.labels["name"] == 'API "v2" \\  \ufffd'
    assert sample.labels["branch"] == "main"


async def test_harvester_goes_on_after_an_outage(fake: FakeBuddy, tmp_path: Path) -> None:
    """It handles what is new in each round, and ends when its token is rejected."""
    suite = fake.add_suite("acme", "storefront", "new")
    suite.create(status="SUCCESSFUL")
    recipe = copy_recipe("harvester", tmp_path, PAUSE=0.1)
    async with running(fake, tmp_path, recipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(await process.stdout.readline())["relative_id"] == 1
        fake.on_request = lambda _: fake.inject(Fault.status(502))
        while b"the next round begins" not in (line := await process.stderr.readline()):
            assert line
        fake.on_request = None
        suite.create(status="ERROR")
        assert json.loads(await process.stdout.readline())["status"] == "ERROR"
        fake.token = "another"
        code, out, err = await finish(process)
    assert (code, out) == (1, "")
    assert "The harvester ends: Unauthorized" in err


async def test_dask_does_the_work(fake: FakeBuddy, tmp_path: Path) -> None:
    for name in "ab":
        suite = fake.add_suite("acme", "storefront", name)
        for branch in ("main", "main", "try"):
            suite.create(status="ERROR", branch=branch)
    async with LocalCluster(n_workers=2, processes=True, asynchronous=True, dashboard_address=":0") as cluster:
        recipe = copy_recipe("dask_pages", tmp_path, SCHEDULER=cluster.scheduler_address, AT_ONCE=1)
        assert await run(fake, tmp_path, recipe) == "('main', 4) ('try', 2)\n"
