"""Writers of rows: JSON lines and CSV, page by page."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from io import TextIOWrapper
from typing import Any, TextIO, TypeAlias

from .._decoding.hooks import unstructure_time
from .rows import FlatColumns, Row, find_msgspec

_FORMULA_STARTS = frozenset("=+-@\t\r")
"""The first characters by which a spreadsheet recognises a formula (OWASP, CSV injection)."""

_Cell: TypeAlias = str | float | None
_AS_THEY_ARE = frozenset({int, float, type(None)})
"""The types of values that `csv` writes correctly."""


class RowWriter(ABC):
    """Writes rows to a text stream.

    Args:
        stream: The stream.
        escape: Makes text safe for a terminal; None for a file or a pipe, which gets it unchanged.
    """

    def __init__(self, stream: TextIO, escape: Callable[[str], str] | None = None) -> None:
        use_utf8(stream)
        self._stream = stream
        self._escape = escape
        self.is_finished = False

    @abstractmethod
    def write(self, rows: Iterable[Row]) -> None:
        """Write rows, and flush."""

    def finish(self) -> None:
        """Complete the output after the last row, and flush."""
        self._stream.flush()
        self.is_finished = True


class JsonLines(RowWriter):
    """Writes one compact JSON object per line."""

    def write(self, rows: Iterable[Row]) -> None:
        """Write one line for each row, and flush."""
        lines = self._encode(list(rows))
        if self._escape is None and isinstance(self._stream, TextIOWrapper):
            self._stream.buffer.write(lines)  # not as text, which would be decoded, and encoded again
        else:
            escape = self._escape or str
            self._stream.writelines(f"{escape(line)}\n" for line in lines.decode().split("\n")[:-1])
        self._stream.flush()

    def _encode(self, rows: list[Row]) -> bytes:
        msgspec = find_msgspec()
        if msgspec is not None:
            try:
                return bytes(msgspec.json.Encoder().encode_lines(rows))
            except UnicodeEncodeError:  # a lone surrogate, which JSON allows and UTF-8 does not
                pass
        return b"".join([self._encode_line(f"{_dump_json(row)}\n") for row in rows])

    def _encode_line(self, line: str) -> bytes:
        """Return a line in UTF-8. A lone surrogate becomes its escape in JSON."""
        return line.encode(errors="backslashreplace")


class Csv(RowWriter):
    """Writes CSV as in RFC 4180, with a header. Null is an empty field; an object has a column for each of its fields.

    A text that a spreadsheet would execute as a formula is preceded by an apostrophe.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str], escape: Callable[[str], str] | None = None) -> None:
        super().__init__(stream, escape)
        self._writer = csv.writer(stream)
        self._columns = FlatColumns(columns)
        self._header_written = False

    def write(self, rows: Iterable[Row]) -> None:
        """Write one line for each row, and flush. The first call writes the header before them."""
        if not self._header_written:
            self._header_written = True
            self._writer.writerow(self._columns.names)
        self._writer.writerows(self._cells(row) for row in rows)
        self._stream.flush()

    def finish(self) -> None:
        """Write the header if there were no rows."""
        self.write(())
        super().finish()

    def _cells(self, row: Row) -> list[_Cell]:
        cells = list(map(_to_cell, self._columns.values(row)))
        escape = self._escape
        return cells if escape is None else [escape(cell) if type(cell) is str else cell for cell in cells]


def use_utf8(stream: TextIO) -> None:
    """Let a stream write the same bytes on every system."""
    if isinstance(stream, TextIOWrapper):
        # A lone surrogate, which JSON allows and UTF-8 does not, becomes its JSON escape.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")


def _dump_json(value: Any) -> str:
    """Return a value as compact JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=unstructure_time)


def _to_cell(value: Any) -> _Cell:
    """Return a JSON value as a cell of CSV."""
    if type(value) is str:
        return f"'{value}" if value[:1] in _FORMULA_STARTS else value
    return value if type(value) in _AS_THEY_ARE else _dump_json(value)
