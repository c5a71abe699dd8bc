"""Parquet files of sessions, written by DuckDB (the extra `[parquet]`)."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, get_args

import attrs

from .._base.extras import import_extra
from ..errors import BuddyError
from ..models import Member, Session, SuiteKey
from .session_rows import JsonLines

_TYPES = {datetime: "TIMESTAMPTZ", bool: "BOOLEAN", float: "DOUBLE", int: "BIGINT", str: "VARCHAR"}
"""The DuckDB type of each Python type. The first match applies: a bool is an int, and a StrEnum is a str."""

_ROW_GROUP_SIZE = 20_480
"""The number of rows that DuckDB holds in memory; its default, six times as many, takes 50 MiB more."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class ParquetWriter(JsonLines):
    """Writes rows to a file of JSON lines; `finish` converts it to a Parquet file, so that memory stays small."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        super().__init__(stream)
        self._duckdb = import_extra("duckdb", extra="parquet")
        self._path = path

    def _encode_line(self, line: str) -> bytes:
        """Return a line in UTF-8. A lone surrogate, which Parquet cannot hold, becomes the text of its escape."""
        return _SURROGATE.sub(lambda match: f"\\\\u{ord(match[0]):04x}", line).encode()

    def finish(self) -> None:
        """Convert the file. Raises BuddyError if an integer needs more than 64 bits, or if the disk is full."""
        self._stream.close()
        columns = {**dict.fromkeys(SuiteKey._fields, "VARCHAR"), **_columns(Session)}
        with self._duckdb.connect(config={"threads": 1}) as database:  # each thread has buffers of its own
            try:
                rows = database.read_json(self._stream.name, format="newline_delimited", columns=columns)
                rows.write_parquet(str(self._path), compression="zstd", row_group_size=_ROW_GROUP_SIZE)
            except self._duckdb.Error as error:
                raise BuddyError(f"could not write a Parquet file: {error}") from error
        self.is_finished = True


def _columns(model: type[Session | Member]) -> dict[str, str]:
    """Return the DuckDB types of a model's fields, by name."""
    return {field.name: _column_type(field.type) for field in attrs.fields(attrs.resolve_types(model))}


def _column_type(annotation: Any) -> str:
    types = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    if types == [Member]:
        return f"STRUCT({', '.join(f'{name} {column_type}' for name, column_type in _columns(Member).items())})"
    return next(name for python_type, name in _TYPES.items() if any(issubclass(kind, python_type) for kind in types))
