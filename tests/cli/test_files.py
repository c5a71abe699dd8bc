"""The command `harvest` with a database and with new files: what is written, and what a failure leaves behind."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, down_from, interrupt_at_request, numbers_by_suite, use_terminal

A, B, C = "acme/shop/a", "acme/shop/b", "acme/shop/c"

COUNTS = "SELECT suite_id, count(*) FROM sessions WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1"


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def finish_all(suites: dict[str, FakeSuite]) -> None:
    for suite in suites.values():
        for session in suite.sessions:
            if session["status"] == "IN_PROGRESS":
                suite.finish(session["id"])


class TestDatabase:
    def test_unchanged_suite_costs_one_request(
        self, call: Call, fake: FakeBuddy, suites: dict[str, FakeSuite], tmp_path: Path
    ) -> None:
        finish_all(suites)
        path = tmp_path / "sessions.db"
        arguments = ("harvest", A, B, "--db", str(path))
        code, out, err = call(*arguments)
        assert (code, out) == (0, "")
        summary, hint = err.splitlines()
        assert summary.startswith("2 suites, 253 new or changed sessions, ")
        assert hint == f"all sessions are in {path}, table sessions"
        assert query(path, COUNTS) == [("a", 250), ("b", 3)]
        fake.requests.clear()
        assert call(*arguments).err.startswith("2 suites, 0 new or changed sessions, 2 requests in ")
        assert len(fake.requests) == 2

    @pytest.mark.parametrize("destination", ["stdout", "file"])
    def test_new_sessions_can_be_written_elsewhere(
        self, destination: str, call: Call, suites: dict[str, FakeSuite], tmp_path: Path
    ) -> None:
        finish_all(suites)
        path, new = tmp_path / "sessions.db", tmp_path / "new.jsonl"
        call("harvest", A, B, "--db", str(path))
        suites[B].create()
        options = ("--format", "jsonl") if destination == "stdout" else ("--out", str(new))
        code, out, _ = call("harvest", A, B, "--db", str(path), *options)
        assert (code, numbers_by_suite(out or new.read_text())) == (0, {B: [4]})

    def test_after_and_branch_select_sessions(self, call: Call, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        assert call("harvest", A, B, "--db", str(path), "--after", "240").code == 0
        read = "SELECT min(relative_id) > 100, max(relative_id) FROM sessions WHERE suite_id = 'a'"
        assert query(path, read) == [(True, 250)]  # one page of 100 was enough
        suites[B].create(branch="only/here")
        out = call("harvest", A, B, "--db", str(path), "--branch", "only/here", "--format", "jsonl").out
        assert numbers_by_suite(out) == {B: [4]}

    @pytest.mark.usefixtures("suites")
    def test_terminal_gets_a_summary_of_new_sessions(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for expected in ([["KEY", "NEW"], [A, "250"]], []):
            terminal = use_terminal(monkeypatch, "stdout")
            assert run(["harvest", A, "--db", str(tmp_path / "sessions.db")]) == 0
            assert [line.split()[:2] for line in terminal.getvalue().splitlines()] == expected

    @pytest.mark.usefixtures("suites")
    def test_interrupt_keeps_the_pages_read(self, call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        interrupt_at_request(fake, 2)
        code, out, err = call("harvest", A, "--db", str(path), "--concurrency", "1")
        assert (code, out) == (130, "")
        assert err.startswith("interrupted: ")
        assert err.endswith(f"; all sessions read so far are saved in {path}\n")
        assert query(path, "SELECT count(*) FROM sessions") == [(100,)]

    @pytest.mark.usefixtures("suites")
    def test_failed_suite_is_continued_by_the_next_harvest(self, call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        fake.on_request = lambda request: fake.inject(Fault.status(404)) if request.page == 2 else None
        code, _, err = call("harvest", A, B, "--db", str(path), "--concurrency", "1")
        assert (code, dict(query(path, COUNTS))["b"]) == (3, 3)
        assert dict(query(path, COUNTS))["a"] in {100, 200}
        assert "--cursor" not in err
        fake.on_request = None
        assert call("harvest", A, B, "--db", str(path)).code == 0
        assert query(path, COUNTS) == [("a", 250), ("b", 3)]

    @pytest.mark.usefixtures("suites")
    def test_file_of_another_program_is_not_touched(self, call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        path.write_text("not a database, and long enough to be looked at")
        before = path.read_bytes()
        code, out, err = call("harvest", A, "--db", str(path))
        assert (code, out, path.read_bytes()) == (1, "", before)
        assert "not a SQLite" in err
        assert not fake.requests

    @pytest.mark.usefixtures("suites")
    def test_same_error_of_many_suites_is_printed_once(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        assert call("harvest", A, "--db", str(path)).code == 0
        query(path, "DROP TABLE covered")
        code, _, err = call("harvest", "acme/shop", "acme/other", "--db", str(path), "--concurrency", "1")
        assert (code, err.count("no such table")) == (1, 1)
        assert f"failed: {A} and 2 more: " in err


class TestNewFile:
    @pytest.mark.usefixtures("suites")
    def test_sqlite_file_is_new_each_time(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "new.db"
        path.write_text("old")
        for _ in range(2):
            code, out, err = call("harvest", A, B, "--out", str(path))
            assert (code, out, err.count("253 sessions"), len(err.splitlines())) == (0, "", 1, 1)
            assert query(path, COUNTS) == [("a", 250), ("b", 3)]
            assert [*tmp_path.iterdir()] == [path]

    @pytest.mark.parametrize("name", ["new.csv", "new.db", "new.parquet"])
    @pytest.mark.usefixtures("suites")
    def test_mode_follows_the_umask(self, call: Call, tmp_path: Path, name: str) -> None:
        before = os.umask(0o027)
        try:
            assert call("harvest", B, "--out", str(tmp_path / name)).code == 0
        finally:
            os.umask(before)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("name", ["new.csv", "new.db", "new.parquet"])
    @pytest.mark.usefixtures("suites")
    def test_file_is_unchanged_if_all_suites_fail(self, call: Call, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_text("old")
        assert call("harvest", C, "--out", str(path)).code == 1
        assert path.read_text() == "old"
        assert [*tmp_path.iterdir()] == [path]

    @pytest.mark.parametrize("name", ["new.csv", "new.jsonl", "new.db", "new.parquet"])
    @pytest.mark.usefixtures("suites")
    def test_full_disk_leaves_no_file(self, call: Call, tmp_path: Path, name: str) -> None:
        resource = pytest.importorskip("resource")
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))  # fails like a full disk
        try:
            code, out, err = call("harvest", A, "--out", str(tmp_path / name))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert (code, out) == (1, "")
        assert "too large" in err or "disk I/O error" in err or "full" in err
        assert not [*tmp_path.iterdir()]


class TestParquet:
    def test_columns_have_types(self, call: Call, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
        path = tmp_path / "new.parquet"
        suites[B].create(create_date="2025-10-21T06:42:16Z", duration=1.5)
        code, out, err = call("harvest", A, B, "--out", str(path))
        assert (code, out, err.count("254 sessions")) == (0, "", 1)
        assert [*tmp_path.iterdir()] == [path]
        with duckdb.connect() as database:
            database.execute("SET TimeZone = 'UTC'")
            rows = database.read_parquet(str(path))
            types = dict(zip(rows.columns, map(str, rows.types), strict=True))
            (newest,) = (
                rows.filter("suite_id = 'b' AND relative_id = 4").select("create_date::VARCHAR, duration").fetchall()
            )
            numbers = rows.filter("suite_id = 'a'").select("relative_id").fetchall()
            names = rows.filter("suite_id = 'b'").select("created_by.name").fetchall()
        assert newest == ("2025-10-21 06:42:16+00", 1.5)
        assert [number for (number,) in numbers] == down_from(250)
        assert [name for (name,) in names] == [session["created_by"]["name"] for session in suites[B].sessions]
        assert types.pop("created_by").startswith("STRUCT(url VARCHAR, html_url VARCHAR, id BIGINT, ")
        dates = {name for name, kind in types.items() if kind == "TIMESTAMP WITH TIME ZONE"}
        assert dates == {"create_date", "start_date", "finish_date"}
        assert {name for name, kind in types.items() if kind == "DOUBLE"} == {"duration"}
        whole = {"relative_id", "tests_count", "failed_count", "skipped_count", "error_count"}
        assert {name for name, kind in types.items() if kind == "BIGINT"} == whole

    def test_nulls_and_any_text_are_kept(self, call: Call, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
        path = tmp_path / "new.parquet"
        suites[B].create(branch="ó\ud800\u2028\x00'\n", created_by=None, duration=None)
        assert call("harvest", B, "--out", str(path), "--after", "3").code == 0
        with duckdb.connect() as database:
            rows = database.read_parquet(str(path)).select("ref_name, created_by, duration").fetchall()
        assert rows == [("ó\\ud800\u2028\x00'\n", None, None)]

    def test_number_above_64_bits_is_an_error(self, call: Call, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
        suites[B].create(tests_count=2**63)
        code, out, err = call("harvest", B, "--out", str(tmp_path / "new.parquet"))
        assert (code, out) == (1, "")
        assert "9223372036854775808" in err
        assert not [*tmp_path.iterdir()]

    def test_missing_extra_is_wrong_usage(
        self, call: Call, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "duckdb", None)
        code, out, err = call("harvest", B, "--out", str(tmp_path / "new.parquet"))
        assert (code, out) == (2, "")
        assert err == "error: duckdb is not installed; run: pip install 'buddy_sessions[parquet]'\n"
        assert not fake.requests
        assert not [*tmp_path.iterdir()]
