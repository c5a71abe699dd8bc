"""A SQLite file of sessions: each harvest into it reads what is missing, and may be killed at any moment.

What a page proves is saved in the same transaction as its sessions: `covered` holds the numbers of which every session
alive is in the file, so that the next harvest walks the gaps alone. One thread owns the file; the event loop never
waits for a disk.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

from .changes import REMEMBERED
from .client import BuddyClient
from .database import Database
from .endpoints import check_branch
from .errors import StoreError
from .harvest import Harvest, OnFailure
from .models import Session, SuiteKey
from .reading import Reading
from .watch import Watch

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_P = ParamSpec("_P")
_T = TypeVar("_T")


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
        since: Mapping[SuiteKey, int] | None = None,
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
            since: For each suite in it, only sessions with a higher `relative_id` than this. Those further down remain
                to be read by a harvest that asks for them.
            concurrency: Suites read at once; `max_concurrency` of the client if left out.
            on_failure: "raise" raises `HarvestError` after all other suites were yielded; "collect" leaves it at
                `harvest.failures`.

        Raises:
            ConfigError: An argument cannot work. A key that cannot is a failure of its suite.
            StoreError: The store is not open. Once the file fails, the suites not yet begun fail without a request.
        """
        check_branch(branch)
        self._opened()
        floors = {} if since is None else since
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

        def read(key: SuiteKey) -> Reading:
            since = floors.get(key)
            buddy.sessions(*key, since=since)  # requests nothing, but raises if a name or the number cannot work
            return Reading(buddy, key, branch=branch, since=since or 0, save=save)

        return buddy._harvest(suites, read, concurrency=concurrency, on_failure=on_failure)  # noqa: SLF001 - same package

    def watch(
        self, buddy: BuddyClient, suites: Iterable[SuiteKey], *, every: float = 60.0, branch: str | None = None
    ) -> Watch:
        """Return what changes in many suites, as one stream of `Change`, from where the latest such watch stood.

        What has happened meanwhile is told first. A change counts as dealt with, and is noted in the file, when the
        next one is asked for; after a crash in between it comes again. What is noted is the watch's own, apart for each
        branch: harvests into the same file neither disturb it nor see it.

        Args:
            buddy: The client to read with.
            suites: Their keys. One that comes twice counts once.
            every: Seconds from one round of a suite to its next; a tenth more or less, by chance.
            branch: Only sessions of this branch.

        Raises:
            ConfigError: An argument cannot work. Raised here, before any I/O.
            StoreError: The store is not open. While iterating: a change could not be noted, and the loop may go on;
                it is noted before the next one comes.
        """
        self._opened()
        return buddy._watch(suites, every=every, branch=branch, notes=_Notes(self, branch or ""))  # noqa: SLF001 - same package

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


class _Notes:
    """What the watches of a branch, or of no branch, have seen."""

    def __init__(self, store: SessionStore, branch: str) -> None:
        self._store = store
        self._branch = branch

    async def recall(self, key: SuiteKey) -> list[Session] | None:
        return await self._store._call(Database.watched, key, self._branch)  # noqa: SLF001 - same module

    async def begin(self, key: SuiteKey, seen: Iterable[Session]) -> None:
        await self._store._call(Database.begin_watch, key, self._branch, list(seen))  # noqa: SLF001 - likewise

    async def add(self, key: SuiteKey, session: Session) -> None:
        await self._store._call(Database.note_watched, key, self._branch, session, REMEMBERED)  # noqa: SLF001 - likewise
