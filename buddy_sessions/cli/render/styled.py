"""Texts with colours and links for terminals: statuses, names, marks of sessions. A pipe gets the text alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich.style import Style
from rich.text import Text

from buddy_sessions import Session, SessionStatus, TestKey, TestRun, TestStatus

from .text import SHORT_HASH, UNKNOWN, one_line, started_by, web_url

_STATUSES = {
    "SUCCESSFUL": ("✔", "passed", "green"),
    "PASSED": ("✔", "passed", "green"),
    "FAILED": ("✘", "failed", "bold red"),
    "ERROR": ("✘", "error", "bold red"),
    "SKIPPED": ("○", "skipped", "yellow"),
    "IN_PROGRESS": ("◌", "running", "cyan"),
}
_PASSED_MARK, _FAILED_MARK, _OTHER_MARK = ("▂", "green"), ("█", "bold red"), ("·", "")
RECENT_LEGEND = "▂ passed, █ failed, · neither; the newest is on the right"
"""What the marks of a sparkline mean."""
_RECENT_MARKS = 12  # length of the sparkline of a test


def status_text(session: Session) -> Text:
    """Return the status of a session as a symbol and a word, in its colour."""
    return outcome_text("FAILED" if session.status == SessionStatus.ERROR else session.status)


def outcome_text(status: str) -> Text:
    """Return the status of a test or a session as a symbol and a word, in its colour."""
    symbol, word, style = _STATUSES.get(status) or ("?", one_line(status).lower(), "magenta")
    return Text(f"{symbol} {word}", style)


def number_text(session: Session) -> Text:
    """Return the `relative_id` of a session, which links to the session in Buddy: `#7`."""
    return link(Text(f"#{session.relative_id}", "bold"), session.html_url)


def revision_text(session: Session) -> Text:
    """Return the first digits of the commit."""
    return plain((session.revision or UNKNOWN)[:SHORT_HASH])


def author_text(session: Session) -> Text:
    """Return who started the CI run, or else the run in a short form, which links to its page: `GitHub 1234`."""
    text, run_url = started_by(session)
    return link(plain(text if run_url is None else text.replace(" run ", " ")), run_url)


def name_text(key: TestKey) -> Text:
    """Return the name of a test, its last part in bold."""
    before, separator, name = one_line(str(key)).rpartition(" > ")
    return Text.assemble(before, separator, (name, "bold"))


def sparkline(sessions: Sequence[Session]) -> Text:
    """Return one mark per session, the newest on the right. `sessions` are newest first."""
    marks = {SessionStatus.SUCCESSFUL: _PASSED_MARK, SessionStatus.ERROR: _FAILED_MARK}
    return Text.assemble(*(marks.get(session.status, _OTHER_MARK) for session in reversed(sessions)))


def recent_marks(runs: Sequence[TestRun], keys: Iterable[TestKey]) -> dict[TestKey, Text]:
    """Return one mark per session for each test, the newest on the right. `runs` are oldest first."""
    marks = {key: Text() for key in keys}
    for run in runs[-_RECENT_MARKS:]:
        ran = [case for case in run.cases if case.status != TestStatus.SKIPPED]
        passed = {case.key for case in ran}
        failed = {case.key for case in ran if case.is_failing}
        for key, text in marks.items():
            text.append(*(_FAILED_MARK if key in failed else _PASSED_MARK if key in passed else _OTHER_MARK))
    return marks


def plain(text: str | None) -> Text:
    """Return a text of others on one line, without colour."""
    return Text(one_line(text or UNKNOWN))


def link(text: Text, url: str | None) -> Text:
    """Return the text as a link (OSC 8), except with NO_COLOR, or if the URL is not one of the web in plain ASCII."""
    if web_url(url) and not os.environ.get("NO_COLOR"):
        text.stylize(Style(link=url))
    return text
