"""The command `sync`: keep a SQLite database of sessions up to date."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from buddy_sessions import ConfigError, SessionStore

from ..exit_codes import ExitCode
from ..files import resolve_file
from ..formats.formatting import format_count
from ..formats.progress import HarvestProgress
from ..formats.tables import SuiteSummary
from ..keys import KeyDefaults
from ..options import FROM, Connection, Verbosity
from ..output import Output
from ..suite_selection import open_selection
from ..times import Since


async def sync_suites(
    *key: str,
    source: Annotated[str | None, FROM] = None,
    db: Path,
    branch: str | None = None,
    after: NonNegativeInt | None = None,
    since: Since = None,
    cases: Literal["failed", "all"] | None = None,
    full: Annotated[bool, Parameter(show_default=False)] = False,
    concurrency: PositiveInt = 8,
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
    connection: Connection = Connection(),
) -> ExitCode:
    """Keep a SQLite database up to date with the sessions of many suites.

    Reads only new and unfinished sessions, and those that earlier syncs did not reach: one request for a suite without
    any. Each page is saved at once, so the next sync continues after a failure or Ctrl-C. A suite that fails does not
    stop the others.

    For example:

    - buddy-sessions sync acme/storefront --db sessions.db
    - buddy-sessions sync --from suites.txt --db sessions.db --cases failed

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, WORKSPACE/PROJECT for all suites of a project, or a URL. With -w and -p,
            SUITE_ID is enough, or no key for the project.
        source: File with more keys, one per line; - for stdin. Blank lines and lines that begin with # are ignored.
        db: SQLite file. It is created if it does not exist.
        branch: Only sessions of this branch. Each sync reads the whole branch.
        after: Only sessions with a higher relative_id, in every suite.
        since: Only sessions created in the last 24h, 7d or 2w, or since a time such as 2026-01-31 (UTC).
        cases: Save test cases of finished sessions, too: only those that failed, with their messages, or all. A session
            costs one request for each 100 cases, and one for each failed case.
        full: Read every page again, whatever the database contains, and report what was wrong.
        concurrency: Maximum number of requests at once.
        verbosity: What is printed to stderr.
        defaults: Completes the keys.
        connection: How to reach Buddy.
    """
    if full and branch is not None:
        raise ConfigError("--full and --branch exclude each other: each sync of a branch reads the whole branch")
    path = resolve_file(db, source=source)
    messages = verbosity.open()
    summary = SuiteSummary(only_new=True)
    async with AsyncExitStack() as stack:
        targets = stack.enter_context(open_selection(key, source, defaults))
        client = connection.open_client(messages, keys=key, max_concurrency=concurrency)
        buddy = await stack.enter_async_context(client)
        store = await stack.enter_async_context(SessionStore(path))
        sync = store.sync(
            buddy,
            targets.suites(buddy),
            branch=branch,
            after=after,
            since=since,
            cases=cases,
            full=full,
            on_failure="collect",
        )
        await stack.enter_async_context(sync)
        progress = HarvestProgress(buddy, targets, sync, noun="new or changed session", with_cases=cases is not None)
        after_interrupt = f"all sessions read so far are saved in {db}"
        with progress.keep_error(messages), progress.show(messages, after_interrupt=after_interrupt):
            async for page in sync.pages():
                summary.add(page.suite, page.sessions)
        await connection.add_suggestion(progress.failures.values())
    if sys.stdout.isatty():
        summary.print_to(Output(), exclude=sync.failures)
    messages.print_note(progress.summary())
    is_complete = progress.exit_code == ExitCode.DONE
    if full and is_complete and progress.stats.verified and not progress.stats.repaired:
        messages.print_note("the full check found nothing wrong: no session was missing or wrongly marked")
    stats = progress.stats
    if stats.suites or stats.sessions or stats.cases:
        messages.print_written(
            db,
            format_count(stats.sessions, "new or changed session"),
            format_count(stats.cases, "test case") if cases is not None else "",
            "" if is_complete else "the next sync reads the rest",
        )
    else:
        messages.print_note(f"Nothing was saved in {db}: no suite was read")
    progress.print_failures(messages, resumable=False)
    return progress.exit_code
