"""Reads the test cases of the sessions of one suite into the database of a store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial

import attrs

from .._api import Api, failing_statuses
from .._base.figures import Stats
from .._base.validate import validate_session
from .._base.workers import LongBodies, map_concurrently
from ..errors import BuddyError, ConfigError, NotFoundError, ResponseError, UnstableListingError
from ..models import CaseScope, Session, SuiteKey, TestCase, TestStatus, case_ids
from .cases import save_cases, save_details, verify_cases
from .file import DatabaseThread

MAX_FAILURES = 10
"""The suite fails when the responses for this number of sessions in a row are wrong."""

_log = logging.getLogger("buddy_sessions")


@attrs.define(eq=False, repr=False)
class CaseSync:
    """Reads the cases of finished sessions."""

    api: Api
    thread: DatabaseThread
    long_bodies: LongBodies  # of all suites
    key: SuiteKey
    scope: CaseScope
    details: int
    stats: Stats = attrs.Factory(Stats)
    # The latest sessions in a row whose responses were wrong, with the cases that were read. Not saved yet.
    _failed: list[tuple[Session, list[TestCase]]] = attrs.Factory(list)

    async def read(self, sessions: Iterable[Session]) -> None:
        """Read and save the cases of sessions, each session in one transaction. A wrong response is logged."""
        await map_concurrently(self._read_session, sessions, limit=self.api.max_concurrency)
        await self._save_failed()

    async def _read_session(self, session: Session) -> None:
        try:
            validate_session(session)
        except ConfigError as error:
            _log.warning("%s: session %r: its cases are skipped: %s", self.key, session.id, error)
            await self._save(session, [], is_complete=False, is_verified=True)
            return
        cases: list[TestCase] = []
        failure: BuddyError | None = None
        is_verified = True
        for status in self._statuses(session):
            paginator = self.api.cases(self.key, session, status=status)
            try:
                async for case in paginator:
                    cases.append(case)  # noqa: PERF401 - after an error, those before it are kept
            except (NotFoundError, ResponseError, UnstableListingError) as error:
                failure = failure or error
            finally:
                self.stats += attrs.evolve(paginator.stats, cases=0)  # they are counted once they are saved
            is_verified &= paginator.stats.verified
        unique = list({case_ids(case): case for case in cases}.values())
        if failure is not None:
            # A 404 means that the session was deleted, which is no fault.
            level = logging.INFO if isinstance(failure, NotFoundError) else logging.WARNING
            message = "%s: session %r: its cases are not saved completely, and the next sync reads them again: %s"
            _log.log(level, message, self.key, session.id, failure)
        if isinstance(failure, ResponseError | UnstableListingError):
            # One session whose responses are always wrong does not fail the suite. If all are wrong, the suite fails,
            # and none of these sessions counts as read.
            self._failed.append((session, unique))
            if len(self._failed) >= MAX_FAILURES:
                raise failure
            return
        await self._save_failed()
        # A case may have moved to another list meanwhile: then the lists are out of date.
        is_verified &= len(unique) == len(cases)
        await self._save(session, unique, is_complete=failure is None, is_verified=is_verified)

    def _statuses(self, session: Session) -> Sequence[TestStatus | None]:
        """Return the statuses whose cases are requested; None for all cases."""
        if self.scope == "all":
            return [] if session.tests_count == 0 and not session.is_failing else [None]
        return failing_statuses(session)

    async def _save_failed(self) -> None:
        """Save what was read of the sessions that failed in a row."""
        failed, self._failed = self._failed, []
        for session, cases in failed:
            await self._save(session, cases, is_complete=False, is_verified=False)

    async def _save(self, session: Session, cases: list[TestCase], *, is_complete: bool, is_verified: bool) -> None:
        """Save the cases of a session, and count them; then read and save their details."""
        # The API has no path for a case without a group.
        failing = [ordinal for ordinal, case in enumerate(cases) if case.is_failing and case.test_group_id]
        failing = failing[: self.details]
        await self.thread.run(
            save_cases,
            *(self.key, session, self.scope, cases),
            is_complete=is_complete,
            is_verified=is_verified and not failing,
        )
        self.stats += Stats(cases=len(cases))
        read = partial(self._read_details, session, cases)
        lost = (await map_concurrently(read, failing, limit=self.api.max_concurrency)).count(False)
        if lost:
            message = "%s: session %r: the details of %d failing cases cannot be read: the next sync reads them again"
            _log.warning(message, self.key, session.id, lost)
        elif failing and is_verified:
            await self.thread.run(verify_cases, self.key, session, self.scope)

    async def _read_details(self, session: Session, cases: Sequence[TestCase], ordinal: int) -> bool:
        """Read and save the details of a case. Return whether that was possible. They may be long: none is kept."""
        listed = detailed = cases[ordinal]
        self.stats += Stats(requests=1)
        with self.long_bodies.hold() as on_size:
            try:
                detailed = await self.api.with_details(self.key, session.id, listed, on_size=on_size)
            except ResponseError as error:
                _log.debug("%s: session %r: case %r: %s", self.key, session.id, listed.id, error)
            if detailed is listed:
                return False
            detailed = attrs.evolve(listed, data=detailed.data)
            await self.thread.run(save_details, self.key, session, ordinal, detailed)
            return True
