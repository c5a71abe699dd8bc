"""What every command that prints data does with it: formats, terminals, links, closed pipes, control characters."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from buddy_sessions.cli import run
from buddy_sessions.cli.app import app
from buddy_sessions.cli.render.console import Output
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import COMMAND, Call, closed_pipe, interrupt, rows, sync_database, use_terminal

A = "acme/shop/a"
EVIL = "\x1b]0;owned\x07\x9b2J\u202e[red]"
SHOWN = "\\u001b]0;owned\\u0007\\u009b2J\\u202e[red]"

COMMANDS = {
    "list": ["list", A],
    "status": ["status", "acme/shop"],
    "failures": ["failures", A, "4"],
    "cases": ["cases", A, "4"],
    "history": ["history", A, EVIL, "--branch", EVIL],
    "gate": ["gate", A, "4"],
    "wait": ["wait", A, "--branch", EVIL],
    "info": ["info", "--db", "sessions.db"],
    "flaky": ["flaky", A, "--branch", EVIL],
    "slowest": ["slowest", A, "--branch", EVIL],
    "compare": ["compare", A, "1", "2"],
    "harvest": ["harvest", A],
    "export": ["export", A, "--db", "sessions.db"],
    "watch": ["watch", A, "--interval", "0.01", "--status", "--branch", EVIL],
}
CODES = {"gate": 1, "watch": 130}
"""The exit codes of commands that do not end with 0."""
EACH = [(name, "table") for name in COMMANDS if name not in {"harvest", "export"}]
EACH += [(name, text_format) for name in ("list", "flaky", "harvest", "export") for text_format in ("jsonl", "csv")]
EACH += [("cases", "junit"), ("watch", "jsonl")]
AUTHOR = ["url", "html_url", "id", "name", "avatar_url", "email", "admin", "workspace_owner"]
FAILURE = ["kind", "type", "message", "text"]


@pytest.fixture
def suite(fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSuite:
    """A suite whose names are hostile, in the API and in a database."""
    suite = fake.add_suite("acme", "shop", "a", name=EVIL, identifier=EVIL)
    for status in ("PASSED", "FAILED", "PASSED", "FAILED"):
        add_session(suite, status)
    sync_database(fake, tmp_path / "sessions.db")
    fake.requests.clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return suite


def add_session(suite: FakeSuite, status: str) -> None:
    evil: dict[str, Any] = dict.fromkeys(("name", "test_group_name", "classname"), EVIL)
    fields: dict[str, Any] = dict.fromkeys(("branch", "html_url", "error_message"), EVIL)
    fields["revision"] = f"{EVIL}{len(suite.sessions)}"
    message = {"message": "\x9b2J\u202e[red]", "text": "\u202e"} if status == "FAILED" else {}
    suite.create(**fields, created_by={"name": EVIL}, cases=[{**evil, "status": status, **message}])


def prepare(name: str, output_format: str, fake: FakeBuddy, suite: FakeSuite) -> list[str]:
    """Return the arguments of a command. A session is created during a watch, which is interrupted later."""

    def on_request(_: object) -> None:
        if len(fake.requests) == 4:
            add_session(suite, "FAILED")
        elif len(fake.requests) == 12:
            interrupt()

    if name == "watch":
        fake.on_request = on_request
    return [*COMMANDS[name], "--format", output_format]


def test_every_command_meets_hostile_text() -> None:
    """But those that print no text of an account, and those that have such a test of their own."""
    without_text, own_test = {"doctor", "sync", "prune", "serve", "demo"}, {"report", "mcp"}
    assert {name for name in app if not name.startswith("-")} == {*COMMANDS, *without_text, *own_test}


@pytest.mark.parametrize(("name", "output_format"), EACH)
def test_control_characters_do_not_reach_a_terminal(
    name: str, output_format: str, fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = use_terminal(monkeypatch, "stdout", dumb=False)
    code = run(prepare(name, output_format, fake, suite))
    assert code == CODES.get(name, 0)
    shown = terminal.getvalue()
    assert SHOWN in shown
    assert not set(shown) & {"\x07", "\x9b", "\u202e"}
    assert "\x1b]" not in shown
    if output_format == "jsonl":
        assert {next(iter(row.items())) for row in rows(shown)} == {("key", A)}


@pytest.mark.parametrize(("name", "output_format"), EACH)
def test_closed_pipe_is_not_an_error(
    name: str,
    output_format: str,
    fake: FakeBuddy,
    suite: FakeSuite,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = run([*prepare(name, output_format, fake, suite), "--quiet"])
    assert (code, capsys.readouterr().err) == (1 if name == "gate" else 0, "")


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (["list", A], ["id", "relative_id", "status", *(f"created_by_{name}" for name in AUTHOR), "error_count"]),
        (["harvest", A], ["id", *(f"created_by_{name}" for name in AUTHOR), "ci_provider"]),
        (["export", A, "--db", "x.db"], ["id", "created_by_email", "error_message"]),
        (["status", "acme/shop"], ["name", "branch", "status", "failing_tests", "cause", "since"]),
        (["cases", A, "2"], ["session_id", "relative_id", "id", "name", *(f"failure_{name}" for name in FAILURE)]),
        (["flaky", A], ["test_group_name", "classname", "name", "flips", "failed", "commits"]),
        (["slowest", A], ["test_group_name", "classname", "name", "median", "slowest", "sessions"]),
        (["compare", A, "1", "2"], ["change", "session_id", "name", "failure_message", "old_time"]),
        (["failures", A, "2"], ["session_id", "relative_id", "name", "failure_message"]),
        (["failures", A, "2", "--group"], ["relative_ids", "template", "count"]),
        (["info", "--db", "x.db"], ["name", "sessions", "below"]),
    ],
    ids=lambda value: value[0],
)
def test_csv_has_a_header_and_flat_columns(
    arguments: list[str],
    columns: list[str],
    fake: FakeBuddy,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also without rows, and always after the names of the suite."""
    monkeypatch.chdir(tmp_path)
    suite = fake.add_suite("acme", "shop", "a")
    if arguments[0] not in {"list", "harvest", "export"}:
        for _ in range(2):
            suite.create(status="SUCCESSFUL", cases=[])
    sync_database(fake, Path("x.db"))
    code, out, _ = call(*arguments, "--format", "csv")
    header, *lines = csv.reader(io.StringIO(out, newline=""))
    assert (code, len(lines)) == (0, arguments[0] in {"status", "info"})
    start = 1 if arguments[0] == "compare" else 0
    assert header[start : start + 3] == ["workspace", "project", "suite_id"]
    assert set(columns) <= set(header)


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize(
    "words",
    [
        "status --why",
        "list",
        "history pays",
        "failures",
        "failures --group",
        "flaky",
        "slowest",
        "compare",
        "cases",
        "gate",
    ],
)
def test_lines_fit(words: str, width: int, fake: FakeBuddy, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of long names, and of wide characters, too. Nothing of the key of a suite or the name of a test is lost."""
    monkeypatch.setenv("COLUMNS", str(width))
    key, test = "acme/storefront/MNbyVedg", f"pays_{'x' * 45}{'測' * 45}"
    suite = fake.add_suite(*key.split("/"), name="Unit tests of the shop")
    case = {"name": test, "classname": "tests.checkout.test_prices.CheckoutTest", "message": "結果 " * 30}
    for number in range(13):
        status = "FAILED" if number in {6, 8, 11, 12} else "PASSED"
        suite.create(cases=[case | {"status": status}], created_by={"name": "Chioma Okafor-Villeneuve"})
    name, *others = words.split()
    out = call(name, key, *others, "--format", "table").out
    assert [line for line in out.splitlines() if cell_len(line.rstrip()) > width and "://" not in line] == []
    assert (key if name in {"status", "list"} else test) in re.sub(r"\s", "", out)


@pytest.mark.usefixtures("suites")
@pytest.mark.parametrize(
    "arguments",
    [["harvest", "acme/shop"], ["harvest", "acme/shop", "-o", "out.csv"], ["sync", "acme/shop", "--db", "out.db"]],
    ids=" ".join,
)
def test_quiet_prints_only_data(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shown, messages = (use_terminal(monkeypatch, name, dumb=False) for name in ("stdout", "stderr"))
    assert run([*arguments, "-q"]) == 0
    assert (bool(shown.getvalue()), messages.getvalue()) == (arguments == ["harvest", "acme/shop"], "")


def test_message_on_a_terminal_breaks_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is never broken, and no line is a command of a log."""
    terminal, words, key = use_terminal(monkeypatch, "stderr"), "ab " * 25 + "ab", "acme/store-front/" * 6
    Output(stderr=True).print_note(f"{words} ::error::evil {key} end")
    assert terminal.getvalue().splitlines() == [words, "\u200b::error::evil", key, "end"]


def test_messages_after_a_closed_stderr_are_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, a watch would keep them all."""
    with closed_pipe() as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        output = Output(stderr=True)
        output.print_note("lost")
    assert output.quiet


URL = "https://app.buddy.works/acme/shop/a/1"


@pytest.mark.parametrize(
    ("command", "url", "text"),
    [
        ("list", URL, "1"),
        *(("list", url, None) for url in (None, "javascript:alert(1)", "https://a b", "https://\x07", "https://é")),
    ],
)
def test_sessions_are_links(
    command: str, url: str | None, text: str | None, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If their URLs are those of the web, and with colours."""
    suite = fake.add_suite(*A.split("/"))
    suite.create(status="ERROR", cases=[{"name": "fails", "status": "FAILED"}], html_url=url)
    terminal = use_terminal(monkeypatch, "stdout", dumb=False)
    assert run([command, A]) == 0
    assert "\x1b]8" not in terminal.getvalue()
    monkeypatch.delenv("NO_COLOR")
    assert run([command, A]) == 0
    found = re.findall(r"\x1b\]8;id=[^;]*;([^\x1b]*)\x1b\\(.*?)\x1b\]8;;\x1b\\", terminal.getvalue())
    links = [(re.sub(r"\x1b\[[0-9;]*m", "", text).strip(), url) for url, text in found]
    assert links == ([] if text is None else [(text, url)])


def test_long_names_continue_with_an_indent(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of a failure is cut."""
    case = {"name": f"pays {'x' * 50}", "test_group_name": "g" * 40, "classname": "c" * 50, "status": "FAILED"}
    fake.add_suite("acme", "shop", "b").create(cases=[{**case, "message": f"{'lost ' * 10}{'gone ' * 20}"}])
    terminal = use_terminal(monkeypatch, "stdout")
    assert run(["failures", "acme/shop/b", "--quiet"]) == 0
    lines = [line.rstrip() for line in terminal.getvalue().splitlines()]
    (first,) = (number for number, line in enumerate(lines) if line.endswith(f"  {'g' * 40} >"))
    indent = " " * 19
    assert lines[first + 1 : first + 3] == [f"{indent}{'c' * 50} > pays", f"{indent}{'x' * 50}"]
    message = [f"{indent[2:]}AssertionError: {' '.join(['lost'] * 9)}", f"{indent[2:]}lost {'gone ' * 10}gone"]
    assert lines[first + 3 : first + 6] == [*message, f"{indent[2:]}gone…"]


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "coloured"])
def test_pipe_is_not_as_narrow_as_a_terminal(variables: dict[str, str], fake: FakeBuddy) -> None:
    """But help is, because people read it in a pager."""
    fake.add_suite("acme", "shop", "b", name="n" * 90).create("main", "SUCCESSFUL", created_by={"name": "Grażyna"})
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | variables

    def read(*words: str) -> str:
        out = subprocess.check_output([*COMMAND, *words], env=environment, stderr=subprocess.DEVNULL, encoding="utf-8")
        return re.sub(r"\x1b.*?[\\mhlKA]", "", out)

    assert [
        "n" * 90 in line and "Grażyna" in line for line in read("status", "acme", "--format", "table").splitlines()
    ][1]
    assert max(map(len, read("gate", "--help").splitlines())) == 80


@pytest.mark.parametrize(
    ("project", "width", "left_out"),
    [
        ("storefront", 40, "NAME, FAIL, AGE, COMMIT, AUTHOR"),
        ("storefront", 60, "NAME, FAIL, COMMIT"),  # the key names a suite
        ("storefront", 77, "FAIL, COMMIT"),
        ("storefront", 80, "COMMIT"),  # the name is cut
        ("storefront", 120, ""),
        ("s", 80, ""),
        ("shop" * 7, 80, "NAME, FAIL, COMMIT"),
    ],
)
def test_columns_that_do_not_fit_are_named(
    project: str, width: int, left_out: str, fake: FakeBuddy, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The author stays, but a long name is cut."""
    suite = fake.add_suite("acme", project, "MNbyVedg", name="Unit tests of the shop")
    cases = [{"name": "pays", "status": "FAILED"}]
    suite.create("main", "ERROR", created_by={"name": "Grażyna Lisiecka-Czarnecka"}, cases=cases)
    monkeypatch.setenv("COLUMNS", str(width))
    titles, row, *rest = call("status", "acme", "--format", "table").out.splitlines()
    names = left_out.split(", ")
    every = ("SUITE", "NAME", "STATUS", "FAIL", "SINCE", "AGE", "COMMIT", "AUTHOR")
    assert titles.split() == [name for name in every if name not in names]
    assert ("Grażyna Lis" in row) == ("AUTHOR" not in names)
    text = " ".join(" ".join(rest).split())
    assert text == (f"left out in this width: {left_out} " if left_out else "") + "1 suite on main: 1 red"
