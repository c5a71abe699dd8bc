"""What the command line says to a person: on one line, with nothing in it that could steer a terminal.

What a server sends may hold anything, escape sequences among it: no text of its reaches a terminal but through
`escape`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import TextIOWrapper
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from buddy_sessions import Cursor

NOTHING = "-"
"""Stands for what is not known."""

_AGES = (
    (60, "s", 1),
    (3600, "min", 60),
    (48 * 3600, "h", 3600),
    (60 * 86_400, "d", 86_400),
    (730 * 86_400, "mo", 2_629_800),
)
_YEAR = 31_557_600  # seconds
_SPINNER = 2  # places


class Output(Console):
    """A rich console that takes every text as it is, and lets a closed pipe be an error like any other."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if isinstance(self.file, TextIOWrapper):  # a sign that the terminal's encoding lacks is no reason to fail
            self.file.reconfigure(errors="replace")

    def on_broken_pipe(self) -> NoReturn:
        """Raise; rich itself would exit here."""
        raise BrokenPipeError

    def say(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print texts, or pairs of a text and its style, as one line that is not wrapped."""
        self.print(Text.assemble(*parts), soft_wrap=True)

    @contextmanager
    def progress(self, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
        """Return a function that shows what is going on, on one line that is gone at the end; only on a terminal."""
        if not (shown and self.is_terminal):
            yield lambda _: None
            return
        with self.status("reading…") as spinner:
            yield lambda text: spinner.update(self._fitted(text))

    def _fitted(self, text: str) -> Text:
        fitted = Text(text)
        fitted.truncate(self.width - _SPINNER, overflow="ellipsis")
        return fitted

    @contextmanager
    def logs(self, *, debug: bool) -> Iterator[None]:
        """Print what the library logs: its warnings, and each request too if `debug`."""
        logger = logging.getLogger("buddy_sessions")
        handler, level = _LogHandler(self), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if debug else logging.WARNING)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _LogHandler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.say((one_line(record.getMessage()), "yellow" if record.levelno > logging.DEBUG else "dim"))


def escape(text: str) -> str:
    """Return `text` with all that is no visible character escaped, as JSON does it."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


def one_line(text: str) -> str:
    """Return `text` on one line, escaped."""
    return escape(" ".join(text.split()))


def count(number: int, thing: str) -> str:
    """Return how many there are: `1 request`, `1,300 requests`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was: `3 h ago`. One that is yet to come counts as now: clocks differ."""
    if moment is None:
        return NOTHING
    seconds = max(0, int((now - moment).total_seconds()))
    for limit, unit, size in _AGES:
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
    return f"{seconds // _YEAR} y ago"


def length(seconds: float | None) -> str:
    """Return a duration: `0.4s`, `42s`, `3m05s`, `2h07m`, `3d04h`."""
    if seconds is None:
        return NOTHING
    if 0 < seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, part, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{small}"
    return f"{whole}s"


def resume(cursor: Cursor) -> tuple[str | tuple[str, str], ...]:
    """Return how to go on where a walk stood, to be said."""
    return "all that was read is written; to go on, add ", (f"--start {cursor}", "bold")
