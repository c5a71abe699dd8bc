"""Reads the failure of a test from its `data`: the JSON of Buddy's own reporters, or JUnit XML."""

from __future__ import annotations

import re
from typing import Any, NoReturn
from xml.parsers import expat

from ..models import Failure
from .hooks import decode_json, has_more_values

_TYPE = re.compile(r"(?:[\w$]++[.\\])*+([A-Z]\w*+)(?: \[\w+\])?(?: ?: +(?=\S)| ?:?$)")
_FRAMES = re.compile(r"^ +at ", re.MULTILINE)

_CHUNK = 2**16  # characters
_MAX_DEPTH = 100
"""The depth of an XML document at which the parser stops."""
_MAX_LENGTH = 1_000_000
"""The number of characters of the text or the message of a failure. `data` has all of it."""
_TOO_LONG = f"cut: longer than {_MAX_LENGTH:,} characters"
_MAX_VALUES = 100_000
"""The number of JSON values or of XML elements that are read."""


def read_failure(data: str) -> Failure | None:
    """Return the failure in the `data` of a test; None if it has none, or if `data` is neither valid JSON nor XML.

    Never raises, because reporters write all kinds of text.
    """
    return _read_json(data) if data.lstrip().startswith("{") else _read_xml(data)


def _read_json(data: str) -> Failure | None:
    """Return the failure in the JSON of Buddy's reporters. Skipped tests have one, too, of empty texts."""
    if has_more_values(data.encode("utf-8", "surrogatepass"), _MAX_VALUES):
        return None
    try:
        case = decode_json(data)
    except (ValueError, RecursionError):
        return None
    failure = case.get("failure")
    if not isinstance(failure, dict) or case.get("status") in ("PASSED", "SKIPPED"):  # may be unhashable
        return None
    message, text = _text(failure.get("message")), _text(failure.get("stackTrace"))
    head = _FRAMES.split(text, maxsplit=1)[0].strip()  # Jest leaves the message empty, unless a matcher fails
    (kind, message), (kind_of_head, rest) = split_type(message), split_type(head)
    name = kind or kind_of_head
    return Failure(
        kind="error" if case.get("status") == "ERROR" else "failure",
        type=None if name == "Error" else name,  # says nothing
        message=message or rest or None,
        text=text or None,
    )


def split_type(message: str) -> tuple[str | None, str]:
    """Return the type that a message begins with, without its package, and the rest of the message.

    Node.js writes `AssertionError [ERR_ASSERTION]: 1 == 2`.
    """
    head = _TYPE.match(message)
    if head is None or not head[1].endswith(("Error", "Exception")):
        return None, message
    return head[1], message[head.end() :]


def _text(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}\n[{_TOO_LONG}]"


def _read_xml(data: str) -> Failure | None:
    """Return the first failure or error in JUnit XML. One that is too long or too deep is cut, with a remark.

    XML that declares entities is not valid here: expanded, they could fill the memory.
    """
    reader = _FailureReader()
    parser = expat.ParserCreate("utf-8")
    parser.EntityDeclHandler = _reject_entity
    parser.StartElementHandler = reader.start_element
    parser.EndElementHandler = reader.end_element
    parser.CharacterDataHandler = reader.add_text
    try:
        size = 0
        for start in range(0, len(data), _CHUNK):
            chunk = data[start : start + _CHUNK].encode()
            size += len(chunk)
            if size - parser.CurrentByteIndex > _MAX_LENGTH:  # inside of one tag, which may have many attributes
                return reader.failure(remark=_TOO_LONG)
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except _StopError as stop:
        return reader.failure(remark=str(stop))
    except (expat.ExpatError, ValueError):  # a UnicodeEncodeError is a ValueError: a lone surrogate
        return None
    return reader.failure()


class _StopError(Exception):
    """The rest of the document is not read."""


class _FailureReader:
    """Takes the elements of a document, and keeps the first failure or error."""

    def __init__(self) -> None:
        self._kind: str | None = None
        self._attributes: dict[str, str] = {}
        self._texts: list[str] = []
        self._length = 0
        self._depth = 0
        self._inside = 0  # the depth of the failure; 0 outside
        self._elements = 0

    def start_element(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > _MAX_VALUES:
            raise _StopError(f"cut: more than {_MAX_VALUES:,} elements")
        if self._depth > _MAX_DEPTH:
            raise _StopError(f"cut: more than {_MAX_DEPTH} nested elements")
        if self._kind is None and name in ("failure", "error"):
            self._kind, self._attributes, self._inside = name, attributes, self._depth

    def end_element(self, _: str) -> None:
        if self._depth == self._inside:
            raise _StopError
        self._depth -= 1

    def add_text(self, text: str) -> None:
        if self._inside:
            self._texts.append(text[: _MAX_LENGTH - self._length])
            self._length += len(text)
            if self._length > _MAX_LENGTH:
                raise _StopError(_TOO_LONG)

    def failure(self, *, remark: str = "") -> Failure | None:
        if self._kind is None:
            return None
        text = "".join(self._texts).strip()
        return Failure(
            kind="error" if self._kind == "error" else "failure",
            type=self._attributes.get("type"),
            message=self._attributes.get("message"),
            text=(f"{text}\n[{remark}]" if remark else text) or None,
        )


def _reject_entity(*_: object) -> NoReturn:
    raise ValueError("entities are not read")
