"""Pages in Markdown, rendered by the parser that GitHub uses."""

from __future__ import annotations

from pathlib import Path

import cmarkgfm  # type: ignore[import-untyped]  # has no types
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]  # has no types

from buddy_sessions.testing import FakeBuddy
from helpers.html_page import HOSTILE, HtmlPage
from helpers.recipe_programs import run_program


async def failures_page(fake: FakeBuddy, folder: Path, text: str) -> HtmlPage:
    """Return what GitHub shows of a CI run in which 210 tests fail and a job crashes, and all texts are `text`."""
    names = dict.fromkeys(("message", "type", "text"), text)
    cases = [{**names, "name": f"{number} {text}", "status": "FAILED"} for number in range(210)]
    fake.suites.clear()
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(id="one", branch=text, status="ERROR", revision="cafe" * 10, cases=cases)
    suite.create(id="two", branch=text, status="ERROR", revision="cafe" * 10, cases=[], error_message=text)
    command = ("-m", "buddy_sessions", "failures", "acme/shop/a", "cafecafe", "--format", "markdown")
    markdown = (await run_program(fake, folder, *command)).out
    assert len(markdown.encode()) <= 65_000
    return HtmlPage(cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE))


async def test_text_of_others_stays_text(fake: FakeBuddy, tmp_path: Path) -> None:
    hostile, plain = [await failures_page(fake, tmp_path, text) for text in (HOSTILE, "x" * 250)]
    tags, plain_tags = ({(tag, *attrs.items()) for tag, attrs in page.tags} for page in (hostile, plain))
    assert tags == plain_tags
    assert hostile.count("h3") == plain.count("h3")
    assert hostile.count("details") > 5
    assert hostile.mistakes == []
    assert "<script>alert(1)</script>" in hostile.text
