"""The command `export`: write the sessions of a database, or what has changed in it, to stdout or to a file."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt

from buddy_sessions import ConfigError, SessionStore, StoreChange
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_rows import (
    KEYED_SESSION_COLUMNS,
    SESSION_CASE_COLUMNS,
    Row,
    RowWriter,
    case_row,
    exported_rows,
    session_row,
    suite_names,
)

from ..input.paths import find_database
from ..input.sources import check_branch
from ..input.suite_selection import KeyDefaults, select_keys
from ..input.times import Since
from ..options import Branch, Flag, Json, OutFile, RowFormat, SavedFile, SavedKeys, Verbosity
from ..render.show import choose_file_format, open_output


async def export_sessions(
    *key: SavedKeys,
    db: SavedFile,
    branch: Branch = None,
    since: Since = None,
    output_format: RowFormat = None,
    json: Json = False,
    out: OutFile = None,
    cases: Flag = False,
    changes_after: Annotated[NonNegativeInt | None, Parameter(metavar="POSITION")] = None,
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
) -> None:
    """Write the sessions of a database, each suite's newest first, without a request.

    The rows are those that harvest writes. Deleted sessions are left out.

    With --changes-after, write what was saved, changed, marked or deleted since a position, as JSON lines for a copy in
    another database. The last line is the new position.

    For example:

    - buddy-sessions export --db sessions.db --out sessions.parquet
    - buddy-sessions export acme/storefront --db sessions.db --since 7d --json
    - buddy-sessions export --db sessions.db --changes-after 0

    Args:
        cases: Write the saved test cases of these sessions instead, without what was uploaded (data).
        changes_after: Write the changes after this position: 0 for all, then the one of the last line.
    """
    chosen = choose_file_format(output_format, json=json, out=out) or "jsonl"
    targets = [defaults.parse_group(text) for text in key]
    if changes_after is not None and (chosen != "jsonl" or targets or branch or since or cases):
        raise ConfigError(
            "--changes-after writes JSON lines of the whole database: leave out SUITE, --branch, --since "
            "and other formats"
        )
    messages, count = verbosity.open(), 0
    columns, noun = (SESSION_CASE_COLUMNS, "test case") if cases else (KEYED_SESSION_COLUMNS, "session")
    with (
        open_output(chosen, out, columns, source=str(db)) as writer,
        messages.progress(enabled=out is not None) as show,
    ):
        async with SessionStore(find_database(db)) as store:
            if changes_after is not None:
                await _write_changes(store, writer, changes_after)
                return
            suites = select_keys([suite.key for suite in await store.suites()], targets, db)
            for suite in suites:
                pages = store.pages(suite, branch=branch)
                load = partial(store.cases, suite) if cases else None
                async for rows in exported_rows(suite, pages, load, since=since):
                    writer.write(rows)
                    count += len(rows)
                    show(format_count(count, noun))
            if branch and not count:
                messages.print_warning(await check_branch(store, suites[0], branch))
            elif cases and not count:
                messages.print_warning(f"no test cases are saved in {db}: sync with --cases failed, or --cases all")
        writer.finish()
    if out is not None:
        messages.print_written(out, format_count(len(suites), "suite"), format_count(count, noun))


async def _write_changes(store: SessionStore, writer: RowWriter, position: int) -> None:
    async for change in store.changes(position):
        writer.write([_change_row(change)])
        position = change.position
    writer.write([{"position": position}])
    writer.finish()


def _change_row(change: StoreChange) -> Row:
    return {
        "position": change.position,
        **suite_names(change.suite),
        "session": None if change.session is None else session_row(change.session),
        "failures": None if change.failures is None else list(map(case_row, change.failures)),
        "missing_since": change.missing_since,
        "deleted_at": change.deleted_at,
        "pruned_before": change.pruned_before,
    }
