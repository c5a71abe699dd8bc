"""What a field may hold: cattrs hooks, strict where the stock ones coerce.

`"7"` is no int, `True` is no int, `1.5` is no count. A structure hook takes a value and the field's type.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn


class FieldError(ValueError):
    """A value that its field does not take."""


def kind(value: object) -> str:
    """Name a JSON value's kind, never the value: it may be long, or private."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def string(value: Any, _: Any) -> str:
    """Return text as it is."""
    if type(value) is str:
        return value
    raise FieldError(f"must be a string, not {kind(value)}")


def integer(value: Any, _: Any) -> int:
    """Return a whole number as it is."""
    if type(value) is int:
        return value
    raise FieldError(f"must be a whole number, not {kind(value) if type(value) is not float else value}")


def boolean(value: Any, _: Any) -> bool:
    """Return true or false as it is."""
    if type(value) is bool:
        return value
    raise FieldError(f"must be true or false, not {kind(value)}")


def number(value: Any, _: Any) -> int | float:
    """Return a finite number as it is."""
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    raise FieldError(f"must be a number, not {kind(value) if type(value) is not float else value}")


def number_or_null(value: Any, _: Any) -> int | float | None:
    """Return a finite number or None as it is."""
    return None if value is None else number(value, _)


def utc_datetime(value: Any, _: Any) -> datetime:
    """Return the time that ISO 8601 text tells, in UTC."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is UTC and len(value) < _SHORTEST_TO_ROUND and value[10] == "T":
            return moment
    except (TypeError, ValueError):
        pass
    return _utc_datetime_of_rare_form(value)


_SHORTEST_TO_ROUND = len("2025-10-21T064216.1234567Z")
_ROUNDED_UP = re.compile(r".{8,10}.[0-9:]+[.,][0-9]{6}[5-9]")  # not a fraction in the offset


def _utc_datetime_of_rare_form(value: Any) -> datetime:
    if type(value) is str and len(value) > len("2025-10-21"):
        try:
            moment = datetime.fromisoformat(value.upper())
            # "Dates are ISO 8601 UTC": one without an offset means UTC.
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            # Python cuts what is less than a microsecond, msgspec rounds it.
            return moment + timedelta(microseconds=1) if _ROUNDED_UP.match(value) else moment
        except (ValueError, OverflowError):
            pass
    raise FieldError(f"must be an ISO 8601 time, not {repr(value[:40]) if type(value) is str else kind(value)}")


def identifier(value: Any, _: Any) -> str:
    """Return an id as text."""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise FieldError(f"must be a string or a whole number, not {kind(value)}")


def relative_id(value: Any, _: Any) -> int:
    """Return a number from 1 as it is."""
    if type(value) is int and value > 0:
        return value
    raise FieldError(f"must be a whole number from 1, not {value if type(value) in (int, float) else kind(value)}")


def as_it_is(value: Any, _: Any) -> Any:
    """Return anything as it is."""
    return value


def open_enum(enum: type[StrEnum]) -> Any:
    """Return a hook that makes a member of an enum, of a value that it does not know too."""
    known = {member.value: member for member in enum}.get

    def structure(value: Any, _: Any) -> Any:
        if type(value) is str:
            return known(value) or enum(value)
        raise FieldError(f"must be a string, not {kind(value)}")

    return structure


def only_objects(hook: Any) -> Any:
    """Return a hook that gives objects alone to another one."""
    return lambda value, kind: hook(value, kind) if type(value) is dict else refuse_as_object(value)


def refuse_as_object(value: Any) -> NoReturn:
    """Raise, since this is no object."""
    raise FieldError(f"must be an object, not {kind(value)}")


def isoformat(moment: datetime) -> str:
    """Return a time as ISO 8601 text in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain_string(member: StrEnum) -> str:
    """Return a member's value."""
    return member.value
