"""How a report writes what there is to say: its templates and charts take their words from here."""

from __future__ import annotations

import re
from datetime import date, datetime

from buddy_sessions import Session, SessionStatus

from .figures import Growth, Ref, Share
from .output import NOTHING, count, length
from .tables import ref, status

_LINK = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_TONES = {SessionStatus.SUCCESSFUL: "good", SessionStatus.ERROR: "bad"}
_TIMES = {1: "day", 7: "week", 28: "four weeks"}


def day(of: date) -> str:
    """Return a day: `2 Nov 2026`."""
    return f"{of.day} {of:%b} {of.year}"


def clock(of: datetime) -> str:
    """Return the time of day, to the minute: `10:16`."""
    return f"{of:%H:%M}"


def moment(of: datetime | None) -> str:
    """Return a moment, to the minute: `2 Nov 2026, 10:16`."""
    return NOTHING if of is None else f"{day(of)}, {clock(of)}"


def duration(session: Session) -> str:
    """Return how long a session took."""
    return length(session.duration if session.finished else None)


def tests(session: Session) -> str:
    """Return a session's counts: `482 tests, 5 failed, 1 with errors`."""
    counts = (session.failed_count, "failed"), (session.error_count, "with errors"), (session.skipped_count, "skipped")
    return ", ".join([count(session.tests_count or 0, "test"), *(f"{size(it)} {what}" for it, what in counts if it)])


def link(url: str | None) -> str:
    """Return an address that may become a link: one of the web. Any other becomes nothing."""
    return url if url is not None and _LINK.fullmatch(url) else ""


def outcome(session: Session) -> str:
    """Return a session's status as a symbol and a word."""
    return status(session).plain


def tone(session: Session) -> str:
    """Return the class that colours a status; the word next to it says the same."""
    return _TONES.get(session.status, "other")


def share(of: Share) -> str:
    """Return a share: `93 %`."""
    return NOTHING if of.percent is None else f"{of.percent} %"


def signed(percent: int | None) -> str:
    """Return a change, with its sign: `+12 %`."""
    return NOTHING if percent is None else f"{percent:+,} %".replace("-", "\N{MINUS SIGN}")


def times(days: int) -> str:
    """Return the name of a period: `day`, `week`, `91 days`."""
    return _TIMES.get(days, f"{days:,} days")


def branch(of: Ref | None) -> str:
    """Return a branch's name; that of a tag or pull request after the word for it."""
    return "all branches" if of is None else ref(*of).plain


def growth(of: Growth) -> str:
    """Return what a growth was from and to."""
    written = length if of.measure == "duration" else size
    return f"{written(of.before)} → {written(of.recent)}"


def size(number: float | None) -> str:
    """Return a number: `1,300`, `0.5`."""
    return NOTHING if number is None else f"{number:,.1f}".removesuffix(".0")
