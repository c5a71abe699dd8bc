"""What a report says about one suite, read from a database: a verdict about one branch, and its failing tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Literal, NamedTuple

from buddy_sessions import (
    Session,
    SessionStore,
    Suite,
    SuiteKey,
    TestCase,
    TestKey,
    compare_to_baseline,
    main_branch,
)

from ..formats.tables import sparkline
from ..judgement import Novelty, Streak, find_causes, newest_streak

RECENT = 20
"""The number of sessions that a pass rate and a duration are computed from."""

BASELINE = 10
"""The number of earlier sessions that say whether a failure is new or flaky."""

NEWEST = 100
"""The number of newest sessions of a suite in which other branches are searched."""

MAX_OTHERS = 20
"""The number of other branches of a suite that are kept."""

_MAX_VERDICTS = 2000  # sessions of the branch that are read: older ones change nothing but the length of a streak
_MAX_DURATION = 10**9  # seconds; larger values are mistakes

State = Literal["newly red", "still red", "recovered", "green", "unknown"]


class FailingTest(NamedTuple):
    """A test that fails in the latest session. `failed_in` is the number of sessions of the baseline that it failed in.

    It is `known` if it failed in the latest session of the baseline, `flaky` if only in others, otherwise `new`.
    """

    key: TestKey
    html_url: str | None
    mark: Novelty
    failed_in: int


class Cause(NamedTuple):
    """Failing tests that probably have the same cause, new ones first."""

    type: str | None
    message: str
    tests: list[FailingTest]


class Figures(NamedTuple):
    """The figures of at most `RECENT` consecutive sessions."""

    passed: int
    counted: int
    duration: float | None  # median, in seconds
    marks: str  # one character for each session, the newest on the right

    @property
    def pass_rate(self) -> float | None:
        """The fraction of the sessions that passed; None without sessions."""
        return self.passed / self.counted if self.counted else None


class Scope(NamedTuple):
    """Which sessions a report is about.

    `branch` is None for the main branch of each suite, "*" for all. What happened at `new_since` or later is new.
    """

    branch: str | None
    new_since: datetime


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """What a report says about a suite."""

    suite: Suite
    branch: str | None  # that the verdict is about; None for all sessions
    state: State
    latest: Session | None  # the newest session with a verdict
    streak: Streak | None  # the sessions up to `latest` that have its verdict
    red_streak: Streak | None  # for a suite that has recovered, the sessions before that failed
    causes: Sequence[Cause]  # why tests fail in `latest`, most new failures first
    baseline: int  # the number of earlier sessions that say which failures are new
    are_cases_saved: bool  # whether the failing tests of `latest` are in the database
    recent: Figures  # of the newest sessions
    before: Figures  # of as many sessions before
    others: Sequence[Session]  # the newest with a verdict of other branches, tags and pull requests, newest first
    other_count: int  # of other branches, including those that are not in `others`
    read: int  # the number of sessions that were read

    @property
    def is_red(self) -> bool:
        """Whether the latest session fails."""
        return self.latest is not None and self.latest.is_failing

    @property
    def tests(self) -> list[FailingTest]:
        """All failing tests of the latest session."""
        return [test for cause in self.causes for test in cause.tests]

    def is_only_flaky(self) -> bool:
        """Return whether all tests that fail are flaky, and there is at least one."""
        return bool(self.causes) and all(test.mark == "flaky" for test in self.tests)


def ended(session: Session) -> datetime | None:
    """Return when the verdict of a session was known."""
    return session.finish_date or session.create_date


async def read_suite(store: SessionStore, suite: Suite, scope: Scope) -> SuiteReport:
    """Return the report of a suite. Raises StoreError if the database cannot be read."""
    branch, newest, verdicts, read = await _read_sessions(store, suite.key, scope)
    latest = verdicts[0] if verdicts else None
    streak = newest_streak(verdicts) if verdicts else None
    previous = verdicts[streak.length :] if streak else []
    state = _state(streak, previous, scope.new_since)
    causes: list[Cause] = []
    baseline: Sequence[Session] = []
    others = [] if branch is None else _latest_of_others(newest, branch)
    are_cases_saved = True
    if latest is not None and latest.is_failing:
        older = previous if state == "newly red" else [it for it in verdicts if not _is_new(it, scope.new_since)]
        baseline = older[:BASELINE][::-1]
        failing = await _failing_cases(store, suite.key, latest)
        runs = [await _failing_cases(store, suite.key, each) for each in baseline]
        causes = _causes(runs, failing)
        are_cases_saved = bool(failing) or not (latest.failed_count or latest.error_count)
    return SuiteReport(
        suite=suite,
        branch=branch,
        state=state,
        latest=latest,
        streak=streak,
        red_streak=newest_streak(previous) if state == "recovered" else None,
        causes=causes,
        baseline=len(baseline),
        are_cases_saved=are_cases_saved,
        recent=_figures(verdicts[:RECENT]),
        before=_figures(verdicts[RECENT : 2 * RECENT]),
        others=others[:MAX_OTHERS],
        other_count=len(others),
        read=read,
    )


async def _read_sessions(
    store: SessionStore, suite: SuiteKey, scope: Scope
) -> tuple[str | None, list[Session], list[Session], int]:
    """Return the branch, the newest sessions, those of the branch that have a verdict, and how many were read."""
    branch = None if scope.branch == "*" else scope.branch
    newest: list[Session] = []
    verdicts: list[Session] = []
    read = 0
    async for page in store.pages(suite):
        if not read:
            newest = page[:NEWEST]
            branch = main_branch(newest) if scope.branch is None else branch
        read += len(page)
        verdicts += [it for it in page if it.has_verdict and branch in {None, it.branch}]
        if len(verdicts) >= _MAX_VERDICTS:
            break
    return branch, newest, verdicts, read


def _is_new(session: Session, since: datetime) -> bool:
    """Return whether a verdict was known at `since` or later. One without a time is old."""
    time = ended(session)
    return time is not None and time >= since


def _state(streak: Streak | None, previous: Sequence[Session], since: datetime) -> State:
    if streak is None:
        return "unknown"
    is_new = _is_new(streak.first, since)
    if streak.first.is_failing:
        return "newly red" if is_new else "still red"
    return "recovered" if is_new and previous else "green"


async def _failing_cases(store: SessionStore, suite: SuiteKey, session: Session) -> list[TestCase]:
    """Return the failing test cases of a session that were saved."""
    return [case for case in await store.cases(suite, session) if case.is_failing] if session.is_failing else []


def _causes(baseline: Sequence[Iterable[TestCase]], failing: Sequence[TestCase]) -> list[Cause]:
    """Return the failing tests by cause: causes with most new failures first."""
    comparison = compare_to_baseline(baseline, failing)
    marks: dict[Novelty, list[TestCase]] = {"new": comparison.new, "flaky": comparison.flaky, "known": comparison.known}
    marked: dict[TestKey, Novelty] = {case.key: mark for mark, cases in marks.items() for case in cases}
    causes: list[Cause] = []
    for group in find_causes([case for cases in marks.values() for case in cases], marked):
        tests = [FailingTest(it.key, it.html_url, marked[it.key], comparison.failed_in[it.key]) for it in group.cases]
        tests.sort(key=lambda test: [*marks].index(test.mark))
        causes.append(Cause(group.type, _message(group.type, group.template, group.cases), tests))
    return causes


def _message(kind: str | None, template: str, cases: Sequence[TestCase]) -> str:
    """Return what the failures of one cause say: what they have in common, or the message if it tells more."""
    failure = cases[0].failure
    text = (failure.message or failure.text or "").strip() if failure is not None else ""
    message = text.splitlines()[0].removeprefix(f"{kind}: ") if text else ""
    if template.startswith("at "):  # the place of messages that tell nothing
        return f"{message} {template}"
    return message if message and len(cases) == 1 else template


def _figures(sessions: Sequence[Session]) -> Figures:
    durations = [it.duration for it in sessions if it.duration is not None and 0 <= it.duration < _MAX_DURATION]
    passed = sum(not session.is_failing for session in sessions)
    return Figures(passed, len(sessions), median(durations) if durations else None, sparkline(sessions).plain)


def _latest_of_others(newest: Iterable[Session], branch: str) -> list[Session]:
    latest: dict[tuple[object, object], Session] = {}
    for session in newest:
        if session.has_verdict and session.branch != branch:
            latest.setdefault((session.ref_type, session.ref_name), session)
    return [*latest.values()]
