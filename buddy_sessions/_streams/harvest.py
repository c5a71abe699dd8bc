"""`Harvest`: the sessions of many suites as one stream."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from types import MappingProxyType
from typing import Literal, Protocol

from attrs import define, evolve, field

from .._api import Api
from .._base.figures import Stats
from .._base.streams import Pages, Stream
from .._base.validate import validate_group, validate_key, validate_suite, validate_suites, validate_word
from .._base.workers import CommonCause, run_workers
from .._paging.pacing import RequestSlots
from .._paging.paginator import SessionPage
from ..errors import BuddyError, ConfigError, HarvestError
from ..models import Cursor, Session, Suite, SuiteKey, SuiteRef
from .channel import Channel

OnFailure = Literal["raise", "collect"]


class SuitePages(Protocol):
    """The pages of one suite, while they are read: a `PageReader`, or the sync of a store."""

    @property
    def stats(self) -> Stats:
        """The cost so far."""
        ...

    def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Iterate over the pages."""
        ...


class Harvest(Stream[tuple[SuiteKey, Session]]):
    """The sessions of many suites as one stream of `(key, session)`: an async iterator, which reads them once.

    Created by `BuddyClient.harvest` and `SessionStore.sync`; the constructor is not public.

    The sessions of a suite arrive newest first. Use it as `async with`, so that leaving the block stops the requests at
    once, or await its `run`. If you break out of a loop, the next one continues with the next session. To cancel an
    `anext` loses nothing. Only one task at a time can wait for a session: another one gets `RuntimeError`.

    A suite that fails does not stop the others: `HarvestError` is raised after the last session of the others, unless
    `on_failure` is "collect". If your iterable of suites raises an error, the harvest finishes the suites that it has
    started, then raises that error; if an element is not a suite, a `ConfigError`. A closed client ends the harvest
    with `ClientClosedError`. A suite that is listed twice is read twice, by a sync once.

    A rejected token ends the harvest at once with `AuthenticationError`, whatever `on_failure` is. So do 20 suites in a
    row that fail with the same retryable error, such as 503, or with a `TransportError`, while no page is read: that
    error is raised. Its `not_tried` is the number of suites that were not started.

    Example:
        >>> async with buddy.harvest(["acme/storefront/MNbyVedg", "acme/payments/Rr8dLm2a"]) as harvest:
        ...     async for key, session in harvest:
        ...         print(key, session.relative_id, session.status)
    """

    _whole = "run()"

    def __init__(
        self,
        api: Api,
        suites: Iterable[SuiteRef] | AsyncIterable[SuiteRef] | str,
        new_reader: Callable[[SuiteKey, RequestSlots], SuitePages],
        *,
        concurrency: int,
        on_failure: OnFailure = "raise",
        lock: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,  # entered while the harvest runs
        is_sync: bool = False,  # reads a suite that is listed twice once
        required: Collection[SuiteKey] = (),  # suites that must be among those that are read
        cursors: Mapping[SuiteKey, Cursor] = MappingProxyType({}),  # where it begins
    ) -> None:
        super().__init__()
        if isinstance(suites, str):
            suites = _look_up(api, *validate_group(suites))
        self._api = api
        self._is_sync = is_sync
        self._run = _HarvestRun(
            suites=_SuiteQueue(suites, unique=is_sync, required=required),
            new_reader=new_reader,
            slots=RequestSlots(api.max_concurrency),
            concurrency=concurrency,
            on_failure=validate_word("on_failure", on_failure, OnFailure),
            lock=lock,
            name="sync" if is_sync else "harvest",
        )
        self._channel = self._run.channel
        self._page: SessionPage | None = None  # the current one
        self._cursors: dict[SuiteKey, Cursor | None] = {**cursors}  # the positions before the current page

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        channel = getattr(self, "_channel", None)
        if channel is not None:  # otherwise, __init__ has failed
            if self._is_sync and channel.is_unused:
                _warn("this sync was never run: use `async for`, or `await ….run()`", RuntimeWarning, source=self)
            channel.abandon(self)

    def __repr__(self) -> str:
        stats, state = self.stats, "complete" if self.is_complete else "not complete"
        kind = "Harvest of a sync" if self._is_sync else "Harvest"
        return f"<{kind}: {stats.suites} suites, {stats.failed} failed, {stats.sessions} sessions, {state}>"

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The error of each suite that has failed so far."""
        return self._run.failures

    @property
    def stats(self) -> Stats:
        """The `Stats` of the harvest so far."""
        total = self._run.stats
        return evolve(total, verified=total.verified and not total.failed)

    @property
    def cursors(self) -> dict[SuiteKey, Cursor]:
        """The position in each suite after its last session that was yielded; empty for a sync.

        Another harvest continues from them, with `cursors=`. A suite has none before its first session was yielded, or
        if its list was out of order from the beginning: it is read again.
        """
        cursors = dict(self._cursors)
        if self._page is not None:
            key = self._page.suite
            cursors[key] = self._page.cursor_before(self._unread, cursors.get(key))
        return {key: cursor for key, cursor in cursors.items() if cursor is not None}

    async def run(self) -> Stats:
        """Read to the end, discard the sessions, and return the `Stats`. A sync has saved all changes."""
        async with self:
            async for _ in self.pages():
                pass
        self._raise_if_closed()
        return self.stats

    def pages(self) -> Pages[SessionPage]:
        """Return the rest of this harvest as pages; `page.suite` is the suite of a page."""
        return Pages(self, self._take_rest, self._next_page)

    async def _read(self) -> Sequence[tuple[SuiteKey, Session]] | None:
        page = await self._next_page()
        return None if page is None else [(page.suite, session) for session in page.sessions]

    async def _next_page(self) -> SessionPage | None:
        self._api.transport.check_event_loop()  # otherwise each suite would fail
        page = await self._channel.get()
        if page is not None:
            if self._page is not None:
                self._cursors[self._page.suite] = self._page.cursor
            self._page = page
        return page

    def _take_rest(self) -> SessionPage | None:
        rest = tuple(session for _, session in self._batch)
        return evolve(self._page, sessions=rest) if rest and self._page else None

    async def _stop(self) -> None:
        await self._channel.close()


@define(eq=False, kw_only=True)
class _HarvestRun:
    """Reads the suites, and puts their pages into a channel.

    It knows nothing of the stream that reads them, so that a dropped harvest is garbage-collected.
    """

    channel: Channel[SessionPage] = field(init=False)
    failures: dict[SuiteKey, BuddyError] = field(factory=dict, init=False)
    suites: _SuiteQueue
    new_reader: Callable[[SuiteKey, RequestSlots], SuitePages]
    slots: RequestSlots
    concurrency: int
    on_failure: OnFailure
    lock: Callable[[], AbstractAsyncContextManager[None]]
    name: str
    _common_cause: CommonCause = field(factory=CommonCause, init=False)
    _reading: set[SuitePages] = field(factory=set, init=False)
    _ended_reads: Stats = field(factory=Stats, init=False)

    def __attrs_post_init__(self) -> None:
        self.channel = Channel(self._work, size=self.concurrency, name=self.name)

    @property
    def stats(self) -> Stats:
        return sum((reader.stats for reader in self._reading), self._ended_reads)

    async def _work(self) -> None:
        """Read all suites. Raise the error that ends the harvest, or those of single suites."""
        async with self.lock():
            await run_workers(self._read_suites, self.concurrency)
        if self.suites.error is not None:
            raise self.suites.error
        if self.failures and self.on_failure == "raise":
            raise HarvestError(self.failures)

    async def _read_suites(self) -> None:
        while (key := await self.suites.next()) is not None:
            await self._read_suite(key)

    async def _read_suite(self, key: SuiteKey) -> None:
        try:
            reader = self.new_reader(validate_key(key), self.slots)
        except BuddyError as error:
            self._on_failed_suite(key, error)
            return
        self._reading.add(reader)
        self.slots.reads += 1
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    self._common_cause.record_success()
                    await self.channel.put(page)
            self._ended_reads += Stats(suites=1)
        except BuddyError as error:
            self._on_failed_suite(key, error)
        finally:
            self.slots.reads -= 1
            self._reading.discard(reader)
            self._ended_reads += reader.stats

    def _on_failed_suite(self, key: SuiteKey, error: BuddyError) -> None:
        """Add the failure of a suite. Raise it if it ends the harvest."""
        self.failures[key] = error.with_traceback(None)  # the frames would keep a page of 160 kB for each failed suite
        self._ended_reads += Stats(failed=1)
        if self._common_cause.record_failure(error):
            error.not_tried = self.suites.stop()
            raise error


async def _look_up(api: Api, workspace: str, project: str | None) -> AsyncIterator[Suite]:
    for suite in await api.suites(workspace, project):
        yield suite


class _SuiteQueue:
    """The suites of a harvest, taken one by one from an iterable; with `unique`, each of them once.

    It is a ConfigError if `required` suites are not among them.
    """

    def __init__(
        self,
        suites: Iterable[SuiteRef] | AsyncIterable[SuiteRef],
        *,
        unique: bool,
        required: Collection[SuiteKey],
    ) -> None:
        self.error: Exception | None = None  # of the iterable, or of an element that is no suite: none follows it
        self._suites = aiter(suites) if isinstance(suites, AsyncIterable) else iter(validate_suites(suites))
        self._remaining = len(suites) if isinstance(suites, Collection) else None
        self._unique = unique
        self._returned: set[SuiteKey] = set()  # if each is to be returned once
        self._missing = set(required)  # of these, those that were not returned yet
        self._lock = asyncio.Lock()  # two tasks cannot advance one async generator
        listed = map(validate_suite, suites) if self._missing and isinstance(suites, Collection) else self._missing
        if error := _error_of_missing(self._missing.difference(listed)):
            raise error

    async def next(self) -> SuiteKey | None:
        """Return the next suite; None if there is none, after an error, and after `stop`."""
        async with self._lock:
            while True:
                try:
                    suite = await anext(self._suites) if isinstance(self._suites, AsyncIterator) else next(self._suites)
                    key = validate_suite(suite)
                except (StopIteration, StopAsyncIteration):
                    self.error = self.error or _error_of_missing(self._missing)
                    return None
                except Exception as error:  # noqa: BLE001 - of the iterable or validate_suite; raised by the harvest
                    self.error = error
                    self.stop()
                    return None
                if self._remaining is not None:
                    self._remaining -= 1
                self._missing.discard(key)
                if key not in self._returned:
                    if self._unique:
                        self._returned.add(key)
                    return key

    def stop(self) -> int | None:
        """Return no more suites. Return how many were left; None if that is unknown."""
        self._suites = iter(())
        return self._remaining


def _error_of_missing(suites: Iterable[SuiteKey]) -> ConfigError | None:
    names = ", ".join(sorted(map(str, suites)))
    return ConfigError(f"after or cursors names {names}, which is not harvested: leave it out") if names else None
