"""Sessions and suites for programs: JSON lines and CSV, written as they come; nothing is kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import TextIOWrapper
from typing import Any, Literal, Protocol, TextIO

from buddy_sessions import Session, SessionStatus, Suite, SuiteKey, to_json

from .output import escape

Format = Literal["table", "jsonl", "csv"]
DataFormat = Literal["jsonl", "csv"]


class Writer(Protocol):
    """Writes sessions to stdout, as they come."""

    def write(self, models: Iterable[Session]) -> None:
        """Write them, the first time with whatever belongs above them, and flush."""


class SuiteWriter(Protocol):
    """Writes the sessions of several suites, as they come."""

    def write(self, models: Sequence[Session], suite: SuiteKey) -> None:
        """Write some sessions of a suite, and flush."""

    def finish(self) -> None:
        """Write what belongs below all, and what belongs above where there was nothing."""


class JsonLines:
    """One JSON object a line: exactly what `to_json` returns, after the names of the suite where there are several."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = _for_data(stream)
        self._safe = _safe(stream)

    def write(self, models: Iterable[Session | Suite], suite: SuiteKey | None = None) -> None:
        """Write one line for each."""
        self.write_rows(fields_of(model, suite) for model in models)

    def write_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write one line for each object."""
        for row in rows:
            self._stream.write(self._safe(json.dumps(row, ensure_ascii=False)) + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """Write nothing."""


class Csv:
    """CSV as RFC 4180 has it: a row of the API's names first. Null is empty; an object is JSON."""

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        self._stream = _for_data(stream)
        self._safe = _safe(stream)
        self._rows = csv.writer(stream)
        self._columns = columns
        self._begun = False

    def write(self, models: Iterable[Session | Suite], suite: SuiteKey | None = None) -> None:
        """Write one row for each, and the head before the first."""
        self.write_rows(fields_of(model, suite) for model in models)

    def write_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write one row for each object, and the head before the first."""
        if not self._begun:
            self._begun = True
            self._rows.writerow(self._columns)
        for row in rows:
            self._rows.writerow([self._cell(row[name]) for name in self._columns])
        self._stream.flush()

    def finish(self) -> None:
        """Write the head, if there was nothing else."""
        self.write(())

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        return self._safe(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def session_columns() -> tuple[str, ...]:
    """Return the names of a session's fields."""
    return tuple(to_json(Session(id="", relative_id=1, status=SessionStatus.SKIPPED)))


def harvest_columns() -> tuple[str, ...]:
    """Return the names of a suite's key, and those of a session's fields."""
    return (*SuiteKey._fields, *session_columns())


def suite_columns() -> tuple[str, ...]:
    """Return the names of a suite's fields."""
    return tuple(to_json(Suite(key=SuiteKey("", "", ""), id="")))


def fields_of(model: Session | Suite, suite: SuiteKey | None) -> dict[str, Any]:
    """Return a model as plain JSON values, after the names of its suite where there are several."""
    return to_json(model) if suite is None else {**suite._asdict(), **to_json(model)}


def _safe(stream: TextIO) -> Callable[[str], str]:
    """Return what makes a text fit for a stream: a file or a pipe gets it as it is, a terminal escaped."""
    return escape if stream.isatty() else str


def _for_data(stream: TextIO) -> TextIO:
    """Return the stream, set to UTF-8 wherever it runs, with line ends as they are written.

    Half a surrogate pair, which JSON can hold and UTF-8 cannot, is written as its JSON escape.
    """
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    return stream
