"""`StatusWatch`: when suites turn red and green, as one stream. An event follows from the last and the newest state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from attrs import frozen

from .._api import Api
from .._decoding.converter import structure, unstructure
from ..analysis.baseline import find_failing_tests, why_incomplete
from ..analysis.branches import Main, main_branch, validate_judged_branch
from ..analysis.commits import SessionList, TestedCommit
from ..analysis.same_tests import without_same
from ..analysis.suite_status import SuiteStatus
from ..errors import BuddyError
from ..models import SuiteKey, SuiteRef, TestCase
from ..questions.suite_reader import ApiSource, SuiteReader
from .poller import LOOK_UP, OnFirstFailure, Pending, Poller, PollResult, SavedStates, WatchedSuite, relative_id_of
from .watch import SuiteWatch

_GRACE_PERIOD = timedelta(minutes=5)
"""So long after its last session has ended, a green commit with few sessions may get more."""
_MAX_UNREAD = 3
"""The number of the poll in a row, after failed ones, whose event comes without the tests that cannot be read."""


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
        kind: CURRENT for the first event of each suite: its status, as in `SuiteStatus`; FAILING if it has turned red;
            STILL_FAILING if it is still red, but other tests fail; RECOVERED if it has turned green.
        commit: The commit that decides the status. `commit.branch` is its branch.
        since: The first commit of the red or green streak.
        previous: The commit that decided the status before; None for CURRENT.
        newly_failing: The tests that fail now and did not before; for CURRENT, all that fail.
        no_longer_failing: The tests that failed before and do not fail now, with their old results: they passed, or did
            not run. Empty while the commit is running, and if it failed without a failing test.
        has_tests: False if the failing tests could not be read after two failed polls: then both lists are empty.
    """

    suite: SuiteKey
    kind: StatusKind
    commit: TestedCommit
    since: TestedCommit
    previous: TestedCommit | None = None
    newly_failing: tuple[TestCase, ...] = ()
    no_longer_failing: tuple[TestCase, ...] = ()
    has_tests: bool = True


class StatusWatch(SuiteWatch[StatusChange]):
    """The status changes of many suites, as one stream that ends when it is closed.

    Created by `BuddyClient.watch_status` and `SessionStore.watch_status`. It works like a `Watch`, with the same polls,
    requests, errors and limits, but reports the status of suites. With a store, an event that was not acknowledged is
    repeated when the watch continues, even if the status has changed again: each is delivered at least once.

    Each poll judges a suite as `BuddyClient.status` does. There is no event for a suite without a verdict, or while
    the commit that decides is older than the last one. A green commit with fewer sessions than one of the ten before it
    is held for five minutes after its last session, because other jobs may follow. A suite that is created again under
    its name, or has another main branch now, begins with CURRENT.

    The failing tests of a red commit are read with one or two requests for each session. If they cannot be read, the
    poll fails: it is done again later, so that no event is lost. After two polls in a row that failed, for whatever
    reason, the event comes without them: `has_tests` is False.

    Example:
        >>> async with buddy.watch_status(["acme/storefront/MNbyVedg"]) as changes:
        ...     async for change in changes:
        ...         await post(f"{change.suite} {change.kind}: {change.commit.session.html_url}")
    """


@frozen
class LastStatus:
    """The status of a suite in the last poll of a watch."""

    commit: TestedCommit  # that decides it
    failing: tuple[TestCase, ...] = ()  # its failing tests, and those before that may still fail in a running session


@frozen
class StatusRecord:
    """The saved status of a suite, and the event that has led to it, until that is acknowledged."""

    known: LastStatus
    event: StatusChange | None = None


def next_status(
    last: LastStatus | None,
    status: SuiteStatus,
    commit: TestedCommit,
    failing: tuple[TestCase, ...] | None,
    *,
    may_grow: bool,
) -> tuple[LastStatus, StatusChange | None]:
    """Return the status for the next poll, and the event, if it has changed.

    `commit` decides the status, and `failing` are its failing tests; None if they cannot be read. `may_grow` says
    whether more sessions of it may follow: then a test that does not fail yet may still do so.

    | before | now | event |
    | --- | --- | --- |
    | not known | green or red | CURRENT |
    | green | red | FAILING |
    | red | green | RECOVERED |
    | red | red, and other tests fail, or those of another session cannot be read | STILL_FAILING |
    | green or red | the same | none |
    """
    before, now = () if last is None else last.failing, failing or ()
    newly_failing, gone = without_same(now, before), without_same(before, now)
    # A red commit that is open does not say that a test has ceased to fail.
    is_open = commit.is_failing and (may_grow or not now or not commit.is_whole)
    kind = None
    if last is None:
        kind = StatusKind.CURRENT
    elif commit.is_failing != last.commit.is_failing:
        kind = StatusKind.FAILING if commit.is_failing else StatusKind.RECOVERED
    elif newly_failing or (gone and not is_open) or (failing is None and commit.session != last.commit.session):
        kind = StatusKind.STILL_FAILING
    new = LastStatus(commit, (*now, *gone) if is_open else now)
    if kind is None:
        return new, None
    return new, StatusChange(
        suite=status.suite,
        kind=kind,
        commit=commit,
        since=status.since or commit,
        previous=None if last is None else last.commit,
        newly_failing=newly_failing,
        no_longer_failing=() if is_open else gone,
        has_tests=failing is not None,
    )


def expects_sessions(status: SuiteStatus, now: datetime) -> bool:
    """Return whether more sessions of the commit that decides may follow: jobs may start one after the other."""
    commit = status.commit
    if commit is None or commit.is_running:
        return True
    dates = [session.finish_date or session.create_date for session in commit.sessions]
    newest_date = max(filter(None, dates), default=None)
    return commit.size < status.usual_size and newest_date is not None and now - newest_date < _GRACE_PERIOD


def is_held(last: LastStatus | None, status: SuiteStatus, *, may_grow: bool) -> bool:
    """Return whether a suite that has turned green is not reported yet: another job of the commit may still fail."""
    return last is not None and last.commit.is_failing is True and status.is_failing is False and may_grow


def is_older(commit: TestedCommit, last: LastStatus | None) -> bool:
    """Return whether a commit precedes the last one: that is running again, or was deleted."""
    return last is not None and commit.first.relative_id < last.commit.first.relative_id


class _Basis(NamedTuple):
    """The newest 100 sessions, as far as the last status of a suite rests on them: other branches may change.

    If no session at all has changed, `WatchedSuite.digest` says so before.
    """

    read_at: float  # the time of the event loop
    branch: str | None
    main: str | None  # the main branch of these sessions
    own: dict[int, int]  # the hashes of the sessions of `branch` by `relative_id`

    def is_unchanged(self, newest: SessionList) -> bool:
        """Return whether nothing can have changed: the branch's own list is read again only for new sessions of it.

        Once an hour, the status is read in any case: then `main` and `master` are asked for by name, too.
        """
        now, lowest_id = _basis_of(self.branch, newest), min(map(relative_id_of, newest.sessions), default=0)
        own = {key: each for key, each in self.own.items() if key >= lowest_id}
        is_recent = now.read_at - self.read_at < LOOK_UP.total_seconds()
        return not newest.doubt and is_recent and (now.main, now.own) == (self.main, own)


def _basis_of(branch: str | None, newest: SessionList) -> _Basis:
    own = {each.relative_id: hash(each) for each in newest.sessions if each.ref_name == branch}
    return _Basis(asyncio.get_running_loop().time(), branch, main_branch(newest.sessions), own)


class _Seen(NamedTuple):
    """The last status of a watched suite, and what it rests on."""

    last: LastStatus | None = None
    basis: _Basis | None = None  # None if the next poll must read the status again


class StatusPoller(Poller[StatusChange, _Seen]):
    """The events are the changes of the status of each suite."""

    def __init__(
        self,
        api: Api,
        suites: Iterable[SuiteRef] | str,
        branch: str | Main,
        *,
        interval: float,
        on_failure: OnFirstFailure,
        saved: SavedStates | None = None,
    ) -> None:
        self._branch = validate_judged_branch(branch)
        self._source = ApiSource(api)
        super().__init__(api, suites, None, interval=interval, on_failure=on_failure, saved=saved)

    def restore(self, suite: WatchedSuite[_Seen], saved: Any) -> Pending[StatusChange] | None:
        """Continue with the saved status: newer sessions may have changed it."""
        status = structure(saved, StatusRecord)
        suite.state = _Seen(status.known)
        suite.highest_id = max(session.relative_id for session in status.known.commit.sessions)
        return None if status.event is None else _pending(status.known, status.event)

    async def events(self, suite: WatchedSuite[_Seen], newest: SessionList) -> PollResult[StatusChange]:
        """Return the event of a poll, if the status has changed. As long as it is not certain, the last one stays."""
        last, basis = suite.state or _Seen()
        if last is not None and suite.is_recreated(newest.sessions, last.commit.sessions):
            last = basis = suite.state = None
        if basis is not None and basis.is_unchanged(newest):
            return PollResult([])
        if last is not None and _lacks_sessions(newest, last.commit):  # the list may be older
            newest = await SuiteReader(self._source, suite.key).newest()
        return await self._read_status(suite, last, newest)

    async def _read_status(
        self, suite: WatchedSuite[_Seen], last: LastStatus | None, newest: SessionList
    ) -> PollResult[StatusChange]:
        reader = SuiteReader(self._source, suite.key, newest)
        status = await reader.status(self._branch)
        commit = status.commit
        if last is not None and commit is not None and last.commit.branch != commit.branch:
            last = None  # another main branch
        may_grow = expects_sessions(status, newest.as_of)
        holds_back = is_held(last, status, may_grow=may_grow)
        events: list[Pending[StatusChange]] = []
        if commit is not None and not holds_back and not is_older(commit, last):
            failing = await _read_tests(reader, suite, commit)
            last, event = next_status(last, status, commit, failing, may_grow=may_grow)
            events = [_pending(last, event)]
        is_certain = status.reason != "incomplete" and (commit is None or not may_grow)
        suite.state = _Seen(last, _basis_of(status.branch, newest) if is_certain else None)
        return PollResult(events, may_skip=not holds_back)


def _lacks_sessions(newest: SessionList, commit: TestedCommit) -> bool:
    """Return whether a list lacks sessions of a commit, and does not end above them."""
    lowest_id = min(map(relative_id_of, newest.sessions), default=0)
    expected = {each.id for each in commit.sessions if each.relative_id >= lowest_id}
    return not expected.issubset(each.id for each in newest.sessions)


async def _read_tests(
    reader: SuiteReader, suite: WatchedSuite[_Seen], commit: TestedCommit
) -> tuple[TestCase, ...] | None:
    """Return the failing tests of a commit; None if they cannot be read after two polls that failed."""
    cases = await reader.read_failing(commit.counted, is_sure=False)
    why = next(filter(None, (why_incomplete(session, cases) for session in commit.counted)), None)
    if why is None:
        return tuple(test.case for test in find_failing_tests(commit, cases))
    if suite.failed_polls + 1 < _MAX_UNREAD:
        raise BuddyError(why.without_advice, retryable=True)
    return None


def _pending(last: LastStatus, event: StatusChange | None) -> Pending[StatusChange]:
    """Return an event that is saved before it is delivered, so that it is repeated unless it is acknowledged."""
    return Pending(
        event,
        acknowledge=lambda _: unstructure(StatusRecord(last)),
        announce=None if event is None else lambda _: unstructure(StatusRecord(last, event)),
    )
