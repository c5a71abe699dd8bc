"""The statistics of one suite in a report, computed from its sessions. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import NamedTuple

from buddy_sessions import RefType, Session, SessionStatus, Suite, SuiteKey
from buddy_sessions.models import is_before

from .case_statistics import CaseStatistics
from .streaks import Streak, suite_streak

RECENT = 20
"""The number of newest finished sessions that determine the current state of a suite."""

_MAX_SESSIONS, _MAX_BRANCHES = 12, 8  # rows of the lists
_MAX_PERIODS = 31
_PERIOD_DAYS = (1, 7, 28, 91, 364)  # the smallest that gives at most `_MAX_PERIODS` is used
_MIN_HALF = 5  # sessions; growth is not computed for smaller halves
_MIN_MEDIAN = 0.001  # growth relative to a smaller value is meaningless
_MIN_GROWTH = 10  # percent; smaller changes are no trend
_MAX_VALUE = 10**9  # larger values are ignored, because they would hide all others in a chart


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
    latest: Session  # the newest one that failed


class Recent(NamedTuple):
    """The latest `RECENT` finished sessions."""

    pass_rate: PassRate
    duration: float | None  # median, in seconds
    statuses: Sequence[SessionStatus]  # newest first


class Timeline(NamedTuple):
    """Consecutive periods of the same number of days, without gaps, oldest first."""

    days: int
    periods: Sequence[Period]


@dataclass(frozen=True, kw_only=True)
class SuiteStatistics:
    """The statistics of a suite. Days are days in UTC."""

    suite: Suite
    session_count: int
    latest_finished: Session | None
    streak: Streak | None  # of failures; None if the newest finished session did not fail
    recent: Recent
    slowdown: float | None  # growth of the median duration of the whole suite in percent; None if it is no trend
    span: tuple[datetime, datetime] | None  # creation times of the first and the last session
    newest: Sequence[Session]  # newest first
    timeline: Timeline
    failures: Sequence[BranchFailures]  # most failures first
    failed_branches: int  # including those that are not in `failures`
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
        percent = self.recent.pass_rate.percent
        return not self.is_failing, 101 if percent is None else percent, -(self.slowdown or 0), self.suite.key


def compute_statistics(
    suite: Suite,
    sessions: Sequence[Session],
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
    sessions = [session for session in sessions if not is_before(session, since)]
    finished = [session for session in sessions if session.is_finished]
    recent = finished[:RECENT]
    failures = _branch_failures(finished)
    created = [session.create_date for session in sessions if session.create_date is not None]
    return SuiteStatistics(
        suite=suite,
        session_count=len(sessions),
        latest_finished=finished[0] if finished else None,
        streak=suite_streak(all_finished) if finished else None,
        recent=Recent(_pass_rate(recent), _median_duration(recent), [session.status for session in recent]),
        slowdown=_slowdown(finished),
        span=(min(created), max(created)) if created else None,
        newest=sessions[:_MAX_SESSIONS],
        timeline=_timeline(finished),
        failures=failures[:_MAX_BRANCHES],
        failed_branches=len(failures),
        cases=cases,
    )


def _branch_failures(finished: Iterable[Session]) -> list[BranchFailures]:
    """Return the branches that have failed: most failures first, then fewest sessions, then newest failure."""
    by_ref: dict[Ref, list[Session]] = {}
    for session in finished:
        by_ref.setdefault(Ref(session.ref_type, session.ref_name), []).append(session)
    failures: list[BranchFailures] = []
    for ref, sessions in by_ref.items():
        failed = [session for session in sessions if session.is_failing]
        if failed:
            failures.append(BranchFailures(ref, len(failed), len(sessions), failed[0]))
    return sorted(failures, key=lambda branch: (-branch.failed, branch.finished, -branch.latest.relative_id))


def _slowdown(finished: Iterable[Session]) -> float | None:
    """Return by how many percent the median duration has grown from the older half of the sessions to the newer one.

    None if there are too few sessions, the older median is zero, or the change is no trend. Of an odd number of
    sessions, the oldest one is left out.
    """
    values = _durations(finished)
    half = len(values) // 2
    if half < _MIN_HALF:
        return None
    after, before = median(values[:half]), median(values[half : 2 * half])
    if before < _MIN_MEDIAN:
        return None
    percent = 100 * (after - before) / before
    return percent if abs(percent) >= _MIN_GROWTH else None


def _timeline(finished: Sequence[Session]) -> Timeline:
    """Return at most `_MAX_PERIODS` periods.

    They end with the day of the newest session, so the first one may be shorter.
    """
    dated = [(session.create_date.toordinal(), session) for session in finished if session.create_date is not None]
    if not dated:
        return Timeline(1, [])
    first, last = min(day for day, _ in dated), max(day for day, _ in dated)
    total = last - first + 1
    days = next((days for days in _PERIOD_DAYS if total <= days * _MAX_PERIODS), -(-total // _MAX_PERIODS))
    groups: list[list[Session]] = [[] for _ in range(-(-total // days))]
    for day, session in dated:
        groups[-1 - (last - day) // days].append(session)
    starts = range(last + 1 - days * len(groups), last + 1, days)
    periods = [
        Period(date.fromordinal(max(start, first)), _pass_rate(group), _median_duration(group))
        for start, group in zip(starts, groups, strict=True)
    ]
    return Timeline(days, periods)


def _pass_rate(finished: Sequence[Session]) -> PassRate:
    return PassRate(sum(session.status == SessionStatus.SUCCESSFUL for session in finished), len(finished))


def _durations(sessions: Iterable[Session]) -> list[float]:
    durations = (session.duration for session in sessions)
    return [duration for duration in durations if duration is not None and 0 <= duration < _MAX_VALUE]


def _median_duration(sessions: Iterable[Session]) -> float | None:
    durations = _durations(sessions)
    return median(durations) if durations else None
