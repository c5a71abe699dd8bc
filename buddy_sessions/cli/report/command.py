"""The command `report`: read a database, and write the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import ConfigError, SessionStore, SuiteKey

from ..files import replace_file
from ..formatting import format_count, one_line
from ..options import OUT, parse_argument
from ..output import Output
from .page import load_template, render_page
from .suite_statistics import compute_statistics


async def report(
    *,
    db: Path,
    suite: Annotated[Sequence[str], Parameter(consume_multiple=True, show_default=False)] = (),
    out: Annotated[Path, OUT],
) -> None:
    """Write a database as one HTML page: pass rates, durations, failures by branch, growth.

    The page loads nothing from the network: mail it, print it, read it on a phone.

    Args:
        db: SQLite file, as written by `sync` or `demo --db`.
        suite: Only these suites (default: all suites in the file).
        out: HTML file to write. It is replaced only when the page is complete.
    """
    _validate_paths(db, out)
    requested = list(dict.fromkeys(parse_argument(SuiteKey.parse, text) for text in suite))
    template = load_template()
    with replace_file(out) as file:
        async with SessionStore(db) as store:
            stored = [each.key for each in await store.suites()]
            missing = [str(key) for key in requested if key not in stored]
            if missing:
                raise ConfigError(f"{', '.join(missing)} not found in {str(db)!r}: sync it first")
            suites = [compute_statistics(key, await store.sessions(key)) for key in requested or stored]
        with file.path.open("x", encoding="utf-8", newline="") as stream:
            stream.writelines(render_page(template, suites, datetime.now(UTC)))
        file.is_complete = True
    sessions = sum(statistics.session_count for statistics in suites)
    counts = f"{format_count(len(suites), 'suite')}, {format_count(sessions, 'session')}"
    Output(stderr=True).print_line(one_line(f"{counts}: written to {out}"))


def _validate_paths(db: Path, out: Path) -> None:
    """Raise ConfigError if the database does not exist, or if the page would replace it."""
    if not db.is_file():
        raise ConfigError(f"{str(db)!r} not found: create it with buddy-sessions sync … --db FILE")
    if out.exists() and out.samefile(db):
        raise ConfigError(f"--out would replace the database {str(db)!r}: choose another name for the page")
