"""Times that options name: relative ones such as `7d`, and dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_RELATIVE = re.compile("([0-9]{1,5})([hdw])")


def parse_age(text: str) -> timedelta | None:
    """Return the age that a text such as `24h`, `7d` or `2w` names; None if it names none."""
    if match := _RELATIVE.fullmatch(text):
        number, unit = match.groups()
        return timedelta(**{_UNITS[unit]: int(number)})
    return None


def parse_since(text: str, now: datetime) -> datetime:
    """Return the time that a text names: `24h`, `7d` or `2w` before now, or a time in ISO 8601."""
    if (age := parse_age(text)) is not None:
        return now - age
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: write 24h, 7d or 2w for the time since then, or a date such as 2026-01-31 or "
            "2026-01-31T08:30+01:00 (without an offset, it is UTC)"
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _convert(_: Any, tokens: Sequence[Token]) -> datetime:
    return parse_since(tokens[0].value, datetime.now(UTC))


def _convert_age(_: Any, tokens: Sequence[Token]) -> timedelta:
    age = parse_age(tokens[0].value)
    if not age:
        raise ValueError(f"{tokens[0].value!r} is not an age: write 24h, 90d or 12w")
    return age


Since: TypeAlias = Annotated[
    datetime | None,
    Parameter(
        converter=_convert,
        help="Only sessions created in the last 24h, 7d or 2w, or since a time such as 2026-01-31 (UTC).",
    ),
]
"""The type of the option --since."""

Age: TypeAlias = Annotated[timedelta, Parameter(converter=_convert_age)]
"""The type of the option --keep."""
