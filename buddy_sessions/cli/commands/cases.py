"""The command `cases`: print all tests of a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cyclopts.types import PositiveInt

from buddy_sessions import Session, SuiteKey, TestCase, TestStatus
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions._export.session_rows import SESSION_CASE_COLUMNS, session_case_row

from ..options import Access, BranchOptions, Json, KeyOrSession, SessionName
from ..reading.named_sessions import find_sessions, parse_session
from ..reading.suite_reader import open_suite
from ..render.result import Column, Item, Result, Section
from ..render.rows import choose_format
from ..render.show import show
from ..render.styled import outcome_text

_TABLE_LIMIT = 50


async def list_cases(
    key: KeyOrSession,
    session: SessionName = None,
    /,
    *,
    branches: BranchOptions = BranchOptions(),
    status: Literal["passed", "failed", "error", "skipped"] | None = None,
    limit: PositiveInt | None = None,
    format: Literal["table", "jsonl", "csv", "junit"] | None = None,  # noqa: A002 - the name of the option
    json: Json = False,
    db: Path | None = None,
    access: Access = Access(),
) -> None:
    """Print all tests of a session, a commit or a CI run, in the order of the API.

    Without --db, a session costs one request for each 100 tests. In other formats than a table, the message of each
    failing test costs another one.

    For example:

    - buddy-sessions cases acme/storefront/MNbyVedg --status skipped
    - buddy-sessions cases acme/storefront/MNbyVedg 383 --format junit

    Args:
        status: Only tests with this status.
        limit: Maximum number of tests (default: 50 in a table, otherwise all).
        format: Output format (default: table on a terminal, otherwise jsonl). junit is JUnit XML. In csv, an apostrophe
            is put before text that looks like a formula.
        db: Read from this SQLite file, written by "sync --cases all", and send no request.
    """
    target, name = parse_session(access.defaults, key, session)
    branch, output_format = branches.choose(), choose_format(format, json=json)
    wanted = None if status is None else TestStatus(status.upper())
    messages = access.verbosity.open()
    async with open_suite(target, db=db, connection=access.connection, messages=messages) as reader:
        sessions = await find_sessions(reader, name, branch=branch)
        tests = [(each, case) for each in sessions for case in await reader.cases(each, status=wanted)]
        count = _TABLE_LIMIT if limit is None and output_format == "table" else limit
        if output_format != "table":
            read = await reader.add_failures(tests[:count])
            tests[:count] = [(each, case) for (each, _), case in zip(tests, read, strict=False)]
    show(cases_result(reader.suite, sessions, tests, status=wanted), output_format, messages, limit=count)


def cases_result(
    suite: SuiteKey,
    sessions: Sequence[Session],
    tests: Sequence[tuple[Session, TestCase]],
    *,
    status: TestStatus | None,
) -> Result:
    """Return the tests of sessions: all, or those with a status."""
    counts = Counter(case.status.lower() for _, case in tests)
    title = format_count(len(tests), "test" if status is None else f"{status.lower()} test")
    if status is None and tests:
        title += f": {', '.join(f'{count:,} {each}' for each, count in sorted(counts.items()))}"
    failed = {session.id for session, case in tests if case.is_failing}
    items = [
        Item(
            case.key,
            (outcome_text(case.status), format_duration(case.time)),
            case=case,
            row=session_case_row(suite, session, case),
        )
        for session, case in tests
    ]
    return Result(
        command="cases",
        suite=suite,
        sessions=sessions,
        title=title,
        columns=(Column("STATUS", "", is_number=False), Column("TIME", "")),
        sections=[Section("Tests", items)],
        crashed=[each for each in sessions if status is None and each.is_failing and each.id not in failed],
        fields=SESSION_CASE_COLUMNS,
    )
