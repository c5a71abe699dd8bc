"""The command `watch`: what happens in some suites, as it happens."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from buddy_sessions import Change, ConfigError, SessionStore, to_json

from .data import Csv, Format, JsonLines, fields_of, harvest_columns
from .options import DONE, FROM, Connection
from .output import Output, count, length, one_line
from .tables import status
from .targets import Targets, open_lines


async def watch_suites(
    *key: str,
    source: Annotated[str | None, FROM] = None,
    every: Annotated[float, Parameter(validator=Number(gt=0))] = 60.0,
    branch: str | None = None,
    format: Format | None = None,  # noqa: A002 - the option's name
    db: Path | None = None,
    connection: Connection = Connection(),
) -> int:
    """Print what happens in suites, as it happens, until Ctrl-C: sessions that are new, have changed or have finished.

    A suite that fails is told of once, and tried again less and less often.

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, or WORKSPACE/PROJECT for the suites that a project has now; any number of them.
        source: A file with more of them, one a line; - is stdin. Blank lines and lines that begin with # do not count.
        every: Seconds from one look at a suite to the next.
        branch: Only sessions of this branch.
        format: By default a line of text for each change on a terminal, else jsonl, with what the session was before.
        db: A SQLite file in which the watch notes where it stands; the next one tells first what has happened since.
        connection: Where to read.
    """
    if not key and source is None:
        raise ConfigError("nothing to watch: name suites, projects, or a file with --from")
    messages = Output(stderr=True)
    async with AsyncExitStack() as files:
        lines = None if source is None else open_lines(source, files)
        store = None if db is None else await files.enter_async_context(SessionStore(db))
        async with connection.open(messages) as buddy:
            targets = Targets(buddy, key, lines)
            keys = [suite async for suite in targets.suites()]
            if targets.failures:
                raise next(iter(targets.failures.values()))
            write = _writer(format or ("table" if sys.stdout.isatty() else "jsonl"))
            changes = 0
            async with (
                buddy.watch(keys, every=every, branch=branch)
                if store is None
                else store.watch(buddy, keys, every=every, branch=branch)
            ) as watch:
                if messages.is_terminal:
                    messages.say((f"watching {count(len(keys), 'suite')} every {every:g} s, until Ctrl-C", "dim"))
                try:
                    async for change in watch:
                        write(change)
                        changes += 1
                except asyncio.CancelledError:
                    messages.say(("interrupted", "bold red"), f": {count(changes, 'change')}")
                    raise
    return DONE  # there was no suite to watch


def _writer(form: Format) -> Callable[[Change], None]:
    if form == "table":
        output = Output()
        return lambda change: output.say(_line(change))
    writer = JsonLines(sys.stdout) if form == "jsonl" else Csv(sys.stdout, ("kind", *harvest_columns()))
    return lambda change: writer.write_rows([_row(change)])


def _row(change: Change) -> dict[str, object]:
    previous = None if change.previous is None else to_json(change.previous)
    return {"kind": change.kind.value, **fields_of(change.session, change.suite), "previous": previous}


def _line(change: Change) -> Text:
    """Return a change as one line: when it was told, what it was, whose it is, and how it ended."""
    session = change.session
    word = status(session)
    word.pad_right(max(0, len("✔ running") - len(word)))
    ended = f"  {length(session.duration)}" if session.finished and session.duration is not None else ""
    failed = f", {session.failed_count:,} failed" if session.failed_count else ""
    return Text.assemble(
        (f"{datetime.now().astimezone():%H:%M:%S}", "dim"),
        f"  {change.kind.lower():8}  ",
        word,
        f"  {one_line(str(change.suite))} ",
        (f"#{session.relative_id}", "bold"),
        f"  {one_line(session.ref_name or '-')}{ended}{failed}",
    )
