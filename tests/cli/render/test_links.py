"""Links (OSC 8) from tables and lines on a terminal to Buddy."""

from __future__ import annotations

import re

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import use_terminal

A = "acme/shop/a"
URL = "https://app.buddy.works/acme/shop/a/1"


@pytest.mark.parametrize(
    ("command", "url", "text"),
    [
        ("list", URL, "1"),
        ("cases", URL, "#1"),
        *(("list", url, None) for url in (None, "javascript:alert(1)", "https://a b", "https://\x07", "https://é")),
    ],
)
def test_sessions_are_links(
    command: str, url: str | None, text: str | None, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If their URLs are those of the web, and with colours."""
    suite = fake.add_suite(*A.split("/"))
    suite.create(status="ERROR", cases=[{"name": "fails", "status": "FAILED"}], html_url=url)
    terminal = use_terminal(monkeypatch, "stdout", dumb=False)
    assert run([command, A]) == 0
    assert "\x1b]8" not in terminal.getvalue()
    monkeypatch.delenv("NO_COLOR")
    assert run([command, A]) == 0
    found = re.findall(r"\x1b\]8;id=[^;]*;([^\x1b]*)\x1b\\(.*?)\x1b\]8;;\x1b\\", terminal.getvalue())
    links = [(re.sub(r"\x1b\[[0-9;]*m", "", text).strip(), url) for url, text in found]
    assert links == ([] if text is None else [(text, url)])
