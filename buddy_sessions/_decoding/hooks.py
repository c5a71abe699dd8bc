"""The rules of decoding: how JSON is read, and one hook for cattrs for each kind of field of the API's objects.

Strict where coercion would mislead: `"7"` is not a whole number, neither are `true` and `1.5`. Tolerant where Buddy may
change: unknown fields are ignored, unknown enum values are kept, `1.0` is a whole number, and each field except `id`,
`relative_id` and `status` may be null or missing; of a test case, except `id`, `name` and `status`. A whole number must
fit in 64 bits, as in SQLite. A numeric `id` becomes a string: Buddy's OpenAPI types say int32, its responses contain
strings. A time before 1970, such as the zero time of some languages, is none.

Each hook handles null itself: a wrapper for optional fields would cost a second call for each of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import Any, NoReturn, get_args, get_type_hints

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ..models import CIProvider, Failure, Member, RefType, Session, SessionStatus, Suite, SuiteKey, TestCase, TestStatus

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1

FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)

# One escape after the other, so that an escaped backslash begins none. The group is half a pair.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD]")

_JSON_TEXT_OR_SEPARATOR = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|([,\[{])', re.DOTALL)


def fields_of(model: type, *types: type) -> tuple[str, ...]:
    """Return the names of the fields of a model whose values may have one of these types."""
    hints = get_type_hints(model).items()
    return tuple(name for name, annotation in hints if {annotation, *get_args(annotation)}.intersection(types))


def decode_json(text: str) -> Any:
    """Return the value of a JSON text. Raises ValueError or RecursionError if it is not valid, also for NaN.

    Half of a surrogate pair, which JSON allows and UTF-8 does not, becomes U+FFFD, so that ids agree.
    """
    if "\\" in text and _SURROGATE.search(text):  # a search for one character costs nothing
        text = _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)
    return _JSON.decode(text)


def has_more_values(body: bytes, max_values: int) -> bool:
    """Return whether JSON has more values than that: in memory, a short one such as `[]` takes 20 times its size."""
    # Each value needs a separator of one byte, and counting takes as long as decoding.
    if len(body) <= max_values or sum(map(body.count, (b",", b"[", b"{"))) <= max_values:
        return False
    # A long text may contain as many, for instance the `data` of a test case.
    separators = (match for match in _JSON_TEXT_OR_SEPARATOR.finditer(body) if match.lastindex)
    return next(islice(separators, max_values, None), None) is not None


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


_JSON = json.JSONDecoder(parse_constant=_reject_constant)  # by default, it accepts NaN and Infinity

_JSON_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a decimal number",
    type(None): "null",
}


def make_converter(read_failure: Callable[[str], Failure | None], *, detailed_validation: bool) -> cattrs.Converter:
    """Return a converter that follows the rules. Detailed validation takes longer; its errors name the field.

    `read_failure` returns the failure in the `data` of a test case.
    """

    def structure_failure(data: Any, _: object) -> Failure | None:
        return read_failure(data) if data and type(data) is str else None

    converter = cattrs.Converter(detailed_validation=detailed_validation)
    converter.register_structure_hook(str, _type_hook("a string", str))
    converter.register_structure_hook(str | None, _type_hook("a string", str, type(None)))
    converter.register_structure_hook(bool | None, _type_hook("true or false", bool, type(None)))
    converter.register_structure_hook(int | None, _structure_optional_integer)
    converter.register_structure_hook(int | float | None, _structure_optional_number)
    converter.register_structure_hook(datetime | None, _structure_optional_time)
    converter.register_unstructure_hook(datetime, unstructure_time)
    converter.register_structure_hook(SuiteKey, lambda value, _: SuiteKey(*value))
    for enum in (SessionStatus, TestStatus, CIProvider, RefType):
        converter.register_structure_hook(enum, _enum_hook(enum, optional=False))
        converter.register_structure_hook(enum | None, _enum_hook(enum, optional=True))
        converter.register_unstructure_hook(enum, attrgetter("value"))

    converter.register_structure_hook(Member | None, _member_hook(make_dict_structure_fn(Member, converter)))
    identifier = override(struct_hook=_structure_identifier)
    relative_id = override(struct_hook=_structure_relative_id)
    session = make_dict_structure_fn(Session, converter, id=identifier, relative_id=relative_id)
    suite = make_dict_structure_fn(Suite, converter, id=identifier, key=override(struct_hook=lambda key, _: key))
    case = make_dict_structure_fn(
        TestCase,
        converter,
        id=identifier,
        test_group_id=override(struct_hook=_structure_optional_identifier),
        failure=override(rename="data", struct_hook=structure_failure),
    )
    converter.register_structure_hook(Session, session)
    converter.register_structure_hook(Suite, suite)
    converter.register_structure_hook(TestCase, case)
    converter.register_unstructure_hook(Suite, make_dict_unstructure_fn(Suite, converter, key=override(omit=True)))
    return converter


def wrong_type(expected: str, value: object) -> ValueError:
    """Return the error for a value of another type. It names the type: the value may be long or private."""
    return ValueError(f"must be {expected}, not {_JSON_TYPES.get(type(value), type(value).__name__)}")


def unstructure_time(moment: datetime) -> str:
    """Return a time as ISO 8601 text in UTC."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def _type_hook(expected: str, *types: type) -> Callable[[Any, object], Any]:
    def structure(value: Any, _: object) -> Any:
        if type(value) in types:
            return value
        raise wrong_type(expected, value)

    return structure


def _structure_identifier(value: Any, _: object) -> str:
    if type(value) is str:
        return value
    if type(value) is int and MIN_INTEGER <= value <= MAX_INTEGER:
        return str(value)
    raise _wrong_number("a string or a whole number", value)


def _structure_optional_identifier(value: Any, _: object) -> str | None:
    return None if value is None else _structure_identifier(value, _)


def _structure_relative_id(value: Any, _: object) -> int:
    number = _structure_optional_integer(value, _)
    if number is None:
        raise wrong_type("a whole number", value)
    if number < 1:
        raise ValueError("must be at least 1")
    if number == MAX_INTEGER:
        raise ValueError(f"must be below {MAX_INTEGER}")  # the next number must fit in 64 bits, too
    return number


def _structure_optional_integer(value: Any, _: object) -> int | None:
    if value is None or (type(value) is int and MIN_INTEGER <= value <= MAX_INTEGER):
        return value
    if type(value) is float and value.is_integer():
        return _structure_optional_integer(int(value), _)
    raise _wrong_number("a whole number", value)


def _structure_optional_number(value: Any, _: object) -> int | float | None:
    if value is None or (type(value) is int and MIN_INTEGER <= value <= MAX_INTEGER):
        return value
    if type(value) is not float:
        raise _wrong_number("a number", value)
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _wrong_number(expected: str, value: object) -> ValueError:
    return ValueError("must fit in 64 bits") if type(value) is int else wrong_type(expected, value)


def _structure_optional_time(value: Any, _: object) -> datetime | None:
    if value is None:
        return None
    if type(value) is not str:
        raise wrong_type("an ISO 8601 time", value)
    if len(value) > len("2025-10-21"):  # a date alone is not a time
        try:
            moment = datetime.fromisoformat(value.upper())  # Python does not accept "z", which RFC 3339 allows
            if moment.tzinfo is not UTC:  # Buddy's times are in UTC
                moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            return moment if moment >= FIRST_TIME else None
    raise ValueError("must be an ISO 8601 time")  # the value may be private


def _enum_hook(enum: type[StrEnum], *, optional: bool) -> Callable[[Any, object], StrEnum | None]:
    members = {member.value: member for member in enum}  # this lookup takes a quarter of the time of `enum(value)`

    def structure_enum(value: Any, _: object) -> StrEnum | None:
        if type(value) is str:
            return members.get(value) or enum(value)
        if value is None and optional:
            return None
        raise wrong_type("a string", value)

    return structure_enum


def _member_hook(structure: Callable[[dict[str, Any], Any], Member]) -> Callable[[Any, object], Member | None]:
    def structure_member(value: Any, _: object) -> Member | None:
        if value is None or type(value) is Member:  # a store reads each member once
            return value
        if type(value) is dict:
            return structure(value, Member)
        raise wrong_type("an object", value)

    return structure_member
