"""What a harvest of the command line is to read: the suites that arguments and a file's lines name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from threading import Thread
from typing import TextIO

from buddy_sessions import BuddyClient, BuddyError, ConfigError, SuiteKey


class Targets:
    """The suites that arguments and lines name, each once. A project's are asked for when its turn comes.

    Raises:
        ConfigError: An argument names neither a suite nor a project.
    """

    def __init__(self, buddy: BuddyClient, arguments: Iterable[str], lines: TextIO | None) -> None:
        self.known: dict[SuiteKey, None] = {}
        self.failures: dict[str, BuddyError] = {}
        """The error of each project that could not be listed."""
        self.listings = 0
        self._buddy = buddy
        self._lines = lines
        self._projects: dict[tuple[str, ...], None] = {}
        for names in map(self._parse, arguments):
            if len(names) == 3:
                self.known[SuiteKey(*names)] = None
            else:
                self._projects[names] = None
        self._to_look_at = len(self._projects) + (lines is not None)

    @property
    def complete(self) -> bool:
        """Whether no more suites can become known."""
        return not self._to_look_at

    async def suites(self) -> AsyncIterator[SuiteKey]:
        """Iterate over the suites.

        Raises:
            ConfigError: A line names neither a suite nor a project.
        """
        for suite in list(self.known):
            yield suite
        for names in self._projects:
            found = await self._find(names)
            self._to_look_at -= 1
            for suite in found:
                yield suite
        if self._lines is not None:
            async for names in self._parsed(self._lines):
                for suite in await self._find(names):
                    yield suite
            self._to_look_at -= 1

    async def _parsed(self, lines: TextIO) -> AsyncIterator[tuple[str, ...]]:
        number = 0
        async for line in _lines(lines):
            number += 1
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            try:
                names = self._parse(text)
            except ConfigError as error:
                source = lines.name if isinstance(lines.name, str) else "stdin"
                raise ConfigError(f"{source}, line {number}: {error}") from None
            yield names

    async def _find(self, names: tuple[str, ...]) -> list[SuiteKey]:
        """Return the suites of that name, or of the project of that name, that were not known."""
        if len(names) == 3:
            found = [SuiteKey(*names)]
        else:
            self.listings += 1
            try:
                found = [suite.key for suite in await self._buddy.suites(*names)]
            except BuddyError as error:
                self.failures["/".join(names)] = error
                return []
        new = [suite for suite in dict.fromkeys(found) if suite not in self.known]
        self.known.update(dict.fromkeys(new))
        return new

    def _parse(self, text: str) -> tuple[str, ...]:
        names = tuple(text.split("/"))
        if len(names) not in {2, 3} or not all(names):
            raise ConfigError(f"neither workspace/project/suite_id nor workspace/project: {text!r}")
        self._buddy.sessions(*(*names, "any")[:3])  # refuses, before any I/O, a name that cannot be one
        return names


class Everywhere(Mapping[SuiteKey, int]):
    """The same number for every suite there is; those known so far are what it iterates over."""

    def __init__(self, suites: Collection[SuiteKey], number: int) -> None:
        self._suites = suites
        self._number = number

    def __getitem__(self, suite: SuiteKey) -> int:
        return self._number

    def __iter__(self) -> Iterator[SuiteKey]:
        return iter(self._suites)

    def __len__(self) -> int:
        return len(self._suites)


def open_lines(source: str, files: AsyncExitStack) -> TextIO:
    """Open a file, or stdin, to be read by lines. What is no UTF-8 is kept, and then refused as part of a name."""
    stdin = source == "-"
    lines = open(0 if stdin else source, encoding="utf-8-sig", errors="surrogateescape", closefd=not stdin)  # noqa: SIM115 - see below
    if lines.seekable():
        files.enter_context(lines)
    return lines  # a pipe is left open: to close it would be to wait for its next line


async def _lines(stream: TextIO) -> AsyncIterator[str]:
    """Iterate over the lines as they come; while none does, everything else goes on."""
    if stream.seekable():  # a file on a disk, whose lines are at hand
        for line in stream:
            yield line
        return
    while line := await _elsewhere(stream.readline):
        yield line


async def _elsewhere(read: Callable[[], str]) -> str:
    """Return what `read` returns, from a thread that nobody waits for: after an interrupt no line may ever come."""
    future = Future[str]()

    def work() -> None:
        future.set_running_or_notify_cancel()
        try:
            text = read()
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            future.set_exception(error)
        else:
            future.set_result(text)

    Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(future)
