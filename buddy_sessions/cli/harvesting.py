"""The command `harvest`: many suites into one stream, or one file."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter

from buddy_sessions import AuthenticationError, ConfigError, ForbiddenError, SuiteKey

from .data import Csv, DataFormat, JsonLines, SuiteWriter, harvest_columns
from .files import NewFile, format_of
from .options import DONE, FAILED, NATURAL, NOT_AUTHORISED, PARTLY_FAILED, POSITIVE, Connection
from .output import Output, one_line
from .progress import Reading
from .tables import SuiteSummary
from .targets import Everywhere, Targets, open_lines


async def harvest_suites(
    *key: str,
    source: Annotated[str | None, Parameter(name="--from", allow_leading_hyphen=True)] = None,
    branch: str | None = None,
    since: Annotated[int | None, NATURAL] = None,
    concurrency: Annotated[int | None, POSITIVE] = None,
    format: DataFormat | None = None,  # noqa: A002 - the option's name
    out: Path | None = None,
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
        format: By default jsonl; on a terminal a summary of the suites instead of their sessions.
        out: A file to write, FILE.jsonl or FILE.csv. It is replaced when all is read; until then it stays as it was.
        connection: Where to read.
    """
    if not key and source is None:
        raise ConfigError("nothing to harvest: name suites, projects, or a file with --from")
    form = _data_format(format, out)
    messages = Output(stderr=True)
    with ExitStack() as files:
        lines = None if source is None else open_lines(source, files)
        file = None if out is None else files.enter_context(NewFile(out))
        stream = sys.stdout if file is None else file.stream
        writer = _suite_writer(form, stream)
        async with connection.open(messages, max_concurrency=concurrency) as buddy:
            targets = Targets(buddy, key, lines)
            floors = None if since is None else Everywhere(targets.known, since)
            async with buddy.harvest(targets.keys(), branch=branch, since=floors, on_failure="collect") as harvest:
                reading = Reading(buddy, targets, harvest)
                try:
                    # Where data goes to a terminal, it is progress enough.
                    with reading.shown(messages, shown=form is None or not stream.isatty()):
                        async for page in harvest.pages():
                            writer.write(page.sessions, page.suite)
                except asyncio.CancelledError:
                    untouched = "" if out is None else f"; {out} is untouched"
                    messages.say(("interrupted", "bold red"), f": {reading.spent()}{one_line(untouched)}")
                    raise
        code = _code(reading)
        if file is not None and code in {DONE, PARTLY_FAILED}:
            file.complete()
        if isinstance(writer, SuiteSummary):
            table = writer.table(without=harvest.failures, now=datetime.now(UTC))
            if table is not None:
                Output().print(table)
        elif code in {DONE, PARTLY_FAILED}:
            writer.write((), SuiteKey("", "", ""))  # CSV has its head even where there is nothing else
    reading.tell(messages, data=form is not None)
    return code


def _data_format(asked: DataFormat | None, out: Path | None) -> DataFormat | None:
    """Return the format of the sessions; None for a summary instead."""
    if out is None:
        return asked or (None if sys.stdout.isatty() else "jsonl")
    form = format_of(out)
    if asked not in {None, form}:
        raise ConfigError(f"--format {asked} and --out {out.name} contradict each other")
    return form


def _suite_writer(form: DataFormat | None, stream: TextIO) -> SuiteWriter:
    if form is None:
        return SuiteSummary()
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
