"""Whether sessions are red: which tests fail, whether each failed in earlier sessions of a branch, and the causes.

The one place that decides it, for the library, the command line and the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from attrs import evolve, frozen

from ..models import Session, TestCase, TestKey, TestRun
from .baseline import QuarantinedTest, compare_to_baseline
from .causes import group_failures
from .runs import Streak, ci_runs, newest_streak

Novelty = Literal["new", "known", "flaky", "quarantined"]
NOVELTIES: tuple[Novelty, ...] = ("new", "known", "flaky", "quarantined")
"""In the order in which they are listed."""

ALL_BRANCHES = "all branches"
"""The text for a branch that is None."""


@frozen
class FailingTest:
    """A failing test case of one of the judged sessions; with a baseline, also how often it failed before."""

    session: Session
    case: TestCase
    baseline: Novelty | None = None
    failed_in: int | None = None
    excuse: str = ""
    """Why it does not count; empty for a new failure, and without a baseline."""
    streak: Streak | None = None
    """The last CI runs before the judged ones, if the test failed in all of them."""

    @property
    def mark(self) -> str:
        """How it compares with the baseline: `new`, `failing since #380`, `flaky: failed in …`; empty without one."""
        return f"failing since {self.streak}" if self.streak is not None else self.excuse or self.baseline or ""


@frozen
class Cause:
    """Failing tests that probably have the same cause, new ones first. `template` is what their messages share."""

    type: str | None
    template: str
    tests: Sequence[FailingTest]


@frozen
class Baseline:
    """The earlier sessions of a branch that a judgement compares with, newest first, with their failing test cases."""

    branch: str | None
    """None for all sessions."""
    runs: Sequence[TestRun]
    earlier: Sequence[TestRun] = ()
    """The sessions before them, which only show since when a test is failing."""

    def __str__(self) -> str:
        return self.branch or ALL_BRANCHES

    @property
    def sessions(self) -> list[Session]:
        """The sessions that say what is new, newest first."""
        return [run.session for run in self.runs]


@frozen
class Judgement:
    """The verdict on one session, or on those of one commit."""

    sessions: Sequence[Session]
    """Newest first."""
    tests: Sequence[FailingTest]
    """New failures first. Of a test that fails in several sessions, the case of the newest one."""
    crashed: Sequence[Session]
    """Sessions that failed without a failing test."""
    baseline: Baseline | None = None
    expired: Sequence[QuarantinedTest] = ()
    unused: Sequence[QuarantinedTest] = ()

    @property
    def is_red(self) -> bool:
        """Whether a failure has no excuse, or a session failed without a failing test."""
        return bool(self.crashed) or any(not test.excuse for test in self.tests)

    def with_cases(self, cases: Sequence[TestCase]) -> Judgement:
        """Return the judgement with these cases for the first tests, such as with their failures."""
        first = [evolve(test, case=case) for test, case in zip(self.tests, cases, strict=False)]
        return evolve(self, tests=[*first, *self.tests[len(first) :]])


def judge(
    runs: Sequence[TestRun], baseline: Baseline | None = None, *, quarantine: Sequence[QuarantinedTest] = ()
) -> Judgement:
    """Return the verdict on sessions, newest first, of which the failing test cases are enough.

    Without a baseline, each failure counts. With one, known and flaky failures are excused, and those in quarantine.
    """
    tests: list[FailingTest] = []
    listed = set[TestKey]()
    for run in runs:
        tests += [FailingTest(run.session, case) for case in run.cases if case.key not in listed]
        listed.update(case.key for case in run.cases)
    crashed = [run.session for run in runs if run.session.is_failing and not run.cases]
    sessions = [run.session for run in runs]
    if baseline is None:
        return Judgement(sessions, tests, crashed)
    found = compare_to_baseline(
        [run.cases for run in reversed(baseline.runs)], [test.case for test in tests], quarantine=quarantine
    )
    novelties = {case.key: novelty for novelty in NOVELTIES for case in getattr(found, novelty)}
    past = [*baseline.runs, *baseline.earlier]
    before = ci_runs(run.session for run in past)
    failed = {run.session.id: {case.key for case in run.cases} for run in past}

    def compare(test: FailingTest) -> FailingTest:
        key, novelty, streak = test.case.key, novelties[test.case.key], None
        excuse = f"{novelty}: failed in {found.failed_in[key]} of the last {len(baseline.runs)} on {baseline}"
        if novelty == "new":
            excuse = ""
        elif novelty == "known":
            streak = newest_streak(before, lambda run: any(key in failed[each.id] for each in run.sessions))
        elif novelty == "quarantined":
            entry = next(entry for entry in quarantine if entry not in found.expired and entry.matches(key))
            excuse = f"quarantined until {entry.until}" + (f": {entry.reason}" if entry.reason else "")
        return evolve(test, baseline=novelty, failed_in=found.failed_in[key], excuse=excuse, streak=streak)

    compared = sorted(map(compare, tests), key=_rank)
    return Judgement(sessions, compared, crashed, baseline, found.expired, found.unused)


def _rank(test: FailingTest) -> int:
    """Return the position of a test among others: new ones are first."""
    return NOVELTIES.index(test.baseline or "new")


def can_be_baseline(session: Session, judged: Iterable[Session]) -> bool:
    """Return whether a session is of another commit than the judged ones."""
    return session.revision not in {each.revision for each in judged if each.revision}


def count_failing(session: Session) -> int | None:
    """Return how many tests of a session failed or ended with an error; None if that is not known."""
    counts = [count for count in (session.failed_count, session.error_count) if count is not None]
    return sum(counts) if counts else None


def find_causes(tests: Iterable[FailingTest]) -> list[Cause]:
    """Return failing tests by cause: those with most new failures first, flaky ones last, then those not read."""
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
