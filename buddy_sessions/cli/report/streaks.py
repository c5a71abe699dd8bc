"""Since when a suite or a test has been failing, computed from the sessions of one suite. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from buddy_sessions import Session, SessionStatus, TestKey


class Streak(NamedTuple):
    """Consecutive failures up to the newest finished session, on its branch, tag or pull request.

    Attributes:
        first: The oldest session of the streak.
        length: The number of sessions that failed.
        is_complete: Whether the session before `first` is known not to fail, or does not exist.
    """

    first: Session
    length: int
    is_complete: bool = True


def suite_streak(finished: Sequence[Session]) -> Streak | None:
    """Return since when a suite has been failing; None if its newest finished session did not fail.

    Sessions that neither passed nor failed, such as skipped ones, are passed over.

    Args:
        finished: The finished sessions, newest first.
    """
    if not finished or not finished[0].is_failing:
        return None
    first, length = finished[0], 0
    for session in _same_ref(finished):
        if session.status == SessionStatus.SUCCESSFUL:
            break
        if session.is_failing:
            first, length = session, length + 1
    return Streak(first, length)


def find_test_streak(finished: Sequence[Session], failing: Mapping[str, frozenset[TestKey]], test: TestKey) -> Streak:
    """Return since when a test has been failing, which fails in the newest finished session.

    Sessions in which no test failed, although they did not pass, are passed over: the tests were skipped, or did not
    start.

    Args:
        finished: The finished sessions, newest first.
        failing: The failing tests of each session whose test cases were saved, by the ID of the session.
        test: The test.
    """
    first, length = finished[0], 0
    for session in _same_ref(finished):
        keys = failing.get(session.id, frozenset[TestKey]())
        if test in keys:
            first, length = session, length + 1
        elif keys or session.status == SessionStatus.SUCCESSFUL:
            break
        elif session.id not in failing and session.is_failing:
            return Streak(first, length, is_complete=False)
    return Streak(first, length)


def _same_ref(finished: Sequence[Session]) -> Iterator[Session]:
    """Iterate over the sessions of the branch, tag or pull request of the newest one."""
    newest = finished[0]
    for session in finished:
        if (session.ref_type, session.ref_name) == (newest.ref_type, newest.ref_name):
            yield session
