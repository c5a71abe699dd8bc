"""Runs commands in this process, with a fake Buddy in another thread and streams that look like terminals."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import pytest

from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy, Fault
from buddy_sessions.testing.plugin import serve_in_thread

COMMAND = (sys.executable, "-m", "buddy_sessions")


class Result(NamedTuple):
    """The outcome of a command."""

    code: int
    out: str
    err: str


Call = Callable[..., Result]
"""Runs a command with these arguments."""

Source = Callable[..., list[str]]
"""Returns the options that select where a command reads from."""


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


served = serve_in_thread
"""Serves a fake Buddy from another thread, because a command runs its own event loop in this one."""


def use_terminal(monkeypatch: pytest.MonkeyPatch, name: str, *, dumb: bool = True) -> Terminal:
    """Replace `stdout` or `stderr` by a terminal, without colours; return it. A dumb one shows no escape sequence."""
    terminal = Terminal()
    monkeypatch.setattr(sys, name, terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", os.environ.get("COLUMNS", "80"))
    if dumb:
        monkeypatch.setenv("TERM", "dumb")
    return terminal


@contextmanager
def closed_pipe() -> Iterator[TextIO]:
    """Yield a stream to a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w", encoding="utf-8")  # noqa: SIM115 - closed below, which raises
    try:
        yield stream
    finally:
        with suppress(BrokenPipeError):
            stream.close()


def interrupt() -> None:
    """Interrupt the main thread, as Ctrl-C does."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


def interrupt_at_request(fake: FakeBuddy, number: int) -> None:
    """Interrupt the command at its request with this number. Neither this nor later requests get a response."""
    counter = itertools.count(1)

    def on_request(_: object) -> None:
        if next(counter) == number:
            fake.inject(Fault.hang(), times=9)
            interrupt()

    fake.on_request = on_request


def run_process(environment: dict[str, str], *arguments: str, stdin: str | None = None) -> Result:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        capture_output=True,
        input=stdin,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def rows(jsonl: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in jsonl.split("\n")[:-1]]


def numbers(jsonl: str) -> list[int]:
    """Return the numbers of the sessions, in their order."""
    return [row["relative_id"] for row in rows(jsonl)]


def numbers_by_suite(jsonl: str) -> dict[str, list[int]]:
    """Return the numbers of the sessions of each suite, in their order."""
    found: dict[str, list[int]] = {}
    for row in rows(jsonl):
        found.setdefault(f"{row['workspace']}/{row['project']}/{row['suite_id']}", []).append(row["relative_id"])
    return found


def down_from(number: int) -> list[int]:
    return [*range(number, 0, -1)]


def sync_database(
    fake: FakeBuddy, path: Path, *, cases: Literal["failed", "all"] | None = None, branch: str | None = None
) -> None:
    """Bring a database up to date with all suites of a fake Buddy that is running, and with the cases of a branch."""

    async def sync() -> None:
        keys = [SuiteKey(*key) for key in fake.suites]
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy, SessionStore(path) as store:
            await store.sync(buddy, keys, cases=cases, cases_branch=branch).run()

    asyncio.run(sync())
