"""Files that are written atomically, or read line by line without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Literal, TextIO

from buddy_sessions import BuddyError, ConfigError

from .errors import describe_os_error

FileFormat = Literal["jsonl", "csv", "parquet"]

_TEMPORARY = ".buddy-sessions-"
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


def find_database(path: Path) -> Path:
    """Return the path of a database. Raises ConfigError if it does not exist, because SQLite would create it."""
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} not found: create it with buddy-sessions sync … --db FILE")
    return path


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
    error_type: type[BuddyError] = ConfigError  # until the file is open
    try:
        with TemporaryDirectory(prefix=_TEMPORARY, dir=target.parent) as folder:
            error_type = BuddyError
            file = NewFile(Path(folder, target.name))
            yield file
            if file.is_complete:
                with file.path.open("rb+") as written:
                    os.fsync(written.fileno())
                if target.exists():
                    file.path.chmod(stat.S_IMODE(target.stat().st_mode))
                file.path.replace(target)
    except OSError as error:
        is_other_file = error.filename is not None and _TEMPORARY not in str(error.filename)
        if isinstance(error, BrokenPipeError) or is_other_file:
            raise
        raise error_type(f"cannot write {describe_os_error(error, path)}") from error


@contextmanager
def open_lines(source: str) -> Iterator[TextIO]:
    """Open a file for `read_lines`, or stdin if `source` is `-`. Invalid UTF-8 is decoded to surrogates."""
    is_stdin = source == "-"
    try:
        stream = open(0 if is_stdin else source, encoding="utf-8-sig", errors="surrogateescape", closefd=not is_stdin)  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"cannot read {describe_os_error(error, 'stdin' if is_stdin else source)}") from error
    try:
        yield stream
    finally:
        if stream.seekable():  # closing a pipe would wait for a thread that is reading from it
            stream.close()


async def read_lines(stream: TextIO) -> AsyncIterator[str]:
    """Iterate over the lines of a file, or over the lines of a pipe as they arrive."""
    if stream.seekable():  # a regular file never blocks for long
        for line in stream:
            yield line
        return
    while line := await _read_line(stream):
        yield line


async def _read_line(stream: TextIO) -> str:
    """Return the next line, read in a daemon thread."""
    # A daemon thread, because it may wait forever: at exit, the process would wait for a thread of asyncio.to_thread.
    future = Future[str]()
    future.set_running_or_notify_cancel()  # from now on, it cannot be cancelled, so its result can always be set

    def read() -> None:
        try:
            future.set_result(stream.readline())
        except Exception as error:  # noqa: BLE001 - raised by `await` below
            future.set_exception(error)

    Thread(target=read, daemon=True).start()
    return await asyncio.wrap_future(future)
