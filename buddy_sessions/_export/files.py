"""Files that replace another one only when they are complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ..errors import ConfigError
from ..models import Session, SuiteKey
from .parquet import ParquetWriter
from .rows import KEYED_SESSION_COLUMNS, keyed_rows
from .writers import Csv, JsonLines, RowWriter

FileFormat = Literal["jsonl", "csv", "parquet"]

TEMPORARY = ".buddy-sessions-"
"""The beginning of the names of temporary folders."""

_FORMATS: dict[str, FileFormat] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def format_of(path: Path) -> FileFormat:
    """Return the format that belongs to the ending of a file name. Raises ConfigError if there is none."""
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        _reject_database(path)
        *first, last = _FORMATS
        raise ConfigError(f"cannot write {path.name!r}: name a file that ends in {', '.join(first)} or {last}")
    return file_format


@dataclass
class NewFile:
    """A file with a temporary name. Set `is_complete` when it was written completely."""

    path: Path
    is_complete: bool = False


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
def replace_file(path: Path, *, source: str | None = None) -> Iterator[NewFile]:
    """Create a new file, to be written and closed in the block, and move it to `path` if it is then complete."""
    target = resolve_file(path, source=source)
    _reject_database(target)
    with TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as folder:
        file = NewFile(Path(folder, target.name))
        yield file
        if file.is_complete:
            with file.path.open("rb+") as written:
                os.fsync(written.fileno())
            if target.exists():
                file.path.chmod(stat.S_IMODE(target.stat().st_mode))
            file.path.replace(target)


class Destination:
    """Where sessions are written: with `writer`, to the new `file` if there is one. Without a writer, nowhere."""

    def __init__(self, writer: RowWriter | None, file: NewFile | None = None) -> None:
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


@contextmanager
def open_file(path: Path, *, source: str | None = None) -> Iterator[Destination]:
    """Open a new file of sessions, in the format of its name, that replaces `path` once it is finished."""
    file_format = format_of(path)
    with ExitStack() as stack:
        file = stack.enter_context(replace_file(path, source=source))
        text_path = file.path.with_suffix(".jsonl") if file_format == "parquet" else file.path
        stream = stack.enter_context(text_path.open("x", encoding="utf-8", newline=""))
        if file_format == "parquet":
            writer: RowWriter = ParquetWriter(file.path, stream)
        else:
            writer = Csv(stream, KEYED_SESSION_COLUMNS) if file_format == "csv" else JsonLines(stream)
        yield Destination(writer, file)
