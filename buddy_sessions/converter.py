"""Between JSON and models: the only place that knows what a field may hold.

Strict where stock cattrs coerces: `"7"` is no int, `True` is no int, `1.5` is no count. Tolerant where Buddy is free to
move: unknown fields are ignored, unknown enum values kept, and any field but `id`, `relative_id` and `status` may be
null or missing. A numeric `id` becomes its string: Buddy's OpenAPI types say int32, its answers hold strings.
"""

from __future__ import annotations

import json
import math
import re
from codecs import utf_8_decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, NoReturn, TypeVar

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .errors import DecodeError, ResponseError
from .models import CIProvider, Member, RefType, Session, SessionStatus, Suite, SuiteKey
from .structuring import make_structure_fn

_PIECE = 4096  # bytes
_MAX_MESSAGES = 10
_MAX_MESSAGE_LENGTH = 500  # characters

_ENUMS = (SessionStatus, CIProvider, RefType)

_M = TypeVar("_M", Member, Session, Suite)


class DecodedPage(NamedTuple):
    """What one page of sessions holds."""

    sessions: tuple[Session, ...]
    url: str | None
    html_url: str | None


def make_converter(*, detailed: bool = False) -> cattrs.Converter:
    """Return a new converter that follows this package's rules.

    Args:
        detailed: Whether a failure says where it is, which makes structuring slower.
    """
    converter = cattrs.Converter(detailed_validation=detailed)
    configure_converter(converter)
    return converter


def configure_converter(converter: cattrs.Converter) -> None:
    """Teach `converter` this package's rules for `Session`, `Member` and `Suite`."""
    hooks: list[tuple[Any, Any]] = [
        (str, _string),
        (int, _integer),
        (bool, _boolean),
        (int | float, _number),
        (int | float | None, _number_or_null),
        (datetime, _utc_datetime),
        *((enum, _open_enum(enum)) for enum in _ENUMS),
    ]
    for kind, hook in hooks:
        converter.register_structure_hook(kind, hook)
    models: list[tuple[Any, dict[str, Any]]] = [
        (Member, {}),
        (Session, {"id": _identifier, "relative_id": _relative_id}),
        (Suite, {"id": _identifier, "key": _as_it_is}),
    ]
    for model, own in models:
        if converter.detailed_validation:
            overrides: dict[str, Any] = {name: override(struct_hook=hook) for name, hook in own.items()}
            structure = _only_objects(make_dict_structure_fn(model, converter, **overrides))
        else:
            structure = make_structure_fn(model, converter, _refuse_as_object, **own)
        converter.register_structure_hook(model, structure)
    converter.register_unstructure_hook(Suite, make_dict_unstructure_fn(Suite, converter, key=override(omit=True)))
    converter.register_unstructure_hook(datetime, _isoformat)
    for enum in _ENUMS:
        converter.register_unstructure_hook(enum, _plain_string)
        converter.register_unstructure_hook(enum | None, lambda member: member and _plain_string(member))


def decode_page(body: bytes, *, page: int | None = None) -> DecodedPage:
    """Return what the body of a page of sessions holds.

    Args:
        body: The answer's body, in UTF-8.
        page: The page's number, for the error.

    Raises:
        ResponseError: The body is not JSON.
        DecodeError: It is JSON of another shape.
    """
    fast = _fast_decoder()
    if fast and (decoded := fast(body)):
        return decoded
    document = _load_object(body, page=page)
    sessions = _structure_all(_items(document, "sessions", page), Session, page)
    return DecodedPage(tuple(sessions), _link(document.get("url")), _link(document.get("html_url")))


def decode_suites(body: bytes, *, workspace: str, project: str) -> list[Suite]:
    """Return the suites that the body of a project's list holds.

    Raises:
        ResponseError: The body is not JSON.
        DecodeError: It is JSON of another shape.
    """
    items = _items(_load_object(body), "suites")
    for item in items:
        if type(item) is dict:
            item["key"] = SuiteKey(workspace, project, str(item.get("id")))
    return _structure_all(items, Suite)


def error_messages(body: bytes) -> tuple[str, ...]:
    """Return the messages of an error's body, `{"errors": [{"message": …}]}` (seen in Buddy's Go SDK).

    Never raises: an error's body can be anything. At most ten messages come back, each cut at 500 characters.
    """
    try:
        errors = _load_object(body).get("errors")
    except ResponseError:
        return ()
    messages = (item.get("message") for item in errors if type(item) is dict) if type(errors) is list else ()
    texts = [" ".join(message.split()) for message in messages if type(message) is str]
    return tuple(text[:_MAX_MESSAGE_LENGTH] for text in texts if text)[:_MAX_MESSAGES]


def to_json(model: Session | Suite | Member) -> dict[str, Any]:
    """Return a model as plain JSON values under the API's names: times as ISO 8601 text in UTC, null where unknown."""
    result: dict[str, Any] = _converter().unstructure(model)
    return result


def session_from_json(value: Any) -> Session:
    """Return the session that `to_json` wrote.

    Raises:
        DecodeError: `value` is no session.
    """
    (session,) = _structure_all([value], Session)
    return session


def _load_object(body: bytes, *, page: int | None = None) -> dict[str, Any]:
    if not body or body.isspace():
        raise _not_json("the answer is empty")
    try:
        document = _parse(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        failure = _not_utf8(body, error)
    except (ValueError, RecursionError) as error:  # ValueError: bad JSON
        failure = _not_json(_what_is_wrong(body, error))
    else:
        if type(document) is dict:
            return document
        failure = DecodeError("the answer is not a JSON object", page=page)
    raise failure  # here, where no context is kept: json's errors hold the whole text


def _not_utf8(body: bytes, error: UnicodeDecodeError) -> ResponseError:
    try:
        _parse(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as other:
        return _not_json(_what_is_wrong(body, other))
    # In JSON that came whole: another attempt would bring the same.
    return ResponseError(f"the answer is not UTF-8: {error}")


def _what_is_wrong(body: bytes, error: Exception) -> str:
    return f"the answer is not JSON: {str(error) or type(error).__name__}; it begins {body[:40]!r}"


def _parse(text: str) -> Any:
    try:
        return _JSON.decode(text)
    except ValueError:  # perhaps an int of more digits than Python converts
        return _JSON_WITH_LONG_INTS.decode(text)


def _not_json(message: str) -> ResponseError:
    error = ResponseError(message)
    error.transient = True  # a proxy's page, or a body cut where no length told
    return error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _long_int(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return math.inf  # as 1e999: no field takes it, and what is no field of ours may be anything


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)
# Not the first choice: it costs a call for each int.
_JSON_WITH_LONG_INTS = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_long_int)


def _items(document: dict[str, Any], name: str, page: int | None = None) -> list[Any]:
    items = document.get(name)
    if type(items) is list:
        return items
    problem = f"must be a list, not {_kind(items)}" if name in document else "is missing"
    raise DecodeError(problem, page=page, field=name)


def _link(value: Any) -> str | None:
    return value if type(value) is str else None


@cache
def _fast_decoder() -> Callable[[bytes], DecodedPage | None] | None:
    """Return what decodes a page by msgspec, the extra `[speed]`; None where that is not installed.

    It gives None for whatever it does not take, or takes otherwise than the rules above: cattrs then says what is
    wrong with it, or that nothing is.
    """
    try:
        import msgspec  # noqa: PLC0415 - an extra, and paid for only when the first page comes
    except ImportError:
        return None
    wire = msgspec.defstruct("Page", [("sessions", tuple[Session, ...]), ("url", Any, None), ("html_url", Any, None)])
    decoder = msgspec.json.Decoder(wire)

    def decode(body: bytes) -> DecodedPage | None:
        try:
            page: Any = decoder.decode(body)
            if not body.isascii():
                _check_utf8(body)  # msgspec does not look at the text that it skips
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        for session in page.sessions:
            # Written out: a loop over the three would cost half as much again.
            created, started, finished = session.create_date, session.start_date, session.finish_date
            if (
                session.relative_id < 1
                or (created and created.tzinfo is not UTC)
                or (started and started.tzinfo is not UTC)
                or (finished and finished.tzinfo is not UTC)
            ):
                return None
        return DecodedPage(page.sessions, _link(page.url), _link(page.html_url))

    return decode


def _check_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError unless this is UTF-8. In small pieces: one text of it all costs four times as much."""
    view, start, end = memoryview(body), 0, len(body)
    while start < end:
        last = start + _PIECE >= end
        start += utf_8_decode(view[start : start + _PIECE], "strict", last)[1]


def _structure_all(items: list[Any], model: type[_M], page: int | None = None) -> list[_M]:
    structure = _converter().get_structure_hook(model)
    done: list[_M] = []
    try:
        for item in items:
            done.append(structure(item, model))  # noqa: PERF401 - their number tells which one fails
    except (_FieldError, KeyError):
        index = len(done)
        field, reason = _explain(items[index], model)
    else:
        return done
    raise DecodeError(reason, page=page, item=index, field=field)


def _explain(item: Any, model: type[_M]) -> tuple[str | None, str]:
    """Return the dotted name of the field that fails in `item`, None for the item itself, and what is wrong with it."""
    names: list[str] = []
    failure: Exception | None = None
    try:
        make_converter(detailed=True).structure(item, model)
    except (_FieldError, cattrs.ClassValidationError) as error:
        failure = error
    while isinstance(failure, cattrs.ClassValidationError):
        failure, note = failure.group_exceptions()[0][0]
        names.append(note.name)
    return ".".join(names) or None, "is missing" if isinstance(failure, KeyError) else str(failure)


class _FieldError(ValueError):
    """A value that its field does not take."""


def _kind(value: object) -> str:
    """Name a JSON value's kind, never the value: it may be long, or private."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _string(value: Any, _: Any) -> str:
    if type(value) is str:
        return value
    raise _FieldError(f"must be a string, not {_kind(value)}")


def _integer(value: Any, _: Any) -> int:
    if type(value) is int:
        return value
    raise _FieldError(f"must be a whole number, not {_kind(value) if type(value) is not float else value}")


def _boolean(value: Any, _: Any) -> bool:
    if type(value) is bool:
        return value
    raise _FieldError(f"must be true or false, not {_kind(value)}")


def _number(value: Any, _: Any) -> int | float:
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    raise _FieldError(f"must be a number, not {_kind(value) if type(value) is not float else value}")


def _number_or_null(value: Any, kind: Any) -> int | float | None:
    return None if value is None else _number(value, kind)


def _utc_datetime(value: Any, _: Any) -> datetime:
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
    raise _FieldError(f"must be an ISO 8601 time, not {repr(value[:40]) if type(value) is str else _kind(value)}")


def _identifier(value: Any, _: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise _FieldError(f"must be a string or a whole number, not {_kind(value)}")


def _relative_id(value: Any, _: Any) -> int:
    if type(value) is int and value > 0:
        return value
    raise _FieldError(f"must be a whole number from 1, not {value if type(value) in (int, float) else _kind(value)}")


def _as_it_is(value: Any, _: Any) -> Any:
    return value


def _open_enum(enum: type[StrEnum]) -> Any:
    known = {member.value: member for member in enum}.get

    def structure(value: Any, _: Any) -> Any:
        if type(value) is str:
            return known(value) or enum(value)
        raise _FieldError(f"must be a string, not {_kind(value)}")

    return structure


def _only_objects(hook: Any) -> Any:
    return lambda value, kind: hook(value, kind) if type(value) is dict else _refuse_as_object(value)


def _refuse_as_object(value: Any) -> NoReturn:
    raise _FieldError(f"must be an object, not {_kind(value)}")


def _isoformat(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain_string(member: StrEnum) -> str:
    return member.value


@cache
def _converter() -> cattrs.Converter:
    """Return the one converter of this package, made when it is first needed."""
    return make_converter()
