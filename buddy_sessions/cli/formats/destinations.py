"""Where rows of sessions are written: to stdout, or to a new file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from buddy_sessions import ConfigError

from ..files import FileFormat, format_of
from ..options import validate_json
from .parquet import ParquetWriter
from .writers import KEYED_SESSION_COLUMNS, Csv, DataFormat, JsonLines, RowWriter


def choose_file_format(requested: DataFormat | None, *, json: bool, out: Path | None) -> FileFormat | None:
    """Return the format of the file, or else the requested one.

    Raises ConfigError if the ending of the file is unknown, or if it contradicts the requested format.
    """
    validate_json(requested, json=json)
    if json:
        requested = "jsonl"
    if out is None:
        return requested
    file_format = format_of(out)
    if requested not in {None, file_format}:
        option = "--json" if json else f"--format {requested}"
        raise ConfigError(f"{option} contradicts --out {out.name}: leave out {option.split(maxsplit=1)[0]}")
    return file_format


@contextmanager
def open_writer(output_format: FileFormat, path: Path | None) -> Iterator[RowWriter]:
    """Open a writer of `keyed_rows` to a new file, or to stdout if `path` is None."""
    if path is None:
        yield _text_writer(output_format, sys.stdout)
        return
    text_path = path.with_suffix(".jsonl") if output_format == "parquet" else path
    with text_path.open("x", encoding="utf-8", newline="") as stream:
        yield ParquetWriter(path, stream) if output_format == "parquet" else _text_writer(output_format, stream)


def _text_writer(output_format: FileFormat, stream: TextIO) -> RowWriter:
    return Csv(stream, KEYED_SESSION_COLUMNS) if output_format == "csv" else JsonLines(stream)
