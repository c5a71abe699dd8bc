"""Reads the failure of a test from its JUnit XML, with the parser of the standard library."""

from __future__ import annotations

from typing import NoReturn
from xml.parsers import expat

from ..models import Failure


def read_failure(data: str) -> Failure | None:
    """Return the first failure or error in a test's JUnit XML; None if there is none, or if it is not valid XML.

    Never raises, because reporters write all kinds of text. XML that declares entities is not valid here: expanded,
    they could fill the memory.
    """
    reader = _FailureReader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.EntityDeclHandler = _reject_entity
    parser.StartElementHandler = reader.start_element
    parser.EndElementHandler = reader.end_element
    parser.CharacterDataHandler = reader.add_text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError):  # a UnicodeEncodeError is a ValueError: a lone surrogate
        return None
    return reader.failure()


class _FailureReader:
    """Takes the elements of a document, and keeps the first failure or error."""

    def __init__(self) -> None:
        self._kind: str | None = None
        self._attributes: dict[str, str] = {}
        self._texts: list[str] = []
        self._depth = 0  # inside the failure; 0 outside

    def start_element(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth:
            self._depth += 1
        elif self._kind is None and name in ("failure", "error"):
            self._kind, self._attributes, self._depth = name, attributes, 1

    def end_element(self, _: str) -> None:
        if self._depth:
            self._depth -= 1

    def add_text(self, text: str) -> None:
        if self._depth:
            self._texts.append(text)

    def failure(self) -> Failure | None:
        if self._kind is None:
            return None
        return Failure(
            kind="error" if self._kind == "error" else "failure",
            type=self._attributes.get("type"),
            message=self._attributes.get("message"),
            text="".join(self._texts).strip() or None,
        )


def _reject_entity(*_: object) -> NoReturn:
    raise ValueError("entities are not read")
