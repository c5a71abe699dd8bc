"""Text for terminals: numbers, ages and durations, and escaped text of the server.

A server can send any text, including escape sequences. It must reach a terminal only through `escape`.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

from buddy_sessions import Stats

UNKNOWN = "-"
"""The text of an unknown value."""

_WEB_URL = re.compile("https?://[!-~]+", re.IGNORECASE)

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_MONTH, _YEAR = 2_629_800, 31_557_600  # on average

_AGE_UNITS = (
    (_MINUTE, "s", 1),
    (_HOUR, "min", _MINUTE),
    (48 * _HOUR, "h", _HOUR),
    (60 * _DAY, "d", _DAY),
    (730 * _DAY, "mo", _MONTH),
)
"""Each unit of an age: the seconds up to which it is used, its name, and its length in seconds."""

_DURATION_UNITS = ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "m"), (_MINUTE, "m", 1, "s"))


def escape(text: str) -> str:
    """Return `text` with every unprintable character escaped as in JSON."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


def one_line(text: str) -> str:
    """Return `text` on one line, escaped."""
    return escape(" ".join(text.split()))


def web_url(url: str | None) -> str:
    """Return the URL if it is safe as a link: of the web, in plain ASCII; otherwise an empty text."""
    return url if url is not None and _WEB_URL.fullmatch(url) else ""


def format_count(number: int, noun: str) -> str:
    """Return a number and its noun in singular or plural: `1 request`, `1,300 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_requests(stats: Stats) -> str:
    """Return the numbers of requests and retries: `3 requests (1 repeated)`."""
    repeated = f" ({stats.retries:,} repeated)" if stats.retries else ""
    return format_count(stats.requests, "request") + repeated


def format_age(moment: datetime | None, now: datetime) -> str:
    """Return the age of a moment: `3 h ago`. A moment in the future has the age 0, because clocks differ."""
    if moment is None:
        return UNKNOWN
    seconds = max(0, int((now - moment).total_seconds()))
    for limit, unit, size in _AGE_UNITS:
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
    return f"{seconds // _YEAR} y ago"


def format_duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `0.4s`, `42s`, `3m05s`, `2h07m`, `3d04h`."""
    if seconds is None:
        return UNKNOWN
    if 0 < seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller_unit in _DURATION_UNITS:
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // smaller_size:02}{smaller_unit}"
    return f"{whole}s"


def format_test_time(seconds: float | None) -> str:
    """Return the duration of a test: `40ms`, or as `format_duration` from one second on."""
    if seconds is None or not 0 < seconds < 0.9995:
        return format_duration(seconds)
    return f"{max(1, round(1000 * seconds))}ms"
