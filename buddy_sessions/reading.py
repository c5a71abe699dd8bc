"""One suite, read into the file of a store: a walk from the top, then one for each gap and each unfinished session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import attrs

from .client import BuddyClient
from .database import Database
from .intervals import Interval, Intervals, union
from .models import Cursor, SessionPage, SuiteKey, WalkStats
from .paging import PageIterator, SessionPaginator

_P = ParamSpec("_P")
_T = TypeVar("_T")

_ABOVE_ALL = 2**63 - 1
"""The highest number that SQLite knows."""


class Save(Protocol):
    """Has something done with the file."""

    async def __call__(  # noqa: D102 - the class says it
        self, work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T: ...


class Reading(AsyncIterator[SessionPage]):
    """One suite, read into the file: a walk from the top, and one for each gap and each unfinished session below."""

    def __init__(self, buddy: BuddyClient, key: SuiteKey, *, branch: str | None, since: int, save: Save) -> None:
        self._buddy = buddy
        self._key = key
        self._branch = branch
        self._since = since
        self._save = save
        self._walks: list[SessionPaginator] = []
        self._pages: PageIterator | None = None
        self._settled: Intervals = ()
        """The numbers that this harvest has read."""
        self._below = 0
        """What remains to be looked at has lower numbers; for the walk from the top, the newest known before it."""
        self._found = 0

    @property
    def stats(self) -> WalkStats:
        """What all walks have cost so far; of the sessions, those that were new or have changed."""
        total = WalkStats(sessions=self._found)
        for walk in self._walks:
            stats = walk.stats
            total.requests += stats.requests
            total.retries += stats.retries
            total.waited += stats.waited
            total.pages += stats.pages
        return total

    def pages(self) -> AsyncIterator[SessionPage]:
        """Return this: it is read once."""
        return self

    async def __anext__(self) -> SessionPage:
        if not self._walks:
            known = await self._save(Database.newest, self._key)
            self._below = known[0]
            self._begin(since=self._since if self._branch else max(known[1], self._since))
        while self._pages is not None:
            page = await anext(self._pages)
            settles = self._settles(page)
            covers = None if self._branch else page.covers
            saved = await self._save(Database.save, self._key, page.sessions, covers, settles)
            fresh = tuple(session for session in saved if session.relative_id > self._since)
            self._found += len(fresh)
            if page.last:
                await self._go_on()
            if fresh or self._pages is None:
                return attrs.evolve(page, sessions=fresh, last=self._pages is None)
        raise StopAsyncIteration

    def _begin(self, *, since: int, start: Cursor | None = None) -> None:
        walk = self._buddy.sessions(*self._key, branch=self._branch, since=since, start=start)
        self._walks.append(walk)
        self._pages = walk._pages(trim=False)  # noqa: SLF001 - same package

    def _settles(self, page: SessionPage) -> Interval | None:
        """Return the numbers of which the page tells all by itself: whoever has one and is not on it is gone."""
        walk = self._walks[-1]
        if self._branch or not walk.stats.certified:
            return None
        covers = page.covers
        if len(self._walks) == 1 and not self._settled:
            # The top of the list: nothing known before lies above it. What others have saved since may.
            low, high = covers or (1, 0)
            covers = low, max(high, self._below)
        if covers and covers[0] <= covers[1]:
            self._settled = union(self._settled, covers)
            return covers
        return None

    async def _go_on(self) -> None:
        """Begin the next walk, if there is one to come."""
        self._pages = None
        if self._branch or not self._walks[-1].stats.certified:
            return  # a list that is not in order was read to its end
        below = self._below if len(self._walks) > 1 else _ABOVE_ALL
        target = await self._save(
            Database.missing, self._key, self._since, below, self._settled, self._walks[-1].cursor
        )
        if target is not None:
            (low, _), start = target
            self._below = low
            self._begin(since=low - 1, start=start)
