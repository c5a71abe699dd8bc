"""The command `flaky`: print the tests whose status changes from session to session."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt
from rich.table import Table

from buddy_sessions import FlakyTest, TestRun, flaky_tests

from ..formats.case_tables import (
    TEST,
    count_sessions,
    name_text,
    print_hidden,
    print_summary,
    print_title,
    recent_statuses,
    title_of,
)
from ..formats.formatting import format_count
from ..formats.markdown import Entry, Page, Section, code, write_markdown
from ..formats.tables import RECENT_LEGEND, grid
from ..formats.writers import KEYED_TEST_COLUMNS, keyed_test_row, make_writer
from ..options import DEFAULT_LAST, Access, Key, RunOptions, TestPrinting
from ..output import Output
from ..suite_reader import open_cases
from .flaky_same_commit import list_conflicting_tests


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
    if same_commit:
        await list_conflicting_tests(key, options, printing, access)
        return
    last = options.last or DEFAULT_LAST
    target = access.defaults.parse_target(key)
    output_format, selected = printing.choose(), options.branches.choose()
    messages = access.verbosity.open()
    async with open_cases(target, key, db=options.db, connection=access.connection, messages=messages) as source:
        suite, branch = source.suite, await source.choose_branch(selected)
        runs = await source.runs(branch=branch, last=last)
    sessions = [run.session for run in runs]
    flaky = flaky_tests([run.cases for run in runs], window=last, changes=changes)
    shown = flaky[: options.limit_for(output_format)]
    summary = f"{format_count(len(flaky), 'flaky test')} in {count_sessions(sessions)}"
    if output_format == "markdown":
        entries = [Entry(test.key, f"{test.changes} changes, failed in {test.failed} of {test.runs}") for test in shown]
        page = Page("flaky", suite, summary, [code(title_of(suite, branch))], [Section("Flaky tests", entries)])
        write_markdown(sys.stdout, page, max_bytes=printing.max_bytes)
    elif output_format == "table":
        output = Output()
        print_title(output, suite, branch)
        if shown:
            output.print(_table(shown, runs))
            output.print_line((f"RECENT: {RECENT_LEGEND}", "dim"))
        print_summary(output, summary)
        print_hidden(messages, len(flaky) - len(shown))
    else:
        writer = make_writer(output_format, sys.stdout, (*KEYED_TEST_COLUMNS, "changes", "failed", "runs"))
        counts = ({"changes": test.changes, "failed": test.failed, "runs": test.runs} for test in shown)
        writer.write(
            keyed_test_row(suite, test.key, branch, sessions) | row for test, row in zip(shown, counts, strict=True)
        )


def _table(tests: Sequence[FlakyTest], runs: Sequence[TestRun]) -> Table:
    recent = recent_statuses(runs, [test.key for test in tests])
    table = grid()
    table.add_column("CHANGES", justify="right", no_wrap=True)
    table.add_column("FAILED", justify="right", no_wrap=True)
    table.add_column("RECENT", no_wrap=True)
    table.add_column(TEST, overflow="fold")
    for test in tests:
        failed = f"{test.failed} of {test.runs}"
        table.add_row(str(test.changes), failed, recent[test.key], name_text(test.key))
    return table
