"""The formats of dates, numbers and sessions in the templates and charts of a report."""

from __future__ import annotations

import re
from datetime import date, datetime

from buddy_sessions import Session, SessionStatus

from ..formatting import UNKNOWN, format_count, format_duration
from .suite_statistics import Growth, PassRate

_WEB_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_STATUS_CLASSES = {SessionStatus.SUCCESSFUL: "good", SessionStatus.ERROR: "bad"}
_PERIODS = {1: "day", 7: "week", 28: "four weeks"}
_MINUS = "\N{MINUS SIGN}"


def day(value: date) -> str:
    """Return a day: `2 Nov 2026`."""
    return f"{value.day} {value:%b} {value.year}"


def moment(value: datetime | None) -> str:
    """Return a day and a time: `2 Nov 2026, 10:16`."""
    return UNKNOWN if value is None else f"{day(value)}, {value:%H:%M}"


def number(value: float | None) -> str:
    """Return a number with at most one decimal: `1,300`, `0.5`."""
    return UNKNOWN if value is None else f"{value:,.1f}".removesuffix(".0")


def percent(rate: PassRate) -> str:
    """Return a pass rate: `93 %`."""
    return UNKNOWN if rate.percent is None else f"{rate.percent} %"


def signed_percent(value: int | None) -> str:
    """Return a change with its sign: `+12 %`."""
    return UNKNOWN if value is None else f"{value:+,} %".replace("-", _MINUS)


def period(days: int) -> str:
    """Return the name of a period: `day`, `week`, `91 days`."""
    return _PERIODS.get(days, f"{days:,} days")


def growth_values(growth: Growth) -> str:
    """Return the medians before and after a growth: `1m00s → 1m30s`."""
    format_value = format_duration if growth.measure == "duration" else number
    return f"{format_value(growth.before)} → {format_value(growth.after)}"


def session_tests(session: Session) -> str:
    """Return the counts of a session: `482 tests, 5 failed, 1 with errors`."""
    counts = (session.failed_count, "failed"), (session.error_count, "with errors"), (session.skipped_count, "skipped")
    others = [f"{number(count)} {label}" for count, label in counts if count]
    return ", ".join([format_count(session.tests_count or 0, "test"), *others])


def status_class(session: Session) -> str:
    """Return the CSS class that colours the status of a session."""
    return _STATUS_CLASSES.get(session.status, "other")


def web_url(url: str | None) -> str:
    """Return the URL if it is safe as a link (http or https); otherwise an empty text."""
    return url if url is not None and _WEB_URL.fullmatch(url) else ""
