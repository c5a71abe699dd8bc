"""Decodes response bodies, with a cattrs converter that defines the rules for every field (see hooks.py).

Pages are decoded by msgspec where it is installed (extra `[speed]`), from bytes directly into the frozen models. The
result is the same, with two exceptions. If a time has more than six digits of fraction, msgspec rounds to microseconds,
and cattrs drops the rest. In fields that the models do not have, msgspec ignores invalid UTF-8 and numbers with
thousands of digits, and cattrs rejects the page.

A value that does not fit its field is None, and is added to the list `invalid`. Only a field that every object has must
fit: of a session, `id`, `relative_id` and `status`.

Each function that decodes a body raises `ResponseError` if the body is not valid JSON or not valid UTF-8, and
`DecodeError` if the JSON does not have the documented shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

import attrs
import cattrs
from attrs import field, frozen

from ..errors import DecodeError, ResponseError
from ..models import Failure, Member, Project, Session, Suite, SuiteKey, TestCase
from .failures import read_failure
from .hooks import FIRST_TIME, MAX_INTEGER, MIN_INTEGER, decode_json, fields_of, make_converter, wrong_type

_MAX_MESSAGES = 10
_MAX_MESSAGE_LENGTH = 500  # characters

_KINDS = {Session: "session", Project: "project", Suite: "suite", TestCase: "case"}
_M = TypeVar("_M", Session, Project, Suite, TestCase)
_T = TypeVar("_T")


class InvalidValue(NamedTuple):
    """A value that does not fit its field, which is None. The field may be one of a nested object: `created_by.id`."""

    model: str
    item_id: str
    field: str
    reason: str


Invalid: TypeAlias = list[InvalidValue] | None
"""Where to add the values that do not fit, if anywhere."""


@frozen
class DecodedPage:
    """The content of one page of sessions."""

    sessions: tuple[Session, ...]
    invalid_fields: Mapping[str, frozenset[str]] = field(factory=dict, kw_only=True)
    """The names of the fields that did not fit, by the ID of the session."""
    digest: bytes | None = field(default=None, kw_only=True)
    """The digest of the body, if an earlier one was given."""
    is_unchanged: bool = field(default=False, kw_only=True)
    """The body has the earlier digest, and was not decoded."""


def decode_page(
    body: bytes, *, page: int | None = None, last_digest: bytes | None = None, invalid: Invalid = None
) -> DecodedPage:
    """Return the sessions in the body of a page, whose number is for errors; none if it has the last digest."""
    digest = None if last_digest is None else blake2b(body, digest_size=16).digest()
    if digest is not None and digest == last_digest:
        return DecodedPage((), digest=digest, is_unchanged=True)
    decode_fast = fast_decoder()
    sessions = decode_fast(body) if decode_fast else None
    if sessions is not None:
        return DecodedPage(sessions, digest=digest)
    values: list[InvalidValue] = []
    decoded = decode_list(body, "sessions", Session, page=page, invalid=values)
    if invalid is not None:
        invalid += values
    fields: dict[str, frozenset[str]] = {}
    for each in values:
        fields[each.item_id] = fields.get(each.item_id, frozenset()) | {each.field}
    return DecodedPage(tuple(decoded), invalid_fields=fields, digest=digest)


def decode_object(body: bytes, model: type[_M], *, invalid: Invalid = None, **fields: object) -> _M:
    """Return the model in the body of a response that contains only this one. `fields` are added to it."""
    return _structure({**_load_object(body), **fields}, model, invalid)


def decode_list(
    body: bytes, name: str, model: type[_M], *, page: int | None = None, invalid: Invalid = None
) -> list[_M]:
    """Return the models of the list with this name, in the body of a page, whose number is for errors."""
    items = enumerate(_items(_load_object(body, page), name, page))
    return [_structure(item, model, invalid, page=page, item=index) for index, item in items]


def decode_suites(body: bytes, *, workspace: str, project: str, invalid: Invalid = None) -> list[Suite]:
    """Return the suites in the body of a project's list."""
    items = _items(_load_object(body), "suites")
    for item in items:
        if type(item) is dict:
            item["key"] = SuiteKey(workspace, project, str(item.get("id")))
    return [_structure(item, Suite, invalid, item=index) for index, item in enumerate(items)]


def error_messages(body: bytes, redact: Callable[[str], str] = str) -> tuple[str, ...]:
    """Return the messages in the body of an error, `{"errors": [{"message": …}]}` (Buddy's Go SDK).

    Never raises, because the body can be anything. Returns at most 10 messages, redacted, then cut at 500 characters.
    """
    try:
        document = _load_json(body.decode("utf-8-sig", "replace"))
    except ResponseError:
        return ()
    errors = document.get("errors") if type(document) is dict else None
    messages = [error.get("message") for error in errors if type(error) is dict] if type(errors) is list else []
    texts = [" ".join(message.split()) for message in messages if type(message) is str]
    return tuple(redact(text)[:_MAX_MESSAGE_LENGTH] for text in list(filter(None, texts))[:_MAX_MESSAGES])


def to_dict(model: Session | Suite | Member | TestCase | Failure) -> dict[str, Any]:
    """Return a model as JSON values under the API's names.

    Times are ISO 8601 text in UTC, and a field without a value is None. The result for a `Suite` has no `key`.
    """
    result: dict[str, Any] = _converter().unstructure(model)
    return result


def session_from_dict(value: Any) -> Session:
    """Return the session from which `to_dict` made `value`. Raises `DecodeError` if it is not valid."""
    return _structure(value, Session, item=0, is_strict=True)


def case_from_dict(value: Any) -> TestCase:
    """Return the test case from which `to_dict` made `value`; its failure is read from `data`. Raises `DecodeError`."""
    return _structure(value, TestCase, item=0, is_strict=True)


def unstructure(value: object) -> Any:
    """Return any value of attrs classes, with models in it, as JSON values."""
    return _converter().unstructure(value)


def structure(value: Any, kind: type[_T]) -> _T:
    """Return the value from which `unstructure` made JSON values."""
    return _converter().structure(value, kind)


@cache
def _converter(*, detailed_validation: bool = False) -> cattrs.Converter:
    """Return the converter of this package. It is created on first use, which keeps the import fast."""
    return make_converter(read_failure, detailed_validation=detailed_validation)


def _load_object(body: bytes, page: int | None = None) -> dict[str, Any]:
    invalid = ""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # It may be a proxy's page in another encoding. That is not JSON at all, which is another error.
        text, invalid = body.decode("utf-8-sig", "replace"), str(error)
    document = _load_json(text)
    if invalid:
        raise ResponseError(f"the body is not valid UTF-8: {invalid}")
    if type(document) is not dict:
        raise DecodeError("the response is not a JSON object: check the URL of the API", page=page)
    return document


def _load_json(text: str) -> Any:
    """Return the JSON value in a text. An error is retryable: a proxy's page, or a body that was cut short."""
    if not text or text.isspace():
        raise ResponseError("the response is empty", retryable=True)
    try:
        return decode_json(text)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    # Outside the except block: json's error contains the whole text, and must not stay as the context of this one.
    raise ResponseError(f"the response is not valid JSON: {reason}; it begins {text[:40]!r}", retryable=True)


def _items(document: dict[str, Any], name: str, page: int | None = None) -> list[Any]:
    items = document.get(name)
    if type(items) is list:
        return items
    problem = str(wrong_type("a list", items)) if name in document else "is missing"
    raise DecodeError(problem, page=page, field=name)


def _structure(
    value: Any,
    model: type[_M],
    invalid: Invalid = None,
    *,
    page: int | None = None,
    item: int | None = None,
    is_strict: bool = False,
) -> _M:
    """Return the model of a JSON value. An error names its page, item and field. Strict: each value must fit."""
    try:
        return _converter().structure(value, model)
    except (KeyError, TypeError, ValueError):
        pass
    if type(value) is not dict:
        raise DecodeError(str(wrong_type("an object", value)), page=page, item=item)
    try:
        return _converter(detailed_validation=True).structure(value, model)
    except cattrs.ClassValidationError as error:
        problems = list(_problems(error))
    # Outside the except block: the context of an error would keep the page in memory.
    for path, reason in problems:
        if is_strict or attrs.fields_dict(model)[path[0]].default is attrs.NOTHING:
            raise DecodeError(reason, page=page, item=item, field=".".join(path))
        value = _without(value, path)
    structured = _converter().structure(value, model)
    if invalid is not None:
        kind, item_id = _KINDS[model], getattr(structured, "id", "")
        invalid += [InvalidValue(kind, item_id, ".".join(path), reason) for path, reason in problems]
    return structured


def _problems(error: cattrs.ClassValidationError) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each wrong field, and what is wrong with it."""
    for cause, note in error.group_exceptions()[0]:
        if isinstance(cause, cattrs.ClassValidationError):
            for path, reason in _problems(cause):
                yield (note.name, *path), reason
        else:
            yield (note.name,), "is missing" if isinstance(cause, KeyError) else str(cause)


def _without(value: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Return a JSON object with null at a path."""
    name, *rest = path
    return {**value, name: _without(value[name], rest) if rest else None}


@frozen
class _SessionList:
    """A page, as msgspec reads it."""

    sessions: tuple[Session, ...]


@cache
def fast_decoder() -> Callable[[bytes], tuple[Session, ...] | None] | None:
    """Return the function that decodes the sessions of a page by msgspec; None if msgspec is not installed.

    The function returns None for a page that msgspec rejects or decodes differently than the rules. Then decode it by
    cattrs, which accepts it, or finds what is wrong.
    """
    try:
        import msgspec  # noqa: PLC0415 - optional, and too slow to import before the first page arrives
    except ImportError:
        return None
    decoder = msgspec.json.Decoder(_SessionList)

    def decode(body: bytes) -> tuple[Session, ...] | None:
        try:
            sessions = decoder.decode(body).sessions
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # the second: older versions of msgspec
            return None
        return sessions if _follow_rules(sessions) else None

    return decode


_numbers_of = attrgetter(*fields_of(Session, int, float))
_times_of = attrgetter(*fields_of(Session, datetime))


def _follow_rules(sessions: Iterable[Session]) -> bool:
    """Return whether sessions follow the rules that msgspec does not check: the limits of numbers and times."""
    for session in sessions:
        member = session.created_by
        if not 1 <= session.relative_id < MAX_INTEGER:
            return False
        if member and not MIN_INTEGER <= (member.id or 0) <= MAX_INTEGER:
            return False
        for number in _numbers_of(session):
            if number and not MIN_INTEGER <= number <= MAX_INTEGER:
                return False
        for time in _times_of(session):
            if time and (time.tzinfo is not UTC or time < FIRST_TIME):
                return False
    return True
