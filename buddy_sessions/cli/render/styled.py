"""Texts with colours and links for terminals: statuses, names, marks of sessions. A pipe gets the text alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich.style import Style
from rich.text import Text

from buddy_sessions import Session, SessionStatus, TestKey, TestStatus
from buddy_sessions.models import FAILING

from .text import SHORT_HASH, UNKNOWN, author_name, one_line, web_url

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
    """Return who started the CI run."""
    return plain(author_name(session) or UNKNOWN)


def name_text(key: TestKey) -> Text:
    """Return the name of a test, its last part in bold."""
    before, separator, name = one_line(str(key)).rpartition(" > ")
    return Text.assemble(before, separator, (name, "bold"))


def sparkline(sessions: Sequence[Session]) -> Text:
    """Return one mark per session, the newest on the right. `sessions` are newest first."""
    marks = {SessionStatus.SUCCESSFUL: _PASSED_MARK, SessionStatus.ERROR: _FAILED_MARK}
    return Text.assemble(*(marks.get(session.status, _OTHER_MARK) for session in reversed(sessions)))


def recent_marks(statuses: Iterable[TestStatus]) -> Text:
    """Return one mark for each of the last statuses of a test, the newest on the right."""
    return Text.assemble(*(_FAILED_MARK if status in FAILING else _PASSED_MARK for status in statuses))


def plain(text: str | None) -> Text:
    """Return uploaded text on one line, without colour."""
    return Text(one_line(text or UNKNOWN))


def link(text: Text, url: str | None) -> Text:
    """Return the text as a link (OSC 8), except with NO_COLOR, or if the URL is not one of the web in plain ASCII."""
    if web_url(url) and not os.environ.get("NO_COLOR"):
        text.stylize(Style(link=url))
    return text
