"""The command `suites`: print the suites of one project, with --status whether their main branches are red."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from buddy_sessions import BuddyClient, Session, Suite
from buddy_sessions._workers import map_concurrently

from ..case_source import ApiCases
from ..errors import NothingToJudgeError
from ..formats.tables import status_table, suite_table
from ..formats.writers import SUITE_COLUMNS, make_writer, suite_row
from ..judgement import Streak, newest_streak
from ..options import Access, Printing
from ..output import Output
from ..suite_reader import SuiteReader

_STATUS_COLUMNS = ("branch", "status", "since", "since_or_earlier", "since_date", "revision", "created_by_name")


async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    status: Annotated[bool, Parameter(show_default=False)] = False,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> None:
    """Print the suites of a project, and whether they are red.

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
            verdicts = await _read_verdicts(buddy, suites) if status else []
    streaks = [newest_streak(sessions) if sessions else None for sessions in verdicts]
    if output_format == "table":
        Output().print(status_table(suites, streaks) if status else suite_table(suites))
        return
    writer = make_writer(output_format, sys.stdout, (*SUITE_COLUMNS, *(_STATUS_COLUMNS if status else ())))
    rows = map(suite_row, suites)
    writer.write([row | _status_row(streak) for row, streak in zip(rows, streaks, strict=True)] if status else rows)


async def _read_verdicts(buddy: BuddyClient, suites: Sequence[Suite]) -> list[list[Session]]:
    """Return the newest sessions of each main branch that passed or failed, newest first."""
    source = ApiCases(buddy)

    async def read(suite: Suite) -> list[Session]:
        try:
            return await SuiteReader(source, suite.key).verdicts()
        except NothingToJudgeError:
            return []

    return await map_concurrently(read, suites, limit=buddy.max_concurrency)


def _status_row(streak: Streak | None) -> dict[str, Any]:
    """Return whether a branch is red, and since when. All values are None without a session."""
    if streak is None:
        return dict.fromkeys(_STATUS_COLUMNS)
    first = streak.first
    status = "red" if first.is_failing else "green"
    author = first.created_by.name if first.created_by is not None else None
    values = (first.branch, status, first.relative_id, streak.before is None, first.create_date, first.revision, author)
    return dict(zip(_STATUS_COLUMNS, values, strict=True))
