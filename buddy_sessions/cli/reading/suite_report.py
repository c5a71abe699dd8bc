"""What a report says about one suite, read from a database: a verdict about one branch, and its failing tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from statistics import median
from typing import Literal, NamedTuple

from attrs import evolve

from buddy_sessions import (
    MAIN,
    Main,
    Session,
    SessionStore,
    Suite,
    SuiteKey,
    TestRun,
)
from buddy_sessions._api.verdicts import VerdictSearch
from buddy_sessions.analysis.completeness import count_failing
from buddy_sessions.analysis.judgement import (
    Baseline,
    Cause,
    FailingTest,
    can_be_baseline,
    count_marks,
    find_causes,
    judge,
)
from buddy_sessions.analysis.runs import Streak, ci_runs, newest_streak

from ..options import DEFAULT_LAST
from ..render.styled import sparkline

RECENT = 20
"""The number of sessions that a pass rate and a duration are computed from."""

NEWEST = 100
"""The number of newest sessions of a suite in which other branches are searched."""

MAX_OTHERS = 20
"""The number of other branches of a suite that are kept."""

_VERDICTS = 100  # sessions of the branch that are needed: with more, the length of a streak is known
_MAX_STREAK = 50  # sessions that are searched for the first failures of the tests of a newly red suite
_MAX_DURATION = 10**9  # seconds; larger values are mistakes

State = Literal["newly red", "still red", "recovered", "green", "unknown"]


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

    `branch` is a name, MAIN, or None for all sessions. A suite that turned red at `new_since` or later is newly red;
    one that turned green has recovered.
    """

    branch: str | Main | None
    new_since: datetime


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """What a report says about a suite."""

    suite: Suite
    branch: str | None  # that the verdict is about; None for all sessions, or without a main branch
    has_branch: bool  # False if the suite has no main branch: it is neither red nor green
    state: State
    latest: Session | None  # the session of the newest CI run with a verdict
    streak: Streak | None  # the CI runs up to that of `latest` that have its verdict
    red_streak: Streak | None  # for a suite that has recovered, the CI runs before that failed
    causes: Sequence[Cause]  # why tests fail in `latest`, most new failures first; empty if no failing tests are saved
    baseline: int  # the number of sessions of earlier commits that say which failures are new
    recent: Figures  # of the newest sessions
    before: Figures  # of as many sessions before
    others: Sequence[Session]  # the newest with a verdict of other branches, tags and pull requests, newest first
    other_count: int  # of other branches, including those that are not in `others`

    @property
    def is_red(self) -> bool:
        """Whether the latest session fails."""
        return self.latest is not None and self.latest.is_failing

    @property
    def tests(self) -> list[FailingTest]:
        """All failing tests of the latest session."""
        return [test for cause in self.causes for test in cause.tests]

    @property
    def marks(self) -> list[tuple[str, int]]:
        """The marks of the failing tests, and how many have each."""
        return count_marks(self.tests)

    def is_only_flaky(self) -> bool:
        """Return whether all tests that fail are flaky, and there is at least one."""
        return [mark for mark, _ in self.marks] == ["flaky"]


def ended(session: Session) -> datetime | None:
    """Return when the verdict of a session was known."""
    return session.finish_date or session.create_date


async def read_suite(store: SessionStore, suite: Suite, scope: Scope) -> SuiteReport:
    """Return the report of a suite. Raises StoreError if the database cannot be read."""
    search = VerdictSearch(lambda branch: _read_lists(store, suite.key, branch))
    branch, newest = await search.choose_branch(scope.branch), await search.newest()
    has_branch = branch is not None or scope.branch is not MAIN
    verdicts = await search.find(branch=branch if has_branch else MAIN, last=_VERDICTS)
    runs = ci_runs(verdicts)
    streak = newest_streak(runs) if runs else None
    state = _state(streak, scope.new_since)
    others = [] if branch is None else _latest_of_others(newest, branch)
    causes: list[Cause] = []
    baseline: Baseline | None = None
    if streak is not None and streak.first.is_failing:
        reach = max(DEFAULT_LAST, min(streak.length, _MAX_STREAK)) if state == "newly red" else DEFAULT_LAST
        judged = runs[0].deciding
        older = islice((run for run in runs[1:] if can_be_baseline(run.sessions[0], judged)), reach)
        past = [session for run in older for session in run.sessions]
        latest = [await _failing_run(store, suite.key, session) for session in judged]
        saved = [await _failing_run(store, suite.key, session) for session in past]
        saved = [run for run in saved if run.cases or not count_failing(run.session)]  # the cases of others are pruned
        baseline = Baseline(branch, saved, DEFAULT_LAST) if saved else None
        judgement = judge(latest, baseline)
        baseline = judgement.baseline
        causes = list(map(_shorten, find_causes(judgement.tests)))
    return SuiteReport(
        suite=suite,
        branch=branch,
        has_branch=has_branch,
        state=state,
        latest=runs[0].session if runs else None,
        streak=streak,
        red_streak=newest_streak(runs[streak.length :]) if streak and state == "recovered" else None,
        causes=causes,
        baseline=0 if baseline is None else len(baseline.runs),
        recent=_figures(verdicts[:RECENT]),
        before=_figures(verdicts[RECENT : 2 * RECENT]),
        others=others[:MAX_OTHERS],
        other_count=len(others),
    )


def _state(streak: Streak | None, since: datetime) -> State:
    if streak is None:
        return "unknown"
    time = ended(streak.first)
    is_new = time is not None and time >= since
    if streak.first.is_failing:
        return "newly red" if is_new else "still red"
    return "recovered" if is_new and streak.before is not None else "green"


async def _read_lists(
    store: SessionStore, suite: SuiteKey, branch: str | None
) -> AsyncGenerator[Sequence[Session], None]:
    async for sessions in store.pages(suite, branch=branch):
        yield sessions


async def _failing_run(store: SessionStore, suite: SuiteKey, session: Session) -> TestRun:
    """Return a session with the failing test cases that were saved, one for each test."""
    cases = await store.cases(suite, session) if session.is_failing else []
    return TestRun(session, tuple({case.key: case for case in cases if case.is_failing}.values()))


def _shorten(cause: Cause) -> Cause:
    """Return a cause whose tests have no traces, which are long. Its template is the message if that says more."""
    failure = cause.tests[0].case.failure
    text = (failure.message or failure.text or "").strip() if failure is not None else ""
    message, template = text.splitlines()[0].removeprefix(f"{cause.type}: ") if text else "", cause.template
    if template.startswith("at "):  # the place of failures whose messages are unspecific
        template = f"{message} {template}"
    elif message and len(cause.tests) == 1:
        template = message
    tests = [evolve(test, case=evolve(test.case, failure=None, data=None)) for test in cause.tests]
    return Cause(cause.type, template, tests)


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
