"""Reads one suite: fetches the pages that the reconciler requests, and yields what is new."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from .._base.figures import Fetched, Stats
from .._base.workers import AsyncItems
from .._decoding.converter import DecodedPage, FirstPage, NotModified
from ..errors import BadRequestError, BuddyError
from ..models import Cursor, Session, SuiteKey
from .pacing import RequestSlots, Window
from .reconciler import PageResult, Reconciler

_T = TypeVar("_T")
_log = logging.getLogger("buddy_sessions")

FetchPage: TypeAlias = Callable[[Window], Coroutine[Any, Any, Fetched[_T]]]
"""Fetches one page. An error is part of the result: the error of a page requested in advance must wait for its turn."""


class PendingPages(Generic[_T]):
    """The pages of one read that are being fetched."""

    def __init__(self, fetch: FetchPage[_T]) -> None:
        self._fetch = fetch
        self._tasks: dict[Window, asyncio.Task[Fetched[_T]]] = {}

    async def get(self, windows: Sequence[Window]) -> Fetched[_T]:
        """Return the page of the first window. Start to fetch the other windows, and cancel any that is not listed."""
        if len(windows) == 1 and not self._tasks:
            return await self._fetch(windows[0])  # no task is needed
        await self._cancel(self._tasks.keys() - set(windows))
        for window in windows:
            if window not in self._tasks:
                self._tasks[window] = asyncio.create_task(self._fetch(window))
        fetched = await self._tasks[windows[0]]
        del self._tasks[windows[0]]
        return fetched

    async def cancel(self) -> None:
        """Cancel every fetch, and wait until it has ended."""
        await self._cancel(list(self._tasks))

    async def _cancel(self, windows: Iterable[Window]) -> None:
        tasks = [self._tasks.pop(window) for window in windows]
        for task in tasks:
            task.cancel()
        if tasks:  # `gather` needs an event loop of asyncio
            await asyncio.gather(*tasks, return_exceptions=True)


@attrs.frozen(kw_only=True)
class SessionPage:
    """One page of a read, with the sessions that were not yielded before, newest first.

    Attributes:
        suite: The suite that was read.
        number: The page number that was requested, from 1; 0 if a sync requested one session instead of a page.
        sessions: The sessions that are new in this read.
        proven_range: `(low, high)`: every existing session (of the branch, if the read has one) with a `relative_id`
            from `low` to `high` has been yielded after this page. None if the order of the list does not prove it. On
            the last page, `low` is below the last session only if the end of the list was checked.
        is_last: Whether the read is complete with this page, which may be empty.
    """

    suite: SuiteKey
    number: int
    sessions: tuple[Session, ...]
    proven_range: tuple[int, int] | None = None
    is_last: bool = False


@attrs.define(eq=False, repr=False)  # in a trace, it would show sessions
class PageReader:
    """One read of one suite, from `cursor` on. `fetch_first` fetches its first page."""

    suite: SuiteKey
    fetch: FetchPage[DecodedPage | NotModified]
    fetch_first: FetchPage[DecodedPage | NotModified]
    reconciler: Reconciler
    slots: RequestSlots  # of the harvest that this read belongs to, or of this read alone
    _start: Cursor | None = attrs.field(default=None, alias="cursor")  # the position before the current page
    is_not_modified: bool = False  # page 1 had the known digest: no page is yielded
    first_digest: bytes | None = None  # of page 1, if one was asked for
    listed: tuple[Session, ...] = ()  # by all responses since the last page: also what that page leaves out
    _is_first: bool = True  # no page was accepted yet
    _result: PageResult = attrs.Factory(PageResult)  # the current page
    _consumed: int = 0  # how many of its sessions were yielded: all, unless they are yielded one by one
    _stats: Stats = attrs.Factory(Stats)  # without the sessions of the current page

    @property
    def cursor(self) -> Cursor | None:
        """The position after the last session that was yielded. It stays before a page that is out of order."""
        if not self._consumed or not self._stats.verified:
            return self._start
        return Cursor(self._result.sessions[self._consumed - 1].relative_id, self._result.offset + self._consumed)

    @property
    def stats(self) -> Stats:
        """The cost so far."""
        return attrs.evolve(self._stats, sessions=self._stats.sessions + self._consumed)

    async def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Iterate over the pages, each with the sessions that were not yielded before. Call it once."""
        reconciler, slots = self.reconciler, self.slots
        pages_ahead = 0  # of this read
        pending = PendingPages(self._fetch_page)
        try:
            while not reconciler.is_done:
                windows = reconciler.windows(1 + max(pages_ahead + slots.idle, 0))
                slots.pages_ahead += len(windows) - 1 - pages_ahead
                pages_ahead = len(windows) - 1
                try:
                    page = (await pending.get(windows)).result()
                except BadRequestError:
                    if not reconciler.on_bad_request():
                        raise
                    continue
                if isinstance(page, NotModified):
                    self.is_not_modified = True
                    return
                if isinstance(page, FirstPage):
                    self.first_digest = page.digest
                self.listed += page.sessions
                result = reconciler.accept_page(page.sessions)
                self._count_page(result)
                if result.sessions or reconciler.is_complete:
                    self._begin_page(result)
                    yield SessionPage(
                        suite=self.suite,
                        number=windows[0].page,
                        sessions=result.sessions,
                        proven_range=result.proven_range,
                        is_last=reconciler.is_complete,
                    )
                    self.listed = ()
        except BuddyError as error:
            error.cursor = self.cursor
            raise
        finally:
            slots.pages_ahead -= pages_ahead
            await pending.cancel()

    async def sessions(self) -> AsyncGenerator[Session, None]:
        """Iterate over the sessions of the pages, one by one. Call it once, instead of `pages`."""
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                self._consumed = 0
                for session in page.sessions:
                    self._consumed += 1
                    yield session

    async def _fetch_page(self, window: Window) -> Fetched[DecodedPage | NotModified]:
        fetched = await (self.fetch_first if self._is_first else self.fetch)(window)
        self._stats += fetched.stats
        return fetched

    def _count_page(self, result: PageResult) -> None:
        """Count a page that the reconciler has taken."""
        self._is_first = False
        verified = self.reconciler.verified
        if self._stats.verified and not verified:
            _log.warning(
                "%s is not listed newest first, or its end cannot be confirmed: sessions may be missed or repeated",
                self.suite,
            )
            self._start = self.cursor
        is_reread = not result.sessions and not self.reconciler.is_complete
        self._stats += Stats(pages=1, duplicates=result.duplicates, rereads=int(is_reread), verified=verified)

    def _begin_page(self, result: PageResult) -> None:
        self._start = self.cursor
        self._stats += Stats(sessions=self._consumed)
        self._result = result
        self._consumed = len(result.sessions)


class SessionPaginator(AsyncItems):
    """The sessions of one suite, newest first. Each `async for` is a new read.

    Created by `BuddyClient.sessions`; the constructor is not public.

    Leaving a loop ends the read: in the next steps of the event loop, its tasks and connections are closed. If a read
    fails, it raises a `BuddyError`: resume with `cursor=error.cursor` and the same other arguments.

    Example:
        >>> async for session in buddy.sessions("acme/storefront/MNbyVedg"):
        ...     print(session.relative_id, session.status)
    """

    def __init__(self, suite: SuiteKey, new_reader: Callable[[], PageReader]) -> None:
        self._suite = suite
        self._new_reader = new_reader
        self._latest = new_reader()

    def __repr__(self) -> str:
        return f"<SessionPaginator {self._suite} cursor={self.cursor}>"

    def __aiter__(self) -> AsyncGenerator[Session, None]:
        """Iterate over the sessions of a new read."""
        self._latest = self._new_reader()
        return self._latest.sessions()

    def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Iterate over the pages of a new read. Each has only sessions that were not yielded before."""
        self._latest = self._new_reader()
        return self._latest.pages()

    async def collect(self) -> list[Session]:
        """Return all sessions of a new read. If it fails, they are lost, so do not resume from `error.cursor`."""
        return [session async for page in self.pages() for session in page.sessions]

    @property
    def cursor(self) -> Cursor | None:
        """The position of the latest read, after the last session that was yielded. At first, the `cursor` argument.

        If a page is out of order, the cursor stays before that page.
        """
        return self._latest.cursor

    @property
    def stats(self) -> Stats:
        """The `Stats` of the latest read so far."""
        return self._latest.stats
