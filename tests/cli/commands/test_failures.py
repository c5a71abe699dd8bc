"""The command `failures`: which session, what it prints of the failing tests, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from buddy_sessions._export import SESSION_CASE_COLUMNS
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, Source, rows, sync_database

SUITE, B = "acme/shop/a", "acme/shop/b"

TRACEBACK = """\
Traceback (most recent call last):
  File "tests/cart/test_total.py", line 12, in adds_discount
\tassert total == 4
AssertionError: assert 3 == 4"""


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite whose second session has failing tests."""
    suite = fake.add_suite("acme", "shop", "a")
    failure = {"message": "assert 3 == 4", "type": "AssertionError", "text": TRACEBACK}
    error = {"message": "KeyError: 'currency'", "type": "KeyError", "text": None}
    cases: list[dict[str, Any]] = [
        {"name": "removes_item"},
        {"name": "adds_discount", "status": "FAILED", **failure},
        {"name": "shows_prices", "status": "ERROR", "test_group_name": "tests/catalog/test_prices.py", **error},
    ]
    suite.create(id="first", cases=[{"name": "old", "status": "FAILED", "message": "x"}])
    suite.create(id="second", branch="dev", cases=cases)
    return suite


def test_jsonl_names_the_session_and_has_the_failure(source: Source, suite: FakeSuite, call: Call) -> None:
    code, out, err = call("failures", SUITE, "second", *source("failed"))
    assert (code, err) == (0, "")
    first, second = rows(out)
    assert tuple(first) == tuple(second) == ("key", *SESSION_CASE_COLUMNS)
    names = {"key": SUITE, "workspace": "acme", "project": "shop", "suite_id": "a"}
    (listed,) = suite.cases("second", status="FAILED")
    failure = {"kind": "failure", "type": "AssertionError", "message": "assert 3 == 4", "text": TRACEBACK}
    assert first == {**names, "session_id": "second", "relative_id": 2, **listed, "failure": failure}
    assert (second["status"], second["failure"]["kind"], second["failure"]["text"]) == ("ERROR", "error", None)


def test_characters_that_xml_forbids_are_escaped(fake: FakeBuddy, call: Call) -> None:
    odd = "\x1b[31m]]> <&'\" \ud800\ufffe é日😀\x00"
    data = f"<testcase><failure message='{chr(10)}a&amp;b' type='&lt;T>'><![CDATA[ ]] ></x>]]></failure></testcase>"
    odd_names = {"name": odd, "classname": f"Class{odd}", "test_group_name": odd}
    fake.add_suite("acme", "shop", "b").create(cases=[{**odd_names, "status": "FAILED", "data": data}])
    shown = "\\u001b[31m]]> <&'\" \ufffd\\ufffe é日😀\\u0000"
    text = call("failures", B, "--format", "junit").out
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n')
    document = ET.fromstring(text)
    assert document.attrib.items() >= {"tests": "1", "failures": "1"}.items()
    assert [each.get("name") for each in document.iter("testsuite")] == [shown]
    (case,) = document.iter("testcase")
    assert (case.get("name"), case.get("classname")) == (shown, f"Class{shown}")
    (failure,) = case
    assert (failure.get("type"), failure.get("message"), failure.text) == ("<T>", " a&b", "]] ></x>")


def test_session_and_failures_without_optional_fields(fake: FakeBuddy, call: Call) -> None:
    """The first line of the text replaces a missing message."""
    names = "html_url create_date duration ref_name revision created_by tests_count failed_count error_count"
    missing: dict[str, Any] = dict.fromkeys(names.split())
    failures: list[dict[str, Any]] = [{"data": None}, {"message": None, "type": None, "text": "\n first\nsecond"}]
    cases = [{"name": f"t{n}", "status": "FAILED", **one} for n, one in enumerate(failures)]
    fake.add_suite("acme", "shop", "b").create(status="ERROR", cases=cases, **missing)
    lines = call("failures", "acme/shop/b", "1", "--format", "table").out.splitlines()
    name = "✘ failed  100ms  tests/cart/test_total.py > CartTest > t"
    assert lines[0].rstrip() == "acme/shop/b #1  ✘ failed  -  -"
    assert [line.rstrip() for line in lines[3:]] == [
        f"{name}0",
        f"{name}1",
        "                 first",
        "",
        "2 tests failed",
    ]


def test_causes(fake: FakeBuddy, call: Call) -> None:
    """Tests whose message was not read come last."""
    names = ["order 17", "order 18", "zip"]
    cases = [{"name": name, "status": "FAILED", "message": f"{name} is lost"} for name in names]
    fake.add_suite("acme", "shop", "b").create(cases=cases)
    key = "tests/cart/test_total.py > CartTest > "
    orders = ("order <number> is lost", 2, [f"{key}order 17", f"{key}order 18"])
    for options, template, title in (
        ([], "zip is lost", "AssertionError: zip is lost"),
        (["--limit", "2"], None, "messages that were not read"),
    ):
        words = ["failures", B, "--group", *options]
        found = [(row["template"], row["count"], row["tests"]) for row in rows(call(*words).out)]
        assert found == [orders, (template, 1, [f"{key}zip"])]
        _, out, err = call(*words, "--format", "table")
        assert ("2 of 3 messages read: the causes of the other tests are not known" in err) == bool(options)
        lines = out.splitlines()
        shown = ["2 tests: AssertionError: order <number> is lost", f"{key}order 17", f"{key}order 18"]
        assert lines[3:9] == [*shown, "", f"1 test: {title}", f"{key}zip"]


def test_message_of_a_session_is_shown_beside_its_failing_tests(fake: FakeBuddy, call: Call) -> None:
    cases = [{"name": "pays", "status": "FAILED", "message": "lost"}]
    fake.add_suite("acme", "shop", "b").create(cases=cases, error_message="disk full")
    for command in ("failures", "gate"):
        out = call(command, B, "1", "--format", "table").out
        assert (out.count("disk full"), "> pays" in out) == (1, True)


@pytest.mark.parametrize(
    "words",
    ["failures", "failures --format pytest", "failures --format table", "cases", "cases --format junit"],
)
def test_running_session_is_a_warning(words: str, fake: FakeBuddy, call: Call) -> None:
    fake.add_suite("acme", "shop", "b").create(status="IN_PROGRESS")
    command, *options = words.split()
    code, out, err = call(command, B, "1", *options, "-q")
    assert (code, "0 of 0" in out, err) == (6, False, "warning: #1: not finished\n")


def test_running_session_beside_a_list_that_is_too_short(fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    """More may follow: the exit code is that of what has not finished."""
    suite, db = fake.add_suite("acme", "shop", "b"), tmp_path / "sessions.db"
    suite.create(revision="f00d" * 10, failed_count=2, cases=[{"name": "pays", "status": "FAILED"}])
    suite.create(status="IN_PROGRESS", revision="f00d" * 10)
    sync_database(fake, db, cases="failed")
    code, _, err = call("failures", B, "f00d" * 10, "--db", str(db))
    assert (code, "not finished" in err, "lists 1 of its 2" in err) == (6, True, True), err


@pytest.mark.parametrize("output_format", ["table", "jsonl", "csv", "junit", "markdown", "github", "pytest", "files"])
def test_session_that_failed_without_a_failing_test(output_format: str, fake: FakeBuddy, call: Call) -> None:
    fake.add_suite("acme", "shop", "b").create(status="ERROR", error_message="disk full", cases=[{"name": "x"}])
    code, out, err = call("failures", B, "--format", output_format)
    assert (code, "disk full" in out + err) == (0, True)


def test_files_to_run_again(fake: FakeBuddy, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, if it is here: the groups of reporters for JavaScript, or the modules of pytest."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.test.js", "-b.test.js", "test_c.py"):
        Path(name).touch()
    (tmp_path.parent / "outside.js").touch()
    groups = ["a.test.js", "a.test.js", "-b.test.js", "pytest", "gone.test.js", "../outside.js", "x" * 300]
    cases = [
        {"name": f"t{n}", "status": "FAILED", "test_group_name": group, "classname": "test_c.TestC"}
        for n, group in enumerate(groups)
    ]
    cases += [{**cases[0], "name": "t9", "test_group_name": "y" * 300, "classname": f"{'z' * 300}.T"}]
    for case in cases[4:]:
        case["classname"] = case["test_group_name"]
    fake.add_suite("acme", "shop", "b").create(cases=cases)
    code, out, err = call("failures", B, "--format", "files")
    assert (code, sorted(out.splitlines())) == (0, ["./-b.test.js", "a.test.js", "test_c.py"])
    assert err.count("warning: no file in this folder for ") == 4


@pytest.mark.parametrize(
    ("cases", "message", "listed"),
    [
        (None, f"the failing test cases of #1 of {B} were not saved: sync with --cases failed", 0),
        ("failed", "#1 lists 1 of its 2 failing tests", 1),
    ],
    ids=["not saved", "too few listed"],
)
def test_what_a_database_lacks_is_named(
    cases: Any, message: str, listed: int, fake: FakeBuddy, call: Call, tmp_path: Path
) -> None:
    """What it has is printed. A client reads a list that is too short again."""
    failing = [{"name": "pays", "status": "FAILED", "message": "lost"}]
    fake.add_suite("acme", "shop", "b").create(status="ERROR", failed_count=2, tests_count=2, cases=failing)
    sync_database(fake, tmp_path / "x.db", cases=cases)
    result = call("failures", B, "1", "--db", str(tmp_path / "x.db"))
    assert (result.code, len(rows(result.out))) == (5, listed)
    assert result.err.startswith(f"warning: {message}")
