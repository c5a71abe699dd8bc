"""The command `watch`: print new, changed and finished sessions as they happen, or when suites turn red and green."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Literal

from buddy_sessions import MAIN, ConfigError, SessionStore, StatusWatch, Watch
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions._export.session_files import resolve_file

from ..errors import error_text
from ..input.suite_selection import SuiteSelection
from ..input.times import Duration
from ..options import Access, BranchOptions, Flag, Keys, Printing, Source
from ..render.change_lines import change_printer


async def watch_suites(
    *key: Keys,
    status: Flag = False,
    branches: BranchOptions = BranchOptions(),
    source: Source = None,
    interval: Duration = 60.0,
    db: Path | None = None,
    name: str = "default",
    on_failure: Literal["raise", "retry"] = "raise",
    printing: Printing = Printing(),
    access: Access = Access(),
) -> None:
    """Print new, changed and finished sessions, or the status of suites, as they change, until Ctrl-C.

    A rejected token or an unknown suite ends the command, unless --on-failure is retry. A suite that fails later is
    reported once, and retried at longer intervals. It does not stop the others. A suite that is added to a project
    later is not watched. Without --status, sessions of all branches are printed, unless --branch names one. JSON lines
    also contain the session before the change.

    For example:

    - buddy-sessions watch acme/storefront --branch main
    - buddy-sessions watch acme/storefront --status --db watch.db --json

    Args:
        interval: Time between two polls of a suite (default: 1m).
        db: SQLite file for the state of the watch. The next watch with this file continues where this one stopped.
        name: Name of the watch in the file, for several bots with one file. Only one watch of a name can run.
        on_failure: retry: a suite that is unknown at the start is treated like one that fails later.
        status: Print the current status of each suite, then when it turns red or green, or other tests fail. jsonl and
            csv list the tests in the fields "newly_failing" and
            "no_longer_failing".
    """
    output_format, branch = printing.choose(), branches.choose()
    path = resolve_file(db, source=source and source.name) if db is not None else None
    if path is None and name != "default":
        raise ConfigError("--name is the name of a saved state: add --db FILE, or leave it out")
    messages = access.verbosity.open()
    selection = SuiteSelection(key, source, defaults=access.defaults)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(SessionStore(path)) if path is not None else None
        buddy = await stack.enter_async_context(access.connection.open_client(messages))
        suites = [suite async for suite in selection.suites(buddy)]
        for group, error in selection.failures.items():
            if on_failure == "raise" or not suites:
                raise error
            messages.print_problem("failed", f"{group}: {error_text(error)}")
        watch: Watch | StatusWatch
        if status:
            watch_status = buddy.watch_status if store is None else partial(store.watch_status, buddy, name=name)
            watch = watch_status(suites, interval=interval, branch=branch, on_failure=on_failure)
        else:
            new_watch = buddy.watch if store is None else partial(store.watch, buddy, name=name)
            read = None if branch is MAIN else branch
            watch = new_watch(suites, interval=interval, branch=read, on_failure=on_failure)
        await stack.enter_async_context(watch)
        if messages.is_terminal:
            pause = format_duration(interval)
            messages.print_note(f"watching {format_count(len(suites), 'suite')} every {pause}, until Ctrl-C")
        write = change_printer(output_format, status=status)
        changes = 0
        try:
            async for change in watch:
                write(change)
                changes += 1
        except asyncio.CancelledError:
            saved = f"; the next watch with --db {db} continues from here" if db is not None else ""
            messages.print_problem("interrupted", format_count(changes, "change") + saved)
            raise
