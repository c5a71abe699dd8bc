"""What a report says about one suite, read from a database: a verdict about one branch, and its failing tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from attrs import evolve, frozen

from buddy_sessions import ConfigError, Main, Session, SuiteStatus
from buddy_sessions.analysis.judgement import Cause, FailingTest, count_marks, find_causes
from buddy_sessions.analysis.runs import Streak, newest_streak
from buddy_sessions.analysis.suite_status import judged_by

from ..options import DEFAULT_LAST
from ..render.styled import sparkline
from ..render.text import cause_message
from .judging import explain
from .suite_reader import SuiteReader

RECENT = 20
"""The number of sessions that a pass rate and a duration are computed from."""

NEWEST = 100
"""The number of newest sessions of a suite in which other branches are searched."""

MAX_OTHERS = 20
"""The number of other branches of a suite that are kept."""

_MAX_STREAK = 50  # CI runs that are searched for the first failures of the tests of a newly red suite
_MAX_DURATION = 10**9  # seconds; larger values are mistakes
_MAX_LAG = timedelta(days=1)  # a suite that was synced so long before others could not be read since

State = Literal["newly red", "still red", "recovered", "green", "no verdict"]


@frozen
class Figures:
    """The figures of at most `RECENT` consecutive sessions."""

    passed: int = 0
    counted: int = 0
    duration: float | None = None  # median, in seconds
    marks: str = ""  # one character for each session, the newest on the right

    @property
    def pass_rate(self) -> float | None:
        """The fraction of the sessions that passed; None without sessions."""
        return self.passed / self.counted if self.counted else None


_NO_FIGURES = Figures()


@frozen
class ReportContext:
    """The branch, the times and the limits of a report.

    `branch` is a name, MAIN, or None for all sessions. A suite that turned red at `new_since` or later is newly red;
    one that turned green has recovered. One whose newest verdict or last sync is older than `max_age` is stale.
    """

    branch: str | Main | None
    now: datetime
    new_since: datetime
    max_age: timedelta | None
    synced_at: datetime | None
    """When the last sync of any suite began."""


@frozen(kw_only=True)
class SuiteReport:
    """What a report says about a suite."""

    status: SuiteStatus
    html_url: str | None = None  # the page of the suite
    state: State = "no verdict"
    delay: Literal["stale", "not read by later syncs"] | None = None  # why it is not up to date
    judged: Sequence[Session] = ()  # the deciding sessions of this CI run
    streak: Streak | None = None  # the CI runs up to the newest one that have its verdict
    red_streak: Streak | None = None  # for a suite that has recovered, the CI runs before that failed
    causes: Sequence[Cause] = ()  # why tests fail in the newest CI run; empty if no failing tests are saved
    unread: Sequence[FailingTest] = ()  # those whose messages were not read, so their cause is not known
    baseline: int = 0  # the number of sessions of earlier commits that say which failures are new
    recent: Figures = _NO_FIGURES  # of the newest sessions
    before: Figures = _NO_FIGURES  # of as many sessions before
    others: Sequence[Session] = ()  # the newest with a verdict of other branches, tags and pull requests, newest first
    other_count: int = 0  # of other branches, including those that are not in `others`

    @property
    def latest(self) -> Session | None:
        """The session that decides the newest CI run with a verdict."""
        return self.status.session

    @property
    def is_red(self) -> bool:
        """Whether the newest CI run with a verdict fails."""
        return self.state in {"newly red", "still red"}

    @property
    def is_up_to_date(self) -> bool:
        """Whether the last syncs have read the suite, and its newest verdict is not stale."""
        return self.status.missing_since is None and self.delay is None

    @property
    def tests(self) -> list[FailingTest]:
        """All failing tests of the newest CI run."""
        return [*(test for cause in self.causes for test in cause.tests), *self.unread]

    @property
    def marks(self) -> list[tuple[str, int]]:
        """The marks of the failing tests, and how many have each."""
        return count_marks(self.tests)


def ended(session: Session) -> datetime | None:
    """Return when the verdict of a session was known."""
    return session.finish_date or session.create_date


def is_stale(status: SuiteStatus, now: datetime, max_age: timedelta | None) -> bool:
    """Return whether the newest verdict of a suite, or its last sync, is older than `max_age`."""
    verdict = None if status.session is None else ended(status.session)
    synced = None if status.missing_since is not None else status.synced_at
    return max_age is not None and any(time is not None and now - time > max_age for time in (verdict, synced))


async def read_suite(
    reader: SuiteReader, status: SuiteStatus, context: ReportContext, html_url: str | None
) -> SuiteReport:
    """Return the report of a suite with this page. Raises StoreError if the database cannot be read."""
    lag = context.synced_at - status.synced_at if context.synced_at and status.synced_at else timedelta()
    report = SuiteReport(status=status, html_url=html_url, delay="not read by later syncs" if lag > _MAX_LAG else None)
    if is_stale(status, context.now, context.max_age):
        report = evolve(report, delay="stale")
    if status.missing_since is not None:
        return report
    branch = status.branch
    ci_runs, sessions = ([], []) if status.session is None else await reader.search.ci_runs(branch)
    others = [] if branch is None else _latest_of_others(await reader.search.newest(), branch)
    report = evolve(report, others=others[:MAX_OTHERS], other_count=len(others))
    if not ci_runs:
        return evolve(report, status=evolve(status, session=None, since=None))
    streak = newest_streak(ci_runs)
    state = _state(streak, context.new_since)
    judgement = None
    if streak.first.is_failing:
        reach = max(DEFAULT_LAST, min(streak.length, _MAX_STREAK)) if state == "newly red" else DEFAULT_LAST
        with suppress(ConfigError):  # its test cases were not saved
            judgement = await explain(reader, ci_runs[0].deciding, branch, reach=reach)
    tests = [] if judgement is None else judgement.tests
    verdicts = [session for session in sessions if session.has_verdict]
    return evolve(
        report,
        status=judged_by(ci_runs, status),
        state=state,
        judged=ci_runs[0].deciding,
        streak=streak,
        red_streak=newest_streak(ci_runs[streak.length :]) if state == "recovered" else None,
        causes=[_shorten(cause) for cause in find_causes(test for test in tests if test.case.has_details)],
        unread=[test for test in tests if not test.case.has_details],
        baseline=len(judgement.baseline.runs) if judgement is not None and judgement.baseline is not None else 0,
        recent=_figures(verdicts[:RECENT]),
        before=_figures(verdicts[RECENT : 2 * RECENT]),
    )


def _state(streak: Streak, since: datetime) -> State:
    time = ended(streak.first)
    is_new = time is not None and time >= since
    if streak.first.is_failing:
        return "newly red" if is_new else "still red"
    return "recovered" if is_new and streak.before is not None else "green"


def _shorten(cause: Cause) -> Cause:
    """Return a cause without traces, which are long. If it has a single test, its template is the message of that."""
    failure, template = cause.tests[0].case.failure, cause_message(cause)
    if failure is not None and failure.message and len(cause.tests) == 1 and template == cause.template:
        template = failure.message.strip().partition("\n")[0].removeprefix(f"{cause.type}: ")
    tests = [evolve(test, case=evolve(test.case, failure=None, data=None)) for test in cause.tests]
    return Cause(cause.type, template or ("" if cause.type else "no message"), tests)


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
