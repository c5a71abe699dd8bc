"""Commands and the system: streams, signals, names that do not exist, and what is not allowed or not reachable."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy, Fault, RecordedRequest
from helpers.command_line import COMMAND, Call, Result, interrupt_at_request, run_process, sync_database
from helpers.stores import query

pytestmark = [pytest.mark.fault, pytest.mark.usefixtures("suites")]

A, B, EMPTY = "acme/shop/a", "acme/shop/b", "acme/shop/empty"
BRANCHES = f"no session of branch 'mian' in {A}: its latest sessions are of main"


def run_in_shell(line: str) -> Result:
    done = subprocess.run(["sh", "-c", f"{' '.join(COMMAND)} {line}"], capture_output=True, text=True, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&-"])
def test_sync_without_a_stream_keeps_messages_out_of_the_file(tmp_path: Path, closed: str) -> None:
    path = tmp_path / "sessions.db"
    assert run_in_shell(f"sync {B} --db {path} {closed}").code == 0
    assert query(path, "SELECT count(*) FROM sessions") == [(3,)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_list_without_a_stream() -> None:
    assert run_in_shell(f"list {B} >&-") == (7, "", "error: stdout is closed: nothing can be printed\n")
    assert run_in_shell(f"list {B} 2>&-").out.count("\n") == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_one_line() -> None:
    code, _, err = run_in_shell(f"list {A} > /dev/full")
    assert (code, err) == (7, "error: no space left on device; free some space, and try again\n")


@pytest.mark.parametrize("module", ["aiohttp", "cyclopts", "buddy_sessions.store"])
def test_interrupt_while_modules_are_imported(tmp_path: Path, module: str) -> None:
    """A module that interrupts the process stands in for a user who is fast."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING.format(module=module))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("PYTHONSAFEPATH", None)
    assert run_process(environment, "list", B) == (130, "", "")


INTERRUPTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (f"list {A} --branch mian", 0, BRANCHES),
        (f"list {EMPTY}", 0, f"warning: {EMPTY} has no session yet: check that its tests upload their results"),
        (f"harvest {A} --branch mian", 0, BRANCHES),
        (f"export {A} --branch mian --db saved.db", 0, BRANCHES),
        (f"cases {A} --branch mian", 5, BRANCHES),
        (f"cases {A} 9999", 5, f"no session 9999 in {A}: the newest is #250"),
        (f"cases {A} {'9' * 5000}", 5, f"in {A}: the newest is #250"),
        *(
            (f"failures {EMPTY}{db}", 5, f"{EMPTY} has no session yet: check that its tests upload their results")
            for db in ("", " --db saved.db")
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) and "mian" not in value[:10] else "",
)
def test_branch_or_session_that_does_not_exist(
    line: str, code: int, message: str, fake: FakeBuddy, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line: the branches that exist, or the newest session. A command that judges exits with 5."""
    monkeypatch.chdir(tmp_path)
    fake.add_suite(*EMPTY.split("/"))
    sync_database(fake, Path("saved.db"))
    for source in ("", " --db saved.db") if A in line and code else ("",):
        result = call(*f"{line}{source} -q".split())
        assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
        assert message in result.err


@pytest.mark.parametrize(
    ("line", "trap"), [(f"harvest {A} --out old.csv", ""), (f"sync {A} --db new.db", "trap '' INT; ")]
)
def test_sigterm(line: str, trap: str, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file is kept, what was read is saved, and no temporary file is left. Shells let jobs ignore SIGINT."""
    waiting = threading.Event()

    def hang(request: RecordedRequest) -> None:
        if request.page == 2:
            fake.inject(Fault.hang(), times=9)
            waiting.set()

    fake.on_request = hang
    monkeypatch.chdir(tmp_path)
    Path("old.csv").write_text("old")
    command = ["sh", "-c", f"{trap}exec {' '.join(COMMAND)} {line}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert waiting.wait(120)
        process.terminate()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("interrupted: 0 of 1 suite, 100 ")
    if line.startswith("sync"):
        assert query(tmp_path / "new.db", "SELECT count(*) FROM sessions") == [(100,)]
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("new.db")] == ["old.csv"]
    assert Path("old.csv").read_text() == "old"


FAILURES = {
    "unknown suite": (7, "Suite not found (404): check the workspace, the project and the IDs"),
    "rejected token": (4, "(401)"),
    "missing scope": (4, "UNIT_TEST_READ"),
    "missing token": (2, "error: no token: set BUDDY_TOKEN"),
    "interrupt": (130, ""),
    "no connection": (
        7,
        "cannot connect to 127.0.0.1:1 (connection refused): check the base URL and the network; 2 attempts\n",
    ),
}


def test_message_names_options(call: Call, fake: FakeBuddy) -> None:
    fake.inject(Fault.status(429, headers={"Retry-After": "600"}))
    assert call("list", A, "--quiet").err.endswith("(429): wait 10m, or allow a longer --max-wait\n")
    both = call("list", A, "--region", "EU", "--base-url", "https://h")
    assert both.err.startswith("error: a region and a base URL exclude each other: leave out --region or --base-url")


def test_not_found_without_a_name_is_of_the_url(call: Call, fake: FakeBuddy) -> None:
    err = call("status", "acme", "--base-url", f"{fake.base_url}/nope").err
    assert "Not found (404): check the base URL first, then the workspace, the project and the IDs\n" in err


def test_log_names_no_request(call: Call, fake: FakeBuddy) -> None:
    """Only with --verbose."""
    for words, is_named in ((), False), (("--verbose",), True):
        fake.inject(Fault.status(503))
        err = call("list", A, *words).err
        assert ("(503): try again later; " in err, "; GET http" in err) == (True, is_named)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("command", ["list", "cases", "wait", "harvest", "watch"])
def test_failure_has_its_exit_code_and_one_line(
    command: str, failure: str, call: Call, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
) -> None:
    match failure:
        case "rejected token":
            fake.token = "another"
        case "missing scope":
            fake.scopes = ()
        case "missing token":
            monkeypatch.delenv("BUDDY_TOKEN")
        case "interrupt":
            interrupt_at_request(fake, 1)
        case "no connection" if command in {"watch", "wait"}:
            return  # these wait until they can connect
        case "no connection":
            monkeypatch.setenv("BUDDY_API_URL", "http://127.0.0.1:1")
    key = "acme/shop/none" if failure == "unknown suite" else A
    options = ["--branch", "main"] if command == "wait" else []
    code, out, err = call(command, key, *options, "--quiet", "--attempts", "2")
    expected, message = FAILURES[failure]
    assert (code, out, message in err, "GET " in err) == (expected, "", True, False)
    if failure == "unknown suite" and command != "harvest":
        assert err.endswith("\na suite is named by its ID: buddy-sessions status acme prints those of all\n")
    elif failure != "interrupt":
        assert err.count("\n") == 1
