"""The command `watch`, in this process against a FakeBuddy in another thread."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import test_cli
from buddy_sessions.cli import data, run
from buddy_sessions.testing import FakeBuddy, FakeSuite, RecordedRequest
from test_cli import Run, closed_pipe, interrupt
from test_cli_harvest import A, shown_on

call, fake, surroundings = test_cli.call, test_cli.fake, test_cli.surroundings

OFTEN = ("--every", "0.01")


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "a")


def happens(fake: FakeBuddy, *events: Callable[[], object]) -> None:
    """Let something happen before every other request, and an interrupt at the end."""
    steps = iter((*events, interrupt))

    def on_request(_: object) -> None:
        turn, odd = divmod(len(fake.requests), 2)
        if turn and odd:
            next(steps, lambda: None)()

    fake.on_request = on_request


def one_life(suite: FakeSuite) -> tuple[Callable[[], object], ...]:
    """Return what happens to a session: it begins, it runs longer, it fails, it is opened again."""

    def newest() -> str:
        return str(suite.sessions[0]["id"])

    return (
        lambda: suite.create(branch="main"),
        lambda: suite.finish(newest(), status="ERROR", duration=185, failed_count=2),
        lambda: suite.reopen(newest()),
    )


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_change_is_a_line_of_json_with_what_was_before(call: Run, fake: FakeBuddy, suite: FakeSuite) -> None:
    suite.populate(3)
    happens(fake, *one_life(suite))
    code, out, err = call("watch", A, *OFTEN)
    assert (code, err) == (130, "interrupted: 3 changes\n")
    new, finished, changed = rows(out)
    assert list(new)[:5] == ["kind", "workspace", "project", "suite_id", "id"]
    assert [row["kind"] for row in (new, finished, changed)] == ["NEW", "FINISHED", "CHANGED"]
    assert [row["relative_id"] for row in (new, finished, changed)] == [4, 4, 4]
    assert new["previous"] is None
    assert (finished["previous"]["status"], finished["status"]) == ("IN_PROGRESS", "ERROR")
    assert changed["previous"].items() <= finished.items()


def test_csv_has_the_kind_first(call: Run, fake: FakeBuddy, suite: FakeSuite) -> None:
    happens(fake, *one_life(suite))
    code, out, _ = call("watch", A, *OFTEN, "--format", "csv")
    head, *lines = csv.reader(io.StringIO(out, newline=""))
    assert (code, tuple(head)) == (130, ("kind", *data.harvest_columns()))
    assert [line[0] for line in lines] == ["NEW", "FINISHED", "CHANGED"]


def test_a_terminal_gets_a_line_of_text(fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    happens(fake, *one_life(suite))
    terminal, messages = shown_on(monkeypatch, "stdout"), shown_on(monkeypatch, "stderr")
    monkeypatch.setenv("TERM", "dumb")
    assert run(["watch", A, *OFTEN]) == 130
    assert [line[8:] for line in terminal.getvalue().splitlines()] == [
        "  new       ◌ running  acme/shop/a #1  main",
        "  finished  ✘ failed   acme/shop/a #1  main  3m05s, 2 failed",
        "  changed   ◌ running  acme/shop/a #1  main, 2 failed",
    ]
    assert messages.getvalue() == "watching 1 suite every 0.01 s, until Ctrl-C\ninterrupted: 3 changes\n"


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_no_control_character_reaches_a_terminal(
    form: str, fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "\x1b]0;owned\x07"
    happens(fake, lambda: suite.create(branch=evil, status=evil))
    terminal = shown_on(monkeypatch, "stdout")
    assert run(["watch", A, *OFTEN, "--format", form]) == 130
    assert "\\u001b]0;owned\\u0007" in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def test_given_a_file_it_tells_first_what_has_happened_since(
    call: Run, fake: FakeBuddy, suite: FakeSuite, tmp_path: Path
) -> None:
    path = str(tmp_path / "watch.db")
    happens(fake)
    assert call("watch", A, *OFTEN, "--db", path)[1] == ""
    suite.create()
    for expected in ([1], []):
        fake.requests.clear()
        happens(fake)
        code, out, _ = call("watch", A, *OFTEN, "--db", path)
        assert (code, [row["relative_id"] for row in rows(out)]) == (130, expected)


def test_whole_projects_files_and_branches_can_be_watched(
    call: Run, fake: FakeBuddy, suite: FakeSuite, tmp_path: Path
) -> None:
    other = fake.add_suite("acme", "other", "x")
    names = tmp_path / "names"
    names.write_text("# mine\nacme/other\n")

    looks = iter(range(99))  # at the other suite

    def on_request(request: RecordedRequest) -> None:
        look = next(looks) if "/x/" in request.path else 0
        if look == 2:
            suite.create(branch="dev")
            other.create(branch="main")
        elif look == 5:
            interrupt()

    fake.on_request = on_request
    code, out, _ = call("watch", "acme/shop", "--from", str(names), *OFTEN, "--branch", "main")
    assert (code, [row["suite_id"] for row in rows(out)]) == (130, ["x"])


@pytest.mark.usefixtures("suite")
def test_a_project_that_is_missing_ends_it_and_one_without_suites_too(call: Run, fake: FakeBuddy) -> None:
    code, out, err = call("watch", "acme/none", *OFTEN)
    assert (code, out, "404" in err) == (1, "", True)
    fake.add_suite("acme", "empty", "x")
    del fake.suites["acme", "empty", "x"]
    assert call("watch", "--from", "/dev/null") == (0, "", "")


@pytest.mark.parametrize("arguments", [[], [A, "--every", "0"], [A, "--branch", ""], ["acme"]])
@pytest.mark.usefixtures("suite")
def test_wrong_usage_is_2(arguments: list[str], call: Run, fake: FakeBuddy) -> None:
    code, out, err = call("watch", *arguments)
    assert (code, out, err.startswith("error: ")) == (2, "", True)
    assert not fake.requests


def test_a_closed_pipe_ends_it_without_a_word(
    fake: FakeBuddy, suite: FakeSuite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    happens(fake, suite.create, lambda: None, lambda: None)
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = run(["watch", A, *OFTEN])
    assert (code, capsys.readouterr().err) == (0, "")
