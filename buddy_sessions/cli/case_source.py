"""The sessions of one suite with their test cases: from the API, or from a database without a request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from buddy_sessions import BuddyClient, ConfigError, NotFoundError, Session, SessionStore, TestCase, TestRun
from buddy_sessions._workers import map_concurrently
from buddy_sessions.models import CaseScope, SuiteKey

from .errors import NothingToJudgeError
from .files import find_database
from .formats.formatting import format_count
from .keys import Target, choose_suite, find_suite, select_suites
from .options import Connection
from .output import Output
from .session_names import relative_id_of
from .suggestions import suggest_branches


class CaseSource(ABC):
    """Where the sessions of one suite and their test cases are read from."""

    def __init__(self, suite: SuiteKey) -> None:
        self.suite = suite

    @abstractmethod
    async def sessions(self, *, branch: str | None = None, finished: int = 1) -> list[Session]:
        """Return the newest sessions, newest first, with at least this number of finished ones if there are any."""

    @abstractmethod
    async def find(self, name: str, relative_id: int | None) -> Session | None:
        """Return the session with this `relative_id`, or with the ID `name` if that is None; None if there is none."""

    @abstractmethod
    async def failing_cases(self, session: Session, *, details: int | None) -> list[TestCase]:
        """Return the test cases of a session that fail, the first `details` with their failures; None for all."""

    @abstractmethod
    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session."""

    @abstractmethod
    async def read_runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return at most `last` of the newest finished sessions with all their test cases, oldest first."""

    async def session(self, name: str) -> Session:
        """Return the session with this `relative_id` or ID. Raises NothingToJudgeError if there is none."""
        relative_id = relative_id_of(name)
        session = await self.find(name, relative_id)
        if session is None:
            newest = await self.sessions(finished=0)
            label = name if relative_id is None else f"#{relative_id}"
            known = f"the newest is #{newest[0].relative_id}" if newest else "it has none yet"
            raise NothingToJudgeError(f"no session {label} in {self.suite}: {known}")
        return session

    async def finished_sessions(self, *, branch: str | None) -> list[Session]:
        """Return the newest finished session, and the older ones that were read with it, newest first."""
        sessions = await self.sessions(branch=branch)
        finished = [session for session in sessions if session.is_finished]
        if finished:
            return finished
        hint = suggest_branches(branch, self.suite, await self.sessions()) if branch and not sessions else ""
        of_branch = f" of branch {branch!r}" if branch else ""
        waiting = f"{self.suite} has no finished session{of_branch} yet: try again when one has finished"
        raise NothingToJudgeError(hint or waiting)

    async def runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return at most `last` of the newest finished sessions with all their test cases, oldest first."""
        runs = await self.read_runs(branch=branch, last=last)
        if not runs:
            await self.finished_sessions(branch=branch)  # explains a suite or branch without sessions
            raise NothingToJudgeError(f"the finished sessions of {self.suite} were deleted: try again later")
        return runs


class ApiCases(CaseSource):
    """Reads from the API. `show` gets the progress as text."""

    def __init__(self, buddy: BuddyClient, suite: SuiteKey, *, show: Callable[[str], None]) -> None:
        super().__init__(suite)
        self._buddy = buddy
        self._show = show

    async def sessions(self, *, branch: str | None = None, finished: int = 1) -> list[Session]:
        """Return the sessions on the first pages. Usually one request."""
        sessions: list[Session] = []
        async with aclosing(self._buddy.sessions(self.suite, branch=branch, read_ahead=1).pages()) as pages:
            async for page in pages:
                sessions += page.sessions
                if sum(session.is_finished for session in sessions) >= finished:
                    break
        return sessions

    async def find(self, name: str, relative_id: int | None) -> Session | None:
        """Return the session. Usually two requests for a `relative_id`, one for an ID."""
        try:
            return await self._buddy.session(self.suite, name if relative_id is None else relative_id)
        except NotFoundError:
            return None

    async def failing_cases(self, session: Session, *, details: int | None) -> list[TestCase]:
        """Return the failing test cases: two requests, and one for each of the first `details`."""
        return await self._buddy.failures(self.suite, session, details=True if details is None else details)

    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session: one request for each 100 of them."""
        return await self._buddy.cases(self.suite, session).collect()

    async def read_runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the sessions with their test cases, without those that were deleted meanwhile."""
        finished = [session for session in await self.sessions(branch=branch, finished=last) if session.is_finished]
        sessions = finished[:last][::-1]
        done = 0

        async def read(session: Session) -> TestRun | None:
            nonlocal done
            try:
                run = TestRun(session, tuple(await self.cases(session)))
            except NotFoundError:
                run = None
            done += 1
            self._show(f"{done:,} of {format_count(len(sessions), 'session')}")
            return run

        runs = await map_concurrently(read, sessions, limit=self._buddy.max_concurrency)
        return [run for run in runs if run is not None]


class SavedCases(CaseSource):
    """Reads from the database `path`, which `store` has opened."""

    def __init__(self, store: SessionStore, suite: SuiteKey, *, path: Path) -> None:
        super().__init__(suite)
        self._store = store
        self._path = path

    async def sessions(self, *, branch: str | None = None, finished: int = 1) -> list[Session]:  # noqa: ARG002 - of the API
        """Return all sessions, newest first."""
        return await self._store.sessions(self.suite, branch=branch)

    async def find(self, name: str, relative_id: int | None) -> Session | None:
        """Return the session."""
        for session in await self.sessions():
            if session.id == name if relative_id is None else session.relative_id == relative_id:
                return session
        return None

    async def failing_cases(self, session: Session, *, details: int | None) -> list[TestCase]:  # noqa: ARG002 - of the API
        """Return the failing test cases. Raises ConfigError if they were not saved."""
        return await self._cases(session, "failed")

    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session. Raises ConfigError if they were not saved."""
        return await self._cases(session, "all")

    async def read_runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the newest sessions of which all test cases were saved. Raises ConfigError if there is none."""
        runs = await self._store.runs(self.suite, cases="all", branch=branch or "*", last=last)
        if not runs and await self.finished_sessions(branch=branch):
            raise ConfigError(f"{str(self._path)!r} has no session with all test cases: {self._sync('all')}")
        return runs

    async def _cases(self, session: Session, scope: CaseScope) -> list[TestCase]:
        if session.is_finished and not session.has_verdict:  # it is no run
            return [case for case in await self._store.cases(self.suite, session) if scope == "all" or case.is_failing]
        for run in await self._store.runs(self.suite, cases=scope, branch="*", up_to=session.relative_id, last=1):
            if run.session.id == session.id:
                return list(run.cases)
        when = "" if session.is_finished else "when it has finished, "
        raise ConfigError(
            f"the {'failing ' if scope == 'failed' else ''}test cases of session {session.id} are not in "
            f"{str(self._path)!r}: {when}{self._sync(scope)}"
        )

    def _sync(self, scope: CaseScope) -> str:
        """Return a hint to the command that saves the missing test cases."""
        return f"run buddy-sessions sync {self.suite} --db {self._path} --cases {scope}"


@asynccontextmanager
async def open_cases(
    target: Target, key: str, *, db: Path | None, connection: Connection, messages: Output
) -> AsyncIterator[CaseSource]:
    """Open the database `db`, or a client if it is None. The progress is shown in `messages`."""
    if db is not None:
        async with SessionStore(find_database(db)) as store:
            suites = await store.suites()
            select_suites(suites, [target], db)
            yield SavedCases(store, choose_suite(target, suites), path=db)
    else:
        with messages.progress() as show:
            async with connection.open_client(messages, keys=[key]) as buddy:
                yield ApiCases(buddy, await find_suite(buddy, target), show=show)
