"""Commands: unusable files, SIGTERM, formulas in CSV, and logging that others configure."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, Fault, RecordedRequest
from helpers.command_line import COMMAND, Result, numbers, run_process, served, sync_database
from helpers.faults import TOKEN
from helpers.stores import public_folder, query, read_only

pytestmark = pytest.mark.fault

A, B, MISSING, EMPTY = "acme/shop/a", "acme/shop/b", "acme/shop/missing", "acme/shop/empty"
BRANCHES = f"no session of branch 'mian' in {A}: its latest sessions are of main"

TEMPORARY = ".buddy-sessions-"
"""The beginning of the names of temporary folders."""


@define
class CommandRunner:
    """Runs commands, and checks that the token is not exposed.

    Attributes:
        fake: The server.
        captured: The output of this process.
        environment: The environment of other processes.
    """

    fake: FakeBuddy
    captured: pytest.CaptureFixture[str]
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> Result:
        """Run a command in this process, which is faster, and return its result."""
        code = run([*map(str, arguments)])
        captured = self.captured.readouterr()
        return self.check(Result(code, captured.out, captured.err))

    def check(self, result: Result) -> Result:
        """Check that the token is not exposed."""
        assert TOKEN not in result.out + result.err
        assert "Traceback" not in result.err
        return result


@pytest.fixture
def fake() -> Iterator[FakeBuddy]:
    with served(FakeBuddy(token=TOKEN)) as fake:
        fake.add_suite(*A.split("/")).populate(250)
        fake.add_suite(*B.split("/")).populate(3)
        fake.add_suite(*EMPTY.split("/"))
        yield fake


@pytest.fixture
def command(fake: FakeBuddy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandRunner:
    monkeypatch.setenv("BUDDY_TOKEN", TOKEN)
    monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
    return CommandRunner(fake, capsys, dict(os.environ))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files that commands must not replace."""
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "names.csv").write_text(B)
    (tmp_path / "old.csv").write_text("old")
    return tmp_path


@pytest.fixture
def database(fake: FakeBuddy, tmp_path: Path) -> Path:
    """A database of all suites."""
    path = tmp_path / "sessions.db"
    sync_database(fake, path)
    fake.requests.clear()
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the content of the files of a folder. The files of SQLite next to a database come and go."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class TestUnusableFile:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param(["harvest", B, "--out", "none/x.csv"], "none' not found", id="harvest-missing-folder"),
            pytest.param(["harvest", B, "--out", "folder.csv"], "not a file", id="harvest-folder"),
            pytest.param(["harvest", "--from", "names.csv", "--out", "names.csv"], "input file", id="harvest-input"),
            pytest.param(["sync", B, "--db", "folder.csv"], "not a file", id="sync-folder"),
            pytest.param(["sync", "--from", "names.csv", "--db", "names.csv"], "input file", id="sync-input"),
            pytest.param(["watch", B, "--db", "none/x.db"], "none' not found", id="watch-missing-folder"),
            pytest.param(["report", "--db", "sessions.db", "--out", "folder.csv"], "not a file", id="report-folder"),
        ],
    )
    def test_out_file_that_cannot_be_written(
        self,
        command: CommandRunner,
        folder: Path,
        database: Path,
        arguments: list[str],
        message: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """It is wrong usage before any request, and every file is kept."""
        before = content_of(folder)
        monkeypatch.chdir(folder)
        result = command.run(*arguments)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: ")
        assert message in result.err
        assert not command.fake.requests
        assert content_of(folder) == before


class TestErrorOfTheSystem:
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            pytest.param(["harvest", "--from", "none.txt"], 2, "cannot read 'none.txt': no such file", id="source"),
            pytest.param(["harvest", "--from", "folder.csv"], 2, "cannot read 'folder.csv': is a dir", id="folder"),
            pytest.param(["harvest", B, "-o", "/proc/x.csv"], 2, "cannot write '/proc/x.csv': no such", id="no-files"),
            pytest.param(["report", "--db", "sessions.db", "-o", "/proc/x"], 2, "cannot write '/proc/x'", id="page"),
            pytest.param(["serve", "--port", "PORT"], 7, "address already in use; choose another --port", id="port"),
        ],
    )
    def test_error_of_a_file_or_port(
        self,
        command: CommandRunner,
        folder: Path,
        database: Path,
        arguments: list[str],
        code: int,
        message: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """One line: what failed, which file or port, and what to do."""
        port = str(command.fake.base_url.port)
        monkeypatch.chdir(folder)
        result = command.run(*(argument.replace("PORT", port) for argument in arguments))
        assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
        assert f"error: cannot serve on '127.0.0.1:{port}': " in result.err or "serve" not in arguments
        assert message in result.err
        assert not re.search(f"(?i)errno|{TEMPORARY}", result.err)
        assert not command.fake.requests


class TestClosedStream:
    @pytest.mark.parametrize("closed", [">&- 2>&-", "<&-"])
    def test_sync_without_a_stream(self, command: CommandRunner, tmp_path: Path, closed: str) -> None:
        """It does its work, and its messages do not get into the database."""
        path = tmp_path / "sessions.db"
        assert self.run(command, f"sync {B} --db {path} {closed}").code == 0
        assert query(path, "SELECT count(*) FROM sessions") == [(3,)]
        assert query(path, "PRAGMA integrity_check") == [("ok",)]

    def test_list_without_a_stream(self, command: CommandRunner) -> None:
        assert self.run(command, f"list {B} >&-") == (7, "", "error: stdout is closed: nothing can be printed\n")
        assert self.run(command, f"list {B} 2>&-").out.count("\n") == 3

    @staticmethod
    def run(command: CommandRunner, arguments: str) -> Result:
        line = f"{' '.join(COMMAND)} {arguments}"
        done = subprocess.run(["sh", "-c", line], env=command.environment, capture_output=True, text=True, check=False)
        return command.check(Result(done.returncode, done.stdout, done.stderr))


class TestDatabaseName:
    @pytest.mark.parametrize("name", ["file:x.db", ":memory:", "file::memory:?cache=shared"])
    def test_name_that_means_something_to_sqlite(
        self, command: CommandRunner, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is a file of exactly that name, in every command."""
        monkeypatch.chdir(tmp_path)
        assert command.run("sync", B, "--db", name, "--cases", "all").code == 0
        assert [path.name for path in tmp_path.iterdir()] == [name]
        command.fake.requests.clear()
        for line in (f"failures {B} 1", f"flaky {B}", f"slowest {B}", f"compare {B} 1 2", "export"):
            assert command.run(*line.split(), "--db", name).code == 0
        assert "1 suite, 3 sessions" in command.run("report", "--db", name, "-o", "x.html").err
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "x.html"])
        assert not command.fake.requests


class TestReadOnly:
    def test_complete_database_that_can_only_be_read(self, command: CommandRunner) -> None:
        """Commands that only read do the same as before, the others say why they cannot, before any request."""
        with public_folder() as folder, public_folder() as pages:
            pages.chmod(0o777)
            path = folder / "sessions.db"
            sync_database(command.fake, path, cases="all")
            commands: list[tuple[str, ...]] = [
                *(("failures", B, "1"), ("flaky", B), ("slowest", B), ("compare", B, "1", "2"), ("export",)),
                ("report", "-o", str(pages / "x.html")),
            ]
            before = [command.run(*arguments, "--db", path) for arguments in commands]
            (pages / "x.html").unlink()
            command.fake.requests.clear()
            with read_only(folder):
                found = [command.run(*arguments, "--db", path) for arguments in commands]
                result = command.run("sync", B, "--db", path)
        assert found == before
        assert [result.code for result in before] == [0] * len(commands)
        assert (result.code, "can only be read: check that you may write" in result.err) == (7, True)
        assert not command.fake.requests


class TestInterruptAtTheStart:
    @pytest.mark.parametrize("module", ["aiohttp", "cyclopts", "buddy_sessions.store"])
    def test_interrupt_while_modules_are_imported(self, command: CommandRunner, tmp_path: Path, module: str) -> None:
        """A module that interrupts the process stands in for a user who is fast."""
        (tmp_path / "sitecustomize.py").write_text(INTERRUPTING.format(module=module))
        environment = {**command.environment, "PYTHONPATH": str(tmp_path)}
        environment.pop("PYTHONSAFEPATH", None)
        result = command.check(run_process(environment, "list", B))
        assert result == (130, "", "")


INTERRUPTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""


class TestNothingFound:
    @pytest.mark.parametrize("source", ["api", "database"])
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["list", A, "--branch", "mian"], 0, BRANCHES),
            (["sync", A, "--branch", "mian", "--db", "new.db"], 0, BRANCHES),
            (["export", A, "--branch", "mian"], 0, BRANCHES),
            (["failures", A, "--branch", "mian"], 5, BRANCHES),
            (["failures", A, "9999"], 5, f"no session #9999 in {A}: the newest is #250"),
            (["failures", A, "nosuchid"], 5, f"no session nosuchid in {A}: the newest is #250"),
            (["failures", A, "9" * 5000], 5, f"in {A}: the newest is #250"),
            (["compare", A, "1", "251"], 5, f"no session #251 in {A}: the newest is #250"),
            (["failures", EMPTY], 5, f"{EMPTY} has no finished session yet: try again when one has finished"),
        ],
        ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
    )
    def test_branch_or_session_that_does_not_exist(
        self,
        command: CommandRunner,
        database: Path,
        source: str,
        arguments: list[str],
        code: int,
        message: str,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """One line: the branches that exist, or the newest session. A command that judges exits with 5."""
        monkeypatch.chdir(tmp_path)
        is_saved = source == "database" or "export" in arguments
        if is_saved and {"list", "harvest", "sync"} & {*arguments}:
            return
        options: list[str] = ["--db", str(database)] if is_saved else []
        result = command.run(*arguments, *options, "-q")
        assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
        assert message in result.err

    def test_project_that_does_not_exist(self, command: CommandRunner) -> None:
        note = "there is no project acme/shoop, or the token's owner cannot see it: check both names"
        assert command.run("list", "acme/shoop/a").err.splitlines()[1:] == [note]


@pytest.mark.parametrize("arguments", [["harvest", A, "--out", "old.csv"], ["sync", A, "--db", "new.db"]])
def test_sigterm(command: CommandRunner, folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file is kept, what was read is saved, and no temporary file is left."""
    waiting = threading.Event()

    def hang(request: RecordedRequest) -> None:
        if request.page == 2:
            command.fake.inject(Fault.hang(), times=9)
            waiting.set()

    command.fake.on_request = hang
    monkeypatch.chdir(folder)
    with subprocess.Popen(
        [*COMMAND, *arguments], env=command.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert waiting.wait(20)
        process.terminate()
        out, err = process.communicate(timeout=20)
    result = command.check(Result(process.returncode, out, err))
    assert (result.code, result.out) == (130, "")
    assert result.err.startswith("interrupted: 0 suites, 100 ")
    if "sync" in arguments:
        assert query(folder / "new.db", "SELECT count(*) FROM sessions") == [(100,)]
        (folder / "new.db").unlink()
    assert {path.name for path in folder.iterdir()} == {"folder.csv", "names.csv", "old.csv"}
    assert (folder / "old.csv").read_text() == "old"


STARTS = ["=", "+", "-", "@", "\t", "\r"]
FORMULAS = [f'{start}HYPERLINK("http://evil","x")' for start in STARTS]


def test_formulas_in_csv(command: CommandRunner) -> None:
    """Spreadsheets take a cell with an apostrophe before it as a text."""
    suite = command.fake.add_suite("acme", "sheet", "x")
    for formula in FORMULAS:
        suite.create(branch=formula, status=formula, error_message=formula, revision=formula, duration=-1.5)
    result = command.run("list", "acme/sheet/x", "--format", "csv")
    found = [*csv.DictReader(io.StringIO(result.out, newline=""))]
    for column in ("ref_name", "status", "error_message", "revision"):
        assert [row[column] for row in found] == [f"'{formula}" for formula in reversed(FORMULAS)]
    assert [row["duration"] for row in found] == ["-1.5"] * len(FORMULAS)


PROGRAM = """
import asyncio, logging, structlog
from buddy_sessions import BuddyClient

async def main():
    async with BuddyClient.from_env() as buddy:
        print(len(await buddy.sessions("acme/shop/b").collect()))

logging.basicConfig()
asyncio.run(main())
"""

RETRY = r"HTTP 503 \(injected fault\) \(503\){}; retry 1 of 3 in 0\.\d s\n"


def test_structlog_with_a_retry(command: CommandRunner) -> None:
    """stdout gets nothing but data, and the retry is one readable record."""
    command.fake.inject(Fault.status(503))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=command.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"
    assert re.fullmatch("WARNING:buddy_sessions:" + RETRY.format(r"; GET http://\S+"), done.stderr)
    command.fake.inject(Fault.status(503))
    result = command.check(run_process(command.environment, "list", B))
    assert (result.code, numbers(result.out)) == (0, [3, 2, 1])
    assert re.fullmatch(RETRY.format(""), result.err)
