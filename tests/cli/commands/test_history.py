"""The command `history`: since when a test fails, what that costs, and the same from a database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows, sync_database

SUITE = "acme/shop/a"
GROUP = "tests/cart/test_total.py > CartTest"
LETTERS = {"P": "PASSED", "F": "FAILED", "E": "ERROR", "S": "SKIPPED"}


def revision(number: int) -> str:
    return f"{number:040x}"


def add(suite: FakeSuite, statuses: str, name: str = "pays", other: str = "PASSED", **fields: Any) -> None:
    """Add a session for each letter, oldest first: - for a test that did not run. Another test has the other status."""
    for letter in statuses:
        cases: list[dict[str, Any]] = [{"name": "other", "status": other}]
        cases += [{"name": name, "status": LETTERS[letter], "time": 0.5}] if letter != "-" else []
        number = suite.sessions[0]["relative_id"] + 1 if suite.sessions else 1
        suite.create(**{"cases": cases, "revision": revision(number), **fields})


@pytest.fixture(params=["api", "all", "failed"])
def options(request: pytest.FixtureRequest, fake: FakeBuddy, tmp_path: Path) -> Any:
    """Return a function that returns the options for the API, or for a database with all or only failing tests."""

    def make() -> list[str]:
        if request.param == "api":
            return []
        sync_database(fake, tmp_path / "sessions.db", cases=request.param)
        fake.requests.clear()
        return ["--db", str(tmp_path / "sessions.db")]

    make.source = request.param  # type: ignore[attr-defined] # which of them
    return make


def facts(out: str) -> list[str]:
    """Return what a table says below the rows, without authors and dates."""
    return [line.partition(", by ")[0] for line in out.partition("\n\n")[2].splitlines()]


CASES = {
    "fails for four runs": (
        "PPFEFF",
        [
            "Failing since #3, 4 commits in a row",
            "#3: commit 000000000000",
            "Before that, #2 did not fail: commit 000000000000",
            "git log --oneline 000000000000..000000000000",
        ],
    ),
    "was repaired": (
        "PFPP",
        [
            "Not failing since #3, 2 commits in a row",
            "#3: commit 000000000000",
            "Before that, #2 failed: commit 000000000000",
            "git log --oneline 000000000000..000000000000",
        ],
    ),
    "fails in the only session": (
        "F",
        [
            "Failing since #1, 1 commit",
            "#1: commit 000000000000",
            "There is no older commit",
        ],
    ),
}


@pytest.mark.parametrize(("statuses", "expected"), CASES.values(), ids=CASES)
def test_since_when_a_test_fails(
    statuses: str, expected: list[str], suite: FakeSuite, options: Any, call: Call
) -> None:
    add(suite, statuses)
    code, out, err = call("history", SUITE, "pays", "--format", "table", *options())
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{SUITE}, branch main: {GROUP} > pays"
    assert facts(out) == expected


@pytest.mark.parametrize(
    ("statuses", "other", "requests"),
    [
        pytest.param("P" * 90 + "PFFFF", "PASSED", 5, id="four red sessions, then a green one"),
        pytest.param("P" * 90 + "PFFFF", "FAILED", 6, id="four red sessions, then one with other failures"),
        pytest.param("F" + "P" * 30, "PASSED", 2, id="no failure among ten green sessions"),
        pytest.param("P" * 30, "FAILED", 12, id="no failure among ten red sessions"),
    ],
)
def test_requests(statuses: str, other: str, requests: int, suite: FakeSuite, fake: FakeBuddy, call: Call) -> None:
    """One for the list, one for each red session back to the change; one for 100 tests if none of them is the test."""
    add(suite, statuses, other=other)
    assert call("history", SUITE, "pays").code == 0
    assert len(fake.requests) == requests


def test_streak_is_longer_than_the_searched_runs(suite: FakeSuite, call: Call) -> None:
    add(suite, "P" + "F" * 15)
    assert "Failing since #2, 15 commits in a row\n" in call("history", SUITE, "pays", "--format", "table").out
    add(suite, "P" * 15)
    for arguments, title in (
        ([], "Did not fail in 10 commits, since #22 or earlier\n"),
        (["--last", "16"], "Not failing since #17, 15 commits in a row\n"),
    ):
        assert title in call("history", SUITE, "pays", "--format", "table", *arguments).out


def test_more_runs_than_one_list_has(suite: FakeSuite, call: Call) -> None:
    add(suite, "PF")
    for _ in range(120):
        suite.create("dev", cases=[{"name": "other"}])
    add(suite, "F")
    assert "Failing since #2, 2 commits in a row\n" in call("history", SUITE, "pays", "--format", "table").out


@pytest.mark.parametrize("statuses", [("-P", "-F", "F-"), ("PP", "FP", "FP")], ids=["one job runs it", "both do"])
def test_unit_is_the_commit(statuses: tuple[str, ...], suite: FakeSuite, options: Any, call: Call) -> None:
    """Two jobs upload a session each. The test fails in one of them."""
    for number, letters in enumerate(statuses, 1):
        add(suite, letters, revision=revision(number))
    found = rows(call("history", SUITE, "pays", *options()).out)
    failing = [(5, "FAILED"), (4 if "-F" in statuses else 3, "FAILED")]
    assert [(row["relative_id"], row["status"]) for row in found][:2] == failing
    assert f"Failing since #{failing[1][0]}, 2 commits" in call("history", SUITE, "pays", "--format", "table").out


def test_rows(suite: FakeSuite, options: Any, call: Call) -> None:
    """They end where the test began to fail."""
    add(suite, "FPS-PF")
    code, out, err = call("history", SUITE, "pays", *options())
    found = rows(out)
    expected = [(6, "FAILED", 0.5), (5, None, None)]
    assert (code, err, [(row["relative_id"], row["status"], row["time"]) for row in found]) == (0, "", expected)
    newest = suite.sessions[0]
    assert (
        found[0].items()
        >= {
            "key": SUITE,
            "test_group_name": "tests/cart/test_total.py",
            "classname": "CartTest",
            "name": "pays",
            "branch": "main",
            "session_id": newest["id"],
            "revision": revision(6),
            "html_url": newest["html_url"],
            "created_by_name": newest["created_by"]["name"],
            "create_date": newest["create_date"],
        }.items()
    )
    header, *lines = call("history", SUITE, "pays", "--format", "csv", *options()).out.splitlines()
    assert (header.split(","), len(lines)) == ([*found[0]][1:], len(expected))


@pytest.mark.parametrize("name", ["a passing test", "a test of which all failures are too old"])
def test_test_that_does_not_fail(name: str, suite: FakeSuite, call: Call) -> None:
    add(suite, ("F" if "old" in name else "P") + "P" * 11)
    found = rows(call("history", SUITE, "pays").out)
    assert [row["status"] for row in found] == [None] * 10


def test_other_branches(suite: FakeSuite, options: Any, call: Call) -> None:
    add(suite, "P")
    add(suite, "F", branch="fix")
    arguments = options()
    found = rows(call("history", SUITE, "pays", "--branch", "fix", *arguments).out)
    assert [row["status"] for row in found] == ["FAILED"]
    code, out, err = call("history", SUITE, "pays", "--branch", "none", *arguments)
    assert (code, out, "no session of branch 'none'" in err) == (5, "", True)


class TestNames:
    @pytest.fixture(autouse=True)
    def names(self, suite: FakeSuite) -> None:
        suite.create(cases=[{"name": name, "status": "FAILED"} for name in ("adds", "adds twice", "pays")])

    def test_text_that_fits_several_tests(self, options: Any, call: Call) -> None:
        code, out, err = call("history", SUITE, "ad", *options())
        names = f"{GROUP} > adds\n{GROUP} > adds twice\n"
        assert (code, out, err) == (2, "", f"error: 'ad' fits 2 tests: write more of the name\n{names}")

    def test_unknown_test(self, options: Any, call: Call) -> None:
        arguments = options()
        code, out, err = call("history", SUITE, "none", *arguments)
        message = "no test is named 'none': write a part of the name that is shown\n"
        message += "searched: the failures of 1 commit, and all tests of the newest one\n"
        if options.source == "failed":
            message = f"the test cases of #1 of {SUITE} were not saved: sync with --cases all\n"
        assert (code, out, err) == (2, "", f"error: {message}")


def test_revision_that_is_no_hash_is_not_in_a_command(suite: FakeSuite, call: Call) -> None:
    for status, name in (("P", "main; reboot"), ("F", "f00d" * 10)):
        add(suite, status, revision=name)
    out = call("history", SUITE, "pays", "--format", "table").out
    assert ("Failing since #2" in out, "git log" in out) == (True, False)


def test_newest_session_that_was_not_saved_is_named(
    suite: FakeSuite, fake: FakeBuddy, call: Call, tmp_path: Path
) -> None:
    """Otherwise an older one looks like the newest."""
    path = tmp_path / "sessions.db"
    add(suite, "F")
    sync_database(fake, path)
    code, out, err = call("history", SUITE, "pays", "--db", str(path))
    message = f"error: the test cases of #1 of {SUITE} were not saved: sync with --cases all\n"
    assert (code, out, err) == (2, "", message)
    sync_database(fake, path, cases="failed")
    add(suite, "F")
    sync_database(fake, path)
    code, out, err = call("history", SUITE, "pays", "--db", str(path))
    assert (code, [row["relative_id"] for row in rows(out)]) == (0, [1])
    assert err == "warning: left out 1 session, #2: not all of their failing tests can be read\n"


def test_table_and_markdown_are_limited(suite: FakeSuite, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    add(suite, "F" * 30)
    sync_database(fake, tmp_path / "sessions.db", cases="all")
    words = ("history", SUITE, "pays", "--db", str(tmp_path / "sessions.db"), "--format")
    code, out, err = call(*words, "table")
    assert (code, len(out.splitlines()), err) == (0, 26, "for the other 10 commits add --limit N\n")
    lines = call(*words, "markdown", "--limit", "1").out.splitlines()
    assert lines[2] == "## Failing since <code>#1</code>, 30 commits in a row"
    assert re.match(r'- <a href="https://\S+"><code>#30</code></a>, ✘ failed, commit 0000000, ', lines[-1])
