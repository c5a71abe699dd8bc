"""Whether sessions are red: which of their failing tests are new, compared with earlier sessions of a branch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import Literal

from buddy_sessions import (
    FailureGroup,
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


@dataclass(frozen=True)
class FailingTest:
    """A failing test case of one of the judged sessions; with a baseline, also what it was before."""

    session: Session
    case: TestCase
    baseline: Novelty | None = None
    failed_in: int | None = None
    excuse: str = ""
    """Why it does not count; empty for a new failure, and without a baseline."""


@dataclass(frozen=True)
class Baseline:
    """The sessions of a branch that a judgement compares with, newest first, and the quarantine."""

    branch: str
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

    @property
    def cases(self) -> list[TestCase]:
        """The failing test cases."""
        return [test.case for test in self.tests]


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


def can_be_baseline(session: Session, judged: Sequence[Session]) -> bool:
    """Return whether a session is older than the judged ones, and of another commit."""
    revisions = {each.revision for each in judged if each.revision}
    return session.relative_id < min(each.relative_id for each in judged) and session.revision not in revisions


def compare_with_baseline(
    judgement: Judgement, branch: str, runs: Sequence[TestRun], quarantine: Sequence[QuarantinedTest]
) -> Judgement:
    """Return the verdict if failures in the runs of a branch, newest first, and those in quarantine are excused."""
    today = datetime.now(UTC).date()
    earlier = [run.cases for run in reversed(runs)]
    found = compare_to_baseline(earlier, judgement.cases, quarantine=quarantine, today=today)
    valid = [entry for entry in quarantine if entry.until >= today]

    def excused(test: FailingTest, novelty: Novelty) -> FailingTest:
        key = test.case.key
        excuse = f"{novelty}: failed in {found.failed_in[key]} of the last {len(runs)} on {branch}"
        if novelty == "quarantined":
            entry = next(entry for entry in valid if entry.matches(key))
            excuse = f"quarantined until {entry.until}" + (f": {entry.reason}" if entry.reason else "")
        return replace(
            test, baseline=novelty, failed_in=found.failed_in[key], excuse="" if novelty == "new" else excuse
        )

    tests: list[FailingTest] = []
    for novelty in NOVELTIES:
        keys = {case.key for case in getattr(found, novelty)}
        tests += [excused(test, novelty) for test in judgement.tests if test.case.key in keys]
    sessions = [run.session for run in runs]
    return replace(judgement, tests=tests, baseline=Baseline(branch, sessions, found.expired, found.unused))


def find_causes(cases: Sequence[TestCase], before: Mapping[TestKey, str | None]) -> list[FailureGroup]:
    """Return failing tests by cause: those with most new failures first, flaky ones last, then those not read.

    `before` says what tests were: `new`, or a text that begins with another novelty.
    """

    def rank(group: FailureGroup) -> tuple[bool, int, int]:
        marks = [before.get(case.key) or "" for case in group.cases]
        is_unread = not any(case.has_details for case in group.cases)
        return is_unread, -marks.count("new"), -sum(not mark.startswith("flaky") for mark in marks)

    return sorted(group_failures(cases), key=rank)


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


def newest_streak(sessions: Sequence[Session], belongs: Callable[[Session], bool] | None = None) -> Streak:
    """Return the newest sessions that belong together: by default, those with the verdict of the newest one.

    `sessions` have a verdict, and are newest first. At least the newest one belongs to the streak.
    """
    same = list(takewhile(belongs or (lambda session: session.is_failing == sessions[0].is_failing), sessions))
    return Streak(same[-1], len(same), sessions[len(same)] if len(same) < len(sessions) else None)
