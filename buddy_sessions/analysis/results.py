"""The tests of several sessions: what one did, which flip often, which are slow, and how two sides differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile

from attrs import field, frozen

from .._base.validate import validate_int, validate_seconds
from ..models import FAILING, Session, TestCase, TestKey, TestStatus, sort_key
from .baseline import Cases, failing_in, find_incomplete
from .commits import TestedCommit
from .same_tests import same_key

_SEVERITY = {TestStatus.PASSED: 0, TestStatus.FAILED: 2, TestStatus.ERROR: 3}
_UNKNOWN_SEVERITY = 1


@frozen(kw_only=True)
class TestOutcome:
    """The outcome of a test in a commit.

    Attributes:
        commit: The commit.
        session: The newest session in which it failed; or else that of the commit.
        case: Its failure there; None if it did not fail.
    """

    __test__ = False  # pytest must not collect it

    commit: TestedCommit
    session: Session
    case: TestCase | None

    @property
    def is_failing(self) -> bool:
        """Whether the test failed or ended with an error."""
        return self.case is not None


@frozen(kw_only=True)
class TestHistory:
    """The outcomes of a test in the commits of a branch.

    Attributes:
        key: The test.
        branch: The branch.
        outcomes: What it did in each commit, newest first. They end where it began to fail, if that is longer ago.
        may_have_older: Whether there may be older commits that were not read.
        unread: Red sessions whose failing tests cannot be read completely: their commits are left out.
    """

    __test__ = False

    key: TestKey
    branch: str
    outcomes: Sequence[TestOutcome]
    may_have_older: bool
    unread: Sequence[Session] = ()

    @property
    def is_failing(self) -> bool | None:
        """Whether the test fails now; None if that is not known."""
        return self.outcomes[0].is_failing if self.outcomes else None

    @property
    def streak(self) -> list[TestOutcome]:
        """The newest commits in which it did the same, newest first."""
        return list(takewhile(lambda outcome: outcome.is_failing == self.is_failing, self.outcomes))

    @property
    def before(self) -> TestOutcome | None:
        """What it did in the commit before the streak; None if that is not known."""
        older = self.outcomes[len(self.streak) :]
        return older[0] if older else None


def outcome_in(commit: TestedCommit, key: TestKey, cases: Cases, sessions: Mapping[TestKey, int]) -> TestOutcome | None:
    """Return the outcome of a test in a commit; None if it is not known. `sessions` are those of `same_key`."""
    same = same_key(key, sessions)
    for session in commit.counted:
        for case in failing_in(session, cases):
            if same_key(case.key, sessions) == same:
                return TestOutcome(commit=commit, session=session, case=case)
    if not commit.is_whole or find_incomplete(commit.counted, cases):  # perhaps it failed, or did not run
        return None
    return TestOutcome(commit=commit, session=commit.session, case=None)


@frozen(kw_only=True)
class FlakyTest:
    """A test that flips from commit to commit, or failed and passed on the same commit.

    Attributes:
        key: The group, class and name of the test.
        flips: How often it began or ceased to fail, within the window.
        failed: The number of commits of the window in which it failed or ended with an error.
        commits: The number of commits of the window in which it ran.
        revisions: The commits on which it failed in a session, and passed when that was run again, oldest first. Only
            `flaky` of a client or a store knows them.
        wasted: The number of sessions in which no other test failed. Only `flaky` knows it.
        statuses: Its statuses in these commits, oldest first.
    """

    key: TestKey
    flips: int
    failed: int
    commits: int
    revisions: tuple[str, ...] = ()
    wasted: int = 0
    statuses: tuple[TestStatus, ...] = field(default=(), eq=False, repr=False)


@frozen(kw_only=True)
class FlakyTests:
    """The flaky tests of a branch, and what they cost.

    Attributes:
        branch: The branch.
        sessions: The sessions of its last commits, oldest first, without those in `unread`.
        tests: The tests: the most expensive ones first.
        wasted: The sessions that failed only because of these tests, oldest first.
        unread: Red sessions whose failing tests cannot be read completely.
    """

    branch: str
    sessions: Sequence[Session]
    tests: Sequence[FlakyTest]
    wasted: Sequence[Session]
    unread: Sequence[Session] = ()


def flaky_tests(commits: Iterable[Iterable[TestCase]], *, window: int = 10, flips: int = 3) -> list[FlakyTest]:
    """Return the tests that often begin or cease to fail, most flips first.

    The defaults are after Buddy's definition of a flaky test, which counts sessions. Commits in which a test did not
    run are ignored: PASSED, skipped, FAILED is one flip.

    Args:
        commits: The test cases of each commit, or of each session, oldest first.
        window: The number of commits to look at: the last ones of `commits`.
        flips: The minimum number of flips.

    Raises:
        ConfigError: `window` or `flips` is not a whole number of at least 1.
    """
    validate_int("window", window)
    validate_int("flips", flips)
    statuses: dict[TestKey, list[TestStatus]] = {}
    for cases in list(commits)[-window:]:
        for key, same_test in _group_by_test(cases).items():
            statuses.setdefault(key, []).append(_worst(same_test).status)
    flaky = [test for key, history in statuses.items() if (test := count_flips(key, history)).flips >= flips]
    return sorted(flaky, key=lambda test: (-test.flips, sort_key(test.key)))


def count_flips(key: TestKey, statuses: Sequence[TestStatus]) -> FlakyTest:
    """Return how often a test with these statuses, oldest first, began or ceased to fail."""
    is_failing = [status in FAILING for status in statuses]
    return FlakyTest(
        key=key,
        flips=sum(before != after for before, after in pairwise(is_failing)),
        failed=sum(is_failing),
        commits=len(statuses),
        statuses=tuple(statuses),
    )


@frozen(kw_only=True)
class SlowTest:
    """The times of a test in several sessions.

    Attributes:
        key: The group, class and name of the test.
        median: The median of its times, in seconds.
        slowest: The longest of its times, in seconds.
        sessions: The number of sessions in which it ran and has a time.
    """

    key: TestKey
    median: float
    slowest: float
    sessions: int


def slowest_tests(sessions: Iterable[Iterable[TestCase]], *, threshold: float | None = None) -> list[SlowTest]:
    """Return the times of all tests, slowest median first. Cases without a time are ignored.

    Args:
        sessions: The test cases of each session, in any order.
        threshold: Return only tests whose median is above this number of seconds. Buddy's own threshold is in
            milliseconds: pass `suite.slow_threshold / 1000`.

    Raises:
        ConfigError: `threshold` is not a finite number of at least 0.
    """
    if threshold is not None:
        validate_seconds("threshold", threshold, zero_allowed=True)
    times: dict[TestKey, list[float]] = {}
    for cases in sessions:
        for key, same_test in _group_by_test(cases).items():
            time = _longest(same_test).time
            if time is not None:
                times.setdefault(key, []).append(time)
    tests = [
        SlowTest(key=key, median=_median(history), slowest=float(max(history)), sessions=len(history))
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
    """The difference between the tests of two commits, or of two sessions. Every list is sorted by their keys.

    A test that is skipped did not run, so it can be in `added` or `removed`. Each test that fails in the new commit is
    either in `newly_failing` or in `still_failing`.

    Attributes:
        newly_failing: Tests that fail in the new commit and did not fail in the old one, as the new cases. Added tests
            that fail are here as well as in `added`.
        fixed: Tests that failed in the old commit and passed in the new one, as the new cases. One that is skipped or
            missing in the new commit is in `removed`.
        still_failing: Tests that fail in both, as the new cases.
        added: Tests that ran only in the new commit, as the new cases.
        removed: Tests that ran only in the old commit, as the old cases, whether they failed or not.
        slower: Tests that take at least twice as long as before and at least 0.1 seconds longer, whatever their
            statuses, as pairs of the old and the new case. Not one without a time in the old or the new commit.
        old: The sessions of the old commit; empty if they are not known, as for `compare_cases`.
        new: The sessions of the new commit.
        incomplete: Sessions of both that list fewer failing tests than they count: the other lists may lack some.
    """

    newly_failing: list[TestCase]
    fixed: list[TestCase]
    still_failing: list[TestCase]
    added: list[TestCase]
    removed: list[TestCase]
    slower: list[tuple[TestCase, TestCase]]
    old: Sequence[Session] = ()
    new: Sequence[Session] = ()
    incomplete: Sequence[Session] = ()

    @property
    def crashed(self) -> list[Session]:
        """The new sessions that failed, if they list no failing test."""
        if self.newly_failing or self.still_failing:
            return []
        return [session for session in self.new if session.is_failing]


def compare_cases(old: Iterable[TestCase], new: Iterable[TestCase]) -> Comparison:
    """Return the difference between the test cases of two commits, or of two sessions."""
    old_tests, new_tests = _group_by_test(old), _group_by_test(new)
    keys = sorted({**old_tests, **new_tests}, key=sort_key)
    before = {key: _worst(old_tests[key]) for key in keys if key in old_tests}
    after = {key: _worst(new_tests[key]) for key in keys if key in new_tests}
    failed = {key for key, case in before.items() if case.is_failing}
    pairs = [(_longest(old_tests[key]), _longest(new_tests[key])) for key in after if key in before]
    return Comparison(
        newly_failing=[case for key, case in after.items() if case.is_failing and key not in failed],
        fixed=[case for key, case in after.items() if case.status == TestStatus.PASSED and key in failed],
        still_failing=[case for key, case in after.items() if case.is_failing and key in failed],
        added=[case for key, case in after.items() if key not in before],
        removed=[case for key, case in before.items() if key not in after],
        slower=[pair for pair in pairs if _is_slower(*pair)],
    )


def _is_slower(old: TestCase, new: TestCase) -> bool:
    if old.time is None or new.time is None:
        return False
    # Rounded to microseconds, because 0.15 - 0.05 is less than 0.1.
    return new.time >= 2 * old.time and round(new.time - old.time, 6) >= 0.1


def _group_by_test(cases: Iterable[TestCase]) -> dict[TestKey, list[TestCase]]:
    """Return the cases of one session that are not skipped, by their keys."""
    tests: dict[TestKey, list[TestCase]] = {}
    for case in cases:
        if case.status != TestStatus.SKIPPED:
            tests.setdefault(case.key, []).append(case)
    return tests


def _worst(cases: list[TestCase]) -> TestCase:
    return max(cases, key=lambda case: (_SEVERITY.get(case.status, _UNKNOWN_SEVERITY), case.status, *_length(case)))


def _longest(cases: list[TestCase]) -> TestCase:
    return max(cases, key=_length)


def _length(case: TestCase) -> tuple[float, str, str]:
    """Return the time of a case. Its IDs, and not the order, decide between equal ones."""
    return -math.inf if case.time is None else case.time, case.test_group_id or "", case.id
