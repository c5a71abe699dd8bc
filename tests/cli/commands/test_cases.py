"""The command `cases`: all tests of a session. Which session a name means is in test_named_sessions.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml, TestCase, TestSuite

from buddy_sessions._export import SESSION_CASE_COLUMNS
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, Source, rows, sync_database

SUITE = "acme/shop/a"
CASES: list[dict[str, Any]] = [
    {"name": "adds", "time": 0.04},
    {"name": "pays", "status": "FAILED", "message": "1 != 2", "type": "AssertionError", "time": 61},
    {"name": "sends", "status": "SKIPPED", "time": 0},
    {"name": "waits", "status": "TIMED_OUT", "test_group_name": "slow"},
    {"name": "loads", "status": "ERROR", "message": "no such file", "type": "OSError"},
]


@pytest.fixture(autouse=True)
def suite(fake: FakeBuddy) -> None:
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(cases=CASES, duration=62, html_url=None, create_date=None)
    suite.create("dev", cases=[{"name": "other"}])


def test_jsonl_has_all_tests_with_their_failures(source: Source, call: Call) -> None:
    code, out, err = call("cases", SUITE, *source())
    assert (code, err) == (0, "")
    found = rows(out)
    assert [tuple(row) for row in found] == [("key", *SESSION_CASE_COLUMNS)] * 5
    assert [(row["name"], row["status"], row["relative_id"]) for row in found] == [
        (case["name"], case.get("status", "PASSED"), 1) for case in CASES
    ]
    assert [(row["failure"] or {}).get("message") for row in found] == [None, "1 != 2", None, None, "no such file"]


def test_junit_of_all_tests(source: Source, call: Call) -> None:
    code, out, err = call("cases", SUITE, "--format", "junit", *source())
    assert (code, err) == (0, "")
    document = JUnitXml.fromstring(out.encode())
    assert (document.tests, document.failures, document.errors, document.skipped) == (5, 1, 1, 2)
    found = [
        (suite.name, case.name, [(type(result).__name__, result.message) for result in case.result])
        for suite in document
        if isinstance(suite, TestSuite)
        for case in suite
        if isinstance(case, TestCase)
    ]
    assert found == [
        ("tests/cart/test_total.py", "adds", []),
        ("tests/cart/test_total.py", "pays", [("Failure", "1 != 2")]),
        ("tests/cart/test_total.py", "sends", [("Skipped", "")]),
        ("tests/cart/test_total.py", "loads", [("Error", "no such file")]),
        ("slow", "waits", [("Skipped", "TIMED_OUT")]),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("1 --status skipped", ["sends"]),
        ("--status failed --limit 1", ["pays"]),
        ("latest --branch dev", ["other"]),
        ("--limit 1", ["adds"]),
    ],
)
def test_options_select_tests(arguments: str, expected: list[str], call: Call) -> None:
    code, out, err = call("cases", SUITE, *arguments.split())
    assert (code, [row["name"] for row in rows(out)], err) == (0, expected, "")


def test_table_has_50_tests_by_default(fake: FakeBuddy, call: Call) -> None:
    failing = {"name": "fails", "status": "FAILED", "message": "x"}
    fake.add_suite("acme", "shop", "b").create(cases=[failing, *({"name": f"t{number}"} for number in range(59))])
    code, out, err = call("cases", "acme/shop/b", "--format", "table")
    assert (code, out.count("CartTest > "), err) == (0, 50, "for the other 10 rows add --limit N\n")
    assert "✘ failed  100ms  tests/cart/test_total.py > CartTest > fails" in out
    assert out.endswith("\n60 tests: 1 failed, 59 passed\n")


def test_a_session_that_crashed_is_an_error_in_junit(fake: FakeBuddy, call: Call) -> None:
    fake.add_suite("acme", "shop", "b").create(status="ERROR", error_message="out of memory", cases=[{"name": "x"}])
    document = JUnitXml.fromstring(call("cases", "acme/shop/b", "--format", "junit").out.encode())
    assert (document.tests, document.errors) == (2, 1)


def test_database_with_only_failing_tests(fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    """An empty list, or only these, would say that the others did not run."""
    path = tmp_path / "sessions.db"
    sync_database(fake, path, cases="failed")
    assert [row["name"] for row in rows(call("cases", SUITE, "--status", "error", "--db", str(path)).out)] == ["loads"]
    for arguments in ([], ["--status", "passed"]):
        code, out, err = call("cases", SUITE, *arguments, "--db", str(path))
        message = f"error: the test cases of #1 of {SUITE} were not saved: sync with --cases all\n"
        assert (code, out, err) == (2, "", message)
