"""Decodes response bodies, with one cattrs converter that defines the rules for every field (see hooks.py).

Pages are decoded by msgspec where it is installed (see fast.py); whatever it does not accept is decoded here.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from hashlib import blake2b
from typing import Any, NoReturn, TypeVar

import cattrs
from attrs import frozen
from cattrs.gen import make_dict_unstructure_fn, override

from ..errors import DecodeError, ResponseError
from ..models import CIProvider, Failure, Member, RefType, Session, SessionStatus, Suite, SuiteKey, TestCase, TestStatus
from . import hooks
from .fast import DecodedPage, fast_decoder

__all__ = [
    "DecodedPage",
    "FirstPage",
    "NotModified",
    "case_from_dict",
    "configure_converter",
    "decode_case",
    "decode_cases",
    "decode_if_modified",
    "decode_page",
    "decode_session",
    "decode_suite",
    "decode_suites",
    "error_messages",
    "make_converter",
    "session_from_dict",
    "to_dict",
]

_MAX_MESSAGES = 10
_MAX_MESSAGE_LENGTH = 500  # characters

_M = TypeVar("_M", Session, Suite, TestCase)


@frozen
class FirstPage(DecodedPage):
    """The content of page 1, with the digest of its body."""

    digest: bytes = b""


class NotModified:
    """Page 1 has the body of an earlier read, and was not decoded."""


def make_converter() -> cattrs.Converter:
    """Return a new converter that follows this package's rules."""
    converter = cattrs.Converter()
    configure_converter(converter)
    return converter


def configure_converter(converter: cattrs.Converter) -> None:
    """Register this package's rules for `Session`, `Member`, `Suite` and `TestCase` with a converter."""
    converter.register_structure_hook(Session, hooks.structure_session)
    converter.register_structure_hook(Member, hooks.structure_member)
    converter.register_structure_hook(Suite, hooks.structure_suite)
    converter.register_structure_hook(TestCase, hooks.structure_case)
    converter.register_unstructure_hook(Suite, make_dict_unstructure_fn(Suite, converter, key=override(omit=True)))
    converter.register_unstructure_hook(datetime, hooks.unstructure_time)
    for enum in (SessionStatus, CIProvider, RefType, TestStatus):
        converter.register_unstructure_hook(enum, hooks.unstructure_enum)


def decode_page(body: bytes, *, page: int | None = None) -> DecodedPage:
    """Return the sessions and links in the body of a page.

    Args:
        body: The body of the response.
        page: The number of the page, for errors.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON does not have the documented shape.
    """
    decode_fast = fast_decoder()
    decoded = decode_fast(body) if decode_fast else None
    if decoded is not None:
        return decoded
    document = _load_object(body, page)
    sessions = _structure_items(_items(document, "sessions", page), Session, page)
    url, html_url = document.get("url"), document.get("html_url")
    return DecodedPage(tuple(sessions), _text_or_none(url), _text_or_none(html_url))


def decode_if_modified(body: bytes, *, page: int, known_digest: bytes) -> DecodedPage | NotModified:
    """Return the content of a page, as `decode_page` does. Page 1 is not decoded if its body has the known digest.

    Args:
        body: The body of the response.
        page: The number of the page.
        known_digest: The digest of page 1 in an earlier read; empty if there is none.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON does not have the documented shape.
    """
    if page > 1:
        return decode_page(body, page=page)
    digest = blake2b(body, digest_size=16).digest()
    if digest == known_digest:
        return NotModified()
    decoded = decode_page(body, page=page)
    return FirstPage(decoded.sessions, decoded.url, decoded.html_url, digest)


def decode_session(body: bytes) -> Session:
    """Return the session in the body of a response that contains only this one.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON does not have the documented shape.
    """
    return _structure(_load_object(body), Session)


def decode_suite(body: bytes, key: SuiteKey) -> Suite:
    """Return the suite in the body of a response that contains only this one. Its token is dropped.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON does not have the documented shape.
    """
    return _structure({**_load_object(body), "workspace": key.workspace, "project": key.project}, Suite)


def decode_cases(body: bytes, *, page: int | None = None) -> list[TestCase]:
    """Return the test cases in the body of a page.

    Args:
        body: The body of the response.
        page: The number of the page, for errors.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON does not have the documented shape.
    """
    return _structure_items(_items(_load_object(body, page), "cases", page), TestCase, page)


def decode_case(body: bytes) -> TestCase:
    """Return the test case in the body of a response that contains only this one.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON does not have the documented shape.
    """
    return _structure(_load_object(body), TestCase)


def decode_suites(body: bytes, *, workspace: str, project: str) -> list[Suite]:
    """Return the suites in the body of a project's list.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON does not have the documented shape.
    """
    names = {"workspace": workspace, "project": project}
    items = _items(_load_object(body), "suites")
    return _structure_items([{**item, **names} if type(item) is dict else item for item in items], Suite)


def error_messages(body: bytes) -> tuple[str, ...]:
    """Return the messages in the body of an error, `{"errors": [{"message": …}]}` (Buddy's Go SDK).

    Never raises, because the body can be anything. Returns at most 10 messages, each cut at 500 characters.
    """
    try:
        document = _load_json(body.decode("utf-8-sig", "replace"))
    except ResponseError:
        return ()
    errors = document.get("errors") if type(document) is dict else None
    messages = [error.get("message") for error in errors if type(error) is dict] if type(errors) is list else []
    texts = [" ".join(message.split()) for message in messages if type(message) is str]
    return tuple(text[:_MAX_MESSAGE_LENGTH] for text in texts if text)[:_MAX_MESSAGES]


def to_dict(model: Session | Suite | Member | TestCase | Failure) -> dict[str, Any]:
    """Return a model as JSON values under the API's names.

    Times are ISO 8601 text in UTC, and a field without a value is None. The result for a `Suite` has no `key`.
    """
    result: dict[str, Any] = _converter().unstructure(model)
    return result


def session_from_dict(value: Any) -> Session:
    """Return the session from which `to_dict` made `value`.

    Raises:
        DecodeError: `value` is not a valid session.
    """
    (session,) = _structure_items([value], Session)
    return session


def case_from_dict(value: Any) -> TestCase:
    """Return the test case from which `to_dict` made `value`. Its failure is read from `data`.

    Raises:
        DecodeError: `value` is not a valid test case.
    """
    (case,) = _structure_items([value], TestCase)
    return case


@cache
def _converter() -> cattrs.Converter:
    """Return the converter of this package. It is created on first use, which keeps the import fast."""
    return make_converter()


def _load_object(body: bytes, page: int | None = None) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        ResponseError: The body is not valid JSON, or not valid UTF-8.
        DecodeError: The JSON value is not an object.
    """
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
        raise DecodeError("the response is not a JSON object", page=page)
    return document


def _load_json(text: str) -> Any:
    """Return the JSON value in a text.

    Raises:
        ResponseError: The text is not valid JSON. Retryable: a proxy's page, or a body that was cut short.
    """
    if not text or text.isspace():
        raise ResponseError("the response is empty", retryable=True)
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    # Outside the except block: json's error contains the whole text, and must not stay as the context of this one.
    raise ResponseError(f"the response is not valid JSON: {reason}; it begins {text[:40]!r}", retryable=True)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


_JSON = json.JSONDecoder(parse_constant=_reject_constant)  # by default, it accepts NaN and Infinity


def _items(document: dict[str, Any], name: str, page: int | None = None) -> list[Any]:
    items = document.get(name)
    if type(items) is list:
        return items
    problem = f"must be a list, not {hooks.json_type(items)}" if name in document else "is missing"
    raise DecodeError(problem, page=page, field=name)


def _structure(document: dict[str, Any], model: type[_M]) -> _M:
    try:
        return _converter().structure(document, model)
    except hooks.FieldError as error:
        field, reason = error.field, error.reason
    # Outside the except block: the context of this error would keep the document in memory.
    raise DecodeError(reason, field=field)


def _structure_items(items: list[Any], model: type[_M], page: int | None = None) -> list[_M]:
    structure = _converter().get_structure_hook(model)
    models: list[_M] = []
    try:
        for item in items:
            models.append(structure(item, model))  # noqa: PERF401 - their number is the index of the wrong item
    except hooks.FieldError as error:
        field, reason = error.field, error.reason
    else:
        return models
    # Outside the except block: the context of this error would keep the page in memory.
    raise DecodeError(reason, page=page, item=len(models), field=field)


def _text_or_none(value: Any) -> str | None:
    return value if type(value) is str else None
