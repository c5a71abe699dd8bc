"""Rows for programs: JSON lines and CSV with the API's field names, written page by page."""

from __future__ import annotations

import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from io import TextIOWrapper
from typing import Any, Literal, TextIO, TypeAlias

import attrs

from buddy_sessions import Session, SuiteKey, to_dict

from .formatting import escape

Format = Literal["table", "jsonl", "csv"]
DataFormat = Literal["jsonl", "csv"]

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""The first characters by which a spreadsheet recognises a formula (OWASP, CSV injection)."""

Row: TypeAlias = Mapping[str, Any]
"""JSON values by column name."""

SESSION_COLUMNS = tuple(field.name for field in attrs.fields(Session))
KEYED_SESSION_COLUMNS = (*SuiteKey._fields, *SESSION_COLUMNS)
SUITE_COLUMNS = ("url", "html_url", "id", "identifier", "name")
"""What the API lists of a suite."""


class RowWriter(ABC):
    """Writes rows to a text stream. Text is escaped for a terminal, and unchanged for a file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, TextIOWrapper):
            # The same on every system. A lone surrogate, which JSON allows and UTF-8 does not, becomes its JSON escape.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        self._stream = stream
        self._escape = escape if stream.isatty() else str

    @abstractmethod
    def write(self, rows: Iterable[Row]) -> None:
        """Write rows, and flush."""

    def finish(self) -> None:
        """Complete the output after the last row, and flush."""
        self._stream.flush()


class JsonLines(RowWriter):
    """Writes one JSON object per line."""

    def write(self, rows: Iterable[Row]) -> None:
        """Write one line for each row, and flush."""
        for row in rows:
            self._stream.write(self._escape(json.dumps(row, ensure_ascii=False)) + "\n")
        self._stream.flush()


class Csv(RowWriter):
    """Writes CSV as in RFC 4180, with a header. Null is an empty field; an object is written as JSON.

    A text that a spreadsheet would execute as a formula is preceded by an apostrophe.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        super().__init__(stream)
        self._writer = csv.writer(stream)
        self._columns = columns
        self._header_written = False

    def write(self, rows: Iterable[Row]) -> None:
        """Write one line for each row, and flush. The first call writes the header before them."""
        if not self._header_written:
            self._header_written = True
            self._writer.writerow(self._columns)
        self._writer.writerows([self._cell(row[name]) for name in self._columns] for row in rows)
        self._stream.flush()

    def finish(self) -> None:
        """Write the header if there were no rows."""
        self.write(())

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            return self._escape(json.dumps(value, ensure_ascii=False))
        return self._escape(f"'{value}" if value.startswith(_FORMULA_STARTS) else value)


def choose_format(requested: Format | None) -> Format:
    """Return the requested format (default: table on a terminal, otherwise jsonl)."""
    return requested or ("table" if sys.stdout.isatty() else "jsonl")


def make_writer(data_format: DataFormat, stream: TextIO, columns: Sequence[str]) -> RowWriter:
    """Return a writer of this format. `columns` are those of CSV; JSON lines have every field of a row."""
    return Csv(stream, columns) if data_format == "csv" else JsonLines(stream)


def keyed_row(suite: SuiteKey, session: Session) -> dict[str, Any]:
    """Return a session as a row that begins with the names of its suite."""
    return {**suite._asdict(), **to_dict(session)}
