"""What one test did in the commits of a branch, and since when it fails."""

from __future__ import annotations

from .._base.figures import format_count
from ..analysis.baseline import failing_cases, lists_too_few
from ..analysis.branches import Main
from ..analysis.by_test import find_test, find_tests
from ..analysis.commits import TestedCommit
from ..analysis.outcomes import TestHistory, TestOutcome
from ..models import Session, TestKey
from .last_commits import read_cases
from .suite_reader import SuiteReader
from .verdicts import last_commits


async def find_history(reader: SuiteReader, branch: str | Main, test: TestKey | str, *, last: int) -> TestHistory:
    """Return what a test did, back to where it began or ceased to fail: two requests for each red session.

    `last` commits are searched for a failure, and while the test fails, all that are known.
    """
    chosen = await reader.require_branch(branch)
    commits, listed = await last_commits(reader, chosen, last)
    searched = f"the failures of {format_count(min(last, len(commits)), 'commit')}, and all tests of the newest one"
    key: TestKey | None = None
    outcomes: list[TestOutcome] = []
    unread: list[Session] = []
    seen: set[TestKey] = set()
    number = 0
    for number, commit in enumerate(commits, 1):
        if number > last and not (outcomes and outcomes[0].is_failing):
            break
        cases = await reader.failing_cases(commit.counted)
        found = [(each, case) for each in commit.counted for case in failing_cases(each, cases)]
        seen |= {case.key for _, case in found}
        if find_tests(seen, test):  # an error, if there are several
            key = find_test(seen, test, searched=searched)
        failed = [(session, case) for session, case in found if case.key == key]
        if not failed and (short := [each for each in commit.counted if lists_too_few(each, cases)]):
            unread += short
            continue
        session, failure = failed[0] if failed else (commit.session, None)
        outcomes.append(TestOutcome(commit=commit, session=session, case=failure))
        if outcomes[-1].is_failing != outcomes[0].is_failing:
            break
    if key is None:
        key = await _find_in_all(reader, commits[0], test, searched=searched)
    may_have_older = number < len(commits) or listed.end != "beginning"
    return TestHistory(key=key, branch=chosen.name, outcomes=outcomes, may_have_older=may_have_older, unread=unread)


async def _find_in_all(reader: SuiteReader, commit: TestedCommit, test: TestKey | str, *, searched: str) -> TestKey:
    """Return the test of a commit, all of whose tests are read, that a text names."""
    sessions = [session for session in commit.counted if session.has_verdict]
    runs = await read_cases(reader, sessions)
    return find_test({case.key for run in runs for case in run.cases}, test, searched=searched)
