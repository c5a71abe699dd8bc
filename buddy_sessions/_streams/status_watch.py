"""`StatusWatch`: when suites turn red and green, as one stream."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from .._api.api import Api
from ..analysis.branches import NEWEST, Main, validate_judged_branch
from ..analysis.commits import SessionList, TestedCommit
from ..errors import BuddyError, NotFoundError, ResponseError, UnstableListingError
from ..models import Session, SuiteRef, TestCase, TestKey
from ..questions.sources import UNVERIFIED, ApiSource
from ..questions.suite_reader import SuiteReader, merge_lists
from .changes import Newest, WatchedSuite
from .poller import OnFirstFailure, Pending, Poller, SavedStates
from .status import KnownStatus, StatusChange, may_grow, next_status
from .watch import SuiteWatch

_MAX_UNREAD = 3
"""How many polls try to read the tests of a session."""


class StatusWatch(SuiteWatch[StatusChange]):
    """The status changes of many suites, as one stream that ends when it is closed.

    Created by `BuddyClient.watch_status` and `SessionStore.watch_status`. It works like a `Watch`, with the same polls,
    requests, errors and limits, but reports the status of suites.

    Each poll judges a suite as `BuddyClient.status` does. A suite without a verdict has no event, and neither has a
    commit that precedes the one of the last event. A green commit with fewer sessions than one of the ten before it is
    held for five minutes after its last session, because other jobs may follow. A suite that is created again under its
    name, or has another main branch now, begins with CURRENT.

    The failing tests of a red commit are read with one or two requests for each session. If they cannot be read, the
    poll fails: it is done again later, so that no event is lost. After three such polls, the event comes without them:
    `has_tests` is False.

    Example:
        >>> async with buddy.watch_status(["acme/storefront/MNbyVedg"]) as changes:
        ...     async for change in changes:
        ...         await post(f"{change.suite} {change.kind}: {change.commit.session.html_url}")
    """


class StatusPoller(Poller[StatusChange]):
    """The events are the changes of the status of each suite. What is known of it is saved."""

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

    def restore(self, suite: WatchedSuite, saved: Any) -> None:
        """As in `Poller`. Newer sessions than those that were saved may have changed the status."""
        suite.status = KnownStatus.from_dict(saved)
        suite.highest_id = max(session.relative_id for session in suite.status.commit.sessions)

    async def events(self, suite: WatchedSuite, newest: Newest) -> list[Pending[StatusChange]]:
        """Return the event of a poll, if the status has changed."""
        known = suite.status
        if known is not None and suite.is_recreated(newest, known.commit.sessions):
            known = suite.status = None
        reader = await self._reader(suite, newest, known)
        status = await reader.status(self._branch)
        commit = status.commit
        if known is not None and commit is not None and known.commit.branch != commit.branch:
            known = None  # another main branch
        grows = may_grow(status, (await reader.newest()).as_of)
        suite.is_held = known is not None and bool(known.commit.is_failing) and status.is_failing is False and grows
        if commit is None or suite.is_held or (known is not None and _is_older(commit, known.commit)):
            return []
        is_known = known is not None and _red_sessions(known.commit) == _red_sessions(commit)
        failing = known.failing if known is not None and is_known else await self._read_tests(suite, commit)
        suite.status, change = next_status(known, status, commit, failing, may_grow=grows)
        return [Pending(change, partial(_replace, suite.status))]

    async def _reader(self, suite: WatchedSuite, newest: Newest, known: KnownStatus | None) -> SuiteReader:
        """Return a reader that knows the newest sessions.

        If one of the commit that decided the status is missing, they are read once more: one response may lack it.
        """
        reader = SuiteReader(self._source, suite.key)
        if not newest.is_complete and len(newest.sessions) < NEWEST:
            return reader
        listed = SessionList(
            sessions=newest.sessions,
            end="beginning" if newest.is_complete else "cut",
            as_of=datetime.now(UTC),
            doubt="" if newest.is_verified else UNVERIFIED,
        )
        ids, lowest_id = (
            {each.id for each in newest.sessions},
            newest.sessions[-1].relative_id if newest.sessions else 0,
        )
        expected = [] if known is None else [each for each in known.commit.sessions if each.relative_id >= lowest_id]
        if any(each.id not in ids for each in expected):
            listed = merge_lists(listed, await reader.newest())
        reader.know(listed)
        return reader

    async def _read_tests(self, suite: WatchedSuite, commit: TestedCommit) -> tuple[TestCase, ...] | None:
        """Return the failing tests of a commit; None if they cannot be read. The first two times, fail the poll."""
        failing: dict[TestKey, TestCase] = {}
        for session in commit.counted:
            if not session.is_failing:
                continue
            cases = await self._read_cases(suite, session)
            if cases is None:
                return None
            failing = {case.key: case for case in cases} | failing
        return tuple(failing.values())

    async def _read_cases(self, suite: WatchedSuite, session: Session) -> list[TestCase] | None:
        cases = None
        try:
            cases = await self._source.failing_cases(suite.key, session)
        except (NotFoundError, ResponseError, UnstableListingError) as error:  # perhaps it was deleted meanwhile
            suite.unread[session.id] += 1
            if suite.unread[session.id] < _MAX_UNREAD:
                message = f"the tests of session #{session.relative_id} cannot be read, trying again: {error}"
                raise BuddyError(message, retryable=True) from None
        suite.unread.pop(session.id, None)
        return cases


def _is_older(commit: TestedCommit, known: TestedCommit) -> bool:
    """Return whether a commit precedes the known one, which is running again, or was deleted."""
    return commit.first.relative_id < known.first.relative_id


def _red_sessions(commit: TestedCommit) -> list[Session]:
    return [session for session in commit.counted if session.is_failing]


def _replace(status: KnownStatus, _: object) -> object:
    return status.to_dict()
