"""Times and durations that options name: `7d`, and dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile("([0-9]{1,5})([smhdw])")


def _find_duration(text: str) -> timedelta | None:
    """Return the duration that a text names: `30s`, `5m`, `2h`, `7d` or `2w`; None for another text."""
    match = _DURATION.fullmatch(text)
    return None if match is None else timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_since(text: str, now: datetime) -> datetime:
    """Return the time that a text names: a duration such as `24h` or `7d` before now, or a time in ISO 8601."""
    if (duration := _find_duration(text)) is not None:
        return now - duration
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: write 24h, 7d or 2w for the time since then, or a date such as 2026-01-31 or "
            "2026-01-31T08:30+01:00 (without an offset, it is UTC)"
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _convert_since(_: Any, tokens: Sequence[Token]) -> datetime:
    return parse_since(tokens[0].value, datetime.now(UTC))


def _convert_duration(_: Any, tokens: Sequence[Token]) -> timedelta:
    text = tokens[0].value
    duration = _find_duration(text)
    if duration is None:
        raise ValueError(f"{text!r} is not a duration: write a number and its unit, such as 30s, 5m, 2h or 7d")
    return duration


def _convert_age(_: Any, tokens: Sequence[Token]) -> timedelta:
    text = tokens[0].value
    age = _find_duration(text)
    if not age or text[-1] in "sm":  # in "6m", somebody may mean months
        raise ValueError(f"{text!r} is not an age: write 24h, 90d or 12w")
    return age


Since: TypeAlias = Annotated[
    datetime | None,
    Parameter(
        converter=_convert_since,
        help="Only sessions created in the last 24h, 7d or 2w, or since a time such as 2026-01-31 (UTC).",
    ),
]
"""The type of the option --since."""

Duration: TypeAlias = Annotated[timedelta, Parameter(converter=_convert_duration)]
"""The type of an option such as --timeout 30m."""

Age: TypeAlias = Annotated[timedelta, Parameter(converter=_convert_age)]
"""The type of the option --keep."""
