"""Judges sessions: which tests fail, whether each failed in earlier sessions of a branch, and for which cause.

The commands, the report and the tools for agents all judge with this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from attrs import evolve, frozen

from .._base.figures import format_count
from ..models import Session, TestCase, TestKey, TestRun, TestStatus
from .baseline import BaselineComparison, QuarantinedTest, compare_to_baseline
from .causes import group_failures
from .completeness import (
    MIN_TESTS,
    EarlierCIRuns,
    count_failing,
    earlier_ci_runs,
    failing_cases,
    lists_too_few,
    missing_tests,
)
from .runs import CIRun, Streak, name_sessions, newest_first, newest_streak, run_identity

Novelty = Literal["new", "known", "flaky", "quarantined"]
NOVELTIES: tuple[Novelty, ...] = ("new", "known", "flaky", "quarantined")
"""In the order in which they are listed."""

ALL_BRANCHES = "all branches"
"""The text for a branch that is None."""


@frozen
class FailingTest:
    """A failing test case of one of the judged sessions; with a baseline, also how often it failed before.

    Attributes:
        session: The session.
        case: The test case.
        baseline: `new`, `known`, `flaky` or `quarantined`; None without a baseline.
        failed_in: The number of CI runs of the baseline in which the test failed; None without a baseline.
        excuse: Why it does not count; empty for a new failure, and without a baseline.
        streak: The last CI runs before the judged ones, if the test failed in all of them.
    """

    session: Session
    case: TestCase
    baseline: Novelty | None = None
    failed_in: int | None = None
    excuse: str = ""
    streak: Streak | None = None

    @property
    def mark(self) -> str:
        """How the test compares with the baseline: `new`, `failing since #380`, `flaky: failed in …`; or empty."""
        return f"failing since {self.streak}" if self.streak is not None else self.excuse or self.baseline or ""


@frozen
class Cause:
    """Failing tests that probably have the same cause, new ones first. `template` is what their messages share."""

    type: str | None
    template: str
    tests: Sequence[FailingTest]


@frozen
class Baseline:
    """The earlier sessions of a branch that a judgement compares with.

    Attributes:
        branch: The branch; None for all sessions.
        runs: The sessions, newest first, with their failing test cases. Those of the judged commit do not belong here.
        last: How many of the newest CI runs say what is new. Older ones only show since when a test is failing, and
            replace those of an outage. None for all.
        unread: Sessions that are left out, because their test cases could not be read.
    """

    branch: str | None
    runs: Sequence[TestRun]
    last: int | None = None
    unread: Sequence[Session] = ()

    def __str__(self) -> str:
        return self.branch or ALL_BRANCHES

    @property
    def sessions(self) -> list[Session]:
        """The sessions, newest first."""
        return [run.session for run in self.runs]


@frozen
class Judgement:
    """The verdict on one session, or on those of one commit or CI run.

    Attributes:
        sessions: The judged sessions, newest first.
        tests: The failing tests, new failures first. Of a test that fails in several sessions, the case of the newest.
        crashed: The sessions that failed without a failing test, unless the baseline has failed in the same way.
        is_red: True if a failure has no excuse, if a session crashed, or if tests did not run; None without a verdict:
            the evidence is incomplete. Then it is neither red nor green.
        reasons: Why it is red, or why there is no verdict, and what to do; empty if it is green.
        remarks: What was left out, could not be checked, or is excused although no test failed.
        missing_tests: Those of the reasons that say that tests did not run.
        baseline: What it was compared with: the sessions that count.
        expired: Entries of the quarantine that would excuse a failing test, but whose last day is over.
        unused: Entries of the quarantine that no failing test matches.
    """

    sessions: Sequence[Session]
    tests: Sequence[FailingTest]
    crashed: Sequence[Session]
    is_red: bool | None = False
    reasons: Sequence[str] = ()
    remarks: Sequence[str] = ()
    missing_tests: Sequence[str] = ()
    baseline: Baseline | None = None
    expired: Sequence[QuarantinedTest] = ()
    unused: Sequence[QuarantinedTest] = ()

    def with_cases(self, cases: Sequence[TestCase]) -> Judgement:
        """Return the judgement with these cases in place of those of its first tests: now with their failures."""
        first = [evolve(test, case=case) for test, case in zip(self.tests, cases, strict=False)]
        return evolve(self, tests=[*first, *self.tests[len(first) :]])


def judge(
    runs: Sequence[TestRun],
    baseline: Baseline | None = None,
    *,
    quarantine: Sequence[QuarantinedTest] = (),
    min_tests: float = MIN_TESTS,
    others: Iterable[Session] = (),
    unread: Iterable[Session] = (),
) -> Judgement:
    """Return the verdict on sessions: of a CI run, or of a commit. No verdict rests on evidence that is incomplete.

    Without a baseline, each failure counts. With one, known and flaky failures are excused, and those in quarantine;
    and it is red if tests did not run.

    Args:
        runs: The sessions, with all their test cases, or the failing ones.
        baseline: The earlier sessions of a branch.
        quarantine: Tests that may fail, see `parse_quarantine`.
        min_tests: The share of the usual number of tests that must have run, from 0.0 (not checked) to 1.0. It is not
            checked without a baseline, and if the number differs from one CI run of the baseline to the next.
        others: Other sessions of the same CI runs, which are not judged: they only count as tests that have run.
        unread: Sessions to judge whose test cases could not be read.

    Example:
        >>> from buddy_sessions import SessionStatus, TestStatus
        >>> def run(number: int, *failing: str, tests: int = 8) -> TestRun:
        ...     status = SessionStatus.ERROR if failing else SessionStatus.SUCCESSFUL
        ...     counts = {"tests_count": tests, "failed_count": len(failing)}
        ...     session = Session(id=str(number), relative_id=number, status=status, **counts)
        ...     cases = [TestCase(id=name, name=name, status=TestStatus.FAILED) for name in failing]
        ...     return TestRun(session, tuple(cases))
        >>> main = Baseline("main", [run(3, "pays"), run(2), run(1)])
        >>> judge([run(4, "pays")], main).is_red
        False
        >>> judge([run(5, "pays", "adds")], main).reasons
        ['1 new failure']
        >>> print(*judge([run(6, tests=3)], main).reasons)
        3 tests ran, on main 8: 5 did not run. A file that cannot be loaded uploads nothing. If the change removed \
them, runs only a part, or is older than main: --min-tests 0
    """
    runs = sorted(runs, key=lambda run: run.session.relative_id, reverse=True)
    earlier, past = _split(baseline, min_tests)
    tests = _failing_tests(runs)
    found = None
    if baseline is not None:
        cases_of = {run.session.id: run.cases for run in baseline.runs}
        found = compare_to_baseline(
            [[case for each in ci_run.sessions for case in cases_of[each.id]] for ci_run in reversed(earlier.counting)],
            [test.case for test in tests],
            quarantine=quarantine,
        )
        tests = sorted(_compare(tests, found, earlier, cases_of, str(baseline)), key=_rank)
    unread = list(unread)
    judged = newest_first([*(run.session for run in runs), *unread])
    lacking, remarks = missing_tests(judged, others, earlier, str(baseline))
    crashed, known = _crashed(runs, past, has_all_tests=not lacking)
    remarks += [f"{crash_text(session)}, as sessions of {baseline} did" for session in known]
    remarks += _left_out(earlier, () if baseline is None else baseline.unread)
    remarks += _also_passed(runs)
    counting = [test for test in tests if not test.excuse]
    red = [format_count(len(counting), "new failure" if baseline is not None else "failing test")] if counting else []
    red += [*map(crash_text, crashed), *lacking]
    missing = [f"#{session.relative_id} has not finished: wait for it" for session in judged if not session.is_finished]
    if baseline is not None and not earlier.counting:
        missing.append(f"{baseline} has no session to compare with")
    doubts = _doubts(runs, unread, judged, crashed=[*crashed, *known])
    is_red = None if missing else True if red else None if doubts else False
    reasons = missing or red or doubts
    judgement = Judgement(judged, tests, crashed, is_red, reasons, remarks, lacking)
    if baseline is None or found is None:
        return judgement
    compared = Baseline(baseline.branch, past, baseline.last)
    return evolve(judgement, baseline=compared, expired=found.expired, unused=found.unused)


def _split(baseline: Baseline | None, min_tests: float) -> tuple[EarlierCIRuns, list[TestRun]]:
    """Return the CI runs of a baseline, and its sessions that count, newest first."""
    runs = () if baseline is None else baseline.runs
    last = None if baseline is None else baseline.last
    earlier = earlier_ci_runs((run.session for run in runs), last=last, min_tests=min_tests)
    counting = {session.id for ci_run in earlier.counting for session in ci_run.sessions}
    return earlier, [run for run in runs if run.session.id in counting]


def _failing_tests(runs: Iterable[TestRun]) -> list[FailingTest]:
    """Return the failing tests of sessions, newest first: of each test, the case of the newest session."""
    tests: dict[TestKey, FailingTest] = {}
    for run in runs:
        for case in run.cases:
            if case.is_failing:
                tests.setdefault(case.key, FailingTest(run.session, case))
    return list(tests.values())


def _left_out(earlier: EarlierCIRuns, unread: Sequence[Session]) -> list[str]:
    """Return which sessions of the baseline do not count, and why."""
    remarks = [
        f"#{ci_run.session.relative_id} was an outage, and excuses nothing: most of its tests failed or did not run"
        for ci_run in earlier.outages
    ]
    if unread:
        remarks.append(f"left out, because their failing tests cannot be read: {name_sessions(unread)}")
    return remarks


def _also_passed(runs: Iterable[TestRun]) -> Iterator[str]:
    """Yield which tests failed and passed in one session."""
    for run in runs:
        passed = {case.key for case in run.cases if case.status == TestStatus.PASSED}
        for key in dict.fromkeys(case.key for case in run.cases if case.is_failing and case.key in passed):
            yield f"{key} also passed in #{run.session.relative_id}: a retry, or another job"


def _compare(
    tests: Iterable[FailingTest],
    found: BaselineComparison,
    earlier: EarlierCIRuns,
    cases_of: Mapping[str, Iterable[TestCase]],
    branch: str,
) -> Iterator[FailingTest]:
    """Yield the failing tests with what the baseline says about them."""
    novelties = {case.key: novelty for novelty in NOVELTIES for case in getattr(found, novelty)}
    failed = {each: {case.key for case in cases if case.is_failing} for each, cases in cases_of.items()}
    before = [*earlier.counting, *earlier.older]
    for test in tests:
        key, novelty, streak = test.case.key, novelties[test.case.key], None
        excuse = f"{novelty}: failed in {found.failed_in[key]} of the last {len(earlier.counting)} on {branch}"
        if novelty == "new":
            excuse = ""
        elif novelty == "known":

            def fails(ci_run: CIRun, key: TestKey = key) -> bool:
                return any(key in failed[session.id] for session in ci_run.sessions)

            streak = newest_streak(before, fails)
        elif novelty == "quarantined":
            entry = found.excused_by[key]
            excuse = f"quarantined until {entry.until}" + (f": {entry.reason}" if entry.reason else "")
        yield evolve(test, baseline=novelty, failed_in=found.failed_in[key], excuse=excuse, streak=streak)


def _crashed(
    runs: Iterable[TestRun], past: Iterable[TestRun], *, has_all_tests: bool
) -> tuple[list[Session], list[Session]]:
    """Return the sessions that failed without a failing test, and those of which the baseline shows that as known."""
    before = [run for run in past if run.session.is_failing and not failing_cases(run)]
    is_usual_to_list_none = any(map(lists_too_few, before))
    crashed: list[Session] = []
    known: list[Session] = []
    for run in runs:
        session = run.session
        if not session.is_failing or failing_cases(run) or (lists_too_few(run) and not is_usual_to_list_none):
            continue
        is_known = (
            has_all_tests
            and session.tests_count
            and session.error_message in {each.session.error_message for each in before}
        )
        (known if is_known else crashed).append(session)
    return crashed, known


def _doubts(
    runs: Iterable[TestRun], unread: Iterable[Session], judged: Sequence[Session], *, crashed: Sequence[Session]
) -> list[str]:
    """Return why sessions that are not red are not green either."""
    doubts = [f"#{session.relative_id}: its failing tests cannot be read: try again later" for session in unread]
    for run in runs:
        if lists_too_few(run) and run.session not in crashed:
            listed, counted = len(failing_cases(run)), format_count(count_failing(run.session) or 0, "failing test")
            doubts.append(f"#{run.session.relative_id} lists {listed:,} of its {counted}: try again later")
    names = name_sessions(judged)
    if not any(session.has_verdict for session in judged):
        doubts.append(f"{names} neither passed nor failed: name another session")
    elif all(session.tests_count == 0 and not session.is_failing for session in judged):
        doubts.append(f"no test ran in {names}: check that the test runner finds the tests")
    return doubts


def crash_text(session: Session) -> str:
    """Return that a session failed without a failing test, and why."""
    return f"session #{session.relative_id} failed without a failing test" + (
        f": {session.error_message}" if session.error_message else ""
    )


def _rank(test: FailingTest) -> int:
    """Return the position of a test among others: new ones are first."""
    return NOVELTIES.index(test.baseline or "new")


def can_be_baseline(session: Session, judged: Collection[Session]) -> bool:
    """Return whether a session is of another commit and CI run than the judged ones: not an earlier attempt of it."""
    is_other_run = run_identity(session) not in map(run_identity, judged)
    return is_other_run and session.revision not in {each.revision for each in judged if each.revision}


def find_causes(tests: Iterable[FailingTest]) -> list[Cause]:
    """Return failing tests by cause: most new failures first, mostly flaky ones later, unread messages last."""
    by_case = {test.case: test for test in tests}
    causes = [
        Cause(group.type, group.template, sorted((by_case[case] for case in group.cases), key=_rank))
        for group in group_failures(by_case)
    ]

    def rank(cause: Cause) -> tuple[bool, int, int]:
        novelties = [test.baseline for test in cause.tests]
        is_unread = not any(test.case.has_details for test in cause.tests)
        return is_unread, -novelties.count("new"), novelties.count("flaky") - len(novelties)

    return sorted(causes, key=rank)


def count_marks(tests: Iterable[FailingTest]) -> list[tuple[str, int]]:
    """Return the marks of tests, and how many have each: `("new", 3), ("failing since #380", 7)`. `new` is first."""
    counts = Counter(test.mark.partition(":")[0] for test in tests if test.mark)
    return sorted(counts.items(), key=lambda item: (item[0] != "new", -item[1]))
