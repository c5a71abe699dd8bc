"""An estimate of what remains of a read of many suites, from the pages read so far. No I/O."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from buddy_sessions import SessionPage, Stats, SuiteKey
from buddy_sessions.analysis.judgement import count_failing
from buddy_sessions.models import CaseScope

from ..options import ReadOptions

_MIN_SECONDS = 1.0  # before that, the speed says little


class Forecast:
    """Estimates the sessions and test cases to read, and the time until the end.

    `cases` is the number of test cases of the sessions that were read.
    """

    def __init__(self, options: ReadOptions, *, scope: CaseScope | None = None, keep: timedelta | None = None) -> None:
        self.scope = scope
        self.cases = 0
        self._after = options.after or 0
        self._is_limited = any(limit is not None for limit in (options.branch, options.since, keep))
        self._expected = Counter[SuiteKey]()
        self._read = Counter[SuiteKey]()

    def add(self, page: SessionPage) -> None:
        """Add the next page of a suite."""
        self._read[page.suite] += len(page.sessions)
        if page.is_last:
            self._expected[page.suite] = self._read[page.suite]
        elif page.sessions and page.suite not in self._expected:
            self._expected[page.suite] = page.sessions[0].relative_id - self._after
        for session in page.sessions if self.scope is not None else ():
            count = session.tests_count if self.scope == "all" else count_failing(session)
            self.cases += count or 0 if session.is_finished else 0

    def sessions(self, suites: int | None) -> int | None:
        """Return the number of sessions of all `suites`; None if it or the number of suites is not known."""
        if self._is_limited or suites is None or not self._expected:
            return None
        return round(sum(self._expected.values()) * max(1, suites / len(self._expected)))

    def seconds_left(self, stats: Stats, elapsed: float, suites: int | None) -> float | None:
        """Return the estimated seconds until the end, at the speed so far; None if they are not known yet."""
        total, read = self.sessions(suites), sum(self._read.values())
        if total is None or elapsed < _MIN_SECONDS or not read:
            return None
        share = read / total
        if self.cases:
            share *= min(1, stats.cases / self.cases)
        return elapsed / share - elapsed if share else None
