"""The commands that read one list: `list` the sessions of a suite, `suites` those of a project."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import ConfigError, Cursor, SessionPaginator, SuiteKey

from .data import Csv, Format, JsonLines, Writer, session_columns, suite_columns
from .options import NATURAL, POSITIVE, Connection, Names
from .output import Output, count, resume
from .tables import SessionTable, suite_table

_TABLE_ROWS = 50
"""How many sessions a table shows unless told otherwise: a person reads no more, and Buddy sends them as one page."""


async def list_sessions(
    key: str,
    /,
    *,
    branch: str | None = None,
    since: Annotated[int | None, NATURAL] = None,
    most: Annotated[int | None, Parameter(name="--max"), POSITIVE] = None,
    everything: Annotated[bool, Parameter(name="--all", show_default=False)] = False,
    start: str | None = None,
    per_page: Annotated[int | None, POSITIVE] = None,
    format: Format | None = None,  # noqa: A002 - the option's name
    names: Names = Names(),
    connection: Connection = Connection(),
) -> None:
    """Print the sessions of a suite, newest first.

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID; or less, with -w and -p.
        branch: Only sessions of this branch.
        since: Only sessions with a higher number (relative_id) than this.
        most: At most so many; 50 for a table, otherwise all.
        everything: All of them, in a table too.
        start: Go on where an earlier walk stood, as its error said, such as 118@40.
        per_page: Sessions asked for in one request; 100 unless given.
        format: By default a table on a terminal, else jsonl.
        names: What the key leaves out.
        connection: Where to read.
    """
    if everything and most is not None:
        raise ConfigError("--all and --max exclude each other")
    suite = SuiteKey(*names.complete(key, "workspace/project/suite_id"))
    output, messages = Output(), Output(stderr=True)
    form = _format(format)
    if form == "table" and not everything and most is None:
        most = _TABLE_ROWS
    async with connection.open(messages) as buddy:
        paginator = buddy.sessions(
            *suite,
            branch=branch,
            since=since,
            start=None if start is None else Cursor.parse(start),
            max_sessions=most,
            per_page=per_page,
        )
        title = f"{suite}, branch {branch}" if branch else str(suite)
        complete = await _walk(paginator, _session_writer(form, output, title), messages)
    if form == "table":
        more = "" if complete else "; older ones: --all, or --max N"
        messages.say((_spent(paginator) + more, "dim"))


async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    format: Format | None = None,  # noqa: A002 - the option's name
    names: Names = Names(),
    connection: Connection = Connection(),
) -> None:
    """Print the suites of a project.

    Args:
        project: WORKSPACE/PROJECT; or less, with -w and -p.
        format: By default a table on a terminal, else jsonl.
        names: What the project leaves out.
        connection: Where to read.
    """
    workspace, project = names.complete(project, "workspace/project")
    output, messages = Output(), Output(stderr=True)
    async with connection.open(messages) as buddy:
        suites = await buddy.suites(workspace, project)
    form = _format(format)
    if form == "table":
        output.print(suite_table(suites))
    elif form == "csv":
        Csv(sys.stdout, suite_columns()).write(suites)
    else:
        JsonLines(sys.stdout).write(suites)


def _format(asked: Format | None) -> Format:
    return asked or ("table" if sys.stdout.isatty() else "jsonl")


def _session_writer(form: Format, output: Output, title: str) -> Writer:
    if form == "table":
        return SessionTable(output, title=title)
    return Csv(sys.stdout, session_columns()) if form == "csv" else JsonLines(sys.stdout)


async def _walk(paginator: SessionPaginator, writer: Writer, messages: Output) -> bool:
    """Write all sessions, page by page; return whether they were all that there are to be had."""
    complete = True
    # Where stdout is a terminal too, what is printed there is progress enough.
    with messages.progress(shown=not sys.stdout.isatty()) as show:
        async with aclosing(paginator.pages()) as pages:
            try:
                async for page in pages:
                    writer.write(page.sessions)
                    complete = page.last
                    show(_spent(paginator))
            except asyncio.CancelledError:
                if paginator.cursor:
                    messages.say(*resume(paginator.cursor))
                raise
    return complete


def _spent(paginator: SessionPaginator) -> str:
    stats = paginator.stats
    again = f" ({stats.retries} repeated)" if stats.retries else ""
    return f"{count(stats.sessions, 'session')}, {count(stats.requests, 'request')}{again}"
