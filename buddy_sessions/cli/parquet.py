"""Sessions as a Parquet file, by DuckDB, the extra `[parquet]`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self, get_args

import attrs

from buddy_sessions import BuddyError, ConfigError, Member, Session, SuiteKey

from .data import fields_of

_TYPES = {datetime: "TIMESTAMPTZ", bool: "BOOLEAN", float: "DOUBLE", int: "BIGINT", str: "VARCHAR"}
"""DuckDB's types; the first that fits counts: a bool is an int, an int may be a float, an enum is its text."""

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


class ParquetFile:
    """A file that is written page by page, as JSON lines beside it, and made of them at the end.

    So memory stays small, however many sessions come.

    Args:
        path: The file.

    Raises:
        ConfigError: DuckDB is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._duckdb = _import_duckdb()
        self._path = path
        self._lines = path.with_name(f"{path.name}.jsonl")

    def __enter__(self) -> Self:
        self._stream = self._lines.open("x", encoding="utf-8", newline="\n")
        return self

    def write(self, models: Sequence[Session], suite: SuiteKey) -> None:
        """Write some sessions of a suite."""
        for model in models:
            text = json.dumps(fields_of(model, suite), ensure_ascii=False)
            # Parquet knows no half of a surrogate pair, which JSON can hold: it stands there as its JSON escape.
            self._stream.write(_HALF_A_PAIR.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text) + "\n")

    def finish(self) -> None:
        """Make the file of what was written.

        Raises:
            BuddyError: A number needs more than 64 bits, or the disk is full.
        """
        self._stream.close()
        columns = {**dict.fromkeys(SuiteKey._fields, "VARCHAR"), **_columns(Session)}
        with self._duckdb.connect() as database:
            try:
                lines = database.read_json(str(self._lines), format="newline_delimited", columns=columns)
                lines.write_parquet(str(self._path), compression="zstd")
            except self._duckdb.Error as error:
                raise BuddyError(f"no Parquet file can be made of what was read: {error}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk, which has been told of
            self._stream.close()
        self._lines.unlink()


def _import_duckdb() -> ModuleType:
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError("duckdb is not installed; run: pip install 'buddy_sessions[parquet]'") from error
    return duckdb


def _columns(model: type[Session | Member]) -> dict[str, str]:
    """Return the column of each field of a model, with its type in DuckDB."""
    return {field.name: _column(field.type) for field in attrs.fields(attrs.resolve_types(model))}


def _column(kind: Any) -> str:
    kinds = [kind for kind in get_args(kind) or (kind,) if kind is not type(None)]
    if kinds == [Member]:
        return f"STRUCT({', '.join(f'{name} {column}' for name, column in _columns(Member).items())})"
    return next(column for python, column in _TYPES.items() if any(issubclass(kind, python) for kind in kinds))
