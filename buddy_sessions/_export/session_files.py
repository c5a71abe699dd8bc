"""Files of rows (JSON lines, CSV, Parquet), which replace another one only when they are complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO, get_args

import attrs

from .._base.validate import import_extra
from ..errors import BuddyError, ConfigError
from ..models import Session, TestCase
from .session_rows import KEYED_SESSION_COLUMNS, Csv, JsonLines, Row, RowWriter, flat_columns, flat_values

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
        hint = "to keep one up to date, use buddy-sessions sync KEY… --db FILE"
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
    found: dict[str, str] = {}
    for field in attrs.fields(attrs.resolve_types(model)):
        types = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
        if attrs.has(types[0]):
            found |= {f"{field.name}_{name}": kind for name, kind in _columns(types[0]).items()}
        else:
            found[field.name] = next((name for kind, name in _TYPES.items() if kind in types), "VARCHAR")
    return found
