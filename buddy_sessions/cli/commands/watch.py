"""The command `watch`: print new, changed and finished sessions as they happen, or when suites turn red and green."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat
from rich.text import Text

from buddy_sessions import (
    MAIN,
    Change,
    ConfigError,
    Session,
    SessionStore,
    StatusChange,
    StatusWatch,
    SuiteKey,
    TestCase,
    Watch,
    to_dict,
)
from buddy_sessions._export.files import resolve_file
from buddy_sessions._export.rows import KEYED_SESSION_COLUMNS, case_row, keyed_rows
from buddy_sessions.analysis.judgement import count_failing

from ..input.suite_selection import SuiteSelection
from ..options import Access, BranchOptions, Keys, Printing, Source
from ..render.console import Output
from ..render.rows import make_writer
from ..render.styled import name_text, number_text, outcome_text, status_text
from ..render.table import grid
from ..render.text import UNKNOWN, format_count, format_duration, one_line

_STATUS_WIDTH = len("✔ running")
_INDENT = " " * len("12:30:00")
_MAX_TESTS = 20  # printed tests of one kind


async def watch_suites(
    *key: Keys,
    source: Source = None,
    interval: PositiveFloat = 60.0,
    branches: BranchOptions = BranchOptions(),
    db: Path | None = None,
    name: str = "default",
    status: Annotated[bool, Parameter(show_default=False)] = False,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> None:
    """Print new, changed and finished sessions, or the status of suites, as they change, until Ctrl-C.

    A rejected token or an unknown suite ends the command. A suite that fails later is reported once, and retried at
    longer intervals. It does not stop the others. Of a project, the suites at the start are watched. JSON lines also
    contain the session before the change.

    For example:

    - buddy-sessions watch acme/storefront --branch main
    - buddy-sessions watch acme/storefront --status --db watch.db --json

    Args:
        interval: Seconds between two polls of a suite.
        db: SQLite file for the state of the watch. The next watch with this file continues where this one stopped.
        name: Name of the watch in the file, for several bots with one file. Only one watch of a name can run.
        status: Print the current status of each suite, then when it turns red or green, or other tests fail. jsonl and
            csv list the tests in the fields "newly_failing" and "fixed".
    """
    output_format, branch = printing.choose(), branches.choose()
    path = resolve_file(db, source=source and source.name) if db is not None else None
    if path is None and name != "default":
        raise ConfigError("--name is the name of a saved state: add --db FILE, or leave it out")
    messages = access.verbosity.open()
    selection = SuiteSelection(key, source, defaults=access.defaults)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(SessionStore(path)) if path is not None else None
        buddy = await stack.enter_async_context(access.connection.open_client(messages, keys=key))
        suites = [suite async for suite in selection.suites(buddy)]
        if selection.failures:
            raise next(iter(selection.failures.values()))
        watch: Watch | StatusWatch
        if status and store is not None:
            watch = store.watch_status(buddy, suites, name=name, interval=interval, branch=branch)
        elif status:
            watch = buddy.watch_status(suites, interval=interval, branch=branch)
        else:
            new_watch = buddy.watch if store is None else partial(store.watch, buddy, name=name)
            watch = new_watch(suites, interval=interval, branch=None if branch is MAIN else branch)
        await stack.enter_async_context(watch)
        if messages.is_terminal:
            messages.print_note(f"watching {format_count(len(suites), 'suite')} every {interval:g} s, until Ctrl-C")
        write = _change_writer(output_format, status=status)
        changes = 0
        try:
            async for change in watch:
                write(change)
                changes += 1
        except asyncio.CancelledError:
            saved = f"; the next watch with --db {db} continues from here" if db is not None else ""
            messages.print_problem("interrupted", format_count(changes, "change") + saved)
            raise


def _tests(change: Change | StatusChange) -> dict[str, Sequence[TestCase]]:
    """Return the tests of a change of the status, by the name of their field."""
    return {"newly_failing": change.newly_failing, "fixed": change.fixed} if isinstance(change, StatusChange) else {}


def _change_writer(output_format: str, *, status: bool) -> Callable[[Change | StatusChange], None]:
    """Return a function that writes a change."""
    if output_format == "table":
        return partial(_print, Output())
    fields = ("newly_failing", "fixed") if status else ()
    writer = make_writer(output_format, sys.stdout, ("kind", *KEYED_SESSION_COLUMNS, *fields))

    def write(change: Change | StatusChange) -> None:
        previous = None if change.previous is None else to_dict(change.previous)
        (row,) = keyed_rows(change.suite, [change.session])
        rows = {name: list(map(case_row, cases)) for name, cases in _tests(change).items()}
        writer.write([{"key": row["key"], "kind": change.kind.value, **row, "previous": previous, **rows}])

    return write


def _print(output: Output, change: Change | StatusChange) -> None:
    """Print a change, and the tests below it."""
    session = change.session
    status = status_text(session)
    status.pad_right(max(0, _STATUS_WIDTH - len(status)))
    time = Text(f"{datetime.now().astimezone():%H:%M:%S}", "dim")
    width = len("still failing") if isinstance(change, StatusChange) else len("finished")
    kind = change.kind.lower().replace("_", " ").ljust(width)
    _print_row(output, time, kind, status, _result_text(change.suite, session))
    for name, cases in _tests(change).items():
        for case in cases[:_MAX_TESTS]:
            outcome = Text("✔ fixed", "green") if name == "fixed" else outcome_text(case.status)
            _print_row(output, _INDENT, outcome, name_text(case.key))
        if len(cases) > _MAX_TESTS:
            _print_row(output, _INDENT, Text(f"and {len(cases) - _MAX_TESTS:,} more", "dim"))


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
    """Return the suite, `relative_id`, branch and result of a session."""
    duration = f"  {format_duration(session.duration)}" if session.is_finished and session.duration is not None else ""
    failed = f", {count:,} failed" if (count := count_failing(session)) else ""
    return Text.assemble(
        f"{one_line(str(suite))} ",
        number_text(session),
        f"  {one_line(session.ref_name or UNKNOWN)}{duration}{failed}",
    )
