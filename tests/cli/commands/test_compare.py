"""The command `compare`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, Source, rows

SUITE = "acme/shop/a"
URL = "https://app.buddy.works/acme/shop/unit-tests/a"
SUMMARY = "1 newly failing, 1 fixed, 1 still failing, 1 added, 1 removed, 1 slower"


def failed(name: str, status: str = "FAILED") -> dict[str, Any]:
    return {"name": name, "status": status, "message": "x"}


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    suite = fake.add_suite("acme", "shop", "a")
    before = [{"name": "breaks"}, failed("heals"), failed("stays"), {"name": "goes"}, {"name": "slows", "time": 0.2}]
    after = [failed("breaks"), {"name": "heals"}, failed("stays", "ERROR"), {"name": "comes"}]
    suite.create(id="old", branch="main", revision="a1" * 20, duration=5, cases=[*before, {"name": "same"}])
    after += [{"name": "slows", "time": 1.5}, {"name": "same"}]
    suite.create(id="new", branch="dev", revision="b2" * 20, created_by=None, duration=6, cases=after)
    return suite


def test_jsonl_names_the_change(source: Source, suite: FakeSuite, call: Call) -> None:
    code, out, err = call("compare", SUITE, "old", "new", *source())
    assert (code, err) == (0, "")
    changes = [(row["change"], row["session_id"], row["name"], row["status"], row["old_time"]) for row in rows(out)]
    assert changes == [
        ("newly_failing", "new", "breaks", "FAILED", None),
        ("fixed", "new", "heals", "PASSED", None),
        ("still_failing", "new", "stays", "ERROR", None),
        ("added", "new", "comes", "PASSED", None),
        ("removed", "old", "goes", "PASSED", None),
        ("slower", "new", "slows", "PASSED", 0.2),
    ]
    first, *_, removed, slower = rows(out)
    assert [*first][:7] == ["key", "change", "workspace", "project", "suite_id", "session_id", "relative_id"]
    assert (first["key"], first["relative_id"], removed["relative_id"], slower["time"]) == (SUITE, 2, 1, 1.5)
    (listed,) = [case for case in suite.cases("new") if case["name"] == "slows"]
    assert listed.items() <= slower.items()
    assert "data" not in slower


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ({"cases": [failed("breaks")]}, 1),
        ({"cases": [failed("stays"), {"name": "breaks"}]}, 0),
        ({"status": "ERROR", "cases": [], "error_message": "disk full"}, 1),
        ({"status": "SUCCESSFUL", "cases": [{"name": "stays"}]}, 0),
        ({"status": "IN_PROGRESS", "cases": [{"name": "stays"}]}, 5),
    ],
    ids=["newly failing", "still failing", "crashed", "green", "unfinished"],
)
def test_exit_code(new: dict[str, Any], code: int, fake: FakeBuddy, call: Call) -> None:
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(cases=[{"name": "breaks"}, failed("stays")])
    suite.create(**new)
    assert call("compare", SUITE, "2").code == 0
    for output_format in ("jsonl", "table", "markdown"):
        result = call("compare", SUITE, "2", "--exit-code", "--format", output_format)
        assert result.code == code
        assert result.err == ("warning: #2: not finished\n" if code == 5 else "")
        assert ("disk full" in result.out) is ("error_message" in new and output_format != "jsonl")


@pytest.mark.usefixtures("suite")
def test_table_for_80_columns(call: Call) -> None:
    code, out, err = call("compare", f"{URL}/new", "#1", f"{URL}/new?tab=tests", "--format", "table")
    assert (code, err) == (0, "")
    lines = [re.sub(r"\d+ s ago", "0 s ago", line.rstrip()) for line in out.splitlines()]
    assert lines[:4] == [
        f"{SUITE} #1  ✘ failed  0 s ago  main  a1a1a1a  Ada Novak",
        f"{URL}/old",
        f"{SUITE} #2  ✘ failed  0 s ago  dev  b2b2b2b",
        f"{URL}/new",
    ]
    slower = "✔ passed  200ms → 1.5s  tests/cart/test_total.py > CartTest > slows"
    assert lines[-5:] == ["", "Slower (1)", slower, "", SUMMARY]


def test_row_of_a_matrix_names_no_session(fake: FakeBuddy, call: Call) -> None:
    """Its test can be of any of them."""
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(revision="aa" * 20, cases=[{"name": "breaks"}])
    for name in ("breaks", "other"):
        suite.create(revision="bb" * 20, cases=[failed(name)])
    first, *_ = rows(call("compare", SUITE, "--format", "jsonl").out)
    assert (first["change"], first["name"]) == ("newly_failing", "breaks")
    assert (first["session_id"], first["relative_id"]) == (None, None)


@pytest.mark.parametrize(("failing", "code"), [("stays", 5), ("breaks", 1)])
def test_list_that_is_too_short_is_no_answer(failing: str, code: int, fake: FakeBuddy, call: Call) -> None:
    """It lists one of two failing tests: the other one may be new."""
    suite = fake.add_suite("acme", "shop", "b")
    suite.create(cases=[failed("stays"), {"name": "same"}])
    suite.create(status="ERROR", failed_count=2, tests_count=2, cases=[failed(failing), {"name": "same"}])
    result = call("compare", "acme/shop/b", "1", "2", "--exit-code", "--format", "table")
    assert (result.code, "#2: not all failing tests are listed" in result.out + result.err) == (code, True), result
