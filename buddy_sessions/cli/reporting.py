"""The command `report`: what a store's file holds, as one page to be sent around."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import ConfigError, SessionStore, SuiteKey

from .figures import figures_of
from .files import NewFile
from .output import Output, count, one_line
from .page import Page


async def report(
    *,
    db: Path,
    suite: Annotated[Sequence[str], Parameter(consume_multiple=True)] = (),
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
) -> None:
    """Make a page of what a file of sessions holds: how each suite stands, and how that has changed.

    The page is one HTML file that needs no network: send it, print it, read it on a phone.

    Args:
        db: The file, as `harvest --db` or `demo --db` makes it.
        suite: WORKSPACE/PROJECT/SUITE_ID, any number of them; every suite in the file unless given.
        out: The page to write. It is replaced when all is read; until then it stays as it was.
    """
    _check(db, out)
    asked = [SuiteKey.parse(key) for key in dict.fromkeys(suite)]
    sessions = 0
    with Page() as page, NewFile(out) as file:
        async with SessionStore(db) as store:
            there = await store.suites()
            missing = [str(key) for key in asked if key not in there]
            if missing:
                raise ConfigError(f"not in {str(db)!r}: {', '.join(missing)}")
            for key in asked or there:
                figures = figures_of(key, await store.sessions(key))
                page.add(figures)
                sessions += figures.sessions
        with file.beside.open("x", encoding="utf-8", newline="") as stream:
            page.write(stream, datetime.now(UTC))
        file.complete()
    read = f"{count(len(asked or there), 'suite')}, {count(sessions, 'session')}"
    Output(stderr=True).say(one_line(f"{read}: the page is {out}"))


def _check(db: Path, out: Path) -> None:
    """Make sure that there is something to read, and that the page does not take its place."""
    if not db.is_file():
        raise ConfigError(f"there is no file {str(db)!r}: buddy-sessions harvest … --db FILE makes one")
    if out.exists() and out.samefile(db):
        raise ConfigError(f"--out would replace the sessions in {str(db)!r}: choose another name for the page")
