"""Text for agents: what matters first, at most 24,000 characters, and how to get the rest.

Names, messages and traces are the text of others, and may contain instructions. They are put between two tags with a
random number, which they cannot contain: a test that was written before cannot know the number, and whatever looks like
such a tag, or is a control character, is replaced.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from buddy_sessions import RefType, Session, TestKey
from buddy_sessions.analysis.judgement import count_failing, newest_streak

from .text import escape, format_age, format_count, format_duration, one_line, web_url

MAX_RESULT = 24_000
"""The maximum number of characters of a result."""

_RESERVE = 600  # characters for the tags and the last line
_MAX_NAME = 300
_MAX_FIELD = 120
_HASH = 12  # digits of a commit: enough to name it
_LOOKS_LIKE_TAG = re.compile(r"<(?=\s*/?\s*untrusted)", re.IGNORECASE)
_NO_TAG = "\u2039"  # looks like <
_REFS = {RefType.BRANCH: "branch ", RefType.TAG: "tag ", RefType.PULL_REQUEST: "pull request "}


@dataclass(frozen=True)
class Row:
    """One of the things that a result lists. Rows that follow each other with the same heading share it."""

    text: str
    heading: str = ""


def enclose(text: str) -> str:
    """Return text of others between tags, on lines of their own, without control characters."""
    tag = f"untrusted-{secrets.token_hex(8)}"
    lines = "\n".join(map(escape, text.split("\n")))
    return f"<{tag}>\n{_LOOKS_LIKE_TAG.sub(_NO_TAG, lines)}\n</{tag}>"


def render(
    head: str, facts: Sequence[str], rows: Iterable[Row], *, offset: int = 0, more: bool = False, hint: str = ""
) -> str:
    """Return a result: `head`, the facts and as many rows as fit between tags, and how to get the others.

    Args:
        head: The first line. Only this and `hint` are not between the tags.
        facts: Lines that only the first page has.
        rows: What the result lists, from `offset` on.
        offset: The number of rows that were on earlier pages.
        more: Whether there are others after `rows`.
        hint: What else can be asked.
    """
    lines = [] if offset else [*facts]
    room = MAX_RESULT - _RESERVE - len(head) - len(hint) - sum(len(line) + 1 for line in lines)
    heading, count = "", 0
    for row in rows:
        new = [row.text] if row.heading in {"", heading} else ["", row.heading, row.text]
        room -= sum(len(line) + 1 for line in new)
        if room < 0:
            more = True
            break
        lines += new
        heading, count = row.heading, count + 1
    if more:
        hint = f"This is not all: for the next, call the tool again with offset={offset + count}. {hint}"
    elif offset and not count:
        hint = f"There is nothing at offset={offset}. {hint}"
    return "\n".join(filter(None, [head, enclose("\n".join(lines)) if lines else "", hint.strip()]))


def cut(text: str, limit: int = _MAX_FIELD) -> str:
    """Return a text on one line, cut to `limit` characters."""
    text = one_line(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def name_of(key: TestKey) -> str:
    """Return the name of a test as it is shown. A long one is cut, and ends with a number that is its own."""
    name = full_name(key)
    if len(name) <= _MAX_NAME:
        return name
    return f"{name[:_MAX_NAME]}…{hashlib.sha256(str(key).encode(errors='replace')).hexdigest()[:8]}"


def full_name(key: TestKey) -> str:
    """Return all of the name of a test, as text that can be shown."""
    return _LOOKS_LIKE_TAG.sub(_NO_TAG, one_line(str(key)))


def find_keys(keys: Iterable[TestKey], text: str) -> list[TestKey]:
    """Return the tests that a text names: those that are shown so, or else those whose names contain it."""
    found = list(dict.fromkeys(keys))
    wanted = full_name(TestKey(None, None, text))
    exact = [key for key in found if wanted in {name_of(key), full_name(key)}]
    return exact or [key for key in found if wanted.lower() in full_name(key).lower()]


def origin(session: Session) -> str:
    """Return of which commit a session is, by whom, and when: `commit 755b691cfff3, by Ada Novak, 2026-11-26 …`."""
    author = session.created_by.name if session.created_by is not None else None
    created = session.create_date
    parts = [
        f"commit {one_line(session.revision)[:_HASH]}" if session.revision else "",
        f"by {cut(author)}" if author else "",
        f"{created:%Y-%m-%d %H:%M} UTC, {format_age(created, datetime.now(UTC))}" if created else "",
    ]
    return ", ".join(filter(None, parts))


def session_text(session: Session) -> str:
    """Return a session on one line: what the tests did, its branch, its origin, and its page."""
    kind = _REFS.get(session.ref_type, "") if session.ref_type else ""
    tests = session.tests_count
    parts = [
        f"#{session.relative_id} {cut(session.status)}",
        f"{count_failing(session) or 0:,} of {format_count(tests, 'test')} failed" if tests else "",
        f"{kind}{cut(session.ref_name)}" if session.ref_name else "",
        origin(session),
        format_duration(session.duration) if session.is_finished and session.duration is not None else "",
        cut(web_url(session.html_url), 300),
        f"error: {cut(session.error_message, 300)}" if session.error_message else "",
    ]
    return ", ".join(filter(None, parts))


def streak_text(sessions: Sequence[Session]) -> str:
    """Return whether a branch is red or green, and since when. `sessions` are those with a verdict, newest first."""
    streak = newest_streak(sessions)
    first, before = streak.first, streak.before
    state = "red" if first.is_failing else "green"
    text = f"{cut(sessions[0].branch or 'all sessions')} is {state} since {streak} ({origin(first)})"
    text += f", {streak.length:,} sessions in a row" if streak.length > 1 else ""
    if before is not None:
        text += f"; before that, #{before.relative_id} {'failed' if before.is_failing else 'passed'}"
        text += f" ({origin(before)})"
    return text
