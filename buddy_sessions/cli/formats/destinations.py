"""Where rows of sessions are written: to stdout, or to a new file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from buddy_sessions import ConfigError, Session, SuiteKey

from ..files import FileFormat, NewFile, format_of, replace_file
from .parquet import ParquetWriter
from .writers import KEYED_SESSION_COLUMNS, Csv, DataFormat, JsonLines, RowWriter, keyed_rows, validate_json


class Destination:
    """Where sessions are written: with `writer`, to the new `file` if there is one. Without a writer, nowhere."""

    def __init__(self, writer: RowWriter | None, file: NewFile | None) -> None:
        self._writer = writer
        self._file = file

    def write(self, suite: SuiteKey, sessions: Iterable[Session]) -> None:
        """Write sessions of a suite."""
        if self._writer is not None:
            self._writer.write(keyed_rows(suite, sessions))

    def finish(self) -> None:
        """Complete the output; otherwise the file is not kept."""
        if self._writer is not None:
            self._writer.finish()
        if self._file is not None:
            self._file.is_complete = True


def choose_file_format(requested: DataFormat | None, *, json: bool, out: Path | None) -> FileFormat | None:
    """Return the format of the file, or else the requested one."""
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
def open_destination(
    output_format: FileFormat | None, out: Path | None, *, source: str | None = None
) -> Iterator[Destination]:
    """Open a new file that replaces `out` once it is finished, or stdout if `out` is None; nothing without a format."""
    with ExitStack() as stack:
        file = stack.enter_context(replace_file(out, source=source)) if out is not None else None
        writer = None
        if file is None and output_format is not None:
            writer = _text_writer(output_format, sys.stdout)
        elif file is not None:
            is_parquet = output_format == "parquet"
            text_path = file.path.with_suffix(".jsonl") if is_parquet else file.path
            stream = stack.enter_context(text_path.open("x", encoding="utf-8", newline=""))
            writer = ParquetWriter(file.path, stream) if is_parquet else _text_writer(output_format, stream)
        yield Destination(writer, file)


def _text_writer(output_format: FileFormat | None, stream: TextIO) -> RowWriter:
    return Csv(stream, KEYED_SESSION_COLUMNS) if output_format == "csv" else JsonLines(stream)
