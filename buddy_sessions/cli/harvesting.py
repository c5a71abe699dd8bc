"""The command `harvest`: many suites into one stream, or into one file."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

from buddy_sessions import (
    AuthenticationError,
    ConfigError,
    ForbiddenError,
    SessionStore,
)

from .data import Csv, DataFormat, JsonLines, SuiteWriter, harvest_columns
from .files import FileFormat, NewFile, format_of
from .options import DONE, FAILED, FROM, NATURAL, NOT_AUTHORISED, PARTLY_FAILED, POSITIVE, Connection
from .output import Output, one_line
from .parquet import ParquetFile
from .progress import Reading
from .tables import SuiteSummary
from .targets import Everywhere, Targets, open_lines


async def harvest_suites(
    *key: str,
    source: Annotated[str | None, FROM] = None,
    branch: str | None = None,
    since: Annotated[int | None, NATURAL] = None,
    concurrency: Annotated[int | None, POSITIVE] = None,
    format: DataFormat | None = None,  # noqa: A002 - the option's name
    out: Path | None = None,
    db: Path | None = None,
    connection: Connection = Connection(),
) -> int:
    """Write the sessions of many suites as one stream, each suite's newest first.

    Each line says which suite it is of. A suite that fails stops no other; at the end stderr tells which did.

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, or WORKSPACE/PROJECT for all suites of a project; any number of them.
        source: A file with more of them, one a line; - is stdin. Blank lines and lines that begin with # do not count.
        branch: Only sessions of this branch.
        since: Only sessions with a higher number (relative_id) than this, in every suite.
        concurrency: Suites read at once, and requests in flight at once; 8 unless given.
        format: By default jsonl; on a terminal, and with --db, a summary of the suites instead of their sessions.
        out: A file to write: FILE.jsonl, .csv, .parquet, or .db for SQLite. It is replaced when all is read; until then
            it stays as it was.
        db: A SQLite file that is kept up to date: only what is missing, new or unfinished is read, page by page, and
            saved at once. Only sessions that are new or have changed are written elsewhere.
        connection: Where to read.
    """
    if not key and source is None:
        raise ConfigError("nothing to harvest: name suites, projects, or a file with --from")
    form = _file_format(format, out, db)
    messages = Output(stderr=True)
    async with AsyncExitStack() as files:
        lines = None if source is None else open_lines(source, files)
        file = None if out is None else files.enter_context(NewFile(out))
        writer = _writer(form, None if file is None else file.beside, files, news=db is not None)
        path = file.beside if file is not None and form == "db" else db
        store = None if path is None else await files.enter_async_context(SessionStore(path))
        async with connection.open(messages, max_concurrency=concurrency) as buddy:
            targets = Targets(buddy, key, lines)
            floors = None if since is None else Everywhere(targets.known, since)
            begin = buddy.harvest if store is None else partial(store.harvest, buddy)
            async with begin(targets.suites(), branch=branch, since=floors, on_failure="collect") as harvest:
                reading = Reading(buddy, targets, harvest, "new or changed session" if db else "session")
                kept = f"what was read is kept in {db}" if db else f"{out} is untouched" if out else ""
                # Where data goes to a terminal, it is progress enough.
                to_terminal = out is None and form is not None and sys.stdout.isatty()
                with reading.shown(messages, shown=not to_terminal):
                    await _write(reading, writer, messages, kept=kept)
        code = _code(reading)
        if code in {DONE, PARTLY_FAILED}:
            writer.finish()
            if file is not None:
                file.complete()
    if isinstance(writer, SuiteSummary) and sys.stdout.isatty():
        writer.print_to(Output(), without=harvest.failures)
    reading.tell(messages, hint=_hint(form, db), resumes=form is not None and store is None)
    return code


async def _write(reading: Reading, writer: SuiteWriter, messages: Output, *, kept: str) -> None:
    """Write what is read, and say what is `kept` where that is interrupted."""
    try:
        async for page in reading.harvest.pages():
            writer.write(page.sessions, page.suite)
    except asyncio.CancelledError:
        messages.say(("interrupted", "bold red"), one_line(f": {reading.spent()}{kept and f'; {kept}'}"))
        raise


def _hint(form: FileFormat | None, db: Path | None) -> str:
    """Return where the sessions are, or how to have them, where that is not what was asked for."""
    if db is not None:
        return f"all that is known is in {db}, table sessions"
    return "" if form else "the sessions themselves: --format jsonl|csv, or --out FILE"


def _file_format(asked: DataFormat | None, out: Path | None, db: Path | None) -> FileFormat | None:
    """Return the format of the sessions; None for a summary instead."""
    if out is None:
        return asked or (None if db is not None or sys.stdout.isatty() else "jsonl")
    form = format_of(out)
    if asked not in {None, form}:
        raise ConfigError(f"--format {asked} and --out {out.name} contradict each other")
    if form == "db" and db is not None:
        raise ConfigError("--out FILE.db and --db exclude each other: the one is new each time, the other kept")
    return form


def _writer(form: FileFormat | None, path: Path | None, files: AsyncExitStack, *, news: bool) -> SuiteWriter:
    if form is None or form == "db":
        return SuiteSummary(news=news)
    if form == "parquet" and path is not None:
        return files.enter_context(ParquetFile(path))
    stream = sys.stdout if path is None else files.enter_context(path.open("x", encoding="utf-8", newline=""))
    return Csv(stream, harvest_columns()) if form == "csv" else JsonLines(stream)


def _code(reading: Reading) -> int:
    """Return the exit code of a harvest."""
    failures = reading.failures().values()
    if not failures:
        return DONE
    if reading.harvest.stats.suites:
        return PARTLY_FAILED
    refused = all(isinstance(error, AuthenticationError | ForbiddenError) for error in failures)
    return NOT_AUTHORISED if refused else FAILED
