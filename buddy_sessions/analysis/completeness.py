"""Whether all tests ran in a CI run, compared with earlier ones; and which earlier ones were outages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from .._base.figures import format_count
from ..models import Session, TestRun
from .runs import CIRun, find_ci_runs, usual_size

MIN_TESTS = 0.9
"""The share of the usual number of tests below which tests did not run."""
_LAST = 10  # CI runs that say how many tests usually run
_OUTAGE_TESTS = 20
"""A CI run with fewer tests is no outage, however many of them failed."""


@frozen
class EarlierCIRuns:
    """The CI runs of a branch that others are compared with, newest first."""

    counting: Sequence[CIRun]
    outages: Sequence[CIRun]
    """They are left out: most of their tests failed, or did not run."""
    older: Sequence[CIRun]
    """The ones before, which only say since when a test is failing."""
    size: int
    """The usual number of sessions of a CI run."""
    usual: int | None
    """The usual number of tests of a CI run; None if it is not known."""
    min_tests: float
    differs: bool
    """Whether the number of tests differs from run to run, or has become lower: then it says nothing."""

    def lacks_tests(self, count: int | None) -> bool:
        """Return whether a CI run with that many tests has fewer than usual."""
        return count is not None and self.usual is not None and count < self.min_tests * self.usual


def earlier_ci_runs(
    sessions: Iterable[Session], *, last: int | None = None, min_tests: float = MIN_TESTS
) -> EarlierCIRuns:
    """Return the last CI runs of a branch that count, without outages, which older ones replace.

    A CI run is an outage if more than half of its tests failed, of at least 20, or if it has fewer tests than usual
    although the one before it and the one after it have not. If half of the runs are like this, none is an outage.
    """
    ci_runs = find_ci_runs(sessions)
    last = len(ci_runs) if last is None else last
    size = usual_size(ci_run.sessions for ci_run in ci_runs[:last])
    counts = [count_tests(ci_run.sessions, size) for ci_run in ci_runs]
    known = sorted(count for count in counts[:last] if count is not None)
    usual = (known[(len(known) - 1) // 2] + known[len(known) // 2] + 1) // 2 if known else None
    lacking = [count is not None and usual is not None and count < min_tests * usual for count in counts]
    first = lacking[:last]
    differs = (len(first) > 1 and all(first[:2])) or 3 * sum(first) > len(first)
    complete = [count is not None and not lacks for count, lacks in zip(counts, lacking, strict=True)]
    is_outage = [
        _most_failed(ci_run, count) or (lacking[i] and 0 < i < len(ci_runs) - 1 and complete[i - 1] and complete[i + 1])
        for i, (ci_run, count) in enumerate(zip(ci_runs, counts, strict=True))
    ]
    if 2 * sum(is_outage[:last]) >= len(first):
        is_outage = [False] * len(ci_runs)
    counting: list[CIRun] = []
    outages: list[CIRun] = []
    older: list[CIRun] = []
    for ci_run, was_down in zip(ci_runs, is_outage, strict=True):
        if len(counting) == last:
            older.append(ci_run)
        else:
            (outages if was_down else counting).append(ci_run)
    return EarlierCIRuns(counting, outages, older, size, usual, min_tests, differs)


def remark_on_tests(ci_runs: Sequence[CIRun]) -> str | None:
    """Return that tests did not run in the newest of these CI runs of a branch, compared with the ones before it.

    None if they all ran, or if that is not known. `ci_runs` are newest first. Only a gate is red for that reason.
    """
    newest = ci_runs[0].sessions
    revisions = {session.revision for session in newest if session.revision}
    before = [session for ci_run in ci_runs[1:] for session in ci_run.sessions if session.revision not in revisions]
    earlier = earlier_ci_runs(before, last=_LAST)
    count = count_tests(newest, earlier.size)
    if count is None or earlier.usual is None or earlier.differs or not earlier.lacks_tests(count):
        return None
    ran = f"{format_count(count, 'test')} ran, usually {earlier.usual:,}"
    return f"{ran}: {earlier.usual - count:,} did not run"


def find_judged_runs(sessions: Iterable[Session], *, is_complete: bool, with_incomplete: bool = False) -> list[CIRun]:
    """Return the CI runs of sessions that have a verdict, newest first, but see `without_incomplete`.

    If the list was not read to its end (`is_complete`), sessions of its oldest CI run may follow: this one does not say
    how large a CI run usually is.
    """
    ci_runs = find_ci_runs(sessions, is_complete=is_complete)
    whole, cut = (ci_runs, []) if is_complete else (ci_runs[:-1], ci_runs[-1:])
    judged = [each for each in whole if each.is_failing is not None]
    return (judged if with_incomplete else without_incomplete(judged)) + [
        each for each in cut if each.is_failing is not None
    ]


def without_incomplete(ci_runs: Sequence[CIRun]) -> list[CIRun]:
    """Return the CI runs, newest first, without the green ones that are incomplete.

    Otherwise, a matrix whose jobs start one after the other would be green before its second job fails.
    """
    size = usual_size(ci_run.sessions for ci_run in ci_runs[1:])
    return [
        ci_run for index, ci_run in enumerate(ci_runs) if ci_run.is_failing or not is_incomplete(ci_runs[index:], size)
    ]


def is_incomplete(ci_runs: Sequence[CIRun], size: int) -> bool:
    """Return whether sessions and tests are missing in the newest of these CI runs: more jobs may follow.

    `size` is the usual number of sessions.
    """
    return len(ci_runs[0].sessions) < size and remark_on_tests(ci_runs) is not None


def count_tests(sessions: Iterable[Session], size: int, others: Iterable[Session] = ()) -> int | None:
    """Return the number of tests of the `size` largest sessions, of which `others` are the last; None if not known."""
    counts = [session.tests_count for session in sessions]
    if any(count is None for count in counts):
        return None
    largest = sorted(filter(None, counts), reverse=True)[:size]
    missing = max(size - len(counts), 0)
    return sum(largest) + sum(sorted((each.tests_count or 0 for each in others), reverse=True)[:missing])


def count_failing(session: Session) -> int | None:
    """Return how many tests of a session failed or ended with an error; None if that is not known."""
    counts = [count for count in (session.failed_count, session.error_count) if count is not None]
    return sum(counts) if counts else None


def missing_tests(
    judged: Iterable[Session], others: Iterable[Session], earlier: EarlierCIRuns, branch: str
) -> tuple[list[str], list[str]]:
    """Return in which CI runs tests did not run, and why that was not checked.

    `others` are other sessions of these CI runs, `earlier` are the CI runs of `branch`.
    """
    if not earlier.min_tests or not earlier.counting:
        return [], []
    lacking: list[str] = []
    unchecked: list[str] = []
    judged_ids = {session.id for session in judged}
    others = [session for session in others if session.id not in judged_ids]
    for ci_run in find_ci_runs([*judged, *others]):
        of_run = [session for session in ci_run.sessions if session.id in judged_ids]
        if not of_run:
            continue
        count = count_tests(of_run, earlier.size, [each for each in ci_run.sessions if each.id not in judged_ids])
        if count is None or earlier.usual is None:
            unchecked.append("whether all tests ran was not checked: Buddy does not say how many there are")
        elif earlier.differs:
            unchecked.append(
                f"whether all tests ran was not checked: their number differs from one CI run of {branch} to the next"
            )
        elif earlier.lacks_tests(count):
            ran = f"{format_count(count, 'test')} ran, on {branch} {earlier.usual:,}"
            lacking.append(
                f"{ran}: {earlier.usual - count:,} did not run. A file that cannot be loaded uploads nothing. If the "
                f"change removed them, runs only a part, or is older than {branch}: --min-tests 0"
            )
    return list(dict.fromkeys(lacking)), unchecked[:1]


def lists_too_few(run: TestRun) -> bool:
    """Return whether a session counts more failing tests than it lists; False if it does not count them."""
    return len(failing_cases(run)) < (count_failing(run.session) or 0)


def failing_cases(run: TestRun) -> set[tuple[str | None, str]]:
    """Return the groups and IDs of the failing test cases of a session."""
    return {(case.test_group_id, case.id) for case in run.cases if case.is_failing}


def _most_failed(ci_run: CIRun, count: int | None) -> bool:
    failed = sum(count_failing(session) or 0 for session in ci_run.deciding)
    return count is not None and count >= _OUTAGE_TESTS and 2 * failed > count
