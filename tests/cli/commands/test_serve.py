"""The command `serve`."""

from __future__ import annotations

import io
import json
import sys
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, interrupt


class SignallingStream(io.StringIO):
    """A stream that sets an event when text was flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def flush(self) -> None:
        super().flush()
        if self.getvalue():
            self.written.set()


def serve_until(
    condition: Callable[[list[Any]], bool], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> list[dict[str, Any]]:
    """Run `serve` until the sessions of its first suite satisfy the condition; return them."""
    stream, seen, ended = SignallingStream(), list[list[Any]](), threading.Event()

    def read() -> None:
        stream.written.wait(10)
        url, token = (part.partition("=")[2] for part in stream.getvalue().split()[1:])
        sessions_url = f"{url}/workspaces/acme/projects/storefront/unit-tests/suites/MNbyVedg/sessions?per_page=500"
        request = urllib.request.Request(sessions_url, headers={"Authorization": f"Bearer {token}"})
        try:
            while not ended.is_set() and (not seen or not condition(seen[-1])):
                with urllib.request.urlopen(request, timeout=10) as response:
                    seen.append(json.load(response)["sessions"])
        finally:
            if not ended.is_set():
                interrupt()

    monkeypatch.setattr(sys, "stdout", stream)
    thread = threading.Thread(target=read)
    thread.start()
    code = run(["serve", *arguments])
    ended.set()
    thread.join()
    assert code == 130
    assert stream.getvalue().startswith("export BUDDY_API_URL=http://127.0.0.1:")
    return seen[-1]


@pytest.mark.parametrize(("arguments", "count"), [([], 400), (["--sessions", "250"], 250)])
def test_first_suite(
    arguments: list[str], count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(serve_until(bool, monkeypatch, *arguments)) == count
    assert "buddy-sessions list acme/storefront/MNbyVedg" in capsys.readouterr().err


def test_port_that_is_taken_is_one_line(fake: FakeBuddy, call: Call) -> None:
    place = f"'127.0.0.1:{fake.base_url.port}'"
    error = f"error: cannot serve on {place}: address already in use; choose another --port, or 0 for a free one\n"
    assert call("serve", "--port", str(fake.base_url.port)) == (7, "", error)


def test_live_sessions_start_and_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    newest, *others = serve_until(lambda sessions: len(sessions) > 2, monkeypatch, "--sessions", "0", "--live", "0.01")
    assert newest["status"] == "IN_PROGRESS"
    assert all(session["finish_date"] for session in others)
