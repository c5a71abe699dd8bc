"""Sessions and test cases as rows, values by the API's field names, and their files: JSON lines, CSV, Parquet.

A file replaces another one only when it is complete.
"""

from __future__ import annotations

import csv
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from io import TextIOWrapper
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO, TypeAlias, get_args

import attrs

from ._base.validate import import_extra
from ._decoding.converter import to_dict
from ._decoding.hooks import unstructure_time
from .errors import BuddyError, ConfigError
from .models import Failure, Member, Session, SuiteKey, TestCase

Row: TypeAlias = Mapping[str, Any]
"""Values by column name: JSON values, enums, and times in UTC."""

SESSION_COLUMNS = tuple(field.name for field in attrs.fields(Session))
KEYED_SESSION_COLUMNS = (*SuiteKey._fields, *SESSION_COLUMNS)
CASE_COLUMNS = tuple(field.name for field in attrs.fields(TestCase) if field.name != "data")
SESSION_CASE_COLUMNS = (*SuiteKey._fields, "session_id", "relative_id", *CASE_COLUMNS)

_MEMBER_COLUMNS = tuple(field.name for field in attrs.fields(Member))
_NESTED = {"created_by": _MEMBER_COLUMNS, "failure": tuple(field.name for field in attrs.fields(Failure))}
"""The fields of the objects in a row."""
_session_values, _member_values = attrgetter(*SESSION_COLUMNS), attrgetter(*_MEMBER_COLUMNS)


def flat_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of rows without objects: `created_by` becomes `created_by_id` and so on."""
    return [f"{name}_{field}" if field else name for name in columns for field in _NESTED.get(name, ("",))]


def flat_values(row: Row, columns: Sequence[str]) -> Iterator[Any]:
    """Yield the values of a row for `flat_columns`. Enums and times are texts."""
    for name in columns:
        if name in _NESTED:
            yield from map((row[name] or {}).get, _NESTED[name])
        else:
            yield _convert(row[name])


@cache
def _line_encoder() -> Callable[[list[Row]], bytes]:
    """Return a function that encodes rows as JSON lines: that of msgspec is faster."""
    try:
        import msgspec  # noqa: PLC0415 - optional, and too slow to import before the first row
    except ImportError:
        return lambda rows: "".join(f"{_dump_json(row)}\n" for row in rows).encode()
    return msgspec.json.Encoder().encode_lines


def _convert(value: Any) -> Any:
    """Return a value of a row as a value of JSON."""
    if isinstance(value, str):
        return str(value)  # also an enum
    return unstructure_time(value) if isinstance(value, datetime) else value


def to_row(model: Session | TestCase) -> dict[str, str | float | None]:
    """Return a session or a test case as flat values, such as for `csv.DictWriter`: texts, numbers and None.

    The fields of an object are columns of their own: `created_by_name`, `failure_message`. Times are ISO 8601 texts in
    UTC. `data` of a test case is left out.
    """
    columns = SESSION_COLUMNS if isinstance(model, Session) else CASE_COLUMNS
    row = session_row(model) if isinstance(model, Session) else case_row(model)
    return dict(zip(flat_columns(columns), flat_values(row, columns), strict=True))


def suite_names(suite: SuiteKey) -> dict[str, Any]:
    """Return the beginning of a row: the key of its suite, which is only in JSON lines, and the names in the key."""
    return {"key": str(suite), **suite._asdict()}


def session_row(session: Session, *, emails: bool = True) -> dict[str, Any]:
    """Return a session as a row, several times as fast as `to_dict`."""
    row = dict(zip(SESSION_COLUMNS, _session_values(session), strict=True))
    member = session.created_by
    if member is not None:
        row["created_by"] = dict(zip(_MEMBER_COLUMNS, _member_values(member), strict=True))
        if not emails:
            row["created_by"]["email"] = None
    return row


def keyed_rows(suite: SuiteKey, sessions: Iterable[Session], *, emails: bool = False) -> Iterator[Row]:
    """Yield sessions of a suite as rows that begin with the names of the suite; without e-mail addresses by default."""
    names = suite_names(suite)
    for session in sessions:
        yield {**names, **session_row(session, emails=emails)}


def case_row(case: TestCase) -> dict[str, Any]:
    """Return a test case as a row, without its `data`."""
    row = to_dict(case)
    del row["data"]
    return row


def session_case_row(suite: SuiteKey, session: Session, case: TestCase) -> dict[str, Any]:
    """Return a test case as a row that begins with the names of its suite, and the two ids of its session."""
    return {**suite_names(suite), "session_id": session.id, "relative_id": session.relative_id, **case_row(case)}


_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - full-width
"""The first characters by which a spreadsheet recognises a formula (OWASP, CSV injection)."""

_Cell: TypeAlias = str | float | None
_AS_THEY_ARE = frozenset({int, float, type(None)})
"""The types of values that `csv` writes correctly."""


class RowWriter(ABC):
    """Writes rows to a text stream. `escape` makes text safe for a terminal; None for a file or a pipe."""

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
        lines = _line_encoder()(list(rows)).replace(b"##[", b"##\\u005b")  # what a log of GitHub takes for a command
        if self._escape is None and isinstance(self._stream, TextIOWrapper):
            self._stream.buffer.write(lines)  # not as text, which would be decoded, and encoded again
        else:
            escape = self._escape or str
            self._stream.writelines(f"{escape(line)}\n" for line in lines.decode().split("\n")[:-1])
        self._stream.flush()


class Csv(RowWriter):
    """Writes CSV as in RFC 4180, with a header. Null is an empty field; an object has a column for each of its fields.

    A text that a spreadsheet would execute as a formula is preceded by an apostrophe.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str], escape: Callable[[str], str] | None = None) -> None:
        super().__init__(stream, escape)
        self._writer = csv.writer(stream)
        self._columns = columns
        self._header_written = False

    def write(self, rows: Iterable[Row]) -> None:
        if not self._header_written:
            self._header_written = True
            self._writer.writerow(flat_columns(self._columns))
        self._writer.writerows(self._cells(row) for row in rows)
        self._stream.flush()

    def finish(self) -> None:
        self.write(())  # the header, if there were no rows
        super().finish()

    def _cells(self, row: Row) -> list[_Cell]:
        cells = list(map(_to_cell, flat_values(row, self._columns)))
        escape = self._escape
        return cells if escape is None else [escape(cell) if type(cell) is str else cell for cell in cells]


def use_utf8(stream: TextIO) -> None:
    """Let a stream write the same bytes on every system."""
    if isinstance(stream, TextIOWrapper):
        # For half of a surrogate pair, such as in the name of a file.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")


def _dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=unstructure_time)


def _to_cell(value: Any) -> _Cell:
    """Return a JSON value as a cell of CSV."""
    if type(value) is str:
        return f"'{value}" if value[:1] in _FORMULA_STARTS else value
    return value if type(value) in _AS_THEY_ARE else _dump_json(value)


TEMPORARY = ".buddy-sessions-"
"""The beginning of the names of temporary folders."""


def format_of(path: Path) -> str:
    """Return the format that a file name ends in. Raises ConfigError for another ending."""
    file_format = path.suffix.lower().removeprefix(".")
    if file_format not in {"jsonl", "csv", "parquet"}:
        _reject_database(path)
        raise ConfigError(f"cannot write {path.name!r}: name a file that ends in .jsonl, .csv or .parquet")
    return file_format


def resolve_file(path: Path, *, source: str | None = None) -> Path:
    """Return the absolute path of a file to write, without symbolic links."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ConfigError(f"{str(path)!r} exists and is not a file: choose another name")
    if not target.parent.is_dir():
        raise ConfigError(f"folder {str(target.parent)!r} not found: create it, or choose another path")
    if source is not None and source != "-" and target == Path(os.path.realpath(source)):
        raise ConfigError(f"{str(path)!r} is the input file: choose another name")
    return target


def _reject_database(path: Path) -> None:
    """Raise ConfigError if a file to replace is a database: SQLite would read its old `-wal` with the new file."""
    if path.suffix.lower() == ".db" or Path(f"{path}-wal").exists():
        hint = "to keep one up to date, use buddy-sessions sync SUITE… --db FILE"
        raise ConfigError(f"cannot write {path.name!r}, a database: {hint}")


@contextmanager
def replace_file(path: Path, *, source: str | None = None) -> Iterator[Path]:
    """Yield the path of a new file. If the block has created and closed it, it replaces `path`."""
    target = resolve_file(path, source=source)
    _reject_database(target)
    with TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as folder:
        new = Path(folder, target.name)
        yield new
        if new.exists():
            with new.open("rb+") as written:
                os.fsync(written.fileno())
            if target.exists():
                new.chmod(stat.S_IMODE(target.stat().st_mode))
            new.replace(target)


@contextmanager
def open_file(
    path: Path, columns: Sequence[str] = KEYED_SESSION_COLUMNS, *, source: str | None = None
) -> Iterator[RowWriter]:
    """Open a new file of rows, in the format of its name. If the block finishes it, it replaces `path`."""
    file_format = format_of(path)
    with replace_file(path, source=source) as new:
        text_path = new.with_suffix(".jsonl") if file_format == "parquet" else new
        with text_path.open("x", encoding="utf-8", newline="") as stream:
            if file_format == "parquet":
                writer: RowWriter = ParquetWriter(new, stream, columns)
            else:
                writer = Csv(stream, columns) if file_format == "csv" else JsonLines(stream)
            yield writer
        if not writer.is_finished:
            new.unlink(missing_ok=True)


_TYPES = {datetime: "TIMESTAMPTZ", bool: "BOOLEAN", float: "DOUBLE", int: "BIGINT"}
"""The DuckDB type of each Python type; those of all others are texts. The first match applies."""

_ROW_GROUP_SIZE = 20_480
"""The number of rows that DuckDB holds in memory; its default, six times as many, takes 50 MiB more."""


class ParquetWriter(JsonLines):
    """Writes the columns of CSV; a file of JSON lines, which `finish` lets DuckDB (extra `[parquet]`) convert."""

    def __init__(self, path: Path, stream: TextIO, columns: Sequence[str]) -> None:
        super().__init__(stream)
        self._duckdb = import_extra("duckdb", extra="parquet")
        self._path = path
        types = {**_columns(TestCase), **_columns(Session)}  # the fields that both have are texts
        self._columns = columns
        self._types = {name: types.get(name, "VARCHAR") for name in flat_columns(columns)}

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows, and flush."""
        super().write(dict(zip(self._types, flat_values(row, self._columns), strict=True)) for row in rows)

    def finish(self) -> None:
        """Convert the file. Raises BuddyError if an integer needs more than 64 bits, or if the disk is full."""
        self._stream.close()
        with self._duckdb.connect(config={"threads": 1}) as database:  # each thread has buffers of its own
            try:
                rows = database.read_json(self._stream.name, format="newline_delimited", columns=self._types)
                rows.write_parquet(str(self._path), compression="zstd", row_group_size=_ROW_GROUP_SIZE)
            except self._duckdb.Error as error:
                raise BuddyError(f"could not write a Parquet file: {error}") from error
        self.is_finished = True


def _columns(model: type[attrs.AttrsInstance]) -> dict[str, str]:
    """Return the DuckDB types of a model's fields, by the name of the column."""
    columns: dict[str, str] = {}
    for field in attrs.fields(attrs.resolve_types(model)):
        types = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
        if attrs.has(types[0]):
            columns |= {f"{field.name}_{name}": kind for name, kind in _columns(types[0]).items()}
        else:
            columns[field.name] = next((name for kind, name in _TYPES.items() if kind in types), "VARCHAR")
    return columns
