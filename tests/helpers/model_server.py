"""A suite on a server that sometimes responds wrongly, an `Api` for it, and a database. All in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import attrs

from buddy_sessions import (
    NotFoundError,
    RefType,
    Session,
    SessionStatus,
    Stats,
    Suite,
    SuiteKey,
    UnstableListingError,
)
from buddy_sessions._api import Api
from buddy_sessions._base.figures import Fetched
from buddy_sessions._decoding.converter import DecodedPage
from buddy_sessions._paging.pacing import RequestSlots, ServerTraits, Window
from buddy_sessions._paging.paginator import PageReader
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.requests import PageRequests, take_404_as_end
from buddy_sessions._paging.selection import ReadSpec
from buddy_sessions.store.file import DatabaseFile, DatabaseThread
from buddy_sessions.store.suites import SyncScope
from buddy_sessions.store.sync import SuiteSync, SyncRun
from helpers.stores import KEY

WRONG_RESPONSES = ("empty", "short", "stale", "narrow", "swapped", "smaller", "lacking", "not found")
FIRST_DATE = datetime(2026, 1, 1, tzinfo=UTC)
BRANCHES = ("main", "main", "main", "feature")


class ModelServer:
    """One suite. Its sessions are created, finished and deleted, also between the requests of one read."""

    def __init__(self, random: Random) -> None:
        self.rows: list[Session] = []  # newest first: each was created a minute after the one before
        self.expired: set[str] = set()  # the ids of those that were deleted because they were old
        self.requests = 0
        self.wrong = 0.0  # the share of responses that are wrong
        self.kinds: tuple[str, ...] = WRONG_RESPONSES
        self.changes = 0.0  # the share of requests before which the list changes
        self.ends_with_404 = random.random() < 0.5  # so it responds to pages beyond the end
        self._random = random
        self._highest = 0
        self.created = 0  # also before the suite was created again
        self._version = 0
        self._history: list[list[Session]] = [[]]

    @property
    def time(self) -> datetime:
        """When the newest session was created."""
        return FIRST_DATE + timedelta(minutes=self.created)

    def create(self, count: int = 1) -> None:
        for _ in range(count):
            self._highest += 1
            self.created += 1
            status = SessionStatus.IN_PROGRESS if self._random.random() < 0.1 else SessionStatus.SUCCESSFUL
            branch = self._random.choice(BRANCHES)
            session = Session(
                id=f"{self._version}",
                relative_id=self._highest,
                create_date=self.time,
                status=status,
                ref_type=RefType.BRANCH,
                ref_name=branch,
            )
            self.rows.insert(0, self._new_state(session))
        self._remember()

    def retain(self, share: float) -> None:
        """Keep a share of the sessions, the newest ones, and delete the others."""
        count = round(share * len(self.rows))
        self.expired.update(session.id for session in self.rows[count:])
        del self.rows[count:]
        self._remember()

    def change(self, offset: int) -> None:
        """Finish or reopen a session."""
        if self.rows:
            index = offset % len(self.rows)
            is_finished = self.rows[index].is_finished
            status = SessionStatus.IN_PROGRESS if is_finished else SessionStatus.SUCCESSFUL
            self.rows[index] = self._new_state(attrs.evolve(self.rows[index], status=status))
            self._remember()

    def delete(self, offset: int) -> None:
        if self.rows:
            del self.rows[offset % len(self.rows)]
            self._remember()

    def recreate(self, count: int) -> None:
        """Delete the suite, and create another one with the same name."""
        self.rows, self.expired, self._highest = [], set(), 0
        self._history = [[]]
        self.create(count)

    def read_page(self, window: Window) -> tuple[Session, ...]:
        rows, window = self._respond(window)
        page = tuple(rows[window.start : window.end])
        if self.ends_with_404 and window.page > 1 and not page:
            raise NotFoundError(status=404)
        return page

    def read_session(self, session_id: str) -> Session:
        self._change_maybe()
        rows = self.rows
        if self._is_wrong():
            rows = self._random.choice([[], self._random.choice(self._history)])
        for session in rows:
            if session.id == session_id:
                return session
        raise NotFoundError(status=404)

    def _respond(self, window: Window) -> tuple[list[Session], Window]:
        """Return the list and the window from which the response is cut."""
        self._change_maybe()
        rows, random = list(self.rows), self._random
        kind = random.choice(self.kinds) if self._is_wrong() else None
        row = window.end - 1 if random.random() < 0.5 else random.randrange(window.start, window.end)
        match kind:
            case "not found":
                raise NotFoundError(status=404)
            case "empty":
                rows = []
            case "short":
                rows = rows[: window.start + random.randrange(window.per_page)]
            case "stale":
                rows = list(random.choice(self._history))
            case "narrow":
                rows = [session for session in rows if int(session.id) % 3]
            case "smaller":
                window = Window(window.page, max(window.per_page // 2, 1))
            case "swapped":
                rows[row : row + 2] = reversed(rows[row : row + 2])
            case "lacking":
                del rows[row : row + 1]
            case _:
                pass
        return rows, window

    def _is_wrong(self) -> bool:
        return self._random.random() < self.wrong

    def _change_maybe(self) -> None:
        self.requests += 1
        if self._random.random() < self.changes:
            changes: list[Callable[[int], None]] = [self.create, self.change, self.delete]
            self._random.choice(changes)(self._random.randrange(1, 4))

    def _new_state(self, session: Session) -> Session:
        self._version += 1
        return attrs.evolve(session, id=session.id, revision=f"{self._version}")

    def _remember(self) -> None:
        self._history.append(list(self.rows))


class ModelApi:
    """Reads a `ModelServer`. It has what a sync uses of `Api` and its `transport`.

    `server_time` is the clock of the server; None if the responses have no `Date`.
    """

    max_concurrency = 1

    def __init__(
        self, server: ModelServer, *, per_page: int, read_ahead: int = 1, server_time: datetime | None = None
    ) -> None:
        self.transport = self
        self.server_time = server_time
        self._server = server
        self._read_ahead = read_ahead
        self._new_reconciler = partial(Reconciler, per_page=per_page, traits=ServerTraits())

    def read(self, suite: SuiteKey, spec: ReadSpec) -> PageReader:
        digests = iter([spec.last_digest])

        async def fetch(window: Window) -> Fetched[DecodedPage]:
            stats, last_digest = Stats(requests=1), next(digests, None)
            try:
                rows = self._server.read_page(window)
            except NotFoundError as error:
                return take_404_as_end(Fetched(stats=stats, error=error), window.page, DecodedPage(()))
            if last_digest is None:
                return Fetched(stats=stats, value=DecodedPage(rows))
            digest = repr(rows).encode()
            return Fetched(stats=stats, value=DecodedPage(rows, digest=digest, is_unchanged=digest == last_digest))

        own_slots = RequestSlots(self._read_ahead, reads=1)
        reconciler = self._new_reconciler(spec, read_ahead=self._read_ahead)
        return PageReader(suite, spec, reconciler, PageRequests(fetch, own_slots))

    async def session(self, suite: SuiteKey, session_id: str) -> Fetched[Session]:
        return Fetched(stats=Stats(requests=1), value=self._server.read_session(session_id))

    async def suites(self, workspace: str, project: str) -> list[Suite]:
        return [Suite(key=KEY, id=KEY.suite_id)]


class _InlineThread:
    """Calls the database at once, so that an example can be repeated."""

    def __init__(self, database: DatabaseFile) -> None:
        self.database = database
        self.path = database.path

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self.database, *args, **kwargs)


class ModelStore:
    """A database into which a `ModelServer` is synced."""

    def __init__(self, path: Path) -> None:
        self.database = DatabaseFile(str(path))
        self.database.open()
        self.thread = cast("DatabaseThread", _InlineThread(self.database))
        self.on_page: Callable[[], object] = lambda: None
        """Called during a sync, after each of its pages."""

    def sync(
        self,
        api: ModelApi,
        *,
        now: datetime,
        scope: SyncScope = SyncScope(),  # noqa: B008 - it is frozen
        crash_after: int | None = None,
        **options: Any,
    ) -> list[Session]:
        """Sync once, or until it crashes after some pages; return the sessions that were yielded."""
        run = SyncRun(cast("Api", api), self.thread, now=now)
        return asyncio.run(self._take(SuiteSync(run, KEY, scope, **options), crash_after))

    async def _take(self, sync: SuiteSync, crash_after: int | None) -> list[Session]:
        sessions: list[Session] = []
        pages = sync.pages()
        with suppress(NotFoundError, UnstableListingError):  # a list whose pages are always too short is given up
            async for page in pages:
                sessions += page.sessions
                self.on_page()
                if crash_after is not None and (crash_after := crash_after - 1) < 0:
                    break
        await pages.aclose()
        return sessions
