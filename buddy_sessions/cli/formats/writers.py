"""Rows for programs: JSON lines and CSV with the API's field names, written page by page."""

from __future__ import annotations

import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import TextIOWrapper
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, TextIO, TypeAlias

import attrs
import msgspec

from buddy_sessions import ConfigError, Failure, Member, Session, Suite, SuiteKey, TestCase, TestKey, TestRun, to_dict

from .formatting import escape

Format = Literal["table", "jsonl", "csv"]
DataFormat = Literal["jsonl", "csv"]

_FORMULA_STARTS = frozenset("=+-@\t\r")
"""The first characters by which a spreadsheet recognises a formula (OWASP, CSV injection)."""

Row: TypeAlias = Mapping[str, Any]
"""Values by column name: JSON values, enums, and times in UTC."""

Cell: TypeAlias = str | float | None
"""The value of a cell of CSV."""

SESSION_COLUMNS = tuple(field.name for field in attrs.fields(Session))
KEYED_SESSION_COLUMNS = (*SuiteKey._fields, *SESSION_COLUMNS)
SUITE_COLUMNS = (*SuiteKey._fields, "url", "html_url", "id", "identifier", "name")
"""What the API lists of a suite."""
CASE_COLUMNS = tuple(field.name for field in attrs.fields(TestCase) if field.name != "data")
SESSION_CASE_COLUMNS = (*SuiteKey._fields, "session_id", "relative_id", *CASE_COLUMNS)
KEYED_TEST_COLUMNS = (*SuiteKey._fields, "test_group_name", "classname", "name", "branch", "oldest", "newest")
"""What names a test across sessions, and the sessions that were looked at."""

_MEMBER_COLUMNS = tuple(field.name for field in attrs.fields(Member))
_NESTED = {"created_by": _MEMBER_COLUMNS, "failure": tuple(field.name for field in attrs.fields(Failure))}
"""The columns of CSV for the fields of an object: `created_by_name`."""
_session_values, _member_values = attrgetter(*SESSION_COLUMNS), attrgetter(*_MEMBER_COLUMNS)
_encoder = msgspec.json.Encoder()
_AS_THEY_ARE = frozenset({int, float, type(None)})
"""The types of values that `csv` writes correctly."""


class RowWriter(ABC):
    """Writes rows to a text stream. Text is escaped for a terminal, and unchanged for a file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._escape = prepare_stream(stream)

    @abstractmethod
    def write(self, rows: Iterable[Row]) -> None:
        """Write rows, and flush."""

    def finish(self) -> None:
        """Complete the output after the last row, and flush."""
        self._stream.flush()


class JsonLines(RowWriter):
    """Writes one compact JSON object per line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        # To a file or a pipe, bytes are written as msgspec encodes them: text would be decoded, and encoded again.
        is_file = isinstance(stream, TextIOWrapper) and not stream.isatty()
        self._buffer = stream.buffer if is_file else None

    def write(self, rows: Iterable[Row]) -> None:
        """Write one line for each row, and flush."""
        lines = self._encode(list(rows))
        if self._buffer is not None:
            self._buffer.write(lines)
        else:
            self._stream.writelines(f"{self._escape(line)}\n" for line in lines.decode().split("\n")[:-1])
        self._stream.flush()

    def _encode(self, rows: list[Row]) -> bytes:
        try:
            return _encoder.encode_lines(rows)
        except UnicodeEncodeError:
            return b"".join([self._encode_surrogates(f"{_dump_json(row)}\n") for row in rows])

    def _encode_surrogates(self, line: str) -> bytes:
        """Return a line in UTF-8. A lone surrogate, which UTF-8 does not allow, becomes its escape in JSON."""
        return line.encode(errors="backslashreplace")


class Csv(RowWriter):
    """Writes CSV as in RFC 4180, with a header. Null is an empty field; an object has a column for each of its fields.

    A text that a spreadsheet would execute as a formula is preceded by an apostrophe.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        super().__init__(stream)
        self._writer = csv.writer(stream)
        self._columns = columns
        self._nested = [(index, _NESTED[name]) for index, name in enumerate(columns) if name in _NESTED][::-1]
        self._is_terminal = stream.isatty()
        self._header_written = False

    def write(self, rows: Iterable[Row]) -> None:
        """Write one line for each row, and flush. The first call writes the header before them."""
        if not self._header_written:
            self._header_written = True
            names = [
                [f"{name}_{field}" for field in _NESTED[name]] if name in _NESTED else [name] for name in self._columns
            ]
            self._writer.writerow(chain.from_iterable(names))
        self._writer.writerows(self._cells(row) for row in rows)
        self._stream.flush()

    def finish(self) -> None:
        """Write the header if there were no rows."""
        self.write(())

    def _cells(self, row: Row) -> list[Cell]:
        values = msgspec.to_builtins([row[name] for name in self._columns])
        for index, fields in self._nested:
            members = values[index] or {}
            values[index : index + 1] = [members.get(field) for field in fields]
        cells = list(map(_to_cell, values))
        return [self._escape(cell) if type(cell) is str else cell for cell in cells] if self._is_terminal else cells


def prepare_stream(stream: TextIO) -> Callable[[str], str]:
    """Let a stream write the same bytes on every system; return the function that escapes a line for it."""
    if isinstance(stream, TextIOWrapper):
        # A lone surrogate, which JSON allows and UTF-8 does not, becomes its JSON escape.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    return escape if stream.isatty() else str


def choose_format(requested: Format | None) -> Format:
    """Return the requested format (default: table on a terminal, otherwise jsonl)."""
    return requested or ("table" if sys.stdout.isatty() else "jsonl")


def validate_json(requested: str | None, *, json: bool) -> None:
    """Raise ConfigError if --format and --json contradict each other."""
    if json and requested not in {None, "jsonl"}:
        raise ConfigError(f"--format {requested} and --json exclude each other: use one of them")


def make_writer(data_format: DataFormat, stream: TextIO, columns: Sequence[str]) -> RowWriter:
    """Return a writer of this format. `columns` are those of CSV; JSON lines have every field of a row."""
    return Csv(stream, columns) if data_format == "csv" else JsonLines(stream)


def suite_names(suite: SuiteKey) -> dict[str, Any]:
    """Return the beginning of a row: the key of its suite, which is only in JSON lines, and the names in the key."""
    return {"key": str(suite), **suite._asdict()}


def session_row(session: Session) -> dict[str, Any]:
    """Return a session as a row, several times as fast as `to_dict`."""
    row = dict(zip(SESSION_COLUMNS, _session_values(session), strict=True))
    member = session.created_by
    if member is not None:
        row["created_by"] = dict(zip(_MEMBER_COLUMNS, _member_values(member), strict=True))
    return row


def suite_row(suite: Suite) -> dict[str, Any]:
    """Return what the API lists of a suite as a row that begins with its names."""
    return {**suite_names(suite.key), **{name: getattr(suite, name) for name in SUITE_COLUMNS[3:]}}


def keyed_rows(suite: SuiteKey, sessions: Iterable[Session]) -> list[Row]:
    """Return sessions of a suite as rows that begin with the names of the suite."""
    names = suite_names(suite)
    return [{**names, **session_row(session)} for session in sessions]


def case_row(case: TestCase) -> dict[str, Any]:
    """Return a test case as a row, without its JUnit XML."""
    row = to_dict(case)
    del row["data"]
    return row


def session_case_row(suite: SuiteKey, session: Session, case: TestCase) -> dict[str, Any]:
    """Return a test case as a row that begins with the names of its suite, and the ID and number of its session."""
    return {**suite_names(suite), "session_id": session.id, "relative_id": session.relative_id, **case_row(case)}


def keyed_test_row(suite: SuiteKey, test: TestKey, branch: str, runs: Sequence[TestRun]) -> dict[str, Any]:
    """Return what names a test, and the sessions that were looked at: of a branch, or of all if it is "*"."""
    return {
        **suite_names(suite),
        "test_group_name": test.group,
        "classname": test.classname,
        "name": test.name,
        "branch": None if branch == "*" else branch,
        "oldest": runs[0].session.relative_id,
        "newest": runs[-1].session.relative_id,
    }


def _dump_json(value: Any) -> str:
    """Return a value as compact JSON on one line."""
    try:
        return _encoder.encode(value).decode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON allows and UTF-8 does not
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))


def _to_cell(value: Any) -> Cell:
    """Return a JSON value as a cell of CSV."""
    if type(value) is str:
        return f"'{value}" if value[:1] in _FORMULA_STARTS else value
    return value if type(value) in _AS_THEY_ARE else _dump_json(value)
