"""The recipes for other tools run, each as a program of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb
import polars as pl
import pytest

from buddy_sessions.testing import FakeBuddy

RECIPES = Path(__file__).parent / "recipes"
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
    environment = {
        **os.environ,
        "BUDDY_TOKEN": fake.token,
        "BUDDY_API_URL": str(fake.base_url),
        "SOURCES__BUDDY__TOKEN": fake.token,
        "SOURCES__BUDDY__BASE_URL": str(fake.base_url),
        "DLT_DATA_DIR": str(folder),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "PYTHONIOENCODING": "utf-8",
        "HOME": str(folder),  # DuckDB keeps its extensions here
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0
    return printed


async def run_command(fake: FakeBuddy, folder: Path, command: str, *into: str) -> None:
    await run(fake, folder, "-m", "buddy_sessions", command, "acme/storefront", *into)


async def test_dlt_loads_into_duckdb(filled: FakeBuddy, tmp_path: Path) -> None:
    for requests in (3, 1):
        filled.requests.clear()
        await run(filled, tmp_path, RECIPES / "dlt_pipeline.py")
        assert len(filled.requests) == requests
    with duckdb.connect(str(tmp_path / "buddy.duckdb")) as database:
        assert database.execute("SELECT count(*) FROM ci.sessions").fetchall() == [(SESSIONS,)]


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
