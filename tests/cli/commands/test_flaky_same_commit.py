"""The option --same-commit of the command `flaky`. What counts as a conflict is in tests/analysis/test_conflicts.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows, sync_database

A = "acme/shop/a"
FLAKY, BROKEN, GREEN = (letter * 40 for letter in "abc")


def add(suite: FakeSuite, revision: str, failing: str = "", **fields: Any) -> None:
    """Add a session of a commit in which the tests with these names fail."""
    cases = [{"name": name, "status": "FAILED" if name in failing.split() else "PASSED"} for name in ("pays", "adds")]
    suite.create(revision=revision, cases=cases, **fields)


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite in which `pays` is flaky on a branch. `adds` was broken by one commit, and fixed by another."""
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(status="ERROR", revision=FLAKY, cases=[{"name": "old", "status": "FAILED"}])
    for _ in range(95):
        suite.create(status="SUCCESSFUL")
    add(suite, FLAKY, "pays", branch="fix")
    add(suite, BROKEN, "adds")
    add(suite, BROKEN, "adds")
    add(suite, GREEN)
    add(suite, GREEN)
    add(suite, FLAKY, branch="fix", ref_type="PULL_REQUEST")
    return suite


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize("source", ["api", "database"])
def test_reads_only_commits_that_were_tested_again(source: str, call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
    """One request for 100 sessions, one for each of four sessions. The session before the last 100 is too old."""
    options = []
    if source == "database":
        options = ["--db", str(tmp_path / "sessions.db")]
        sync_database(fake, tmp_path / "sessions.db", cases="all")
    fake.requests.clear()
    code, out, err = call("flaky", A, "--same-commit", *options)
    (row,) = rows(out)
    assert (code, row["name"], row["revisions"], row["failed"], row["runs"]) == (0, "pays", [FLAKY], 1, 2)
    assert (row["branch"], row["oldest"], row["newest"]) == (None, 3, 102)
    requests = 5 if source == "api" else 0
    assert len(fake.requests) == requests
    assert err == f"4 sessions of 2 commits tested again, {requests} requests\n"


@pytest.mark.usefixtures("suite")
def test_texts(call: Call) -> None:
    table = call("flaky", A, "--same-commit", "--format", "table").out
    assert [line.rstrip() for line in table.splitlines()] == [
        f"{A}, all branches",
        "COMMITS  NEWEST   FAILED  TEST",
        "      1  aaaaaaa  1 of 2  tests/cart/test_total.py > CartTest > pays",
        "",
        "1 test passed and failed on the same commit, in 100 sessions, #3 to #102",
    ]
    markdown = call("flaky", A, "--same-commit", "--format", "markdown").out
    assert "1 test passed and failed on the same commit, in 100 sessions, #3 to #102" in markdown
    assert "failed in 1 of 2 sessions of 1 commit, the newest <code>aaaaaaa</code>" in markdown


def test_no_commit_was_tested_again(call: Call, fake: FakeBuddy) -> None:
    fake.add_suite("acme", "shop", "a").populate(3)
    assert call("flaky", A, "--same-commit") == (0, "", "0 sessions of 0 commits tested again, 1 request\n")
