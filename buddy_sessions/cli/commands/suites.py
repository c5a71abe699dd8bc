"""The command `suites`: print the suites of one project, with --status whether their main branches are red."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, TypeAlias

from cyclopts import Parameter
from rich.text import Text

from buddy_sessions import AuthenticationError, BuddyError, Suite
from buddy_sessions._base.workers import map_concurrently
from buddy_sessions.analysis.judgement import ALL_BRANCHES
from buddy_sessions.analysis.runs import Streak, ci_runs, newest_streak

from ..errors import ExitCode, NothingToJudgeError, error_text
from ..options import Access, Printing
from ..reading.case_source import ApiCases, CaseSource
from ..reading.suite_reader import SuiteReader
from ..render.result import Column, Item, Result, Section
from ..render.rows import SUITE_COLUMNS, suite_row
from ..render.show import show
from ..render.styled import author_text, link, number_text, plain, revision_text
from ..render.text import format_age

_STATUS_FIELDS = (
    "branch",
    "status",
    "since",
    "since_or_earlier",
    "since_date",
    "revision",
    "created_by_name",
    "error",
)


_KEY = (Column("KEY", is_number=False),)
_STATUS_TABLE = (
    *_KEY,
    Column("STATUS", is_number=False),
    Column("SINCE", "since {}", is_number=False),
    Column("AGE"),
    Column("COMMIT", "commit {}", is_number=False),
    Column("AUTHOR", "by {}", is_number=False),
)
Status: TypeAlias = Streak | BuddyError | None
"""The newest streak of the main branch; None without a verdict; or why it could not be read."""


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
    async with access.connection.open_client(messages) as buddy:
        suites = await buddy.suites(workspace, name)
        with messages.progress():
            source = ApiCases(buddy)
            read = partial(read_status, source)
            statuses = await map_concurrently(read, suites, limit=buddy.max_concurrency) if status else []
    show(suites_result(suites, statuses), output_format, messages)
    return ExitCode.SOME_SUITES_FAILED if any(isinstance(each, BuddyError) for each in statuses) else ExitCode.DONE


async def read_status(source: CaseSource, suite: Suite) -> Status:
    """Return the newest streak of the main branch; None without a verdict. An error of one suite is returned."""
    try:
        return newest_streak(ci_runs(await SuiteReader(source, suite.key).verdicts()))
    except NothingToJudgeError:
        return None
    except AuthenticationError:
        raise  # no other suite can be read either
    except BuddyError as error:
        return error


def suites_result(suites: Sequence[Suite], statuses: Sequence[Status] = ()) -> Result:
    """Return the suites with their names; with statuses, whether each is red, and since when."""
    if not statuses:
        columns = (*_KEY, Column("NAME", is_number=False), Column("IDENTIFIER", "", is_number=False))
        items = [Item(None, (*_names(suite), plain(suite.identifier)), row=suite_row(suite)) for suite in suites]
        return Result(command="suites", columns=columns, sections=[Section("", items)], fields=SUITE_COLUMNS)
    now = datetime.now(UTC)
    pairs = list(zip(suites, statuses, strict=True))
    return Result(
        command="suites",
        columns=_STATUS_TABLE,
        sections=[Section("", [_status_item(*pair, now) for pair in pairs])],
        fields=(*SUITE_COLUMNS, *_STATUS_FIELDS),
    )


def _status_item(suite: Suite, status: Status, now: datetime) -> Item:
    """Return whether the main branch of a suite is red, and since when. What is not known is None."""
    row, key = {**suite_row(suite), **dict.fromkeys(_STATUS_FIELDS)}, link(plain(str(suite.key)), suite.html_url)
    if isinstance(status, BuddyError):
        error = error_text(status)
        return Item(None, (key,), remark=error, row={**row, "error": error})
    if status is None:
        return Item(None, (key, "no verdict"), row=row)
    first = status.first
    state, style = ("red", "bold red") if first.is_failing else ("green", "green")
    author = first.created_by.name if first.created_by is not None else None
    values = (first.branch, state, first.relative_id, status.before is None, first.create_date, first.revision, author)
    cells = (
        key,
        Text.assemble(plain(first.branch or ALL_BRANCHES), " is ", (state, style)),
        number_text(first) + ("" if status.before is not None else " or earlier"),
        format_age(first.create_date, now),
        revision_text(first),
        author_text(first),
    )
    return Item(None, cells, row=row | dict(zip(_STATUS_FIELDS, values, strict=False)))


def _names(suite: Suite) -> tuple[Text, Text]:
    """Return the key and the name."""
    return plain(str(suite.key)), link(plain(suite.name), suite.html_url)
