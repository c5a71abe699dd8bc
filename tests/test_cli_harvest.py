"""The command `harvest`: in this process against a FakeBuddy in another thread, and a few times as its own."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import test_cli
from buddy_sessions import Session, SessionStatus, SuiteKey
from buddy_sessions.cli import data, output, progress, run, tables, targets
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from test_cli import Run, Terminal, closed_pipe, interrupt

call, fake, surroundings = test_cli.call, test_cli.fake, test_cli.surroundings

A, B, C = (f"acme/shop/{name}" for name in ("a", "b", "c"))


@pytest.fixture
def suites(fake: FakeBuddy) -> dict[str, FakeSuite]:
    """Two suites of one project, and one of another."""
    sizes = {A: 250, B: 3, "acme/other/x": 20}
    return {key: fake.add_suite(*key.split("/")).populate(size) for key, size in sizes.items()}


@pytest.fixture
def stdin() -> Iterator[Callable[[bytes], None]]:
    """Return a function that lets stdin be a pipe with something in it, and then its end."""
    before = os.dup(0)

    def feed(content: bytes) -> None:
        reader, writer = os.pipe()
        os.write(writer, content)
        os.close(writer)
        os.dup2(reader, 0)
        os.close(reader)

    yield feed
    os.dup2(before, 0)
    os.close(before)


def shown_on(monkeypatch: pytest.MonkeyPatch, name: str) -> Terminal:
    """Let a stream of the process be a terminal without colours; return it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, name, terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    return terminal


def read(jsonl: str) -> dict[str, list[int]]:
    """Return the numbers of each suite, as they came."""
    found: dict[str, list[int]] = {}
    for line in jsonl.splitlines():
        row = json.loads(line)
        found.setdefault(f"{row['workspace']}/{row['project']}/{row['suite_id']}", []).append(row["relative_id"])
    return found


def down_from(number: int) -> list[int]:
    return [*range(number, 0, -1)]


class TestTargets:
    @pytest.mark.usefixtures("suites")
    def test_suites_and_whole_projects_mix_and_each_suite_comes_once(self, call: Run) -> None:
        code, out, err = call("harvest", "acme/other/x", B, "acme/shop", A, B, "acme/shop")
        assert code == 0
        assert read(out) == {A: down_from(250), B: down_from(3), "acme/other/x": down_from(20)}
        assert err.startswith("3 suites, 273 sessions, 6 requests in ")
        assert len(err.splitlines()) == 1

    @pytest.mark.usefixtures("suites")
    def test_a_file_names_more(self, call: Run, tmp_path: Path) -> None:
        names = tmp_path / "suites.txt"
        names.write_text(f"\ufeff# ours\n\n  {A} \r\n{B}\n{B}\nacme/other\n", encoding="utf-8")
        code, out, _ = call("harvest", "--from", str(names), B)
        assert code == 0
        assert read(out) == {A: down_from(250), B: down_from(3), "acme/other/x": down_from(20)}

    @pytest.mark.usefixtures("suites")
    def test_stdin_may_be_a_pipe(self, call: Run, stdin: Callable[[bytes], None]) -> None:
        stdin(f"# ours\n{B}\nacme/other".encode())
        assert read(call("harvest", "--from", "-")[1]) == {B: down_from(3), "acme/other/x": down_from(20)}

    @pytest.mark.usefixtures("suites")
    def test_a_line_is_taken_when_it_comes(self, call: Run, fake: FakeBuddy) -> None:
        before, (reader, writer) = os.dup(0), os.pipe()
        os.dup2(reader, 0)
        os.close(reader)
        os.write(writer, f"{B}\n".encode())

        def on_request(request: RecordedRequest) -> None:
            if "/b/" in request.path:  # only now the next
                os.write(writer, b"acme/other/x\n")
                os.close(writer)

        fake.on_request = on_request
        try:
            assert [*read(call("harvest", "--from", "-", "--concurrency", "1")[1])] == [B, "acme/other/x"]
        finally:
            os.dup2(before, 0)
            os.close(before)

    @pytest.mark.parametrize("name", ["acme", "acme/shop/a/b", "acme//a", "acme/shop/", "acme/..", "acme/shop/\ud800"])
    @pytest.mark.usefixtures("suites")
    def test_a_name_that_is_none_is_wrong_usage_and_nothing_is_asked(
        self, name: str, call: Run, fake: FakeBuddy
    ) -> None:
        code, out, err = call("harvest", A, name)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
        assert not fake.requests

    @pytest.mark.parametrize("line", [b"acme", b"acme/shop/\xff", b"acme/../x"])
    @pytest.mark.usefixtures("suites")
    def test_a_bad_line_is_wrong_usage_and_named(
        self, line: bytes, call: Run, stdin: Callable[[bytes], None], tmp_path: Path
    ) -> None:
        content = f"{B}\n# no\n".encode() + line + b"\n"
        names = tmp_path / "names"
        names.write_bytes(content)
        stdin(content)
        for source, said in (("-", "stdin"), (str(names), str(names))):
            code, out, err = call("harvest", "--from", source, "--out", str(tmp_path / "out.csv"))
            assert (code, out) == (2, "")
            assert err.startswith(f"error: {said}, line 3: ")
        assert [*tmp_path.iterdir()] == [names]

    def test_what_cannot_be_read_is_an_error(self, call: Run, fake: FakeBuddy, tmp_path: Path) -> None:
        code, _, err = call("harvest", "--from", str(tmp_path / "none"))
        assert (code, len(err.splitlines())) == (1, 1)
        assert "none" in err
        pty = pytest.importorskip("pty")
        before, (ours, theirs) = os.dup(0), pty.openpty()
        os.close(theirs)
        os.dup2(ours, 0)
        os.close(ours)
        try:
            code, _, err = call("harvest", "--from", "-")
        finally:
            os.dup2(before, 0)
            os.close(before)
        assert code in {0, 1}  # no terminal at the other side: Linux says so, others say that it is the end
        assert not fake.requests

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "nothing to harvest"),
            ([A, "--concurrency", "0"], "--concurrency"),
            ([A, "--since", "-1"], "--since"),
            ([A, "--format", "table"], "--format"),
            ([A, "--out", "x.txt"], ".jsonl, .csv, .db or .parquet"),
            ([A, "--out", "x"], ".jsonl, .csv, .db or .parquet"),
            ([A, "--out", "x.csv", "--format", "jsonl"], "contradict"),
            ([A, "--branch", ""], "branch"),
        ],
    )
    @pytest.mark.usefixtures("fake")
    def test_wrong_usage_is_2(self, arguments: list[str], said: str, call: Run) -> None:
        code, out, err = call("harvest", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert said in err

    def test_options_reach_the_walks(self, call: Run, fake: FakeBuddy, suites: dict[str, FakeSuite]) -> None:
        suites[A].create(branch="only/here")
        suites[B].create(branch="only/here")
        assert read(call("harvest", A, B, "--branch", "only/here")[1]) == {A: [251], B: [4]}
        assert read(call("harvest", "acme/shop", "--since", "3")[1]) == {A: [*range(251, 3, -1)], B: [4]}
        assert read(call("harvest", A, B, "--since", "250")[1]) == {A: [251]}

        fake.latency, fake.max_in_flight = 0.02, 0
        assert call("harvest", A, B, "--concurrency", "1")[0] == 0
        assert fake.max_in_flight == 1

    def test_the_same_number_holds_for_every_suite(self) -> None:
        key = SuiteKey("acme", "shop", "a")
        nothing, one = targets.Everywhere({}, 7), targets.Everywhere({key: None}, 7)
        assert (nothing.get(key), len(nothing), dict(nothing), dict(one)) == (7, 0, {}, {key: 7})


class TestOutput:
    def test_a_line_is_the_key_and_what_the_api_sent(self, call: Run, suites: dict[str, FakeSuite]) -> None:
        rows = [json.loads(line) for line in call("harvest", B)[1].splitlines()]
        key = {"workspace": "acme", "project": "shop", "suite_id": "b"}
        assert [list(row)[:4] for row in rows] == [[*key, "id"]] * 3
        for row, sent in zip(rows, suites[B].sessions, strict=True):
            assert row.items() >= {**key, "id": sent["id"], "created_by": sent["created_by"]}.items()

    @pytest.mark.usefixtures("suites")
    def test_csv_has_the_same(self, call: Run) -> None:
        code, out, _ = call("harvest", "acme/shop", "--format", "csv")
        head, *rows = csv.reader(io.StringIO(out, newline=""))
        assert (code, tuple(head)) == (0, ("workspace", "project", "suite_id", *data.session_columns()))
        assert len(rows) == 253
        assert ["acme", "shop", "b"] in [row[:3] for row in rows]

    def test_csv_of_nothing_has_its_head(self, call: Run, fake: FakeBuddy) -> None:
        fake.inject(Fault.body(b'{"suites": []}'))
        code, out, err = call("harvest", "acme/empty", "--format", "csv")
        assert (code, out) == (0, ",".join(data.harvest_columns()) + "\r\n")
        assert err.startswith("0 suites, 0 sessions, 1 request in ")

    @pytest.mark.usefixtures("suites")
    def test_each_page_is_written_as_it_arrives(self, fake: FakeBuddy, call: Run) -> None:
        lines: list[int] = []

        def on_request(_: RecordedRequest) -> None:
            assert isinstance(sys.stdout, io.TextIOWrapper)
            assert isinstance(sys.stdout.buffer, io.BytesIO)
            lines.append(sys.stdout.buffer.getvalue().count(b"\n"))

        fake.on_request = on_request
        fake.latency = 0.02
        call("harvest", A, B, "--concurrency", "1")
        assert lines[0] == 0
        assert lines[-1] >= 200

    @pytest.mark.usefixtures("suites")
    @pytest.mark.parametrize("form", ["jsonl", "csv"])
    def test_a_closed_pipe_ends_it_without_a_word(
        self, form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closed_pipe() as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            code = run(["harvest", "acme/shop", "--format", form])
        assert (code, capsys.readouterr().err) == (0, "")

    def test_no_control_character_reaches_a_terminal(
        self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        evil = "\x1b]0;owned\x07"
        fake.add_suite("acme", "shop", "a").create(branch=evil, status=evil)
        for arguments in ([A, "--format", "jsonl"], [A, "--format", "csv"], [A]):
            terminal = shown_on(monkeypatch, "stdout")
            assert run(["harvest", *arguments]) == 0
            assert "\\u001b]0;owned\\u0007" in terminal.getvalue()
            assert "\x07" not in terminal.getvalue()
        fake.inject(Fault.status(404, body=json.dumps({"errors": [{"message": evil}]}).encode()))
        assert run(["harvest", A]) == 1
        assert "\\u001b]0;owned\\u0007" in capsys.readouterr().err


class TestFile:
    @pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "OUT.CSV"])
    @pytest.mark.usefixtures("suites")
    def test_replaces_the_old_one_when_all_is_read(self, name: str, call: Run, fake: FakeBuddy, tmp_path: Path) -> None:
        path = tmp_path / name
        path.write_text("old")
        path.chmod(0o640)
        seen: list[str] = []
        fake.on_request = lambda _: seen.append(path.read_text())
        code, out, err = call("harvest", "acme/shop", "--out", str(path))
        assert (code, out) == (0, "")
        assert "253 sessions" in err
        assert set(seen) == {"old"}
        assert [*tmp_path.iterdir()] == [path]
        assert path.stat().st_mode & 0o777 == 0o640
        content = path.read_bytes().decode()
        if path.suffix == ".jsonl":
            assert read(content) == {A: down_from(250), B: down_from(3)}
        else:
            assert len([*csv.DictReader(io.StringIO(content, newline=""))]) == 253

    @pytest.mark.usefixtures("suites")
    def test_is_made_as_any_other_and_a_link_stays_one(self, call: Run, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        path, link = tmp_path / "there" / "real.csv", tmp_path / "link.csv"
        link.symlink_to(path)
        before = os.umask(0o027)
        try:
            assert call("harvest", B, "--out", str(link), "--format", "csv")[0] == 0
        finally:
            os.umask(before)
        assert link.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o640
        assert len(path.read_text().splitlines()) == 4

    @pytest.mark.usefixtures("suites")
    def test_has_what_could_be_read_where_some_failed(self, call: Run, tmp_path: Path) -> None:
        path = tmp_path / "out.jsonl"
        code, _, err = call("harvest", B, C, "--out", str(path))
        assert code == 3
        assert read(path.read_text()) == {B: down_from(3)}
        assert "Suite not found" in err

    @pytest.mark.usefixtures("suites")
    def test_stays_as_it_was_where_all_failed(self, call: Run, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        path.write_text("old")
        assert call("harvest", C, "--out", str(path))[0] == 1
        assert path.read_text() == "old"
        assert [*tmp_path.iterdir()] == [path]

    @pytest.mark.usefixtures("suites")
    def test_stays_as_it_was_after_an_interrupt(self, call: Run, fake: FakeBuddy, tmp_path: Path) -> None:
        path = tmp_path / "out.jsonl"
        path.write_text("old")
        during: list[Path] = []

        def on_request(_: RecordedRequest) -> None:
            if len(fake.requests) == 3 and not during:
                during.extend(tmp_path.iterdir())
                fake.inject(Fault.hang(), times=9)
                interrupt()

        fake.on_request = on_request
        code, out, err = call("harvest", A, B, "--out", str(path))
        assert (code, out) == (130, "")
        assert err.startswith("interrupted: ")
        assert err.endswith(f"; {path} is untouched\n")
        assert len(during) == 2
        assert [*tmp_path.iterdir()] == [path]
        assert path.read_text() == "old"

    @pytest.mark.usefixtures("suites")
    def test_is_not_put_where_it_cannot_be(self, call: Run, fake: FakeBuddy, tmp_path: Path) -> None:
        (tmp_path / "dir.csv").mkdir()
        code, _, err = call("harvest", B, "--out", str(tmp_path / "dir.csv"))
        assert (code, "no file" in err) == (2, True)
        assert call("harvest", B, "--out", str(tmp_path / "none" / "x.csv"))[0] == 1
        assert not fake.requests


class TestFailures:
    def test_a_suite_that_is_missing_is_3(self, call: Run, suites: dict[str, FakeSuite]) -> None:
        code, out, err = call("harvest", B, C)
        assert code == 3
        assert read(out) == {B: down_from(3)}
        summary, failed = err.splitlines()
        assert summary.startswith("1 suite, 1 failed, 3 sessions, 2 requests in ")
        assert failed.startswith(f"failed: {C}: GET ")
        assert "Suite not found" in failed

    @pytest.mark.usefixtures("suites")
    def test_a_project_that_is_missing_is_3(self, call: Run) -> None:
        code, out, err = call("harvest", "acme/none", B)
        assert code == 3
        assert read(out) == {B: down_from(3)}
        assert "failed: acme/none: GET " in err
        assert "Project not found" in err

    @pytest.mark.usefixtures("suites")
    def test_all_missing_is_1(self, call: Run) -> None:
        code, out, err = call("harvest", C, "acme/none", "--format", "csv")
        assert (code, out) == (1, "")
        assert err.startswith("0 suites, 2 failed, 0 sessions, 2 requests in ")

    @pytest.mark.usefixtures("suites")
    @pytest.mark.parametrize("scopes", [("UNIT_TEST_INFO",), ()])
    def test_a_wrong_token_or_a_missing_scope_is_4(self, scopes: tuple[str, ...], call: Run, fake: FakeBuddy) -> None:
        fake.scopes = scopes
        fake.token = "another" if scopes else fake.token
        code, out, err = call("harvest", A, "acme/other")
        assert (code, out) == (4, "")
        assert err.count("failed: ") == 2

    @pytest.mark.usefixtures("fake")
    def test_twenty_are_named(self, call: Run) -> None:
        code, _, err = call("harvest", *(f"acme/shop/{number}" for number in range(25)))
        assert code == 1
        assert err.count("failed: ") == 20
        assert err.splitlines()[-1] == "and 5 more"

    @pytest.mark.usefixtures("suites")
    def test_one_that_was_read_in_part_says_how_to_get_the_rest(self, call: Run, fake: FakeBuddy) -> None:
        def on_request(request: RecordedRequest) -> None:
            if request.query.get("page") == "3":
                fake.inject(Fault.status(501))

        fake.on_request = on_request
        code, first, err = call("harvest", A, B, "--concurrency", "1")
        assert code == 3
        start = err.split("--start ")[1].strip()
        assert f"read in part, the rest: list {A} --start {start}" in err
        fake.on_request = None
        rest = [json.loads(line)["relative_id"] for line in call("list", A, "--start", start)[1].splitlines()]
        assert read(first)[A] + rest == down_from(250)

    @pytest.mark.usefixtures("suites")
    def test_says_how_many_requests_were_repeated(self, call: Run, fake: FakeBuddy) -> None:
        fake.inject(Fault.status(503))
        assert "3 sessions, 2 requests (1 repeated) in " in call("harvest", B)[2]


class TestSummary:
    def test_is_what_a_person_gets(
        self, fake: FakeBuddy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = shown_on(monkeypatch, "stdout")
        monkeypatch.setenv("TERM", "dumb")
        now = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")  # what is to come counts as now
        suite = fake.add_suite("acme", "shop", "a")
        for status in ["SUCCESSFUL"] * 150 + ["ERROR"] * 50 + ["IN_PROGRESS"]:
            suite.create(status=status, create_date=now)
        fake.add_suite("acme", "shop", "none")
        assert run(["harvest", "acme/shop", C]) == 3
        assert [line.split() for line in terminal.getvalue().splitlines()] == [
            ["KEY", "READ", "PASS", "LATEST", "AGE", "RECENT"],
            ["acme/shop/a", "201", "75", "%", "◌", "running", "0", "s", "ago", "███████████·"],
            ["acme/shop/none", "0", "-"],
        ]
        summary, hint, failed = capsys.readouterr().err.splitlines()
        assert summary.startswith("2 suites, 1 failed, 201 sessions, ")
        assert hint == "the sessions themselves: --format jsonl|csv, or --out FILE"
        assert failed.startswith(f"failed: {C}: ")

    def test_of_too_many_suites_there_are_only_totals(
        self, fake: FakeBuddy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = shown_on(monkeypatch, "stdout")
        for number in range(55):
            fake.add_suite("acme", "shop", f"s{number}").create()
        assert run(["harvest", "acme/shop"]) == 0
        assert terminal.getvalue() == ""
        assert capsys.readouterr().err.startswith("55 suites, 55 sessions, 56 requests in ")

    def test_keeps_few_sessions(self) -> None:
        summary, key = tables.SuiteSummary(), SuiteKey("w", "p", "s")
        page = [Session(id=str(number), relative_id=number, status=SessionStatus.ERROR) for number in range(100, 0, -1)]
        for _ in range(3):
            summary.write(page, key)
        (tally,) = summary._tallies.values()
        assert (tally.read, tally.newest) == (300, page[:12])


class TestProgress:
    @pytest.mark.usefixtures("suites")
    def test_tells_the_truth(self, call: Run, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
        stderr = shown_on(monkeypatch, "stderr")
        fake.latency = 0.15
        assert call("harvest", "acme/shop", "acme/none", A, "--concurrency", "1")[0] == 3
        shown = stderr.getvalue()
        assert "0/1+ suites · 0 requests/s · 0 sessions" in shown
        assert "1/1+ suites · " in shown or "1/2+ suites · " in shown
        assert "253 sessions" in shown

    @pytest.mark.usefixtures("suites")
    def test_is_not_mixed_with_data_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stderr = shown_on(monkeypatch, "stderr")
        shown_on(monkeypatch, "stdout")
        assert run(["harvest", A, "--format", "jsonl"]) == 0
        assert "requests/s" not in stderr.getvalue()
        assert run(["harvest", A]) == 0
        assert "requests/s" in stderr.getvalue()

    @pytest.mark.usefixtures("suites")
    def test_tells_what_is_left_and_how_long_the_rate_limit_holds_all(
        self, call: Run, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stderr = shown_on(monkeypatch, "stderr")
        monkeypatch.setenv("COLUMNS", "120")
        fake.rate_limit, fake.rate_window = 3, 2.0
        assert call("harvest", A, B, "acme/other/x")[0] == 0
        shown = stderr.getvalue()
        assert "waiting until " in shown
        assert " · 0 of 3 left" in shown

    @pytest.mark.usefixtures("suites")
    def test_counts_requests_a_second_of_late(
        self, call: Run, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stderr = shown_on(monkeypatch, "stderr")
        monkeypatch.setattr(progress, "_PACE", 0.3)
        fake.latency = 0.4
        assert call("harvest", A, B, "--concurrency", "1")[0] == 0
        assert " requests/s" in stderr.getvalue()

    def test_is_cut_to_the_terminals_width(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stderr = shown_on(monkeypatch, "stderr")
        monkeypatch.setenv("COLUMNS", "20")
        with output.Output(stderr=True).progress() as show:
            show("x" * 50)
            time.sleep(0.2)
        assert "x" * 17 + "…" in stderr.getvalue()
        assert "x" * 18 not in stderr.getvalue()


class TestProcess:
    """The same as others see it."""

    COMMAND = (sys.executable, "-m", "buddy_sessions", "harvest")

    @pytest.fixture
    def environment(self, fake: FakeBuddy, suites: dict[str, FakeSuite]) -> dict[str, str]:
        return {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}

    def run(
        self, environment: dict[str, str], *arguments: str, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.COMMAND, *arguments],
            env=environment,
            capture_output=True,
            input=given,
            encoding="utf-8",
            timeout=30,
            check=False,
        )

    def test_exit_codes(self, environment: dict[str, str], tmp_path: Path) -> None:
        done = self.run(environment, "--from", "-", given=f"# ours\n\n{B}\nacme/other\n")
        assert (done.returncode, read(done.stdout)) == (0, {B: down_from(3), "acme/other/x": down_from(20)})
        partly = self.run(environment, B, C, "--out", str(tmp_path / "x.jsonl"))
        assert (partly.returncode, "Suite not found" in partly.stderr) == (3, True)
        assert read((tmp_path / "x.jsonl").read_text()) == {B: down_from(3)}
        assert self.run({**environment, "BUDDY_TOKEN": "wrong"}, "acme/shop").returncode == 4
        bad = self.run(environment, "--from", "-", given=f"{B}\nnonsense\n")
        assert (bad.returncode, "stdin, line 2: " in bad.stderr) == (2, True)

    def test_an_interrupt_leaves_the_old_file(
        self, environment: dict[str, str], fake: FakeBuddy, tmp_path: Path
    ) -> None:
        path, begun = tmp_path / "out.csv", threading.Event()
        path.write_text("old")
        fake.on_request = lambda _: begun.set()
        fake.inject(Fault.hang(), times=20)
        with subprocess.Popen(
            [*self.COMMAND, "acme/shop", "--out", str(path)], env=environment, stderr=subprocess.PIPE
        ) as process:
            assert begun.wait(20)
            assert len([*tmp_path.iterdir()]) == 2
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert process.stderr is not None
            assert b"is untouched" in process.stderr.read()
        assert [*tmp_path.iterdir()] == [path]
        assert path.read_text() == "old"

    def test_an_interrupt_waits_for_no_line(self, environment: dict[str, str], fake: FakeBuddy) -> None:
        begun = threading.Event()
        fake.on_request = lambda _: begun.set()
        with subprocess.Popen(
            [*self.COMMAND, "--from", "-"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(f"{B}\n".encode())
            process.stdin.flush()
            assert begun.wait(20)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert b"Error" not in process.stderr.read()

    def test_a_reader_that_leaves_is_no_error(self, environment: dict[str, str]) -> None:
        with subprocess.Popen(
            [*self.COMMAND, "acme/shop"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert b"rror" not in process.stderr.read()
            assert process.wait(30) == 0
