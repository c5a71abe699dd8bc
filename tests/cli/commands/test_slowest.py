"""The command `slowest`. How it reads sessions is in test_runs.py."""

from __future__ import annotations

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows

SUITE = "acme/shop/a"


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    suite = fake.add_suite("acme", "shop", "a")
    for time in (9.0, 2.0, 1.0):
        cases = [{"name": "fast", "time": 0.004}, {"name": "slow", "time": time}, {"name": "medium", "time": time / 4}]
        suite.create(cases=cases)
    suite.create(cases=[{"name": "fast", "time": 0.006}, {"name": "slow", "time": 0, "status": "SKIPPED"}])
    return suite


@pytest.mark.usefixtures("suite")
def test_jsonl_has_the_times_slowest_median_first(call: Call) -> None:
    code, out, err = call("slowest", SUITE)
    assert (code, err) == (0, "")
    names = {"key": SUITE, "workspace": "acme", "project": "shop", "suite_id": "a"}
    test = {"test_group_name": "tests/cart/test_total.py", "classname": "CartTest"}
    sessions = {"branch": "main", "oldest": 1, "newest": 4}
    assert rows(out) == [
        {**names, **test, "name": "slow", **sessions, "median": 2.0, "slowest": 9.0, "runs": 3},
        {**names, **test, "name": "medium", **sessions, "median": 0.5, "slowest": 2.25, "runs": 3},
        {**names, **test, "name": "fast", **sessions, "median": 0.004, "slowest": 0.006, "runs": 4},
    ]


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--threshold", "0.5"], ["slow"]),
        (["--limit", "2"], ["slow", "medium"]),
        (["--last", "1"], ["fast"]),
        (["--threshold", "60"], []),
    ],
)
def test_options_select_tests(arguments: list[str], expected: list[str], call: Call) -> None:
    code, out, err = call("slowest", SUITE, *arguments)
    assert (code, [row["name"] for row in rows(out)], err) == (0, expected, "")


class TestTable:
    @pytest.mark.usefixtures("suite")
    def test_table_for_80_columns(self, call: Call) -> None:
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

    @pytest.mark.usefixtures("suite")
    def test_threshold_is_in_the_summary(self, call: Call) -> None:
        out = call("slowest", SUITE, "--threshold", "0.3", "--format", "table").out
        assert out.endswith("\n2 tests slower than 300ms in 4 sessions, #1 to #4\n")
        expected = f"{SUITE}, branch main\n\n0 tests slower than 1m00s in 4 sessions, #1 to #4\n"
        assert call("slowest", SUITE, "--threshold", "60", "--format", "table") == (0, expected, "")
