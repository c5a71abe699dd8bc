"""Many suites, one stream: a bounded number of workers reads them, and what they find waits in a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Literal, Protocol, Self, get_args

from attrs import define

from .errors import BuddyError, ClientClosedError, ConfigError, HarvestError
from .models import Session, SessionPage, SuiteKey, WalkStats

OnFailure = Literal["raise", "collect"]


class Source(Protocol):
    """What a suite is read through: a paginator, or what stands for one. It knows its pages, and what they cost."""

    @property
    def stats(self) -> WalkStats: ...  # noqa: D102 - the class says it
    def pages(self) -> AsyncIterator[SessionPage]: ...  # noqa: D102 - likewise


@define(kw_only=True)
class HarvestStats:
    """What a harvest has read, and what it has cost so far.

    Attributes:
        suites: Suites read to their end.
        failed: Suites that failed.
        sessions: Sessions read.
        pages: Pages read.
        requests: Requests sent, repeated ones counted.
        retries: Requests among them that repeated a failed one.
        waited: Seconds that requests have waited, for the rate limit and before retries, added up.
    """

    suites: int = 0
    failed: int = 0
    sessions: int = 0
    pages: int = 0
    requests: int = 0
    retries: int = 0
    waited: float = 0.0

    def add(self, stats: WalkStats | HarvestStats) -> None:
        """Add what a walk, or another harvest, has read and cost."""
        self.sessions += stats.sessions
        self.pages += stats.pages
        self.requests += stats.requests
        self.retries += stats.retries
        self.waited += stats.waited


class Harvest(AsyncIterator[tuple[SuiteKey, Session]]):
    """The sessions of many suites as one stream of `(key, session)`; each suite's come newest first.

    Use it as `async with`, so that breaking out of the loop leaves nothing behind at once. A suite that fails never
    stops another: when all others have been yielded, `HarvestError` is raised, or not if failures are collected. Any
    other failure, such as one of the iterable that gives the keys, is raised when the suites begun by then have been
    yielded.
    """

    def __init__(
        self,
        suites: Iterable[SuiteKey] | AsyncIterable[SuiteKey],
        read: Callable[[SuiteKey], Source],
        *,
        concurrency: int,
        on_failure: OnFailure = "raise",
    ) -> None:
        self._workers: list[asyncio.Task[None]] = []
        if on_failure not in get_args(OnFailure):
            raise ConfigError(f"on_failure must be 'raise' or 'collect', not {on_failure!r}")
        if isinstance(suites, str | tuple) or not isinstance(suites, Iterable | AsyncIterable):
            raise ConfigError("suites must be an iterable of SuiteKey, such as a list; SuiteKey.parse reads one's text")
        self._crew = _Crew(suites, read, concurrency)
        self._concurrency = concurrency
        self._on_failure = on_failure
        self._items: Iterator[Session] = iter(())
        self._suite = SuiteKey("", "", "")
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._dismiss()

    async def aclose(self) -> None:
        """End the harvest, and wait until nothing of it is under way."""
        await asyncio.gather(*self._dismiss(), return_exceptions=True)

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The error of each suite that has failed so far."""
        return self._crew.failures

    @property
    def stats(self) -> HarvestStats:
        """What has been read so far, and what it has cost."""
        return self._crew.stats()

    async def __anext__(self) -> tuple[SuiteKey, Session]:
        while True:
            for session in self._items:
                return self._suite, session
            page = await self._next_page()
            self._suite, self._items = page.suite, iter(page.sessions)

    async def pages(self) -> AsyncIterator[SessionPage]:
        """Iterate over what is left page by page, as the pages come: `page.suite` says whose it is."""
        while True:
            try:
                page = await self._next_page()
            except StopAsyncIteration:
                return
            yield page

    async def _next_page(self) -> SessionPage:
        if self._ended:
            raise StopAsyncIteration
        crew = self._crew
        if not self._workers:
            crew.working = self._concurrency
            self._workers = [asyncio.create_task(crew.work()) for _ in range(self._concurrency)]
            for worker in self._workers:
                worker.add_done_callback(crew.left)
        if (crew.working or not crew.found.empty()) and (page := await crew.found.get()) is not None:
            return page
        crew.wake()  # another loop may wait, too
        if self._ended:  # closed while this waited
            raise StopAsyncIteration
        self._dismiss()
        if crew.fatal is not None:
            raise crew.fatal
        if crew.failures and self._on_failure == "raise":
            raise HarvestError(crew.failures)
        raise StopAsyncIteration

    def _dismiss(self) -> list[asyncio.Task[None]]:
        """Stop the workers, and return them. Who waits for what they find is woken by the last that leaves."""
        self._ended = True
        for worker in self._workers:
            worker.cancel()
        return self._workers


class _Crew:
    """What the workers share. They do not know the harvest, so that one that is dropped ends them."""

    def __init__(
        self,
        suites: Iterable[SuiteKey] | AsyncIterable[SuiteKey],
        read: Callable[[SuiteKey], Source],
        concurrency: int,
    ) -> None:
        self.found: asyncio.Queue[SessionPage | None] = asyncio.Queue(concurrency)
        """Pages; None wakes who waits when there are no more."""
        self.failures: dict[SuiteKey, BuddyError] = {}
        self.fatal: BaseException | None = None
        self.working = 0
        self._suites = _Suites(suites)
        self._turn = asyncio.Lock()
        self._read = read
        self._reading: set[Source] = set()
        self._ended = HarvestStats()

    def stats(self) -> HarvestStats:
        """Return what has been read and what it has cost, what is under way included."""
        total = HarvestStats(suites=self._ended.suites, failed=self._ended.failed)
        total.add(self._ended)
        for source in self._reading:
            total.add(source.stats)
        return total

    async def work(self) -> None:
        """Read one suite after the other, until there are no more, or until something fails that is not one suite's."""
        try:
            while (key := await self._next_suite()) is not None:
                await self._read_suite(key)
        except Exception as error:  # noqa: BLE001 - handed to the harvest's reader, who raises it
            self.fatal = self.fatal or error

    def left(self, worker: asyncio.Task[None]) -> None:
        """Take note that a worker has ended, by whatever cause."""
        self.working -= 1
        if worker.cancelled() and self.fatal is None:
            self.fatal = asyncio.CancelledError()
        if not self.working:
            self.wake()

    def wake(self) -> None:
        """Wake one who waits for what the workers would have found."""
        if self.found.empty():
            self.found.put_nowait(None)

    async def _next_suite(self) -> SuiteKey | None:
        async with self._turn:
            if self.fatal is not None:
                return None
            try:
                key = await anext(self._suites)
            except StopAsyncIteration:
                return None
        return SuiteKey.checked(key)

    async def _read_suite(self, key: SuiteKey) -> None:
        source: Source | None = None
        try:
            source = self._read(key)
            self._reading.add(source)
            async for page in source.pages():
                await self.found.put(page)
            self._ended.suites += 1
        except ClientClosedError:
            raise  # no other suite can be read either
        except BuddyError as error:
            # Its frames would keep the page before it: 160 kB for each suite that fails.
            self.failures[key] = error.with_traceback(None)
            self._ended.failed += 1
        finally:
            if source is not None:
                self._reading.discard(source)
                self._ended.add(source.stats)


class _Suites(AsyncIterator[SuiteKey]):
    """Either kind of iterable, one suite at a time: there may be more than the memory holds.

    No generator, which would want to be closed by whoever leaves it unfinished.
    """

    def __init__(self, suites: Iterable[SuiteKey] | AsyncIterable[SuiteKey]) -> None:
        self._later = aiter(suites) if isinstance(suites, AsyncIterable) else None
        self._here = iter(()) if isinstance(suites, AsyncIterable) else iter(suites)

    async def __anext__(self) -> SuiteKey:
        if self._later is not None:
            return await anext(self._later)
        for suite in self._here:
            return suite
        raise StopAsyncIteration
