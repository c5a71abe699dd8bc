"""The commands of a database: `sync`, `export`, `prune`, `info`."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

import duckdb
import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, down_from, numbers_by_suite, rows, sync_database
from helpers.stores import ABSENCES, query

A, B, C, X = "acme/shop/a", "acme/shop/b", "acme/shop/c", "acme/other/x"

COUNTS = "SELECT suite_id, count(*) FROM sessions WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def test_since_selects_sessions(call: Call, suites: dict[str, FakeSuite], path: Path) -> None:
    since = suites["acme/shop/a"].sessions[9]["create_date"]
    assert call("sync", A, "--db", str(path), "--since", since).code == 0
    assert query(path, COUNTS) == [("a", 10)]


@pytest.mark.parametrize(
    ("options", "noun", "saved"),
    [
        ("failed", "2 test cases", [("three", True), ("two", True)]),
        ("all", "3 test cases", [("one", False), ("three", True), ("two", True)]),
        ("failed --details 1", "2 test cases", [("three", False), ("two", True)]),
    ],
)
def test_summary_counts_the_saved_cases(
    options: str, noun: str, saved: list[tuple[str, bool]], suite: FakeSuite, call: Call, path: Path
) -> None:
    failed = [{"name": name, "status": "FAILED", "message": "x"} for name in ("two", "three")]
    suite.create(cases=[{"name": "one"}, *failed])
    code, out, err = call("sync", A, "--db", str(path), "--cases", *options.split())
    assert (code, out) == (0, "")
    assert err.startswith(f"1 suite, 1 new or changed session, {noun}, ")
    assert query(path, "SELECT name, data IS NOT NULL FROM cases ORDER BY name") == saved


@pytest.mark.usefixtures("suites")
def test_full_check_reports_and_repairs_damage(call: Call, path: Path) -> None:
    assert call("sync", A, B, "--db", str(path)).code == 0
    query(path, "DELETE FROM session_rows WHERE relative_id IN (70, 71)")
    assert query(path, COUNTS) == [("a", 248), ("b", 3)]
    code, _, err = call("sync", A, B, "--db", str(path), "--full")
    assert (code, err.count("the full check has")) == (0, 1)
    assert f"{A}: the full check has corrected 2 sessions" in err
    assert query(path, COUNTS) == [("a", 250), ("b", 3)]


@pytest.mark.usefixtures("suites")
def test_failed_suites(call: Call, path: Path) -> None:
    code, _, err = call("sync", B, C, "acme/none", "--db", str(path))
    assert (code, query(path, COUNTS)) == (3, [("b", 3)])
    assert err.startswith("2 suites, 1 failed, 1 project failed, 3 new or changed sessions, ")
    assert f"\nfailed: {C}: " in err


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that holds the lock of the file."""
    with closing(sqlite3.connect(f"{path}-lock", isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield connection


@pytest.mark.usefixtures("suites", "writer")
def test_second_sync_is_refused(call: Call, fake: FakeBuddy, path: Path) -> None:
    code, out, err = call("sync", A, "--db", str(path))
    assert (code, out) == (7, "")
    assert err.startswith(f"error: another process is syncing or pruning {path}: try again when it has finished")
    assert err.count("\n") == 1
    prune = call("prune", "--db", str(path), "--keep", "1d")
    assert (prune.code, prune.err) == (7, err)
    assert fake.requests == []


@pytest.mark.usefixtures("suites")
def test_sync_and_prune_wait_for_another_one(call: Call, path: Path, writer: sqlite3.Connection) -> None:
    for arguments in (["sync", A], ["prune", "--keep", "9000d"]):
        release = Timer(0.2, writer.execute, ["ROLLBACK"])
        release.start()
        result = call(*arguments, "--db", str(path), "--wait", "1m")
        release.join()
        assert result.code == 0, result.err
        writer.execute("BEGIN EXCLUSIVE")
    assert query(path, COUNTS) == [("a", 250)]


@pytest.mark.parametrize(
    ("arguments", "message", "counts"),
    [
        ("prune --keep 5d", r"Deleted 5 old sessions from .*\.db, which has \d\.\d MB now\n", (5, 5)),
        (f"sync {A} --keep 1w --cases failed", "1 suite, 0 new or changed sessions, ", (7, 7)),
    ],
    ids=["prune", "sync --keep"],
)
def test_old_sessions_are_deleted(
    arguments: str, message: str, counts: tuple[int, int], call: Call, suite: FakeSuite, path: Path
) -> None:
    """Of ten sessions with a failed test case each: one a day, the newest one just now."""
    for age in range(10, 0, -1):
        created = datetime.now(UTC) - timedelta(days=age - 1, minutes=age)
        suite.create(cases=[{"name": "test", "status": "FAILED"}], create_date=created.isoformat())
    call("sync", A, "--db", str(path), "--cases", "failed")
    code, out, err = call(*arguments.split(), "--db", str(path))
    assert (code, out) == (0, "")
    assert re.match(message, err)
    saved = "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM cases)"
    assert query(path, saved) == [counts]


@pytest.fixture
def saved(fake: FakeBuddy, suites: dict[str, FakeSuite], path: Path) -> Path:
    """A database of all suites; no request is recorded."""
    suites[A].create(branch="only/here", created_by=None, duration=None)
    sync_database(fake, path)
    fake.requests.clear()
    return path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {X: down_from(20), A: down_from(251), B: down_from(3)}),
        (B, {B: down_from(3)}),
        (f"acme/other {B} {B}", {B: down_from(3), X: down_from(20)}),
        ("acme/shop --branch only/here", {A: [251]}),
        (f"{B} --since 0h", {}),
    ],
)
def test_arguments_of_export_select_sessions(
    arguments: str, expected: dict[str, list[int]], fake: FakeBuddy, call: Call, saved: Path
) -> None:
    code, out, err = call("export", "--db", str(saved), *arguments.split())
    assert (code, numbers_by_suite(out), err, fake.requests) == (0, expected, "", [])


@pytest.mark.parametrize("command", [("harvest", A), ("export", A, "--db")], ids=["harvest", "export"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_email_is_written_only_if_asked_for(
    suffix: str, command: tuple[str, ...], suites: dict[str, FakeSuite], fake: FakeBuddy, call: Call, saved: Path
) -> None:
    email = b"grazyna@example.com"
    suites[A].create(created_by={"id": 7, "name": "Grażyna", "email": email.decode()})
    sync_database(fake, saved)
    words = [*command, str(saved)] if "--db" in command else [*command]
    path = saved.with_name(f"new.{suffix}")
    for options in ((), ("--emails",)):
        assert call(*words, *options, "--out", str(path)).code == 0
        written = path.read_bytes()
        if suffix == "parquet":
            with duckdb.connect() as connection:
                table = connection.read_parquet(str(path)).project("COLUMNS('created_by.*')")
                written = str(table.fetchall()).encode()  # without times, for which an old duckdb needs pytz
        assert (email in written) == bool(options)


def test_exported_cases_are_those_that_were_saved(call: Call, fake: FakeBuddy, saved: Path) -> None:
    code, out, err = call("export", B, "--db", str(saved), "--cases")
    assert (code, out) == (0, "")
    assert f"no test cases are saved in {saved}: sync with --cases failed" in err
    sync_database(fake, saved, cases="failed")
    code, out, err = call("export", B, "--db", str(saved), "--cases")
    cases = [row for number in (3, 2, 1) for row in rows(call("cases", B, f"#{number}").out)]
    failures = [row for row in cases if row["status"] in {"FAILED", "ERROR"}]
    assert (code, err) == (0, "")
    assert len(rows(out)) == len(failures) > 0


@pytest.fixture
def damaged(fake: FakeBuddy, suites: dict[str, FakeSuite], call: Call, path: Path) -> Path:
    """A database of three suites. One is missing; a session of another one is deleted, and one is missing."""
    sync_database(fake, path)
    fake.delete_suite(suites[X])
    call("sync", X, "--db", str(path))
    for session, syncs in zip(suites[A].sessions[100:102], (ABSENCES - 1, 1), strict=True):
        suites[A].delete(session)
        for _ in range(syncs):
            call("sync", A, "--db", str(path), "--full")
    return path


def test_info_says_what_is_saved_of_each_suite(call: Call, damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = call("info", "--db", str(damaged))
    x, a, b = rows(out)
    assert (code, err) == (0, "")
    assert [row["key"] for row in (x, a, b)] == [X, A, B]
    assert (x["missing_since"] is None, x["deleted_at"], x["sessions"]) == (False, None, 20)
    assert (a["sessions"], a["missing"], a["deleted"], a["covered"]) == (249, 1, 1, [1, 250])
    assert (b["sessions"], b["missing"], b["deleted"], b["covered"]) == (3, 0, 0, [1, 3])
    assert a["synced_at"].endswith("Z")
    monkeypatch.setenv("COLUMNS", "120")
    table = call("info", "--db", str(damaged), "--format", "table").out
    assert table.startswith("SUITE         NAME        SESSIONS"), "names begin below their head"
    first, second, _ = (" ".join(line.split()) for line in table.splitlines()[1:4])
    assert re.fullmatch(f"{X} .* missing since .*", first)
    assert re.fullmatch(f"{A} .* 249 #1 to #250 .* 1 missing, 1 deleted", second)
    assert table.endswith(f"\n3 suites, 272 sessions, {damaged.stat().st_size / 1e6:.1f} MB\n")
