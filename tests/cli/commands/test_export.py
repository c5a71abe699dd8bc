"""The command `export`."""

from __future__ import annotations

from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, down_from, numbers_by_suite, rows, sync_database

A, B, X = "acme/shop/a", "acme/shop/b", "acme/other/x"


@pytest.fixture
def database(fake: FakeBuddy, suites: dict[str, FakeSuite], tmp_path: Path) -> Path:
    """A database of all suites; no request is recorded."""
    folder = tmp_path / "databases"
    folder.mkdir()
    path = folder / "sessions.db"
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
def test_arguments_select_sessions(
    arguments: str, expected: dict[str, list[int]], fake: FakeBuddy, call: Call, database: Path
) -> None:
    code, out, err = call("export", "--db", str(database), *arguments.split())
    assert (code, numbers_by_suite(out), err, fake.requests) == (0, expected, "", [])


def test_cases_are_those_that_were_saved(call: Call, fake: FakeBuddy, database: Path) -> None:
    code, out, err = call("export", B, "--db", str(database), "--cases")
    assert (code, out) == (0, "")
    assert f"no test cases are saved in {database}: sync with --cases failed" in err
    sync_database(fake, database, cases="failed")
    code, out, err = call("export", B, "--db", str(database), "--cases")
    cases = [row for number in (3, 2, 1) for row in rows(call("cases", B, f"#{number}").out)]
    failures = [row for row in cases if row["status"] in {"FAILED", "ERROR"}]
    assert (code, err) == (0, "")
    assert len(rows(out)) == len(failures) > 0
