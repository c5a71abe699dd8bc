"""Files that commands read and write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from cyclopts import Parameter

from buddy_sessions import BuddyError, ConfigError
from buddy_sessions._export import TEMPORARY

from ..errors import describe_os_error

_T = TypeVar("_T")

FILE = Parameter(metavar="FILE")  # what help calls the value of an option


def find_database(path: Path) -> Path:
    """Return the path of a database. Raises ConfigError if it is missing or empty: SQLite would create a database."""
    if path.is_dir():
        raise ConfigError(f"{str(path)!r} is a folder: pass a file that buddy-sessions sync has written")
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} not found: create it with buddy-sessions sync … --db FILE")
    if not path.stat().st_size:
        raise ConfigError(f"{str(path)!r} is empty: fill it with buddy-sessions sync … --db FILE")
    return path


@contextmanager
def explain_errors(path: Path, opening: AbstractContextManager[_T]) -> Iterator[_T]:
    """Enter a context that writes a file, and raise errors that say what to do in place of those of the system."""
    error_type: type[BuddyError] = ConfigError  # until the file is open
    try:
        with opening as value:
            error_type = BuddyError
            yield value
    except OSError as error:
        is_other_file = error.filename is not None and TEMPORARY not in str(error.filename)
        if isinstance(error, BrokenPipeError) or is_other_file:
            raise
        raise error_type(f"cannot write {describe_os_error(error, path)}") from error


def read_text(name: str) -> str:
    """Return the text of a file, or of stdin if `name` is `-`. Invalid UTF-8 is decoded to surrogates."""
    is_stdin = name == "-"
    try:
        with open(0 if is_stdin else name, "rb", closefd=not is_stdin) as file:
            return file.read().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ConfigError(f"cannot read {describe_os_error(error, 'stdin' if is_stdin else name)}") from error
