"""The command `report`: write a database as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import SessionStore
from buddy_sessions._export.session_files import replace_file

from ..input.keys import KeyDefaults, select_suites
from ..input.paths import explain_errors, find_database
from ..input.times import Since
from ..options import BranchOptions, SavedFile, Verbosity
from ..reading.suggestions import suggest_branches
from ..reading.suite_report import Scope, read_suite
from ..render.html import load_template, render_page
from ..render.text import format_count

_NEW = timedelta(hours=24)


async def report(
    *,
    db: SavedFile,
    suite: Annotated[Sequence[str], Parameter(consume_multiple=True, show_default=False)] = (),
    branches: BranchOptions = BranchOptions(),
    new_since: Annotated[
        Since, Parameter(help="What counts as new: the last 24h, 7d or 2w, or since a date (default: 24h).")
    ] = None,
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
) -> None:
    """Write an HTML report of a database: what is newly red on main, by whom and why, still red, or has recovered.

    The page is one file, which loads nothing from the network: mail it, print it, read it on a phone.
    The failing tests are on it if they were saved by "sync --cases failed".

    For example:

    - buddy-sessions report --db sessions.db -o report.html
    - buddy-sessions report --db sessions.db --suite acme/storefront --new-since 3d -o report.html

    Args:
        suite: Only these suites, or those of WORKSPACE/PROJECT or WORKSPACE (default: all suites in the file).
        out: HTML file to write. It is replaced only when the page is complete.
    """
    branch, messages = branches.choose(), verbosity.open()
    find_database(db)
    targets = [defaults.parse_group(text) for text in suite]
    now = datetime.now(UTC)
    scope = Scope(branch, new_since or now - _NEW)
    template = load_template()
    with explain_errors(out, replace_file(out, source=str(db))) as new:
        async with SessionStore(db) as store:
            chosen = select_suites(await store.suites(), targets, db)
            suites = []
            with messages.progress() as show:
                for each in chosen:
                    suites.append(await read_suite(store, each, scope))
                    show(f"{len(suites):,}/{format_count(len(chosen), 'suite')}")
            if isinstance(branch, str) and suites and not any(each.latest for each in suites):
                messages.print_warning(suggest_branches(branch, chosen[0].key, await store.sessions(chosen[0].key)))
        with new.open("x", encoding="utf-8", newline="") as stream:
            stream.writelines(render_page(template, suites, scope, now))
    messages.print_written(out, format_count(len(suites), "suite"))
