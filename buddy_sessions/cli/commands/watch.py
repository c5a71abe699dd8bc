"""The command `watch`: print new, changed and finished sessions as they happen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.types import PositiveFloat
from rich.text import Text

from buddy_sessions import (
    BuddyClient,
    BuddyError,
    Change,
    Session,
    SessionStore,
    SuiteKey,
    TestCase,
    to_dict,
)

from ..errors import error_text
from ..files import resolve_file
from ..formats.case_tables import name_text, outcome_text
from ..formats.formatting import UNKNOWN, format_count, format_duration, one_line
from ..formats.tables import grid, number_text, status_text
from ..formats.writers import KEYED_SESSION_COLUMNS, Format, case_row, keyed_rows, make_writer
from ..options import Access, Branch, Keys, Printing, Source
from ..output import Output
from ..suite_selection import open_selection

_STATUS_WIDTH = len("✔ running")
_INDENT = " " * len("12:30:00")
_MAX_FAILING = 20  # printed tests of one session


async def watch_suites(
    *key: Keys,
    source: Source = None,
    interval: PositiveFloat = 60.0,
    branch: Branch = None,
    db: Path | None = None,
    failures: Annotated[bool, Parameter(show_default=False)] = False,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> None:
    """Print new, changed and finished sessions as they happen, until Ctrl-C.

    A rejected token or an unknown suite ends the command. A suite that fails later is reported once, and retried at
    longer intervals. It does not stop the others. A project stands for the suites that it has at the start. JSON lines
    also contain the session before the change.

    For example:

    - buddy-sessions watch acme/storefront --branch main --failures
    - buddy-sessions watch acme/storefront/MNbyVedg --db watch.db --json

    Args:
        interval: Seconds between two checks of a suite.
        db: SQLite file for the state of the watch. The next watch with this file continues where this one stopped.
        failures: Name the failing tests of each session that starts to fail, with two requests per session. jsonl and
            csv list them in the field "failing": null if they could not be read, empty for other sessions.
    """
    output_format = printing.choose()
    path = resolve_file(db, source=source) if db is not None else None
    messages = access.verbosity.open()
    async with AsyncExitStack() as stack:
        selection = stack.enter_context(open_selection(key, source, access.defaults))
        store = await stack.enter_async_context(SessionStore(path)) if path is not None else None
        buddy = await stack.enter_async_context(access.connection.open_client(messages, keys=key))
        suites = [suite async for suite in selection.suites(buddy)]
        if selection.failures:
            raise next(iter(selection.failures.values()))
        if store is None:
            watch = buddy.watch(suites, interval=interval, branch=branch)
        else:
            watch = store.watch(buddy, suites, interval=interval, branch=branch)
        await stack.enter_async_context(watch)
        if messages.is_terminal:
            messages.print_note(f"watching {format_count(len(suites), 'suite')} every {interval:g} s, until Ctrl-C")
        write = _change_writer(output_format, with_failures=failures)
        changes = 0
        try:
            async for change in watch:
                write(change, await _read_failing(buddy, change, messages) if failures else [])
                changes += 1
        except asyncio.CancelledError:
            saved = f"; the next watch with --db {db} continues from here" if db is not None else ""
            messages.print_problem("interrupted", format_count(changes, "change") + saved)
            raise


async def _read_failing(buddy: BuddyClient, change: Change, messages: Output) -> list[TestCase] | None:
    """Return the failing tests of a session that starts to fail; for other changes, an empty list."""
    if not change.session.is_failing or (change.previous is not None and change.previous.is_failing):
        return []
    try:
        return await buddy.failures(change.suite, change.session)
    except BuddyError as error:
        messages.print_problem(
            "failed", f"failing tests of {change.suite} #{change.session.relative_id}: {error_text(error)}"
        )
        return None


def _change_writer(output_format: Format, *, with_failures: bool) -> Callable[[Change, list[TestCase] | None], None]:
    if output_format == "table":
        output = Output()
        return lambda change, failing: _print(output, change, failing or ())
    columns = ("kind", *KEYED_SESSION_COLUMNS, *(["failing"] if with_failures else []))
    writer = make_writer(output_format, sys.stdout, columns)

    def write(change: Change, failing: list[TestCase] | None) -> None:
        row = _row(change)
        if with_failures:
            row["failing"] = None if failing is None else [case_row(case) for case in failing]
        writer.write([row])

    return write


def _row(change: Change) -> dict[str, Any]:
    previous = None if change.previous is None else to_dict(change.previous)
    (row,) = keyed_rows(change.suite, [change.session])
    return {"key": row["key"], "kind": change.kind.value, **row, "previous": previous}


def _print(output: Output, change: Change, failing: Sequence[TestCase]) -> None:
    """Print a change, and the failing tests below it."""
    session = change.session
    status = status_text(session)
    status.pad_right(max(0, _STATUS_WIDTH - len(status)))
    time = Text(f"{datetime.now().astimezone():%H:%M:%S}", "dim")
    _print_row(output, time, f"{change.kind.lower():8}", status, _result_text(change.suite, session))
    for case in failing[:_MAX_FAILING]:
        _print_row(output, _INDENT, outcome_text(case.status), name_text(case.key))
    if len(failing) > _MAX_FAILING:
        _print_row(output, _INDENT, Text(f"and {len(failing) - _MAX_FAILING:,} more", "dim"))


def _print_row(output: Output, *cells: str | Text) -> None:
    """Print texts next to each other. If they are too long for the terminal, the last one is wrapped."""
    table = grid()
    table.show_header = False
    for _ in cells[:-1]:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*cells)
    output.print(table)


def _result_text(suite: SuiteKey, session: Session) -> Text:
    """Return the suite, number, branch and result of a session."""
    duration = f"  {format_duration(session.duration)}" if session.is_finished and session.duration is not None else ""
    failed = f", {session.failed_count:,} failed" if session.failed_count else ""
    return Text.assemble(
        f"{one_line(str(suite))} ",
        number_text(session),
        f"  {one_line(session.ref_name or UNKNOWN)}{duration}{failed}",
    )
