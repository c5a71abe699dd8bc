"""Failing tests as text for agents: one line for each cause, then the tests of each, and what they were before."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from buddy_sessions import Session, TestKey, TestRun
from buddy_sessions.analysis.judgement import Cause, FailingTest, count_marks

from .agent import Row, cut, name_of, origin
from .failure_text import cause_text, trace_of
from .text import format_count, format_test_time, one_line

_ALL_CAUSES = 10_000  # characters that the list of the causes may take
_SHORTEST_CAUSE, _LONGEST_CAUSE = 60, 300
_ALL_TRACES = 10_000
_SHORTEST_TRACE, _LONGEST_TRACE = 200, 2_400
_LONGEST_LINE = 2_000


def first_failing(tests: Iterable[FailingTest]) -> list[Session]:
    """Return the sessions since which a test is failing, newest first."""
    first = {test.streak.first for test in tests if test.streak is not None}
    return sorted(first, key=lambda session: session.relative_id, reverse=True)


def cause_lines(causes: Sequence[Cause]) -> list[str]:
    """Return one line for each cause. If there are too many, the first ones, and how many more there are."""
    width = min(_LONGEST_CAUSE, max(_SHORTEST_CAUSE, _ALL_CAUSES // max(1, len(causes)) - 60))
    shown = causes[: _ALL_CAUSES // (_SHORTEST_CAUSE + 60)]
    lines = [
        f"{number}. {format_count(len(cause.tests), 'test')}{_marks(cause)}: {cut(cause_text(cause), width)}"
        for number, cause in enumerate(shown, 1)
    ]
    more = len(causes) - len(shown)
    return lines + ([f"… and {format_count(more, 'smaller cause')}: on the next pages"] if more else [])


def failure_rows(causes: Sequence[Cause]) -> Iterator[Row]:
    """Yield a row for each failing test. Its heading is the trace of the first test of its cause."""
    limit = min(_LONGEST_TRACE, max(_SHORTEST_TRACE, _ALL_TRACES // max(1, len(causes))))
    for number, cause in enumerate(causes, 1):
        failure = cause.tests[0].case.failure
        heading = f"Cause {number}: {cut(cause_text(cause), _LONGEST_CAUSE)}"
        if failure is not None and (trace := trace_of(failure, limit=limit)):
            heading += f"\n{trace}"
        for (key, mark), count in Counter((test.case.key, test.mark) for test in cause.tests).items():
            before = f"[{mark}] " if mark else ""
            yield Row(f"- {before}{name_of(key)}" + (f" ({count} cases)" if count > 1 else ""), heading)


def test_rows(tests: Iterable[FailingTest]) -> list[Row]:
    """Return the lines of all that is known of a failing test; of each of its cases, if it has several."""
    lines: list[str] = []
    for test in tests:
        case = test.case
        facts = [one_line(case.status), format_test_time(case.time), test.mark, cut(case.html_url or "")]
        lines += [name_of(case.key), ", ".join(filter(None, facts))]
        if case.failure is not None:
            lines += trace_of(case.failure, limit=sys.maxsize).split("\n")
    return [Row(line[at : at + _LONGEST_LINE]) for line in lines for at in range(0, len(line) or 1, _LONGEST_LINE)]


def history_rows(runs: Sequence[TestRun], key: TestKey) -> list[Row]:
    """Return a row for each streak of sessions in which a test failed, or did not. `runs` are newest first."""
    rows: list[Row] = []
    statuses = [next((one_line(case.status) for case in run.cases if case.key == key), "did not fail") for run in runs]
    for status, streak in groupby(zip(runs, statuses, strict=True), key=itemgetter(1)):
        sessions = [run.session for run, _ in streak]
        numbers = f"#{sessions[-1].relative_id}" + (f" to #{sessions[0].relative_id}" if len(sessions) > 1 else "")
        what = f"{status} in {format_count(len(sessions), 'session')}" if len(sessions) > 1 else status
        rows.append(Row(f"- {numbers}: {what}; #{sessions[-1].relative_id} is {origin(sessions[-1])}"))
    return rows


def verdict_text(session: Session, tests: Sequence[FailingTest], causes: Sequence[Cause]) -> str:
    """Return what a session says of its commit: `is red: 3 failing tests, 2 causes.`."""
    unknown = "neither passed nor failed" if session.is_finished else "is running"
    state = "is red" if session.is_failing else "is green" if session.has_verdict else unknown
    counts = f"{format_count(len(tests), 'failing test')}, {format_count(len(causes), 'cause')}"
    crash = " The session itself failed." if session.is_failing and not tests else ""
    return f"{state}: {counts if tests else 'no test failed'}.{crash}"


def _marks(cause: Cause) -> str:
    """Return how many tests of a cause are new, failing since when, or flaky: ` (40 new, 2 flaky)`."""
    counts = count_marks(cause.tests)[:3]
    if len(counts) == 1:
        return f" ({counts[0][0]})"
    return f" ({', '.join(f'{count:,} {mark}' for mark, count in counts)})" if counts else ""
