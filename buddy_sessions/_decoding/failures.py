"""Reads the failure of a test from its `data`: the JSON of Buddy's own reporters, or JUnit XML."""

from __future__ import annotations

import re
from typing import Any, NoReturn
from xml.parsers import expat

from ..models import Failure
from .hooks import decode_json

_TYPE = re.compile(r"(?:[\w$]++[.\\])*+([A-Z]\w*+)(?: \[\w+\])?(?: ?: +(?=\S)| ?:?$)")
_FRAMES = re.compile(r"^ +at ", re.MULTILINE)


_CHUNK = 2**16
_MAX_DEPTH = 100
"""The depth of an XML document at which the parser stops."""
_MAX_LENGTH = 1_000_000
"""The number of characters of the text of a failure in XML at which the parser stops. `data` has all of it."""


def read_failure(data: str) -> Failure | None:
    """Return the failure in the `data` of a test; None if it has none, or if `data` is neither valid JSON nor XML.

    Never raises, because reporters write all kinds of text.
    """
    return _read_json(data) if data.lstrip().startswith("{") else _read_xml(data)


def _read_json(data: str) -> Failure | None:
    """Return the failure in the JSON of Buddy's reporters. Skipped tests have one, too, of empty texts."""
    try:
        case = decode_json(data)
    except (ValueError, RecursionError):
        return None
    failure = case.get("failure")
    if not isinstance(failure, dict) or case.get("status") in ("PASSED", "SKIPPED"):  # may be unhashable
        return None
    message, text = _text(failure.get("message")), _text(failure.get("stackTrace"))
    head = _FRAMES.split(text, maxsplit=1)[0].strip()  # Jest leaves the message empty, unless a matcher fails
    (kind, message), (kind_of_head, rest) = split_type(message.strip()), split_type(head)
    name = kind or kind_of_head
    return Failure(
        kind="error" if case.get("status") == "ERROR" else "failure",
        type=None if name == "Error" else name,  # says nothing
        message=message or rest or None,
        text=text.strip() or None,
    )


def split_type(message: str) -> tuple[str | None, str]:
    """Return the type that a message begins with, without its package, and the rest of the message.

    Node.js writes `AssertionError [ERR_ASSERTION]: 1 == 2`.
    """
    found = _TYPE.match(message)
    if found is None or not found[1].endswith(("Error", "Exception")):
        return None, message
    return found[1], message[found.end() :]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _read_xml(data: str) -> Failure | None:
    """Return the first failure or error in JUnit XML. One that is too long or too deep is cut, with a remark.

    XML that declares entities is not valid here: expanded, they could fill the memory.
    """
    reader = _FailureReader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.EntityDeclHandler = _reject_entity
    parser.StartElementHandler = reader.start_element
    parser.EndElementHandler = reader.end_element
    parser.CharacterDataHandler = reader.add_text
    try:
        for start in range(0, len(data), _CHUNK):
            parser.Parse(data[start : start + _CHUNK], False)
        parser.Parse("", True)
    except _TooLargeError as error:
        return reader.failure(remark=str(error))
    except (expat.ExpatError, ValueError):  # a UnicodeEncodeError is a ValueError: a lone surrogate
        return None
    return reader.failure()


class _TooLargeError(Exception):
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

    def start_element(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _TooLargeError(f"cut: more than {_MAX_DEPTH} nested elements")
        if self._kind is None and name in ("failure", "error"):
            self._kind, self._attributes, self._inside = name, attributes, self._depth

    def end_element(self, _: str) -> None:
        if self._depth == self._inside:
            self._inside = 0
        self._depth -= 1

    def add_text(self, text: str) -> None:
        if self._inside:
            self._texts.append(text[: _MAX_LENGTH - self._length])
            self._length += len(text)
            if self._length > _MAX_LENGTH:
                raise _TooLargeError(f"cut: longer than {_MAX_LENGTH:,} characters")

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
