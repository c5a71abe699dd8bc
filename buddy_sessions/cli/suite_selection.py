"""The suites that arguments and the lines of a file name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from buddy_sessions import AuthenticationError, BuddyClient, BuddyError, ConfigError, Stats, SuiteKey

from .files import open_lines, read_lines
from .keys import KeyDefaults, Target, check_host


class SuiteSelection:
    """The suites that `arguments` and `lines` name: suites, and projects for all their suites, each once."""

    def __init__(
        self, arguments: Sequence[str], lines: TextIO | None = None, *, defaults: KeyDefaults = KeyDefaults()
    ) -> None:
        if not arguments and lines is None:
            if not (defaults.workspace and defaults.project):
                raise ConfigError("no suite given: name suites or projects, or pass a file with --from")
            arguments = [""]  # the project of the defaults
        targets = dict.fromkeys(map(defaults.parse_target, arguments))
        self._defaults = defaults
        self._suites = [target for target in targets if isinstance(target, SuiteKey)]
        self._projects = [target for target in targets if not isinstance(target, SuiteKey)]
        self._lines = lines
        self._known = set(self._suites)
        self._pending_sources = len(self._projects) + (lines is not None)
        self.failures: dict[str, BuddyError] = {}
        self.stats = Stats()
        self.started = 0

    @property
    def count(self) -> int:
        """The number of suites that are known so far."""
        return len(self._known)

    @property
    def is_complete(self) -> bool:
        """Whether all suites are known."""
        return not self._pending_sources

    async def suites(self, buddy: BuddyClient) -> AsyncIterator[SuiteKey]:
        """Iterate over the suites: first those of the arguments, then those of projects, then those of the lines."""
        async for suite in self._find(buddy):
            self.started += 1
            yield suite

    async def _find(self, buddy: BuddyClient) -> AsyncIterator[SuiteKey]:
        targets: list[Target] = [*self._suites, *self._projects]
        for target in targets:
            _validate_names(buddy, target)
        for suite in self._suites:
            yield suite
        for project in self._projects:
            suites = await self._list(buddy, project)
            self._pending_sources -= 1
            for suite in suites:
                yield suite
        if self._lines is not None:
            async for target in self._read_targets(buddy, self._lines):
                for suite in await self._list(buddy, target):
                    yield suite
            self._pending_sources -= 1

    async def _read_targets(self, buddy: BuddyClient, lines: TextIO) -> AsyncIterator[Target]:
        number = 0
        async for line in read_lines(lines):
            number += 1
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            try:
                target = self._defaults.parse_target(text)
                check_host(buddy, text)
                _validate_names(buddy, target)
            except ConfigError as error:
                name = lines.name if isinstance(lines.name, str) else "stdin"
                raise ConfigError(f"{name}, line {number}: {error}") from None
            yield target

    async def _list(self, buddy: BuddyClient, target: Target) -> list[SuiteKey]:
        """Return the suite, or the suites of the project, without those that are already known."""
        if isinstance(target, SuiteKey):
            suites = [target]
        else:
            self.stats += Stats(requests=1)
            try:
                suites = [suite.key for suite in await buddy.suites(*target)]
            except AuthenticationError:
                raise  # nothing else can be read either
            except BuddyError as error:
                self.failures["/".join(target)] = error
                return []
        new = [suite for suite in dict.fromkeys(suites) if suite not in self._known]
        self._known.update(new)
        return new


@contextmanager
def open_selection(arguments: Sequence[str], source: str | None, defaults: KeyDefaults) -> Iterator[SuiteSelection]:
    """Yield the suites that arguments and the lines of a file name. `source` is its path, - for stdin, or None."""
    if source is None:
        yield SuiteSelection(arguments, defaults=defaults)
    else:
        with open_lines(source) as lines:
            yield SuiteSelection(arguments, lines, defaults=defaults)


def _validate_names(buddy: BuddyClient, target: Target) -> None:
    """Raise ConfigError if a name cannot be part of a URL. Sends no request."""
    buddy.sessions(target if isinstance(target, SuiteKey) else SuiteKey(*target, "any"))
