"""Text for people: numbers, ages, sessions and failures; with colours and links for terminals. A pipe gets it plain.

A server can send any text, including escape sequences. It must reach a terminal only through `escape`.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.style import Style
from rich.text import Text

from buddy_sessions import Failure, RefType, Session, SessionStatus, TestKey
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions.analysis.baseline import Baseline, Cause, FailingTest
from buddy_sessions.analysis.causes import read_message, says_nothing, without_library_frames
from buddy_sessions.analysis.remarks import name_sessions

_MAX_AUTHOR = 18  # characters
UNKNOWN = "-"  # the text of an unknown value

HASH, SHORT_HASH = 12, 7
"""How many digits of the hash of a commit name it, and how many are shown where there is little space."""

_REF_LABELS = {RefType.TAG: "tag ", RefType.PULL_REQUEST: "PR "}

_MAX_FIELD = 120  # characters
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COMMAND = re.compile(r"^(?=\s*::)|(?<=##)(?=\[)", re.MULTILINE)
_WEB_URL = re.compile("https?://[!-~]+", re.IGNORECASE)

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_MONTH, _YEAR = 2_629_800, 31_557_600  # on average

_AGE_UNITS = (
    (_MINUTE, "s", 1),
    (_HOUR, "min", _MINUTE),
    (48 * _HOUR, "h", _HOUR),
    (2 * _MONTH, "d", _DAY),
    (2 * _YEAR, "mo", _MONTH),
)
"""Each unit of an age: the seconds up to which it is used, its name, and its length in seconds."""

_STATUSES = {
    "SUCCESSFUL": ("✔", "passed", "green"),
    "PASSED": ("✔", "passed", "green"),
    "FAILED": ("✘", "failed", "bold red"),
    "ERROR": ("✘", "error", "bold red"),
    "SKIPPED": ("○", "skipped", "yellow"),
    "IN_PROGRESS": ("◌", "running", "cyan"),
}


def escape(text: str) -> str:
    """Return `text` with every unprintable character escaped as in JSON."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


def one_line(text: str) -> str:
    """Return `text` on one line, escaped."""
    return escape(" ".join(text.split()))


def without_commands(text: str) -> str:
    """Return a text in which no line is a workflow command of GitHub: `::` at its beginning, or `##[` anywhere."""
    return _COMMAND.sub("\u200b", text)


def web_url(url: str | None) -> str:
    """Return the URL if it is safe as a link: of the web, in plain ASCII; otherwise an empty text."""
    return url if url is not None and _WEB_URL.fullmatch(url) else ""


def format_age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was: `3 h ago`."""
    return UNKNOWN if moment is None else f"{age_of(moment, now)} ago"


def age_of(moment: datetime | None, now: datetime) -> str:
    """Return the age of a moment: `3 h`. A moment in the future has the age 0, because clocks differ."""
    if moment is None:
        return UNKNOWN
    seconds = max(0, int((now - moment).total_seconds()))
    for bound, unit, size in _AGE_UNITS:
        if seconds < bound:
            return f"{seconds // size} {unit}"
    return f"{seconds // _YEAR} y"


def format_moment(moment: datetime) -> str:
    """Return a day and a time: `2026-11-26 14:05 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def message_of(failure: Failure) -> str:
    """Return the message of a failure after its type, unless the message begins with it."""
    message = failure.message or ""
    is_typed = failure.type is not None and message.startswith(failure.type)
    return ": ".join(filter(None, ("" if is_typed else failure.type, message)))


def summary_of(failure: Failure) -> str:
    """Return the message of a failure on one line; if it says nothing, what its text says."""
    message = message_of(failure)
    if says_nothing(failure.message or ""):
        message = ": ".join(filter(None, read_message(failure))) or message or (failure.text or "").partition("\n")[0]
    return one_line(message)


def trace_of(failure: Failure, *, max_length: int) -> str:
    """Return the message, unless the stack trace contains it, and the stack trace, without the frames of libraries.

    Of more than `max_length` characters, both ends remain, and how many were left out.
    """
    message, text = message_of(failure), without_library_frames(failure.text or "")
    parts = [part for part in ("" if (failure.message or message) in text else message, text) if part.strip()]
    lines = [line for part in parts for line in _COLOUR.sub("", part).splitlines()]
    trace = "\n".join(escape(line.expandtabs().rstrip()) for line in lines)
    if len(trace) <= max_length:
        return trace
    half = max_length // 2
    return f"{trace[:half]}\n… {len(trace) - 2 * half:,} characters left out …\n{trace[-half:]}"


def count_read_messages(tests: Sequence[FailingTest]) -> str:
    """Return of how many failing tests the messages were read, if not of all: `50 of 900 messages read`."""
    read = sum(test.case.has_details for test in tests)
    return f"{read:,} of {format_count(len(tests), 'message')} read" if read < len(tests) else ""


def cause_text(cause: Cause) -> str:
    """Return the type, and the message of one test or what several have in common; a message precedes a place."""
    failure, message = cause.tests[0].case.failure, one_line(cause.template)
    if failure is not None and cause.is_place:
        first = cut((failure.message or "").removeprefix(f"{cause.type}: "))
        message = " ".join(filter(None, (first, message)))
    elif failure is not None and len(cause.tests) == 1:
        message = cut(read_message(failure)[1])
    return ": ".join(filter(None, (cause.type, message))) or "no message"


def cut(text: str, max_length: int = _MAX_FIELD) -> str:
    """Return a text on one line, cut to `max_length` characters."""
    text = one_line(text)
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def share(space: int, count: int, *, shortest: int, longest: int) -> int:
    """Return to how many characters each of so many texts is cut to fit in a space."""
    return min(longest, max(shortest, space // max(1, count)))


def ref_name(session: Session) -> str:
    """Return the name of what was tested: `main`, `tag v1.0`, `PR pull/7`."""
    label = _REF_LABELS.get(session.ref_type, "") if session.ref_type else ""
    return label + (session.ref_name or UNKNOWN)


def session_duration(session: Session) -> str:
    """Return how long a session took; empty while it is running, or if that is not known."""
    return format_duration(session.duration) if session.is_finished and session.duration is not None else ""


def author_name(session: Session) -> str:
    """Return who started the CI run; empty if that is not known, as on GitHub."""
    return (session.created_by.name or "") if session.created_by is not None else ""


def origin(session: Session) -> str:
    """Return the commit, the author and the time of a session: `commit 755b691cfff3, by Ada Novak, 2026-11-26 …`."""
    parts = (
        f"commit {cut(session.revision[:HASH])}" if session.revision else "",
        f"by {cut(author)}" if (author := author_name(session)) else "",
        format_moment(session.create_date) if session.create_date else "",
    )
    return ", ".join(filter(None, parts))


def session_facts(session: Session) -> list[str]:
    """Return what the tests of a session did, its branch and its origin."""
    tests = session.tests_count
    parts = [
        f"#{session.relative_id} {cut(session.status)}",
        f"{session.failing_count or 0:,} of {format_count(tests, 'test')} failed" if tests else "",
        cut(ref_name(session)) if session.ref_name else "",
        origin(session),
        session_duration(session),
        f"error: {cut(session.error_message, 300)}" if session.error_message else "",
    ]
    return list(filter(None, parts))


def count_marks(tests: Iterable[FailingTest]) -> list[tuple[str, int]]:
    """Return the marks of tests, and how many have each: `("new", 3), ("failing since #380", 7)`. `new` is first."""
    counts: Counter[str] = Counter()
    for test in tests:
        if test.since is not None and test.novelty == "known":
            counts[f"failing since #{test.since.first.relative_id}"] += 1
        elif test.novelty is not None:
            counts[test.novelty] += 1
    return sorted(counts.items(), key=lambda item: (item[0] != "new", -item[1]))


def remark_text(test: FailingTest, baseline: Baseline | None) -> str:
    """Return why a failing test does not count, or whether it may be of another change; "" if nothing says so."""
    if test.entry is not None:
        return f"quarantined until {test.entry.until}" + (f": {test.entry.reason}" if test.entry.reason else "")
    if test.novelty == "retried":
        return f"retried: it also passed in #{test.session.relative_id}"
    if test.failed_elsewhere:
        others = "another branch" if test.failed_elsewhere == 1 else f"{test.failed_elsewhere:,} other branches"
        return f"it also failed on {others} lately"
    if baseline is None or test.counts:
        return ""
    count = format_count(len(baseline.commits), "commit")
    since = f", failing since #{test.since.first.relative_id}" if test.since is not None else ""
    return f"{test.novelty}: failed in {test.failed_in} of the {count} of {baseline.branch} before{since}"


def count_sessions(sessions: Sequence[Session]) -> str:
    """Return the number of sessions and the range of their `relative_id`s: `10 sessions, #373 to #382`."""
    return f"{format_count(len(sessions), 'session')}, {session_range(sessions)}"


def session_range(sessions: Iterable[Session]) -> str:
    """Return the range of the `relative_id`s of sessions: `#373 to #382`; empty if there are none."""
    numbers = sorted(session.relative_id for session in sessions)
    return " to ".join(f"#{number}" for number in sorted({*numbers[:1], *numbers[-1:]}))


def unread_text(sessions: Sequence[Session]) -> str:
    """Return that sessions are left out whose failing tests cannot be read; empty if there are none."""
    return f"left out {count_sessions(sessions)}: not all of their failing tests can be read" if sessions else ""


def unfinished_text(sessions: Iterable[Session]) -> str:
    """Return which of these sessions have not finished; empty if all have."""
    running = [session for session in sessions if not session.is_finished]
    return f"{name_sessions(running)}: not finished" if running else ""


def status_text(session: Session) -> Text:
    """Return the status of a session as a symbol and a word, in its colour."""
    return status_mark("FAILED" if session.status == SessionStatus.ERROR else session.status)


def status_mark(status: str) -> Text:
    """Return the status of a test or a session as a symbol and a word, in its colour."""
    symbol, word, style = _STATUSES.get(status) or ("?", one_line(status).lower(), "magenta")
    return Text(f"{symbol} {word}", style)


def number_text(session: Session) -> Text:
    """Return the `relative_id` of a session, which links to the session in Buddy: `#7`."""
    return link(Text(f"#{session.relative_id}", "bold"), session.html_url)


def revision_text(session: Session) -> Text:
    """Return the first digits of the commit."""
    return plain(session.revision and session.revision[:SHORT_HASH])


def author_text(session: Session) -> Text:
    """Return who started the CI run, for a line or a table: other facts need the space of a long name."""
    return plain(cut(author_name(session), _MAX_AUTHOR))


def name_text(key: TestKey) -> Text:
    """Return the name of a test, its last part in bold."""
    before, separator, name = one_line(str(key)).rpartition(" > ")
    return Text.assemble(before, separator, (name, "bold"))


def plain(text: str | None) -> Text:
    """Return uploaded text on one line, without colour."""
    return Text(one_line(text or UNKNOWN))


def link(text: Text, url: str | None) -> Text:
    """Return the text as a link (OSC 8), except with NO_COLOR, or if the URL is not one of the web in plain ASCII."""
    if web_url(url) and not os.environ.get("NO_COLOR"):
        text.stylize(Style(link=url))
    return text
