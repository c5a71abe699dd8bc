"""Whether sessions are red: which tests fail, whether each failed in earlier sessions of a branch, and the causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

from buddy_sessions import (
    QuarantinedTest,
    Session,
    SuiteKey,
    TestCase,
    TestKey,
    TestRun,
    compare_to_baseline,
    group_failures,
)

from .errors import NothingToJudgeError

Novelty = Literal["new", "known", "flaky", "quarantined"]
NOVELTIES: tuple[Novelty, ...] = ("new", "known", "flaky", "quarantined")
"""In the order in which they are printed."""

BASELINE = 10
"""The default number of sessions of a baseline."""


@dataclass(frozen=True)
class Streak:
    """The newest sessions of a branch that have the same verdict."""

    first: Session
    """The oldest of them."""
    length: int
    before: Session | None
    """The session before the first one. If it is not known, the streak may be longer."""

    def __str__(self) -> str:
        """Return since when: `#380`, or `#380 or earlier`."""
        return f"#{self.first.relative_id}" + ("" if self.before is not None else " or earlier")


@dataclass(frozen=True)
class FailingTest:
    """A failing test case of one of the judged sessions; with a baseline, also how often it failed before."""

    session: Session
    case: TestCase
    baseline: Novelty | None = None
    failed_in: int | None = None
    excuse: str = ""
    """Why it does not count; empty for a new failure, and without a baseline."""
    streak: Streak | None = None
    """The last sessions before the judged ones, if the test failed in all of them."""

    @property
    def mark(self) -> str:
        """How it compares with the baseline: `new`, `failing since #380`, `flaky: failed in …`; empty without one."""
        return f"failing since {self.streak}" if self.streak is not None else self.excuse or self.baseline or ""


@dataclass(frozen=True)
class Cause:
    """Failing tests that probably have the same cause, new ones first. `template` is what their messages share."""

    type: str | None
    template: str
    tests: Sequence[FailingTest]


@dataclass(frozen=True)
class Baseline:
    """The sessions of a branch that a judgement compares with, newest first, and the quarantine."""

    branch: str | None
    """None for all sessions."""
    sessions: Sequence[Session]
    expired: Sequence[QuarantinedTest] = ()
    unused: Sequence[QuarantinedTest] = ()


@dataclass(frozen=True)
class Judgement:
    """The verdict on one session, or on those of one commit."""

    suite: SuiteKey
    sessions: Sequence[Session]
    """Newest first."""
    tests: Sequence[FailingTest]
    """New failures first. Of a test that fails in several sessions, the case of the newest one."""
    crashed: Sequence[Session]
    """Sessions that failed without a failing test."""
    baseline: Baseline | None = None

    @property
    def is_red(self) -> bool:
        """Whether a failure has no excuse, or a session failed without a failing test."""
        return bool(self.crashed) or any(not test.excuse for test in self.tests)


def require_verdict(sessions: Sequence[Session]) -> None:
    """Raise NothingToJudgeError if none of the sessions passed or failed."""
    if not any(session.has_verdict for session in sessions):
        number = sessions[0].relative_id
        raise NothingToJudgeError(f"session #{number} neither passed nor failed: wait until it has finished")


def judge(suite: SuiteKey, runs: Sequence[TestRun]) -> Judgement:
    """Return the verdict on sessions without a baseline: each failure counts. `runs` are newest first."""
    tests: list[FailingTest] = []
    listed = set[TestKey]()
    for run in runs:
        tests += [FailingTest(run.session, case) for case in run.cases if case.key not in listed]
        listed.update(case.key for case in run.cases)
    crashed = [run.session for run in runs if run.session.is_failing and not run.cases]
    return Judgement(suite, [run.session for run in runs], tests, crashed)


def count_failing(session: Session) -> int | None:
    """Return how many tests of a session failed or ended with an error; None if that is not known."""
    counts = [count for count in (session.failed_count, session.error_count) if count is not None]
    return sum(counts) if counts else None


def can_be_baseline(session: Session, judged: Sequence[Session]) -> bool:
    """Return whether a session is older than the judged ones, and of another commit."""
    revisions = {each.revision for each in judged if each.revision}
    return session.relative_id < min(each.relative_id for each in judged) and session.revision not in revisions


def compare_with_baseline(
    judgement: Judgement,
    branch: str | None,
    runs: Sequence[TestRun],
    quarantine: Sequence[QuarantinedTest] = (),
    *,
    earlier: Sequence[TestRun] = (),
) -> Judgement:
    """Return the verdict that excuses failures which are known from the runs of a branch, or in quarantine.

    `branch` is None for all sessions. The runs are newest first, with only their failing test cases. `earlier` are the
    runs before them: they only show since when a test is failing.
    """
    cases, failing = [run.cases for run in reversed(runs)], [test.case for test in judgement.tests]
    found = compare_to_baseline(cases, failing, quarantine=quarantine)
    novelties = {case.key: novelty for novelty in NOVELTIES for case in getattr(found, novelty)}
    before = [run.session for run in (*runs, *earlier)]
    failed = {run.session.id: {case.key for case in run.cases} for run in (*runs, *earlier)}

    def compare(test: FailingTest) -> FailingTest:
        key, novelty = test.case.key, novelties[test.case.key]
        failed_in, streak = found.failed_in[key], None
        excuse = f"{novelty}: failed in {failed_in} of the last {len(runs)} on {branch or 'all branches'}"
        if novelty == "new":
            excuse = ""
        elif novelty == "known":
            streak = newest_streak(before, lambda session: key in failed[session.id])
        elif novelty == "quarantined":
            entry = next(entry for entry in quarantine if entry not in found.expired and entry.matches(key))
            excuse = f"quarantined until {entry.until}" + (f": {entry.reason}" if entry.reason else "")
        return replace(test, baseline=novelty, failed_in=failed_in, excuse=excuse, streak=streak)

    tests = sorted(map(compare, judgement.tests), key=_rank)
    return replace(judgement, tests=tests, baseline=Baseline(branch, before[: len(runs)], found.expired, found.unused))


def _rank(test: FailingTest) -> int:
    """Return the position of a test among others: new ones are first."""
    return NOVELTIES.index(test.baseline or "new")


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


def newest_streak(sessions: Sequence[Session], belongs: Callable[[Session], bool] | None = None) -> Streak:
    """Return the newest sessions that belong together: by default, those with the verdict of the newest one.

    `sessions` have a verdict, and are newest first. At least the newest one belongs to the streak.
    """
    same = list(takewhile(belongs or (lambda session: session.is_failing == sessions[0].is_failing), sessions))
    return Streak(same[-1], len(same), sessions[len(same)] if len(same) < len(sessions) else None)
