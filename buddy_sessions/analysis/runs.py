"""What the test cases of several runs say: which tests change often, which are slow, and how two runs differ."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import pairwise

from attrs import field, frozen

from .._base.validate import validate_int, validate_seconds
from ..models import FAILING, Session, TestCase, TestKey, TestRun, TestStatus
from .by_test import group_by_test, longest, sort_cases, sort_key, worst


@frozen(kw_only=True)
class FlakyTest:
    """A test whose status changes from run to run.

    Attributes:
        key: The group, class and name of the test.
        changes: How often its status differed from the one before, within the window.
        failed: The number of runs of the window in which it failed or ended with an error.
        runs: The number of runs of the window in which it ran.
        revisions: The commits on which it failed in a session, and passed when that was run again, oldest first. Only
            `flaky` of a client or a store knows them.
        statuses: Its statuses in these runs, oldest first.
    """

    key: TestKey
    changes: int
    failed: int
    runs: int
    revisions: tuple[str, ...] = ()
    statuses: tuple[TestStatus, ...] = field(default=(), eq=False, repr=False)


@frozen(kw_only=True)
class FlakyTests:
    """The flaky tests of a branch, and what they cost.

    Attributes:
        branch: The branch.
        sessions: The sessions of its last commits whose test cases were read, oldest first.
        tests: The tests: most changes first.
        wasted: The sessions that failed only because of these tests, oldest first.
        unread: Sessions that are left out, because their test cases were deleted, or not saved.
    """

    branch: str
    sessions: Sequence[Session]
    tests: Sequence[FlakyTest]
    wasted: Sequence[Session]
    unread: Sequence[Session] = ()


def flaky_tests(runs: Iterable[Iterable[TestCase]], *, window: int = 10, changes: int = 3) -> list[FlakyTest]:
    """Return the tests whose status changes often, most changes first.

    The defaults are Buddy's definition of a flaky test. Any two different statuses are a change, so one from FAILED to
    ERROR counts as well. Runs in which a test did not run are ignored: PASSED, skipped, FAILED is one change.

    Args:
        runs: The test cases of each run, oldest run first.
        window: The number of runs to look at: the last ones of `runs`.
        changes: The minimum number of changes.

    Raises:
        ConfigError: `window` or `changes` is not a whole number of at least 1.
    """
    validate_int("window", window)
    validate_int("changes", changes)
    return sort_flaky(test for test in count_changes(list(runs)[-window:]) if test.changes >= changes)


def count_changes(runs: Iterable[Iterable[TestCase]]) -> list[FlakyTest]:
    """Return how often the status of each test has changed, oldest run first."""
    statuses: dict[TestKey, list[TestStatus]] = {}
    for cases in runs:
        for key, same_test in group_by_test(cases).items():
            statuses.setdefault(key, []).append(worst(same_test).status)
    return [
        FlakyTest(
            key=key,
            changes=sum(before != after for before, after in pairwise(history)),
            failed=sum(status in FAILING for status in history),
            runs=len(history),
            statuses=tuple(history),
        )
        for key, history in statuses.items()
    ]


def sort_flaky(tests: Iterable[FlakyTest]) -> list[FlakyTest]:
    """Return tests, most changes first."""
    return sorted(tests, key=lambda test: (-test.changes, sort_key(test.key)))


def failed_only_by(runs: Iterable[TestRun], tests: Container[TestKey]) -> list[Session]:
    """Return the sessions that failed, and in which no other test than these did."""
    found: list[Session] = []
    for run in runs:
        failing = [case for case in run.cases if case.is_failing]
        is_complete = len(failing) >= (run.session.failing_count or 1)
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
    """The difference between two runs. Every list is sorted by the keys of the tests.

    A test that is skipped in one of the runs did not run there, so it can be in `added` or `removed`. Each test
    that fails in the new run is either in `newly_failing` or in `still_failing`.

    Attributes:
        newly_failing: Tests that fail in the new run and did not fail in the old one, as the new cases. Added tests
            that fail are here as well as in `added`.
        fixed: Tests that failed in the old run and passed in the new one, as the new cases. One that is skipped or
            missing in the new run is in `removed`.
        still_failing: Tests that fail in both runs, as the new cases.
        added: Tests that ran only in the new run, as the new cases.
        removed: Tests that ran only in the old run, as the old cases, whether they failed or not.
        slower: Tests that take at least twice as long as before and at least 0.1 seconds longer, whatever their
            statuses, as pairs of the old and the new case. A test that has no time in one of the runs is not here.
        old: The sessions of the old run; empty if they are not known, as for `compare_runs`.
        new: The sessions of the new run.
    """

    newly_failing: list[TestCase]
    fixed: list[TestCase]
    still_failing: list[TestCase]
    added: list[TestCase]
    removed: list[TestCase]
    slower: list[tuple[TestCase, TestCase]]
    old: Sequence[Session] = ()
    new: Sequence[Session] = ()

    @property
    def crashed(self) -> list[Session]:
        """The sessions of the new run that failed, if it lists no failing test."""
        if self.newly_failing or self.still_failing:
            return []
        return [session for session in self.new if session.is_failing]


def compare_runs(old: Iterable[TestCase], new: Iterable[TestCase]) -> Comparison:
    """Return the difference between two runs: the test cases of one session each, or of several together."""
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
