"""The command `compare`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, rows, sync_database

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
    suite.create(id="old", branch="main", duration=5, cases=[*before, {"name": "same"}])
    suite.create(id="new", branch="dev", duration=6, cases=[*after, {"name": "slows", "time": 1.5}, {"name": "same"}])
    return suite


@pytest.fixture
def database(fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> str:
    assert suite.key in fake.suites
    path = tmp_path / "sessions.db"
    sync_database(fake, path, cases="all")
    fake.requests.clear()
    return str(path)


@pytest.mark.parametrize("source", ["api", "database"])
def test_jsonl_names_the_change(source: str, database: str, suite: FakeSuite, fake: FakeBuddy, call: Call) -> None:
    code, out, err = call("compare", SUITE, "old", "new", *(["--db", database] if source == "database" else []))
    assert (code, err) == (0, "")
    assert [(row["change"], row["session_id"], row["name"], row["status"], row["old_time"]) for row in rows(out)] == [
        ("newly_failing", "new", "breaks", "FAILED", None),
        ("fixed", "new", "heals", "PASSED", None),
        ("still_failing", "new", "stays", "ERROR", None),
        ("added", "new", "comes", "PASSED", None),
        ("removed", "old", "goes", "PASSED", None),
        ("slower", "new", "slows", "PASSED", 0.2),
    ]
    first, *_, removed, slower = rows(out)
    assert [*first][:7] == ["key", "change", "workspace", "project", "suite_id", "session_id", "relative_id"]
    assert first["key"] == SUITE
    assert (first["relative_id"], removed["relative_id"], slower["time"]) == (2, 1, 1.5)
    (listed,) = [case for case in suite.cases("new") if case["name"] == "slows"]
    assert listed.items() <= slower.items()
    assert "data" not in slower
    assert (not fake.requests) is (source == "database")


@pytest.mark.usefixtures("suite")
def test_table_for_80_columns(call: Call) -> None:
    code, out, err = call("compare", f"{URL}/new", "#1", f"{URL}/new?tab=tests", "--format", "table")
    assert (code, err) == (0, "")
    assert [re.sub(r"\d+ s ago", "0 s ago", line.rstrip()) for line in out.splitlines()] == [
        f"{SUITE} #1  ✘ failed  0 s ago  5s  main",
        f"{URL}/old",
        f"{SUITE} #2  ✘ failed  0 s ago  6s  dev",
        f"{URL}/new",
        "",
        "newly failing (1)",
        "✘ failed  100ms  tests/cart/test_total.py > CartTest > breaks",
        "",
        "fixed (1)",
        "✔ passed  100ms  tests/cart/test_total.py > CartTest > heals",
        "",
        "still failing (1)",
        "✘ error  100ms  tests/cart/test_total.py > CartTest > stays",
        "",
        "added (1)",
        "✔ passed  100ms  tests/cart/test_total.py > CartTest > comes",
        "",
        "removed (1)",
        "✔ passed  100ms  tests/cart/test_total.py > CartTest > goes",
        "",
        "slower (1)",
        "✔ passed  200ms → 1.5s  tests/cart/test_total.py > CartTest > slows",
        "",
        SUMMARY,
    ]


@pytest.mark.usefixtures("suite")
def test_markdown(call: Call) -> None:
    code, out, err = call("compare", SUITE, "1", "2", "--format", "markdown")
    assert (code, err) == (0, "")
    assert f"## ❌ {SUMMARY}: <code>dev</code> " in out
    assert "Compared with <code>main</code> " in out
    name = "- <code>tests/cart/test&#95;total.py &#62; CartTest &#62;"
    assert f"### Newly failing (1)\n\n{name} breaks</code> 100ms\n" in out
    assert out.endswith(f"### Slower (1)\n\n{name} slows</code> 200ms → 1.5s\n")


def test_equal_sessions_have_only_a_summary(fake: FakeBuddy, call: Call) -> None:
    suite = fake.add_suite("acme", "shop", "b")
    for _ in range(2):
        suite.create(cases=[{"name": "same"}, {"name": "odd", "status": "PAUSED"}])
    assert call("compare", "acme/shop/b", "1", "2") == (0, "", "")
    lines = call("compare", "acme/shop/b", "1", "2", "--format", "table").out.splitlines()
    assert lines[4:] == ["", "0 newly failing, 0 fixed, 0 still failing, 0 added, 0 removed, 0 slower"]


def test_database_without_all_cases_is_an_error(fake: FakeBuddy, suite: FakeSuite, database: str, call: Call) -> None:
    suite.create(id="newest", status="SUCCESSFUL")
    sync_database(fake, Path(database), cases="failed")
    code, out, err = call("compare", SUITE, "old", "newest", "--db", database)
    assert (code, out) == (2, "")
    assert err == (
        f"error: the test cases of session newest are not in {database!r}: "
        f"run buddy-sessions sync {SUITE} --db {database} --cases all\n"
    )
