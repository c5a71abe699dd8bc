"""The command `list`."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions import SuiteKey
from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, numbers

KEY = SuiteKey("acme", "shop", "MNbyVedg")
SUITE = "/".join(KEY)


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY).populate(250)


def add(suite: FakeSuite, **fields: Any) -> None:
    created = (datetime.now(UTC) - timedelta(hours=3, minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = {
        "create_date": created,
        "revision": "5cfe3f5799de2ba886e4e3099efa3649195ffa25",
        "created_by": {"name": "Ann"},
    }
    suite.create(**{**known, **fields})


@pytest.mark.usefixtures("suite")
def test_jsonl_is_written_page_by_page(fake: FakeBuddy, call: Call) -> None:
    lines: list[int] = []

    def on_request(_: object) -> None:
        stdout: Any = sys.stdout
        lines.append(stdout.buffer.getvalue().count(b"\n"))

    fake.on_request = on_request
    code, out, err = call("list", SUITE)
    assert (code, err, lines[:2]) == (0, "", [0, 100])
    assert numbers(out) == [*range(250, 0, -1)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--branch only/here", [251]),
        ("--after 248", [251, 250, 249]),
        ("--limit 2", [251, 250]),
        ("--limit 1 --format jsonl", [251]),
    ],
)
def test_options_select_sessions(arguments: str, expected: list[int], suite: FakeSuite, call: Call) -> None:
    suite.create(branch="only/here")
    code, out, err = call("list", SUITE, *arguments.split())
    assert (code, numbers(out), err) == (0, expected, "")


def test_emails_only_if_asked_for(suite: FakeSuite, call: Call) -> None:
    add(suite, created_by={"name": "Ann", "email": "ann@example.com"})
    for output_format in ("jsonl", "csv"):
        words = ("list", SUITE, "--format", output_format)
        assert ["ann@example.com" in call(*words, *more).out for more in ((), ("--emails",))] == [False, True]


@pytest.mark.usefixtures("suite")
def test_verbose_logs_each_request(call: Call) -> None:
    code, out, err = call("list", SUITE, "-v")
    assert (code, numbers(out)[0], err.count("GET ")) == (0, 250, 3)


def test_table_for_80_columns(fake: FakeBuddy, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    suite = fake.add_suite(*KEY)
    add(suite, status="SUCCESSFUL", branch="main", duration=185)
    add(suite, status="ERROR", ref_type="PULL_REQUEST", ref_name="pull/7", duration=42, failed_count=4, error_count=1)
    add(suite, status="SKIPPED", ref_type="TAG", ref_name="v2.1.0", duration=1, created_by=None, revision=None)
    add(suite, status="PAUSED", branch="feature/one-letter-too-many", failed_count=None, error_count=None)
    add(suite, branch="main", create_date=None, ref_type=None, ref_name=None, created_by={"name": "B" * 20})
    code, out, err = call("list", SUITE, "--format", "table")
    assert (code, err) == (0, "5 sessions, 1 request\n")
    assert [line.rstrip() for line in out.splitlines()] == [
        "acme/shop/MNbyVedg",
        "#  STATUS     AGE   TIME  FAIL  BRANCH               COMMIT   AUTHOR",
        "5  ◌ running    -      -     0  -                    5cfe3f5  BBBBBBBBBBBBBBBBB…",
        "4  ? paused   3 h      -     -  feature/one-letter…  5cfe3f5  Ann",
        "3  ○ skipped  3 h     1s     0  tag v2.1.0           -        -",
        "2  ✘ failed   3 h    42s     5  PR pull/7            5cfe3f5  Ann",
        "1  ✔ passed   3 h  3m05s     0  main                 5cfe3f5  Ann",
    ]


@pytest.mark.parametrize(
    ("arguments", "count", "message"),
    [
        ([], 50, "50 sessions, 1 request; for older sessions add --limit N"),
        (["--limit", "2"], 2, "2 sessions, 1 request"),
        (["--limit", "250"], 250, "250 sessions, 3 requests"),
        (["--after", "250"], 0, "0 sessions, 1 request"),
    ],
)
@pytest.mark.usefixtures("suite")
def test_table_has_50_sessions_by_default(arguments: list[str], count: int, message: str, call: Call) -> None:
    code, out, err = call("list", SUITE, "--format", "table", *arguments)
    assert (code, err, out.count("\n")) == (0, f"{message}\n", count + 2 if count else 1)
    assert out.splitlines()[0] == SUITE


def test_character_that_the_encoding_lacks_is_replaced(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
    add(fake.add_suite(*KEY), status="ERROR")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert run(["list", SUITE, "--format", "table"]) == 0
    assert b"1  ? failed " in written.getvalue()
