"""The command `harvest`: write the sessions of many suites to stdout or to a file."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from buddy_sessions import ConfigError, Harvest

from ..exit_codes import ExitCode
from ..files import NewFile, replace_file
from ..formats.destinations import choose_file_format, open_writer
from ..formats.formatting import format_count, one_line
from ..formats.progress import HarvestProgress
from ..formats.tables import SuiteSummary
from ..formats.writers import DataFormat, RowWriter, keyed_rows
from ..keys import KeyDefaults
from ..options import FROM, OUT, Connection, Json, Verbosity
from ..output import Output
from ..suite_selection import open_selection
from ..times import Since


async def harvest_suites(
    *key: str,
    source: Annotated[str | None, FROM] = None,
    branch: str | None = None,
    after: NonNegativeInt | None = None,
    since: Since = None,
    concurrency: PositiveInt = 8,
    format: DataFormat | None = None,  # noqa: A002 - the name of the option
    json: Json = False,
    out: Annotated[Path | None, OUT] = None,
    allow_partial: Annotated[bool, Parameter(show_default=False)] = False,
    db: Annotated[Path | None, Parameter(show=False)] = None,
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
    connection: Connection = Connection(),
) -> ExitCode:
    """Write the sessions of many suites, each suite's newest first.

    Each row begins with the workspace, the project and the ID of the suite; in jsonl, with its key before them. A suite
    that fails does not stop the others.

    For example:

    - buddy-sessions harvest acme/storefront --since 2w --out sessions.parquet
    - buddy-sessions harvest acme/storefront/MNbyVedg acme/api --json

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, WORKSPACE/PROJECT for all suites of a project, or a URL. With -w and -p,
            SUITE_ID is enough, or no key for the project.
        source: File with more keys, one per line; - for stdin. Blank lines and lines that begin with # are ignored.
        branch: Only sessions of this branch.
        after: Only sessions with a higher relative_id, in every suite.
        since: Only sessions created in the last 24h, 7d or 2w, or since a time such as 2026-01-31 (UTC).
        concurrency: Maximum number of requests at once.
        format: Output format (default: jsonl, but a summary of the suites on a terminal). In csv, an
            apostrophe is put before text that looks like a formula.
        json: The same as --format jsonl.
        out: File to write: .jsonl, .csv (see --format) or .parquet. An existing file is replaced only if all suites
            were read. For a database, use sync.
        allow_partial: Replace an existing file even if some suites have failed.
        db: Rejected, with a hint.
        verbosity: What is printed to stderr.
        defaults: Completes the keys.
        connection: How to reach Buddy.
    """
    if db is not None:
        raise ConfigError(f"harvest has no --db: to keep a database up to date, use buddy-sessions sync … --db {db}")
    if allow_partial and out is None:
        raise ConfigError("--allow-partial is for --out FILE: add it, or leave out --allow-partial")
    output_format = choose_file_format(format, json=json, out=out) or (None if sys.stdout.isatty() else "jsonl")
    messages = verbosity.open()
    summary = SuiteSummary()
    async with AsyncExitStack() as stack:
        targets = stack.enter_context(open_selection(key, source, defaults))
        file = stack.enter_context(replace_file(out, source=source)) if out is not None else None
        writer = None
        if output_format is not None:
            writer = stack.enter_context(open_writer(output_format, file.path if file is not None else None))
        client = connection.open_client(messages, keys=key, max_concurrency=concurrency)
        buddy = await stack.enter_async_context(client)
        suites = targets.suites(buddy)
        harvest = buddy.harvest(suites, branch=branch, after=after, since=since, on_failure="collect")
        await stack.enter_async_context(harvest)
        progress = HarvestProgress(buddy, targets, harvest)
        is_data_on_terminal = out is None and output_format is not None and sys.stdout.isatty()
        not_written = _not_written(out) if out is not None else ""
        with (
            progress.keep_error(messages),
            progress.show(messages, enabled=not is_data_on_terminal, after_interrupt=not_written),
        ):
            await _write_pages(harvest, writer, summary)
        await connection.add_suggestion(progress.failures.values())
        is_partial = progress.exit_code == ExitCode.SOME_SUITES_FAILED
        is_kept = is_partial and out is not None and out.exists() and not allow_partial
        is_written = progress.exit_code == ExitCode.DONE or (is_partial and not is_kept)
        if is_written:
            _finish_output(writer, file)
    if writer is None and sys.stdout.isatty():
        summary.print_to(Output(), exclude=harvest.failures)
    messages.print_note(progress.summary())
    if is_written and out is not None:
        count = format_count(progress.stats.sessions, "session")
        messages.print_written(out, count, "without the rest of the failed suites" if is_partial else "")
    elif out is not None:
        hint = "; to replace it with the sessions of the other suites, add --allow-partial" if is_kept else ""
        messages.print_message((one_line(f"{not_written}: what was read is discarded{hint}"), "dim"))
    if output_format is None:
        messages.print_note("to write the sessions themselves, add --format jsonl|csv or --out FILE")
    progress.print_failures(messages, resumable=writer is not None and (out is None or is_written))
    return progress.exit_code


def _not_written(out: Path) -> str:
    return f"{out} is unchanged" if out.exists() else f"{out} was not written"


def _finish_output(writer: RowWriter | None, file: NewFile | None) -> None:
    if writer is not None:
        writer.finish()
    if file is not None:
        file.is_complete = True


async def _write_pages(harvest: Harvest, writer: RowWriter | None, summary: SuiteSummary) -> None:
    async for page in harvest.pages():
        if writer is None:
            summary.add(page.suite, page.sessions)
        else:
            writer.write(keyed_rows(page.suite, page.sessions))
