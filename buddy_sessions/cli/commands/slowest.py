"""The command `slowest`: print the tests that take longest."""

from __future__ import annotations

from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions.analysis import SlowTest, slowest_tests
from buddy_sessions.analysis.commits import LAST

from ..options import Key, Last, Limit, Question, TableFormat, ask
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import KEYED_TEST_COLUMNS, default_limit, keyed_test_row, show
from ..render.text import count_sessions


async def command(
    key: Key,
    /,
    *,
    last: Last = LAST,
    limit: Limit = None,
    question: Question = Question(),
    output_format: TableFormat = None,
) -> None:
    """Print the tests of a suite that take longest, by the median of their times in the last commits of a branch.

    Without --db, each session costs one request for each 100 tests.

    For example:

    - buddy-sessions slowest acme/storefront/MNbyVedg --db sessions.db --limit 5
    """
    async with ask(key, question) as (answers, suite, messages):
        recent = await answers.recent_tests(suite, branch=question.branch, last=last)
    tests = slowest_tests([each.cases for each in recent])
    sessions = [each.session for each in recent]
    branch = sessions[0].ref_name

    def describe(test: SlowTest) -> Item:
        cells = (format_duration(test.median), format_duration(test.slowest), f"{test.sessions:,}")
        figures = {"median": test.median, "slowest": test.slowest, "sessions": test.sessions}
        return Item(test.key, cells, row=keyed_test_row(suite, test.key, branch, sessions) | figures)

    result = CommandResult(
        suite=suite,
        about=f"branch {branch}",
        title=f"{format_count(len(tests), 'test')} in {count_sessions(sessions)}",
        columns=(Column("MEDIAN"), Column("SLOWEST"), Column("SESSIONS")),
        sections=[Section("Slowest tests", list(map(describe, tests)))],
        csv_columns=(*KEYED_TEST_COLUMNS, "median", "slowest", "sessions"),
    )
    show(result, output_format, messages, limit=limit or default_limit(output_format))
