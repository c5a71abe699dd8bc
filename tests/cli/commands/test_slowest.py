"""The command `slowest`. Which sessions it and `flaky` read is in tests/questions."""

from __future__ import annotations

import pytest

from buddy_sessions.testing import FakeSuite
from helpers.command_line import Call

SUITE = "acme/shop/a"


@pytest.fixture
def timed(suite: FakeSuite) -> None:
    for time in (9.0, 2.0, 1.0):
        cases = [{"name": "fast", "time": 0.004}, {"name": "slow", "time": time}, {"name": "medium", "time": time / 4}]
        suite.create(cases=cases)
    suite.create(cases=[{"name": "fast", "time": 0.006}, {"name": "slow", "time": 0, "status": "SKIPPED"}])


@pytest.mark.usefixtures("timed")
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
    assert " > fast\n\n1 test in 1 session, #4\n" in call("slowest", SUITE, "--format", "table", "--last", "1").out
