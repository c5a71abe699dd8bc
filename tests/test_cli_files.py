"""The command `harvest` into files that are no text: the store that is kept, SQLite, Parquet."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

import test_cli
import test_cli_harvest
from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from test_cli import Run, interrupt
from test_cli_harvest import A, B, C, down_from, read, shown_on

call, fake, surroundings, suites = test_cli.call, test_cli.fake, test_cli.surroundings, test_cli_harvest.suites


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def finish_all(suites: dict[str, FakeSuite]) -> None:
    for suite in suites.values():
        for session in suite.sessions:
            if session["status"] == "IN_PROGRESS":
                suite.finish(session["id"])


COUNTS = "SELECT suite_id, count(*) FROM sessions WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1"


class TestStore:
    def test_is_kept_up_to_date_for_one_request_a_suite(
        self, call: Run, fake: FakeBuddy, suites: dict[str, FakeSuite], tmp_path: Path
    ) -> None:
        finish_all(suites)
        path = tmp_path / "sessions.db"
        arguments = ("harvest", A, B, "--db", str(path))
        code, out, err = call(*arguments)
        assert (code, out) == (0, "")
        spent, hint = err.splitlines()
        assert spent.startswith("2 suites, 253 new or changed sessions, ")
        assert hint == f"all that is known is in {path}, table sessions"
        assert query(path, COUNTS) == [("a", 250), ("b", 3)]
        fake.requests.clear()
        assert call(*arguments)[2].startswith("2 suites, 0 new or changed sessions, 2 requests in ")
        assert len(fake.requests) == 2

    @pytest.mark.parametrize("where", ["stdout", "file"])
    def test_what_is_new_or_has_changed_is_written_where_it_is_asked_for(
        self, where: str, call: Run, suites: dict[str, FakeSuite], tmp_path: Path
    ) -> None:
        finish_all(suites)
        path, new = tmp_path / "sessions.db", tmp_path / "new.jsonl"
        call("harvest", A, B, "--db", str(path))
        suites[B].create()
        destination = ("--format", "jsonl") if where == "stdout" else ("--out", str(new))
        code, out, _ = call("harvest", A, B, "--db", str(path), *destination)
        assert (code, read(out or new.read_text())) == (0, {B: [4]})

    def test_since_and_branch_bound_it(self, call: Run, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        assert call("harvest", A, B, "--db", str(path), "--since", "240")[0] == 0
        assert query(path, "SELECT max(relative_id) FROM sessions") == [(250,)]
        suites[B].create(branch="only/here")
        out = call("harvest", A, B, "--db", str(path), "--branch", "only/here", "--format", "jsonl")[1]
        assert read(out) == {B: [4]}

    @pytest.mark.usefixtures("suites")
    def test_on_a_terminal_a_summary_tells_what_was_new(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TERM", "dumb")
        for expected in ([["KEY", "NEW"], [A, "250"]], []):
            terminal = shown_on(monkeypatch, "stdout")
            assert run(["harvest", A, "--db", str(tmp_path / "sessions.db")]) == 0
            assert [line.split()[:2] for line in terminal.getvalue().splitlines()] == expected

    @pytest.mark.usefixtures("suites")
    def test_an_interrupt_keeps_what_was_read(self, call: Run, fake: FakeBuddy, tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"

        def on_request(_: object) -> None:
            if len(fake.requests) == 2:
                fake.inject(Fault.hang(), times=9)
                interrupt()

        fake.on_request = on_request
        code, out, err = call("harvest", A, "--db", str(path), "--concurrency", "1")
        assert (code, out) == (130, "")
        assert err.startswith("interrupted: ")
        assert err.endswith(f"; what was read is kept in {path}\n")
        assert query(path, "SELECT count(*) FROM sessions") == [(100,)]

    @pytest.mark.usefixtures("suites")
    def test_a_suite_that_fails_stops_no_other_and_the_next_run_goes_on(
        self, call: Run, fake: FakeBuddy, tmp_path: Path
    ) -> None:
        path = tmp_path / "sessions.db"
        fake.on_request = lambda _: fake.inject(Fault.status(404)) if len(fake.requests) == 2 else None
        code, _, err = call("harvest", A, B, "--db", str(path), "--concurrency", "1")
        assert (code, dict(query(path, COUNTS))["b"]) == (3, 3)
        assert dict(query(path, COUNTS))["a"] in {100, 200}
        assert "--start" not in err
        assert call("harvest", A, B, "--db", str(path))[0] == 0
        assert query(path, COUNTS) == [("a", 250), ("b", 3)]

    @pytest.mark.usefixtures("suites")
    def test_the_file_of_another_program_is_left_alone(self, call: Run, fake: FakeBuddy, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        path.write_text("not a database, and long enough to be looked at")
        before = path.read_bytes()
        code, out, err = call("harvest", A, "--db", str(path))
        assert (code, out, path.read_bytes()) == (1, "", before)
        assert "not a SQLite file" in err
        assert not fake.requests

    @pytest.mark.usefixtures("suites")
    def test_a_failure_that_all_suites_share_is_told_once(self, call: Run, tmp_path: Path) -> None:
        path = tmp_path / "sessions.db"
        assert call("harvest", A, "--db", str(path))[0] == 0
        query(path, "DROP TABLE covered")
        code, _, err = call("harvest", "acme/shop", "acme/other", "--db", str(path), "--concurrency", "1")
        assert (code, err.count("no such table")) == (1, 1)
        assert f"failed: {A} and 2 more: " in err


class TestNewFiles:
    def test_a_sqlite_file_is_new_each_time(self, call: Run, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
        path = tmp_path / "new.db"
        path.write_text("old")
        for _ in range(2):
            code, out, err = call("harvest", A, B, "--out", str(path))
            assert (code, out, err.count("253 sessions"), len(err.splitlines())) == (0, "", 1, 1)
            assert query(path, COUNTS) == [("a", 250), ("b", 3)]
            assert [*tmp_path.iterdir()] == [path]

    @pytest.mark.parametrize("name", ["new.db", "new.parquet"])
    @pytest.mark.usefixtures("suites")
    def test_is_made_as_any_other_file(self, call: Run, tmp_path: Path, name: str) -> None:
        before = os.umask(0o027)
        try:
            assert call("harvest", B, "--out", str(tmp_path / name))[0] == 0
        finally:
            os.umask(before)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("name", ["new.db", "new.parquet"])
    @pytest.mark.usefixtures("suites")
    def test_stays_as_it_was_where_nothing_could_be_read(self, call: Run, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_text("old")
        assert call("harvest", C, "--out", str(path))[0] == 1
        assert path.read_text() == "old"
        assert [*tmp_path.iterdir()] == [path]

    @pytest.mark.parametrize("name", ["new.csv", "new.jsonl", "new.db", "new.parquet"])
    @pytest.mark.usefixtures("suites")
    def test_a_disk_that_is_full_is_told_and_nothing_stays(self, call: Run, tmp_path: Path, name: str) -> None:
        resource = pytest.importorskip("resource")
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))  # as good as a disk of that size
        try:
            code, out, err = call("harvest", A, "--out", str(tmp_path / name))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert (code, out) == (1, "")
        assert "too large" in err or "disk I/O error" in err or "full" in err
        assert not [*tmp_path.iterdir()]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--out", "x.db", "--db", "y.db"], "exclude each other"),
            (["--out", "x.db", "--format", "csv"], "contradict"),
            (["--out", "x.parquet", "--format", "jsonl"], "contradict"),
        ],
    )
    def test_what_cannot_be_meant_is_wrong_usage(
        self, arguments: list[str], said: str, call: Run, fake: FakeBuddy
    ) -> None:
        code, out, err = call("harvest", A, *arguments)
        assert (code, out, said in err) == (2, "", True)
        assert not fake.requests


class TestParquet:
    def test_has_every_session_with_real_types(self, call: Run, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
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

    def test_holds_nulls_and_text_of_any_kind(self, call: Run, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
        path = tmp_path / "new.parquet"
        suites[B].create(branch="ó\ud800\u2028\x00'\n", created_by=None, duration=None)
        assert call("harvest", B, "--out", str(path), "--since", "3")[0] == 0
        with duckdb.connect() as database:
            rows = database.read_parquet(str(path)).select("ref_name, created_by, duration").fetchall()
        assert rows == [("ó\\ud800\u2028\x00'\n", None, None)]

    def test_a_number_that_no_column_holds_is_told(
        self, call: Run, suites: dict[str, FakeSuite], tmp_path: Path
    ) -> None:
        suites[B].create(tests_count=2**63)
        code, out, err = call("harvest", B, "--out", str(tmp_path / "new.parquet"))
        assert (code, out) == (1, "")
        assert "9223372036854775808" in err
        assert not [*tmp_path.iterdir()]

    def test_says_what_to_install(
        self, call: Run, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "duckdb", None)
        code, out, err = call("harvest", B, "--out", str(tmp_path / "new.parquet"))
        assert (code, out) == (2, "")
        assert err == "error: duckdb is not installed; run: pip install 'buddy_sessions[parquet]'\n"
        assert not fake.requests
        assert not [*tmp_path.iterdir()]
