"""Where the sessions of any suite and their test cases are read from: the API, or a database without a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from buddy_sessions import (
    BuddyClient,
    ConfigError,
    NotFoundError,
    Session,
    SessionStore,
    Suite,
    SuiteStatus,
    TestCase,
    TestRun,
    TestStatus,
)
from buddy_sessions._api.verdicts import search_of
from buddy_sessions.analysis.completeness import count_failing
from buddy_sessions.analysis.suite_status import VerdictSearch
from buddy_sessions.models import FAILING, CaseScope, SuiteKey

from ..input.keys import KeyDefaults, Target, choose_suite, find_suite, select_keys
from ..input.paths import find_database
from ..options import Connection
from ..render.console import Output

_MAX_KEPT = 50  # sessions whose failing test cases are kept


class ApiCases:
    """Reads from the API. The failing test cases of the last finished sessions are kept."""

    is_saved = False

    def __init__(self, buddy: BuddyClient) -> None:
        self.concurrency = buddy.max_concurrency
        self._buddy = buddy
        self._kept: dict[tuple[SuiteKey, Session], list[TestCase]] = {}

    async def list_suites(self, project: str, defaults: KeyDefaults) -> list[Suite]:
        """Return the suites of a project (its key, its URL, or the URL of one of its suites) or of a workspace."""
        return await self._buddy.suites(*defaults.parse_group(project)[:2])

    async def statuses(self, suites: Sequence[SuiteKey]) -> list[SuiteStatus]:
        """Return whether the main branches of suites are red: one request for each."""
        return await self._buddy.status(suites)

    async def find(self, target: Target) -> SuiteKey:
        """Return the suite. Raises ConfigError for a project, which costs a request."""
        return await find_suite(self._buddy, target)

    def search(self, suite: SuiteKey) -> VerdictSearch:
        """Return the search in the sessions of a suite: one request for each 100."""
        return search_of(self._buddy.api, suite)

    async def has_all_sessions(self, _suite: SuiteKey) -> bool:
        """Return whether lists have all sessions of a suite, down to the first one."""
        return True

    async def session(self, suite: SuiteKey, name: int | str) -> Session | None:
        """Return the session with this `relative_id` (usually two requests) or ID (one); None if there is none."""
        try:
            return await self._buddy.session(suite, name)
        except NotFoundError:
            return None

    async def failing_cases(self, suite: SuiteKey, session: Session, *, again: bool = False) -> list[TestCase]:
        """Return the failing test cases: usually two requests for a session that is not green.

        They are without their failures, except those that `add_failure` has read. `again` reads the list once more.
        """
        cases = self._kept.pop((suite, session), None)
        if cases is None or again:
            may_fail = not session.has_verdict or session.is_failing or count_failing(session)
            cases = await self._buddy.failures(suite, session) if may_fail else []
        if session.is_finished:
            self._kept[suite, session] = cases
            if len(self._kept) > _MAX_KEPT:
                del self._kept[next(iter(self._kept))]
        return cases

    async def add_failure(self, suite: SuiteKey, session: Session, case: TestCase) -> TestCase:
        """Return a test case with its failure, as far as it is known: one request, unless it was read before."""
        if case.has_details:
            return case
        read = await self._buddy.api.with_details(suite, session.id, case)
        kept = self._kept.get((suite, session), [])
        if case in kept:
            kept[kept.index(case)] = read
        return read

    async def cases(self, suite: SuiteKey, session: Session, *, status: TestStatus | None = None) -> list[TestCase]:
        """Return the test cases of a session, all or those with a status: one request for each 100 of them."""
        return await self._buddy.cases(suite, session, status=status).collect()

    async def history(self, _suite: SuiteKey, _test: str, *, branch: str | None) -> None:
        """Return None: what a test did has to be read session by session."""

    async def full_runs(self, _suite: SuiteKey, *, branch: str | None, last: int) -> list[TestRun]:  # noqa: ARG002 - as in `SavedCases`
        """Return no session: none is known before it is read."""
        return []


class SavedCases:
    """Reads from the database `path`, which `store` has opened."""

    is_saved = True
    concurrency = 1

    def __init__(self, store: SessionStore, path: Path) -> None:
        self._store = store
        self._path = path

    async def list_suites(self, project: str, defaults: KeyDefaults) -> list[Suite]:
        """Return the saved suites of a project or a workspace (see `ApiCases`); without one, all."""
        suites = {suite.key: suite for suite in await self._store.suites()}
        targets = [defaults.parse_group(project)[:2]] if project else []
        return [suites[key] for key in select_keys([*suites], targets, self._path)]

    async def statuses(self, suites: Sequence[SuiteKey]) -> list[SuiteStatus]:
        """Return whether the main branches of suites are red."""
        return await self._store.status(suites)

    async def find(self, target: Target) -> SuiteKey:
        """Return the suite. Raises ConfigError for a project, and for what was not saved."""
        suites = await self._store.suites()
        select_keys([suite.key for suite in suites], [target], self._path)
        return choose_suite(target, suites)

    def search(self, suite: SuiteKey) -> VerdictSearch:
        """Return the search in the saved sessions of a suite."""
        return VerdictSearch(lambda branch: self._store.pages(suite, branch=branch))

    async def has_all_sessions(self, suite: SuiteKey) -> bool:
        """Return whether the database has all sessions of a suite, down to the first one."""
        known = await self._store.known_range(suite)
        return known is not None and known[0] == 1

    async def session(self, suite: SuiteKey, name: int | str) -> Session | None:
        """Return the saved session with this `relative_id` or ID; None if there is none."""
        async with aclosing(self._store.pages(suite)) as pages:
            async for page in pages:
                for session in page:
                    if name in (session.relative_id, session.id):
                        return session
        return None

    async def failing_cases(self, suite: SuiteKey, session: Session, *, again: bool = False) -> list[TestCase]:  # noqa: ARG002 - as in `ApiCases`
        """Return the failing test cases of a session. Raises ConfigError if they were not saved."""
        return await self._cases(suite, session, "failed")

    async def add_failure(self, _suite: SuiteKey, _session: Session, case: TestCase) -> TestCase:
        """Return the test case as it was saved."""
        return case

    async def history(self, suite: SuiteKey, test: str, *, branch: str | None) -> list[TestRun]:
        """Return the sessions of which it is known what a test did, newest first, see `SessionStore.history`."""
        return await self._store.history(suite, test, branch=branch)

    async def cases(self, suite: SuiteKey, session: Session, *, status: TestStatus | None = None) -> list[TestCase]:
        """Return the test cases of a session, all or those with a status. Raises ConfigError if they were not saved."""
        cases = await self._cases(suite, session, "failed" if status in FAILING else "all")
        return [case for case in cases if status in {None, case.status}]

    async def full_runs(self, suite: SuiteKey, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the newest sessions of which all test cases were saved, oldest first; none if there are none."""
        with suppress(ConfigError):  # only failing cases were saved: the caller says which command to run
            return await self._store.runs(suite, cases="all", branch=branch, last=last)
        return []

    async def _cases(self, suite: SuiteKey, session: Session, scope: CaseScope) -> list[TestCase]:
        if session.is_finished and not session.has_verdict:  # it is no run
            return [case for case in await self._store.cases(suite, session) if scope == "all" or case.is_failing]
        with suppress(ConfigError):  # raised below, with the command to run
            for run in await self._store.runs(suite, cases=scope, branch=None, up_to=session.relative_id, last=1):
                if run.session.id == session.id:
                    return list(run.cases)
        when = "" if session.is_finished else "when it has finished, "
        raise ConfigError(
            f"the {'failing ' if scope == 'failed' else ''}test cases of session {session.id} are not in "
            f"{str(self._path)!r}: {when}run buddy-sessions sync {suite} --db {self._path} --cases {scope}"
        )


CaseSource: TypeAlias = ApiCases | SavedCases
"""Where sessions and their test cases are read from."""


@asynccontextmanager
async def open_source(
    *, db: Path | None, connection: Connection, messages: Output, max_wait: float = 300.0
) -> AsyncIterator[CaseSource]:
    """Open the database `db`, or a client if it is None."""
    if db is not None:
        async with SessionStore(find_database(db)) as store:
            yield SavedCases(store, db)
    else:
        async with connection.open_client(messages, max_wait=max_wait) as buddy:
            yield ApiCases(buddy)
