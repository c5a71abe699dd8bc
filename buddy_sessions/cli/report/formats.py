"""The formats of dates, numbers and sessions in the templates and charts of a report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from buddy_sessions import Session, SessionStatus

from ..formats.formatting import UNKNOWN, format_duration

_STATUS_CLASSES = {SessionStatus.SUCCESSFUL: "good", SessionStatus.ERROR: "bad"}
_PERIODS = {1: "day", 7: "week", 28: "four weeks"}
_MINUS = "\N{MINUS SIGN}"
_HUGE = 10**8  # such numbers, and seconds, are mistakes, and too long for a table


def day(value: date) -> str:
    """Return a day: `2 Nov 2026`."""
    return f"{value.day} {value:%b} {value.year}"


def moment(value: datetime | None) -> str:
    """Return a day and a time: `2 Nov 2026, 10:16`."""
    return UNKNOWN if value is None else f"{day(value)}, {value:%H:%M}"


def number(value: float | None) -> str:
    """Return a number with at most one decimal: `1,300`, `0.5`. A huge one is short: `4e+18`."""
    if value is None:
        return UNKNOWN
    return f"{value:.0e}" if abs(value) >= _HUGE else f"{value:,.1f}".removesuffix(".0")


def count(value: int, noun: str) -> str:
    """Return a number and its noun in singular or plural: `1 session`, `1,300 sessions`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return a duration: `3m05s`, `0.4s`, `12ms`. A huge one is short: `>3y`."""
    if seconds is None:
        return UNKNOWN
    if seconds >= _HUGE:
        return ">3y"
    if 0 < seconds <= 0.0005:
        return "<1ms"
    return f"{1000 * seconds:.0f}ms" if 0 < seconds < 0.0995 else format_duration(seconds)


def percent(value: float | None) -> str:
    """Return a share: `93 %`. Only all is 100 %, and only none is 0 %: otherwise `>99 %` or `<1 %`."""
    if value is None:
        return UNKNOWN
    if 0 < value <= 0.5:
        return "<1 %"
    return ">99 %" if 99.5 <= value < 100 else f"{value:.0f} %"


def signed_percent(value: float) -> str:
    """Return a change with its sign: `+12 %`."""
    return f"{_MINUS if value < 0 else '+'}{number(round(abs(value)))} %"


def period(days: int) -> str:
    """Return the name of a period: `day`, `week`, `91 days`."""
    return _PERIODS.get(days, f"{days:,} days")


def session_tests(session: Session) -> Iterator[str]:
    """Yield the counts of a session: `482 tests`, `5 failed`, `1 with errors`."""
    yield count(session.tests_count or 0, "test")
    counts = (session.failed_count, "failed"), (session.error_count, "with errors"), (session.skipped_count, "skipped")
    yield from (f"{number(value)} {label}" for value, label in counts if value)


def status_class(session: Session) -> str:
    """Return the CSS class that colours the status of a session."""
    return _STATUS_CLASSES.get(session.status, "other")
