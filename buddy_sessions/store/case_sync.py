"""Reads the test cases of the sessions of one suite into the database of a store."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from .._stats import Stats
from .._workers import map_concurrently
from ..client import BuddyClient
from ..errors import NotFoundError
from ..models import CaseScope, Session, SuiteKey, TestCase, TestStatus
from .case_database import PendingSession
from .thread import SyncThread

MAX_DETAILS = 100
"""The number of failing cases of a session whose JUnit XML is read: each one costs a request."""


class CaseSync:
    """Reads the cases of finished sessions that have changed since their cases were read.

    Attributes:
        stats: The cost so far.
        scope: Which cases to read.

    Args:
        buddy: The client to read with.
        thread: The thread of the database.
        key: The suite.
        scope: Which cases to read.
    """

    def __init__(self, buddy: BuddyClient, thread: SyncThread, key: SuiteKey, scope: CaseScope) -> None:
        self.stats = Stats()
        self._buddy = buddy
        self._thread = thread
        self._key = key
        self.scope: CaseScope = scope

    async def read(self, sessions: Iterable[PendingSession]) -> None:
        """Read and save the cases of sessions. The cases of one session are saved in one transaction.

        Raises:
            StoreError: The cases cannot be saved.
            BuddyError: The cases cannot be read. Those of the sessions that were read before are saved.
        """
        await map_concurrently(self._read_session, sessions, limit=self._buddy.max_concurrency)

    async def _read_session(self, pending: PendingSession) -> None:
        save = self._thread.database.save_cases
        cases: list[TestCase] = []
        is_verified = True
        try:
            for status in self._statuses(pending.session):
                paginator = self._buddy.cases(self._key, pending.session, status=status)
                cases += await paginator.collect()
                # The cases are counted once they are saved.
                self.stats += attrs.evolve(paginator.stats, cases=0)
                is_verified = is_verified and paginator.stats.verified
        except NotFoundError:
            # The session was deleted, or the response is wrong: it is requested once more, by the next sync.
            await self._thread.run(save, self._key, pending, self.scope, None, is_verified=False)
            return
        failing = [index for index, case in enumerate(cases) if case.is_failing]
        for index in failing[:MAX_DETAILS]:
            cases[index] = await self._read_details(pending.session, cases[index])
        await self._thread.run(save, self._key, pending, self.scope, cases, is_verified=is_verified)
        self.stats += Stats(cases=len(cases))

    def _statuses(self, session: Session) -> list[TestStatus | None]:
        """Return the statuses whose cases are requested; None for all cases."""
        if self.scope == "all":
            return [] if session.tests_count == 0 else [None]
        counts = {TestStatus.FAILED: session.failed_count, TestStatus.ERROR: session.error_count}
        return [status for status, count in counts.items() if count != 0]

    async def _read_details(self, session: Session, case: TestCase) -> TestCase:
        if not case.test_group_id:
            return case  # the API has no path for a case without a group
        self.stats += Stats(requests=1)
        try:
            return await self._buddy.case(self._key, session, case)
        except NotFoundError:
            return case  # it was deleted meanwhile
