"""The command `serve`."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import COMMAND, Call, rows, run_process
from helpers.uploads import upload

SUITE = "acme/storefront/MNbyVedg"


@contextmanager
def serving(*arguments: str) -> Iterator[dict[str, str]]:
    """Run `serve` in a process; yield the environment of another terminal. The messages name the first suite."""
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            command, *variables = process.stdout.readline().split()
            assert command == "export"
            yield {**os.environ, **dict(variable.split("=", 1) for variable in variables)}
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert f"buddy-sessions list {SUITE}" in err


def sessions(environment: dict[str, str]) -> list[dict[str, Any]]:
    """Return the sessions of the first suite, newest first."""
    return rows(run_process(environment, "list", SUITE, "--json").out)


def test_first_suite() -> None:
    with serving() as environment:
        assert len(sessions(environment)) == 400


def test_live_sessions_start_and_finish() -> None:
    with serving("--empty", "--live", "0.01") as environment:
        while len(found := sessions(environment)) < 7:
            pass
    newest, *others = found
    assert newest["status"] == "IN_PROGRESS"
    assert all(session["finish_date"] for session in others)
    statuses = Counter(session["status"] for session in others)
    assert [status for status, _ in statuses.most_common()] == ["SUCCESSFUL", "ERROR"]


def test_uploads_are_judged() -> None:
    """A change that breaks a test of main is a new failure; it has finished when its upload has."""
    main, change = "ab" * 20, "cd" * 20
    case = {"name": "adds", "classname": "cart.test.js", "test_group_name": "cart.test.js"}
    with serving("--empty") as environment:
        upload(environment, [{**case, "status": "PASSED"}], ref_type="BRANCH", ref_name="main", revision=main)
        upload(environment, [{**case, "status": "FAILED"}], ref_type="BRANCH", ref_name="try", revision=change)
        waited = run_process(environment, "wait", SUITE, "--revision", change, "--json")
        judged = run_process(environment, "gate", SUITE, "--revision", change, "--format", "jsonl")
    assert [(row["relative_id"], row["status"]) for row in rows(waited.out)] == [(2, "ERROR")]
    assert judged.code == 1
    assert [(row["name"], row["novelty"]) for row in rows(judged.out)] == [("adds", "new")]


def test_port_that_is_taken_is_one_line(fake: FakeBuddy, call: Call) -> None:
    place = f"'127.0.0.1:{fake.base_url.port}'"
    error = f"error: cannot serve on {place}: address already in use; choose another --port, or 0 for a free one\n"
    assert call("serve", "--port", str(fake.base_url.port)) == (7, "", error)
