"""The option --same-commit of the command `flaky`: print the tests that passed and failed on the same commit."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

from rich.table import Table

from buddy_sessions import ConfigError, ConflictingTest, Session, conflicting_tests

from ..formats.case_tables import TEST, count_sessions, name_text, print_hidden, print_summary, print_title, title_of
from ..formats.formatting import format_count, one_line
from ..formats.markdown import Entry, Page, Section, code, write_markdown
from ..formats.tables import grid
from ..formats.writers import KEYED_TEST_COLUMNS, keyed_test_row, make_writer
from ..options import Access, RunOptions, TestPrinting
from ..output import Output
from ..suite_reader import open_cases

_LAST = 100  # sessions, because few commits are tested several times
_SHORT_REVISION = 7  # digits


async def list_conflicting_tests(key: str, options: RunOptions, printing: TestPrinting, access: Access) -> None:
    """Print the tests. The arguments are those of the command."""
    if options.branches.choose() is not None:
        raise ConfigError("--same-commit looks at all branches: leave out --branch and --all-branches")
    target, output_format = access.defaults.parse_target(key), printing.choose()
    messages = access.verbosity.open()
    last = options.last or _LAST
    async with open_cases(target, key, db=options.db, connection=access.connection, messages=messages) as source:
        suite, sessions = source.suite, (await source.verdicts(branch="*", last=last))[:last]
        runs = await source.full_runs(_tested_again(sessions)[::-1])
    found = conflicting_tests(runs)
    shown = found[: options.limit_for(output_format)]
    looked_at = sessions[::-1]
    summary = f"{format_count(len(found), 'test')} passed and failed on the same commit, in {count_sessions(looked_at)}"
    if output_format == "markdown":
        entries = [Entry(test.key, _describe(test)) for test in shown]
        page = Page("flaky", suite, summary, [code(title_of(suite, "*"))], [Section("Flaky tests", entries)])
        write_markdown(sys.stdout, page, max_bytes=printing.max_bytes)
    elif output_format == "table":
        output = Output()
        print_title(output, suite, "*")
        if shown:
            output.print(_table(shown))
        print_summary(output, summary)
        print_hidden(messages, len(found) - len(shown))
    else:
        writer = make_writer(output_format, sys.stdout, (*KEYED_TEST_COLUMNS, "revisions", "failed", "runs"))
        counts = ({"revisions": list(test.revisions), "failed": test.failed, "runs": test.runs} for test in shown)
        writer.write(
            keyed_test_row(suite, test.key, "*", looked_at) | row for test, row in zip(shown, counts, strict=True)
        )
    commits = len({run.session.revision for run in runs})
    again = f"{format_count(len(runs), 'session')} of {format_count(commits, 'commit')} tested again"
    messages.print_note(f"{again}, {format_count(source.requests, 'request')}")


def _tested_again(sessions: Sequence[Session]) -> list[Session]:
    """Return the sessions of the commits that were tested several times, and failed at least once."""
    by_revision: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        by_revision[session.revision or ""].append(session)
    again = {
        revision
        for revision, tested in by_revision.items()
        if revision and len(tested) > 1 and any(session.is_failing for session in tested)
    }
    return [session for session in sessions if session.revision in again]


def _describe(test: ConflictingTest) -> str:
    commits = f"{format_count(len(test.revisions), 'commit')}, the newest {code(test.revisions[-1][:_SHORT_REVISION])}"
    return f"failed in {test.failed} of {format_count(test.runs, 'session')} of {commits}"


def _table(tests: Sequence[ConflictingTest]) -> Table:
    table = grid()
    table.add_column("COMMITS", justify="right", no_wrap=True)
    table.add_column("NEWEST", no_wrap=True)
    table.add_column("FAILED", justify="right", no_wrap=True)
    table.add_column(TEST, overflow="fold")
    for test in tests:
        newest = one_line(test.revisions[-1])[:_SHORT_REVISION]
        table.add_row(str(len(test.revisions)), newest, f"{test.failed} of {test.runs}", name_text(test.key))
    return table
