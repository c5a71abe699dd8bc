"""The console: messages, a progress line, and the log of the library."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import textwrap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from buddy_sessions._base.figures import format_duration

from ..errors import without_request
from .text import one_line, without_commands

_SPINNER_WIDTH = 2
_DEFAULT_WIDTH, _FILE_WIDTH = 80, 200
_LOG_INTERVAL = 30.0  # seconds between two lines of progress in a log
_NO_CONNECTION = "cannot connect to "
"""The beginning of a warning that is not printed: the error says it, if no later attempt succeeds."""


class Output(Console):
    """A rich console that prints text without markup, and raises BrokenPipeError if the reader has closed the pipe."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        self._is_quiet = quiet
        if not self.width:  # COLUMNS=0: it is unknown
            self.width = _DEFAULT_WIDTH
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = _FILE_WIDTH
        if isinstance(self.file, TextIOWrapper):  # replace characters that its encoding lacks
            self.file.reconfigure(errors="replace")

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError; rich would exit the process here."""
        raise BrokenPipeError

    def print_line(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print texts, or pairs of a text and its style, without wrapping them."""
        line = Text.assemble(*parts)
        plain = without_commands(line.plain)
        self.print(line if plain == line.plain else Text(plain), soft_wrap=True)

    def print_message(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print texts, or pairs of a text and its style. On a terminal, lines end between words."""
        text = Text.assemble(*parts)
        width = self.width if self.is_terminal else sys.maxsize
        end = 0
        for line in textwrap.wrap(text.plain, width, break_long_words=False, break_on_hyphens=False):
            start = text.plain.index(line, end)
            end = start + len(line)
            self.print_line(text[start:end])

    def print_note(self, text: str) -> None:
        """Print a dimmed message, without line breaks, unless this is quiet."""
        if not self._is_quiet:
            self.print_message((one_line(text), "dim"))

    def print_written(self, path: Path, *contents: str) -> None:
        """Print which file was written, and what it contains."""
        self.print_note(f"Wrote {path} ({', '.join(filter(None, contents))})")

    def print_problem(self, label: str, text: str) -> None:
        """Print a message, without line breaks, after a red label, such as `error`."""
        self.print_message((label, "bold red"), f": {one_line(text)}")

    def print_warning(self, text: str) -> None:
        """Print a warning, unless the text is empty."""
        if text:
            self.print_problem("warning", text)

    @contextmanager
    def progress(self, *, enabled: bool = True) -> Iterator[Callable[[str], None]]:
        """Yield a function that shows a text: on the last line of a terminal, until the end; otherwise, every 30 s."""
        if self._is_quiet or not enabled:
            yield lambda _: None
        elif self.is_terminal and not self.is_dumb_terminal:
            with self.status("reading…") as status:
                yield lambda text: status.update(self._fit(text))
        else:
            shown = deque(["reading"], maxlen=1)
            task = asyncio.create_task(self._repeat(shown))
            try:
                yield shown.append
            finally:
                task.cancel()

    async def _repeat(self, shown: Sequence[str]) -> NoReturn:
        """Print the last text that is shown, and the elapsed time, every 30 s."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            await asyncio.sleep(_LOG_INTERVAL)
            self.print_note(f"{shown[-1]} · {format_duration(round(loop.time() - started))}")

    def _fit(self, text: str) -> Text:
        fitted = Text(text)
        fitted.truncate(self.width - _SPINNER_WIDTH, overflow="ellipsis")
        return fitted

    @contextmanager
    def show_logs(self, *, debug: bool) -> Iterator[None]:
        """Print the warnings that the library logs; if `debug` is true, also each request."""
        logger = logging.getLogger("buddy_sessions")
        handler, level = _LogHandler(self, debug=debug), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if debug else logging.WARNING)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _LogHandler(logging.Handler):
    def __init__(self, output: Output, *, debug: bool) -> None:
        super().__init__()
        self._output = output
        self._is_debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage())
        if not self._is_debug:
            text = without_request(text)
        if record.levelno <= logging.DEBUG:
            self._output.print_line((text, "dim"))
        elif self._is_debug or not text.startswith(_NO_CONNECTION):
            self._output.print_message((text, "yellow"))
