"""`CasePaginator`: the async iterator over the test cases of one session."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

import attrs

from .._stats import Fetched, Stats
from ..errors import BadRequestError
from ..models import Session, TestCase, TestStatus
from .case_plan import CasePlan
from .pending_pages import FetchPage, PendingPages
from .window import Window

_log = logging.getLogger("buddy_sessions")


class CasePaginator:
    """The test cases of one session, in the order of the API. Each `async for` is a new read.

    Created by `BuddyClient.cases`; the constructor is not public.

    Leaving a loop ends the read, and leaves no task or connection open.

    Example:
        >>> async for case in buddy.cases("acme/storefront/MNbyVedg", "YDnagwGk"):
        ...     print(case.key, case.status, case.time)
    """

    def __init__(
        self,
        session: Session | str | int,
        *,
        name: str,
        status: TestStatus | None,
        fetch_from: Callable[[str], FetchPage[list[TestCase]]],
        fetch_session: Callable[[str | int], Awaitable[Fetched[Session]]] | None,
        new_plan: Callable[..., CasePlan],
    ) -> None:
        self._session = session
        self._name = name
        self._status = status
        self._fetch_from = fetch_from
        self._fetch_session = fetch_session
        self._new_plan = new_plan
        self._latest = _CaseRead()

    def __repr__(self) -> str:
        return f"<CasePaginator {self._name}>"

    async def __aiter__(self) -> AsyncGenerator[TestCase, None]:
        """Iterate over the cases.

        Raises:
            BuddyError: The read failed.
        """
        read = self._latest = _CaseRead()
        session = await self._read_session(read)
        plan = self._new_plan(expected=self._expected_count(session))
        fetch_page = self._fetch_from(session.id if isinstance(session, Session) else str(session))

        async def fetch(window: Window) -> Fetched[list[TestCase]]:
            fetched = await fetch_page(window)
            read.cost += fetched.stats
            return fetched

        pending = PendingPages(fetch)
        try:
            while not plan.is_done:
                windows = plan.windows()
                try:
                    page = (await pending.get(windows)).result()
                except BadRequestError:
                    if not plan.on_bad_request(windows[0]):
                        raise
                    continue
                new = plan.accept_page(windows[0], page)
                read.pages += 1
                read.duplicates = plan.duplicates
                read.verified = plan.is_verified
                for case in new:
                    read.cases += 1
                    yield case
        finally:
            await pending.cancel()
        if plan.is_complete and plan.expected not in (None, plan.count):
            _log.warning(
                "%s: the session counts %d test cases, but the API lists %d", self._name, plan.expected, plan.count
            )

    async def collect(self) -> list[TestCase]:
        """Return all cases of a new read.

        Raises:
            BuddyError: The read failed.
        """
        return [case async for case in self]

    @property
    def stats(self) -> Stats:
        """The `Stats` of the latest read so far.

        `verified` is True if the session is finished, and as many cases were read as it reports.
        """
        return self._latest.stats

    async def _read_session(self, read: _CaseRead) -> Session | str | int:
        """Return the session with its counts, if they are to be read."""
        if isinstance(self._session, Session) or self._fetch_session is None:
            return self._session
        fetched = await self._fetch_session(self._session)
        read.cost += fetched.stats
        return fetched.result()

    def _expected_count(self, session: Session | str | int) -> int | None:
        """Return the number of cases with the wanted status; None if it may still change, or is unknown."""
        if not isinstance(session, Session) or not session.is_finished:
            return None
        counts = {
            None: session.tests_count,
            TestStatus.PASSED: session.passed_count,
            TestStatus.FAILED: session.failed_count,
            TestStatus.SKIPPED: session.skipped_count,
            TestStatus.ERROR: session.error_count,
        }
        return counts.get(self._status)


@attrs.define
class _CaseRead:
    """The progress and the cost of one read."""

    cost: Stats = attrs.field(factory=Stats)
    pages: int = 0
    cases: int = 0
    duplicates: int = 0
    verified: bool = False

    @property
    def stats(self) -> Stats:
        return attrs.evolve(
            self.cost, pages=self.pages, cases=self.cases, duplicates=self.duplicates, verified=self.verified
        )
