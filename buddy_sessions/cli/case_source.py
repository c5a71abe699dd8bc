"""The sessions of one suite with their test cases: from the API, or from a database without a request."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from buddy_sessions import (
    BuddyClient,
    BuddyError,
    ConfigError,
    Cursor,
    NotFoundError,
    Session,
    SessionStore,
    SuiteKey,
    TestCase,
    TestRun,
)

from .files import find_database
from .formats.formatting import format_count
from .keys import select_suites
from .options import Connection
from .output import Output

_NUMBER = re.compile("[0-9]{1,18}")

_S = TypeVar("_S")
_T = TypeVar("_T")


class CaseSource(ABC):
    """Where the sessions of one suite and their test cases are read from.

    Attributes:
        suite: The suite.
    """

    def __init__(self, suite: SuiteKey) -> None:
        self.suite = suite

    @abstractmethod
    async def session(self, name: str) -> Session:
        """Return the session with this ID, or else with this number."""

    @abstractmethod
    async def finished_sessions(self, *, branch: str | None) -> list[Session]:
        """Return the newest finished session, if there is one, and all others that were read with it, newest first."""

    @abstractmethod
    async def failing_cases(self, session: Session, *, limit: int | None) -> tuple[list[TestCase], int]:
        """Return the first test cases of a session that fail, with their failures, and the number of all that fail."""

    @abstractmethod
    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session."""

    @abstractmethod
    async def runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the newest finished sessions with all their test cases, oldest first: at most `last`.

        Raises BuddyError if there is none.
        """

    async def slow_threshold(self) -> float | None:
        """Return the time in seconds above which Buddy calls a test slow; None if it is unknown."""
        return None

    async def newest_sessions(self, *, branch: str | None) -> list[Session]:
        """Return the newest finished session, and the older ones that were read with it. Raises BuddyError if none."""
        sessions = await self.finished_sessions(branch=branch)
        if not sessions:
            raise self._no_session(branch)
        return sessions

    def _no_session(self, branch: str | None) -> BuddyError:
        if branch is None:
            return BuddyError(f"{self.suite} has no finished session yet: try again when one has finished")
        return BuddyError(f"{self.suite} has no finished session of branch {branch!r}: check the name of the branch")


class ApiCases(CaseSource):
    """Reads from the API. `show` gets the progress as text."""

    def __init__(self, buddy: BuddyClient, suite: SuiteKey, *, show: Callable[[str], None]) -> None:
        super().__init__(suite)
        self._buddy = buddy
        self._show = show

    async def session(self, name: str) -> Session:
        """Return the session with this ID, or else with this number. Raises NotFoundError if there is none."""
        try:
            return await self._buddy.session(self.suite, name)
        except NotFoundError:
            session = await self._find_number(int(name)) if _NUMBER.fullmatch(name) else None
            if session is None:
                raise
            return session

    async def finished_sessions(self, *, branch: str | None, last: int = 1) -> list[Session]:
        """Return the finished sessions on the first pages, at least `last`, newest first. Usually one request."""
        finished: list[Session] = []
        async with aclosing(self._buddy.sessions(self.suite, branch=branch, read_ahead=1).pages()) as pages:
            async for page in pages:
                finished += [session for session in page.sessions if session.is_finished]
                if len(finished) >= last:
                    break
        return finished

    async def failing_cases(self, session: Session, *, limit: int | None) -> tuple[list[TestCase], int]:
        """Return the first test cases that fail, and the number of all: two requests, and one for each of the first.

        A case that was deleted meanwhile is returned without its failure.
        """

        async def read(case: TestCase) -> TestCase:
            try:
                return await self._buddy.case(self.suite, session, case)
            except NotFoundError:
                return case

        failing = await self._buddy.failures(self.suite, session)
        return await self._map(read, failing[:limit], noun="message"), len(failing)

    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session: one request for each 100 of them."""
        return await self._buddy.cases(self.suite, session).collect()

    async def runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the newest finished sessions with all their test cases, oldest first."""

        async def read(session: Session) -> TestRun | None:
            try:
                return TestRun(session, tuple(await self.cases(session)))
            except NotFoundError:
                return None  # it was deleted meanwhile

        sessions = (await self.finished_sessions(branch=branch, last=last))[:last]
        runs = await self._map(read, sessions[::-1], noun="session")
        found = [run for run in runs if run is not None]
        if not found:
            raise self._no_session(branch)
        return found

    async def slow_threshold(self) -> float | None:
        """Return the time in seconds above which Buddy calls a test slow, with one request."""
        milliseconds = (await self._buddy.suite(self.suite)).slow_threshold
        return None if milliseconds is None else milliseconds / 1000

    async def _find_number(self, number: int) -> Session | None:
        """Return the session with this number: usually two requests."""
        newest = await self._buddy.sessions(self.suite, max_sessions=1).collect()
        if not newest or newest[0].relative_id < number:
            return None
        cursor = Cursor(number + 1, newest[0].relative_id - number)
        found = await self._buddy.sessions(self.suite, cursor=cursor, max_sessions=1).collect()
        return found[0] if found and found[0].relative_id == number else None

    async def _map(self, function: Callable[[_S], Coroutine[Any, Any, _T]], items: list[_S], *, noun: str) -> list[_T]:
        """Return the results of a function for each item, in the order of the items.

        As many calls run at once as the client sends requests at once. If one fails, the others are cancelled.
        """
        semaphore = asyncio.Semaphore(self._buddy.max_concurrency)
        done = 0

        async def call(item: _S) -> _T:
            nonlocal done
            async with semaphore:
                result = await function(item)
            done += 1
            self._show(f"{done:,} of {format_count(len(items), noun)}")
            return result

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(call(item)) for item in items]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]


class SavedCases(CaseSource):
    """Reads from the database `path`, which `store` has opened."""

    def __init__(self, store: SessionStore, suite: SuiteKey, *, path: Path) -> None:
        super().__init__(suite)
        self._store = store
        self._path = path

    async def session(self, name: str) -> Session:
        """Return the session with this ID, or else with this number. Raises ConfigError if there is none."""
        sessions = await self._sessions()
        by_number = {str(session.relative_id): session for session in sessions}
        by_id = {session.id: session for session in sessions}
        session = by_id.get(name) or by_number.get(name)
        if session is None:
            raise ConfigError(f"session {name!r} of {self.suite} not found in {str(self._path)!r}: {self._sync()}")
        return session

    async def finished_sessions(self, *, branch: str | None) -> list[Session]:
        """Return all finished sessions, newest first."""
        return [session for session in await self._sessions(branch) if session.is_finished]

    async def failing_cases(self, session: Session, *, limit: int | None) -> tuple[list[TestCase], int]:
        """Return the first test cases that fail, and the number of all. Raises ConfigError if they were not saved."""
        failing = await self._cases(session, "failed")
        return failing[:limit], len(failing)

    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session. Raises ConfigError if they were not saved."""
        return await self._cases(session, "all")

    async def runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the newest sessions of which all test cases were saved. Raises ConfigError if there is none."""
        runs = await self._store.runs(self.suite, cases="all", branch=branch, last=last)
        if not runs:
            await self.newest_sessions(branch=branch)  # explains a suite or branch without sessions
            raise ConfigError(f"{str(self._path)!r} has no session with all test cases: {self._sync('all')}")
        return runs

    async def _sessions(self, branch: str | None = None) -> list[Session]:
        sessions = await self._store.sessions(self.suite, branch=branch)
        if not sessions:
            select_suites(await self._store.suites(), [self.suite], self._path)  # explains an unknown suite
        return sessions

    async def _cases(self, session: Session, scope: Literal["failed", "all"]) -> list[TestCase]:
        # Each run is one of these sessions: so if it was saved, it is among as many of the newest runs.
        newer = [other for other in await self._sessions() if other.relative_id > session.relative_id]
        for run in await self._store.runs(self.suite, cases=scope, last=len(newer) + 1):
            if run.session.id == session.id:
                return list(run.cases)
        when = "" if session.is_finished else "when it has finished, "
        raise ConfigError(
            f"the {'failing ' if scope == 'failed' else ''}test cases of session {session.id} are not in "
            f"{str(self._path)!r}: {when}{self._sync(scope)}"
        )

    def _sync(self, scope: Literal["failed", "all"] | None = None) -> str:
        """Return a hint to the command that saves the missing sessions, or their test cases."""
        return f"run buddy-sessions sync {self.suite} --db {self._path}" + (f" --cases {scope}" if scope else "")


@asynccontextmanager
async def open_cases(
    suite: SuiteKey, key: str, *, db: Path | None, connection: Connection, messages: Output
) -> AsyncIterator[CaseSource]:
    """Open the database `db`, or a client if it is None. The progress is shown in `messages`.

    Raises ConfigError if the database does not exist, or if `key`, which names the suite, is a URL of another region.
    """
    if db is not None:
        async with SessionStore(find_database(db)) as store:
            yield SavedCases(store, suite, path=db)
    else:
        with messages.progress() as show:
            async with connection.open_client(messages, keys=[key]) as buddy:
                yield ApiCases(buddy, suite, show=show)
