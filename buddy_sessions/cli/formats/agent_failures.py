"""Failing tests as text for agents: one line for each cause, then the tests of each, and what they were before."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, takewhile
from operator import itemgetter

from buddy_sessions import FailureGroup, Session, TestCase, TestKey, TestRun, compare_to_baseline

from .agent_text import Row, cut, name_of, origin
from .failure_text import cause_text, trace_of
from .formatting import format_count, format_test_time, one_line

_FLAKY, _SINCE = "flaky", "failing since #"

_ALL_CAUSES = 10_000  # characters that the list of the causes may take
_SHORTEST_CAUSE, _LONGEST_CAUSE = 60, 300
_ALL_TRACES = 10_000
_SHORTEST_TRACE, _LONGEST_TRACE = 200, 2_400
_LONGEST_LINE = 2_000


def compare_with_past(cases: Iterable[TestCase], past: Sequence[TestRun]) -> dict[TestKey, str]:
    """Return what each failing test was in `past`, newest first: `new`, `failing since #381`, or `flaky: …`."""
    comparison = compare_to_baseline([run.cases for run in reversed(past)], cases)
    failed = [(run.session.relative_id, {case.key for case in run.cases}) for run in past]
    found = {case.key: "new" for case in comparison.new}
    for case in comparison.known:
        streak = [number for number, _ in takewhile(lambda each: case.key in each[1], failed)]  # noqa: B023 - used at once
        found[case.key] = f"{_SINCE}{streak[-1]}" + (" or earlier" if len(streak) == len(failed) else "")
    for case in comparison.flaky:
        found[case.key] = f"{_FLAKY}: failed in {comparison.failed_in[case.key]} of the {len(past)} sessions before"
    return found if past else {}


def first_failing(past: Sequence[TestRun], before: Mapping[TestKey, str]) -> list[TestRun]:
    """Return the sessions since which a test is failing, as `compare_with_past` says."""
    since = {text.removeprefix(_SINCE).partition(" ")[0] for text in before.values() if text.startswith(_SINCE)}
    return [run for run in past if str(run.session.relative_id) in since]


def cause_lines(groups: Sequence[FailureGroup], before: Mapping[TestKey, str]) -> list[str]:
    """Return one line for each cause. If there are too many, the first ones, and how many more there are."""
    width = min(_LONGEST_CAUSE, max(_SHORTEST_CAUSE, _ALL_CAUSES // max(1, len(groups)) - 60))
    shown = groups[: _ALL_CAUSES // (_SHORTEST_CAUSE + 60)]
    lines = [
        f"{number}. {format_count(len(group.cases), 'test')}{_summary(group, before)}: {cut(cause_text(group), width)}"
        for number, group in enumerate(shown, 1)
    ]
    more = len(groups) - len(shown)
    return lines + ([f"… and {format_count(more, 'smaller cause')}: on the next pages"] if more else [])


def failure_rows(groups: Sequence[FailureGroup], before: Mapping[TestKey, str]) -> Iterator[Row]:
    """Yield a row for each failing test. Its heading is the trace of the first test of its cause."""
    limit = min(_LONGEST_TRACE, max(_SHORTEST_TRACE, _ALL_TRACES // max(1, len(groups))))
    for number, group in enumerate(groups, 1):
        failure = group.cases[0].failure
        heading = f"Cause {number}: {cut(cause_text(group), _LONGEST_CAUSE)}"
        if failure is not None and (trace := trace_of(failure, limit=limit)):
            heading += f"\n{trace}"
        for key, count in Counter(case.key for case in group.cases).items():
            mark = f"[{before[key]}] " if key in before else ""
            yield Row(f"- {mark}{name_of(key)}" + (f" ({count} cases)" if count > 1 else ""), heading)


def test_rows(cases: Sequence[TestCase], before: Mapping[TestKey, str]) -> list[Row]:
    """Return the lines of all that is known of a failing test; of each of its cases, if it has several."""
    lines: list[str] = []
    for case in cases:
        facts = [one_line(case.status), format_test_time(case.time), before.get(case.key, ""), cut(case.html_url or "")]
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


def verdict_text(session: Session, cases: Sequence[TestCase], groups: Sequence[FailureGroup]) -> str:
    """Return what a session says of its commit: `is red: 3 failing tests, 2 causes.`."""
    unknown = "neither passed nor failed" if session.is_finished else "is running"
    state = "is red" if session.is_failing else "is green" if session.has_verdict else unknown
    counts = f"{format_count(len(cases), 'failing test')}, {format_count(len(groups), 'cause')}"
    crash = " The session itself failed." if session.is_failing and not cases else ""
    return f"{state}: {counts if cases else 'no test failed'}.{crash}"


def _summary(group: FailureGroup, before: Mapping[TestKey, str]) -> str:
    """Return how many tests of a cause are new, flaky or failing since when: ` (40 new, 2 flaky)`."""
    counts = Counter(before.get(case.key, "").partition(":")[0] for case in group.cases)
    del counts[""]
    if len(counts) == 1 and counts.total() == len(group.cases):
        return f" ({next(iter(counts))})"
    return f" ({', '.join(f'{count:,} {what}' for what, count in counts.most_common(3))})" if counts else ""
