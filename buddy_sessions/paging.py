"""The async iterators around a walk: they read the pages that it wants, and hand out what it finds new."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from operator import length_hint
from typing import Any, Self

from .errors import BadRequestError, BuddyError
from .fast import DecodedPage
from .models import Cursor, Session, SessionPage, SuiteKey, WalkStats
from .walk import Step, Walk, Window

_log = logging.getLogger("buddy_sessions")

Fetch = Callable[[Window, WalkStats], Coroutine[Any, Any, DecodedPage]]
"""Reads one page; adds what it cost to the stats."""


class SessionPaginator:
    """The sessions of one suite, newest first. Each `async for` is a new walk from its start.

    Breaking out of a loop leaves nothing behind. A loop's iterator that raised can be asked again, and goes on where
    it stood.
    """

    def __init__(
        self, suite: SuiteKey, *, fetch: Fetch, walk: Callable[..., Walk], start: Cursor | None = None
    ) -> None:
        self._suite = suite
        self._fetch = fetch
        self._walk = walk
        self._start = start
        self._position = _Position(start)

    def __repr__(self) -> str:
        return f"<SessionPaginator {self._suite} cursor={self.cursor}>"

    def __aiter__(self) -> SessionIterator:
        return SessionIterator(self.pages(), self._position)

    def pages(self) -> PageIterator:
        """Return a new walk as an async iterator of pages: each brings only what the walk had not yielded before.

        Raises (while iterating):
            BuddyError: With `cursor` set to where the walk stood.
        """
        return self._pages()

    def _pages(self, *, trim: bool = True) -> PageIterator:
        """Return a new walk. Untrimmed, its pages bring what lies at or below `since` too, where it came along."""
        self._position = _Position(self._start)
        return PageIterator(self._suite, self._fetch, self._walk(trim=trim), self._position)

    async def collect(self) -> list[Session]:
        """Return all sessions of a new walk.

        Raises:
            BuddyError: With `cursor` set to where the walk stood; what it had read is lost.
        """
        return [session async for page in self.pages() for session in page.sessions]

    @property
    def cursor(self) -> Cursor | None:
        """Where the latest walk stands, after each single session; None at its beginning.

        In a list that is not in order it stays where the order was lost: resuming may repeat, but loses nothing.
        """
        return self._position.cursor

    @property
    def stats(self) -> WalkStats:
        """What the latest walk has cost so far."""
        return self._position.counted()


class PageIterator(AsyncIterator[SessionPage]):
    """One walk, page by page."""

    def __init__(self, suite: SuiteKey, fetch: Fetch, walk: Walk, position: _Position) -> None:
        self._suite = suite
        self._fetch = fetch
        self._walk = walk
        self._position = position
        self._flights: dict[Window, asyncio.Task[DecodedPage]] = {}
        self._running = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionPage:
        walk, position = self._walk, self._position
        if self._running:  # as an async generator has it
            raise RuntimeError("this walk is waiting for a page already: one task at a time can iterate over it")
        self._running = True
        try:
            while not walk.done:
                window = walk.wanted()[0]
                try:
                    page = await self._read(window)
                except BadRequestError:
                    if not walk.refused():
                        raise
                    continue
                step = walk.feed(page.sessions)
                position.count(step, certified=walk.certified, complete=walk.complete)
                if step.sessions or walk.complete:
                    position.enter(step, certified=walk.certified)
                    return SessionPage(
                        suite=self._suite,
                        number=window.page,
                        sessions=step.sessions,
                        url=page.url,
                        html_url=page.html_url,
                        covers=step.covers,
                        last=walk.complete,
                    )
        except BaseException as error:
            self._land()
            if isinstance(error, BuddyError):
                error.cursor = position.cursor
            raise
        finally:
            self._running = False
        self._land()
        raise StopAsyncIteration

    def __del__(self) -> None:
        self._land()

    async def aclose(self) -> None:
        """End the walk, and wait until nothing of it is in flight."""
        flights = self._land()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _read(self, window: Window) -> DecodedPage:
        """Read the first page wanted, and start the others."""
        wanted = self._walk.wanted()
        if len(wanted) == 1 and not self._flights:
            return await self._fetch(window, self._position.stats)
        for stale in self._flights.keys() - set(wanted):
            self._flights.pop(stale).cancel()
        for ahead in wanted:
            if ahead not in self._flights:
                self._flights[ahead] = asyncio.create_task(self._fetch(ahead, self._position.stats))
        page = await self._flights[window]
        del self._flights[window]
        return page

    def _land(self) -> list[asyncio.Task[DecodedPage]]:
        """Cancel what is in flight, and return it: asyncio warns of no failure in a task that was cancelled."""
        flights = list(self._flights.values())
        self._flights.clear()
        for flight in flights:
            flight.cancel()
        return flights


class SessionIterator(AsyncIterator[Session]):
    """One walk, session by session."""

    def __init__(self, pages: PageIterator, position: _Position) -> None:
        self._pages = pages
        self._position = position
        self._items: Iterator[Session] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Session:
        while True:
            for session in self._items:
                return session
            page = await self._pages.__anext__()
            self._items = self._position.items = iter(page.sessions)

    async def aclose(self) -> None:
        """End the walk, and wait until nothing of it is in flight."""
        await self._pages.aclose()


class _Position:
    """Where a walk stands, apart from its iterator: looking at it must not keep an abandoned iterator alive."""

    def __init__(self, start: Cursor | None) -> None:
        self.stats = WalkStats()
        self.items: Iterator[Session] = iter(())
        """What is left of the page that is being handed out."""
        self._before = start
        self._step = Step()
        self._certified = True
        self._yielded = 0

    @property
    def cursor(self) -> Cursor | None:
        consumed = self._consumed
        if not consumed or not self._certified:
            return self._before
        return Cursor(self._step.sessions[consumed - 1].relative_id, self._step.place + consumed)

    @property
    def _consumed(self) -> int:
        return len(self._step.sessions) - length_hint(self.items)

    def count(self, step: Step, *, certified: bool, complete: bool) -> None:
        """Add to the stats what a page brought."""
        stats = self.stats
        stats.pages += 1
        stats.duplicates += step.duplicates
        stats.rereads += not step.sessions and not complete
        if stats.certified and not certified:
            stats.certified = False
            _log.warning("the list is not strictly newest first: nothing proves that no session is lost or repeated")

    def enter(self, step: Step, *, certified: bool) -> None:
        """Stand behind the step's sessions; before them once `items` is set to hand them out singly."""
        self._before = self.cursor
        self._yielded += len(self._step.sessions)
        self._step, self._certified, self.items = step, certified, iter(())

    def counted(self) -> WalkStats:
        """Return the stats, up to date."""
        self.stats.sessions = self._yielded + self._consumed
        return self.stats
