"""The command `list`: print the sessions of one suite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import Session, SessionPaginator, SessionStatus
from buddy_sessions._base.figures import format_count

from ..input.sources import check_branch
from ..input.times import Since
from ..options import Access, After, Branch, Count, Key, Printing
from ..render.show import session_printer

_TABLE_LIMIT = 50  # the default number of rows of a table, which one request can return


async def command(
    key: Key,
    /,
    *,
    branch: Branch = None,
    after: After = None,
    since: Since = None,
    status: Annotated[SessionStatus | None, Parameter(metavar="STATUS")] = None,
    limit: Count | None = None,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> None:
    """Print the sessions of a suite, newest first.

    For example:

    - buddy-sessions list acme/storefront/MNbyVedg --branch main --since 7d
    - buddy-sessions list acme/storefront/MNbyVedg --branch main --status successful --limit 1
    - buddy-sessions list MNbyVedg -w acme -p storefront --json --limit 5

    Args:
        status: Only sessions with this status. All sessions are read until --limit of them are found.
        limit: Maximum number of sessions (default: 50 in a table, otherwise all).
    """
    suite = access.defaults.parse_suite(key)
    messages, output_format = access.messages(), printing.choose()
    is_limited = output_format == "table" and limit is None
    async with access.connection.open_client(messages) as buddy:
        write = session_printer(output_format, suite, branch=branch)
        most = _TABLE_LIMIT if is_limited else limit
        paginator = buddy.sessions(
            suite,
            branch=branch,
            after=after,
            since=since,
            max_sessions=most if status is None else None,
        )
        with messages.progress(enabled=not sys.stdout.isatty()) as show:
            count = await _write_pages(paginator, write, show, status=status, most=most)
        if branch is not None and not paginator.stats.sessions:
            messages.print_warning(await check_branch(buddy, suite, branch))
    if output_format == "table":
        more = "; for older sessions add --limit N" if is_limited and count == most else ""
        messages.print_note(f"{_summary(paginator, count)}{more}")


async def _write_pages(
    paginator: SessionPaginator,
    write: Callable[[Sequence[Session]], None],
    show: Callable[[str], None],
    *,
    status: SessionStatus | None,
    most: int | None,
) -> int:
    """Print the sessions with a status, at most `most`, and return how many there are."""
    count = 0
    async with aclosing(paginator.pages()) as pages:
        async for page in pages:
            found = [session for session in page.sessions if status in {None, session.status}]
            found = found if most is None else found[: most - count]
            if found or page.is_last:
                write(found)
            count += len(found)
            show(_summary(paginator, count))
            if count == most:
                break
    return count


def _summary(paginator: SessionPaginator, count: int) -> str:
    stats = paginator.stats
    chosen = f"{count:,} of " if count != stats.sessions else ""
    return f"{chosen}{format_count(stats.sessions, 'session')}, {format_count(stats.requests, 'request')}"
