"""Prints tests that were found in the last sessions of a suite, such as the flaky ones, in each format."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text

from buddy_sessions import Session, TestKey

from ..options import Access, RunOptions, TestPrinting
from ..reading.suite_reader import SuiteReader, open_cases
from .case_tables import TEST, name_text, print_hidden, print_summary
from .console import Output
from .markdown import Entry, Page, Section, code, write_markdown
from .rows import KEYED_TEST_COLUMNS, keyed_test_row, make_writer
from .table import RECENT_LEGEND, grid
from .text import one_line

_TEXTS = {"RECENT", "NEWEST"}
"""The titles of columns of text, which are aligned on the left."""


class ListedTest(NamedTuple):
    """A test, its cells in a table, its values in a row, and its remark in Markdown."""

    key: TestKey
    cells: Sequence[str | Text]
    values: Sequence[object]
    remark: str = ""


@dataclass(frozen=True)
class TestList:
    """Tests found in `sessions` of a branch, oldest first. `titles` name the cells of a test, `fields` its values."""

    command: str
    branch: str | None
    sessions: Sequence[Session]
    summary: str
    titles: Sequence[str]
    fields: Sequence[str]
    tests: Sequence[ListedTest]
    note: str = ""


async def print_tests(
    key: str,
    find: Callable[[SuiteReader], Awaitable[TestList]],
    options: RunOptions,
    printing: TestPrinting,
    access: Access,
) -> None:
    """Print the tests that `find` returns. The other arguments are those of the command."""
    target, output_format, messages = access.defaults.parse_target(key), printing.choose(), access.verbosity.open()
    async with open_cases(target, key, db=options.db, connection=access.connection, messages=messages) as source:
        suite, found = source.suite, await find(source)
    tests = found.tests[: options.limit_for(output_format)]
    title = one_line(f"{suite}, {f'branch {found.branch}' if found.branch else 'all branches'}")
    if output_format == "markdown":
        entries = [Entry(test.key, test.remark) for test in tests]
        section = Section(f"{found.command.capitalize()} tests", entries)
        page = Page(found.command, suite, found.summary, [code(title)], [section])
        write_markdown(sys.stdout, page, max_bytes=printing.max_bytes)
    elif output_format == "table":
        output = Output()
        output.print_line((title, "bold"))
        if tests:
            _print_table(output, found.titles, tests)
        print_summary(output, found.summary)
    else:
        writer = make_writer(output_format, sys.stdout, (*KEYED_TEST_COLUMNS, *found.fields))
        names = [keyed_test_row(suite, test.key, found.branch, found.sessions) for test in tests]
        values = [dict(zip(found.fields, test.values, strict=True)) for test in tests]
        writer.write(name | row for name, row in zip(names, values, strict=True))
    if output_format in {"table", "markdown"}:
        print_hidden(messages, len(found.tests) - len(tests))
    if found.note:
        messages.print_note(found.note)


def _print_table(output: Output, titles: Sequence[str], tests: Sequence[ListedTest]) -> None:
    table = grid()
    for title in titles:
        table.add_column(title, justify="left" if title in _TEXTS else "right", no_wrap=True)
    table.add_column(TEST, overflow="fold")
    for test in tests:
        table.add_row(*test.cells, name_text(test.key))
    output.print(table)
    if "RECENT" in titles:
        output.print_line((f"RECENT: {RECENT_LEGEND}", "dim"))
