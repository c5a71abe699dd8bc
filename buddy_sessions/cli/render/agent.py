"""Text for agents: that of the Markdown without its entities, at most 24,000 characters, and how to get the rest.

Names, messages and traces can contain any text, also instructions. They are put between two tags with a random number,
which they cannot contain: a test that was written before cannot know the number, and whatever looks like such a tag, or
is a control character, is replaced.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from attrs import evolve

from buddy_sessions._base.figures import format_count
from buddy_sessions.analysis import FailingTest, Judgement

from .markdown import Style, cause_line, fact_lines, item_line, verdict
from .result import CommandResult, Item, Section, failing_item
from .text import cut, escape, one_line, share, trace_of, web_url

MAX_RESULT = 24_000  # the maximum number of characters of a result

_RESERVE = 600  # characters for the tags and the last line
_MAX_NAME = 300
_MAX_FACT = 700
_ALL_TRACES = 10_000  # characters
_SHORTEST_TRACE, _LONGEST_TRACE = 200, 2_400
_ONLY_TRACE = 20_000  # of a result with one test
_LOOKS_LIKE_TAG = re.compile(r"<(?=\s*/?\s*untrusted)", re.IGNORECASE)
_NO_TAG = "\u2039"  # looks like <


def enclose(text: str) -> str:
    """Return uploaded text between tags, on lines of their own, without control characters; cut if it is too long."""
    tag = f"untrusted-{secrets.token_hex(8)}"
    lines = "\n".join(map(escape, text.split("\n")))
    if rest := lines[MAX_RESULT - _RESERVE :]:
        lines = f"{lines[: -len(rest)]}\n… and {len(rest):,} more characters"
    return f"<{tag}>\n{_LOOKS_LIKE_TAG.sub(_NO_TAG, lines)}\n</{tag}>"


def render_for_agent(result: CommandResult, *, offset: int = 0, hint: str = "") -> str:
    """Return the verdict of a result, its facts and as many items as fit between tags, and how to get the others.

    `offset` is the number of items that were on earlier pages; `hint`, what else can be asked: only that and the
    verdict are not between the tags.
    """
    head = verdict(result)
    lines = [] if offset else fact_lines(result, _STYLE)
    if result.sessions and not offset:
        lines += filter(None, [cut(web_url(result.sessions[0].html_url), _MAX_NAME)])
    count, heading = 0, ""
    room = MAX_RESULT - _RESERVE - len(head) - len(hint) - sum(len(each) + 1 for each in lines)
    for title, line in islice(_lines(result), offset, None):
        new = [line] if title in {"", heading} else ["", title, line]
        room -= sum(len(each) + 1 for each in new)
        if room < 0:
            hint = f"This is not all: for the next, call the tool again with offset={offset + count}. {hint}"
            break
        lines += new
        heading, count = title, count + 1
    if offset and not count:
        hint = f"Nothing follows: the result has only {len(result.items):,}, and offset was {offset:,}."
    return "\n".join(filter(None, [head, enclose("\n".join(lines).lstrip("\n")) if lines else "", hint.strip()]))


def _shown_name(name: str) -> str:
    """Return the name of a test as it is shown. Of a long one, … stands for the middle, as in `find_tests`."""
    text = one_line(name)
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME // 2]}…{text[-_MAX_NAME // 2 :]}"


_STYLE = Style(_shown_name, lambda text: cut(text, _MAX_FACT), lambda text, _url: text)


def _lines(result: CommandResult) -> Iterator[tuple[str, str]]:
    """Yield a heading and a line for each item. Below the title of a section is the trace of its first failure."""
    limit = share(_ALL_TRACES, len(result.sections), shortest=_SHORTEST_TRACE, longest=_LONGEST_TRACE)
    limit = _ONLY_TRACE if len(result.items) == 1 else limit
    for section in result.sections:
        heading = cut(section.title, _MAX_NAME)
        case = section.items[0].case if section.items else None
        if case is not None and case.failure is not None and (trace := trace_of(case.failure, limit=limit)):
            heading += f"\n{trace}"
        for item in section.items:
            yield heading, f"- {item_line(item, result.columns, _STYLE)}"


def group_by_cause(items: Sequence[Item], causes: Mapping[str, tuple[object, str]]) -> list[Section]:
    """Return the red suites by their cause, that of most suites first; then those with another one, then the others.

    `causes` are what the causes of suites are compared by, and notes about them, by the key of the suite.
    """
    others: list[Item] = []
    by_cause: dict[object, list[tuple[Item, str]]] = {}
    for item in items:
        row = item.row or {}
        if row["status"] == "red":
            template, note = causes.get(row["key"], (row["key"], ""))
            by_cause.setdefault(template, []).append((item, note))
        else:
            others.append(item)
    groups = sorted(by_cause.values(), key=len, reverse=True)
    shared = [
        Section(
            f"{len(same):,} red suites: {same[0][0].remark}", [evolve(item, remark=note.strip()) for item, note in same]
        )
        for same in groups
        if len(same) > 1
    ]
    single = [evolve(item, remark=note + item.remark) for same in groups if len(same) == 1 for item, note in same]
    return [*shared, Section("Red suites", single), Section("Other suites", others)]


def list_causes(judgement: Judgement) -> list[Section]:
    """Return the failing tests by cause. Those whose messages were not read come last."""

    def describe(test: FailingTest) -> Item:
        item = failing_item(judgement, test)
        return evolve(item, remark="; ".join(filter(None, (test.novelty, item.remark))) if test.counts else item.remark)

    sections = [Section(cause_line(cause, _STYLE), list(map(describe, cause.tests))) for cause in judgement.causes]
    if unread := [test for test in judgement.tests if not test.case.has_details]:
        title = f"{format_count(len(unread), 'test')}: messages that were not read"
        sections.append(Section(title, list(map(describe, unread))))
    return sections
