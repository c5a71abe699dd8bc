"""The one notation of durations in options, `30s` or `7d`, and times: a duration before now, or a date."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token
from cyclopts.validators import Number

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}  # seconds
_PART = "([0-9]{1,9}(?:[.][0-9]{1,9})?)(ms|[smhdw])"
_NUMBER = re.compile("[0-9]{1,12}(?:[.][0-9]{1,9})?")
_METAVAR = "DURATION"
_LONGEST = 99_999 * _UNITS["w"]  # before the year 1, there is no datetime


def parse_duration(text: str) -> float:
    """Return the seconds that a text names: `30s`, `5m`, `2h`, `90d`, `4m08s`; a bare number is seconds."""
    if re.fullmatch(f"(?:{_PART})+", text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
    else:
        seconds = float(text) if _NUMBER.fullmatch(text) else math.inf
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is not a duration: write 30s, 5m, 2h or 90d; a number alone is seconds")
    return seconds


def parse_since(text: str, now: datetime) -> datetime:
    """Return the time that a text names: a duration such as `24h` or `7d` before now, or a time in ISO 8601."""
    try:
        if text[-1:].isalpha() and text[-1] != "Z":  # a number alone could be a year
            return now - timedelta(seconds=parse_duration(text))
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: write 24h, 7d or 2w for the time since then, or a date such as 2026-01-31 or "
            "2026-01-31T08:30+01:00"
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _convert_age(_: Any, tokens: Sequence[Token]) -> timedelta:
    text = tokens[0].value
    seconds = parse_duration(text)
    if text[-1].isdecimal():
        raise ValueError(f"{text!r} has no unit: write 24h, 90d or 12w")
    if seconds < _UNITS["h"]:  # somebody may mean months
        raise ValueError(f"{text!r} is less than an hour: write 24h, 90d or 12w")
    return timedelta(seconds=seconds)


Since: TypeAlias = Annotated[
    datetime | None,
    Parameter(
        converter=lambda _, tokens: parse_since(tokens[0].value, datetime.now(UTC)),
        metavar="TIME",
        help="Only sessions created since then: a duration such as 7d, or a time such as 2026-01-31 (UTC).",
    ),
]
"""The type of the option --since."""

Duration: TypeAlias = Annotated[
    float,
    Parameter(converter=lambda _, tokens: parse_duration(tokens[0].value), metavar=_METAVAR, show_default=False),
]
"""The type of an option such as --max-wait 30m, in seconds."""

Timeout: TypeAlias = Annotated[Duration, Parameter(validator=Number(gt=0))]
"""The type of an option such as --timeout 30m, in seconds: above zero."""

Age: TypeAlias = Annotated[timedelta, Parameter(converter=_convert_age, metavar=_METAVAR)]
"""The type of an option such as --keep 90d: at least an hour."""
