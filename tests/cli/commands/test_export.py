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
    cases = [row for number in (3, 2, 1) for row in rows(call("cases", B, f"#{number}", "--json").out)]
    failures = [row for row in cases if row["status"] in {"FAILED", "ERROR"}]
    assert (code, err) == (0, "")
    assert len(rows(out)) == len(failures) > 0


def test_changes_end_with_the_new_position(call: Call, database: Path) -> None:
    code, out, err = call("export", "--db", str(database), "--changes-after", "0")
    *changes, last = rows(out)
    assert (code, err, len(changes), last) == (0, "", 274, {"position": changes[-1]["position"]})
    assert changes[0].keys() >= {"key", "session", "failures", "missing_since", "deleted_at", "pruned_before"}
    exported = rows(call("export", B, "--db", str(database)).out)
    assert [{"key": B, **change["session"]} for change in changes if change["key"] == B] == [
        {name: value for name, value in row.items() if name not in ("workspace", "project", "suite_id")}
        for row in exported
    ]
    newest = str(last["position"])
    assert rows(call("export", "--db", str(database), "--changes-after", newest).out) == [last]
    call("prune", "--db", str(database), "--keep", "24h")
    prune, last = rows(call("export", "--db", str(database), "--changes-after", newest).out)
    assert (prune["key"], prune["pruned_before"] is None) == (A, False)
    assert last["position"] > int(newest)


@pytest.mark.parametrize("option", [B, "--branch main", "--since 7d", "--cases", "--format csv", "--out changes.csv"])
def test_changes_are_json_lines_of_all_suites(call: Call, database: Path, option: str) -> None:
    code, out, err = call("export", "--db", str(database), "--changes-after", "0", *option.split())
    assert (code, out) == (2, "")
    assert "--changes-after writes JSON lines of the whole database: leave out" in err
