"""A database as a source, without a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from attrs import evolve

from ..analysis.commits import SessionList
from ..errors import ConfigError
from ..models import FAILING, CaseScope, Session, SuiteKey, TestCase, TestKey, TestStatus
from .cases import load_cases, load_scope
from .file import DatabaseThread
from .sessions import load_pages, load_session
from .suites import load_known_list


class SavedSource:
    """See `Source`."""

    is_saved = True
    concurrency = 1

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def lists(self, suite: SuiteKey, branch: str | None) -> AsyncGenerator[SessionList, None]:
        """Yield the saved sessions that are not deleted. Outside of the known range, some may be missing."""
        known = await self._thread.run(load_known_list, suite)
        part = SessionList(sessions=(), end="cut", as_of=known.as_of or datetime.now(UTC), doubt=known.doubt)
        async for sessions in load_pages(self._thread, suite, branch=branch):
            inside = [session for session in sessions if session.relative_id >= known.lowest_id]
            if inside:
                yield evolve(part, sessions=inside)
            if len(inside) < len(sessions):
                doubt = f"older sessions than #{known.lowest_id} were not saved completely: sync again"
                yield evolve(part, sessions=sessions[len(inside) :], doubt=known.doubt or doubt)
        yield evolve(part, end=known.end)

    async def session(self, suite: SuiteKey, name: int | str) -> Session | None:
        """Return the saved session with this `relative_id` or ID."""
        return await self._thread.run(load_session, suite, name)

    async def failing_cases(self, suite: SuiteKey, session: Session | str) -> list[TestCase]:
        """Return the failing cases as they were saved, with their details."""
        return [case for case in await self._load(suite, session, "failed") if case.is_failing]

    async def cases(self, suite: SuiteKey, session: Session, status: TestStatus | None = None) -> list[TestCase]:
        """Return the saved cases of a session, all or those with a status."""
        scope: CaseScope = "failed" if status in FAILING else "all"
        return [case for case in await self._load(suite, session, scope) if status in {None, case.status}]

    async def with_details(self, _suite: SuiteKey, _session: Session | str, case: TestCase) -> TestCase:
        """Return the case as it was saved."""
        return case

    async def passed_in_group(self, suite: SuiteKey, session: Session, group_id: str) -> set[TestKey] | None:
        """Return the tests that passed in a group; None if only failing cases were saved."""
        if await self._thread.run(load_scope, suite, session.id) != "all":
            return None
        cases = await self._thread.run(load_cases, suite, session.id)
        return {case.key for case in cases if case.status == TestStatus.PASSED and case.test_group_id == group_id}

    async def _load(self, suite: SuiteKey, session: Session | str, scope: CaseScope) -> list[TestCase]:
        session_id = session.id if isinstance(session, Session) else session
        saved = await self._thread.run(load_scope, suite, session_id)
        if saved is None or (scope == "all" and saved == "failed"):
            name = f"#{session.relative_id}" if isinstance(session, Session) else f"session {session_id}"
            kind = "failing test cases" if scope == "failed" else "test cases"
            is_running = isinstance(session, Session) and not session.is_finished
            advice = "it has not finished" if is_running else f'sync with cases="{scope}"'
            raise ConfigError(f"the {kind} of {name} of {suite} were not saved: {advice}")
        return await self._thread.run(load_cases, suite, session_id)
