"""The command `suites`."""

from __future__ import annotations

import csv
import io
import re
import time

import pytest

from buddy_sessions.testing import FakeBuddy, Fault
from buddy_sessions.testing.wire import format_time
from helpers.command_line import Call, rows
from helpers.uploads import GITHUB, RUN


@pytest.fixture(autouse=True)
def suites(fake: FakeBuddy) -> None:
    fake.add_suite("acme", "shop", "MNbyVedg", name="Unit tests", identifier="unit")
    fake.add_suite("acme", "shop", "65OmRb8v", name="End-to-end", identifier="e2e")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-w", "acme", "-p", "shop"],
        ["https://app.buddy.works/acme/shop/unit-tests/MNbyVedg"],
    ],
)
def test_table_has_keys_for_list(arguments: list[str], call: Call) -> None:
    code, out, err = call("suites", *arguments, "--format", "table")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["KEY", "NAME", "IDENTIFIER"],
        ["acme/shop/MNbyVedg", "Unit", "tests", "unit"],
        ["acme/shop/65OmRb8v", "End-to-end", "e2e"],
    ]


def test_jsonl_and_csv_equal_the_api(fake: FakeBuddy, call: Call) -> None:
    sent = [suite.summary() for suite in fake.suites.values()]
    keys = ["acme/shop/MNbyVedg", "acme/shop/65OmRb8v"]
    found = rows(call("suites", "acme/shop").out)
    names = {"workspace": "acme", "project": "shop"}
    named = [{**names, "suite_id": key.rpartition("/")[2], **row} for key, row in zip(keys, sent, strict=True)]
    assert found == [{"key": key, **row} for key, row in zip(keys, named, strict=True)]
    assert next(iter(found[0])) == "key"
    out = call("suites", "acme/shop", "--format", "csv").out
    assert list(csv.DictReader(io.StringIO(out, newline=""))) == named


def test_status_says_since_when_each_main_branch_is_red(fake: FakeBuddy, call: Call) -> None:
    red, green = fake.suites.values()
    fake.add_suite("acme", "shop", "empty")
    times = {hours: format_time(int(time.time()) - 3600 * hours - 60) for hours in (1, 2, 3)}
    red.create("main", status="SUCCESSFUL", create_date=times[3])
    red.create("main", status="ERROR", create_date=times[2], revision="cafe" * 10, created_by={"name": "Ann"})
    red.create("main", status="ERROR", create_date=times[1], revision="beef" * 10, created_by={"name": "Bo"})
    red.create("feature", status="SUCCESSFUL")
    red.create("main", status="IN_PROGRESS")
    green.create("main", status="SUCCESSFUL", create_date=times[1], revision=None, created_by=None)
    out = call("suites", "acme/shop", "--status", "--format", "table").out
    assert [re.split("  +", line.strip()) for line in out.splitlines()] == [
        ["KEY", "STATUS", "SINCE", "AGE", "COMMIT", "AUTHOR"],
        ["acme/shop/MNbyVedg", "main is red", "#2", "2 h ago", "cafecaf", "Ann"],
        ["acme/shop/65OmRb8v", "main is green", "#1 or earlier", "1 h ago", "-", "-"],
        ["acme/shop/empty", "no verdict"],
    ]
    names = ("branch", "status", "since", "since_or_earlier", "since_date", "revision", "created_by_name", "error")
    values = [
        ("main", "red", 2, False, times[2], "cafe" * 10, "Ann", None),
        ("main", "green", 1, True, times[1], None, None, None),
        (None,) * 8,
    ]
    found = rows(call("suites", "acme/shop", "--status").out)
    assert [tuple(row[name] for name in names) for row in found] == values
    table = csv.DictReader(io.StringIO(call("suites", "acme/shop", "--status", "--format", "csv").out, newline=""))
    assert table.fieldnames is not None
    assert tuple(table.fieldnames[-8:]) == names
    assert [row["since"] for row in table] == ["2", "1", ""]


def test_key_is_not_broken_on_80_columns(fake: FakeBuddy, call: Call) -> None:
    suite = fake.add_suite("acme", "storefront", "kQ3xWz7P")
    suite.create("main", status="ERROR")
    suite.create("main", status="SUCCESSFUL", **{**GITHUB, "ci_run_url": f"{RUN}456789012"})
    _, line = call("suites", "acme/storefront", "--status", "--format", "table").out.splitlines()
    assert re.fullmatch(r"acme/storefront/kQ3xWz7P  main is green  #2 .* GitHub 17456\d*…", line.rstrip())


@pytest.mark.parametrize("code", [403, 404, 501])
def test_status_of_a_suite_that_cannot_be_read_is_its_error(code: int, fake: FakeBuddy, call: Call) -> None:
    first, _ = fake.suites.values()
    first.create("main", status="ERROR")
    fake.on_request = lambda request: fake.inject(Fault.status(code)) if "/65OmRb8v/" in request.path else None
    error = f"HTTP {code} (injected fault) ({code})"
    shown = call("suites", "acme/shop", "--status", "--format", "table")
    assert (shown.code, len(shown.out.splitlines()), shown.err) == (3, 3, "")
    assert shown.out.splitlines()[-1].startswith(f"acme/shop/65OmRb8v  {error}")
    for found in (
        rows(call("suites", "acme/shop", "--status").out),
        csv.DictReader(io.StringIO(call("suites", "acme/shop", "--status", "--format", "csv").out, newline="")),
    ):
        red, failed = found
        assert (red["status"], red["error"] or None, failed["status"] or None) == ("red", None, None)
        assert failed["error"].startswith(error)
