"""Files that replace another one only when they are complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import ConfigError
from .parquet import ParquetWriter
from .session_rows import KEYED_SESSION_COLUMNS, Csv, JsonLines, RowWriter

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
def open_file(path: Path, *, source: str | None = None) -> Iterator[RowWriter]:
    """Open a new file of sessions, in the format of its name. If the block finishes it, it replaces `path`."""
    file_format = format_of(path)
    with replace_file(path, source=source) as new:
        text_path = new.with_suffix(".jsonl") if file_format == "parquet" else new
        with text_path.open("x", encoding="utf-8", newline="") as stream:
            if file_format == "parquet":
                writer: RowWriter = ParquetWriter(new, stream)
            else:
                writer = Csv(stream, KEYED_SESSION_COLUMNS) if file_format == "csv" else JsonLines(stream)
            yield writer
        if not writer.is_finished:
            new.unlink(missing_ok=True)
