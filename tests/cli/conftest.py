"""Fixtures of the tests of the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, Result, Source, served, sync_database
from helpers.faults import TOKEN

TERMINAL_VARIABLES = {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}


@pytest.fixture(autouse=True)
def terminal_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set no width (a terminal has 80 columns), and let SIGINT interrupt as in a shell, whatever runs tests."""
    for name in TERMINAL_VARIABLES & set(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    before = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuddy]:
    with served(FakeBuddy(token=TOKEN)) as fake:
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        yield fake


@pytest.fixture(params=["api", "database"])
def source(
    request: pytest.FixtureRequest, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Source]:
    """Yield a function that returns the options to read what is there from the API; or from a database, at no request.

    It takes which test cases are saved.
    """
    requests: list[int] = []

    def options(cases: Literal["failed", "all"] = "all") -> list[str]:
        if request.param == "api":
            return []
        sync_database(fake, tmp_path / "sessions.db", cases=cases)
        monkeypatch.delenv("BUDDY_TOKEN", raising=False)
        requests.append(len(fake.requests))
        return ["--db", str(tmp_path / "sessions.db")]

    yield options
    assert requests[-1:] in ([], [len(fake.requests)])


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "a")


@pytest.fixture
def suites(fake: FakeBuddy) -> dict[str, FakeSuite]:
    """Two suites of one project, and one suite of another."""
    sizes = {"acme/shop/a": 250, "acme/shop/b": 3, "acme/other/x": 20}
    return {key: fake.add_suite(*key.split("/")).populate(size) for key, size in sizes.items()}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> Result:
        code = run(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert TOKEN not in out + err
        return Result(code, out, err)

    return call
