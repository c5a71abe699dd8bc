"""The command `export`: write the sessions of a database to stdout or to a file."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated

from buddy_sessions import Session, SessionStore

from ..files import find_database, replace_file
from ..formats.destinations import choose_file_format, open_writer
from ..formats.formatting import format_count
from ..formats.writers import DataFormat, keyed_rows
from ..keys import KeyDefaults, select_suites
from ..options import OUT, Json, Verbosity
from ..times import Since


async def export_sessions(
    *key: str,
    db: Path,
    branch: str | None = None,
    since: Since = None,
    format: DataFormat | None = None,  # noqa: A002 - the name of the option
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

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, WORKSPACE/PROJECT for all suites of a project, or a URL (default: all suites in
            the database).
        db: SQLite file, as written by sync.
        branch: Only sessions of this branch.
        since: Only sessions created in the last 24h, 7d or 2w, or since a time such as 2026-01-31 (UTC).
        format: Output format (default: jsonl). In csv, an apostrophe is put before text that looks like a formula.
        json: The same as --format jsonl.
        out: File to write: .jsonl, .csv (see --format) or .parquet. An existing file is replaced at the end.
        verbosity: What is printed to stderr.
        defaults: Completes the keys.
    """
    output_format = choose_file_format(format, json=json, out=out) or "jsonl"
    targets = [defaults.parse_target(text) for text in key]
    find_database(db)
    messages = verbosity.open()
    count = 0
    with ExitStack() as stack:
        file = stack.enter_context(nullcontext() if out is None else replace_file(out, source=str(db)))
        writer = stack.enter_context(open_writer(output_format, None if file is None else file.path))
        show = stack.enter_context(messages.progress(enabled=out is not None))
        async with SessionStore(db) as store:
            suites = select_suites(await store.suites(), targets, db)
            for suite in suites:
                async for page in store.pages(suite.key, branch=branch):
                    sessions = [session for session in page if _is_recent(session, since)]
                    writer.write(keyed_rows(suite.key, sessions))
                    count += len(sessions)
                    show(format_count(count, "session"))
        writer.finish()
        if file is not None:
            file.is_complete = True
    if out is not None:
        messages.print_written(out, format_count(len(suites), "suite"), format_count(count, "session"))


def _is_recent(session: Session, since: datetime | None) -> bool:
    """Return whether a session was created at a time or later, or at an unknown time, as the API's `since` does."""
    return since is None or session.create_date is None or session.create_date >= since
