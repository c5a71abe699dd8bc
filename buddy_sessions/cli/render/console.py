"""The console: messages, the log of the library, and progress: one live line, and a summary at the end of a harvest."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from attrs import define, field
from rich.console import Console
from rich.text import Text

from buddy_sessions import BuddyClient, BuddyError, Harvest, StoreError
from buddy_sessions._base.figures import format_count, format_duration

from ..errors import ExitCode, error_text, exit_code_of, many_suites_code
from .text import cut, one_line, without_commands

_SPINNER_WIDTH = 2
DEFAULT_WIDTH = 80
_LOG_INTERVAL = 30.0  # seconds between two lines of progress in a log
_INTERVAL = 0.25  # seconds between two updates of the line of a harvest
_HIDDEN = "no connection"
"""The kind of warnings that are not printed: the error says it, if no later attempt succeeds."""


class Output(Console):
    """A rich console that prints text without markup. It raises BrokenPipeError if the reader of stdout has left.

    `file_width` is the width of a file or a pipe without COLUMNS: by default, no line is too long for it.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False, file_width: int = 10_000) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        self._is_quiet = quiet
        if not self.file.isatty() and "COLUMNS" not in os.environ:  # also with FORCE_COLOR
            self.width = file_width
        elif not self.width:  # COLUMNS=0: it is unknown
            self.width = DEFAULT_WIDTH
        if isinstance(self.file, TextIOWrapper):  # replace characters that its encoding lacks
            self.file.reconfigure(errors="replace")

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError for stdout, and discard what follows on stderr; rich would exit the process here."""
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True

    def print_line(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print texts, or pairs of a text and its style, without wrapping them."""
        line = Text.assemble(*parts)
        line.plain = without_commands(line.plain)
        self.print(line, soft_wrap=True)

    def print_message(self, *parts: str | Text | tuple[str, str], indent: str = "") -> None:
        """Print texts, or pairs of a text and its style. Lines end between words.

        With an `indent`, which all lines but the first one get, longer words are broken, but not in a text with a URL.
        """
        text = Text.assemble(*parts, overflow="ignore")  # of words that are too long
        lines = [text]
        if text.cell_len > self.width:
            breaks = indent and "://" not in text.plain
            lines = [*text.wrap(self, self.width - len(indent), overflow="fold" if breaks else None)]
        for number, line in enumerate(lines):
            line.rstrip()
            self.print_line(indent if number else "", line)

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

    def print_failures(self, failures: Mapping[str, BuddyError]) -> None:
        """Print each error once, with the suites and projects that failed with it."""
        names_by_error: dict[str, list[str]] = {}
        for name, error in failures.items():
            names_by_error.setdefault(error_text(error), []).append(name)
        for text, (name, *others) in names_by_error.items():
            more = f" and {len(others):,} more" if others else ""
            self.print_problem("failed", f"{name}{more}: {text}")

    @contextmanager
    def progress(self, text: str = "reading", *, enabled: bool = True) -> Iterator[Callable[[str], None]]:
        """Show a text on the last line of a terminal, or every 30 s in a log. Yield a function that changes it."""
        if self._is_quiet or not enabled:
            yield lambda _: None
        elif self.is_terminal and not self.is_dumb_terminal:
            with self.status(Text(cut(f"{text}…", self.width - _SPINNER_WIDTH))) as status:
                yield lambda text: status.update(Text(cut(text, self.width - _SPINNER_WIDTH)))
        else:
            shown = deque([text], maxlen=1)
            task = asyncio.create_task(self._repeat(shown))
            try:
                yield shown.append
            finally:
                task.cancel()

    async def _repeat(self, shown: Sequence[str]) -> NoReturn:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            await asyncio.sleep(_LOG_INTERVAL)
            self.print_note(f"{shown[-1]} · {format_duration(round(loop.time() - started))}")

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
        text = one_line(record.getMessage() if self._is_debug else _message_of(record))
        if record.levelno == logging.DEBUG:
            self._output.print_line((text, "dim"))
        elif self._is_debug or getattr(record, "kind", "") != _HIDDEN:
            self._output.print_message((text, "yellow"))


def _message_of(record: logging.LogRecord) -> str:
    """Return the message, in which errors name options, and no requests."""
    values = tuple(error_text(each) if isinstance(each, BuddyError) else each for each in record.args or ())
    return logging.makeLogRecord({**vars(record), "args": values}).getMessage()


@define
class HarvestProgress:
    """Reports the progress of a harvest of so many suites. `unlisted` are the projects that cannot be read."""

    _buddy: BuddyClient
    _harvest: Harvest
    _suites: int
    _unlisted: Mapping[str, BuddyError]
    noun: str = field(default="session", kw_only=True)
    error: BuddyError | None = field(default=None, init=False)

    @property
    def failures(self) -> dict[str, BuddyError]:
        """The error of each suite and each project that has failed so far, by its key."""
        return {**self._unlisted} | {str(suite): error for suite, error in self._harvest.failures.items()}

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command, after the harvest has ended."""
        if self.error is not None:
            return exit_code_of(self.error)
        return many_suites_code(self.failures.values(), is_any_read=self._harvest.stats.suites > 0)

    @property
    def is_partial(self) -> bool:
        """Whether the harvest has ended, with some suites that were read and some that failed."""
        return self.error is None and self._harvest.stats.suites > 0 and bool(self.failures)

    @contextmanager
    def run(self, messages: Output, *, enabled: bool = True, after_interrupt: str = "") -> Iterator[None]:
        """Show the progress on one line until the block ends, if `enabled` and if `messages` is a terminal."""
        try:
            with messages.progress(enabled=enabled) as show_text:
                task = asyncio.create_task(self._update(show_text))
                try:
                    yield
                finally:
                    task.cancel()
        except asyncio.CancelledError:
            messages.print_problem("interrupted", "; ".join(filter(None, (self.summary(), after_interrupt))))
            raise
        except BuddyError as error:
            if isinstance(error, StoreError) and not self._harvest.stats.requests:  # nothing was read
                raise
            self.error = error
            messages.print_problem("error", error_text(error))

    def summary(self) -> str:
        """Return the numbers of suites, failures, sessions and requests, also of those that have listed the suites."""
        stats, failed = self._harvest.stats, len(self._harvest.failures)
        done = stats.suites + failed
        parts = (
            ("" if done == self._suites else f"{done:,} of ") + format_count(self._suites, "suite"),
            f"{failed:,} failed" if failed else "",
            f"{format_count(len(self._unlisted), 'project')} failed" if self._unlisted else "",
            format_count(stats.sessions, self.noun),
            format_count(stats.cases, "test case") if stats.cases else "",
            format_count(self._buddy.api.transport.requests, "request"),
        )
        return ", ".join(filter(None, parts))

    def print_failures(self, messages: Output) -> None:
        """Print why suites and projects failed. Errors like the one in `error` are left out."""
        others = {name: error for name, error in self.failures.items() if type(error) is not type(self.error)}
        messages.print_failures(others)

    async def _update(self, show_text: Callable[[str], None]) -> NoReturn:
        while True:
            show_text(", ".join(filter(None, (self._wait(), self.summary()))))
            await asyncio.sleep(_INTERVAL)

    def _wait(self) -> str:
        """Return how long requests wait for the next window of the rate limit; an empty text if they do not wait."""
        limit = self._buddy.rate_limit
        if limit is None or limit.remaining != 0 or limit.reset_at is None:
            return ""
        seconds = math.ceil((limit.reset_at - datetime.now(UTC)).total_seconds())
        return f"waiting {format_duration(seconds)} for the rate limit" if seconds > 0 else ""
