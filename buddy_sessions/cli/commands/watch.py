"""The command `watch`: print new, changed and finished sessions as they happen, or when suites turn red and green."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from buddy_sessions import (
    MAIN,
    Change,
    Main,
    Session,
    SessionStore,
    StatusChange,
    StatusWatch,
    TestCase,
    Watch,
    to_dict,
)
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions._export import KEYED_SESSION_COLUMNS, case_row, keyed_rows, resolve_file, session_row

from ..errors import ExitCode, exit_code_of
from ..options import Access, BranchOption, Flag, FromFile, Keys, TableFormat, lacks_branch
from ..render.console import Output
from ..render.show import choose_format, make_writer
from ..render.text import (
    UNKNOWN,
    author_text,
    name_text,
    number_text,
    one_line,
    revision_text,
    session_duration,
    status_mark,
    status_text,
)
from ..suite_selection import SuiteSelection
from ..values import FILE, Timeout

_STATUS_WIDTH = len("✔ running")
_GAP = Text("  ")
_INDENT = " " * len("12:30:00  ")
_MAX_TESTS = 20  # printed tests of one kind

_Branch = Annotated[BranchOption, Parameter(help="Branch to watch (default: all; with --status, the main branch).")]


async def command(
    *key: Keys,
    status: Flag = False,
    branch: _Branch = MAIN,
    from_file: FromFile = None,
    interval: Timeout = 60.0,
    db: Annotated[Path | None, FILE] = None,
    on_failure: Annotated[Literal["raise", "retry"], Parameter(metavar="ACTION")] = "raise",
    output_format: TableFormat = None,
    access: Access = Access(),
) -> ExitCode:
    """Print new, changed and finished sessions, or the status of suites, as they change, until Ctrl-C.

    If the first poll of a suite fails because the token is rejected or the suite is unknown, the command ends, unless
    --on-failure is retry. A later failure is reported once; the suite is then polled less often. Of one project or
    workspace, suites that are created later are watched, too. JSON lines also contain the session before the change.

    For example:

    - buddy-sessions watch acme/storefront --branch main
    - buddy-sessions watch acme/storefront --status --db watch.db

    Args:
        interval: Time between two polls of a suite (default: 1m).
        db: SQLite file for the state of the watch. The next watch with this file continues where this one stopped.
            Several bots need several files.
        on_failure: With retry, a suite that is unknown at the start is reported, and the watch goes on.
        status: Print the current status of each suite, then when it turns red or green, or other tests fail.
    """
    path = resolve_file(db, source=from_file and from_file.name) if db is not None else None
    messages = access.messages()
    selection = SuiteSelection(key, from_file, defaults=access.defaults)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(SessionStore(path)) if path is not None else None
        buddy = await stack.enter_async_context(access.connection.open_client(messages))
        suites = list(await selection.resolve(buddy))
        messages.print_failures(selection.failures)
        if selection.failures and (on_failure == "raise" or not suites):
            return exit_code_of(next(iter(selection.failures.values())))
        if isinstance(branch, str):
            await lacks_branch(buddy, branch, await buddy.status(suites[:1], branch=branch), messages)
        watch: Watch | StatusWatch
        if status:
            watch_status = buddy.watch_status if store is None else partial(store.watch_status, buddy)
            watch = watch_status(selection.followed or suites, interval=interval, branch=branch, on_failure=on_failure)
        else:
            new_watch = buddy.watch if store is None else partial(store.watch, buddy)
            selected = None if isinstance(branch, Main) else branch
            watch = new_watch(selection.followed or suites, interval=interval, branch=selected, on_failure=on_failure)
        await stack.enter_async_context(watch)
        if messages.is_terminal:
            pause = format_duration(interval)
            messages.print_note(f"watching {format_count(len(suites), 'suite')} every {pause}, until Ctrl-C")
        write = _printer(choose_format(output_format), status=status)
        async for change in watch:
            write(change)
    return ExitCode.DONE


def _printer(output_format: str, *, status: bool) -> Callable[[Change | StatusChange], None]:
    if output_format == "table":
        return partial(_print_line, Output())
    fields = ("since", "since_date", "newly_failing", "no_longer_failing") if status else ()
    writer = make_writer(output_format, sys.stdout, ("kind", *KEYED_SESSION_COLUMNS, *fields))

    def write(change: Change | StatusChange) -> None:
        session, previous, tests = _parts(change)
        (row,) = keyed_rows(change.suite, [session])
        former = None if previous is None else session_row(previous, emails=False)
        row = {"key": row["key"], "kind": change.kind.value, **row, "previous": former}
        row |= {name: list(map(case_row, cases)) for name, cases in tests.items()}
        if isinstance(change, StatusChange):
            turned = change.since.turning_session
            row |= {"since": turned.relative_id, "since_date": to_dict(turned)["create_date"]}
        writer.write([row])

    return write


def _parts(change: Change | StatusChange) -> tuple[Session, Session | None, dict[str, Sequence[TestCase]]]:
    """Return the session of a change, the one before, and the tests that are named, by the name of their field."""
    if not isinstance(change, StatusChange):
        return change.session, change.previous, {}
    previous = None if change.previous is None else change.previous.session
    tests = {"newly_failing": change.newly_failing, "no_longer_failing": change.no_longer_failing}
    return change.commit.session, previous, {**tests}


def _print_line(output: Output, change: Change | StatusChange) -> None:
    session, previous, tests = _parts(change)
    is_status = isinstance(change, StatusChange)
    status = status_text(session)
    status.pad_right(max(0, _STATUS_WIDTH - len(status)))
    time = Text(f"{datetime.now().astimezone():%H:%M:%S}", "dim")
    kind = change.kind.lower().replace("_", " ").ljust(len("still failing" if is_status else "finished"))
    duration = session_duration(session)
    failed = f", {count:,} failed" if (count := session.failing_count) else ""
    suite = Text.assemble(f"{one_line(str(change.suite))} ", number_text(session))
    result = f"{one_line(session.ref_name or UNKNOWN)}{duration and f'  {duration}'}{failed}"
    output.print_line(_GAP.join([time, Text(kind), status, suite, Text(result)]))
    origin = [text for text in (revision_text(session), author_text(session)) if text.plain != UNKNOWN]
    if is_status and previous is not None and origin:
        output.print_line(_INDENT, _GAP.join(origin))
    for name, cases in tests.items():
        for case in cases[:_MAX_TESTS]:
            outcome = Text("no longer failing", "dim") if name == "no_longer_failing" else status_mark(case.status)
            output.print_line(_INDENT, _GAP.join([outcome, name_text(case.key)]))
        if len(cases) > _MAX_TESTS:
            output.print_line(_INDENT, Text(f"and {len(cases) - _MAX_TESTS:,} more", "dim"))
