"""The command `sync`: keep a SQLite database of sessions up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt

from buddy_sessions import SessionStore
from buddy_sessions._export import resolve_file
from buddy_sessions.models import CaseScope

from ..errors import ExitCode
from ..options import Access, Flag, FromFile, Keys, Wait
from ..render.console import HarvestProgress
from ..suite_selection import SuiteSelection
from ..values import FILE, Age, Since


async def command(
    *key: Keys,
    db: Annotated[Path, FILE],
    from_file: FromFile = None,
    since: Since = None,
    cases: Annotated[CaseScope | None, Parameter(metavar="WHICH")] = None,
    details: Annotated[NonNegativeInt, Parameter(metavar="COUNT")] = 100,
    keep: Age | None = None,
    full: Flag = False,
    wait: Wait = 0.0,
    access: Access = Access(),
) -> ExitCode:
    """Keep a SQLite database up to date with the sessions of many suites.

    Only new and unfinished sessions are read, and those that earlier syncs did not reach: one request for a suite
    without any. Each page is saved at once, so the next sync continues after a failure or Ctrl-C. A suite that fails
    does not stop the others.

    For example:

    - buddy-sessions sync acme/storefront --db sessions.db
    - buddy-sessions sync --from suites.txt --db sessions.db --cases failed

    Args:
        db: SQLite file. It is created if it does not exist.
        cases: Also save the tests of finished sessions: the failing ones, or all. failed costs one or two requests for
            each session with failing tests, all costs one for each 100 tests. Each message of a failing test costs one
            more.
        details: Maximum number of messages of failing tests to read for each session.
        keep: Delete sessions of these suites that are older than DURATION, such as 90d, and do not read them.
        full: Read every page again, except what was pruned, and report what was wrong.
    """
    path = resolve_file(db, source=from_file and from_file.name)
    messages = access.messages()
    selection = SuiteSelection(key, from_file, defaults=access.defaults)
    async with access.connection.open_client(messages) as buddy:
        with messages.progress():
            suites = await selection.resolve(buddy)
        async with (
            SessionStore(path) as store,
            store.sync(
                buddy,
                suites,
                wait=wait,
                since=since,
                cases=cases,
                details=details,
                keep=keep,
                full=full,
                on_failure="collect",
            ) as sync,
        ):
            progress = HarvestProgress(buddy, sync, len(suites), selection.failures, noun="new or changed session")
            with progress.run(messages, after_interrupt=f"all sessions read so far are saved in {db}"):
                await sync.run()
    messages.print_note(progress.summary())
    if full and progress.exit_code == ExitCode.DONE and sync.stats.verified and not sync.stats.repaired:
        messages.print_note("the full check found nothing wrong: no session was missing or wrongly marked")
    progress.print_failures(messages)
    return progress.exit_code
