"""Between JSON and models: the only place that knows what a field may hold.

Strict where stock cattrs coerces: `"7"` is no int, `True` is no int, `1.5` is no count. Tolerant where Buddy is free to
move: unknown fields are ignored, unknown enum values kept, and any field but `id`, `relative_id` and `status` may be
null or missing. A numeric `id` becomes its string: Buddy's OpenAPI types say int32, its answers hold strings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Any, NoReturn, TypeVar

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from . import fields
from .errors import DecodeError, ResponseError
from .fast import DecodedPage, fast_decoder
from .models import CIProvider, Member, RefType, Session, SessionStatus, Suite, SuiteKey
from .structuring import Hook, make_structure_fn

_MAX_MESSAGES = 10
_MAX_MESSAGE_LENGTH = 500  # characters

_ENUMS = (SessionStatus, CIProvider, RefType)

_M = TypeVar("_M", Member, Session, Suite)
_T = TypeVar("_T")


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
        (str, fields.string),
        (int, fields.integer),
        (bool, fields.boolean),
        (int | float, fields.number),
        (int | float | None, fields.number_or_null),
        (datetime, fields.utc_datetime),
        *((enum, fields.open_enum(enum)) for enum in _ENUMS),
    ]
    for kind, hook in hooks:
        converter.register_structure_hook(kind, hook)
    identifier = fields.identifier, "type(value) is str"
    models: list[tuple[Any, dict[str, tuple[Hook, str]]]] = [
        (Member, {}),
        (Session, {"id": identifier, "relative_id": (fields.relative_id, "type(value) is int and value > 0")}),
        (Suite, {"id": identifier, "key": (fields.as_it_is, "")}),
    ]
    for model, own in models:
        if converter.detailed_validation:
            overrides: dict[str, Any] = {name: override(struct_hook=hook) for name, (hook, _) in own.items()}
            structure = fields.only_objects(make_dict_structure_fn(model, converter, **overrides))
        else:
            structure = make_structure_fn(model, converter, fields.refuse_as_object, **own)
        converter.register_structure_hook(model, structure)
    converter.register_unstructure_hook(Suite, make_dict_unstructure_fn(Suite, converter, key=override(omit=True)))
    converter.register_unstructure_hook(datetime, fields.isoformat)
    for enum in _ENUMS:
        converter.register_unstructure_hook(enum, fields.plain_string)
        converter.register_unstructure_hook(enum | None, lambda member: member and fields.plain_string(member))


def decode_page(body: bytes, *, page: int | None = None) -> DecodedPage:
    """Return what the body of a page of sessions holds.

    Args:
        body: The answer's body, in UTF-8.
        page: The page's number, for the error.

    Raises:
        ResponseError: The body is not JSON, or what a field holds is not UTF-8.
        DecodeError: It is JSON of another shape.
    """
    fast = fast_decoder()
    if fast and (decoded := fast(body)):
        return decoded

    def read(text: str) -> DecodedPage:
        document = _load_object(text, page)
        sessions = _structure_all(_items(document, "sessions", page), Session, page)
        return DecodedPage.of(tuple(sessions), document.get("url"), document.get("html_url"))

    return _read(body, read)


def decode_suites(body: bytes, *, workspace: str, project: str) -> list[Suite]:
    """Return the suites that the body of a project's list holds.

    Raises:
        ResponseError: The body is not JSON.
        DecodeError: It is JSON of another shape.
    """

    def read(text: str) -> list[Suite]:
        items = _items(_load_object(text), "suites")
        for item in items:
            if type(item) is dict:
                item["key"] = SuiteKey(workspace, project, str(item.get("id")))
        return _structure_all(items, Suite)

    return _read(body, read)


def error_messages(body: bytes) -> tuple[str, ...]:
    """Return the messages of an error's body, `{"errors": [{"message": …}]}` (seen in Buddy's Go SDK).

    Never raises: an error's body can be anything. At most ten messages come back, each cut at 500 characters.
    """
    try:
        errors = _load_object(body.decode("utf-8-sig", "replace")).get("errors")
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


def _read(body: bytes, read: Callable[[str], _T]) -> _T:
    """Return what `read` makes of a body, in which bytes that are no UTF-8 matter only where a field takes them."""
    try:
        return read(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        failure = ResponseError(f"the answer is not UTF-8: {error}")
    with suppress(DecodeError):
        # Where such bytes are replaced in two ways, a field that holds them comes out as two things.
        one, other = (read(body.decode("utf-8-sig", how)) for how in ("replace", "surrogateescape"))
        if one == other:
            return one
    raise failure  # here, where no context is kept


def _load_object(text: str, page: int | None = None) -> dict[str, Any]:
    if not text or text.isspace():
        raise _not_json("the answer is empty")
    try:
        document = _parse(text)
    except (ValueError, RecursionError) as error:  # ValueError: bad JSON
        reason = str(error) or type(error).__name__
        failure: ResponseError = _not_json(f"the answer is not JSON: {reason}; it begins {text[:40]!r}")
    else:
        if type(document) is dict:
            return document
        failure = DecodeError("the answer is not a JSON object", page=page)
    raise failure  # here, where no context is kept: json's errors hold the whole text


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
    problem = f"must be a list, not {fields.kind(items)}" if name in document else "is missing"
    raise DecodeError(problem, page=page, field=name)


def _structure_all(items: list[Any], model: type[_M], page: int | None = None) -> list[_M]:
    structure = _converter().get_structure_hook(model)
    done: list[_M] = []
    try:
        for item in items:
            done.append(structure(item, model))  # noqa: PERF401 - their number tells which one fails
    except (fields.FieldError, KeyError):
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
    except (fields.FieldError, cattrs.ClassValidationError) as error:
        failure = error
    while isinstance(failure, cattrs.ClassValidationError):
        failure, note = failure.group_exceptions()[0][0]
        names.append(note.name)
    return ".".join(names) or None, "is missing" if isinstance(failure, KeyError) else str(failure)


@cache
def _converter() -> cattrs.Converter:
    """Return the one converter of this package, made when it is first needed."""
    return make_converter()
