"""Sessions of a store as files, and as flat rows."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from attrs import evolve

from buddy_sessions import (
    ConfigError,
    Failure,
    Member,
    Session,
    SessionStatus,
    StoreError,
    TestCase,
    TestStatus,
    to_row,
)
from buddy_sessions.cli import run
from helpers.stores import KEY, OTHER_KEY, SyncedSuite

WITHOUT_MSGSPEC = """
import asyncio, sys
sys.modules["msgspec"] = None
from buddy_sessions import SessionStore

async def main(db, path):
    async with SessionStore(db) as store:
        await store.export(path)

asyncio.run(main(*sys.argv[1:]))
"""


class TestExport:
    @pytest.fixture(autouse=True)
    async def synced(self, db: SyncedSuite) -> None:
        db.suite.populate(30)
        db.fake.add_suite(*OTHER_KEY).populate(5)
        db.suite.create(branch="only/here", create_date="2020-01-01T00:00:00Z")
        await db.sync(KEY, OTHER_KEY)

    @pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
    async def test_file_is_that_of_the_command(self, db: SyncedSuite, tmp_path: Path, suffix: str) -> None:
        library, command = tmp_path / f"library{suffix}", tmp_path / f"command{suffix}"
        assert await db.store.export(library) == 36
        arguments = ["export", "--db", str(db.path), "--out", str(command), "--quiet"]
        assert await asyncio.to_thread(run, arguments) == 0
        assert library.read_bytes() == command.read_bytes()

    async def test_library_without_extras_writes_the_same(self, db: SyncedSuite, tmp_path: Path) -> None:
        paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", WITHOUT_MSGSPEC, db.path, paths[0])
        assert await process.wait() == 0
        await db.store.export(paths[1])
        assert paths[0].read_bytes() == paths[1].read_bytes()

    async def test_test_cases_are_written_in_each_format(self, db: SyncedSuite, tmp_path: Path) -> None:
        failing = {"name": "a", "status": "FAILED", "data": "<testcase><failure message='1 != 2'/></testcase>"}
        suite = db.fake.add_suite(*KEY[:2], "cases")
        suite.create(cases=[failing, {"name": "b", "time": 0.5}])
        await db.sync(suite.key, cases="all")
        for suffix, message in (
            (".jsonl", "failure.message"),
            (".csv", "failure_message"),
            (".parquet", "failure_message"),
        ):
            path = tmp_path / f"cases{suffix}"
            arguments = ["export", "--cases", "--db", str(db.path), "--out", str(path), "--quiet"]
            assert await asyncio.to_thread(run, arguments) == 0
            columns = f"suite_id, session_id, relative_id, name, status, time, {message}"
            found = duckdb.execute(f"SELECT {columns} FROM '{path}' ORDER BY name").fetchall()
            names = ("cases", suite.sessions[0]["id"], 1)
            assert found == [(*names, "a", "FAILED", 0.1, "1 != 2"), (*names, "b", "PASSED", 0.5, None)], suffix

    async def test_file_is_replaced_only_when_it_is_complete(self, db: SyncedSuite, tmp_path: Path) -> None:
        path = tmp_path / "sessions.csv"
        path.write_text("before")
        await db.store.close()
        with pytest.raises(StoreError, match="not open"):
            await db.store.export(path)
        assert path.read_text() == "before"
        assert sorted(os.listdir(tmp_path)) == ["sessions.csv", "sessions.db", "sessions.db-lock"]

    async def test_wrong_path(self, db: SyncedSuite, tmp_path: Path) -> None:
        for name, message in (("a.txt", "cannot write"), (db.path.name, "a database"), ("no/a.csv", "not found")):
            with pytest.raises(ConfigError, match=message):
                await db.store.export(tmp_path / name)


@pytest.mark.parametrize("has_object", [False, True])
def test_rows_are_flat(has_object: bool) -> None:
    """And have the same columns, whether there is an object or not."""
    created = datetime(2026, 3, 1, 10, tzinfo=UTC)
    session = Session(id="7", relative_id=7, status=SessionStatus.ERROR, duration=1.5, create_date=created)
    case = TestCase(id="a", name="test", status=TestStatus.FAILED, data="<testcase/>")
    plain = [list(to_row(session)), list(to_row(case))]
    if has_object:
        session = evolve(session, created_by=Member(name="Ann"))
        case = evolve(case, failure=Failure(kind="failure", message="1 != 2"))
    row, case_row = to_row(session), to_row(case)
    assert [list(row), list(case_row)] == plain
    assert {type(value) for value in (*row.values(), *case_row.values())} <= {str, int, float, bool, type(None)}
    values = row["relative_id"], row["status"], row["duration"], row["create_date"], row["created_by_name"]
    assert values == (7, "ERROR", 1.5, "2026-03-01T10:00:00Z", "Ann" if has_object else None)
    assert (case_row["status"], case_row["failure_message"]) == ("FAILED", "1 != 2" if has_object else None)
    assert not {"data", "failure"} & case_row.keys()
