"""What a report says of a suite, in numbers: made of its sessions alone, with nothing of how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import Literal, NamedTuple

from buddy_sessions import RefType, Session, SessionStatus, SuiteKey

RECENT = 20
"""The newest sessions that have ended, so many of them, say how a suite stands."""
SESSIONS, BRANCHES, GROWTHS = 12, 8, 8
"""How many are listed one by one, at most."""

_POINTS = 31
_PERIODS = (1, 7, 28, 91, 364)  # days
_HALF = 5  # fewer sessions than this say nothing of a growth
_LEAST = 0.001  # growth from less than this is one from nothing
_MOST = 10**9  # a number that is beyond belief spoils no chart

Measure = Literal["duration", "tests"]


class Ref(NamedTuple):
    """A branch, tag or pull request."""

    kind: RefType | None
    name: str | None


class Share(NamedTuple):
    """Sessions that passed, of those that have ended."""

    passed: int
    ended: int

    @property
    def percent(self) -> int | None:
        """Whole percent, rounded down: 100 only where all passed. None of none."""
        return 100 * self.passed // self.ended if self.ended else None


class Period(NamedTuple):
    """Some days in a row."""

    first: date
    share: Share
    duration: float | None
    """Seconds, the median; None where no session tells."""


class Failures(NamedTuple):
    """How often a branch has failed."""

    ref: Ref
    failed: int
    ended: int
    latest: Session
    """The newest one that failed."""


class Growth(NamedTuple):
    """How much the median of the newer half of some sessions is above that of the older half."""

    suite: SuiteKey
    ref: Ref | None
    """None for the whole suite."""
    measure: Measure
    before: float
    recent: float
    percent: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What there is to say of a suite. Days are those of UTC."""

    suite: SuiteKey
    sessions: int
    span: tuple[datetime, datetime] | None
    """When the first and the last session were created."""
    newest: Sequence[Session]
    result: Session | None
    """The newest session that has ended."""
    recent: Share
    duration: float | None
    """Seconds, the median of the recent sessions."""
    change: int | None
    """Percent by which the duration of the whole suite has grown, or shrunk if negative."""
    days: int
    """The days of a period."""
    periods: Sequence[Period]
    """In the order of time, without a gap, from the first session that has ended to the last."""
    failures: Sequence[Failures]
    """Most failures first."""
    failing: int
    """Branches that have failed, listed or not."""
    growths: Sequence[Growth]
    """The fastest first."""

    @property
    def failed(self) -> bool:
        """Whether the newest session that has ended has failed."""
        return self.result is not None and self.result.status == SessionStatus.ERROR

    @property
    def attention(self) -> tuple[bool, int, int, SuiteKey]:
        """What sorts suites: those that fail now, then the lower pass rate, then the faster growing duration."""
        percent = self.recent.percent
        return not self.failed, 101 if percent is None else percent, -(self.change or 0), self.suite


def figures_of(suite: SuiteKey, sessions: Sequence[Session]) -> Figures:
    """Return what there is to say of a suite's sessions, which come newest first."""
    ended = [session for session in sessions if session.finished]
    refs = _by_ref(ended)
    whole = _growth(suite, None, "duration", ended)
    failures = sorted(_failures(refs), key=lambda one: (-one.failed, one.ended, -one.latest.relative_id))
    created = [session.create_date for session in sessions if session.create_date is not None]
    days, periods = _periods(ended)
    return Figures(
        suite=suite,
        sessions=len(sessions),
        span=(min(created), max(created)) if created else None,
        newest=sessions[:SESSIONS],
        result=ended[0] if ended else None,
        recent=_share(ended[:RECENT]),
        duration=_median(_values("duration", ended[:RECENT])),
        change=None if whole is None else whole.percent,
        days=days,
        periods=periods,
        failures=failures[:BRANCHES],
        failing=len(failures),
        growths=fastest(_growths(suite, ended, refs), GROWTHS),
    )


def fastest(growths: Iterable[Growth], most: int) -> list[Growth]:
    """Return those that grow fastest, at most so many, without any that do not grow."""
    growing = (growth for growth in growths if growth.percent > 0)
    return sorted(growing, key=lambda growth: -growth.percent)[:most]


def _by_ref(sessions: Iterable[Session]) -> dict[Ref, list[Session]]:
    refs: dict[Ref, list[Session]] = {}
    for session in sessions:
        refs.setdefault(Ref(session.ref_type, session.ref_name), []).append(session)
    return refs


def _failures(refs: dict[Ref, list[Session]]) -> Iterator[Failures]:
    for ref, sessions in refs.items():
        failed = [session for session in sessions if session.status == SessionStatus.ERROR]
        if failed:
            yield Failures(ref, len(failed), len(sessions), failed[0])


def _growths(suite: SuiteKey, ended: Sequence[Session], refs: dict[Ref, list[Session]]) -> Iterator[Growth]:
    parts: list[tuple[Ref | None, Sequence[Session]]] = [(None, ended)]
    if len(refs) > 1:  # the only branch would be the suite over again
        parts.extend(refs.items())
    measures: tuple[Measure, ...] = ("duration", "tests")
    for ref, sessions in parts:
        for measure in measures:
            growth = _growth(suite, ref, measure, sessions)
            if growth is not None:
                yield growth


def _growth(suite: SuiteKey, ref: Ref | None, measure: Measure, sessions: Iterable[Session]) -> Growth | None:
    """Return the growth; None where there are too few sessions, or where it would be one from nothing.

    Of an odd number the oldest is left out.
    """
    values = _values(measure, sessions)
    half = len(values) // 2
    if half < _HALF:
        return None
    recent, before = median(values[:half]), median(values[half : 2 * half])
    if before < _LEAST:
        return None
    return Growth(suite, ref, measure, before, recent, round(100 * (recent - before) / before))


def _periods(ended: Sequence[Session]) -> tuple[int, list[Period]]:
    """Return the days of a period, and the periods: as few as a chart has room for, the last of them a whole one."""
    dated = [(session.create_date.toordinal(), session) for session in ended if session.create_date is not None]
    if not dated:
        return 1, []
    first, last = min(day for day, _ in dated), max(day for day, _ in dated)
    length = last - first + 1
    days = next((days for days in _PERIODS if length <= days * _POINTS), -(-length // _POINTS))
    parts: list[list[Session]] = [[] for _ in range(-(-length // days))]
    for day, session in dated:
        parts[-1 - (last - day) // days].append(session)
    starts = range(last + 1 - days * len(parts), last + 1, days)
    return days, [
        Period(date.fromordinal(max(start, first)), _share(part), _median(_values("duration", part)))
        for start, part in zip(starts, parts, strict=True)
    ]


def _share(ended: Sequence[Session]) -> Share:
    return Share(sum(session.status == SessionStatus.SUCCESSFUL for session in ended), len(ended))


def _values(measure: Measure, sessions: Iterable[Session]) -> list[float]:
    values = (session.duration if measure == "duration" else session.tests_count for session in sessions)
    return [value for value in values if value is not None and 0 <= value < _MOST]


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
