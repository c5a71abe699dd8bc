"""Links (OSC 8) from tables and lines on a terminal to Buddy."""

from __future__ import annotations

import re

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import use_terminal

A = "acme/shop/a"


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "a", name="Unit tests")


def run_on_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str, colours: bool = True) -> str:
    """Run a command whose output is a terminal; return what it shows."""
    terminal = use_terminal(monkeypatch, "stdout", dumb=False)
    if colours:
        monkeypatch.delenv("NO_COLOR")
    assert run(arguments) == 0
    return terminal.getvalue()


def links(shown: str) -> list[tuple[str, str]]:
    """Return the text and the URL of each link."""
    found = re.findall(r"\x1b\]8;id=[^;]*;([^\x1b]*)\x1b\\(.*?)\x1b\]8;;\x1b\\", shown)
    return [(re.sub(r"\x1b\[[0-9;]*m", "", text).strip(), url) for url, text in found]


@pytest.mark.parametrize(("arguments", "text"), [(["list", A], "1"), (["cases", A], "#1")], ids=" ".join)
def test_sessions_are_links(arguments: list[str], text: str, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    session = suite.create(status="ERROR", cases=[{"name": "fails", "status": "FAILED"}])
    assert links(run_on_terminal(monkeypatch, *arguments)) == [(text, session["html_url"])]


@pytest.mark.parametrize("url", [None, "javascript:alert(1)", "https://a b", "https://\x07", "https://é"])
def test_other_urls_are_not_links(url: str | None, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.create(html_url=url)
    assert "\x1b]8" not in run_on_terminal(monkeypatch, "list", A)


def test_no_links_without_colours(suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.create()
    assert "\x1b]8" not in run_on_terminal(monkeypatch, "list", A, colours=False)
