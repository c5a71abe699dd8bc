"""Files that are there whole or not at all: written beside, and renamed when they are complete."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from buddy_sessions import ConfigError

FileFormat = Literal["jsonl", "csv", "db", "parquet"]

_ENDINGS: dict[str, FileFormat] = {".jsonl": "jsonl", ".csv": "csv", ".db": "db", ".parquet": "parquet"}


def format_of(path: Path) -> FileFormat:
    """Return the format that a file's name asks for.

    Raises:
        ConfigError: Its ending is none that can be written.
    """
    form = _ENDINGS.get(path.suffix.lower())
    if form is None:
        *most, last = _ENDINGS
        raise ConfigError(f"a file to write ends in {', '.join(most)} or {last}, not {path.name!r}")
    return form


class NewFile:
    """A file that takes the place of another, or of none, once it is complete. Until then nothing is touched.

    Whoever writes it opens `beside`, and has closed it when the block ends.

    Args:
        path: Where it goes. What a link leads to is replaced, not the link; the other file's mode is kept.

    Raises:
        ConfigError: Something is there that is no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))
        if self._path.exists() and not self._path.is_file():
            raise ConfigError(f"{str(path)!r} is there already, and no file")
        self.beside = self._path.with_name(f".buddy-sessions-{secrets.token_hex(6)}.tmp")
        self._complete = False

    def __enter__(self) -> Self:
        return self

    def complete(self) -> None:
        """Let the file take its place at the end; otherwise it goes."""
        self._complete = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._complete:
                with self.beside.open("rb+") as written:
                    os.fsync(written.fileno())
                if self._path.exists():
                    self.beside.chmod(stat.S_IMODE(self._path.stat().st_mode))
                self.beside.replace(self._path)
        finally:
            for ending in ("", "-wal", "-shm"):  # what SQLite leaves where it could not close a file properly
                self.beside.with_name(self.beside.name + ending).unlink(missing_ok=True)
