"""The command `failures`: print the failing tests of a session."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from buddy_sessions import ConfigError, Session, SuiteKey, TestCase, group_failures

from ..case_source import open_cases
from ..errors import ExitCode
from ..formats.case_tables import case_table, print_details, print_hidden, print_sessions, print_summary
from ..formats.formatting import format_count, one_line
from ..formats.junit import write_junit
from ..formats.markdown import (
    DEFAULT_MAX_BYTES,
    Entry,
    Page,
    Section,
    code,
    headline,
    suite_facts,
    write_markdown,
)
from ..formats.writers import SESSION_CASE_COLUMNS, choose_format, make_writer, session_case_row, validate_json
from ..options import Access, Json, MaxBytes
from ..output import Output
from ..session_names import parse_session

CaseFormat = Literal["table", "jsonl", "csv", "junit", "markdown"]

_LIMITS = {"table": 50, "markdown": 200}
"""The default number of tests whose messages are read, each with a request."""

_NO_REASON = "Buddy gives no reason"


async def list_failures(
    key: str,
    session: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    branch: str | None = None,
    details: Annotated[bool, Parameter(show_default=False)] = False,
    limit: PositiveInt | None = None,
    format: CaseFormat | None = None,  # noqa: A002 - the name of the option
    json: Json = False,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
    db: Path | None = None,
    exit_code: Annotated[bool, Parameter(show_default=False)] = False,
    access: Access = Access(),
) -> ExitCode:
    """Print the failing tests of a session, with the messages of the failures.

    The message of each failing test costs a request, unless it is read from a database.

    For example:

    - buddy-sessions failures acme/storefront/MNbyVedg --branch main
    - buddy-sessions failures acme/storefront/MNbyVedg 383 --format junit

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, or the URL of a suite or a session. With -w and -p, SUITE_ID is enough.
        session: relative_id or ID of the session, or its URL (default: the latest finished session).
        branch: Use the latest finished session of this branch.
        details: Print complete messages and stack traces, also in a table. Other formats always contain them.
        limit: Maximum number of tests (default: 50 in a table, otherwise all). In markdown, of those with a trace
            (default: 200).
        format: Output format (default: table on a terminal, otherwise jsonl). junit is JUnit XML; markdown is for a
            comment or a job summary. In csv, an apostrophe is put before text that looks like a formula.
        db: Read from this SQLite file, written by "sync --cases failed", and send no request.
        exit_code: Exit with 1 if the session failed (default: 0 whether or not it failed).
    """
    target, name = parse_session(access.defaults, key, session)
    if name is not None and branch is not None:
        raise ConfigError("--branch selects the latest session: leave it out, or do not name a session")
    validate_json(format, json=json)
    output_format: CaseFormat = "jsonl" if json else format or choose_format(None)
    limit = limit or _LIMITS.get(output_format)
    messages = access.verbosity.open()
    async with open_cases(target, key, db=db, connection=access.connection, messages=messages) as source:
        suite = source.suite
        sessions = await source.verdicts(branch=branch) if name is None else await source.find(name)
        found = sessions[0]
        failing = await source.failing_cases(found, details=limit)
    cases, count = failing[:limit], len(failing)
    unread = sum(not case.has_details for case in cases)
    if db is not None and unread:
        messages.print_note(f"details not read: {format_count(unread, 'test')}; leave out --db to read them")
    if output_format == "table":
        _print_table(Output(), suite, found, cases, count=count, details=details)
        print_hidden(messages, count - len(cases))
        if not count and not found.is_failing:
            _print_older(messages, suite, sessions, branch=branch, db=db)
    elif output_format == "junit":
        write_junit(sys.stdout, suite, found, cases)
    elif output_format == "markdown":
        write_markdown(sys.stdout, _page(suite, found, failing), max_bytes=max_bytes)
    else:
        writer = make_writer(output_format, sys.stdout, SESSION_CASE_COLUMNS)
        writer.write(session_case_row(suite, found, case) for case in cases)
    return ExitCode.RED if exit_code and (count or found.is_failing) else ExitCode.DONE


def _print_table(
    output: Output, suite: SuiteKey, session: Session, cases: Sequence[TestCase], *, count: int, details: bool
) -> None:
    print_sessions(output, suite, session)
    if details:
        for case in cases:
            output.print()
            print_details(output, case)
    elif cases:
        output.print()
        output.print(case_table(cases))
    print_summary(output, _summary(session, count))


def _page(suite: SuiteKey, session: Session, cases: Sequence[TestCase]) -> Page:
    facts = [suite_facts(suite, session)]
    summary = _summary(session, len(cases))
    if session.is_failing and not cases:
        summary = "The session failed without a failing test"
        facts.append(code(session.error_message or _NO_REASON))
    return Page(
        "failures",
        suite,
        headline(summary, session, is_red=session.is_failing or bool(cases)),
        facts,
        [Section("Failing tests", [Entry(case.key, failure=case.failure) for case in cases])],
        group_failures(cases),
    )


def _print_older(
    messages: Output, suite: SuiteKey, sessions: Sequence[Session], *, branch: str | None, db: Path | None
) -> None:
    """Print how to see the newest failing tests of older sessions, if some of these have failing tests."""
    for session in sessions[1:]:
        if session.failed_count or session.error_count:
            of_branch = "" if branch is None else f" of branch {branch}"
            messages.print_note(f"the latest session{of_branch} with failing tests is #{session.relative_id}:")
            from_db = "" if db is None else f" --db {db}"
            messages.print_note(f"buddy-sessions failures {suite} {session.relative_id}{from_db}")
            return


def _summary(session: Session, count: int) -> str:
    """Return how many tests of a session failed, and why it did without any: `3 of 412 tests failed`."""
    if session.is_failing and not count:
        return f"no test failed, but the session did: {one_line(session.error_message or _NO_REASON)}"
    if session.tests_count is None:
        return f"{format_count(count, 'test')} failed"
    return f"{count:,} of {format_count(session.tests_count, 'test')} failed"
