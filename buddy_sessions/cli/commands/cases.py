"""The command `cases`: print all tests of a commit, a CI run or a session."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from cyclopts import Parameter

from buddy_sessions import TestStatus
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import SESSION_CASE_COLUMNS
from buddy_sessions.analysis.remarks import crash_text

from ..errors import ExitCode
from ..options import ROWS, Key, Limit, Question, SessionName, ask
from ..render.result import CASE_CELLS, CommandResult, Section, case_item
from ..render.show import choose_format, default_limit, show
from ..render.text import unfinished_text
from ..suite_selection import parse_session


async def command(
    key: Key,
    session: SessionName = None,
    /,
    *,
    status: Annotated[TestStatus | None, Parameter(metavar="STATUS")] = None,
    limit: Limit = None,
    question: Question = Question(),
    output_format: Annotated[Literal["table", "jsonl", "csv", "junit"] | None, ROWS] = None,
) -> ExitCode:
    """Print all tests of a commit, a CI run or a session, in the order of the API.

    Without --db, a session costs one request for each 100 tests. In every format except table, each message of a
    failing test costs one more.

    For example:

    - buddy-sessions cases acme/storefront/MNbyVedg --status skipped
    - buddy-sessions cases acme/storefront/MNbyVedg 383 --format junit

    Args:
        status: Only tests with this status.
    """
    _, name = parse_session(question.access.defaults, key, session)
    details = choose_format(output_format) != "table" and (True if limit is None else limit)
    async with ask(key, question) as (answers, suite, messages):
        read = await answers.tests(suite, name, branch=question.branch, status=status, details=details)
    sessions = [each.session for each in read]
    tests = [(each.session, case) for each in read for case in each.cases]
    counts = Counter(case.status.lower() for _, case in tests)
    title = format_count(len(tests), "test" if status is None else f"{status.lower()} test")
    if status is None and tests:
        title += f": {', '.join(f'{count:,} {each}' for each, count in sorted(counts.items()))}"
    failed = {session.id for session, case in tests if case.is_failing}
    crashed = [each for each in sessions if status is None and each.is_failing and each.id not in failed]
    result = CommandResult(
        suite=suite,
        sessions=sessions,
        title=title,
        columns=CASE_CELLS,
        sections=[Section("Tests", [case_item(suite, session, case) for session, case in tests])],
        problems=list(map(crash_text, crashed)),
        csv_columns=SESSION_CASE_COLUMNS,
        warnings=[unfinished_text(sessions)],
    )
    show(result, output_format, messages, limit=limit or default_limit(output_format))
    return ExitCode.NOT_FINISHED if any(result.warnings) else ExitCode.DONE
