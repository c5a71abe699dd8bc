"""Any suites, from the API or from a database. The failing tests of the last sessions are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from buddy_sessions import (
    BuddyClient,
    ConfigError,
    Session,
    SessionStore,
    Suite,
    SuiteKey,
    TestCase,
    TestRun,
)
from buddy_sessions._workers import map_concurrently

from .case_source import ApiCases, CaseSource, SavedCases
from .errors import NothingToJudgeError
from .files import find_database
from .judgement import can_be_baseline
from .keys import KeyDefaults, Target, check_host, choose_suite, find_suite, select_suites
from .options import Connection
from .output import Output
from .session_names import parse_session

_BASELINE = 10
"""The number of earlier sessions of the main branch that say which failures are new."""

_MAX_KEPT = 50  # sessions whose failing tests are kept


class SuiteReader(ABC):
    """Finds suites, and reads their failing tests. Those of the last finished sessions are kept."""

    def __init__(self, defaults: KeyDefaults) -> None:
        self._defaults = defaults
        self._kept: dict[tuple[SuiteKey, Session], list[TestCase]] = {}

    @abstractmethod
    async def list_suites(self, project: str) -> list[Suite]:
        """Return the suites of a project: its key, its URL, or the URL of one of its suites."""

    @abstractmethod
    async def find(self, target: Target, text: str) -> SuiteKey:
        """Return the suite that an argument names. Raises ConfigError for a project."""

    @abstractmethod
    def source(self, suite: SuiteKey) -> CaseSource:
        """Return where the sessions of a suite are read from."""

    async def open(self, suite: str, session: str = "") -> tuple[CaseSource, str | None]:
        """Return a suite, and the name of a session if one of the arguments names it."""
        target, name = parse_session(self._defaults, suite, session or None)
        return self.source(await self.find(target, suite)), name

    async def failing_cases(self, source: CaseSource, session: Session, *, details: int = 0) -> list[TestCase]:
        """Return the failing test cases of a session, the first `details` with their failures.

        Raises NothingToJudgeError if the session was deleted, ConfigError if its test cases were not saved.
        """
        key = source.suite, session
        cases = self._kept.pop(key, None)
        if cases is None:
            (run,) = await source.failing_runs([session])
            cases = list(run.cases)
        cases[:details] = await self.add_failures(source, session, cases[:details])
        if session.is_finished:
            self._kept[key] = cases
            if len(self._kept) > _MAX_KEPT:
                del self._kept[next(iter(self._kept))]
        return cases

    async def add_failures(self, source: CaseSource, session: Session, cases: Sequence[TestCase]) -> list[TestCase]:
        """Return failing test cases of a session with their failures. Only those that were not read are read."""
        unread = [case for case in cases if not case.has_details]
        read = iter(await source.add_failures([(session, case) for case in unread]))
        return [case if case.has_details else next(read) for case in cases]

    async def failing_runs(self, source: CaseSource, sessions: Sequence[Session]) -> list[TestRun]:
        """Return sessions with their failing test cases, without those whose test cases are deleted or not saved."""

        async def read(session: Session) -> TestRun | None:
            try:
                return TestRun(session, tuple(await self.failing_cases(source, session)))
            except (ConfigError, NothingToJudgeError):
                return None

        return [run for run in await map_concurrently(read, sessions, limit=8) if run is not None]

    async def baseline(self, source: CaseSource, judged: Session) -> list[TestRun]:
        """Return the sessions of the main branch that say what is new in a session, newest first."""
        try:
            sessions = await source.verdicts(last=_BASELINE, where=lambda each: can_be_baseline(each, [judged]))
        except NothingToJudgeError:
            return []
        return await self.failing_runs(source, sessions[:_BASELINE])


class ApiReader(SuiteReader):
    """Reads through a client. `show` gets the progress as text."""

    def __init__(self, defaults: KeyDefaults, buddy: BuddyClient, *, show: Callable[[str], None]) -> None:
        super().__init__(defaults)
        self._buddy = buddy
        self._show = show

    async def list_suites(self, project: str) -> list[Suite]:
        """Return the suites of a project, with one request."""
        target = self._defaults.parse_target(project)
        check_host(self._buddy, project)
        return await self._buddy.suites(*target[:2])

    async def find(self, target: Target, text: str) -> SuiteKey:
        """Return the suite. Only a project costs a request."""
        check_host(self._buddy, text)
        return await find_suite(self._buddy, target)

    def source(self, suite: SuiteKey) -> CaseSource:
        """Return what reads the suite from the API."""
        return ApiCases(self._buddy, suite, show=self._show)


class SavedReader(SuiteReader):
    """Reads from the database `path`, which `store` has opened. Sends no request."""

    def __init__(self, defaults: KeyDefaults, store: SessionStore, *, path: Path) -> None:
        super().__init__(defaults)
        self._store = store
        self._path = path

    async def list_suites(self, project: str) -> list[Suite]:
        """Return the saved suites of a project; without one, all."""
        targets = [self._defaults.parse_target(project)[:2]] if project else []
        return select_suites(await self._store.suites(), targets, self._path)

    async def find(self, target: Target, text: str) -> SuiteKey:  # noqa: ARG002 - of the API
        """Return the suite. Raises ConfigError if it was not saved."""
        suites = await self._store.suites()
        select_suites(suites, [target], self._path)
        return choose_suite(target, suites)

    def source(self, suite: SuiteKey) -> CaseSource:
        """Return what reads the suite from the database."""
        return SavedCases(self._store, suite, path=self._path)


@asynccontextmanager
async def open_reader(
    *,
    db: Path | None,
    connection: Connection,
    messages: Output,
    defaults: KeyDefaults = KeyDefaults(),
    max_wait: float = 300.0,
    show: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[SuiteReader]:
    """Open the database `db`, or a client if it is None."""
    if db is not None:
        async with SessionStore(find_database(db)) as store:
            yield SavedReader(defaults, store, path=db)
    else:
        async with connection.open_client(messages, keys=(), max_wait=max_wait) as buddy:
            yield ApiReader(defaults, buddy, show=show)


@asynccontextmanager
async def open_cases(
    target: Target, key: str, *, db: Path | None, connection: Connection, messages: Output
) -> AsyncIterator[CaseSource]:
    """Open the suite `target`, which the argument `key` names. The progress is shown in `messages`."""
    with messages.progress(enabled=db is None) as show:
        async with open_reader(db=db, connection=connection, messages=messages, show=show) as reader:
            yield reader.source(await reader.find(target, key))
