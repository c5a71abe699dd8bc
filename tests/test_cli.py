"""The command line: in this process against a FakeBuddy in another thread, and a few times as a process of its own."""

from __future__ import annotations

import asyncio
import csv
import inspect
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, TextIO

import pytest
from rich.cells import cell_len

from buddy_sessions import BuddyClient, Session, SessionStatus, SuiteKey, __version__, to_json
from buddy_sessions.__main__ import main
from buddy_sessions.cli import data, output, run, tables
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest

KEY = ("acme", "shop", "MNbyVedg")
SUITE = "/".join(KEY)
Run = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class WatchedStream(io.StringIO):
    """A stream that tells when it has been flushed with something in it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def flush(self) -> None:
        super().flush()
        if self.getvalue():
            self.written.set()


@contextmanager
def served(fake: FakeBuddy) -> Iterator[FakeBuddy]:
    """Serve from another thread: the commands run an event loop of their own in this one."""
    started = Future[Callable[[], object]]()

    async def serve() -> None:
        async with fake:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            started.set_result(lambda: loop.call_soon_threadsafe(over.set))
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    stop = started.result(10)
    try:
        yield fake
    finally:
        stop()
        thread.join()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what the outer world says of the terminal, and let SIGINT interrupt as it does in a shell."""
    for name in list(os.environ):
        if name in {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuddy]:
    with served(FakeBuddy()) as fake:
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        yield fake


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY).populate(250)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def numbers(jsonl: str) -> list[int]:
    return [json.loads(line)["relative_id"] for line in jsonl.splitlines()]


def interrupt() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


class TestList:
    @pytest.mark.usefixtures("suite")
    def test_prints_one_json_object_a_session_exactly_as_to_json_gives_it(self, fake: FakeBuddy, call: Run) -> None:
        async def collect() -> list[Session]:
            async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
                return await buddy.sessions(*KEY).collect()

        code, out, err = call("list", SUITE)

        assert (code, err) == (0, "")
        assert [json.loads(line) for line in out.splitlines()] == [to_json(one) for one in asyncio.run(collect())]
        assert numbers(out) == [*range(250, 0, -1)]

    @pytest.mark.usefixtures("suite")
    def test_writes_each_page_as_it_arrives(self, fake: FakeBuddy, call: Run) -> None:
        lines: list[int] = []

        def on_request(_: RecordedRequest) -> None:
            assert isinstance(sys.stdout, io.TextIOWrapper)
            assert isinstance(sys.stdout.buffer, io.BytesIO)
            lines.append(sys.stdout.buffer.getvalue().count(b"\n"))

        fake.on_request = on_request
        call("list", SUITE)

        assert lines[:2] == [0, 100]

    def test_csv_has_all_names_of_the_api_and_loses_nothing(self, fake: FakeBuddy, call: Run) -> None:
        suite = fake.add_suite(*KEY)
        suite.create(branch='odd, "quoted"\r\nname', error_message="Wójcik", ci_provider=None)

        code, out, err = call("list", SUITE, "--format", "csv")

        (row,) = csv.DictReader(io.StringIO(out, newline=""))
        (sent,) = suite.sessions
        assert (code, err) == (0, "")
        assert set(row) == set(data.session_columns()) >= set(sent)
        assert row["ref_name"] == sent["ref_name"]
        assert row["error_message"] == "Wójcik"
        assert row["relative_id"] == "1"
        assert row["finish_date"] == row["ci_provider"] == ""
        assert json.loads(row["created_by"]) == sent["created_by"]

    def test_csv_of_nothing_has_its_head(self, fake: FakeBuddy, call: Run) -> None:
        fake.add_suite(*KEY)
        assert call("list", SUITE, "--format", "csv") == (0, ",".join(data.session_columns()) + "\r\n", "")

    @pytest.mark.usefixtures("suite")
    def test_csv_has_one_head_for_all_pages(self, call: Run) -> None:
        assert call("list", SUITE, "--format", "csv")[1].count("relative_id") == 1

    def test_half_a_surrogate_pair_is_written_as_its_json_escape(self, fake: FakeBuddy, call: Run) -> None:
        session = {"id": "x", "relative_id": 1, "status": "ERROR", "ref_name": "odd\ud800"}
        fake.inject(Fault.body(json.dumps({"sessions": [session]}).encode()), times=2)
        assert json.loads(call("list", SUITE)[1])["ref_name"] == "odd\ud800"
        assert ",odd\\ud800," in call("list", SUITE, "--format", "csv")[1]

    def test_options_reach_the_walk(self, fake: FakeBuddy, suite: FakeSuite, call: Run) -> None:
        newest = suite.create(branch="only/here")["relative_id"]

        assert numbers(call("list", SUITE, "--branch", "only/here")[1]) == [newest]
        assert numbers(call("list", SUITE, "--since", "248")[1]) == [251, 250, 249]
        assert numbers(call("list", SUITE, "--max", "2", "--per-page", "7")[1]) == [251, 250]
        assert fake.requests[-1].query["per_page"] == "7"
        assert numbers(call("list", SUITE, "--start", "3@249")[1]) == [2, 1]

    @pytest.mark.parametrize(
        ("arguments", "environment"),
        [
            ([SUITE], {}),
            ([SUITE, "-w", "other", "-p", "other"], {}),
            (["shop/MNbyVedg", "-w", "acme"], {}),
            (["MNbyVedg", "--workspace", "acme", "--project", "shop"], {}),
            (["MNbyVedg"], {"BUDDY_WORKSPACE": "acme", "BUDDY_PROJECT": "shop"}),
            (["MNbyVedg", "-w", "acme"], {"BUDDY_WORKSPACE": "other", "BUDDY_PROJECT": "shop"}),
        ],
    )
    def test_a_key_is_completed_by_flags_and_then_by_the_environment(
        self,
        arguments: list[str],
        environment: dict[str, str],
        fake: FakeBuddy,
        call: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fake.add_suite(*KEY).populate(1)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert numbers(call("list", *arguments)[1]) == [1]

    @pytest.mark.parametrize("key", ["MNbyVedg", "shop/MNbyVedg", "acme/shop/x/y", "acme/shop/", "", "acme//MNbyVedg"])
    def test_a_key_that_is_none_is_wrong_usage(self, key: str, fake: FakeBuddy, call: Run) -> None:
        code, out, err = call("list", key)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: not workspace/project/suite_id: {key!r} (")
        assert not fake.requests

    @pytest.mark.usefixtures("suite")
    def test_a_flag_beats_the_environment(self, fake: FakeBuddy, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUDDY_API_URL", "http://127.0.0.1:1")
        assert call("list", SUITE, "--base-url", str(fake.base_url))[0] == 0
        code, _, err = call("list", SUITE, "--region", "mars")
        assert (code, err) == (2, "error: no region 'mars': use US, EU, AS, or base_url for a server of your own\n")

    @pytest.mark.usefixtures("suite")
    def test_verbose_tells_of_each_request(self, call: Run) -> None:
        code, out, err = call("list", SUITE, "-v")
        assert (code, numbers(out)[0]) == (0, 250)
        assert [line.split()[0] for line in err.splitlines()] == ["GET"] * 3
        assert call("list", SUITE)[2] == ""

    def test_a_warning_of_the_library_is_shown(self, fake: FakeBuddy, call: Run) -> None:
        suite = fake.add_suite(*KEY)
        suite.create(relative_id=7)
        suite.create(relative_id=3)
        code, out, err = call("list", SUITE)
        assert (code, numbers(out)) == (0, [3, 7])
        assert err.startswith("the list is not strictly newest first")

    @pytest.mark.usefixtures("suite")
    def test_a_walk_that_dies_says_where_to_go_on(self, fake: FakeBuddy, call: Run) -> None:
        def on_request(_: RecordedRequest) -> None:
            if len(fake.requests) == 2:
                fake.inject(Fault.status(501))

        fake.on_request = on_request
        code, first, err = call("list", SUITE)

        assert code == 1
        assert "answered 501" in err.splitlines()[0]
        assert err.splitlines()[1] == "all that was read is written; to go on, add --start 151@100"
        code, rest, err = call("list", SUITE, "--start", "151@100")
        assert (code, err) == (0, "")
        assert numbers(first + rest) == [*range(250, 0, -1)]

    @pytest.mark.usefixtures("suite")
    @pytest.mark.parametrize(
        ("request_number", "said"), [(1, ""), (2, "all that was read is written; to go on, add --start 151@100\n")]
    )
    def test_an_interrupt_says_where_to_go_on(self, request_number: int, said: str, fake: FakeBuddy, call: Run) -> None:
        def on_request(_: RecordedRequest) -> None:
            if len(fake.requests) == request_number:
                fake.inject(Fault.hang(), times=9)
                interrupt()

        fake.on_request = on_request
        code, out, err = call("list", SUITE)
        assert (code, err) == (130, said)
        assert len(numbers(out)) == 100 * (request_number - 1)

    @pytest.mark.usefixtures("suite")
    @pytest.mark.parametrize("form", ["jsonl", "csv", "table"])
    def test_a_closed_pipe_ends_it_without_a_word(
        self, form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closed_pipe() as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            code = run(["list", SUITE, "--format", form])
        assert (code, capsys.readouterr().err) == (0, "")

    @pytest.mark.usefixtures("suite")
    def test_progress_is_shown_where_only_stderr_is_a_terminal(
        self, call: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        code, out, _ = call("list", SUITE)
        assert (code, len(numbers(out))) == (0, 250)
        assert "250 sessions, 3 requests" in terminal.getvalue()


class TestTable:
    NOW = datetime.now(UTC)

    def add(self, suite: FakeSuite, **fields: Any) -> None:
        moment = (self.NOW - timedelta(hours=3, minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
        suite.create(**{"create_date": moment, "revision": "5cfe3f5799de2ba886e4e3099efa3649195ffa25", **fields})

    def test_is_for_a_person(self, fake: FakeBuddy, call: Run) -> None:
        suite = fake.add_suite(*KEY)
        counts = {"tests_count": 320, "failed_count": 4, "skipped_count": 5, "error_count": 1}
        self.add(suite, status="SUCCESSFUL", branch="main", duration=185, tests_count=320)
        self.add(suite, status="ERROR", ref_type="PULL_REQUEST", ref_name="pull/7", duration=42, **counts)
        self.add(suite, status="SKIPPED", ref_type="TAG", ref_name="v2.1.0", duration=1, tests_count=9, skipped_count=9)
        self.add(suite, status="PAUSED", branch="feature/one-letter-too-many", tests_count=None)
        self.add(suite, branch="main", create_date=None, ref_type=None, ref_name=None)

        code, out, err = call("list", SUITE, "--format", "table")

        assert (code, err) == (0, "5 sessions, 1 request\n")
        assert [line.rstrip() for line in out.splitlines()] == [
            "acme/shop/MNbyVedg  ▂█···",
            "#  STATUS            AGE    TIME   PASS  FAIL  SKIP  ERR  BRANCH",
            "5  ◌ running           -       -      0     0     0    0  -",
            "4  ? paused      3 h ago       -      -     0     0    0  feature/one-letter-to…",
            "3  ○ skipped     3 h ago      1s      0     0     9    0  tag v2.1.0",
            "2  ✘ failed      3 h ago     42s    310     4     5    1  PR pull/7",
            "1  ✔ passed      3 h ago   3m05s    320     0     0    0  main",
        ]

    def test_shows_more_where_there_is_room(self, fake: FakeBuddy, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        suite = fake.add_suite(*KEY)
        self.add(suite, created_by=None, revision=None)
        self.add(suite, status="ERROR", error_message="The database did\nnot start")
        monkeypatch.setenv("COLUMNS", "160")
        _, head, first, second = call("list", SUITE, "--format", "table")[1].splitlines()
        assert head.split()[-4:] == ["BRANCH", "COMMIT", "AUTHOR", "MESSAGE"]
        assert "main" in first
        assert "5cfe3f5" in first
        assert first.rstrip().endswith("The database did not start")
        assert second.split()[-3:] == ["main", "-", "-"]

    @pytest.mark.parametrize("width", [200, 120, 80, 60, 40, 20])
    def test_fits_the_terminal(self, width: int, suite: FakeSuite, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        suite.create(branch="日本語" * 30)
        monkeypatch.setenv("COLUMNS", str(width))
        lines = call("list", SUITE, "--format", "table")[1].splitlines()
        assert len(lines) == 52
        assert max(map(cell_len, lines)) <= width
        assert not any("…" in line.partition("BRANCH")[0] for line in lines[:2])

    @pytest.mark.usefixtures("suite")
    def test_shows_the_newest_50_unless_told_otherwise(self, call: Run) -> None:
        more = "; older ones: --all, or --max N\n"
        for arguments, rows, said in (
            ([], 50, f"50 sessions, 1 request{more}"),
            (["--max", "2"], 2, f"2 sessions, 1 request{more}"),
            (["--all"], 250, "250 sessions, 3 requests\n"),
            (["--max", "250"], 250, "250 sessions, 3 requests\n"),
            (["--branch", "none"], 0, "0 sessions, 1 request\n"),
        ):
            code, out, err = call("list", SUITE, "--format", "table", *arguments)
            assert (code, err) == (0, said)
            title, _, recent = out.splitlines()[0].partition("  ")
            assert title == SUITE + (", branch none" if "none" in arguments else "")
            assert len(recent) == min(rows, 30)
            assert len(out.splitlines()) == rows + (2 if rows else 1)

    @pytest.mark.usefixtures("suite")
    def test_says_how_many_requests_were_repeated(self, fake: FakeBuddy, call: Run) -> None:
        fake.inject(Fault.status(503))
        assert call("list", SUITE, "--format", "table", "--max", "1")[2].startswith(
            "1 session, 2 requests (1 repeated)"
        )

    @pytest.mark.parametrize("no_color", [False, True])
    def test_is_what_a_terminal_gets_in_colour_unless_it_wants_none(
        self, no_color: bool, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.add(fake.add_suite(*KEY), status="ERROR", failed_count=3)
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        assert run(["list", SUITE]) == 0
        assert "✘ failed" in terminal.getvalue()
        assert ("\x1b[1;31m" in terminal.getvalue()) is not no_color

    @pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
    def test_no_control_character_of_the_servers_reaches_a_terminal(
        self, form: str, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        evil = "\x1b]0;owned\x07\x9b2J\u202e[red]\r"
        suite = fake.add_suite(*KEY)
        self.add(suite, status=evil, branch=evil, error_message=evil, ci_run_url=evil, created_by={"name": evil})
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        assert run(["list", SUITE, "--format", form]) == 0
        shown = terminal.getvalue()
        assert "\\u001b]0;owned\\u0007\\u009b2J\\u202e[red]" in shown
        assert not set(shown) & {"\x07", "\x9b", "\u202e"}
        assert "\x1b]" not in shown
        if form == "jsonl":
            assert json.loads(shown)["ref_name"] == evil

    def test_a_file_gets_every_character_as_it_is(self, fake: FakeBuddy, call: Run) -> None:
        fake.add_suite(*KEY).create(branch="\x9bódd")
        assert "\x9bódd" in call("list", SUITE)[1]

    def test_a_sign_that_the_encoding_lacks_is_no_reason_to_fail(
        self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.add(fake.add_suite(*KEY), status="ERROR")
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        assert run(["list", SUITE, "--format", "table"]) == 0
        assert b"1  ? failed " in written.getvalue()


class TestSuites:
    @pytest.fixture(autouse=True)
    def suites(self, fake: FakeBuddy) -> None:
        fake.add_suite(*KEY, name="Unit tests", identifier="unit")
        fake.add_suite("acme", "shop", "65OmRb8v", name="End-to-end", identifier="e2e")

    @pytest.mark.parametrize("arguments", [["acme/shop"], ["shop", "-w", "acme"], ["-w", "acme", "-p", "shop"]])
    def test_prints_a_table_with_keys_for_list(self, arguments: list[str], call: Run) -> None:
        code, out, err = call("suites", *arguments, "--format", "table")
        assert (code, err) == (0, "")
        assert [line.split() for line in out.splitlines()] == [
            ["KEY", "NAME", "IDENTIFIER"],
            ["acme/shop/MNbyVedg", "Unit", "tests", "unit"],
            ["acme/shop/65OmRb8v", "End-to-end", "e2e"],
        ]

    def test_prints_json_lines_or_csv_for_a_program(self, fake: FakeBuddy, call: Run) -> None:
        sent = [suite.summary() for suite in fake.suites.values()]
        assert [json.loads(line) for line in call("suites", "acme/shop")[1].splitlines()] == sent
        out = call("suites", "acme/shop", "--format", "csv")[1]
        assert list(csv.DictReader(io.StringIO(out, newline=""))) == sent

    def test_a_project_that_is_none_is_wrong_usage(self, call: Run) -> None:
        code, out, err = call("suites")
        assert (code, out) == (2, "")
        assert err.startswith("error: not workspace/project: '' (")


class TestExitCodes:
    @pytest.mark.usefixtures("fake")
    def test_unknown_suite_is_1(self, call: Run) -> None:
        code, out, err = call("list", SUITE)
        assert (code, out) == (1, "")
        assert "Suite not found" in err
        assert len(err.splitlines()) == 1

    def test_what_a_server_says_is_shown_on_one_line_and_escaped(self, fake: FakeBuddy, call: Run) -> None:
        fake.inject(Fault.status(404, body=json.dumps({"errors": [{"message": "a\x1b[2J\nb"}]}).encode()))
        assert "404: a\\u001b[2J b (" in call("list", SUITE)[2]

    @pytest.mark.usefixtures("fake")
    def test_no_token_is_2(self, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BUDDY_TOKEN")
        code, out, err = call("list", SUITE)
        assert (code, out) == (2, "")
        assert err.startswith("error: no token: set BUDDY_TOKEN")

    def test_a_wrong_token_is_4(self, fake: FakeBuddy, call: Run) -> None:
        fake.token = "another"
        code, _, err = call("suites", "acme/shop")
        assert code == 4
        assert "answered 401" in err

    def test_a_missing_scope_is_4(self, fake: FakeBuddy, call: Run) -> None:
        fake.scopes = ()
        code, _, err = call("suites", "acme/shop")
        assert code == 4
        assert "UNIT_TEST_INFO" in err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["list"], "KEY"),
            (["list", SUITE, "--bogus"], "--bogus"),
            (["bogus"], "bogus"),
            (["list", SUITE, "--max", "0"], "--max"),
            (["list", SUITE, "--max", "many"], "--max"),
            (["list", SUITE, "--since", "-1"], "--since"),
            (["list", SUITE, "--format", "xml"], "--format"),
            (["list", SUITE, "--max", "3", "--all"], "--max"),
            (["list", SUITE, "--start", "somewhere"], "118@40"),
            (["serve", "--port", "65536"], "--port"),
        ],
    )
    def test_wrong_usage_is_2(
        self, arguments: list[str], said: str, call: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BUDDY_TOKEN", "any")
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert said in err
        assert len(err.splitlines()) == 1

    def test_a_port_that_is_taken_is_1(self, fake: FakeBuddy, call: Run) -> None:
        code, out, err = call("serve", "--port", str(fake.base_url.port))
        assert (code, out) == (1, "")
        assert err.startswith("error: ")


class TestHelp:
    @pytest.mark.parametrize("command", ["list", "suites", "serve", "demo"])
    def test_each_command_has_its_own(self, command: str, call: Run) -> None:
        code, out, err = call(command, "--help")
        assert (code, err) == (0, "")
        assert f"buddy-sessions {command}" in out
        assert command in call("--help")[1]

    def test_tells_the_exit_codes(self, call: Run) -> None:
        assert "4 not authorised" in " ".join(call("--help")[1].split())

    def test_version(self, call: Run) -> None:
        assert call("--version") == (0, f"buddy-sessions {__version__}\n", "")


class TestServe:
    def visit(self, monkeypatch: pytest.MonkeyPatch, *arguments: str, until: Callable[[list[Any]], bool]) -> list[Any]:
        """Run `serve` until its suite's sessions are as `until` wants them; return them."""
        stream, seen, over = WatchedStream(), list[list[Any]](), threading.Event()

        def visitor() -> None:
            stream.written.wait(10)
            url, token = (part.partition("=")[2] for part in stream.getvalue().split()[1:])
            address = f"{url}/workspaces/acme/projects/storefront/unit-tests/suites/MNbyVedg/sessions?per_page=500"
            request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
            try:
                while not over.is_set() and (not seen or not until(seen[-1])):
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        seen.append(json.load(answer)["sessions"])
            finally:
                if not over.is_set():
                    interrupt()

        monkeypatch.setattr(sys, "stdout", stream)
        thread = threading.Thread(target=visitor)
        thread.start()
        code = run(["serve", *arguments])
        over.set()
        thread.join()
        assert code == 130
        assert stream.getvalue().startswith("export BUDDY_API_URL=http://127.0.0.1:")
        return seen[-1]

    def test_has_exactly_as_many_sessions_as_asked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert len(self.visit(monkeypatch, "--sessions", "250", until=bool)) == 250
        assert "buddy-sessions list acme/storefront/MNbyVedg" in capsys.readouterr().err

    def test_has_believable_suites(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert len(self.visit(monkeypatch, until=bool)) == 400

    @pytest.mark.parametrize("number", [0, 1])
    def test_live_sessions_keep_arriving_and_ending(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def moving(sessions: list[Any]) -> bool:
            return len(sessions) > number + 2

        newest, *others = self.visit(monkeypatch, "--sessions", str(number), "--live", "0.01", until=moving)
        assert newest["status"] == "IN_PROGRESS"
        assert all(session["finish_date"] for session in others)


class TestDemo:
    def test_harvests_a_moving_list_into_a_file_without_loss(self, call: Run, tmp_path: Path) -> None:
        path = tmp_path / "demo.db"
        code, out, err = call("demo", "--db", str(path))
        assert (code, err) == (0, "")
        assert "of the 1,190 that were there\nbefore, 0 were missed, and 0 came twice." in out
        assert re.search(r"^Again, for what is new: \d+ sessions in 6 requests\.$", out, re.MULTILINE)
        assert "buddy-sessions harvest WORKSPACE/PROJECT --db sessions.db" in out
        assert max(len(line) for line in out.splitlines() if str(path) not in line) <= 80
        assert "\x1b" not in out
        with closing(sqlite3.connect(path)) as connection:
            (held,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        totals = re.findall(r"^acme/\S+ +([\d,]+)", out, re.MULTILINE)
        assert sum(int(total.replace(",", "")) for total in totals) == held > 1190

    def test_shows_its_progress_on_a_terminal_and_keeps_its_file(
        self, call: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        code, out, _ = call("demo")
        assert (code, "/6 suites · " in terminal.getvalue()) == (0, True)
        (path,) = tmp_path.glob("buddy-sessions-*/demo.db")
        assert f"  sqlite3 {path} " in out

    def test_touches_no_file_that_is_there(self, call: Run, tmp_path: Path) -> None:
        path = tmp_path / "mine.db"
        path.write_text("mine")
        assert call("demo", "--db", str(path))[0] == 2
        assert path.read_text() == "mine"

    def test_a_suite_without_sessions_has_a_row_too(self) -> None:
        summary = tables.SuiteSummary()
        summary.write([], SuiteKey(*KEY))
        table = summary.table(without=(), now=datetime.now(UTC))
        assert table is not None
        assert table.row_count == 1


class TestText:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (-5, "0 s ago"),
            (59.9, "59 s ago"),
            (60, "1 min ago"),
            (3599, "59 min ago"),
            (3600, "1 h ago"),
            (47.9 * 3600, "47 h ago"),
            (48 * 3600, "2 d ago"),
            (59 * 86_400, "59 d ago"),
            (61 * 86_400, "2 mo ago"),
            (729 * 86_400, "23 mo ago"),
            (731 * 86_400, "2 y ago"),
        ],
    )
    def test_an_age_is_a_number_and_a_unit(self, seconds: float, text: str) -> None:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        assert output.age(now - timedelta(seconds=seconds), now) == text

    def test_an_unknown_age_or_duration_is_a_dash(self) -> None:
        assert output.age(None, datetime.now(UTC)) == output.length(None) == "-"

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0s"),
            (0.42, "0.4s"),
            (9.5, "9.5s"),
            (9.0, "9s"),
            (59.7, "1m00s"),
            (61, "1m01s"),
            (3599, "59m59s"),
            (7620, "2h07m"),
            (86_400 * 3 + 3600 * 4, "3d04h"),
        ],
    )
    def test_a_duration_is_short(self, seconds: float, text: str) -> None:
        assert output.length(seconds) == text

    def test_a_sparkline_has_the_newest_at_the_right(self) -> None:
        names = ["ERROR", "SUCCESSFUL", "SUCCESSFUL", "IN_PROGRESS", "NEW"]
        sessions = [Session(id="x", relative_id=1, status=SessionStatus(name)) for name in names]
        assert tables.sparkline(sessions).plain == "··▂▂█"

    def test_what_cannot_be_seen_is_escaped_as_json_does_it(self) -> None:
        assert output.escape("ó 日 \x1b\n\u200b\U000e0001") == "ó 日 \\u001b\\n\\u200b\\udb40\\udc01"
        assert output.one_line(" a\n\tb\x00 ") == "a b\\u0000"


@contextmanager
def closed_pipe() -> Iterator[TextIO]:
    """Lend a stream whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w", encoding="utf-8")  # noqa: SIM115 - closed below, in spite of its error
    try:
        yield stream
    finally:
        with suppress(BrokenPipeError):
            stream.close()


class TestMain:
    def test_runs_the_arguments_of_the_process(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["buddy-sessions", "--version"])
        assert main() == 0
        assert capsys.readouterr().out == f"buddy-sessions {__version__}\n"

    @pytest.mark.parametrize("name", ["cyclopts", "rich"])
    def test_says_what_to_install(
        self, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Absent(MetaPathFinder):
            def find_spec(self, fullname: str, *_: object) -> None:
                if fullname == name:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        for module in [*sys.modules]:
            if module.partition(".")[0] == name or module.startswith("buddy_sessions.cli"):
                monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
        assert main() == 2
        assert capsys.readouterr().err == f"{name} is not installed; run: pip install 'buddy_sessions[cli]'\n"

    def test_does_not_hide_another_missing_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in [module for module in sys.modules if module.startswith("buddy_sessions.cli")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, "cyclopts.validators", None)
        with pytest.raises(ModuleNotFoundError):
            main()

    def test_leaves_nothing_to_be_flushed_into_a_closed_pipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with closed_pipe() as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            monkeypatch.setattr(sys, "argv", ["buddy-sessions", "--version"])
            stream.write("something left")
            assert main() == 0
            stream.flush()

    def test_is_what_python_m_runs(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["buddy_sessions", "--version"])
        # As `runpy` does it, which cannot take a module that pytest has loaded for its plugin's sake.
        file = Path(inspect.getfile(main))
        with pytest.raises(SystemExit, match="0"):
            exec(compile(file.read_text(), file, "exec"), {"__name__": "__main__", "__package__": "buddy_sessions"})
        assert capsys.readouterr().out == f"buddy-sessions {__version__}\n"


class TestProcess:
    """The same as others see it: processes, pipes, signals."""

    COMMAND = (sys.executable, "-m", "buddy_sessions")

    @pytest.fixture
    def environment(self) -> Iterator[dict[str, str]]:
        """Serve 250 sessions from a process; return the environment that leads there."""
        with subprocess.Popen(
            [*self.COMMAND, "serve", "--sessions", "250"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            try:
                assert server.stdout is not None
                export, *settings = server.stdout.readline().split()
                assert export == "export"
                yield {**os.environ, **dict(setting.split("=", 1) for setting in settings)}
            finally:
                server.send_signal(signal.SIGINT)
            assert server.wait(10) == 130

    def run(self, environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*self.COMMAND, *arguments],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def test_lists_what_another_process_serves(self, environment: dict[str, str]) -> None:
        code, out, err = self.run(environment, "list", "acme/storefront/MNbyVedg")
        assert (code, err) == (0, "")
        assert numbers(out) == [*range(250, 0, -1)]
        main_only = self.run(environment, "list", "acme/storefront/MNbyVedg", "--branch", "main")[1]
        on_main = [json.loads(line)["ref_name"] == "main" for line in out.splitlines()].count(True)
        assert len(numbers(main_only)) == on_main > 0

    @pytest.mark.parametrize("form", ["csv", "jsonl", "table"])
    def test_a_reader_that_leaves_is_no_error(self, form: str, environment: dict[str, str]) -> None:
        with subprocess.Popen(
            [*self.COMMAND, "list", "acme/storefront/MNbyVedg", "--all", "--format", form],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert b"Error" not in process.stderr.read()
            assert process.wait(30) == 0

    def test_exit_codes(self, environment: dict[str, str]) -> None:
        assert self.run(environment, "list", "acme/storefront/none")[0] == 1
        assert self.run({**environment, "BUDDY_TOKEN": ""}, "list", SUITE)[0] == 2
        assert self.run({**environment, "BUDDY_TOKEN": "wrong"}, "list", SUITE)[0] == 4

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
    def test_a_full_disk_is_an_error(self, environment: dict[str, str]) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*self.COMMAND, "list", "acme/storefront/MNbyVedg"],
                env=environment,
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=30,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr.startswith(b"error: ")
        assert done.stderr.count(b"\n") == 1

    def test_a_terminal_gets_a_table(self, environment: dict[str, str]) -> None:
        pty = pytest.importorskip("pty")
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*self.COMMAND, "list", "acme/storefront/MNbyVedg", "--max", "3"],
            env=environment,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            shown = b""
            while chunk := read_terminal(ours):
                shown += chunk
            os.close(ours)
            assert process.wait(30) == 0
        assert "\x1b[1macme/storefront/MNbyVedg\x1b[0m" in shown.decode()
        assert "3 sessions, 1 request; older ones: --all, or --max N" in shown.decode()


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux tells that the other side is closed
        return b""
