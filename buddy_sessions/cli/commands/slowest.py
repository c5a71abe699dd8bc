"""The command `slowest`: print the tests that take longest."""

from __future__ import annotations

from buddy_sessions import SlowTest, slowest_tests
from buddy_sessions._base.figures import format_count, format_duration

from ..input.times import Duration
from ..options import DEFAULT_LAST, Access, Key, RunOptions, TestPrinting
from ..reading.suite_reader import open_suite
from ..render.result import READER_LIMIT, Column, Item, Result, Section, describe_branch
from ..render.rows import KEYED_TEST_COLUMNS, keyed_test_row
from ..render.show import show
from ..render.text import count_sessions, unread_text


async def list_slowest_tests(
    key: Key,
    /,
    *,
    threshold: Duration | None = None,
    options: RunOptions = RunOptions(),
    printing: TestPrinting = TestPrinting(),
    access: Access = Access(),
) -> None:
    """Print the tests of a suite that take longest, by the median of their times in the last sessions.

    Without --db, each session costs one request for each 100 tests.

    For example:

    - buddy-sessions slowest acme/storefront/MNbyVedg --threshold 0.5s
    - buddy-sessions slowest acme/storefront/MNbyVedg --db sessions.db --limit 5

    Args:
        threshold: Only tests whose median is above this, such as 0.5s or 2m.
    """
    target, output_format, messages = access.defaults.parse_target(key), printing.choose(), access.verbosity.open()
    branch, last = options.branches.choose(), options.last or DEFAULT_LAST
    async with open_suite(target, db=options.db, connection=access.connection, messages=messages) as reader:
        name = await reader.choose_branch(branch)
        runs, newer = await reader.newest_full_runs(name, last=last)
    sessions = [run.session for run in runs]
    slowest = slowest_tests([run.cases for run in runs], threshold=threshold)
    slower = "" if threshold is None else f" slower than {format_duration(threshold)}"

    def describe(test: SlowTest) -> Item:
        cells = (format_duration(test.median), format_duration(test.slowest), f"{test.runs:,}")
        figures = {"median": test.median, "slowest": test.slowest, "runs": test.runs}
        return Item(test.key, cells, row=keyed_test_row(reader.suite, test.key, name, sessions) | figures)

    result = Result(
        command="slowest",
        suite=reader.suite,
        about=describe_branch(name),
        title=f"{format_count(len(slowest), 'test')}{slower} in {count_sessions(sessions)}",
        columns=(Column("MEDIAN"), Column("SLOWEST", "at most {}"), Column("SESSIONS", "")),
        reader_limit=READER_LIMIT,
        sections=[Section("Slowest tests", list(map(describe, slowest)))],
        fields=(*KEYED_TEST_COLUMNS, "median", "slowest", "runs"),
        warnings=[unread_text(newer, "newer sessions")],
    )
    show(result, output_format, messages, limit=options.limit, max_bytes=printing.max_bytes)
