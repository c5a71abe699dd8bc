"""The commands `sync` and `prune`: what is read, what it prints, and what a failure leaves in the database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call
from helpers.stores import query

A, B, C = "acme/shop/a", "acme/shop/b", "acme/shop/c"

COUNTS = "SELECT suite_id, count(*) FROM sessions WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1"
NOTHING_WRONG = "the full check found nothing wrong: no session was missing or wrongly marked"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def finished(suites: dict[str, FakeSuite]) -> dict[str, FakeSuite]:
    """The suites, without sessions that are still running."""
    for suite in suites.values():
        for session in suite.sessions:
            if session["status"] == "IN_PROGRESS":
                suite.finish(session["id"])
    return suites


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


def test_full_check_reports_and_repairs_damage(
    call: Call, fake: FakeBuddy, path: Path, finished: dict[str, FakeSuite]
) -> None:
    hidden = Fault.filtered(lambda session: session["relative_id"] in {70, 71})
    fake.on_request = lambda _: fake.inject(hidden)
    assert call("sync", A, B, "--db", str(path)).code == 0
    fake.on_request = None
    assert query(path, COUNTS) == [("a", 248), ("b", 3)]
    code, _, err = call("sync", A, B, "--db", str(path), "--full")
    assert (code, err.count("the full check has")) == (0, 1)
    assert f"{A}: the full check has corrected 2 sessions" in err
    assert query(path, COUNTS) == [("a", 250), ("b", 3)]
    assert NOTHING_WRONG in call("sync", *finished, "--db", str(path), "--full").err


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
