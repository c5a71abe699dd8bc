"""The progress of a harvest: one live line while it runs, a summary at its end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn

from attrs import define, field

from buddy_sessions import BuddyClient, BuddyError, ConfigError, Harvest, Stats, StoreError
from buddy_sessions._base.figures import format_count, format_duration

from ..errors import ExitCode, error_text, exit_code_of, many_suites_code
from ..input.suite_selection import SuiteSelection
from .console import Output
from .text import format_requests

_MAX_FAILURES = 20  # printed errors
_INTERVAL = 0.25  # seconds between two updates of the line


@define
class HarvestProgress:
    """Reports the progress of a harvest of `selection` by `buddy`."""

    _buddy: BuddyClient
    _selection: SuiteSelection
    _harvest: Harvest
    noun: str = field(default="session", kw_only=True)
    reads_cases: bool = field(default=False, kw_only=True)
    _started: float = field(factory=time.monotonic, init=False)
    error: BuddyError | None = field(default=None, init=False)

    @property
    def stats(self) -> Stats:
        """The statistics of the harvest so far, including the requests that list suites."""
        return self._harvest.stats + self._selection.stats

    @property
    def failures(self) -> dict[str, BuddyError]:
        """The error of each suite and each project that has failed so far, by its key."""
        return self._selection.failures | {str(suite): error for suite, error in self._harvest.failures.items()}

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command, after the harvest has ended."""
        if self.error is not None:
            return exit_code_of(self.error)
        return many_suites_code(self.failures.values(), is_any_read=self.stats.suites > 0)

    @property
    def is_partial(self) -> bool:
        """Whether the harvest has ended, with some suites that were read and some that failed."""
        return self.error is None and self.stats.suites > 0 and bool(self.failures)

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
        except ConfigError:
            raise
        except BuddyError as error:
            if isinstance(error, StoreError) and not self.stats.requests:  # nothing was read
                raise
            self.error = error
            messages.print_problem("error", error_text(error))

    def summary(self) -> str:
        """Return the numbers of suites, failures, sessions and requests, and the elapsed time."""
        stats, failed = self.stats, len(self._harvest.failures)
        failed_projects = len(self._selection.failures)
        not_tried = ""
        if self.error is not None and (remaining := self._selection.count - self._selection.started):
            not_tried = f"{remaining:,}{self._more} not tried"
        parts = (
            format_count(stats.suites + failed, "suite"),
            f"{failed:,} failed" if failed else "",
            f"{format_count(failed_projects, 'project')} failed" if failed_projects else "",
            not_tried,
            format_count(stats.sessions, self.noun),
            self.cases(),
            f"{format_requests(stats)} in {format_duration(time.monotonic() - self._started)}",
        )
        return ", ".join(filter(None, parts))

    def print_failures(self, messages: Output) -> None:
        """Print each error once, with the suites that failed with it. Errors like the one in `error` are left out."""
        names_by_error: dict[str, list[str]] = {}
        for name, error in self.failures.items():
            if type(error) is not type(self.error):
                names_by_error.setdefault(error_text(error), []).append(name)
        failures = list(names_by_error.items())
        for text, (name, *others) in failures[:_MAX_FAILURES]:
            more = f" and {len(others):,} more" if others else ""
            messages.print_problem("failed", f"{name}{more}: {text}")
        if remaining := sum(len(names) for _, names in failures[_MAX_FAILURES:]):
            messages.print_message(f"and {remaining:,} more")

    async def _update(self, show_text: Callable[[str], None]) -> NoReturn:
        while True:
            show_text(self._line())
            await asyncio.sleep(_INTERVAL)

    @property
    def _more(self) -> str:
        """What follows a number of suites if not all are known."""
        return "" if self._selection.is_complete else "+"

    def cases(self) -> str:
        """Return the number of test cases, if they are read; otherwise an empty text."""
        return format_count(self.stats.cases, "test case") if self.reads_cases else ""

    def _line(self) -> str:
        """Return the progress, the most important part first, because a narrow terminal cuts the line."""
        stats, failed = self.stats, len(self.failures)
        parts = (
            f"{stats.suites + stats.failed:,}/{self._selection.count:,}{self._more} suites",
            format_count(stats.sessions, "session"),
            self.cases(),
            self._wait(),
            f"{failed:,} failed" if failed else "",
            f"{stats.requests / max(time.monotonic() - self._started, 1):.0f} requests/s",
        )
        return " · ".join(filter(None, parts))

    def _wait(self) -> str:
        """Return how long requests wait for the next window of the rate limit; an empty text if they do not wait."""
        limit = self._buddy.rate_limit
        if limit is None or limit.remaining != 0 or limit.reset_at is None:
            return ""
        seconds = math.ceil((limit.reset_at - datetime.now(UTC)).total_seconds())
        return f"waiting {format_duration(seconds)} for the rate limit" if seconds > 0 else ""
