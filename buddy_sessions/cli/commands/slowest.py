"""The command `slowest`: print the tests that take longest."""

from __future__ import annotations

from functools import partial

from cyclopts.types import NonNegativeFloat

from buddy_sessions import Main, SlowTest, slowest_tests

from ..options import DEFAULT_LAST, Access, Key, RunOptions, TestPrinting
from ..reading.suite_reader import SuiteReader
from ..render.case_tables import count_sessions
from ..render.listed_tests import ListedTest, TestList, print_tests
from ..render.text import format_count, format_test_time


async def list_slowest_tests(
    key: Key,
    /,
    *,
    threshold: NonNegativeFloat | None = None,
    options: RunOptions = RunOptions(),
    printing: TestPrinting = TestPrinting(),
    access: Access = Access(),
) -> None:
    """Print the tests of a suite that take longest, by the median of their times in the last sessions.

    Without --db, each session costs one request for each 100 tests.

    For example:

    - buddy-sessions slowest acme/storefront/MNbyVedg --threshold 0.5
    - buddy-sessions slowest acme/storefront/MNbyVedg --db sessions.db --limit 5

    Args:
        threshold: Only tests whose median is above this number of seconds.
    """
    branch = options.branches.choose()
    slowest = partial(_find_slowest, branch=branch, last=options.last or DEFAULT_LAST, threshold=threshold)
    await print_tests(key, slowest, options, printing, access)


async def _find_slowest(
    source: SuiteReader, *, branch: str | Main | None, last: int, threshold: float | None
) -> TestList:
    name = await source.choose_branch(branch)
    runs = await source.runs(branch=name, last=last)
    sessions = [run.session for run in runs]
    slowest = slowest_tests([run.cases for run in runs], threshold=threshold)
    slower = "" if threshold is None else f" slower than {format_test_time(threshold)}"
    return TestList(
        "slowest",
        name,
        sessions,
        f"{format_count(len(slowest), 'test')}{slower} in {count_sessions(sessions)}",
        titles=("MEDIAN", "SLOWEST", "SESSIONS"),
        fields=("median", "slowest", "runs"),
        tests=list(map(_describe, slowest)),
    )


def _describe(test: SlowTest) -> ListedTest:
    cells = (format_test_time(test.median), format_test_time(test.slowest), f"{test.runs:,}")
    median, slowest, _ = cells
    return ListedTest(test.key, cells, (test.median, test.slowest, test.runs), f"{median}, at most {slowest}")
