"""Files that are there whole or not at all: written beside, and renamed when they are complete."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from buddy_sessions import ConfigError

from .data import DataFormat

_ENDINGS: dict[str, DataFormat] = {".jsonl": "jsonl", ".csv": "csv"}


def format_of(path: Path) -> DataFormat:
    """Return the format that a file's name asks for.

    Raises:
        ConfigError: Its ending is none that can be written.
    """
    form = _ENDINGS.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"a file to write ends in {' or '.join(_ENDINGS)}, not {path.name!r}")
    return form


class NewFile:
    """A file that takes the place of another, or of none, once it is complete. Until then nothing is touched.

    Args:
        path: Where it goes. What a link leads to is replaced, not the link; the other file's mode is kept.

    Raises:
        ConfigError: Something is there that is no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))
        if self._path.exists() and not self._path.is_file():
            raise ConfigError(f"{str(path)!r} is there already, and no file")
        self._beside = self._path.with_name(f".buddy-sessions-{secrets.token_hex(6)}.tmp")
        self._complete = False

    def __enter__(self) -> Self:
        self.stream = open(self._beside, "x", encoding="utf-8", newline="")
        return self

    def complete(self) -> None:
        """Let the file take its place at the end; otherwise it goes."""
        self._complete = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._complete:
                self.stream.flush()
                os.fsync(self.stream.fileno())
                self.stream.close()  # Windows renames no open file
                if self._path.exists():
                    self._beside.chmod(stat.S_IMODE(self._path.stat().st_mode))
                self._beside.replace(self._path)
        finally:
            with suppress(OSError):  # a full disk, which has been told of
                self.stream.close()
            self._beside.unlink(missing_ok=True)
