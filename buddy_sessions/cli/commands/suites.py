"""The command `suites`: print the suites of one project, with --status whether their main branches are red."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from buddy_sessions import AuthenticationError, BuddyError, Suite
from buddy_sessions._workers import map_concurrently
from buddy_sessions.analysis.judgement import Streak, newest_streak

from ..errors import ExitCode, NothingToJudgeError, error_text
from ..options import Access, Printing
from ..reading.case_source import ApiCases
from ..reading.suite_reader import SuiteReader
from ..render.console import Output
from ..render.rows import SUITE_COLUMNS, make_writer, suite_row
from ..render.table import print_statuses, suite_table

_STATUS_COLUMNS = (
    "branch",
    "status",
    "since",
    "since_or_earlier",
    "since_date",
    "revision",
    "created_by_name",
    "error",
)


async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    status: Annotated[bool, Parameter(show_default=False)] = False,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> ExitCode:
    """Print the suites of a project, and with --status whether they are red.

    For example:

    - buddy-sessions suites acme/storefront --status
    - buddy-sessions suites https://app.buddy.works/acme/storefront --json

    Args:
        project: WORKSPACE/PROJECT, or the URL of a project. With -w and -p, leave it out.
        status: Add whether the main branch of each suite is red or green, since which session, when, of which commit
            and by whom: one request for each suite.
    """
    output_format, messages = printing.choose(), access.verbosity.open()
    workspace, name, *_ = access.defaults.parse_target(project)
    async with access.connection.open_client(messages, keys=[project]) as buddy:
        suites = await buddy.suites(workspace, name)
        with messages.progress():
            source = ApiCases(buddy)
            read = partial(_read_status, source)
            statuses = await map_concurrently(read, suites, limit=buddy.max_concurrency) if status else []
    if output_format == "table":
        if status:
            print_statuses(Output(), suites, statuses)
        else:
            Output().print(suite_table(suites))
    else:
        writer = make_writer(output_format, sys.stdout, (*SUITE_COLUMNS, *(_STATUS_COLUMNS if status else ())))
        writer.write(map(_status_row, suites, statuses) if status else map(suite_row, suites))
    return ExitCode.SOME_SUITES_FAILED if any(isinstance(each, BuddyError) for each in statuses) else ExitCode.DONE


async def _read_status(source: ApiCases, suite: Suite) -> Streak | BuddyError | None:
    """Return the newest streak of the main branch; None without a verdict. An error of one suite is returned."""
    try:
        return newest_streak(await SuiteReader(source, suite.key).verdicts())
    except NothingToJudgeError:
        return None
    except AuthenticationError:
        raise  # no other suite can be read either
    except BuddyError as error:
        return error


def _status_row(suite: Suite, status: Streak | BuddyError | None) -> dict[str, Any]:
    """Return whether the main branch of a suite is red, and since when. What is not known is None."""
    row = {**suite_row(suite), **dict.fromkeys(_STATUS_COLUMNS)}
    if isinstance(status, BuddyError):
        row["error"] = error_text(status)
    elif status is not None:
        first = status.first
        author = first.created_by.name if first.created_by is not None else None
        state = "red" if first.is_failing else "green"
        values = (first.branch, state, first.relative_id, status.before is None, first.create_date, first.revision)
        row |= dict(zip(_STATUS_COLUMNS, (*values, author), strict=False))
    return row
