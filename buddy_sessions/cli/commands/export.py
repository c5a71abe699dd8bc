"""The command `export`: write the sessions of a database to stdout or to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from buddy_sessions import SessionStore
from buddy_sessions._export.session_rows import keyed_rows
from buddy_sessions.models import is_before

from ..input.keys import KeyDefaults, select_suites
from ..input.paths import find_database
from ..input.times import Since
from ..options import OUT, Branch, Json, RowFormat, SavedFile, SavedKeys, Verbosity
from ..reading.suggestions import suggest_branches
from ..render.rows import choose_file_format, open_output
from ..render.text import format_count


async def export_sessions(
    *key: SavedKeys,
    db: SavedFile,
    branch: Branch = None,
    since: Since = None,
    format: RowFormat = None,  # noqa: A002 - the name of the option
    json: Json = False,
    out: Annotated[Path | None, OUT] = None,
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
) -> None:
    """Write the sessions of a database, each suite's newest first, without a request.

    The rows are those that harvest writes. Deleted sessions are left out.

    For example:

    - buddy-sessions export --db sessions.db --out sessions.parquet
    - buddy-sessions export acme/storefront --db sessions.db --since 7d --json
    """
    output_format = choose_file_format(format, json=json, out=out) or "jsonl"
    targets = [defaults.parse_group(text) for text in key]
    find_database(db)
    messages = verbosity.open()
    count = 0
    with (
        open_output(output_format, out, source=str(db)) as writer,
        messages.progress(enabled=out is not None) as show,
    ):
        async with SessionStore(db) as store:
            suites = select_suites(await store.suites(), targets, db)
            for suite in suites:
                async for page in store.pages(suite.key, branch=branch):
                    sessions = [session for session in page if not is_before(session, since)]
                    writer.write(keyed_rows(suite.key, sessions))
                    count += len(sessions)
                    show(format_count(count, "session"))
            if branch and suites and not count:
                messages.print_warning(suggest_branches(branch, suites[0].key, await store.sessions(suites[0].key)))
        writer.finish()
    if out is not None:
        messages.print_written(out, format_count(len(suites), "suite"), format_count(count, "session"))
