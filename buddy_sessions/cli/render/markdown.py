"""Markdown for a comment or a job summary: a headline, the causes, the tests with their traces, within a size.

Names, messages and traces are the text of others: each stays text in GitHub's Markdown, whatever it contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as escape_html
from itertools import islice
from typing import TextIO
from urllib.parse import quote

from buddy_sessions import Failure, Session, SuiteKey, TestKey
from buddy_sessions.analysis.judgement import Cause

from .failure_text import cause_text, trace_of
from .rows import prepare_stream
from .table import ref_text
from .text import UNKNOWN, format_count, one_line, web_url

DEFAULT_MAX_BYTES = 65_000
"""Fits in a comment of GitHub, which has at most 65,536 characters."""
MIN_BYTES = 16_000
"""What a headline may need if all its texts are long."""

_MAX_TEXT = 300  # characters of a name or a message
_MAX_BRANCH = 80
_SHORT_REVISION = 7
_MAX_URL = 300
_MAX_LINKS = 5  # in a headline
_MAX_CAUSES = 20
_TRACE_LIMITS = (16_000, 4_000, 1_000)  # characters
_RESERVE = 200  # bytes for each title and for what is left out

_MARKUP = re.compile(r"[!#$&*:<>@\[\\\]^_`{|}~]|(?<=www)\.", re.IGNORECASE)
"""What could begin markup, a link, a mention, an emoji or a formula, unless it is written as an entity."""
_MENTION = "@\u200b"  # a zero-width space after it: nobody is notified


@dataclass(frozen=True)
class Entry:
    """A test, a remark in Markdown, and the failure to show."""

    key: TestKey
    note: str = ""
    failure: Failure | None = None


@dataclass(frozen=True)
class Section:
    """Tests below a title."""

    title: str
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Page:
    """What a command says. `headline` and `facts` are Markdown: put the text of others into `code` or `link`."""

    command: str
    suite: SuiteKey
    headline: str
    facts: Sequence[str]
    sections: Sequence[Section]
    causes: Sequence[Cause] = ()


def code(text: str, *, limit: int = _MAX_TEXT) -> str:
    """Return a text of others in the style of code, on one line, cut to `limit` characters."""
    text = one_line(text)
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return f"<code>{_MARKUP.sub(_entity, text)}</code>"


def link(text: str, url: str | None) -> str:
    """Return a link to a page of the web; only the text if the URL is another one. `text` is not escaped."""
    target = escape_html(web_url(url))
    return f'<a href="{target}">{text}</a>' if 0 < len(target) <= _MAX_URL else text


def places(*sessions: Session) -> str:
    """Return the branch of the first session, and links to all: `main #384, #383`."""
    links = [link(f"#{session.relative_id}", session.html_url) for session in sessions[:_MAX_LINKS]]
    more = f" and {len(sessions) - _MAX_LINKS:,} more" if len(sessions) > _MAX_LINKS else ""
    branch = ref_text(sessions[0].ref_type, sessions[0].ref_name).plain
    return f"{code(branch, limit=_MAX_BRANCH)} {', '.join(links)}{more}"


def headline(text: str, *sessions: Session, is_red: bool) -> str:
    """Return a headline: the verdict, and the sessions that it is about."""
    return f"{'❌' if is_red else '✅'} {text}: {places(*sessions)}"


def suite_facts(suite: SuiteKey, session: Session) -> str:
    """Return the suite of a session, and its commit."""
    return f"Suite {code(str(suite))}, commit {code((session.revision or UNKNOWN)[:_SHORT_REVISION])}"


def write_markdown(stream: TextIO, page: Page, *, max_bytes: int) -> None:
    """Write a page as `render_markdown` returns it."""
    prepare_stream(stream)
    stream.write(render_markdown(page, max_bytes=max_bytes))
    stream.flush()


def render_markdown(page: Page, *, max_bytes: int) -> str:
    """Return a page of at most `max_bytes` bytes in UTF-8 (at least `MIN_BYTES`), which says what it leaves out.

    Names take at most three quarters of the space, and traces what remains. One test of each cause is first. The first
    line is a comment that nobody sees. It is the same on each page of a command about a suite, so that a bot finds the
    comment to replace.
    """
    head = [f"<!-- buddy-sessions {page.command} {quote(str(page.suite))} -->", f"## {page.headline}", *page.facts]
    budget = max_bytes - _size("\n\n".join(head)) - _RESERVE * (len(page.sections) + 2)
    causes, budget = _take(map(_cause, page.causes[:_MAX_CAUSES]), budget)
    if more := len(page.causes) - len(causes):
        causes.append(f"… and {format_count(more, 'more cause')}")
    if causes:
        head += ["### Causes", "".join(map(_item, causes)).rstrip()]

    ranks = {test.case.key: rank for cause in page.causes for rank, test in enumerate(cause.tests)}
    sections = [sorted(section.entries, key=lambda entry: ranks.get(entry.key, 0)) for section in page.sections]
    entries = [entry for section in sections for entry in section]
    names, rest = _take((f"{code(str(entry.key))} {entry.note}".rstrip() for entry in entries), budget * 3 // 4)
    traces = _choose_traces(entries[: len(names)], names, rest + budget // 4)
    shown = zip(names, traces, strict=True)
    blocks = [_render_section(section, list(islice(shown, len(section.entries)))) for section in page.sections]
    left_out = {
        "trace": sum(bool(_trace(entry, 1)) for entry in entries) - sum(map(bool, traces)),
        "name": len(entries) - len(names),
    }
    parts = [format_count(number, what) for what, number in left_out.items() if number]
    foot = f"Left out, to fit in {max_bytes:,} bytes: {' and '.join(parts)}." if parts else ""
    return "\n\n".join(filter(None, [*head, *blocks, foot])) + "\n"


def _choose_traces(entries: Sequence[Entry], names: Sequence[str], budget: int) -> list[str]:
    """Return a trace for each name: the longest of which all fit, otherwise the shortest, of as many tests as fit."""
    traces: list[str] = []
    costs: list[int] = []
    for limit in _TRACE_LIMITS:
        traces = [_trace(entry, limit) for entry in entries]
        costs = [_size(_block(name, trace)) if trace else 0 for name, trace in zip(names, traces, strict=True)]
        if sum(costs) <= budget:
            break
    for index, cost in enumerate(costs):
        if cost <= budget:
            budget -= cost
        else:
            traces[index] = ""
    return traces


def _take(texts: Iterable[str], budget: int) -> tuple[list[str], int]:
    """Return the first texts that fit as items of a list, and the bytes that remain."""
    taken: list[str] = []
    for text in texts:
        cost = _size(_item(text))
        if cost > budget:
            break
        budget -= cost
        taken.append(text)
    return taken, budget


def _render_section(section: Section, shown: Sequence[tuple[str, str]]) -> str:
    """Return the title, the tests with a trace, and a list of the others."""
    if not section.entries:
        return ""
    blocks = [_block(name, trace) for name, trace in shown if trace]
    items = [_item(name) for name, trace in shown if not trace]
    if more := len(section.entries) - len(shown):
        items.append(_item(f"… and {format_count(more, 'more test')}"))
    return f"### {section.title} ({len(section.entries):,})\n\n{''.join([*blocks, *items])}".rstrip()


def _cause(cause: Cause) -> str:
    return f"{format_count(len(cause.tests), 'test')}: {code(cause_text(cause))}"


def _item(text: str) -> str:
    return f"- {text}\n"


def _block(name: str, trace: str) -> str:
    return f"<details><summary>{name}</summary>\n\n{trace}\n\n</details>\n\n"


def _trace(entry: Entry, limit: int) -> str:
    """Return the trace of a test as a code block that no line of the trace can end; "" if there is none."""
    text = trace_of(entry.failure, limit=limit) if entry.failure is not None else ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.replace('@', _MENTION)}\n{fence}" if text else ""


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};" + (_MENTION[1:] if match[0] == "@" else "")


def _size(text: str) -> int:
    return len(text.encode())
