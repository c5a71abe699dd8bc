"""The command `failures`: which session, what it prints of the failing tests, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from junitparser import Error, JUnitXml, TestCase, TestSuite
from junitparser import Failure as JUnitFailure
from rich.cells import cell_len

from buddy_sessions._export.session_rows import SESSION_CASE_COLUMNS
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, Source, rows, sync_database

SUITE, B = "acme/shop/a", "acme/shop/b"

TRACEBACK = """\
Traceback (most recent call last):
  File "tests/cart/test_total.py", line 12, in adds_discount
\tassert total == 4
AssertionError: assert 3 == 4"""

CASES: tuple[Mapping[str, Any], ...] = (
    {"name": "removes_item", "time": 0.25},
    {
        "name": "adds_discount",
        "status": "FAILED",
        "time": 0.04,
        "message": "assert 3 == 4",
        "type": "AssertionError",
        "text": TRACEBACK,
    },
    {
        "name": "shows_prices",
        "status": "ERROR",
        "time": 61,
        "test_group_name": "tests/catalog/test_prices.py",
        "classname": "CatalogTest",
        "message": "KeyError: 'currency' is not in the response",
        "type": "KeyError",
        "text": None,
    },
    {"name": "is_slow", "status": "SKIPPED", "time": 0},
)


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite whose second session has failing tests, whose third one has none, and whose fourth one is running."""
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(id="first", branch="main", status="ERROR", cases=[{"name": "old", "status": "FAILED", "message": "x"}])
    suite.create(id="second", branch="dev", cases=CASES, duration=42)
    suite.create(id="third", branch="main", status="SUCCESSFUL", tests_count=3)
    suite.create(id="fourth", branch="dev", status="IN_PROGRESS")
    return suite


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([SUITE], []),
        ([SUITE, "latest", "--branch", "dev"], ["new"]),
        (["https://app.buddy.works/acme/shop/unit-tests/a/first"], ["old"]),
    ],
    ids=["main branch", "branch", "URL"],
)
def test_latest_commit_unless_a_session_is_named(
    arguments: list[str], expected: list[str], suite: FakeSuite, call: Call
) -> None:
    suite.create(branch="dev", status="ERROR", cases=[{"name": "new", "status": "FAILED", "message": "x"}])
    code, out, err = call("failures", *arguments)
    assert (code, [row["name"] for row in rows(out)], err) == (0, expected, "")


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


class TestJUnit:
    def parse(self, out: str) -> dict[str, list[tuple[Any, ...]]]:
        """Return what junitparser reads of the test cases of each test suite. Its counts must be those of the cases."""
        document = JUnitXml.fromstring(out.encode())
        found: dict[str, list[tuple[Any, ...]]] = {}
        for suite in document:
            assert isinstance(suite, TestSuite)
            cases = [(case, result) for case in suite if isinstance(case, TestCase) for result in case.result]
            kinds = [type(result) for _, result in cases]
            assert suite.tests == len(cases)
            assert (suite.failures, suite.errors) == (kinds.count(JUnitFailure), kinds.count(Error))
            assert suite.time == sum(case.time or 0 for case, _ in cases)
            found[str(suite.name)] = [
                (case.classname, case.name, case.time, type(result), result.type, result.message, result.text)
                for case, result in cases
            ]
        assert document.tests == sum(map(len, found.values()))
        return found

    @pytest.mark.usefixtures("suite")
    def test_failing_tests(self, call: Call) -> None:
        code, out, err = call("failures", SUITE, "second", "--format", "junit")
        failure = (JUnitFailure, "AssertionError", "assert 3 == 4", TRACEBACK)
        error = (Error, "KeyError", "KeyError: 'currency' is not in the response", None)
        assert (code, err, JUnitXml.fromstring(out.encode()).name) == (0, "", f"{SUITE} #2")
        assert self.parse(out) == {
            "tests/cart/test_total.py": [("CartTest", "adds_discount", 0.04, *failure)],
            "tests/catalog/test_prices.py": [("CatalogTest", "shows_prices", 61, *error)],
        }

    def test_missing_fields_are_left_out(self, fake: FakeBuddy, call: Call) -> None:
        missing = {"classname": None, "time": None, "data": None}
        cases = [{"name": "x", "status": "FAILED", **missing}]
        cases += [{"name": "y", "status": "ERROR", "test_group_name": None, **missing}]
        fake.add_suite("acme", "shop", "b").create(create_date=None, cases=cases)
        out = call("failures", "acme/shop/b", "--format", "junit").out
        assert "timestamp" not in out
        assert self.parse(out) == {
            "tests/cart/test_total.py": [("tests/cart/test_total.py", "x", 0.0, JUnitFailure, None, "", None)],
            "acme/shop/b #1": [("", "y", 0.0, Error, None, "", None)],
        }

    def test_characters_that_xml_forbids_are_escaped(self, fake: FakeBuddy, call: Call) -> None:
        odd = "\x1b[31m]]> <&'\" \ud800\ufffe é日😀\x00"
        data = f"<testcase><failure message='{chr(10)}a&amp;b' type='&lt;T>'><![CDATA[ ]] ></x>]]></failure></testcase>"
        odd_names = dict.fromkeys(("name", "classname", "test_group_name"), odd)
        fake.add_suite("acme", "shop", "b").create(cases=[{**odd_names, "status": "FAILED", "data": data}])
        shown = "\\u001b[31m]]> <&'\" \ufffd\\ufffe é日😀\\u0000"
        assert self.parse(call("failures", "acme/shop/b", "--format", "junit").out) == {
            shown: [(shown, shown, 0.1, JUnitFailure, "<T>", " a&b", "]] ></x>")]
        }


class TestMarkdown:
    @pytest.mark.usefixtures("suite")
    def test_headline_causes_and_traces(self, call: Call) -> None:
        code, out, err = call("failures", SUITE, "second", "--format", "markdown")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[2] == (
            '## ❌ 2 of 4 tests failed: <code>dev</code> <a href="https://app.buddy.works/acme/shop/unit-tests/a/second">'
            "#2</a>"
        )
        assert lines[4] == "Suite <code>acme/shop/a</code>"
        assert lines[6].startswith("<code>#2</code> ERROR, 2 of 4 tests failed, dev, commit ")
        assert ", by Ada Novak, " in lines[6]
        assert lines[8:14] == [
            "### Causes",
            "",
            "- 1 test: <code>AssertionError: assert 3 == 4 at cart/test_total.py:12</code>",
            "- 1 test: <code>KeyError: 'currency' is not in the response</code>",
            "",
            "### Failing tests (2)",
        ]
        assert f"\n\n```text\n{TRACEBACK.expandtabs()}\n```\n\n</details>\n" in out

    def test_messages_of_200_tests_are_read(self, fake: FakeBuddy, call: Call) -> None:
        suite = fake.add_suite("acme", "shop", "b")
        suite.create(cases=[{"name": f"t{n}", "status": "FAILED", "message": "x"} for n in range(205)])
        out = call("failures", "acme/shop/b", "--format", "markdown").out
        assert "- 200 tests: <code>" in out
        assert "Failing tests (205)" in out


class TestTable:
    @pytest.mark.usefixtures("suite")
    def test_table_for_80_columns(self, call: Call) -> None:
        code, out, err = call("failures", SUITE, "second", "--format", "table")
        assert (code, err) == (0, "")
        assert [re.sub(r"\d+ s ago", "0 s ago", line.rstrip()) for line in out.splitlines()] == [
            "acme/shop/a #2  ✘ failed  0 s ago  42s  dev",
            "https://app.buddy.works/acme/shop/unit-tests/a/second",
            "",
            "STATUS     TIME  TEST",
            "✘ failed   40ms  tests/cart/test_total.py > CartTest > adds_discount",
            "                 AssertionError: assert 3 == 4",
            "✘ error   1m01s  tests/catalog/test_prices.py > CatalogTest > shows_prices",
            "                 KeyError: 'currency' is not in the response",
            "",
            "2 of 4 tests failed",
        ]

    def test_session_and_failures_without_optional_fields(self, fake: FakeBuddy, call: Call) -> None:
        """The first line of the text replaces a missing message."""
        names = ("html_url", "create_date", "duration", "ref_type", "ref_name", "tests_count")
        missing: dict[str, Any] = dict.fromkeys(names)
        failures: list[dict[str, Any]] = [
            {"data": None},
            {"message": None, "type": None, "text": "\n first\nsecond"},
            {"message": None, "type": None, "text": None},
            {"message": None, "type": "OSError"},
        ]
        cases = [{"name": f"t{n}", "status": "FAILED", **one} for n, one in enumerate(failures)]
        fake.add_suite("acme", "shop", "b").create(status="ERROR", cases=cases, **missing)
        lines = call("failures", "acme/shop/b", "1", "--format", "table").out.splitlines()
        name = "✘ failed  100ms  tests/cart/test_total.py > CartTest > t"
        assert [line.rstrip() for line in lines] == [
            "acme/shop/b #1  ✘ failed  -  -",
            "",
            "STATUS     TIME  TEST",
            f"{name}0",
            f"{name}1",
            "                 first",
            f"{name}2",
            "",
            f"{name}3",
            "                 OSError",
            "",
            "4 tests failed",
        ]

    @pytest.mark.parametrize("width", [120, 40])
    def test_message_is_cut_to_the_width_and_no_name_is(
        self, width: int, fake: FakeBuddy, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        suite = fake.add_suite("acme", "shop", "b")
        name = "日本語" * 30
        suite.create(cases=[{"name": name, "status": "FAILED", "message": "two\nlines " * 100}])
        monkeypatch.setenv("COLUMNS", str(width))
        lines = call("failures", "acme/shop/b", "--format", "table").out.splitlines()
        named, message, _, _ = lines[4:]
        assert max(cell_len(line) for line in lines[3:] if line != named) <= width
        assert name in named
        assert message.strip().startswith("AssertionError: two lines"[: width - 30])
        assert message.rstrip().endswith("…")

    def test_table_is_limited_to_50_tests_by_default(self, fake: FakeBuddy, call: Call) -> None:
        suite = fake.add_suite("acme", "shop", "b")
        suite.create(cases=[{"name": f"t{n}", "status": "FAILED", "message": "x"} for n in range(51)])
        for arguments, count, message in (
            ([], 50, "for the other 1 test add --limit N\n"),
            (["--limit", "3"], 3, "for the other 48 tests add --limit N\n"),
            (["--limit", "51"], 51, ""),
        ):
            code, out, err = call("failures", "acme/shop/b", "--format", "table", *arguments)
            assert (code, err, out.count("✘ failed  100ms")) == (0, message, count)
            assert out.endswith("\n51 of 51 tests failed\n")
        assert len(rows(call("failures", "acme/shop/b").out)) == 51


def test_what_was_not_saved_is_named(fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path) -> None:
    """Otherwise, no test seems to have failed."""
    path = tmp_path / "sessions.db"
    assert call("sync", SUITE, "--db", str(path), "--cases", "failed", "--details", "1").code == 0
    assert call("failures", SUITE, "second", "--db", str(path)).err.startswith("details not read: 1 test; ")
    suite.create(id="fifth", status="ERROR", failed_count=1)
    sync_database(fake, path)
    code, out, err = call("failures", SUITE, "fifth", "--db", str(path))
    assert (code, out) == (5, "")
    assert err == f"warning: the failing test cases of #5 of {SUITE} were not saved: sync with --cases failed\n"


def test_causes(fake: FakeBuddy, call: Call) -> None:
    names = ["order 17", "order 18", "cart"]
    cases = [{"name": name, "status": "FAILED", "message": f"{name} is lost"} for name in names]
    fake.add_suite("acme", "shop", "b").create(cases=cases)
    key = "tests/cart/test_total.py > CartTest > "
    found = [(row["template"], row["count"], row["tests"]) for row in rows(call("failures", B, "--group").out)]
    assert found == [
        ("order <number> is lost", 2, [f"{key}order 17", f"{key}order 18"]),
        ("cart is lost", 1, [f"{key}cart"]),
    ]
    lines = call("failures", B, "--group", "--format", "table").out.splitlines()
    title = "2 tests: AssertionError: order <number> is lost"
    assert lines[3:7] == [title, f"  {key}order 17", f"  {key}order 18", ""]


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
