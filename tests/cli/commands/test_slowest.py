"""The command `slowest`. How it reads sessions is in test_suite_reader.py."""

from __future__ import annotations

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, rows

SUITE = "acme/shop/a"


@pytest.fixture(autouse=True)
def suite(fake: FakeBuddy) -> None:
    suite = fake.add_suite("acme", "shop", "a")
    for time in (9.0, 2.0, 1.0):
        cases = [{"name": "fast", "time": 0.004}, {"name": "slow", "time": time}, {"name": "medium", "time": time / 4}]
        suite.create(cases=cases)
    suite.create(cases=[{"name": "fast", "time": 0.006}, {"name": "slow", "time": 0, "status": "SKIPPED"}])


def test_jsonl_has_the_times_slowest_median_first(call: Call) -> None:
    code, out, err = call("slowest", SUITE)
    names = {"key": SUITE, "workspace": "acme", "project": "shop", "suite_id": "a"}
    test = {**names, "test_group_name": "tests/cart/test_total.py", "classname": "CartTest"}
    sessions = {"branch": "main", "oldest": 1, "newest": 4}
    assert (code, err, rows(out)) == (
        0,
        "",
        [
            {**test, "name": "slow", **sessions, "median": 2.0, "slowest": 9.0, "runs": 3},
            {**test, "name": "medium", **sessions, "median": 0.5, "slowest": 2.25, "runs": 3},
            {**test, "name": "fast", **sessions, "median": 0.004, "slowest": 0.006, "runs": 4},
        ],
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--limit 2", ["slow", "medium"]),
        ("--last 1", ["fast"]),
    ],
)
def test_options_select_tests(arguments: str, expected: list[str], call: Call) -> None:
    code, out, err = call("slowest", SUITE, *arguments.split())
    assert (code, [row["name"] for row in rows(out)], err) == (0, expected, "")


def test_table_for_80_columns(call: Call) -> None:
    code, out, err = call("slowest", SUITE, "--format", "table")
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        f"{SUITE}, branch main",
        "MEDIAN  SLOWEST  SESSIONS  TEST",
        "    2s       9s         3  tests/cart/test_total.py > CartTest > slow",
        " 500ms     2.2s         3  tests/cart/test_total.py > CartTest > medium",
        "   4ms      6ms         4  tests/cart/test_total.py > CartTest > fast",
        "",
        "3 tests in 4 sessions, #1 to #4",
    ]
