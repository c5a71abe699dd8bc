"""`StatusWatch`: when suites turn red and green, as one stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial

from attrs import frozen

from .._api.api import Api
from .._api.verdicts import search_of
from .._decoding.converter import case_from_dict, session_from_dict, to_dict
from ..analysis.branches import MAIN, NEWEST, Main, validate_judged_branch
from ..analysis.completeness import find_judged_runs, is_incomplete, remark_on_tests
from ..analysis.runs import CIRun, ci_runs_since, find_ci_runs, newest_streak, usual_size
from ..analysis.suite_status import VerdictSearch
from ..errors import BuddyError, NotFoundError, ResponseError, UnstableListingError
from ..models import Session, SuiteKey, TestCase, TestKey, TestRun
from .changes import Change, Newest, WatchedSuite
from .events import Memory, Pending
from .watch import SuiteWatch

_MAX_UNREAD = 3
"""How many polls try to read the tests of a session."""


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
        kind: CURRENT for the first event of each suite, or of its new main branch: its status, as in `SuiteStatus`;
            FAILING if the newest CI run fails and the one before it did not; STILL_FAILING if both fail, but not the
            same tests; RECOVERED if only the one before it fails.
        session: The session that decides the status, of the newest CI run with a verdict. `session.ref_name` is its
            branch.
        since: The session that decides the first CI run of the red or green streak. `session` itself if the suite has
            just turned red or green. Of a streak of more than 100 sessions, it is the oldest one that is known.
        previous: The session that decided the status before; None for CURRENT.
        newly_failing: The tests that fail in the CI run of `session` and not in that of `previous`; for CURRENT, all
            that fail.
        no_longer_failing: The tests that failed in the CI run of `previous` and do not fail in that of `session`, with
            their old results: they passed, or did not run. Empty if the CI run has no tests at all, or failed without a
            failing test.
        has_tests: False if the failing tests could not be read in three polls: then both lists are empty.
        remark: That tests did not run in the CI run of `session`, as in `SuiteStatus`. None if all ran, or if that is
            not known.

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
    remark: str | None = None


class StatusWatch(SuiteWatch[StatusChange]):
    """The status changes of many suites, as one stream that ends when it is closed.

    Created by `BuddyClient.watch_status` and `SessionStore.watch_status`. Use it as `async with`, so that leaving the
    block stops the requests at once. It works like a `Watch`, with the same polls, requests, errors and limits, but
    reports the status of suites: only one task can iterate over it, and after a `break`, the next loop continues with
    the next event.

    A suite that has tested no branch has no status, unless `branch` is None. It begins when a branch is tested.

    The status of a suite is that of `BuddyClient.status`: it follows from the newest CI run of one branch that has a
    verdict. A session that finishes after those of a newer CI run does not change it. Neither does a deleted one, nor a
    CI run with fewer sessions and fewer tests than usual, unless it turns a green suite red: other jobs may follow. A
    reopened one counts when it finishes again. A suite that is created again under its name begins with CURRENT. So
    does one whose main branch was renamed, or is tested for the first time.

    The failing tests of a session that fails are read with two requests or more. If they cannot be read, the poll
    fails: it is done again later, so that no event is lost. After three such polls of a session whose tests are not
    found or invalid, the event comes without them: `has_tests` is False.

    An event is acknowledged when you ask for the next one. With a store, a watch continues with the first event that
    was not acknowledged.

    Example:
        >>> async with buddy.watch_status(["acme/storefront/MNbyVedg"]) as changes:
        ...     async for change in changes:
        ...         await post(f"{change.suite} {change.kind}: {change.session.html_url}")
    """


class StatusSource:
    """The events are the changes of the status of each suite. The memory has the session that decides it.

    `branch` is that of the status; None for all sessions.
    """

    def __init__(self, api: Api, branch: str | Main | None, memory: Memory) -> None:
        self._api = api
        self._branch = validate_judged_branch(branch)
        self.listed_branch = None if isinstance(self._branch, Main) else self._branch
        self._memory = memory

    async def load(self, suite: WatchedSuite) -> list[Session] | None:
        """Return the session that decided the status when it was saved: newer sessions may have changed the status."""
        saved = await self._memory.load(suite.key)
        if saved is None:
            return None
        session = session_from_dict(saved["session"])
        suite.status = TestRun(session, tuple(map(case_from_dict, saved["failing"])))
        suite.repeats_event = not saved["is_acknowledged"]
        return [session]

    async def start(self, suite: WatchedSuite, _sessions: Iterable[Session]) -> None:
        """Begin with the current status: the suite was never watched, or was created again."""
        suite.status, suite.repeats_event = None, False

    async def events(
        self, suite: WatchedSuite, newest: Newest, _changes: Sequence[Change]
    ) -> list[Pending[StatusChange]]:
        """Return the events of a poll: the current status, or that of each CI run since the one that decided it."""
        key, latest = suite.key, suite.status
        search = search_of(self._api, key)
        sessions = await self._know_newest(search, newest)
        kept = None if latest is None else latest.session.branch
        branch = await search.choose_branch(self._branch, kept=kept)
        if kept is not None and branch not in {None, kept}:  # one response that lacks sessions renames no branch
            branch = await search_of(self._api, key).choose_branch(self._branch, kept=kept)
        if branch is None and self._branch is MAIN:
            return []
        pending: list[Pending[StatusChange]] = []
        is_first = latest is None or branch not in {None, kept}
        if latest is None or is_first:
            latest = None
            ci_runs, _ = await search.ci_runs(branch)
            changed = ci_runs[:1]
        else:
            known = [each for each in sessions if branch in {None, each.branch}]
            ci_runs = find_judged_runs(known, is_complete=newest.is_complete)
            changed = _ci_runs_after(latest.session, known, ci_runs)
            if changed:  # read the list of the branch unless older CI runs to compare with are known
                ci_runs, known = await search.ci_runs(branch)
                changed = _ci_runs_after(latest.session, known, ci_runs)
            if suite.repeats_event:
                pending.append(self._pending(key, latest, _repeated(key, latest, ci_runs[len(changed) :])))
        size = usual_size(ci_run.sessions for ci_run in ci_runs[1:])
        for ci_run in reversed(changed):
            until = ci_runs[ci_runs.index(ci_run) :]
            if latest is not None and latest.session.is_failing and ci_run.is_failing and is_incomplete(until, size):
                continue  # a test that is not failing yet may be one of the next job
            latest, change = _next_status(key, latest, until, await self._read_tests(suite, ci_run))
            pending.append(self._pending(key, latest, change))
            if is_first:
                await self._save(key, latest, is_acknowledged=False)
        if latest is not None:
            # Not earlier: if the poll fails, the next one judges all its changes again.
            suite.status, suite.repeats_event = latest, False
        return pending

    async def _know_newest(self, search: VerdictSearch, newest: Newest) -> Sequence[Session]:
        """Return the newest sessions, which are searched first: 100 or more, also if the server's pages are short."""
        sessions = newest.sessions
        if not newest.is_complete and len(sessions) < NEWEST:
            sessions = await search.sessions(self.listed_branch, lambda found: len(found) >= NEWEST)
        search.know(sessions)
        return sessions

    def _pending(self, key: SuiteKey, latest: TestRun, change: StatusChange | None) -> Pending[StatusChange]:
        return Pending(change, partial(self._save, key, latest, is_acknowledged=True))

    async def _save(self, key: SuiteKey, run: TestRun, *, is_acknowledged: bool) -> None:
        """Save the session that decides the status of a suite, with its failing tests."""

        def state(_: object) -> object:
            failing = list(map(to_dict, run.cases))
            return {"session": to_dict(run.session), "failing": failing, "is_acknowledged": is_acknowledged}

        await self._memory.update(key, state)

    async def _read_tests(self, suite: WatchedSuite, ci_run: CIRun) -> tuple[TestCase, ...] | None:
        """Return the failing tests of a CI run; None if they could not be read. The first two times, fail the poll."""
        failing: dict[TestKey, TestCase] = {}
        for session in ci_run.deciding:
            if not session.is_failing:
                continue
            try:
                failing = {case.key: case for case in await self._api.failures(suite.key, session, details=0)} | failing
            except (NotFoundError, ResponseError, UnstableListingError) as error:  # perhaps it was deleted meanwhile
                suite.unread[session.id] += 1
                if suite.unread[session.id] < _MAX_UNREAD:
                    message = f"the tests of session #{session.relative_id} cannot be read, trying again: {error}"
                    raise BuddyError(message, retryable=True) from None
                del suite.unread[session.id]
                return None
            del suite.unread[session.id]
        return tuple(failing.values())


def _ci_runs_after(latest: Session, sessions: Sequence[Session], judged: Sequence[CIRun]) -> list[CIRun]:
    """Return the judged CI runs of sessions since the session that decided the status.

    The CI run of that session is one of them if another session decides it now.
    """
    newest = {ci_run.sessions[0] for ci_run in ci_runs_since(find_ci_runs(sessions), latest)}
    return [ci_run for ci_run in judged if ci_run.sessions[0] in newest and ci_run.session != latest]


def _repeated(suite: SuiteKey, latest: TestRun, older: Sequence[CIRun]) -> StatusChange:
    """Return the first event of a suite once more. `older` are the CI runs before, newest first."""
    session = latest.session
    ci_runs = [CIRun([session], [session]), *(ci_run for ci_run in older if ci_run.session != session)]
    since = newest_streak(ci_runs).first
    return StatusChange(suite=suite, kind=StatusKind.CURRENT, session=session, since=since, newly_failing=latest.cases)


def _next_status(
    suite: SuiteKey, before: TestRun | None, ci_runs: Sequence[CIRun], read: tuple[TestCase, ...] | None
) -> tuple[TestRun, StatusChange | None]:
    """Return the session that decides the status from now on, with the failing tests, and the event, if any.

    `ci_runs` are the next CI run and the ones before it, newest first. `read` are its failing tests; None if not known.
    """
    ci_run, session, failing = ci_runs[0], ci_runs[0].session, read or ()
    previous, failed_before = (None, ()) if before is None else (before.session, before.cases)
    has_none = all(each.tests_count == 0 for each in ci_run.deciding)
    is_empty = has_none or (session.is_failing and not failing)  # it says nothing about the tests
    newly_failing = _without(failing, failed_before)
    no_longer_failing = () if is_empty else _without(failed_before, failing)
    kind = None
    if previous is None:
        kind = StatusKind.CURRENT
    elif session.is_failing != previous.is_failing:
        kind = StatusKind.FAILING if session.is_failing else StatusKind.RECOVERED
    elif newly_failing or no_longer_failing or read is None:
        kind = StatusKind.STILL_FAILING
    latest = TestRun(session, failed_before if session.is_failing and is_empty else failing)
    if kind is None:
        return latest, None
    return latest, StatusChange(
        suite=suite,
        kind=kind,
        session=session,
        since=newest_streak(ci_runs).first,
        previous=previous,
        newly_failing=newly_failing,
        no_longer_failing=no_longer_failing,
        has_tests=read is not None,
        remark=remark_on_tests(ci_runs),
    )


def _without(cases: Sequence[TestCase], others: Sequence[TestCase]) -> tuple[TestCase, ...]:
    """Return the cases of the tests that are not among the others."""
    keys = {case.key for case in others}
    return tuple(case for case in cases if case.key not in keys)
