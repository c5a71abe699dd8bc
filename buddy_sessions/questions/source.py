"""What questions read: `Source`, implemented once for a database, and once for the API: `ApiSource`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Protocol

from .._api.api import Api, failing_statuses
from .._base.validate import validate_session, validate_session_ref
from .._paging.reconciler import ReadSpec
from ..analysis.commits import SessionList
from ..errors import NotFoundError
from ..models import FAILING, Session, SuiteKey, TestCase, TestKey, TestStatus


class Source(Protocol):
    """Where the sessions of suites and their test cases are read from."""

    concurrency: int
    """How many sessions to read at once."""
    is_saved: bool
    """Whether another read returns the same, because it is one of a database."""

    def lists(self, suite: SuiteKey, branch: str | None, /) -> AsyncGenerator[SessionList, None]:
        """Yield the sessions of a suite, or those with the `ref_type` BRANCH of a branch, in parts, newest first."""
        ...

    async def session(self, suite: SuiteKey, name: int | str, /) -> Session | None:
        """Return the session with this `relative_id` or ID; None if there is none."""
        ...

    async def failing_cases(self, suite: SuiteKey, session: Session | str, /) -> list[TestCase]:
        """Return the failing cases of a session, perhaps without details. Raises ConfigError if they were not saved."""
        ...

    async def cases(self, suite: SuiteKey, session: Session, status: TestStatus | None = None, /) -> list[TestCase]:
        """Return all cases of a session, or those with a status. Raises ConfigError if they were not saved."""
        ...

    async def with_details(self, suite: SuiteKey, session: Session | str, case: TestCase, /) -> TestCase:
        """Return a failing case with its `data` and `failure`, as far as they are known."""
        ...

    async def passed_in_group(self, suite: SuiteKey, session: Session, group_id: str, /) -> set[TestKey] | None:
        """Return the tests that passed in a group of a session; None if that was not saved."""
        ...


def list_of(sessions: Sequence[Session], *, is_complete: bool, is_verified: bool) -> SessionList:
    """Return the sessions that were just read from the API; there is no verdict from a list that is not verified."""
    return SessionList(
        sessions=sessions,
        end="beginning" if is_complete else "cut",
        as_of=datetime.now(UTC),
        doubt="" if is_verified else "sessions may be missing: the list cannot be verified",
    )


class ApiSource:
    """Lists are verified, and failing tests are read only where there are some. See `Source`."""

    is_saved = False

    def __init__(self, api: Api) -> None:
        self.concurrency = api.max_concurrency
        self._api = api

    async def lists(self, suite: SuiteKey, branch: str | None) -> AsyncGenerator[SessionList, None]:
        """Yield the pages of the list: one request for each 100 sessions."""
        reader = self._api.read(suite, ReadSpec(branch=branch, read_ahead=1))
        async with aclosing(reader.pages()) as pages:
            async for page in pages:
                yield list_of(page.sessions, is_complete=page.is_last, is_verified=reader.stats.verified)

    async def session(self, suite: SuiteKey, name: int | str) -> Session | None:
        """Return the session with this `relative_id` (usually two requests) or ID (one)."""
        found = validate_session_ref(name, suite)
        try:
            return (await self._api.session(suite, found.id if isinstance(found, Session) else found)).result()
        except NotFoundError:
            return None

    async def failing_cases(self, suite: SuiteKey, session: Session | str) -> list[TestCase]:
        """Return the failing cases: two requests, or one if the session counts only one kind of failure."""
        validate_session(session)
        statuses = failing_statuses(session) if isinstance(session, Session) else FAILING
        return await self._api.failing_cases(suite, session, statuses)

    async def cases(self, suite: SuiteKey, session: Session, status: TestStatus | None = None) -> list[TestCase]:
        """Return the cases of a session: one request for each 100 of them."""
        validate_session(session)
        return await self._api.cases(suite, session, status=status).collect()

    async def with_details(self, suite: SuiteKey, session: Session | str, case: TestCase) -> TestCase:
        """Return a case with its details: one request."""
        session_id = session.id if isinstance(session, Session) else session
        return case if case.has_details else await self._api.with_details(suite, session_id, case)

    async def passed_in_group(self, suite: SuiteKey, session: Session, group_id: str) -> set[TestKey]:
        """Return the tests that passed in a group of a session: one request for each 100 cases of the group."""
        cases = await self._api.cases(suite, session.id, status=None, group_id=group_id).collect()
        return {case.key for case in cases if case.status == TestStatus.PASSED}
