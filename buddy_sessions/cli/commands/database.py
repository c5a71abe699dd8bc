"""The commands of a database: `sync` keeps it up to date, `export`, `prune` and `info` need no request."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Parameter
from cyclopts.types import NonNegativeInt

from buddy_sessions import SavedSuite, SessionStore, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import (
    KEYED_SESSION_COLUMNS,
    SESSION_CASE_COLUMNS,
    keyed_rows,
    resolve_file,
    session_case_row,
    suite_names,
)
from buddy_sessions.models import CaseScope, is_before

from ..errors import ExitCode
from ..options import (
    Access,
    Branch,
    Emails,
    Flag,
    FromFile,
    Keys,
    OutFile,
    Quiet,
    RowFormat,
    SavedFile,
    SavedKeys,
    TableFormat,
    Wait,
    check_branch,
)
from ..render.console import HarvestProgress, Output
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import open_output, show
from ..render.text import UNKNOWN, format_age, plain
from ..suite_selection import KeyDefaults, SuiteSelection, select_keys
from ..values import FILE, Age, Since, find_database

_INFO_COLUMNS = (
    Column("SUITE", is_number=False),
    Column("NAME", is_number=False, can_be_cut=True, rank=1),
    Column("SESSIONS"),
    Column("COVERED", is_number=False),
    Column("LAST SYNC", is_number=False),
    Column("NOT FOUND", is_number=False),
)
_INFO_FIELDS = tuple(field.name for field in attrs.fields(SavedSuite) if field.name != "suite")


async def sync(
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
            ) as running,
        ):
            progress = HarvestProgress(buddy, running, len(suites), selection.failures, noun="new or changed session")
            with progress.run(messages, after_interrupt=f"all sessions read so far are saved in {db}"):
                await running.run()
    messages.print_note(progress.summary())
    progress.print_failures(messages)
    return progress.exit_code


async def export(
    *key: SavedKeys,
    db: SavedFile,
    branch: Branch = None,
    since: Since = None,
    output_format: RowFormat = None,
    out: OutFile = None,
    cases: Flag = False,
    emails: Emails = False,
    quiet: Quiet = False,
    defaults: KeyDefaults = KeyDefaults(),
) -> None:
    """Write the sessions of a database, each suite's newest first, without a request.

    The rows are those that harvest writes. Deleted sessions are left out.

    For example:

    - buddy-sessions export --db sessions.db --out sessions.parquet
    - buddy-sessions export acme/storefront --db sessions.db --since 7d

    Args:
        cases: Write the saved test cases of these sessions instead, without what was uploaded (data).
    """
    targets = [defaults.parse_target(text) for text in key]
    messages, count = Output(stderr=True, quiet=quiet), 0
    columns, noun = (SESSION_CASE_COLUMNS, "test case") if cases else (KEYED_SESSION_COLUMNS, "session")
    with (
        open_output(output_format, out, columns, source=str(db)) as writer,
        messages.progress(enabled=out is not None) as show_text,
    ):
        async with SessionStore(find_database(db)) as store:
            suites = select_keys([suite.key for suite in await store.suites()], targets, db)
            for suite in suites:
                async for page in store.pages(suite, branch=branch):
                    sessions = [session for session in page if not is_before(session, since)]
                    if not cases:
                        writer.write(keyed_rows(suite, sessions, emails=emails))
                        count += len(sessions)
                    for session in sessions if cases else ():
                        saved = await store.cases(suite, session)
                        writer.write(session_case_row(suite, session, case) for case in saved)
                        count += len(saved)
                    show_text(format_count(count, noun))
            if branch and not count:
                messages.print_warning(await check_branch(store, suites[0], branch))
            elif cases and not count:
                messages.print_warning(f"no test cases are saved in {db}: sync with --cases failed, or --cases all")
        writer.finish()
    if out is not None:
        messages.print_written(out, format_count(len(suites), "suite"), format_count(count, noun))


async def prune(*, db: SavedFile, keep: Age, wait: Wait = 0.0, quiet: Quiet = False) -> None:
    """Delete the old sessions of a database with their test cases, and make the file smaller.

    No later sync reads them again. To do this with each sync, use sync --keep. Readers are not blocked, but no sync
    can run meanwhile.

    For example:

    - buddy-sessions prune --db sessions.db --keep 90d

    Args:
        keep: Delete sessions that were created longer ago than this, such as 24h, 90d or 12w.
    """
    async with SessionStore(find_database(db)) as store:
        count = await store.prune(older_than=keep, wait=wait)
    size = f"{db.stat().st_size / 1e6:,.1f} MB"
    messages = Output(stderr=True, quiet=quiet)
    messages.print_note(f"Deleted {format_count(count, 'old session')} from {db}, which has {size} now")


async def info(*, db: SavedFile, output_format: TableFormat = None, quiet: Quiet = False) -> None:
    """Print the suites of a database, their saved sessions and last syncs, and the size of the file.

    COVERED is a range without a gap: each of its sessions is saved, or older than `--since` or `--keep`.
    NOT FOUND: since when the suite is missing, or how many of its sessions are.

    For example:

    - buddy-sessions info --db sessions.db
    """
    now = datetime.now(UTC)
    async with SessionStore(find_database(db)) as store:
        suites = await store.info()
    size = sum(file.stat().st_size for file in (db, Path(f"{db}-wal")) if file.exists())
    sessions = format_count(sum(each.sessions for each in suites), "session")
    result = CommandResult(
        title=f"{format_count(len(suites), 'suite')}, {sessions}, {size / 1e6:,.1f} MB",
        columns=_INFO_COLUMNS,
        sections=[Section("", [_info_item(each, now) for each in suites])],
        csv_columns=(*SuiteKey._fields, *_INFO_FIELDS),
    )
    show(result, output_format, Output(stderr=True, quiet=quiet))


def _info_item(saved: SavedSuite, now: datetime) -> Item:
    if saved.missing_since is not None:
        state = f"{'missing' if saved.deleted_at is None else 'deleted'} since {format_age(saved.missing_since, now)}"
    else:
        counts = {"missing": saved.missing, "deleted": saved.deleted}
        state = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    cells = (
        plain(str(saved.suite)),
        plain(saved.name),
        f"{saved.sessions:,}",
        UNKNOWN if saved.covered is None else "#{} to #{}".format(*saved.covered),
        format_age(saved.synced_at, now),
        state,
    )
    row: dict[str, Any] = {**suite_names(saved.suite), **{name: getattr(saved, name) for name in _INFO_FIELDS}}
    return Item(None, cells, row=row)
