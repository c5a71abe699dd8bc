"""The command `watch`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite, RecordedRequest
from helpers.command_line import Call, interrupt, interrupt_at_request, rows, use_terminal
from helpers.uploads import GITHUB

A = "acme/shop/a"
OFTEN = ("--interval", "0.01")
READING = (lambda: None,) * 3
"""Events during which nothing happens, so that test cases are read."""


def failing(name: str, status: str = "FAILED") -> dict[str, Any]:
    return {"name": name, "status": status, "message": "x"}


def run_events(fake: FakeBuddy, *events: Callable[[], object]) -> None:
    """Run one event before every other request after the first poll, and interrupt the command at the end."""
    steps = iter((*events, interrupt))

    def on_request(_: RecordedRequest) -> None:
        poll_number, is_second = divmod(len(fake.requests), 2)
        if poll_number > 1 and is_second:
            next(steps, lambda: None)()

    fake.on_request = on_request


def session_events(suite: FakeSuite) -> tuple[Callable[[], object], ...]:
    """Return the events of one session: it starts, fails, and is reopened."""
    return (
        lambda: suite.create(branch="main"),
        lambda: suite.finish(suite.sessions[0]["id"], status="ERROR", duration=185, failed_count=2, error_count=1),
        lambda: suite.reopen(suite.sessions[0]["id"]),
    )


def test_jsonl_has_the_previous_version(call: Call, fake: FakeBuddy, suite: FakeSuite) -> None:
    suite.populate(3)
    run_events(fake, *session_events(suite))
    code, out, err = call("watch", A, *OFTEN)
    assert (code, err) == (130, "")
    new, finished, changed = rows(out)
    assert list(new)[:6] == ["key", "kind", "workspace", "project", "suite_id", "id"]
    assert [(row["key"], row["kind"], row["relative_id"]) for row in rows(out)] == [
        (A, "NEW", 4),
        (A, "FINISHED", 4),
        (A, "CHANGED", 4),
    ]
    assert (new["previous"], finished["previous"]["status"], finished["status"]) == (None, "IN_PROGRESS", "ERROR")
    assert changed["previous"].items() <= finished.items()
    assert "@" not in out  # no e-mail address


def test_terminal_gets_text(fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    run_events(fake, *session_events(suite))
    stdout, stderr = use_terminal(monkeypatch, "stdout"), use_terminal(monkeypatch, "stderr")
    assert run(["watch", A, *OFTEN]) == 130
    assert [line[8:] for line in stdout.getvalue().splitlines()] == [
        "  new       ◌ running  acme/shop/a #1  main",
        "  finished  ✘ failed   acme/shop/a #1  main  3m05s, 3 failed",
        "  changed   ◌ running  acme/shop/a #1  main, 3 failed",
    ]
    assert stderr.getvalue() == "watching 1 suite every 10ms, until Ctrl-C\n"


@pytest.mark.parametrize("options", [(), ("--status",)], ids=["sessions", "status"])
def test_unknown_branch_is_a_warning(options: tuple[str, ...], fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    suite.populate(3)
    run_events(fake, *READING)
    code, out, err = call("watch", A, *OFTEN, *options, "--branch", "mian")
    assert (code, out) == (130, "")
    assert err.startswith(f"warning: no session of branch 'mian' in {A}: its latest sessions are of ")
    assert err.count("warning") == 1


class TestStatus:
    @pytest.fixture(autouse=True)
    def green(self, suite: FakeSuite) -> None:
        suite.create(cases=[{"name": "breaks"}])

    def events(self, suite: FakeSuite) -> tuple[Callable[[], object], ...]:
        """Return the events: a test fails on main and on another branch, another one fails, all pass."""
        return (
            lambda: suite.create(cases=[failing("breaks"), {"name": "passes"}], revision="cafe" * 10),
            *READING,
            lambda: suite.create("fix", cases=[failing("other")]),
            lambda: suite.create(
                cases=[{"name": "breaks"}, failing("crashes", "ERROR")], revision="beef" * 10, **GITHUB
            ),
            *READING,
            lambda: suite.create(cases=[{"name": "crashes"}], created_by=None, revision=None),
        )

    def test_jsonl_continues_from_a_database(
        self, call: Call, fake: FakeBuddy, suite: FakeSuite, tmp_path: Path
    ) -> None:
        arguments = ("watch", A, *OFTEN, "--status", "--db", str(tmp_path / "watch.db"))
        expected = [
            ("CURRENT", 1, 1, [], []),
            ("FAILING", 2, 2, ["breaks"], []),
            ("STILL_FAILING", 4, 2, ["crashes"], ["breaks"]),
            ("RECOVERED", 5, 5, [], ["crashes"]),
        ]
        for events, part in (((), expected[:1]), (self.events(suite), expected[1:]), ((), [])):
            fake.requests.clear()
            run_events(fake, *events, *READING)
            code, out, err = call(*arguments)
            names = [
                [[case["name"] for case in row[name]] for name in ("newly_failing", "no_longer_failing")]
                for row in rows(out)
            ]
            found = [
                (row["kind"], row["relative_id"], row["since"], *tests)
                for row, tests in zip(rows(out), names, strict=True)
            ]
            assert (code, found, err) == (130, part, "")

    def test_terminal_names_tests_and_authors(
        self, fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_events(fake, *self.events(suite), *READING)
        terminal = use_terminal(monkeypatch, "stdout")
        assert run(["watch", A, *OFTEN, "--status"]) == 130
        lines = [line[8:].partition("main")[0].rstrip() for line in terminal.getvalue().splitlines()]
        assert lines == [
            f"  current        ✔ passed   {A} #1",
            f"  failing        ✘ failed   {A} #2",
            "  cafecaf  Ada Novak",
            "  ✘ failed  tests/cart/test_total.py > CartTest > breaks",
            f"  still failing  ✘ failed   {A} #4",
            "  beefbee",
            "  ✘ error  tests/cart/test_total.py > CartTest > crashes",
            "  no longer failing  tests/cart/test_total.py > CartTest > breaks",
            f"  recovered      ✔ passed   {A} #5",
            "  no longer failing  tests/cart/test_total.py > CartTest > crashes",
        ]


def test_new_suites_of_a_project_are_watched(call: Call, fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> None:
    """Also those that were created between two watches: their sessions are new."""
    suite.create()
    words = ("watch", "acme/shop", *OFTEN, "--db", str(tmp_path / "watch.db"))
    found = []
    for name in ("", "later"):
        if name:
            fake.add_suite("acme", "shop", name).create("main")
        fake.requests.clear()
        run_events(fake, *READING, *READING)
        code, out, err = call(*words)
        assert (code, err) == (130, "")
        found.append([row["key"] for row in rows(out)])
    assert found == [[], ["acme/shop/later"]]


def test_watch_goes_on_without_an_unknown_suite(call: Call, fake: FakeBuddy, suite: FakeSuite) -> None:
    suite.create()
    interrupt_at_request(fake, 9)
    code, _, err = call("watch", A, "acme/shop/none", *OFTEN, "--on-failure", "retry", "--attempts", "1")
    assert (code, err.count("cannot read acme/shop/none, trying again")) == (130, 1)


def test_project_that_cannot_be_listed_ends_the_watch(call: Call, fake: FakeBuddy, suite: FakeSuite) -> None:
    suite.create()
    interrupt_at_request(fake, 9)
    code, out, err = call("watch", A, "acme/none", *OFTEN)
    assert (code, out) == (7, "")
    assert err.startswith("failed: acme/none: Project not found (404)")


def test_second_watch_with_a_file_is_refused(call: Call, suite: FakeSuite, tmp_path: Path) -> None:
    path = tmp_path / "watch.db"
    suite.populate(3)
    with closing(sqlite3.connect(f"{path}-lock-status-default", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = call("watch", A, "--status", "--db", str(path))
    message = f"another watch named 'default' is running with {path}: stop it, or pass another --db"
    assert (result.code, result.out, message in result.err, result.err.count("\n")) == (7, "", True, 1)
