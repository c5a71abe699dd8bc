"""The command `sync`: keep a SQLite database of sessions up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts.types import NonNegativeInt

from buddy_sessions import BuddyError, Harvest, NotFoundError, SessionStore, StoreError
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_files import resolve_file
from buddy_sessions.models import CaseScope

from ..errors import ExitCode
from ..input.suite_selection import SuiteSelection
from ..input.times import Age, Duration
from ..options import BRANCH, Access, Flag, Keys, ReadOptions
from ..reading.suggestions import check_branch
from ..render.console import Output
from ..render.progress import HarvestProgress
from ..render.table import SuiteSummary


async def sync_suites(
    *key: Keys,
    db: Path,
    options: ReadOptions = ReadOptions(),
    cases: CaseScope | None = None,
    cases_branch: Annotated[str | None, BRANCH] = None,
    details: NonNegativeInt = 100,
    keep: Age | None = None,
    full: Flag = False,
    wait: Duration = 0.0,
    skip_if_busy: Flag = False,
    access: Access = Access(),
) -> ExitCode:
    """Keep a SQLite database up to date with the sessions of many suites.

    Reads only new and unfinished sessions, and those that earlier syncs did not reach: one request for a suite without
    any. Each page is saved at once, so the next sync continues after a failure or Ctrl-C. A suite that fails does not
    stop the others.

    For example:

    - buddy-sessions sync acme/storefront --db sessions.db
    - buddy-sessions sync --from suites.txt --db sessions.db --cases failed

    Args:
        db: SQLite file. It is created if it does not exist.
        cases: Save test cases of finished sessions, too: only those that failed, with their messages, or all. A session
            costs one request for each 100 cases, and one for each failed case whose message is read.
        cases_branch: Only the test cases of sessions of this branch. The sessions of all branches are always saved.
        details: Maximum number of failed cases of a session whose messages are read.
        keep: Delete the sessions of these suites that are older, such as 24h, 90d or 12w, and do not read them.
        full: Read every page again, except what was pruned, and report what was wrong.
        wait: How long to wait for another process that is syncing into the file, or pruning it, such as 10m.
        skip_if_busy: If another process is syncing into the file, or pruning it, do nothing, and end with exit code 0:
            for schedules that overlap.
    """
    path = resolve_file(db, source=options.source and options.source.name)
    messages, summary = access.verbosity.open(), SuiteSummary(only_new=True)
    selection = SuiteSelection(key, options.source, defaults=access.defaults)
    async with (
        access.connection.open_client(messages, max_concurrency=options.concurrency) as buddy,
        SessionStore(path) as store,
        store.sync(
            buddy,
            selection.suites(buddy),
            wait=wait,
            cases_branch=cases_branch,
            after=options.after,
            since=options.since,
            cases=cases,
            details=details,
            keep=keep,
            full=full,
            on_failure="collect",
        ) as sync,
    ):
        progress = HarvestProgress(buddy, selection, sync, noun="new or changed session", reads_cases=cases is not None)
        busy: StoreError | None = None
        with progress.run(messages, after_interrupt=f"all sessions read so far are saved in {db}"):
            busy = await _read(sync, summary)
        if busy is not None:
            if not skip_if_busy:
                raise busy
            messages.print_note(f"skipped: another process is syncing or pruning {db}")
            return ExitCode.DONE
        first = summary.first_suite
        if cases_branch and first and not await store.sessions(first, branch=cases_branch):
            messages.print_warning(await check_branch(buddy, first, cases_branch))
    if sys.stdout.isatty():
        summary.print_to(Output(), exclude=sync.failures)
    _print_outcome(messages, db, progress, full=full)
    return progress.exit_code


async def _read(sync: Harvest, summary: SuiteSummary) -> StoreError | None:
    """Read all pages. Return the error if another process is syncing into the file: then none was read."""
    try:
        async for page in sync.pages():
            summary.add(page.suite, page.sessions)
    except StoreError as error:
        if not error.retryable:
            raise
        return error
    return None


def _print_outcome(messages: Output, db: Path, progress: HarvestProgress, *, full: bool) -> None:
    """Print what a sync has saved, what failed, and whether one with --full has found nothing wrong."""
    messages.print_note(progress.summary())
    stats, is_complete = progress.stats, progress.exit_code == ExitCode.DONE
    if full and is_complete and stats.verified and not stats.repaired:
        messages.print_note("the full check found nothing wrong: no session was missing or wrongly marked")
    if stats.suites or stats.sessions or stats.cases:
        has_rest = progress.error or any(not _is_unknown(error) for error in progress.failures.values())
        remaining = "the next sync reads the rest" if has_rest else ""
        messages.print_written(db, format_count(stats.sessions, progress.noun), progress.cases(), remaining)
    else:
        messages.print_note(f"Nothing was saved in {db}: no suite was read")
    progress.print_failures(messages)


def _is_unknown(error: BuddyError) -> bool:
    """Return whether there is nothing to read: the suite or project does not exist, or is invisible."""
    return isinstance(error, NotFoundError) and error.cursor is None
