"""A SQLite file of sessions: each harvest into it reads what is missing, and may be killed at any moment.

What a page proves is saved in the same transaction as its sessions: `covered` holds the numbers of which every session
alive is in the file, so that the next harvest walks the gaps alone. One thread owns the file; the event loop never
waits for a disk.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, Self, TypeVar

import attrs

from .client import BuddyClient
from .database import Database
from .endpoints import check_branch
from .errors import StoreError
from .harvest import Harvest, OnFailure
from .intervals import Interval, Intervals, union
from .models import Cursor, Session, SessionPage, SuiteKey, WalkStats
from .paging import PageIterator, SessionPaginator

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_P = ParamSpec("_P")
_T = TypeVar("_T")

_ABOVE_ALL = 2**63 - 1
"""The highest number that SQLite knows."""


class SessionStore:
    """A SQLite file of sessions, which harvests bring up to date. Use it as `async with`, or `open` and `close` it.

    Several processes may use one file. Whoever queries it finds a table `sessions`: `workspace`, `project`, `suite_id`,
    the API's fields under their names (`created_by` as JSON, times as ISO 8601 text in UTC, `duration` in seconds), and
    `deleted_at`, null while the session is alive. Text that is not Unicode, half a character, is kept as a blob.

    Args:
        path: The file. It is created if it is not there; its folder is not.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # A path is a file's, whatever SQLite makes of "" and ":memory:".
        self._path = os.path.abspath(os.fsdecode(path))
        self._file = Database(self._path)
        self._thread: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"<SessionStore {self._path}>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        thread: ThreadPoolExecutor | None = getattr(self, "_thread", None)  # not there when __init__ has failed
        if thread is not None:
            _warn(f"unclosed {self!r}: use `async with`, or await its close()", ResourceWarning, source=self)
            thread.submit(self._file.close)
            thread.shutdown(wait=False)

    async def open(self) -> None:
        """Open the file, and create it if it is not there. Opening twice is fine.

        Raises:
            StoreError: The file cannot be opened, or is none of ours. It was not changed.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - paid for when the first file is opened

        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="buddy_sessions-store")
            try:
                await self._call(Database.open)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close the file, after the transaction that is under way. Closing twice is fine."""
        thread, self._thread = self._thread, None
        if thread is not None:
            closing = asyncio.wrap_future(thread.submit(self._file.close))
            thread.shutdown(wait=False)
            await asyncio.shield(closing)

    def harvest(
        self,
        buddy: BuddyClient,
        suites: Iterable[SuiteKey] | AsyncIterable[SuiteKey],
        *,
        branch: str | None = None,
        concurrency: int | None = None,
        on_failure: OnFailure = "raise",
    ) -> Harvest:
        """Return what is new or has changed in many suites, as one stream of `(key, session)`, to be iterated once.

        Each page is saved before its sessions are yielded. What lies above the covered numbers is read, then each gap
        among them, and then the sessions that were not finished when they were last read. A session that is proved to
        be gone is marked in the file; it is not yielded.

        Args:
            buddy: The client to read with.
            suites: Their keys, from any iterable: they are taken one by one, as they are needed.
            branch: Only sessions of this branch. That tells nothing of the others: such a harvest reads the branch
                from its newest session to its oldest each time, and marks nothing as covered or deleted.
            concurrency: Suites read at once; `max_concurrency` of the client if left out.
            on_failure: "raise" raises `HarvestError` after all other suites were yielded; "collect" leaves it at
                `harvest.failures`.

        Raises:
            ConfigError: An argument cannot work. A key that cannot is a failure of its suite.
            StoreError: The store is not open. Once the file fails, the suites not yet begun fail without a request.
        """
        check_branch(branch)
        self._opened()
        failed: list[StoreError] = []

        async def save(work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
            if failed:
                raise failed[0]
            try:
                return await self._call(work, *args, **kwargs)
            except StoreError as error:
                if hasattr(error.__cause__, "sqlite_errorcode"):  # SQLite's own: it is the file, not this suite
                    failed.append(error)
                raise

        def read(key: SuiteKey) -> _Reading:
            return _Reading(buddy, key, branch, save)

        return buddy._harvest(suites, read, concurrency=concurrency, on_failure=on_failure)  # noqa: SLF001 - same package

    async def sessions(self, key: SuiteKey, *, branch: str | None = None) -> list[Session]:
        """Return the sessions of a suite that are alive as far as is known, newest first.

        Args:
            key: The suite.
            branch: Only sessions whose `ref_type` is `BRANCH` and whose `ref_name` this is.

        Raises:
            StoreError: The file cannot be read, or the store is not open.
        """
        return await self._call(Database.sessions, key, branch)

    async def suites(self) -> list[SuiteKey]:
        """Return the suites of which the file holds sessions, deleted ones counted, in the order of their names.

        Raises:
            StoreError: The file cannot be read, or the store is not open.
        """
        return await self._call(Database.suites)

    async def covered(self, key: SuiteKey) -> tuple[tuple[int, int], ...]:
        """Return the intervals `(low, high)` of `relative_id` in which the file knows every session, ascending.

        Raises:
            StoreError: The file cannot be read, or the store is not open.
        """
        return await self._call(Database.covered, key)

    def _opened(self) -> ThreadPoolExecutor:
        if self._thread is None:
            raise StoreError(f"the store {self._path} is not open: use `async with`, or await its open()")
        return self._thread

    async def _call(self, work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Have the thread do something with the file. What it has begun, it ends, even when this is cancelled."""
        return await asyncio.wrap_future(self._opened().submit(partial(self._file.guard, work, *args, **kwargs)))


class _Save(Protocol):
    """Has something done with the file."""

    async def __call__(
        self, work: Callable[Concatenate[Database, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T: ...


class _Reading(AsyncIterator[SessionPage]):
    """One suite, read into the file: a walk from the top, and one for each gap and each unfinished session below."""

    def __init__(self, buddy: BuddyClient, key: SuiteKey, branch: str | None, save: _Save) -> None:
        self._buddy = buddy
        self._key = key
        self._branch = branch
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
        total = WalkStats(sessions=self._found)
        for walk in self._walks:
            stats = walk.stats
            total.requests += stats.requests
            total.retries += stats.retries
            total.waited += stats.waited
            total.pages += stats.pages
            total.duplicates += stats.duplicates
            total.rereads += stats.rereads
            total.certified &= stats.certified
        return total

    def pages(self) -> AsyncIterator[SessionPage]:
        return self

    async def __anext__(self) -> SessionPage:
        if not self._walks:
            known = await self._save(Database.newest, self._key)
            self._below = known[0]
            self._begin(since=0 if self._branch else known[1])
        while self._pages is not None:
            page = await anext(self._pages)
            settles = self._settles(page)
            fresh = await self._save(
                Database.save, self._key, page.sessions, None if self._branch else page.covers, settles
            )
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
        target = await self._save(Database.missing, self._key, below, self._settled, self._walks[-1].cursor)
        if target is not None:
            (low, _), start = target
            self._below = low
            self._begin(since=low - 1, start=start)
