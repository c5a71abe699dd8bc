"""The command `history`. Since when a test fails, and what that costs, is in tests/questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, Source, rows, sync_database

SUITE = "acme/shop/a"
GROUP = "tests/cart/test_total.py > CartTest"
PASS_PART = "pass a part of the name that is shown as TEST"
LETTERS = {"P": "PASSED", "F": "FAILED", "E": "ERROR", "S": "SKIPPED"}


def revision(number: int) -> str:
    return f"{number:040x}"


def add(suite: FakeSuite, statuses: str, **fields: Any) -> None:
    """Add a session for each letter, oldest first: - for a test that did not run. Another test passes."""
    for letter in statuses:
        cases: list[dict[str, Any]] = [{"name": "other"}]
        cases += [{"name": "pays", "status": LETTERS[letter], "time": 0.5}] if letter != "-" else []
        suite.create(**{"cases": cases, "revision": revision(len(suite.sessions) + 1), **fields})


def facts(out: str) -> list[str]:
    """Return what a table says below the rows, without authors and dates."""
    return [line.partition(", by ")[0] for line in out.partition("\n\n")[2].splitlines()]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (
            "PPFEFF",
            [
                "Failing since #3, in 4 commits",
                "#3: commit 000000000000",
                "Before that, #2 did not fail: commit 000000000000",
                "It failed in 4 of 6 commits",
                "git log --oneline 000000000000..000000000000",
            ],
        ),
        ("F", ["Failing since #1, in 1 commit", "#1: commit 000000000000", "There is no older commit"]),
        ("F" + "P" * 15, ["Not failing since #7 or earlier, in 10 commits"]),
    ],
    ids=["fails for four commits", "fails in the only session", "failed before"],
)
def test_since_when_a_test_fails(statuses: str, expected: list[str], suite: FakeSuite, call: Call) -> None:
    add(suite, statuses)
    code, out, err = call("history", SUITE, "pays", "--format", "table")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{SUITE}, branch main: {GROUP} > pays"
    assert facts(out)[: len(expected)] == expected


def test_rows(suite: FakeSuite, source: Source, call: Call) -> None:
    """They say in which of the last commits the test failed, whether it fails now or not."""
    add(suite, "FPF")
    options = source("failed")
    code, out, err = call("history", SUITE, "pays", *options)
    found = rows(out)
    expected = [(3, "FAILED", 0.5), (2, None, None), (1, "FAILED", 0.5)]
    assert (code, err, [(row["relative_id"], row["status"], row["time"]) for row in found]) == (0, "", expected)
    assert found[0].items() >= {"key": SUITE, "name": "pays", "branch": "main", "revision": revision(3)}.items()
    header, *lines = call("history", SUITE, "pays", "--format", "csv", *options).out.splitlines()
    assert (header.split(","), len(lines)) == ([*found[0]][1:], len(expected))


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("ad", 2, f"'ad' fits 2 failing tests: pass more of the name as TEST\n{GROUP} > adds\n{GROUP} > adds twice\n"),
        ("none", 5, f"no test is named 'none': {PASS_PART}\nsearched: the failures of 1 commit"),
        (
            "Adds_twcie",
            5,
            f"no test is named 'Adds_twcie': {PASS_PART}\ndid you mean {GROUP} > adds twice?\nsearched: ",
        ),
    ],
)
def test_text_that_is_not_the_name_of_one_test(
    text: str, code: int, message: str, suite: FakeSuite, call: Call
) -> None:
    suite.create(cases=[{"name": name, "status": "FAILED"} for name in ("adds", "adds twice", "pays")])
    result = call("history", SUITE, text)
    assert (result.code, result.out, result.err.startswith(f"error: {message}")) == (code, "", True)


def test_part_of_a_name_that_other_tests_have(suite: FakeSuite, call: Call) -> None:
    """One that fails is not taken in place of those that pass; but its whole name is enough."""
    add(suite, "P")
    suite.create(cases=[{"name": "adds"}, {"name": "adds twice", "status": "FAILED"}, {"name": "buys"}])
    error = f"error: 'add' fits 2 tests: pass more of the name as TEST\n{GROUP} > adds\n{GROUP} > adds twice\n"
    assert call("history", SUITE, "add") == (2, "", error)
    assert [row["name"] for row in rows(call("history", SUITE, "twice").out)] == ["adds twice"] * 2
    assert [row["status"] for row in rows(call("history", SUITE, "adds").out)] == [None, None]


def test_revision_that_is_no_hash_is_not_in_a_command(suite: FakeSuite, call: Call) -> None:
    for status, name in (("P", "main; reboot"), ("F", "f00d" * 10)):
        add(suite, status, revision=name)
    out = call("history", SUITE, "pays", "--format", "table").out
    assert ("Failing since #2" in out, "git log" in out) == (True, False)


def test_what_was_not_saved_is_named(suite: FakeSuite, fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    add(suite, "F")
    sync_database(fake, path, cases="failed")
    why = f"the test cases of #1 of {SUITE} were not saved: sync with --cases all"
    message = f"error: no failing test is named 'none', and {why}\n"
    assert call("history", SUITE, "none", "--db", str(path)) == (2, "", message)
    add(suite, "F")
    sync_database(fake, path)
    code, _, err = call("history", SUITE, "pays", "--db", str(path))
    assert (code, err) == (0, "warning: left out 1 session, #2: not all of their failing tests can be read\n")
