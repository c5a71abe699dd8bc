"""Reads the test cases of the sessions of one suite into the database of a store."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import attrs

from .._stats import Stats
from .._workers import map_concurrently
from ..errors import ConfigError, NotFoundError, ResponseError, UnstableListingError
from ..models import CaseScope, Session, SuiteKey, TestCase, TestStatus
from .cases import save_cases
from .sync_run import SyncRun

MAX_FAILURES = 10
"""The suite fails when the responses for this number of sessions in a row are wrong."""

_log = logging.getLogger("buddy_sessions")


class CaseSync:
    """Reads the cases of finished sessions that have changed since their cases were read."""

    def __init__(self, run: SyncRun, key: SuiteKey, scope: CaseScope, *, details: int) -> None:
        self.stats = Stats()
        self._run = run
        self._key = key
        self._scope: CaseScope = scope
        self._details = details
        self._failures = 0  # of sessions in a row

    async def read(self, sessions: Iterable[Session]) -> None:
        """Read and save the cases of sessions, each session in one transaction; log wrong responses for single ones."""
        await map_concurrently(self._read_session, sessions, limit=self._run.buddy.max_concurrency)

    async def _read_session(self, session: Session) -> None:
        try:
            await self._read_cases(session)
            self._failures = 0
        except (ResponseError, UnstableListingError) as error:
            # Other sessions do not wait for one whose responses are always wrong, unless all are wrong.
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                raise
            self.stats += Stats(verified=False)
            message = "%s: session %r: its cases are not saved, and the next sync reads them again: %s"
            _log.warning(message, self._key, session.id, error)

    async def _read_cases(self, session: Session) -> None:
        cases: list[TestCase] = []
        is_verified = True
        try:
            for status in self._statuses(session):
                paginator = self._run.buddy.cases(self._key, session, status=status)
                try:
                    cases += await paginator.collect()
                finally:
                    self.stats += attrs.evolve(paginator.stats, cases=0)  # they are counted once they are saved
                is_verified = is_verified and paginator.stats.verified
        except NotFoundError:
            # The session was deleted, or the response is wrong: it is requested once more, by the next sync.
            await self._save(session, None, is_verified=False)
            return
        except ConfigError as error:
            _log.warning("%s: session %r: its cases are skipped: %s", self._key, session.id, error)
            await self._save(session, None, is_verified=True)
            return
        await self._add_details(session, cases)
        unique = list({case.id: case for case in cases}.values())  # a case may have moved to another list meanwhile
        if await self._save(session, unique, is_verified=is_verified):
            self.stats += Stats(cases=len(unique))

    async def _save(self, session: Session, cases: list[TestCase] | None, *, is_verified: bool) -> bool:
        """Save the cases of a session. Return whether that was still possible."""
        is_saved = await self._run.call(save_cases, self._key, session, self._scope, cases, is_verified=is_verified)
        if not is_saved:
            _log.info("%s: session %r has changed meanwhile: the next sync reads its cases", self._key, session.id)
        return is_saved

    def _statuses(self, session: Session) -> list[TestStatus | None]:
        """Return the statuses whose cases are requested; None for all cases."""
        if self._scope == "all":
            return [] if session.tests_count == 0 else [None]
        counts = {TestStatus.FAILED: session.failed_count, TestStatus.ERROR: session.error_count}
        return [status for status, count in counts.items() if count != 0]

    async def _add_details(self, session: Session, cases: list[TestCase]) -> None:
        """Replace failing cases by those with details."""
        # The API has no path for a case without a group.
        failing = [index for index, case in enumerate(cases) if case.is_failing and case.test_group_id]
        lost = 0
        for index in failing[: self._details]:
            self.stats += Stats(requests=1)
            details = await self._run.buddy._with_details(  # noqa: SLF001 - as `failures` does
                self._key, session.id, cases[index]
            )
            if details is cases[index] or details.id != cases[index].id:
                lost += 1
            else:
                cases[index] = details
        if lost:
            _log.warning(
                "%s: session %r: %d failing cases were not found, and have no details", self._key, session.id, lost
            )
