"""Text for agents: that of the Markdown without its entities, at most 24,000 characters, and how to get the rest.

Names, messages and traces can contain any text, also instructions. They are put between two tags with a random number,
which they cannot contain: a test that was written before cannot know the number, and whatever looks like such a tag, or
is a control character, is replaced.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain, islice

from attrs import evolve

from buddy_sessions import AuthenticationError, BuddyError, ForbiddenError, NotFoundError, RateLimitError, Suite
from buddy_sessions._base.figures import format_count
from buddy_sessions.analysis import FailingTest, Judgement

from .markdown import Style, cause_line, fact_lines, item_line, verdict
from .result import CommandResult, Item, Section, failing_item
from .text import cut, escape, one_line, share, trace_of, web_url

MAX_RESULT = 24_000  # the maximum number of characters of a result

MAX_SUITE_NAME = 40  # characters

_MAX_SIMILAR = 5  # suites that an error names
_RESERVE = 600  # characters for the tags and the last line
_MAX_NAME = 300
_MAX_FACT = 700
_ALL_FACTS, _SHORTEST_FACT = 8_000, 100  # characters
_ALL_TRACES = 10_000
_SHORTEST_TRACE, _LONGEST_TRACE = 200, 2_400
_ONLY_TRACE = 14_000  # of a result with one test
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
    page = [cut(web_url(session.html_url), _MAX_NAME) for session in result.sessions[:1]]
    facts = [] if offset else [*fact_lines(result, _STYLE), *filter(None, page)]
    lines = [cut(each, share(_ALL_FACTS, len(facts), shortest=_SHORTEST_FACT, longest=_MAX_FACT)) for each in facts]
    count, previous = 0, -1
    room = MAX_RESULT - _RESERVE - len(head) - len(hint) - sum(len(each) + 1 for each in lines)
    for number, title, line in islice(_lines(result), offset, None):
        new = [line] if not title or number == previous else ["", title, line]
        room -= sum(len(each) + 1 for each in new)
        if room < 0 and count:  # otherwise, the next page would be this one
            hint = f"This is not all: for the next, call the tool again with offset={offset + count}. {hint}"
            break
        lines += new
        previous, count = number, count + 1
    return "\n".join(filter(None, [head, enclose("\n".join(lines).lstrip("\n")) if lines else "", hint.strip()]))


def _shown_name(name: str) -> str:
    """Return the name of a test as it is shown. Of a long one, … stands for the middle, as in `find_tests`."""
    text = one_line(name)
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME // 2]}…{text[-_MAX_NAME // 2 :]}"


_STYLE = Style(_shown_name, lambda text: cut(text, _MAX_FACT), lambda text, _url: text)


def _lines(result: CommandResult) -> Iterator[tuple[int, str, str]]:
    """Yield for each item its section, a heading and a line. Below the title is the trace of the first failure."""
    max_length = share(_ALL_TRACES, len(result.sections), shortest=_SHORTEST_TRACE, longest=_LONGEST_TRACE)
    if [len(section.items) for section in result.sections] == [1]:
        max_length = _ONLY_TRACE
    for number, section in enumerate(result.sections):
        heading = cut(section.title, _MAX_NAME)
        case = section.items[0].case if section.items else None
        if case is not None and case.failure is not None and (trace := trace_of(case.failure, max_length=max_length)):
            heading = "\n".join(filter(None, (heading, trace)))
        for item in section.items:
            yield number, heading, f"- {item_line(item, result.columns, _STYLE)}"


def group_by_cause(items: Sequence[Item], causes: Mapping[str, tuple[object, str]]) -> list[Section]:
    """Return the red suites by their causes, then the others.

    The order is that of the items: the cause of the suite that turned red last comes first.
    `causes` are what the causes of suites are compared by, and notes about them, by the key of the suite.
    """
    others: list[Item] = []
    by_cause: dict[object, tuple[str, list[Item]]] = {}
    for item in items:
        row = item.row or {}
        if row["status"] == "red":
            template, note = causes.get(row["key"], (None, ""))
            _, same = by_cause.setdefault(template, (item.remark or "the cause was not read", []))
            same.append(evolve(item, remark=note.strip()))
        else:
            others.append(item)
    red = [Section(f"{format_count(len(same), 'red suite')}: {cause}", same) for cause, same in by_cause.values()]
    return [*red, Section("Other suites", others)]


def list_causes(judgement: Judgement) -> list[Section]:
    """Return the failing tests by cause. Those whose messages were not read come last."""
    groups = [(cause_line(cause, _STYLE), cause.tests) for cause in judgement.causes]
    if unread := [test for test in judgement.tests if not test.case.has_details]:
        groups.append((f"{format_count(len(unread), 'test')}: messages that were not read", unread))
    return [Section(title, [describe_failing(judgement, test) for test in tests]) for title, tests in groups]


def describe_failing(judgement: Judgement, test: FailingTest) -> Item:
    """Return a failing test, whose remark also says whether it is new, or failed before."""
    item = failing_item(judgement, test)
    return evolve(item, remark="; ".join(filter(None, (test.novelty, item.remark))) if test.counts else item.remark)


def similar_names(suites: Iterable[Suite], text: str) -> str:
    """Return the names and keys of suites with a similar name, also behind their project; an empty text for none."""
    ordered = sorted(suites, key=lambda suite: suite.key)
    names = {suite.key: {suite.name or "", f"{suite.key.project} {suite.name}"} for suite in ordered}
    distinct = sorted({*chain.from_iterable(names.values())})
    close = [name for name in distinct if text.casefold() in name.casefold()]
    close = close or get_close_matches(text, distinct, n=_MAX_SIMILAR)  # the closest one first
    keys = dict.fromkeys(key for name in close for key in names if name in names[key])
    similar = [f"{cut(min(names[key], key=len), MAX_SUITE_NAME)} ({key})" for key in keys]
    more = f" or {len(similar) - _MAX_SIMILAR:,} others" if similar[_MAX_SIMILAR:] else ""
    return " or ".join(similar[:_MAX_SIMILAR]) + more


def render_error(error: BuddyError, tool: str, arguments: Mapping[str, str]) -> str:
    """Return an error of a tool between tags, and below them what to do, which contains no uploaded text."""
    about, message = cut(arguments.get("suite") or arguments.get("project", "")), error.without_advice
    message = message if about in message else f"{about}: {message}"
    text = enclose("\n".join([message, *getattr(error, "__notes__", ())]))
    return "\n".join(filter(None, (text, _advise(error, tool, arguments))))


def _advise(error: BuddyError, tool: str, arguments: Mapping[str, str]) -> str:
    """Return what to do about an error of a tool with these arguments: never to call the same one again."""
    if isinstance(error, AuthenticationError | ForbiddenError):
        return f"You cannot fix this: the user must {error.advice}, then restart this server."
    if isinstance(error, NotFoundError):
        # The URL without a project is that of a workspace.
        advice = 'list_suites of the workspace shows its suites, green ones with status="green". '
        return f"{advice if '/projects/' in error.url else ''}Ask the user for the name."
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        return f"retry_after: {math.ceil(error.retry_after)} seconds. Do not call a tool before."
    if "cases" in error.arguments:
        wanted = "all" if '"all"' in error.advice else "the failing"
        problem = "You cannot fix this"
        if wanted == "all" and tool == "get_test_history":
            problem = (
                "No failing test of the last commits has this name, and tests that passed are not saved. get_failures "
                "shows how failing tests are named. For one that passed"
            )
        return f"{problem}: the user must sync the database, with {wanted} test cases."
    named = " or ".join(name for name in ("session", "old", "new", "branch") if arguments.get(name))
    other = f"call again with another {named}, or without it, for the latest commit" if named else ""
    advice = "tell the user: Buddy does not respond as it should" if error.retryable else error.advice or other
    is_possible = error.retryable or set(error.arguments).issubset(arguments)
    return f"{advice[0].upper()}{advice[1:]}." if advice and is_possible else ""
