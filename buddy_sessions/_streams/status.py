"""When a suite turns red and green: `next_status`, the event that follows from two states. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from attrs import frozen

from .._decoding.converter import case_from_dict, session_from_dict, to_dict
from ..analysis.commits import TestedCommit
from ..analysis.suite_status import SuiteStatus
from ..models import SuiteKey, TestCase

_HOLD = timedelta(minutes=5)
"""So long after its last session has ended, a green commit with few sessions may get more."""


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
        has_tests: False if the failing tests could not be read in three polls: then both lists are empty.

    Example:
        >>> async for change in buddy.watch_status(["acme/storefront/MNbyVedg"]):
        ...     print(f"{change.suite} {change.kind} since {change.since.revision}")
        acme/storefront/MNbyVedg FAILING since 5ff36f3
    """

    suite: SuiteKey
    kind: StatusKind
    commit: TestedCommit
    since: TestedCommit
    previous: TestedCommit | None = None
    newly_failing: tuple[TestCase, ...] = ()
    no_longer_failing: tuple[TestCase, ...] = ()
    has_tests: bool = True


@frozen
class KnownStatus:
    """What a watch knows of the status of a suite.

    Attributes:
        commit: The commit that decides it.
        failing: Its failing tests.
        carried: Tests that failed before, and may still fail in a session of the commit that has not finished.
    """

    commit: TestedCommit
    failing: tuple[TestCase, ...] = ()
    carried: tuple[TestCase, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return JSON values."""
        commit = self.commit
        return {
            "branch": commit.branch,
            "sessions": [to_dict(session) for session in commit.sessions],
            "counted": [session.id for session in commit.counted],
            "is_failing": commit.is_failing,
            "failing": [to_dict(case) for case in self.failing],
            "carried": [to_dict(case) for case in self.carried],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> KnownStatus:
        """Return what `to_dict` has returned."""
        sessions = [session_from_dict(each) for each in saved["sessions"]]
        counted = [session for session in sessions if session.id in saved["counted"]]
        commit = TestedCommit(
            branch=saved["branch"], sessions=sessions, counted=counted, is_failing=saved["is_failing"]
        )
        failing, carried = (tuple(map(case_from_dict, saved[name])) for name in ("failing", "carried"))
        return cls(commit, failing, carried)


def next_status(
    known: KnownStatus | None,
    status: SuiteStatus,
    commit: TestedCommit,
    failing: tuple[TestCase, ...] | None,
    *,
    may_grow: bool,
) -> tuple[KnownStatus, StatusChange | None]:
    """Return what is known of a suite now, and the event, if its status has changed.

    `commit` decides the status, and `failing` are its failing tests; None if they cannot be read. `may_grow` says
    whether more sessions of it may follow: then a test that does not fail yet may still do so.
    """
    before = () if known is None else (*known.failing, *known.carried)
    now = failing or ()
    newly_failing, gone = _without(now, before), _without(before, now)
    is_open = commit.is_failing and (may_grow or not now)  # it does not say that a test has ceased to fail
    kind = None
    if known is None:
        kind = StatusKind.CURRENT
    elif commit.is_failing != known.commit.is_failing:
        kind = StatusKind.FAILING if commit.is_failing else StatusKind.RECOVERED
    elif newly_failing or (gone and not is_open) or failing is None:
        kind = StatusKind.STILL_FAILING
    new = KnownStatus(commit, now, gone if is_open else ())
    if kind is None:
        return new, None
    return new, StatusChange(
        suite=status.suite,
        kind=kind,
        commit=commit,
        since=status.since or commit,
        previous=None if known is None else known.commit,
        newly_failing=newly_failing,
        no_longer_failing=() if is_open else gone,
        has_tests=failing is not None,
    )


def may_grow(status: SuiteStatus, now: datetime) -> bool:
    """Return whether more sessions of the commit that decides may follow: jobs may start one after the other."""
    commit = status.commit
    if commit is None or commit.is_running:
        return True
    ends = [session.finish_date or session.create_date for session in commit.sessions]
    newest = max(filter(None, ends), default=None)
    return commit.size < status.usual_size and newest is not None and now - newest < _HOLD


def _without(cases: Iterable[TestCase], others: Iterable[TestCase]) -> tuple[TestCase, ...]:
    """Return the cases of the tests that are not among the others."""
    keys = {case.key for case in others}
    return tuple(case for case in cases if case.key not in keys)
