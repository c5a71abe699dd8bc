"""The command `failures`: print the failing tests of a session, a commit or a CI run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from buddy_sessions import ConfigError, Session, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import SESSION_CASE_COLUMNS, Row, suite_names
from buddy_sessions.analysis import Cause, FailingTest, Judgement
from buddy_sessions.analysis.remarks import crash_text

from ..errors import ExitCode, error_text
from ..options import ROWS, Count, Flag, Key, MaxBytes, Question, SessionName, ask
from ..render.markdown import DEFAULT_MAX_BYTES
from ..render.result import CASE_CELLS, CommandResult, Item, Section, crashed_sessions, failing_item
from ..render.show import choose_format, show
from ..render.text import cause_text, count_read_messages, unfinished_text
from ..suite_selection import parse_session

DETAILS = {"table": 50, "github": 50, "markdown": 200}
"""How many messages are read for a format, with one request each; all for others."""
_CAUSE_FIELDS = ("workspace", "project", "suite_id", "relative_ids", "type", "template", "count", "tests")
"""What `--group` prints of a cause."""


async def command(
    key: Key,
    session: SessionName = None,
    /,
    *,
    group: Flag = False,
    output_format: Annotated[
        Literal["table", "jsonl", "csv", "junit", "markdown", "github", "pytest", "files"] | None,
        ROWS,
        Parameter(
            help=f"{ROWS.help} github annotates the files of a checkout. files prints the failing files, and pytest "
            "the node IDs of failing tests, to run again: run the command in the folder where the tests ran."
        ),
    ] = None,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
    limit: Annotated[
        Count | None,
        Parameter(
            help="Maximum number of tests (default: 50 in table and github, otherwise all). In markdown and with "
            "--group, all tests are printed: then it is the maximum number of messages to read (default: 200)."
        ),
    ] = None,
    question: Question = Question(),
) -> ExitCode:
    r"""Print the failing tests of a session, a commit or a CI run, with their messages.

    Without --db, the message of each failing test costs a request. "gate" says which failures are new, and since when
    the others fail.

    For example:

    - buddy-sessions failures acme/storefront/MNbyVedg --branch develop
    - buddy-sessions failures acme/storefront/MNbyVedg 383 --format junit
    - buddy-sessions failures acme/storefront/MNbyVedg 1f0c2d3 --group
    - npx jest $(buddy-sessions failures acme/storefront/MNbyVedg --format files)
    - buddy-sessions failures acme/storefront/MNbyVedg --format pytest | xargs -r -d '\n' pytest

    Args:
        group: Print the causes: the failing tests with similar messages, in a table, jsonl or csv.
    """
    _, name = parse_session(question.access.defaults, key, session)
    chosen = choose_format(output_format)
    if group and chosen in {"junit", "github", "pytest", "files"}:
        raise ConfigError(f"--group contradicts --format {chosen}: leave out one of them")
    count = limit or DETAILS.get("markdown" if group else chosen)
    details: bool | int = chosen not in {"pytest", "files"} and (True if count is None else count)
    async with ask(key, question) as (answers, suite, messages):
        judgement = await answers.judge(
            suite, name, branch=question.branch, baseline=None, min_tests=0.0, details=details
        )
    result = failures_result(judgement, by_cause=group and chosen != "markdown")
    for problem in result.problems if chosen in {"jsonl", "csv"} else ():  # other formats say it
        messages.print_warning(problem)
    if group and (read := count_read_messages(judgement.tests)):
        messages.print_note(f"{read}: the causes of the other tests are not known")
    show(result, chosen, messages, limit=None if group or chosen == "markdown" else count, max_bytes=max_bytes)
    running, *incomplete = result.warnings
    code = ExitCode.NO_VERDICT if incomplete else ExitCode.DONE
    return ExitCode.NOT_FINISHED if running else code


def failures_result(judgement: Judgement, *, by_cause: bool = False) -> CommandResult:
    """Return the failing tests of sessions that were compared with nothing, by test or by cause."""
    suite, tests, sessions = judgement.suite, judgement.tests, judgement.sessions
    crashed = crashed_sessions(judgement)
    if by_cause:
        unread = Cause(None, "", [test for test in tests if not test.case.has_details])
        causes = [*judgement.causes, *([unread] if unread.tests else [])]
        sections = [_cause_section(suite, sessions, cause) for cause in causes]
    else:
        sections = [Section(f"Failing tests ({len(tests):,})", [failing_item(judgement, test) for test in tests])]
    return CommandResult(
        command="failures",
        suite=suite,
        sessions=sessions,
        title=_title(sessions, tests),
        is_red=judgement.is_failing,
        causes=judgement.causes,
        columns=() if by_cause else CASE_CELLS,
        sections=sections,
        problems=list(map(crash_text, crashed)),
        csv_columns=_CAUSE_FIELDS if by_cause else SESSION_CASE_COLUMNS,
        warnings=[
            unfinished_text(sessions),
            *(
                each.describe(error_text)
                for each in (*judgement.reasons, *judgement.remarks)
                if each.kind in {"incomplete cases", "no session"}
            ),
        ],
    )


def _cause_section(suite: SuiteKey, sessions: Sequence[Session], cause: Cause) -> Section:
    """Return the tests of a cause, or those whose messages are not known. The first one has the row of the cause."""
    is_read = cause.tests[0].case.has_details
    row: Row = {
        **suite_names(suite),
        "relative_ids": [session.relative_id for session in sessions],
        "type": cause.type,
        "template": cause.template if is_read else None,
        "count": len(cause.tests),
        "tests": [str(test.case.key) for test in cause.tests],
    }
    items = [Item(test.case.key, row=None if index else row) for index, test in enumerate(cause.tests)]
    text = cause_text(cause) if is_read else "messages that were not read"
    return Section(f"{format_count(len(cause.tests), 'test')}: {text}", items)


def _title(sessions: Sequence[Session], tests: Sequence[FailingTest]) -> str:
    if not sessions:
        return "No session to look at"
    failed = max(len(tests), *(session.failing_count or 0 for session in sessions))  # not all may be listed
    if not all(session.is_finished for session in sessions):
        return f"{format_count(failed, 'test')} failed so far"
    if len(sessions) == 1 and sessions[0].tests_count is not None:
        return f"{failed:,} of {format_count(sessions[0].tests_count, 'test')} failed"
    return f"{format_count(failed, 'test')} failed"
