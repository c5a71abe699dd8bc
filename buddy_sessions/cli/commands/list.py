"""The command `list`: print the sessions of one suite."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from rich.text import Text

from buddy_sessions import Session, SessionPaginator, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import KEYED_SESSION_COLUMNS, Row, keyed_rows

from ..options import Access, After, Branch, Count, Emails, Key, TableFormat, check_branch
from ..render.console import Output
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import choose_format, default_limit, make_writer, print_result
from ..render.text import (
    UNKNOWN,
    age_of,
    author_text,
    link,
    plain,
    ref_name,
    revision_text,
    session_duration,
    status_text,
)
from ..values import Since

_COLUMNS = (
    Column("#"),
    Column("STATUS", is_number=False),
    *map(Column, ("AGE", "TIME", "FAIL")),
    Column("BRANCH", is_number=False, can_be_cut=True),
    Column("COMMIT", is_number=False),
    Column("AUTHOR", is_number=False, can_be_cut=True),
)


async def command(
    key: Key,
    /,
    *,
    branch: Branch = None,
    after: After = None,
    since: Since = None,
    limit: Count | None = None,
    output_format: TableFormat = None,
    emails: Emails = False,
    access: Access = Access(),
) -> None:
    """Print the sessions of a suite, newest first.

    For example:

    - buddy-sessions list acme/storefront/MNbyVedg --branch main --since 7d
    - buddy-sessions list MNbyVedg -w acme -p storefront --limit 5

    Args:
        limit: Maximum number of sessions (default: 50 in a table, otherwise all).
    """
    suite = access.defaults.parse_suite(key)
    messages, chosen = access.messages(), choose_format(output_format)
    most = limit or default_limit(output_format)
    async with access.connection.open_client(messages) as buddy:
        paginator = buddy.sessions(suite, branch=branch, after=after, since=since, max_sessions=most)
        writer = make_writer(chosen, sys.stdout, KEYED_SESSION_COLUMNS) if chosen != "table" else None
        shown: list[Session] = []  # a table is printed when all of them are known
        with messages.progress(enabled=not sys.stdout.isatty()) as show:
            async with aclosing(paginator.pages()) as pages:
                async for page in pages:
                    if writer is None:
                        shown += page.sessions
                    else:
                        writer.write(keyed_rows(suite, page.sessions, emails=emails))
                    show(_summary(paginator))
        if not paginator.stats.sessions:
            messages.print_warning(await check_branch(buddy, suite, branch))
    if writer is None:
        print_result(Output(), sessions_result(suite, shown, branch=branch))
        more = "; for older sessions add --limit N" if limit is None and len(shown) == most else ""
        messages.print_note(f"{_summary(paginator)}{more}")


def sessions_result(suite: SuiteKey, sessions: Sequence[Session], *, branch: str | None) -> CommandResult:
    """Return the sessions of a suite."""
    now = datetime.now(UTC)

    def describe(session: Session, row: Row) -> Item:
        failing = session.failing_count
        cells = (
            link(Text(str(session.relative_id), "bold"), session.html_url),
            status_text(session),
            age_of(session.create_date, now),
            session_duration(session) or UNKNOWN,
            Text(UNKNOWN if failing is None else str(failing), "bold red" if failing else "dim"),
            plain(ref_name(session)),
            revision_text(session),
            author_text(session),
        )
        return Item(None, cells, row=row)

    return CommandResult(
        suite=suite,
        about=f"branch {branch}" if branch else "",
        columns=_COLUMNS,
        sections=[Section("", list(map(describe, sessions, keyed_rows(suite, sessions))))],
        csv_columns=KEYED_SESSION_COLUMNS,
    )


def _summary(paginator: SessionPaginator) -> str:
    stats = paginator.stats
    return f"{format_count(stats.sessions, 'session')}, {format_count(stats.requests, 'request')}"
