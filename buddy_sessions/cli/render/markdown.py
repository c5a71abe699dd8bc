"""Markdown for a comment or a job summary: a headline, the causes, the tests with their traces, within a size.

Names, messages and traces can contain any text: in GitHub's Markdown, it stays text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape as escape_html
from itertools import islice, zip_longest
from typing import NamedTuple
from urllib.parse import quote

from attrs import evolve

from buddy_sessions import Session
from buddy_sessions._base.figures import format_count
from buddy_sessions.analysis.baseline import Cause

from .result import MAX_SESSIONS, Column, CommandResult, Item, Section
from .text import (
    UNKNOWN,
    cause_text,
    count_marks,
    cut,
    one_line,
    session_facts,
    share,
    trace_of,
    web_url,
    without_commands,
)

DEFAULT_MAX_BYTES = 65_000  # fits in a comment of GitHub, which has at most 65,536 characters
MIN_BYTES = 16_000  # what a headline may need if all its texts are long

_MAX_TEXT = 300  # characters of a name or a message
_MAX_URL = 300
_MAX_MARKS = 3  # of a cause
_MAX_CAUSES = 20
_MARKS = {True: "❌ ", False: "✅ ", None: ""}
_SHORTEST_TRACE, _LONGEST_TRACE = 1_000, 16_000  # characters
_SMALL_TRACE, _SPACE_OF_TRACE = 100, 8_000  # bytes: no more traces fit; with fewer traces, names are left out

_MARKUP = re.compile(
    r"""(?x)
      [`$~@]
    | (?<!\s)\* | \*(?!\s)                    # emphasis
    | (?<!\w)_+ | _+(?!\w)                    # emphasis, which no _ within a word begins or ends
    | <(?=[a-z/!?]|$) | &(?=\#?\w+;)          # HTML
    | \](?=[(\[]) | ^\[ | :(?=//) | (?<=www)\.     # links
    | :(?=(?:100|1234|[\w+-]*[a-z+-][\w+-]*):)      # an emoji
    | \\(?=[!-/:-@\[-`{-~]|$)                 # a backslash that escapes what follows
    | ^\#(?=\#*(?:\s|$)) | ^>                 # a heading, a quotation
    | ^:(?=:) | (?<=\#\#)\[                   # a workflow command, in a log of GitHub
    """,
    re.IGNORECASE,
)
"""What would be markup, a link, a mention, an emoji or a formula, unless it is written as an entity."""
_REFERENCE = re.compile("(?:#|GH-)[0-9]+(?![0-9;])|(?:@\u200b[\\w-]*)+", re.IGNORECASE)
"""What GitHub links: issues and people. It links nothing in code."""
_ENTITIES = {"<": "&lt;", "&": "&amp;"}
_MENTION = "@\u200b"  # a zero-width space after it: nobody is notified


class Style(NamedTuple):
    """How Markdown shows texts: `name` names of tests and messages, `text` any other uploaded text, `link` a link."""

    name: Callable[[str], str]
    text: Callable[[str], str]
    link: Callable[[str, str | None], str]


def code(text: str) -> str:
    """Return any text in the style of code."""
    return f"<code>{_escape(text)}</code>"


def escape_markup(text: str) -> str:
    """Return a text on one line, cut if it is long, in which nothing begins markup. References are code: `#7`."""
    return _REFERENCE.sub(r"<code>\g<0></code>", _escape(text))


def _escape(text: str) -> str:
    return _MARKUP.sub(_entity, cut(text, _MAX_TEXT))


def html_link(text: str, url: str | None) -> str:
    """Return a link to a page of the web; only the text if the URL is another one. `text` is not escaped."""
    target = escape_html(web_url(url))
    return f'<a href="{target}">{text}</a>' if 0 < len(target) <= _MAX_URL else text


GITHUB = Style(code, escape_markup, html_link)


def fact_lines(result: CommandResult, style: Style) -> list[str]:
    """Return which sessions a result is about, and what it rests on."""
    said = "\n".join([*result.problems, *result.facts])
    sessions = [_session_line(session, style, said) for session in result.sessions[:MAX_SESSIONS]]
    if more := len(result.sessions) - len(sessions):
        sessions.append(f"and {format_count(more, 'more session')}")
    sessions += [f"Compared with {_session_line(session, style, said)}" for session in result.old[:MAX_SESSIONS]]
    lines = [] if result.sessions else [result.about]
    lines += [*result.warnings[:MAX_SESSIONS], *result.problems, *result.facts, *result.advice]
    return sessions + [style.text(line) for line in filter(None, lines)]


def _session_line(session: Session, style: Style, said: str) -> str:
    """Return what is known of a session. Its error is left out if it was said."""
    session = evolve(session, error_message=None) if (session.error_message or "") in said else session
    first, *others = map(style.text, session_facts(session))
    return ", ".join([style.link(first, session.html_url), *others])


def cause_line(cause: Cause, style: Style) -> str:
    """Return how many tests have a cause, which of them are new, and what it is: `3 tests (2 new, 1 flaky): …`."""
    counts = count_marks(cause.tests)[:_MAX_MARKS]
    marks = [counts[0][0]] if len(counts) == 1 else [f"{count:,} {mark}" for mark, count in counts]
    count = format_count(len(cause.tests), "test") + (f" ({style.text(', '.join(marks))})" if marks else "")
    return f"{count}: {style.name(cause_text(cause))}"


def item_line(item: Item, columns: Sequence[Column], style: Style) -> str:
    """Return an item on one line: its name, or else its first cell, which has the link, and what else is known."""
    shown = [(column, str(cell)) for column, cell in zip(columns, item.cells, strict=False)]
    shown = [(column, cell) for column, cell in shown if cell not in {"", UNKNOWN}]
    facts = [column.phrase.format(cell) for column, cell in shown if column.phrase]
    facts += [item.remark] if item.remark else []
    name = style.name(str(item.key)) if item.key is not None else style.text(facts.pop(0))
    separator = ", " if item.key is None else ": "
    return separator.join(filter(None, (style.link(name, item.url), style.text(", ".join(facts)))))


def verdict(result: CommandResult) -> str:
    """Return the verdict. It contains no uploaded text."""
    numbers = "".join(f" #{session.relative_id}" for session in result.sessions[:1])
    about = f": {one_line(str(result.suite))}{numbers}" if result.suite is not None else ""
    return f"{_MARKS[result.is_red]}{result.title}{about}"


def render_markdown(result: CommandResult, *, max_bytes: int) -> str:
    """Return a text of at most `max_bytes` bytes in UTF-8 (at least `MIN_BYTES`), which says what it leaves out.

    Traces but a few are left out first, then names, then facts and causes. One test of each cause is first. The first
    line is a comment that nobody sees. It is the same on each page of a command about a suite, so that a bot finds the
    comment to replace.
    """
    about = f" {quote(str(result.suite))}" if result.suite is not None else ""
    head = [f"<!-- buddy-sessions {result.command}{about} -->", f"## {escape_markup(verdict(result))}"]
    facts, causes = fact_lines(result, GITHUB), [cause_line(cause, GITHUB) for cause in result.causes[:_MAX_CAUSES]]
    ranks = {str(test.case.key): rank for cause in result.causes for rank, test in enumerate(cause.tests)}
    sections = [sorted(each.items, key=lambda item: ranks.get(str(item.key), len(ranks))) for each in result.sections]
    items = [item for section in sections for item in section]
    names, has_trace = [item_line(item, result.columns, GITHUB) for item in items], [bool(_trace(x, 1)) for x in items]
    lines, named = max(len(facts), len(causes)), len(items)  # of which so many are shown, and so many traces:
    traced = min(named, max_bytes // _SMALL_TRACE)
    while True:
        max_length = share(max_bytes // 2, traced, shortest=_SHORTEST_TRACE, longest=_LONGEST_TRACE)
        traces = [_trace(item, max_length) for item in items[: min(traced, named)]]
        shown = zip_longest(names[:named], traces, fillvalue="")
        parts = [*head, *facts[:lines], _render_causes(causes[:lines], len(result.causes))]
        parts += [_render_section(each, list(islice(shown, len(each.items)))) for each in result.sections]
        left_out = {"fact": len(facts[lines:]), "trace": sum(has_trace[len(traces) :]), "name": len(items) - named}
        counts = " and ".join(format_count(count, what) for what, count in left_out.items() if count)
        parts += [f"Left out, to fit in {max_bytes:,} bytes: {counts}."] if counts else []
        text = "\n\n".join(filter(None, parts)) + "\n"
        if len(text.encode()) <= max_bytes or not (named or lines):
            return text
        if traced > max_bytes // _SPACE_OF_TRACE:
            traced = traced * 3 // 4
        elif named:
            named = named * 3 // 4
        else:
            lines = lines * 3 // 4


def _render_causes(causes: Sequence[str], count: int) -> str:
    more = [f"… and {format_count(count - len(causes), 'more cause')}"] if count > len(causes) else []
    return "### Causes\n\n" + "".join(map(_item, [*causes, *more])).rstrip() if causes else ""


def _render_section(section: Section, shown: Sequence[tuple[str, str]]) -> str:
    if not section.items:
        return ""
    traces = [f"<summary>{name}</summary>\n\n{trace}" for name, trace in shown if trace]
    blocks = [f"<details>{each}\n\n</details>\n\n" for each in traces]
    items = [_item(name) for name, trace in shown if not trace]
    if more := len(section.items) - len(shown):
        red = sum((item.row or {}).get("status") == "red" for item in section.items[len(shown) :])  # suites
        items.append(_item(f"… and {more:,} more" + (f", {red:,} of them red" if red else "")))
    title = f"### {escape_markup(section.title)}\n\n" if section.title else ""
    return f"{title}{''.join([*blocks, *items])}".rstrip()


def _item(text: str) -> str:
    return f"- {text}\n"


def _trace(item: Item, max_length: int) -> str:
    """Return the trace of a test as a code block that no line of the trace can end; "" if there is none."""
    failure = item.case.failure if item.case is not None else None
    text = trace_of(failure, max_length=max_length) if failure is not None else ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{without_commands(text.replace('@', _MENTION))}\n{fence}" if text else ""


def _entity(match: re.Match[str]) -> str:
    return _MENTION if match[0] == "@" else "".join(_ENTITIES.get(each, f"&#{ord(each)};") for each in match[0])
