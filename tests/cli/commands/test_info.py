"""The command `info`."""

from __future__ import annotations

from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows, sync_database
from helpers.stores import ABSENCES

A, B, X = "acme/shop/a", "acme/shop/b", "acme/other/x"


@pytest.fixture
def database(fake: FakeBuddy, suites: dict[str, FakeSuite], call: Call, tmp_path: Path) -> Path:
    """A database of three suites. One is missing; a session of another one is deleted, and one is missing."""
    path = tmp_path / "sessions.db"
    sync_database(fake, path)
    fake.delete_suite(suites[X])
    call("sync", X, "--db", str(path))
    for session, syncs in zip(suites[A].sessions[100:102], (ABSENCES - 1, 1), strict=True):
        suites[A].delete(session)
        for _ in range(syncs):
            call("sync", A, "--db", str(path), "--full")
    return path


def test_rows_say_what_is_saved_of_each_suite(call: Call, database: Path) -> None:
    code, out, err = call("info", "--db", str(database))
    x, a, b = rows(out)
    assert (code, err) == (0, "")
    assert [row["key"] for row in (x, a, b)] == [X, A, B]
    assert (x["missing_since"] is None, x["deleted_at"], x["sessions"]) == (False, None, 20)
    assert (a["sessions"], a["missing"], a["deleted"], a["covered"]) == (249, 1, 1, [1, 250])
    assert (b["sessions"], b["missing"], b["deleted"], b["covered"]) == (3, 0, 0, [1, 3])
    assert a["synced_at"].endswith("Z")


def test_table_ends_with_the_size(call: Call, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, out, _ = call("info", "--db", str(database), "--format", "table")
    assert code == 0
    assert out.startswith("SUITE         NAME        SESSIONS"), "names begin below their head"
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"3 suites, 272 sessions, {database.stat().st_size / 1e6:.1f} MB" in lines
    assert any(
        line.startswith(A) and "249 #1 to #250" in line and line.endswith("1 missing, 1 deleted") for line in lines
    )
    assert any(line.startswith(X) and "missing since" in line for line in lines)
