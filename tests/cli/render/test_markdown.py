"""Markdown: within its size, with the most important parts, and whatever text it contains."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from buddy_sessions import Failure, RefType, Session, SessionStatus, SuiteKey, TestCase, TestStatus
from buddy_sessions.analysis.baseline import FailingTest, find_causes
from buddy_sessions.cli.render.markdown import render_markdown
from buddy_sessions.cli.render.result import CommandResult, Item, Section
from buddy_sessions.cli.render.text import one_line, trace_of
from helpers.html_page import HOSTILE, HtmlPage

SUITE = SuiteKey("acme", "shop", "a")


def failed(name: str, message: str, text: str | None = None) -> TestCase:
    failure = Failure(kind="failure", message=message, text=text)
    return TestCase(id=name, name=name, status=TestStatus.FAILED, data="read", failure=failure)


def page_of(*cases: TestCase, branch: str = "main", url: str = "https://app.buddy.works/acme") -> CommandResult:
    status, kind = SessionStatus.ERROR, RefType.BRANCH
    session = Session(id="1", relative_id=1, status=status, ref_name=branch, ref_type=kind, html_url=url)
    items = [Item(case.key, remark=case.name, case=case) for case in cases]
    causes = find_causes([FailingTest(session=session, case=case) for case in cases])
    return CommandResult(
        command="failures",
        suite=SUITE,
        title=f"{len(cases)} tests failed",
        is_red=True,
        sessions=[session] * 9,
        facts=[branch] * 4,
        problems=[branch] * 9,
        sections=[Section(f"New ({len(cases):,})", items)],
        causes=causes,
    )


def rendered(page: CommandResult, *, max_bytes: int = 65_000) -> HtmlPage:
    markdown = render_markdown(page, max_bytes=max_bytes)
    assert len(markdown.encode()) <= max_bytes
    html = HtmlPage(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))
    assert html.mistakes == []
    return html


@pytest.mark.parametrize("text", [HOSTILE, "`" * 1_500, "é日😀" * 500, "@" * 1_500], ids=lambda text: text[0])
def test_failing_tests_are_counted_within_the_size(text: str) -> None:
    cases = [failed(f"{text} {number}", f"{number % 50} {text[:100]}", text) for number in range(400)]
    page = page_of(*cases, branch=text, url=f"https://{'x' * 250}.example")
    for max_bytes in (16_000, 65_000):
        html = rendered(page, max_bytes=max_bytes)
        *_, last = html.raw_text.rstrip().splitlines()
        assert last.strip().startswith(f"Left out, to fit in {max_bytes:,} bytes: ")
        (more,) = re.findall(r"… and (\S+) more(?! session)", html.text)
        *_, after_title = " ".join(tag for tag, _ in html.tags).split("h3")
        tags = after_title.split()
        assert tags.count("li") - 1 + tags.count("summary") + int(more) == 400


def test_traces_are_left_out_before_names_and_causes() -> None:
    """Of each cause, one trace remains."""
    cases = [failed(f"a{number:04}", f"order {number} is lost", f"first\n{'x' * 900}\nlast") for number in range(900)]
    cases += [failed(f"z{number}", "out of memory", f"freed\n{'y' * 900}") for number in range(2)]
    html = rendered(page_of(*cases))
    assert "Causes 900 tests: order <number> is lost 2 tests: out of memory New (902)" in html.text
    assert 2 < html.count("details") < 60
    assert "first\nxxx" in html.raw_text
    assert "freed" in html.text
    assert html.text.count("a0") == 1_800


def test_long_trace_keeps_both_ends() -> None:
    text = rendered(page_of(failed("a", "lost", f"first\n{'x' * 99_999}\nlast"), failed("b", ""))).raw_text
    assert "first\nxxx" in text
    assert "xxx\nlast" in text
    assert "characters left out" in text
    assert "Left out" not in text


TEXTS = st.lists(st.sampled_from([*HOSTILE.split(" "), "\n", "\n\n", " ", "    ", "\t", "~~~", "---", "1."])).map(
    "".join
)


@example(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_text_of_others_stays_text(name: str, message: str, text: str, branch: str) -> None:
    found = rendered(page_of(failed(f"n{name}", f"m{message}", f"t{text}"), branch=f"b{branch}"))
    plain = rendered(page_of(failed("n", "m", "t"), branch="b"))
    tags = [[tag for tag in page.tags if tag[0] != "code"] for page in (found, plain)]  # what GitHub links is code
    assert tags[0] == tags[1]
    assert one_line(f"n{name}")[:250] in found.raw_text
    assert one_line(f"b{branch}")[:75] in found.raw_text
    for line in trace_of(Failure(kind="failure", text=f"t{text}"), max_length=9_999).splitlines():
        assert line in found.raw_text


class LinkedByGitHub(HTMLParser):
    """Finds what GitHub makes a link: it looks at the text of the rendered HTML that is in no link and no code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.open.remove(tag)

    def handle_data(self, data: str) -> None:
        if not {"a", "code", "pre"} & {*self.open}:
            self.found += re.findall(r"#\d+|GH-\d+|@\w+", data)


@pytest.mark.parametrize("url", ["https://app.buddy.works/acme", ""])
def test_github_links_no_number_and_no_name(url: str) -> None:
    text = "order #17 of acme/shop#18 and GH-19 by @ann"
    page = page_of(failed(text, text, text), branch=text, url=url)
    page = evolve(page, title="1 flaky test in 2 sessions, #1 to #2", old=page.sessions[:1], facts=[text])
    html = MarkdownIt("commonmark", {"html": True}).render(render_markdown(page, max_bytes=65_000))
    assert LinkedByGitHub(html).found == []
    assert text in HtmlPage(html).text
