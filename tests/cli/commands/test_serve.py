"""The command `serve`."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import COMMAND, Call

PATH = "/workspaces/acme/projects/storefront/unit-tests/suites/MNbyVedg/sessions?per_page=500"


def serve_until(condition: Callable[[list[Any]], bool], *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Run `serve` until the sessions of its first suite satisfy the condition; return them, and its messages."""
    sessions: list[dict[str, Any]] = []
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            command, url, token = process.stdout.readline().split()
            assert (command, url.startswith("BUDDY_API_URL=http://127.0.0.1:")) == ("export", True)
            authorization = f"Bearer {token.removeprefix('BUDDY_TOKEN=')}"
            request = urllib.request.Request(url.partition("=")[2] + PATH, headers={"Authorization": authorization})
            while not condition(sessions):
                with urllib.request.urlopen(request, timeout=10) as response:
                    sessions = json.load(response)["sessions"]
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    return sessions, err


@pytest.mark.parametrize(("arguments", "count"), [([], 400), (["--sessions", "250"], 250)])
def test_first_suite(arguments: list[str], count: int) -> None:
    sessions, err = serve_until(bool, *arguments)
    assert len(sessions) == count
    assert "buddy-sessions list acme/storefront/MNbyVedg" in err


def test_live_sessions_start_and_finish() -> None:
    (newest, *others), _ = serve_until(lambda sessions: len(sessions) > 2, "--sessions", "0", "--live", "0.01")
    assert newest["status"] == "IN_PROGRESS"
    assert all(session["finish_date"] for session in others)


def test_port_that_is_taken_is_one_line(fake: FakeBuddy, call: Call) -> None:
    place = f"'127.0.0.1:{fake.base_url.port}'"
    error = f"error: cannot serve on {place}: address already in use; choose another --port, or 0 for a free one\n"
    assert call("serve", "--port", str(fake.base_url.port)) == (7, "", error)
