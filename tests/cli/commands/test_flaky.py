"""The command `flaky`. How it reads sessions is in test_runs.py."""

from __future__ import annotations

from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows

SUITE = "acme/shop/a"
STATUSES = {"P": "PASSED", "F": "FAILED", "E": "ERROR", "S": "SKIPPED"}


def add_runs(suite: FakeSuite, **histories: str) -> None:
    """Add sessions with one test for each history of statuses, such as `P-F`: oldest first, - for no test."""
    for statuses in zip(*histories.values(), strict=True):
        cases: list[dict[str, Any]] = [
            {"name": name, "status": STATUSES[letter], **({} if letter in "PS" else {"message": "x"})}
            for name, letter in zip(histories, statuses, strict=True)
            if letter != "-"
        ]
        suite.create(cases=cases)


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    suite = fake.add_suite("acme", "shop", "a")
    add_runs(
        suite,
        alternates="PFPFPFPFPFPF",
        errors="PPPPPPSP-EPE",
        broken="PPPPPPPPFFFF",
        earlier="PFPFPPPPPPPP",
    )
    return suite


@pytest.mark.usefixtures("suite")
def test_jsonl_has_the_counts_of_the_last_ten_sessions(call: Call) -> None:
    code, out, err = call("flaky", SUITE)
    assert (code, err) == (0, "")
    names = {"key": SUITE, "workspace": "acme", "project": "shop", "suite_id": "a"}
    test = {"test_group_name": "tests/cart/test_total.py", "classname": "CartTest"}
    sessions = {"branch": "main", "oldest": 3, "newest": 12}
    assert rows(out) == [
        {**names, **test, "name": "alternates", **sessions, "changes": 9, "failed": 5, "runs": 10},
        {**names, **test, "name": "errors", **sessions, "changes": 3, "failed": 2, "runs": 8},
    ]


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--last", "12"], ["alternates", "earlier", "errors"]),
        (["--changes", "1"], ["alternates", "errors", "earlier", "broken"]),
        (["--limit", "1"], ["alternates"]),
        (["--last", "1"], []),
    ],
)
def test_options_select_tests(arguments: list[str], expected: list[str], call: Call) -> None:
    code, out, err = call("flaky", SUITE, *arguments)
    assert (code, [row["name"] for row in rows(out)], err) == (0, expected, "")


@pytest.mark.usefixtures("suite")
def test_table_for_80_columns(call: Call) -> None:
    code, out, err = call("flaky", SUITE, "--last", "12", "--format", "table")
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        f"{SUITE}, branch main",
        "CHANGES   FAILED  RECENT        TEST",
        "     11  6 of 12  ▂█▂█▂█▂█▂█▂█  tests/cart/test_total.py > CartTest > alternates",
        "      4  2 of 12  ▂█▂█▂▂▂▂▂▂▂▂  tests/cart/test_total.py > CartTest > earlier",
        "      3  2 of 10  ▂▂▂▂▂▂·▂·█▂█  tests/cart/test_total.py > CartTest > errors",
        "RECENT: ▂ passed, █ failed, · neither; the newest is on the right",
        "",
        "3 flaky tests in 12 sessions, #1 to #12",
    ]


@pytest.mark.usefixtures("suite")
def test_markdown(call: Call) -> None:
    code, out, err = call("flaky", SUITE, "--format", "markdown")
    assert (code, err) == (0, "")
    assert "## 2 flaky tests in 10 sessions, #3 to #12\n" in out
    assert "CartTest &#62; errors</code> 3 changes, failed in 2 of 8\n" in out


def test_table_is_limited_to_20_tests_by_default(fake: FakeBuddy, call: Call) -> None:
    add_runs(fake.add_suite("acme", "shop", "a"), **{f"t{number}": "PFPF" for number in range(25)})
    for arguments, count, message in (
        ([], 20, "for the other 5 tests add --limit N\n"),
        (["--limit", "25"], 25, ""),
    ):
        code, out, err = call("flaky", SUITE, "--format", "table", *arguments)
        assert (code, err, out.count("2 of 4")) == (0, message, count)
        assert out.endswith("\n25 flaky tests in 4 sessions, #1 to #4\n")
    assert len(rows(call("flaky", SUITE).out)) == 25


def test_test_that_fails_on_another_branch_is_not_flaky(fake: FakeBuddy, call: Call) -> None:
    suite = fake.add_suite("acme", "shop", "a")
    for branch, status in 5 * (("main", "PASSED"), ("fix", "FAILED")):
        suite.create(branch, cases=[{"name": "x", "status": status}])
    for arguments, changes in ([], []), (["--branch", "fix"], []), (["--all-branches"], [(None, 9)]):
        found = rows(call("flaky", SUITE, *arguments).out)
        assert [(row["branch"], row["changes"]) for row in found] == changes
