"""`Harvest`: the sessions of many suites as one stream."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import partial
from itertools import repeat
from typing import Literal, Protocol, Self, get_args

import attrs

from .._api import Api
from .._base.figures import Stats
from .._base.validate import validate_key, validate_suite, validate_suites
from .._base.workers import AsyncContext, AsyncItems, Channel, CommonCause, run_workers
from .._paging.pacing import RequestSlots
from .._paging.paginator import SessionPage
from ..errors import BuddyError, ConfigError, HarvestError
from ..models import Session, SuiteKey, SuiteRef

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


class Harvest(AsyncItems, AsyncContext, AsyncIterator[tuple[SuiteKey, Session]]):
    """The sessions of many suites as one stream of `(key, session)`. The sessions of a suite arrive newest first.

    Created by `BuddyClient.harvest` and `SessionStore.sync`; the constructor is not public.

    Use it as `async with`, so that leaving the block stops the requests at once, or await its `run`. Only one task can
    iterate over it: another one gets `RuntimeError`, until the first has ended. A loop after its end raises
    `ConfigError`.

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
        suites: Iterable[SuiteRef] | AsyncIterable[SuiteRef],
        read: Callable[[SuiteKey, RequestSlots], SuitePages],
        *,
        concurrency: int,
        on_failure: OnFailure = "raise",
        hold: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,  # entered while the harvest runs
        is_sync: bool = False,  # reads a suite that is listed twice once
    ) -> None:
        if on_failure not in get_args(OnFailure):
            raise ConfigError(f"on_failure must be 'raise' or 'collect', not {on_failure!r}")
        self._api = api
        self._suites = _SuiteQueue(suites, unique=is_sync)
        self._read = read
        self._on_failure = on_failure
        self._failures: dict[SuiteKey, BuddyError] = {}
        self._common_cause = CommonCause()
        self._reading: set[SuitePages] = set()
        self._slots = RequestSlots(api.max_concurrency)
        self._ended_reads = Stats()
        self._channel = Channel[SessionPage](partial(self._work, hold, concurrency), size=concurrency, name="harvest")
        self._is_sync = is_sync
        self._items: Iterator[tuple[SuiteKey, Session]] = iter(())  # the rest of the current page

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if getattr(self, "_is_sync", False) and self._channel.is_unused:  # not if __init__ has failed
            _warn("this sync was never run: use `async for`, or `await ….run()`", RuntimeWarning, source=self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the harvest, and wait until its requests have ended. You can call it more than once."""
        self._items = iter(())
        await self._channel.close()

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The error of each suite that has failed so far."""
        return self._failures

    @property
    def stats(self) -> Stats:
        """The `Stats` of the harvest so far."""
        total = sum((reader.stats for reader in self._reading), self._ended_reads)
        return attrs.evolve(total, verified=total.verified and not total.failed)

    def __aiter__(self) -> Self:
        self._raise_if_ended()
        return self

    async def __anext__(self) -> tuple[SuiteKey, Session]:
        self._channel.claim()
        while (item := next(self._items, None)) is None:
            page = await self._next_page()
            if page is None:
                raise StopAsyncIteration
            self._items = zip(repeat(page.suite), page.sessions)
        return item

    async def run(self) -> Stats:
        """Read to the end, discard the sessions, and return the `Stats`. A sync has saved all changes."""
        async with self:
            async for _ in self.pages():
                pass
        return self.stats

    async def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Iterate over the pages; `page.suite` is the suite of a page.

        After a loop over sessions, the rest of its current page is skipped.
        """
        self._raise_if_ended()
        while (page := await self._next_page()) is not None:
            yield page

    def _raise_if_ended(self) -> None:
        if self._channel.is_closed:
            raise ConfigError("this harvest has ended: call harvest(), or sync(), again to read once more")

    async def _next_page(self) -> SessionPage | None:
        self._api.transport.check_event_loop()  # otherwise each suite would fail
        return await self._channel.get()

    async def _work(self, hold: Callable[[], AbstractAsyncContextManager[None]], concurrency: int) -> None:
        async with hold():
            await run_workers(self._read_suites, concurrency)
        if self._suites.error is not None:
            raise self._suites.error
        if self._failures and self._on_failure == "raise":
            raise HarvestError(self._failures)

    async def _read_suites(self) -> None:
        while (key := await self._suites.next()) is not None:
            await self._read_suite(key)

    async def _read_suite(self, key: SuiteKey) -> None:
        try:
            reader = self._read(validate_key(key), self._slots)
        except BuddyError as error:
            self._on_failed_suite(key, error)
            return
        self._reading.add(reader)
        self._slots.reads += 1
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    self._common_cause.on_success()
                    await self._channel.put(page)
            self._ended_reads += Stats(suites=1)
        except BuddyError as error:
            self._on_failed_suite(key, error)
        finally:
            self._slots.reads -= 1
            self._reading.discard(reader)
            self._ended_reads += reader.stats

    def _on_failed_suite(self, key: SuiteKey, error: BuddyError) -> None:
        """Add the failure of a suite. Raise it if it ends the harvest."""
        self._failures[key] = error.with_traceback(None)  # the frames would keep a page of 160 kB for each failed suite
        self._ended_reads += Stats(failed=1)
        if self._common_cause.is_shown_by(error):
            error.not_tried = self._suites.stop()
            raise error


class _SuiteQueue:
    """The suites of a harvest, taken one by one from an iterable; with `unique`, each of them once."""

    def __init__(self, suites: Iterable[SuiteRef] | AsyncIterable[SuiteRef], *, unique: bool) -> None:
        self.error: Exception | None = None  # of the iterable, or of an element that is no suite: none follows it
        self._suites = aiter(suites) if isinstance(suites, AsyncIterable) else iter(validate_suites(suites))
        self._remaining = len(suites) if isinstance(suites, Sized) else None
        self._unique = unique
        self._returned: set[SuiteKey] = set()  # if each is to be returned once
        self._lock = asyncio.Lock()  # two tasks cannot advance one async generator

    async def next(self) -> SuiteKey | None:
        """Return the next suite; None if there is none, after an error, and after `stop`."""
        async with self._lock:
            while True:
                try:
                    suite = await anext(self._suites) if isinstance(self._suites, AsyncIterator) else next(self._suites)
                    key = validate_suite(suite)
                except (StopIteration, StopAsyncIteration):
                    return None
                except Exception as error:  # noqa: BLE001 - of the iterable or validate_suite; raised by the harvest
                    self.error = error
                    self.stop()
                    return None
                if self._remaining is not None:
                    self._remaining -= 1
                if key not in self._returned:
                    if self._unique:
                        self._returned.add(key)
                    return key

    def stop(self) -> int | None:
        """Return no more suites. Return how many were left; None if that is unknown."""
        self._suites = iter(())
        return self._remaining
