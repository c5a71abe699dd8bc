"""Pages in Markdown, rendered by the parser that GitHub uses."""

from __future__ import annotations

import cmarkgfm  # type: ignore[import-untyped]  # has no types
import pytest
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]  # has no types

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import served
from helpers.html_page import HOSTILE, HtmlPage


def failures_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> HtmlPage:
    """Return what GitHub shows of a session of 210 failing tests, all of whose texts are `text`."""
    failure = dict.fromkeys(("message", "type", "text"), text)
    with served(FakeBuddy()) as fake:
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        suite = fake.add_suite("acme", "shop", "a")
        cases = [{**failure, "name": f"{number} {text}", "status": "FAILED"} for number in range(210)]
        suite.create(id="one", branch=text, revision=text, status="ERROR", cases=cases)
        suite.create(id="two", branch=text, status="ERROR", error_message=text, cases=[])
        pages = []
        for session in ("one", "two"):
            assert run(["failures", "acme/shop/a", session, "--format", "markdown"]) == 0
            pages.append(capsys.readouterr().out)
    markdown = "\n".join(pages)
    assert len(markdown.encode()) <= 130_000
    return HtmlPage(cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE))


def test_text_of_others_stays_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = failures_page(monkeypatch, capsys, HOSTILE)
    plain = failures_page(monkeypatch, capsys, "x" * 250)
    tags, plain_tags = ({(tag, *attrs.items()) for tag, attrs in page.tags} for page in (hostile, plain))
    assert tags == plain_tags
    assert hostile.count("h3") == plain.count("h3")
    assert hostile.count("details") > 5
    assert hostile.mistakes == []
    assert "<script>alert(1)</script>" in hostile.text
