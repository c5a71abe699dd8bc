"""Workflow commands of GitHub Actions: those of `--format github`, and none in anything else that is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddy_sessions import Failure, SuiteKey, TestCase, TestStatus
from buddy_sessions.cli.render.result import CommandResult, Item, Section
from buddy_sessions.cli.render.runners import render_github
from buddy_sessions.cli.render.text import cut, trace_of
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call
from helpers.workflow_commands import commands_in

SUITE = "acme/shop/a"
JEST = """Error: oops
    at expect (/home/runner/work/web/web/node_modules/expect/build/index.js:7:3)
    at total ({}:12:5)
    at Object.<anonymous> (/home/runner/work/web/web/src/test.ts:40:1)"""
PYTEST = """tests/conftest.py:3: in fixture
    return total()
{}:12: AssertionError"""


def result_of(*failures: Failure | None, name: str = "adds") -> CommandResult:
    cases = [
        TestCase(id="1", name=name, status=TestStatus.FAILED, test_group_name=name, data="read", failure=failure)
        for failure in failures
    ]
    return CommandResult(
        command="gate",
        suite=SuiteKey("acme", "shop", "a"),
        sections=[Section("", [Item(case.key, case=case) for case in cases])],
    )


@pytest.mark.parametrize(
    ("trace", "path", "file"),
    [
        (JEST, "/home/runner/work/web/web/src/cart.ts", "src/cart.ts"),
        (JEST, "file:///home/runner/work/web/web/src/cart.ts", "src/cart.ts"),
        (JEST, "C:\\work\\web\\src\\cart.ts", "src/cart.ts"),
        (JEST, "/builds/My Web/app/[slug]/page.tsx", "app/[slug]/page.tsx"),
        (JEST, "../../web/src/cart.ts", "src/cart.ts"),
        (JEST, "/elsewhere/cart.ts", "cart.ts"),
        (JEST, "/home/runner/gone.ts", None),
        (JEST, f"/{'x' * 300}.ts", None),
        (PYTEST, "tests/test_cart.py", "tests/test_cart.py"),
        (PYTEST, "web/tests/../tests/test_cart.py", "tests/test_cart.py"),
        ("{}", "no frame", None),
    ],
)
def test_file_is_the_longest_end_in_the_checkout(
    trace: str, path: str, file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("src/cart.ts", "cart.ts", "app/[slug]/page.tsx", "tests/test_cart.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    failure = Failure(kind="failure", message="oops", text=trace.format(path))
    (command,) = commands_in(render_github(result_of(failure)))
    expected = {"title": "adds > adds"} | ({} if file is None else {"file": file, "line": "12"})
    assert (command.name, command.properties) == ("error", expected)
    assert "oops" in command.data or trace == PYTEST


def test_ten_annotations_of_new_failures(suite: FakeSuite, call: Call) -> None:
    """Those without an excuse. A reason that is none of them comes first."""
    old = {"name": "old", "status": "FAILED"}
    suite.create("main", cases=[old])
    cases = [{"name": f"t{number:02}", "status": "FAILED"} for number in range(12)]
    suite.create("fix", cases=[old, *cases], tests_count=100)
    suite.create("main", cases=[], status="ERROR", error_message="disk full", tests_count=13)
    found = commands_in(call("gate", SUITE, "2", "--format", "github").out)
    assert [command.properties["title"].rpartition(" > ")[2] for command in found] == [f"t{n:02}" for n in range(10)]
    (crash,) = commands_in(call("gate", SUITE, "3", "--format", "github").out)
    assert (crash.properties, crash.data) == (
        {"title": "Fails: failed without a failing test"},
        "#3 failed without a failing test: disk full",
    )


WORDS = ("::", "##[", "]", "error", "stop-commands", "add-mask", "%", "%0A", "%3A", ",", "=", ":", "x")
PIECES = (*WORDS, " ", "\n", "\r", "\u2028", "\x1b[31m")
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@example(",file=x:1%0A::error::y", "", "x\n::stop-commands::y\n::error::z%25")
@example("", "\x1b[31m", "")
@given(TEXTS, TEXTS, TEXTS)
def test_no_text_becomes_another_command(name: str, message: str, text: str) -> None:
    """The title and the data are the texts, but for control characters."""
    failure = Failure(kind="failure", message=message, text=text)
    (command,) = commands_in(render_github(result_of(failure, name=f"n{name}")))
    title = cut(f"n{name} > n{name}", 300)
    assert (command.name, command.properties) == ("error", {"title": title})
    assert command.data == (trace_of(failure, max_length=4_000) or title)


HOSTILE = "::stop-commands::x\n::add-mask::y ##[add-mask]z"


@pytest.mark.parametrize("output_format", ["table", "table --group", "markdown", "junit", "jsonl", "pytest", "files"])
@pytest.mark.parametrize("command", ["failures", "gate"])
def test_nothing_else_is_a_command(command: str, output_format: str, fake: FakeBuddy, call: Call) -> None:
    """Whatever the names, messages, URLs and branches are."""
    if command == "gate" and output_format not in {"table", "markdown", "junit", "jsonl"}:
        return
    suite = fake.add_suite("acme", "shop", "a")
    texts: dict[str, Any] = dict.fromkeys(("name", "classname", "test_group_name", "message", "type", "text"), HOSTILE)
    fields = dict.fromkeys(("branch", "html_url", "error_message", "ci_run_url"), HOSTILE)
    suite.create(cases=[{**texts, "status": "FAILED"}], status="ERROR", **fields)
    suite.create(cases=[], status="ERROR", revision="f00d" * 10, **fields)
    for session in ("1", "2"):
        _, out, err = call(command, SUITE, session, "--format", *output_format.split())
        assert "stop-commands" in out + err
        assert commands_in(out + err) == []
        if output_format == "junit" and session == "1":
            assert "\n::add-mask::y ##[add-mask]z" in (ET.fromstring(out).findtext(".//failure") or "")
