"""The commands `serve` and `demo`."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import COMMAND, Call, rows
from helpers.uploads import upload

SUITE = "acme/storefront/MNbyVedg"


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Iterator[None]:
    """Run `serve` in a process, with the environment of another terminal here. The messages name the first suite."""
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            command, *variables = process.stdout.readline().split()
            assert command == "export"
            for variable in variables:
                monkeypatch.setenv(*variable.split("=", 1))
            yield
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.startswith("Starting a fake Buddy ...\n")
    assert f"buddy-sessions list {SUITE}" in err


def test_faults_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "--faults", "30%"):
        request = Request(f"{os.environ['BUDDY_API_URL']}/workspaces/acme/projects/storefront/unit-tests/suites")
        request.add_header("Authorization", f"Bearer {os.environ['BUDDY_TOKEN']}")
        good = 0
        with suppress(OSError, HTTPException, ValueError):  # such as a 503, or a lost connection
            while good < 100:
                with urlopen(request) as response:
                    good += bool(json.load(response))
        assert 0 < good < 100


def test_live_sessions_start_and_finish(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, "--live", "0.01"):
        newest, *others = rows(call("list", SUITE).out)
        assert len(others) >= 399
        while len(found := rows(call("list", SUITE, "--after", "400").out)) < 8:
            pass
    newest, *others = found
    assert newest["status"] == "IN_PROGRESS"
    assert all(session["finish_date"] for session in others)
    assert {"SUCCESSFUL", "ERROR"} <= Counter(session["status"] for session in others).keys()


def test_uploads_are_judged(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that breaks a test of main is a new failure; it has finished when its upload has."""
    main, change = "ab" * 20, "cd" * 20
    case = {"name": "adds", "classname": "cart.test.js", "test_group_name": "cart.test.js"}
    with serving(monkeypatch, "--empty"):
        environment = dict(os.environ)
        upload(environment, [{**case, "status": "PASSED"}], ref_type="BRANCH", ref_name="main", revision=main)
        upload(environment, [{**case, "status": "FAILED"}], ref_type="BRANCH", ref_name="try", revision=change)
        waited = call("wait", SUITE, "--revision", change)
        judged = call("gate", SUITE, "--revision", change, "--format", "jsonl")
    assert [(row["relative_id"], row["status"]) for row in rows(waited.out)] == [(2, "ERROR")]
    assert judged.code == 1
    assert [(row["name"], row["novelty"]) for row in rows(judged.out)] == [("adds", "new")]


def test_port_that_is_taken_is_one_line(fake: FakeBuddy, call: Call) -> None:
    error = "error: address already in use; choose another --port, or 0 for a free one\n"
    assert call("serve", "--port", str(fake.base_url.port)) == (7, "", error)


def test_demo_misses_and_repeats_no_session(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = call("demo")
    (path,) = tmp_path.rglob("demo.db")
    assert (code, err) == (0, "")
    assert "\n6 suites on main: 3 red, 3 green\n" in out
    assert "of the 1,190 sessions that existed\nbefore, 0 were missed, and 0 were read twice." in out
    assert "buddy-sessions sync WORKSPACE/PROJECT --db sessions.db" in out
    assert max(len(line) for line in out.splitlines() if str(path) not in line and " > " not in line) <= 80
    assert "\x1b" not in out
    _, found, failing = out.partition("\nThe failing tests of the latest red session of acme/storefront/MNbyVedg:\n\n")
    assert found
    session = re.match(r"acme/\S+ #(\d+)  ✘ failed .*\nhttps://\S+\n\nSTATUS +TIME +TEST *\n✘ ", failing)
    assert session
    with closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        (newest,) = connection.execute(
            "SELECT max(relative_id) FROM sessions WHERE status = 'ERROR' AND suite_id = 'MNbyVedg'"
        ).fetchone()
    assert int(session[1]) == newest
    assert stored > 1190
