"""The command `slowest`: print the tests that take longest."""

from __future__ import annotations

from functools import partial

from cyclopts.types import NonNegativeFloat

from buddy_sessions import SlowTest, slowest_tests

from ..formats.case_tables import count_sessions
from ..formats.formatting import format_count, format_test_time
from ..options import DEFAULT_LAST, Access, Key, Printing, RunOptions, TestPrinting
from ..suite_reader import SuiteReader
from ..test_list import ListedTest, TestList, print_tests


async def list_slowest_tests(
    key: Key,
    /,
    *,
    threshold: NonNegativeFloat | None = None,
    options: RunOptions = RunOptions(),
    printing: Printing = Printing(),
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
    await print_tests(key, slowest, options, TestPrinting(printing.format, printing.json), access)


async def _find_slowest(source: SuiteReader, *, branch: str | None, last: int, threshold: float | None) -> TestList:
    name = await source.choose_branch(branch)
    runs = await source.runs(branch=name, last=last)
    sessions = [run.session for run in runs]
    slowest = slowest_tests([run.cases for run in runs], threshold=threshold)
    slower = "" if threshold is None else f" slower than {format_test_time(threshold)}"
    return TestList(
        name,
        sessions,
        f"{format_count(len(slowest), 'test')}{slower} in {count_sessions(sessions)}",
        titles=("MEDIAN", "SLOWEST", "SESSIONS"),
        fields=("median", "slowest", "runs"),
        tests=list(map(_describe, slowest)),
    )


def _describe(test: SlowTest) -> ListedTest:
    cells = (format_test_time(test.median), format_test_time(test.slowest), f"{test.runs:,}")
    return ListedTest(test.key, cells, (test.median, test.slowest, test.runs))
