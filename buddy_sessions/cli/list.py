"""The command `list`: print the sessions of one suite."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from buddy_sessions import ConfigError, Cursor, Session, SessionPaginator, to_dict

from .formatting import format_count, format_requests
from .options import Connection, KeyDefaults, parse_argument, to_utc
from .output import Output
from .tables import SessionTable
from .writers import SESSION_COLUMNS, Format, choose_format, make_writer

_TABLE_LIMIT = 50
"""The default number of rows of a table, which one request can return."""


async def list_sessions(
    key: str,
    /,
    *,
    branch: str | None = None,
    after: NonNegativeInt | None = None,
    since: datetime | None = None,
    limit: PositiveInt | None = None,
    no_limit: Annotated[bool, Parameter(name="--all", show_default=False)] = False,
    cursor: str | None = None,
    per_page: PositiveInt = 100,
    format: Format | None = None,  # noqa: A002 - the name of the option
    defaults: KeyDefaults = KeyDefaults(),
    connection: Connection = Connection(),
) -> None:
    """Print the sessions of a suite, newest first.

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, a part of it that -w and -p complete, or the URL of a suite.
        branch: Only sessions of this branch.
        after: Only sessions with a higher relative_id.
        since: Only sessions created at this time or later, such as 2026-01-31 (UTC).
        limit: Maximum number of sessions (default: 50 in a table, otherwise all).
        no_limit: Print all sessions, also in a table.
        cursor: Position from which to continue an earlier read, such as 118@40.
        per_page: Sessions per request.
        format: Output format (default: table on a terminal, otherwise jsonl). In csv, a text that a spreadsheet would
            take for a formula is preceded by '.
        defaults: Completes the key.
        connection: How to reach Buddy.
    """
    if no_limit and limit is not None:
        raise ConfigError("--all and --limit exclude each other: use one of them")
    suite = defaults.parse_suite(key)
    output, messages = Output(), Output(stderr=True)
    output_format = choose_format(format)
    if output_format == "table" and not no_limit and limit is None:
        limit = _TABLE_LIMIT
    async with connection.open_client(messages) as buddy:
        paginator = buddy.sessions(
            suite,
            branch=branch,
            after=after,
            since=to_utc(since),
            cursor=parse_argument(Cursor.parse, cursor) if cursor is not None else None,
            max_sessions=limit,
            per_page=per_page,
        )
        write = _session_writer(output_format, output, title=f"{suite}, branch {branch}" if branch else str(suite))
        is_complete = await _write_pages(paginator, write, messages)
    if output_format == "table":
        more = "" if is_complete else "; for older sessions add --all or --limit N"
        messages.print_note(_summary(paginator) + more)


def _session_writer(output_format: Format, output: Output, *, title: str) -> Callable[[Sequence[Session]], None]:
    if output_format == "table":
        return SessionTable(output, title=title).write
    writer = make_writer(output_format, sys.stdout, SESSION_COLUMNS)
    return lambda sessions: writer.write(map(to_dict, sessions))


async def _write_pages(
    paginator: SessionPaginator, write: Callable[[Sequence[Session]], None], messages: Output
) -> bool:
    """Write all pages, and return whether they reach the end of the list."""
    is_complete = True
    with messages.progress(enabled=not sys.stdout.isatty()) as show:
        async with aclosing(paginator.pages()) as pages:
            try:
                async for page in pages:
                    write(page.sessions)
                    is_complete = page.is_last
                    show(_summary(paginator))
            except asyncio.CancelledError:
                if paginator.cursor:
                    messages.print_resume_hint(paginator.cursor)
                raise
    return is_complete


def _summary(paginator: SessionPaginator) -> str:
    stats = paginator.stats
    return f"{format_count(stats.sessions, 'session')}, {format_requests(stats)}"
