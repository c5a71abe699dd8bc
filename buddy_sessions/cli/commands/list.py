"""The command `list`: print the sessions of one suite."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from buddy_sessions import ConfigError, Cursor, Session, SessionPaginator, SuiteKey

from ..formats.formatting import format_count, format_requests
from ..formats.tables import SessionTable
from ..formats.writers import SESSION_COLUMNS, Format, make_writer, session_row
from ..keys import KeyDefaults, parse_argument
from ..options import Connection, Printing, Verbosity
from ..output import Output
from ..times import Since

_TABLE_LIMIT = 50
"""The default number of rows of a table, which one request can return."""


async def list_sessions(
    key: str,
    /,
    *,
    branch: str | None = None,
    after: NonNegativeInt | None = None,
    since: Since = None,
    limit: PositiveInt | None = None,
    no_limit: Annotated[bool, Parameter(name="--all", show_default=False)] = False,
    cursor: str | None = None,
    per_page: PositiveInt = 100,
    printing: Printing = Printing(),
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
    connection: Connection = Connection(),
) -> None:
    """Print the sessions of a suite, newest first.

    For example:

    - buddy-sessions list acme/storefront/MNbyVedg --branch main --since 7d
    - buddy-sessions list MNbyVedg -w acme -p storefront --json --limit 5

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, or the URL of a suite. With -w and -p, SUITE_ID is enough.
        branch: Only sessions of this branch.
        after: Only sessions with a higher relative_id.
        since: Only sessions created in the last 24h, 7d or 2w, or since a time such as 2026-01-31 (UTC).
        limit: Maximum number of sessions (default: 50 in a table, otherwise all).
        no_limit: Print all sessions, also in a table.
        cursor: Position from which to continue an earlier read, such as 118@40. An interrupted list prints it; in
            Python, it is str(sessions.cursor).
        per_page: Sessions per request.
        printing: How data is printed.
        verbosity: What is printed to stderr.
        defaults: Completes the key.
        connection: How to reach Buddy.
    """
    if no_limit and limit is not None:
        raise ConfigError("--all and --limit exclude each other: use one of them")
    suite = defaults.parse_suite(key)
    output, messages = Output(), verbosity.open()
    output_format = printing.choose()
    is_default_limit = output_format == "table" and not no_limit and limit is None
    if is_default_limit:
        limit = _TABLE_LIMIT
    async with connection.open_client(messages, keys=[key]) as buddy:
        paginator = buddy.sessions(
            suite,
            branch=branch,
            after=after,
            since=since,
            cursor=parse_argument(Cursor.parse, cursor) if cursor is not None else None,
            max_sessions=limit,
            per_page=per_page,
        )
        write = _session_writer(output_format, output, suite, branch=branch)
        is_complete = await _write_pages(paginator, write, messages)
    if output_format == "table":
        more = "; for older sessions add --all or --limit N" if is_default_limit and not is_complete else ""
        messages.print_note(_summary(paginator) + more)


def _session_writer(
    output_format: Format, output: Output, suite: SuiteKey, *, branch: str | None
) -> Callable[[Sequence[Session]], None]:
    key = str(suite)
    if output_format == "table":
        return SessionTable(output, title=f"{key}, branch {branch}" if branch else key).write
    writer = make_writer(output_format, sys.stdout, SESSION_COLUMNS)
    return lambda sessions: writer.write({"key": key, **session_row(session)} for session in sessions)


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
