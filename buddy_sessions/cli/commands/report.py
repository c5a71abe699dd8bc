"""The command `report`: write a database as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from buddy_sessions import ConfigError, SessionStore

from ..files import find_database, replace_file
from ..formats.formatting import format_count
from ..keys import KeyDefaults, select_suites
from ..options import SavedFile, Verbosity
from ..report.page import load_template, render_page
from ..report.reading import connect, read_suite

_MAX_DAYS = 36_500


async def report(
    *,
    db: SavedFile,
    suite: Annotated[Sequence[str], Parameter(consume_multiple=True, show_default=False)] = (),
    days: Annotated[int | None, Parameter(validator=Number(gte=1, lte=_MAX_DAYS))] = None,
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
) -> None:
    """Write a database as HTML: failures and when they began, flaky and slow tests, pass rates, durations.

    The page is one file, which loads nothing from the network: mail it, print it, read it on a phone.

    For example:

    - buddy-sessions report --db sessions.db --days 30 -o report.html
    - buddy-sessions report --db sessions.db --suite acme/storefront -o report.html

    Args:
        suite: Only these suites, or WORKSPACE/PROJECT for all suites of a project (default: all suites in the file).
        days: Only sessions of the last INT days.
        out: HTML file to write. It is replaced only when the page is complete.
    """
    find_database(db)
    if out.exists() and out.samefile(db):
        raise ConfigError(f"--out would replace the database {str(db)!r}: choose another name for the page")
    targets = [defaults.parse_target(text) for text in suite]
    now = datetime.now(UTC)
    since = None if days is None else now - timedelta(days=days)
    template = load_template()
    with replace_file(out) as file:
        async with SessionStore(db) as store:
            chosen = select_suites(await store.suites(), targets, db)
            with closing(connect(db)) as connection:
                suites = [await read_suite(store, connection, each, since=since) for each in chosen]
        with file.path.open("x", encoding="utf-8", newline="") as stream:
            stream.writelines(render_page(template, suites, now, days=days))
        file.is_complete = True
    sessions = sum(statistics.session_count for statistics in suites)
    verbosity.open().print_written(out, format_count(len(suites), "suite"), format_count(sessions, "session"))
