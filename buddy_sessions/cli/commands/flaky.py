"""The command `flaky`: print the tests whose status changes from session to session, or on one commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from buddy_sessions import MAIN, ConfigError, ConflictingTest, FlakyTest, Main, Session, conflicting_tests, flaky_tests

from ..options import DEFAULT_LAST, Access, Key, RunOptions, TestPrinting
from ..reading.suite_reader import SuiteReader
from ..render.case_tables import count_sessions, recent_statuses
from ..render.listed_tests import ListedTest, TestList, print_tests
from ..render.markdown import code
from ..render.text import format_count, one_line

_LAST_SAME_COMMIT = 100  # sessions, because few commits are tested several times
_SHORT_REVISION = 7  # digits


async def list_flaky_tests(
    key: Key,
    /,
    *,
    changes: PositiveInt = 3,
    same_commit: Annotated[bool, Parameter(show_default=False)] = False,
    options: RunOptions = RunOptions(),
    printing: TestPrinting = TestPrinting(),
    access: Access = Access(),
) -> None:
    """Print the flaky tests of a suite: those whose status changes often.

    The defaults are Buddy's own definition: at least 3 changes in the last 10 sessions, skipped tests not counted.
    Without --db, each session costs one request for each 100 tests.

    For example:

    - buddy-sessions flaky acme/storefront/MNbyVedg --branch develop
    - buddy-sessions flaky acme/storefront/MNbyVedg --db sessions.db --last 50
    - buddy-sessions flaky acme/storefront/MNbyVedg --same-commit

    Args:
        changes: Minimum number of changes of the status.
        same_commit: Print the tests that passed and failed on the same commit, on any branch, in the last 100 sessions
            (see --last). Only the commits that were tested several times, and failed, cost requests for test cases.
    """
    branch = options.branches.choose()
    if same_commit:
        if branch is not MAIN:
            raise ConfigError("--same-commit looks at all branches: leave out --branch and --all-branches")
        conflicting = partial(_find_conflicting, last=options.last or _LAST_SAME_COMMIT)
        await print_tests(key, conflicting, options, printing, access)
    else:
        flaky = partial(_find_flaky, branch=branch, last=options.last or DEFAULT_LAST, changes=changes)
        await print_tests(key, flaky, options, printing, access)


async def _find_flaky(source: SuiteReader, *, branch: str | Main | None, last: int, changes: int) -> TestList:
    name = await source.choose_branch(branch)
    runs = await source.runs(branch=name, last=last)
    sessions = [run.session for run in runs]
    flaky = flaky_tests([run.cases for run in runs], window=last, changes=changes)
    recent = recent_statuses(runs, [test.key for test in flaky])

    def describe(test: FlakyTest) -> ListedTest:
        failed = f"{test.failed} of {test.runs}"
        cells, values = (str(test.changes), failed, recent[test.key]), (test.changes, test.failed, test.runs)
        return ListedTest(test.key, cells, values, f"{test.changes} changes, failed in {failed}")

    return TestList(
        "flaky",
        name,
        sessions,
        f"{format_count(len(flaky), 'flaky test')} in {count_sessions(sessions)}",
        titles=("CHANGES", "FAILED", "RECENT"),
        fields=("changes", "failed", "runs"),
        tests=list(map(describe, flaky)),
    )


async def _find_conflicting(source: SuiteReader, *, last: int) -> TestList:
    """Return the tests that passed and failed on the same commit. Only commits that were tested again are read."""
    sessions = (await source.verdicts(branch=None, last=last))[:last][::-1]
    runs = await source.full_runs(_tested_again(sessions))
    tests = list(map(_describe_conflict, conflicting_tests(runs)))
    commits = len({run.session.revision for run in runs})
    again = f"{format_count(len(runs), 'session')} of {format_count(commits, 'commit')} tested again"
    return TestList(
        "flaky",
        None,
        sessions,
        f"{format_count(len(tests), 'test')} passed and failed on the same commit, in {count_sessions(sessions)}",
        titles=("COMMITS", "NEWEST", "FAILED"),
        fields=("revisions", "failed", "runs"),
        tests=tests,
        note=f"{again}, {format_count(source.requests, 'request')}",
    )


def _describe_conflict(test: ConflictingTest) -> ListedTest:
    newest = test.revisions[-1][:_SHORT_REVISION]
    cells = (str(len(test.revisions)), one_line(newest), f"{test.failed} of {test.runs}")
    commits = f"{format_count(len(test.revisions), 'commit')}, the newest {code(newest)}"
    remark = f"failed in {test.failed} of {format_count(test.runs, 'session')} of {commits}"
    return ListedTest(test.key, cells, (test.revisions, test.failed, test.runs), remark)


def _tested_again(sessions: Sequence[Session]) -> list[Session]:
    """Return the sessions of the commits that were tested several times, and failed at least once."""
    tested = Counter(session.revision for session in sessions)
    failed = {session.revision for session in sessions if session.is_failing and session.revision}
    return [session for session in sessions if session.revision in failed and tested[session.revision] > 1]
