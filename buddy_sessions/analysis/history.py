"""Compare the tests of sessions: which ones change often, conflict with themselves, are slow; two sessions compared."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import pairwise

from attrs import frozen

from .._base.validate import validate_int, validate_seconds
from ..errors import ConfigError
from ..models import FAILING, Session, TestCase, TestKey, TestRun, TestStatus
from .by_test import group_by_test, longest, sort_cases, sort_key, worst
from .completeness import count_failing


@frozen(kw_only=True)
class FlakyTest:
    """A test whose status changes from session to session.

    Attributes:
        key: The group, class and name of the test.
        changes: How often its status differed from the one before, within the window.
        failed: The number of sessions of the window in which it failed or ended with an error.
        runs: The number of sessions of the window in which it ran.
    """

    key: TestKey
    changes: int
    failed: int
    runs: int


def flaky_tests(runs: Iterable[Iterable[TestCase]], *, window: int = 10, changes: int = 3) -> list[FlakyTest]:
    """Return the tests whose status changes often, most changes first.

    The defaults are Buddy's definition of a flaky test. Any two different statuses are a change, so one from FAILED to
    ERROR counts as well. Sessions in which a test did not run are ignored: PASSED, skipped, FAILED is one change.

    Args:
        runs: The test cases of each session, oldest session first.
        window: The number of sessions to look at: the last ones of `runs`.
        changes: The minimum number of changes.

    Raises:
        ConfigError: `window` or `changes` is not a whole number of at least 1.
    """
    validate_int("window", window)
    validate_int("changes", changes)
    statuses: dict[TestKey, list[TestStatus]] = {}
    for cases in list(runs)[-window:]:
        for key, same_test in group_by_test(cases).items():
            statuses.setdefault(key, []).append(worst(same_test).status)
    tests = [
        FlakyTest(
            key=key,
            changes=sum(before != after for before, after in pairwise(history)),
            failed=sum(status in FAILING for status in history),
            runs=len(history),
        )
        for key, history in statuses.items()
    ]
    flaky = [test for test in tests if test.changes >= changes]
    return sorted(flaky, key=lambda test: (-test.changes, sort_key(test.key)))


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
    flaky test; but it needs several sessions of a commit.

    Sessions of all branches count. A session counts if it finished as SUCCESSFUL or ERROR, and has a `revision`.

    Args:
        runs: Sessions with all their test cases, oldest session first.
        window: The number of sessions to look at: the last ones of `runs`; None for all.

    Raises:
        ConfigError: `window` is not a whole number of at least 1, or a run has only its failing test cases.

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
        if run.scope == "failed":
            raise ConfigError(
                f"session #{run.session.relative_id} has only its failing test cases: read all of them, or sync "
                'with cases="all"'
            )
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


def failed_only_by(runs: Iterable[TestRun], tests: Container[TestKey]) -> list[Session]:
    """Return the sessions that failed, and in which no other test than these did."""
    found: list[Session] = []
    for run in runs:
        failing = [case for case in run.cases if case.is_failing]
        is_complete = len(failing) >= (count_failing(run.session) or 1)
        if run.session.is_failing and is_complete and all(case.key in tests for case in failing):
            found.append(run.session)
    return found


@frozen(kw_only=True)
class SlowTest:
    """The times of a test in several sessions.

    Attributes:
        key: The group, class and name of the test.
        median: The median of its times, in seconds.
        slowest: The longest of its times, in seconds.
        runs: The number of sessions in which it ran and has a time.
    """

    key: TestKey
    median: float
    slowest: float
    runs: int


def slowest_tests(runs: Iterable[Iterable[TestCase]], *, threshold: float | None = None) -> list[SlowTest]:
    """Return the times of all tests, slowest median first. Cases without a time are ignored.

    Args:
        runs: The test cases of each session, in any order.
        threshold: Return only tests whose median is above this number of seconds. Buddy's own threshold is in
            milliseconds: pass `suite.slow_threshold / 1000`.

    Raises:
        ConfigError: `threshold` is not a finite number of at least 0.
    """
    if threshold is not None:
        validate_seconds("threshold", threshold, zero_allowed=True)
    times: dict[TestKey, list[float]] = {}
    for cases in runs:
        for key, same_test in group_by_test(cases).items():
            time = longest(same_test).time
            if time is not None:
                times.setdefault(key, []).append(time)
    tests = [
        SlowTest(key=key, median=_median(history), slowest=float(max(history)), runs=len(history))
        for key, history in times.items()
    ]
    slow = [test for test in tests if threshold is None or test.median > threshold]
    return sorted(slow, key=lambda test: (-test.median, sort_key(test.key)))


def _median(times: list[float]) -> float:
    """Return the median. The `statistics` module would take a noticeable part of the time to import this package."""
    ordered = sorted(times)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


@frozen(kw_only=True)
class Comparison:
    """The difference between two sessions. Every list is sorted by the keys of the tests.

    A test that is skipped in one of the sessions did not run there, so it can be in `added` or `removed`. Each test
    that fails in the new session is either in `newly_failing` or in `still_failing`.

    Attributes:
        newly_failing: Tests that fail in the new session and did not fail in the old one, as the new cases. Added tests
            that fail are here as well as in `added`.
        fixed: Tests that failed in the old session and passed in the new one, as the new cases. One that is skipped or
            missing in the new session is in `removed`.
        still_failing: Tests that fail in both sessions, as the new cases.
        added: Tests that ran only in the new session, as the new cases.
        removed: Tests that ran only in the old session, as the old cases, whether they failed or not.
        slower: Tests that take at least twice as long as before and at least 0.1 seconds longer, whatever their
            statuses, as pairs of the old and the new case. A test that has no time in one of the sessions is not here.
    """

    newly_failing: list[TestCase]
    fixed: list[TestCase]
    still_failing: list[TestCase]
    added: list[TestCase]
    removed: list[TestCase]
    slower: list[tuple[TestCase, TestCase]]


def compare(old: Iterable[TestCase], new: Iterable[TestCase]) -> Comparison:
    """Return the difference between two sessions.

    Args:
        old: The test cases of the old session.
        new: The test cases of the new session.
    """
    old_tests, new_tests = group_by_test(old), group_by_test(new)
    before = {key: worst(cases) for key, cases in old_tests.items()}
    after = {key: worst(cases) for key, cases in new_tests.items()}
    in_both = [key for key in after if key in before]
    failing_before = {key for key, case in before.items() if case.is_failing}
    pairs = [(longest(old_tests[key]), longest(new_tests[key])) for key in in_both]
    return Comparison(
        newly_failing=sort_cases(case for key, case in after.items() if case.is_failing and key not in failing_before),
        fixed=sort_cases(
            case for key, case in after.items() if case.status == TestStatus.PASSED and key in failing_before
        ),
        still_failing=sort_cases(case for key, case in after.items() if case.is_failing and key in failing_before),
        added=sort_cases(case for key, case in after.items() if key not in before),
        removed=sort_cases(case for key, case in before.items() if key not in after),
        slower=sorted((pair for pair in pairs if _is_slower(*pair)), key=lambda pair: sort_key(pair[1].key)),
    )


def _is_slower(old: TestCase, new: TestCase) -> bool:
    if old.time is None or new.time is None:
        return False
    # Rounded to microseconds, because 0.15 - 0.05 is less than 0.1.
    return new.time >= 2 * old.time and round(new.time - old.time, 6) >= 0.1
