"""The command `watch`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from buddy_sessions.cli import run
from buddy_sessions.cli.writers import KEYED_SESSION_COLUMNS
from buddy_sessions.testing import FakeBuddy, FakeSuite, RecordedRequest
from helpers.command_line import Call, closed_pipe, interrupt, numbers, rows, use_terminal

A = "acme/shop/a"
OFTEN = ("--interval", "0.01")


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "a")


def run_events(fake: FakeBuddy, *events: Callable[[], object]) -> None:
    """Run one event before every other request after the first round, and interrupt the command at the end."""
    steps = iter((*events, interrupt))

    def on_request(_: object) -> None:
        round_number, is_second = divmod(len(fake.requests), 2)
        if round_number > 1 and is_second:
            next(steps, lambda: None)()

    fake.on_request = on_request


def session_events(suite: FakeSuite) -> tuple[Callable[[], object], ...]:
    """Return the events of one session: it starts, fails, and is reopened."""

    def newest() -> str:
        return str(suite.sessions[0]["id"])

    return (
        lambda: suite.create(branch="main"),
        lambda: suite.finish(newest(), status="ERROR", duration=185, failed_count=2),
        lambda: suite.reopen(newest()),
    )


def test_jsonl_has_the_previous_version(call: Call, fake: FakeBuddy, suite: FakeSuite) -> None:
    suite.populate(3)
    run_events(fake, *session_events(suite))
    code, out, err = call("watch", A, *OFTEN)
    assert (code, err) == (130, "interrupted: 3 changes\n")
    new, finished, changed = rows(out)
    assert list(new)[:5] == ["kind", "workspace", "project", "suite_id", "id"]
    assert [row["kind"] for row in (new, finished, changed)] == ["NEW", "FINISHED", "CHANGED"]
    assert [row["relative_id"] for row in (new, finished, changed)] == [4, 4, 4]
    assert new["previous"] is None
    assert (finished["previous"]["status"], finished["status"]) == ("IN_PROGRESS", "ERROR")
    assert changed["previous"].items() <= finished.items()


def test_csv_begins_with_the_kind(call: Call, fake: FakeBuddy, suite: FakeSuite) -> None:
    run_events(fake, *session_events(suite))
    code, out, _ = call("watch", A, *OFTEN, "--format", "csv")
    header, *lines = csv.reader(io.StringIO(out, newline=""))
    assert (code, tuple(header)) == (130, ("kind", *KEYED_SESSION_COLUMNS))
    assert [line[0] for line in lines] == ["NEW", "FINISHED", "CHANGED"]


def test_terminal_gets_text(fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    run_events(fake, *session_events(suite))
    stdout, stderr = use_terminal(monkeypatch, "stdout"), use_terminal(monkeypatch, "stderr")
    assert run(["watch", A, *OFTEN]) == 130
    assert [line[8:] for line in stdout.getvalue().splitlines()] == [
        "  new       ◌ running  acme/shop/a #1  main",
        "  finished  ✘ failed   acme/shop/a #1  main  3m05s, 2 failed",
        "  changed   ◌ running  acme/shop/a #1  main, 2 failed",
    ]
    assert stderr.getvalue() == "watching 1 suite every 0.01 s, until Ctrl-C\ninterrupted: 3 changes\n"


@pytest.mark.parametrize("output_format", ["table", "jsonl", "csv"])
def test_control_characters_do_not_reach_a_terminal(
    output_format: str, fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "\x1b]0;owned\x07"
    run_events(fake, lambda: suite.create(branch=evil, status=evil))
    terminal = use_terminal(monkeypatch, "stdout", dumb=False)
    assert run(["watch", A, *OFTEN, "--format", output_format]) == 130
    assert "\\u001b]0;owned\\u0007" in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def test_database_remembers_the_last_watch(call: Call, fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> None:
    path = str(tmp_path / "watch.db")
    suite.create()
    run_events(fake)
    assert call("watch", A, *OFTEN, "--db", path).out == ""
    suite.create()
    for expected in ([2], []):
        fake.requests.clear()
        run_events(fake)
        code, out, _ = call("watch", A, *OFTEN, "--db", path)
        assert (code, numbers(out)) == (130, expected)


def test_projects_files_and_branches(call: Call, fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> None:
    other = fake.add_suite("acme", "other", "x")
    names = tmp_path / "names"
    names.write_text("# mine\nacme/other\n")
    rounds = iter(range(99))  # of the other suite

    def on_request(request: RecordedRequest) -> None:
        round_number = next(rounds) if "/x/" in request.path else 0
        if round_number == 4:  # the first round sends up to three requests
            suite.create(branch="dev")
            other.create(branch="main")
        elif round_number == 7:
            interrupt()

    fake.on_request = on_request
    code, out, _ = call("watch", "acme/shop", "--from", str(names), *OFTEN, "--branch", "main")
    assert (code, [row["suite_id"] for row in rows(out)]) == (130, ["x"])


@pytest.mark.usefixtures("fake")
def test_missing_project_is_an_error(call: Call) -> None:
    code, out, err = call("watch", "acme/none", *OFTEN)
    assert (code, out, "404" in err) == (1, "", True)


@pytest.mark.usefixtures("fake")
def test_missing_suite_is_an_error(call: Call) -> None:
    code, out, err = call("watch", "acme/shop/none", *OFTEN)
    assert (code, out, "404" in err) == (1, "", True)


def test_rejected_token_ends_the_watch(call: Call, fake: FakeBuddy) -> None:
    fake.token = "another"
    code, out, err = call("watch", A, *OFTEN)
    assert (code, out, "401" in err) == (4, "", True)


@pytest.mark.usefixtures("fake")
def test_no_suites_end_the_watch(call: Call) -> None:
    assert call("watch", "--from", "/dev/null") == (0, "", "")


@pytest.mark.parametrize(
    "arguments",
    [[], [A, "--interval", "0"], [A, "--branch", ""], ["acme"], [A, "--db", "."], [A, "--from", "x", "--db", "x"]],
)
@pytest.mark.usefixtures("suite")
def test_wrong_usage_is_2(arguments: list[str], call: Call, fake: FakeBuddy) -> None:
    code, out, err = call("watch", *arguments)
    assert (code, out, err.startswith("error: ")) == (2, "", True)
    assert not fake.requests


def test_closed_pipe_is_not_an_error(
    fake: FakeBuddy, suite: FakeSuite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_events(fake, suite.create, lambda: None, lambda: None)
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = run(["watch", A, *OFTEN])
    assert (code, capsys.readouterr().err) == (0, "")
