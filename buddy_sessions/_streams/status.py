"""`StatusWatch`: when suites turn red and green, as one stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import partial

from attrs import frozen

from .._api.api import Api
from .._api.verdicts import SuiteStatus, find_status, judged_runs, search_of
from ..analysis.branches import MAIN, Main, main_branch
from ..analysis.runs import newest_streak
from ..errors import BuddyError, NotFoundError, ResponseError, UnstableListingError
from ..models import Session, SuiteKey, TestCase, TestRun
from .changes import Change, numbers_restart
from .watch import Report, Reporter, SuiteWatch

_MAX_UNREAD = 3
"""The rounds in which the tests of a session are tried to be read."""


class StatusKind(StrEnum):
    """The kind of a status change."""

    CURRENT = "CURRENT"
    FAILING = "FAILING"
    STILL_FAILING = "STILL_FAILING"
    RECOVERED = "RECOVERED"


@frozen(kw_only=True)
class StatusChange:
    """A change of the status of one suite.

    Attributes:
        suite: The suite.
        kind: CURRENT for the first event of each suite: its latest finished session, whether it fails or not; FAILING
            if the session fails and the one before it did not; STILL_FAILING if both fail, but not the same tests;
            RECOVERED if only the one before it fails.
        session: The finished session that decides the status. `session.ref_name` is its branch.
        since: The first session of the streak: since it, the suite is red, or green. `session` itself if the suite has
            just turned red or green. Of a streak of more than 100 sessions, it is the oldest one that is known.
        previous: The session that decided the status before; None for CURRENT.
        newly_failing: The tests that fail in `session` and not in `previous`; for CURRENT, all that fail.
        no_longer_failing: The tests that failed in `previous` and are not among the failing ones of `session`, as they
            were in `previous`: they passed, or did not run. Empty if `session` has no tests at all, or failed without a
            failing test.
        has_tests: False if the failing tests of `session` could not be read in three rounds: then both lists are empty.

    Example:
        >>> red = Session(id="YDnagwGk", relative_id=383, status=SessionStatus.ERROR, ref_name="main")
        >>> key = SuiteKey("acme", "shop", "MNbyVedg")
        >>> change = StatusChange(suite=key, kind=StatusKind.FAILING, session=red, since=red)
        >>> print(f"{change.suite} {change.kind} on {change.session.ref_name}, since #{change.since.relative_id}")
        acme/shop/MNbyVedg FAILING on main, since #383
    """

    suite: SuiteKey
    kind: StatusKind
    session: Session
    since: Session
    previous: Session | None = None
    newly_failing: tuple[TestCase, ...] = ()
    no_longer_failing: tuple[TestCase, ...] = ()
    has_tests: bool = True


class StatusWatch(SuiteWatch[StatusChange]):
    """The status changes of many suites, as one stream that ends when it is closed.

    Created by `BuddyClient.watch_status` and `SessionStore.watch_status`. Use it as `async with`, so that leaving the
    block stops the requests at once. It works like a `Watch`, with the same polls, requests, errors and limits, but
    reports the status of suites: only one task can iterate over it, and after a `break`, the next loop continues with
    the next event.

    A suite that has tested no branch has no status, unless `branch` is None. It begins when a branch is tested.

    The status of a suite is that of one branch, and follows from its latest session that is SUCCESSFUL or ERROR. A
    session that finishes after a newer one has finished does not change it. Neither does a deleted one. A reopened one
    counts when it finishes again. A suite that is created again under its name begins with CURRENT.

    The failing tests of a session that fails are read with two requests or more. If they cannot be read, the poll
    fails: it is done again later, so that no event is lost. After three such rounds of a session whose tests are not
    found or invalid, the event comes without them: `has_tests` is False.

    An event is acknowledged when you ask for the next one. With a store, a watch continues with the first event that
    was not acknowledged. A suite whose main branch had another name begins with CURRENT again if `main` (or else
    `master`) was tested meanwhile.

    Example:
        >>> async with buddy.watch_status(["acme/storefront/MNbyVedg"]) as changes:
        ...     async for change in changes:
        ...         await post(f"{change.suite} {change.kind}: {change.session.html_url}")
    """


class Statuses(Reporter[StatusChange]):
    """Reports the changes of the status of each suite, and keeps the session that decides it.

    `branch` is that of the status; None for all sessions. It saves nothing, unless a subclass does.
    """

    def __init__(self, api: Api, *, branch: str | Main | None) -> None:
        self._api = api
        self._branch = branch
        self._main_branches: dict[SuiteKey, str | None] = {}  # None: it has none, and no status
        self._latest: dict[SuiteKey, TestRun] = {}
        self._unread: Counter[tuple[SuiteKey, str]] = Counter()  # rounds in which a session's tests were not read
        self._to_repeat: set[SuiteKey] = set()  # their first event was not acknowledged

    async def load(self, key: SuiteKey) -> list[Session] | None:
        """Return the session that decided the status when it was saved: newer sessions may have changed the status."""
        saved = await self.load_status(key)
        if saved is None:
            return None
        run, is_acknowledged = saved
        self._latest[key] = run
        if not is_acknowledged:
            self._to_repeat.add(key)
        return [run.session]

    async def load_status(self, key: SuiteKey) -> tuple[TestRun, bool] | None:
        """Return the saved session of a suite with its failing tests, and whether its event was acknowledged."""

    async def save_status(self, key: SuiteKey, run: TestRun, *, is_acknowledged: bool) -> None:
        """Save the session that decides the status of a suite, with its failing tests."""

    def forget(self, key: SuiteKey) -> None:
        """Forget a suite that is not watched any more."""
        self._main_branches.pop(key, None)
        self._latest.pop(key, None)
        self._to_repeat.discard(key)

    async def report(
        self, key: SuiteKey, sessions: Sequence[Session], changes: Sequence[Change]
    ) -> list[Report[StatusChange]]:
        """Return the events of a poll: after the first one, the current status."""
        self._choose_branch(key, sessions)
        before = run = self._latest.get(key)
        finished = [change.session for change in changes if self._decides(key, change.session)]
        since: Session | None = None
        if run is None and not finished:
            status = await self._find_current(key, sessions)
            finished, since = [status.session] if status.session is not None else [], status.since
        reports: list[Report[StatusChange]] = []
        if run is not None and key in self._to_repeat:
            current = StatusChange(
                suite=key,
                kind=StatusKind.CURRENT,
                session=run.session,
                since=self._first_of_streak(key, run.session, sessions),
                newly_failing=run.cases,
            )
            reports.append(Report(current, partial(self.save_status, key, run, is_acknowledged=True)))
        for session in finished:
            first = since or self._first_of_streak(key, session, sessions)
            run, event = await self._next_run(key, run, session, since=first)
            reports.append(Report(event, partial(self.save_status, key, run, is_acknowledged=True)))
            if before is None and len(reports) == 1:
                await self.save_status(key, run, is_acknowledged=False)
        if run is not None:
            self._latest[key] = run  # not earlier: if the poll fails, the next one judges all its changes again
            self._to_repeat.discard(key)
        return reports

    def _choose_branch(self, suite: SuiteKey, sessions: Sequence[Session]) -> None:
        """Determine the main branch, until there is one. A saved one remains, unless `main` or `master` replaces it."""
        if self._branch is not MAIN or self._main_branches.get(suite) is not None or not sessions:
            return
        branch = main_branch(sessions)
        if branch is None:
            return
        run = self._latest.get(suite)
        if run is not None:
            other = [session for session in sessions if session.branch == branch][:1]
            # The more frequent one, unless the name of the other one decides.
            branch = main_branch([run.session, run.session, *other]) or branch
            if branch != run.session.branch:
                del self._latest[suite]
        self._main_branches[suite] = branch

    def _decides(self, suite: SuiteKey, session: Session) -> bool:
        """Return whether the status of a suite can follow from a session."""
        if self._branch is None:
            return session.has_verdict
        branch = self._main_branches.get(suite) if self._branch is MAIN else self._branch
        return session.has_verdict and branch is not None and branch == session.branch

    async def _find_current(self, suite: SuiteKey, sessions: Sequence[Session]) -> SuiteStatus:
        """Return the status of a suite: from the sessions of a round if possible, otherwise as `BuddyClient.status`."""
        search = search_of(self._api, suite)
        search.know(sessions)
        return await find_status(search, suite, branch=self._branch)

    def _first_of_streak(self, suite: SuiteKey, session: Session, sessions: Sequence[Session]) -> Session:
        """Return the first session of the streak that ends with a session, among those of a round."""
        older = [each for each in sessions if each.relative_id < session.relative_id and self._decides(suite, each)]
        runs, _ = judged_runs([session, *older], None)
        streak = newest_streak(runs)
        return streak.first if streak.first.is_failing == session.is_failing else session

    async def _next_run(
        self, suite: SuiteKey, before: TestRun | None, session: Session, *, since: Session
    ) -> tuple[TestRun, StatusChange | None]:
        """Return the session that decides the status from now on, with its failing tests, and the event, if any."""
        if before is not None and numbers_restart([session], [before.session]):
            before = None  # the suite was created again
        if before is not None and session.relative_id < before.session.relative_id:
            return before, None
        previous, failed_before = (None, ()) if before is None else (before.session, before.cases)
        failing, has_tests = await self._read_tests(suite, session)
        is_empty = session.tests_count == 0 or (session.is_failing and not failing)  # it says nothing about the tests
        newly_failing = _without(failing, failed_before)
        no_longer_failing = () if is_empty else _without(failed_before, failing)
        kind = None
        if previous is None:
            kind = StatusKind.CURRENT
        elif session.is_failing != previous.is_failing:
            kind = StatusKind.FAILING if session.is_failing else StatusKind.RECOVERED
        elif newly_failing or no_longer_failing or not has_tests:
            kind = StatusKind.STILL_FAILING
        run = TestRun(session, failed_before if session.is_failing and is_empty else failing)
        if kind is None:
            return run, None
        return run, StatusChange(
            suite=suite,
            kind=kind,
            session=session,
            since=since,
            previous=previous,
            newly_failing=newly_failing,
            no_longer_failing=no_longer_failing,
            has_tests=has_tests,
        )

    async def _read_tests(self, suite: SuiteKey, session: Session) -> tuple[tuple[TestCase, ...], bool]:
        """Return the failing tests of a session, and whether they could be read; if not, fail the first two rounds."""
        if not session.is_failing:
            return (), True
        try:
            failing = tuple(await self._api.failures(suite, session, details=0))
        except (NotFoundError, ResponseError, UnstableListingError) as error:  # perhaps it was deleted meanwhile
            self._unread[suite, session.id] += 1
            if self._unread[suite, session.id] < _MAX_UNREAD:
                message = f"the tests of session #{session.relative_id} cannot be read, trying again: {error}"
                raise BuddyError(message, retryable=True) from None
            failing, has_tests = (), False
        else:
            has_tests = True
        del self._unread[suite, session.id]
        return failing, has_tests


def _without(cases: Sequence[TestCase], others: Sequence[TestCase]) -> tuple[TestCase, ...]:
    """Return the cases of the tests that are not among the others."""
    keys = {case.key for case in others}
    return tuple(case for case in cases if case.key not in keys)
