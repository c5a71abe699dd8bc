"""The statistics of one suite in a report, computed from its sessions. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import Literal, NamedTuple

from buddy_sessions import RefType, SessionStatus, Suite, SuiteKey

from .case_statistics import CaseStatistics
from .session_rows import AnySession
from .streaks import Streak, suite_streak

RECENT = 20
"""The number of newest finished sessions that determine the current state of a suite."""

_MAX_SESSIONS, _MAX_BRANCHES, _MAX_GROWTHS = 12, 8, 8  # rows of the lists
_MAX_PERIODS = 31
_PERIOD_DAYS = (1, 7, 28, 91, 364)  # the smallest that gives at most `_MAX_PERIODS` is used
_MIN_HALF = 5  # sessions; growth is not computed for smaller halves
_MIN_MEDIAN = 0.001  # growth relative to a smaller value is meaningless
_MIN_GROWTH = 10  # percent; smaller changes are no trend
_MAX_VALUE = 10**9  # larger values are ignored, because they would hide all others in a chart

Measure = Literal["duration", "tests"]


class Ref(NamedTuple):
    """A branch, tag or pull request."""

    ref_type: RefType | None
    name: str | None


class PassRate(NamedTuple):
    """The number of passed sessions among the finished ones."""

    passed: int
    finished: int

    @property
    def percent(self) -> float | None:
        """The pass rate in percent, not rounded; None without sessions."""
        return 100 * self.passed / self.finished if self.finished else None


class Period(NamedTuple):
    """The finished sessions of consecutive days, the first of which is `start`."""

    start: date
    pass_rate: PassRate
    duration: float | None  # median, in seconds


class BranchFailures(NamedTuple):
    """The number of failed sessions of a branch, tag or pull request, among its finished ones."""

    ref: Ref
    failed: int
    finished: int
    latest: AnySession  # the newest one that failed


class Growth(NamedTuple):
    """The growth of a median from the older half of the sessions to the newer half."""

    suite: Suite
    ref: Ref | None  # None for the whole suite
    measure: Measure
    before: float  # seconds, or a number of tests
    after: float
    percent: float  # negative if it has shrunk


@dataclass(frozen=True, kw_only=True)
class SuiteStatistics:
    """The statistics of a suite. Days are days in UTC."""

    suite: Suite
    session_count: int
    latest_finished: AnySession | None
    streak: Streak | None  # of failures; None if the newest finished session did not fail
    pass_rate: PassRate  # of the recent sessions
    duration: float | None  # median of the recent sessions, in seconds
    slowdown: float | None  # growth of the median duration of the whole suite in percent; None if it is no trend
    span: tuple[datetime, datetime] | None  # creation times of the first and the last session
    recent: Sequence[SessionStatus]  # newest first
    newest: Sequence[AnySession]  # newest first
    period_days: int
    periods: Sequence[Period]  # without gaps, oldest first
    failures: Sequence[BranchFailures]  # most failures first
    failed_branches: int  # including those that are not in `failures`
    growths: Sequence[Growth]  # largest first
    cases: CaseStatistics | None  # None if no test cases were saved

    @property
    def name(self) -> str:
        """The name of the suite, or its key if the name is not known."""
        return self.suite.name or str(self.suite.key)

    @property
    def flaky_count(self) -> int:
        """The number of flaky tests; 0 if it is not known."""
        return self.cases.flaky_count if self.cases is not None else 0

    @property
    def is_failing(self) -> bool:
        """Whether the newest finished session failed."""
        return self.streak is not None

    @property
    def sort_key(self) -> tuple[bool, float, float, SuiteKey]:
        """The key that sorts suites: failing ones first, then by lower pass rate, then by larger slowdown."""
        percent = self.pass_rate.percent
        return not self.is_failing, 101 if percent is None else percent, -(self.slowdown or 0), self.suite.key


def compute_statistics(
    suite: Suite,
    sessions: Sequence[AnySession],
    *,
    since: datetime | None = None,
    cases: CaseStatistics | None = None,
) -> SuiteStatistics:
    """Return the statistics of a suite.

    Args:
        suite: The suite.
        sessions: Its sessions, newest first.
        since: The time from which on sessions are counted. A streak of failures may have begun before.
        cases: The statistics of its test cases; None if none were saved.
    """
    all_finished = [session for session in sessions if session.is_finished]
    sessions = [session for session in sessions if is_recent(session, since)]
    finished = [session for session in sessions if session.is_finished]
    recent = finished[:RECENT]
    by_ref = _group_by_ref(finished)
    growths = list(_growths(suite, finished, by_ref))
    failures = _branch_failures(by_ref)
    created = [session.create_date for session in sessions if session.create_date is not None]
    period_days, periods = _periods(finished)
    return SuiteStatistics(
        suite=suite,
        session_count=len(sessions),
        latest_finished=finished[0] if finished else None,
        streak=suite_streak(all_finished) if finished else None,
        pass_rate=_pass_rate(recent),
        duration=_median_or_none(_values("duration", recent)),
        slowdown=next(
            (growth.percent for growth in growths if growth.ref is None and growth.measure == "duration"), None
        ),
        span=(min(created), max(created)) if created else None,
        recent=[session.status for session in recent],
        newest=sessions[:_MAX_SESSIONS],
        period_days=period_days,
        periods=periods,
        failures=failures[:_MAX_BRANCHES],
        failed_branches=len(failures),
        growths=largest_growths(growths),
        cases=cases,
    )


def is_recent(session: AnySession, since: datetime | None) -> bool:
    """Return whether a session was created at a time or later. A session without a date always is."""
    return since is None or session.create_date is None or session.create_date >= since


def largest_growths(growths: Iterable[Growth]) -> list[Growth]:
    """Return the largest growths, largest first, without those that are not positive."""
    growing = (growth for growth in growths if growth.percent > 0)
    return sorted(growing, key=lambda growth: -growth.percent)[:_MAX_GROWTHS]


def _group_by_ref(sessions: Iterable[AnySession]) -> dict[Ref, list[AnySession]]:
    groups: dict[Ref, list[AnySession]] = {}
    for session in sessions:
        groups.setdefault(Ref(session.ref_type, session.ref_name), []).append(session)
    return groups


def _branch_failures(by_ref: dict[Ref, list[AnySession]]) -> list[BranchFailures]:
    """Return the branches that have failed: most failures first, then fewest sessions, then newest failure."""
    failures: list[BranchFailures] = []
    for ref, sessions in by_ref.items():
        failed = [session for session in sessions if session.status == SessionStatus.ERROR]
        if failed:
            failures.append(BranchFailures(ref, len(failed), len(sessions), failed[0]))
    return sorted(failures, key=lambda branch: (-branch.failed, branch.finished, -branch.latest.relative_id))


def _growths(suite: Suite, finished: Sequence[AnySession], by_ref: dict[Ref, list[AnySession]]) -> Iterator[Growth]:
    groups: list[tuple[Ref | None, Sequence[AnySession]]] = [(None, finished)]
    if len(by_ref) > 1:  # a single branch would repeat the whole suite
        groups.extend(by_ref.items())
    measures: tuple[Measure, ...] = ("duration", "tests")
    for ref, sessions in groups:
        for measure in measures:
            growth = _growth(suite, ref, measure, sessions)
            if growth is not None:
                yield growth


def _growth(suite: Suite, ref: Ref | None, measure: Measure, sessions: Iterable[AnySession]) -> Growth | None:
    """Return the growth; None if there are too few sessions, the older median is zero, or the change is no trend.

    If the number of sessions is odd, the oldest one is left out.
    """
    values = _values(measure, sessions)
    half = len(values) // 2
    if half < _MIN_HALF:
        return None
    after, before = median(values[:half]), median(values[half : 2 * half])
    if before < _MIN_MEDIAN:
        return None
    percent = 100 * (after - before) / before
    return Growth(suite, ref, measure, before, after, percent) if abs(percent) >= _MIN_GROWTH else None


def _periods(finished: Sequence[AnySession]) -> tuple[int, list[Period]]:
    """Return the length of a period in days, and at most `_MAX_PERIODS` periods.

    The periods end with the day of the newest session, so the first one may be shorter.
    """
    dated = [(session.create_date.toordinal(), session) for session in finished if session.create_date is not None]
    if not dated:
        return 1, []
    first, last = min(day for day, _ in dated), max(day for day, _ in dated)
    total = last - first + 1
    days = next((days for days in _PERIOD_DAYS if total <= days * _MAX_PERIODS), -(-total // _MAX_PERIODS))
    groups: list[list[AnySession]] = [[] for _ in range(-(-total // days))]
    for day, session in dated:
        groups[-1 - (last - day) // days].append(session)
    starts = range(last + 1 - days * len(groups), last + 1, days)
    return days, [
        Period(date.fromordinal(max(start, first)), _pass_rate(group), _median_or_none(_values("duration", group)))
        for start, group in zip(starts, groups, strict=True)
    ]


def _pass_rate(finished: Sequence[AnySession]) -> PassRate:
    return PassRate(sum(session.status == SessionStatus.SUCCESSFUL for session in finished), len(finished))


def _values(measure: Measure, sessions: Iterable[AnySession]) -> list[float]:
    values = (session.duration if measure == "duration" else session.tests_count for session in sessions)
    return [value for value in values if value is not None and 0 <= value < _MAX_VALUE]


def _median_or_none(values: Sequence[float]) -> float | None:
    return median(values) if values else None
