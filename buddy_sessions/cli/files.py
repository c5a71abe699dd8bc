"""Files that commands write, and those that they read line by line without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Thread
from typing import TextIO, TypeVar

from buddy_sessions import BuddyError, ConfigError
from buddy_sessions._export import files
from buddy_sessions._export.files import NewFile

from .errors import describe_os_error

_T = TypeVar("_T")


def find_database(path: Path) -> Path:
    """Return the path of a database. Raises ConfigError if it does not exist, because SQLite would create it."""
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} not found: create it with buddy-sessions sync … --db FILE")
    return path


@contextmanager
def replace_file(path: Path) -> Iterator[NewFile]:
    """Create a new file, to be written and closed in the block, and move it to `path` if it is then complete."""
    with explain_errors(path, files.replace_file(path)) as file:
        yield file


@contextmanager
def explain_errors(path: Path, opening: AbstractContextManager[_T]) -> Iterator[_T]:
    """Enter a context that writes a file, and raise errors that say what to do in place of those of the system."""
    error_type: type[BuddyError] = ConfigError  # until the file is open
    try:
        with opening as value:
            error_type = BuddyError
            yield value
    except OSError as error:
        is_other_file = error.filename is not None and files.TEMPORARY not in str(error.filename)
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
