"""The command `slowest`: print the tests that take longest."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts.types import NonNegativeFloat
from rich.table import Table

from buddy_sessions import SlowTest, slowest_tests

from ..formats.case_tables import TEST, count_sessions, name_text, print_hidden, print_summary, print_title
from ..formats.formatting import format_count, format_test_time
from ..formats.tables import grid
from ..formats.writers import KEYED_TEST_COLUMNS, keyed_test_row, make_writer
from ..options import DEFAULT_LAST, Access, Key, Printing, RunOptions
from ..output import Output
from ..suite_reader import open_cases


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
    target = access.defaults.parse_target(key)
    output_format, selected = printing.choose(), options.branches.choose()
    messages = access.verbosity.open()
    async with open_cases(target, key, db=options.db, connection=access.connection, messages=messages) as source:
        suite, branch = source.suite, await source.choose_branch(selected)
        runs = await source.runs(branch=branch, last=options.last or DEFAULT_LAST)
    sessions = [run.session for run in runs]
    slowest = slowest_tests([run.cases for run in runs], threshold=threshold)
    shown = slowest[: options.limit_for(output_format)]
    if output_format == "table":
        output = Output()
        print_title(output, suite, branch)
        if shown:
            output.print(_table(shown))
        slower = "" if threshold is None else f" slower than {format_test_time(threshold)}"
        print_summary(output, f"{format_count(len(slowest), 'test')}{slower} in {count_sessions(sessions)}")
        print_hidden(messages, len(slowest) - len(shown))
    else:
        writer = make_writer(output_format, sys.stdout, (*KEYED_TEST_COLUMNS, "median", "slowest", "runs"))
        times = ({"median": test.median, "slowest": test.slowest, "runs": test.runs} for test in shown)
        writer.write(
            keyed_test_row(suite, test.key, branch, sessions) | row for test, row in zip(shown, times, strict=True)
        )


def _table(tests: Sequence[SlowTest]) -> Table:
    table = grid()
    for title in ("MEDIAN", "SLOWEST", "SESSIONS"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(TEST, overflow="fold")
    for test in tests:
        table.add_row(
            format_test_time(test.median), format_test_time(test.slowest), f"{test.runs:,}", name_text(test.key)
        )
    return table
