"""The command `status`."""

from __future__ import annotations

import re
import time
from html import unescape
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from buddy_sessions.testing.wire import format_time
from helpers.command_line import Call, Source, rows

HOURS = {hours: format_time(int(time.time()) - 3600 * hours - 60) for hours in (1, 2, 3, 48)}


@pytest.fixture(autouse=True)
def suites(fake: FakeBuddy) -> list[FakeSuite]:
    """A green suite, a red one, and four without a verdict."""
    names = {"green": "End-to-end", "red": "Unit tests", "empty": "New", "running": "Slow", "tags": "Releases"}
    green, red, _, running, tags = made = [
        fake.add_suite("acme", "shop", key, name=name) for key, name in names.items()
    ]
    red.create("main", status="SUCCESSFUL", create_date=HOURS[3], finish_date=None)
    red.create("main", status="ERROR", create_date=HOURS[2], revision="cafe" * 10, created_by={"name": "Ann"})
    counts: dict[str, Any] = {"failed_count": 6, "error_count": 1}
    red.create("main", "ERROR", create_date=HOURS[1], revision="beef" * 10, created_by={"name": "Bo"}, **counts)
    red.create("feature", status="SUCCESSFUL")
    red.create("main", status="IN_PROGRESS")
    green.create("main", status="SUCCESSFUL", create_date=HOURS[48], finish_date=None, revision=None, created_by=None)
    running.create("main")
    tags.create(status="ERROR", ref_type="TAG", ref_name="v1")
    return made


def table(out: str) -> list[list[str]]:
    return [re.split("  +", line.strip()) for line in out.splitlines()]


def test_red_suites_are_first(source: Source, fake: FakeBuddy, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    options = source()
    code, out, err = call("status", *(options or ["acme/shop"]), "--format", "table")
    assert (code, err) == (0, "")
    assert options or len(fake.requests) == 7  # the suites, and one for each; an empty list is requested twice
    heading, *found, _, title, remark, other = table(out)
    assert heading == ["SUITE", "NAME", "STATUS", "FAIL", "SINCE", "AGE", "COMMIT", "AUTHOR"]
    assert found[0] == ["acme/shop/red", "Unit tests", "red", "7", "#2", "2 h", "cafecaf", "Ann"]
    assert found[-1] == ["acme/shop/green", "End-to-end", "green", "#1", "2 d", "-", "-"]
    assert sorted(found[1:-1]) == [
        ["acme/shop/empty", "New", "no session"],
        ["acme/shop/running", "Slow", "running"],
        ["acme/shop/tags", "Releases", "no main branch"],
    ]
    assert title == ["5 suites on main: 1 red, 1 green, 3 without a verdict"]
    assert [remark, other] == [["acme/shop/red: #5 is running"], ["acme/shop/running: #1 is running"]]


def test_rows_for_programs(call: Call) -> None:
    red, *others, green = rows(call("status", "acme/shop").out)
    expected: dict[str, Any] = {"key": "acme/shop/red", "workspace": "acme", "project": "shop", "suite_id": "red"}
    expected |= {"name": "Unit tests", "branch": "main", "status": "red", "is_stale": False, "failing_tests": 7}
    expected |= {"cause": None, "session": 3, "html_url": red["html_url"], "since": 2, "is_since_exact": True}
    expected |= {"since_date": HOURS[2], "revision": "cafe" * 10, "created_by_name": "Ann", "synced_at": None}
    expected |= {"missing_since": None, "error": None, "remark": "#5 is running"}
    assert [*red.items()] == [*expected.items()]
    assert (green["status"], green["is_since_exact"], green["revision"]) == ("green", False, None)
    assert {each["remark"] for each in others} == {None, "#1 is running"}


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        ("acme/shop", 0, 5),
        ("acme/shop --exit-code", 1, 5),
        ("acme --red", 0, 1),
        ("acme --red --max-age 24h", 0, 2),
        ("acme/shop/green --exit-code --max-age 24h", 1, 1),
        ("acme/shop/tags acme/shop/empty --exit-code --max-age 24h", 0, 2),
        ("acme/shop/red --branch feature --exit-code", 0, 1),
    ],
)
def test_exit_code_and_filter(arguments: str, code: int, shown: int, call: Call) -> None:
    result = call("status", *arguments.split())
    assert (result.code, len(rows(result.out)), result.err) == (code, shown, "")


def test_stale_suites_are_counted_once(call: Call) -> None:
    """As red or green, and of these how many are stale: the numbers add up to that of all suites."""
    out = call("status", "acme/shop/red", "acme/shop/green", "--max-age", "24h", "--format", "table").out
    assert "2 suites on main: 1 red, 1 green (1 stale)" in out


@pytest.mark.parametrize(
    ("arguments", "codes", "code"),
    [
        ("acme/shop", {"red": 404}, 3),
        ("acme/shop --exit-code", {"red": 404}, 3),
        ("acme/shop --exit-code", {"green": 403}, 4),
        ("acme/shop/red", {"red": 404}, 7),
        ("acme/shop acme/none --exit-code", {}, 3),
    ],
    ids=str,
)
def test_one_code_for_many_suites(
    arguments: str, codes: dict[str, int], code: int, fake: FakeBuddy, call: Call
) -> None:
    """4 before 3 before 1 before 0. A suite that cannot be read is listed with its error: in a table, or on stderr."""

    def fail(request: Any) -> None:
        for name, status in codes.items():
            if f"/suites/{name}/" in request.path:
                fake.inject(Fault.status(status))

    fake.on_request = fail
    result = call("status", *arguments.split(), "--red")
    assert result.code == code
    failed = {row["suite_id"]: row for row in rows(result.out) if row["error"]}
    assert set(failed) == set(codes)
    assert all((row["status"], row["since"]) == (None, None) for row in failed.values())
    assert re.findall("failed: (.*): .*\\(([0-9]+)\\)", result.err) == [
        *([("acme/none", "404")] if "acme/none" in arguments else []),
        *((f"acme/shop/{name}", str(status)) for name, status in codes.items()),
    ]
    shown, err = call("status", *arguments.split(), "--format", "table")[1:]
    assert [name for name in codes if name in err] == []
    for name, status in codes.items():
        assert re.search(rf"^acme/shop/{name}  .*not read\n  .*\({status}\)", shown, re.MULTILINE)


def test_markdown_fits_in_a_message(fake: FakeBuddy, call: Call) -> None:
    """The suites that turned red last are the ones that are kept."""
    for number in range(100):
        suite = fake.add_suite("acme", "api", f"{number:03}", name="é" * 99)
        suite.create("main", status="ERROR", create_date=HOURS[48] if number < 90 else HOURS[1])
    out = call("status", "acme/api", "--format", "markdown").out
    assert 2_800 < len(out.encode()) <= 4_000
    shown = re.findall(r">acme/api/(\d+)<", out)
    assert all(90 <= int(number) < 100 for number in shown[:10])
    assert f"… and {100 - len(shown)} more, {100 - len(shown)} of them red\n" in out


@pytest.mark.parametrize("output_format", ["table", "jsonl", "markdown"])
def test_causes_of_red_suites(output_format: str, source: Source, fake: FakeBuddy, call: Call) -> None:
    """It is that of the first test: one message of each suite is read. From a database, that of most tests."""
    failed = [{"name": name, "status": "FAILED", "message": "disk full"} for name in "bcdefg"]
    failed += [{"name": "a", "status": "FAILED", "message": "order 17 is lost"}]
    for name, cases in {"x": failed, "y": []}.items():
        suite = fake.add_suite("acme", "api", name)
        suite.create("main", status="ERROR", cases=cases, error_message="" if cases else "out of memory")
    options = source("failed")
    arguments = [*([] if options else ["-w", "acme", "-p", "api"]), *options]
    code, out, err = call("status", *arguments, "acme/api", "--why", "--format", output_format)
    assert (code, err) == (0, "")
    one_read, all_read = (
        "(1 of 7 messages read) AssertionError: order 17 is lost",
        "(1 of 2 causes) AssertionError: disk full",
    )
    causes = [all_read if options else one_read, "#1 failed without a failing test: out of memory"]
    if output_format == "jsonl":
        assert [row["cause"] for row in rows(out)] == causes
    else:
        assert all(cause in re.sub("<.*?>", "", unescape(out)) for cause in causes)
    assert options or len([each for each in fake.requests if "/test-groups/" in each.path]) == 1


def test_highest_number_of_failing_tests_of_several_sessions(fake: FakeBuddy, call: Call) -> None:
    suite = fake.add_suite("acme", "api", "x")
    for count in (3, 5):
        suite.create("main", status="ERROR", revision="feed" * 10, failed_count=count, error_count=0)
    assert " at least 5 " in call("status", "acme/api", "--format", "table").out


def test_misspelt_branch_is_a_warning(call: Call) -> None:
    """An alert whose branch does not exist is not green."""
    code, out, err = call("status", "acme/shop/red", "--branch", "mian", "--exit-code")
    assert (code, rows(out)[0]["status"]) == (5, "no session")
    assert "no session of branch 'mian' in acme/shop/red: its latest sessions are of main, feature" in err
