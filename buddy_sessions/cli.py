"""The command line: reads the arguments, lets `BuddyClient` do the work, and turns what happens into an exit code.

Data goes to stdout, everything else to stderr. Only what the package exports is used here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from buddy_sessions import (
    AuthenticationError,
    BuddyClient,
    BuddyError,
    ConfigError,
    Cursor,
    ForbiddenError,
    SessionPaginator,
    SuiteKey,
    __version__,
)

from . import demo, render
from .out import NewFile, format_of
from .progress import Reading
from .render import Csv, DataFormat, Format, JsonLines, Output, SessionTable, SuiteSummary, SuiteWriter, Writer
from .targets import Everywhere, Targets, open_lines

DONE, FAILED, USAGE, PARTLY_FAILED, NOT_AUTHORISED, INTERRUPTED = 0, 1, 2, 3, 4, 130

_TABLE_ROWS = 50
"""How many sessions a table shows unless told otherwise: a person reads no more, and Buddy sends them as one page."""

_POSITIVE = Parameter(validator=Number(gte=1))
_NATURAL = Parameter(validator=Number(gte=0))

app = App(
    name="buddy-sessions",
    version=f"buddy-sessions {__version__}",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help="""Read the unit-test sessions of your Buddy.works suites.

The token comes from BUDDY_TOKEN, never from an argument: a personal access token with the \
scope UNIT_TEST_INFO. No account yet? Try "buddy-sessions demo".

Exit codes: 0 done (also when a closed pipe ends it), 1 failed, 2 wrong usage, \
3 some suites failed, 4 not authorised, 130 interrupted.""",
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code.

    Args:
        arguments: The arguments; those of the process if left out.
    """
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(tokens, console=Output(), exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:  # nobody reads any more, as with `| head`
        return DONE
    except (CycloptsError, BuddyError, OSError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else DONE


@Parameter(name="*")
@dataclass(frozen=True)
class Names:
    """The names that a key may leave out."""

    workspace: Annotated[str | None, Parameter(name=("--workspace", "-w"), env_var="BUDDY_WORKSPACE")] = None
    """The workspace of a KEY that names none."""
    project: Annotated[str | None, Parameter(name=("--project", "-p"), env_var="BUDDY_PROJECT")] = None
    """The project of a KEY that names none."""

    def complete(self, text: str, shape: str) -> list[str]:
        """Return the names in `text`, with those in front that it leaves out of `shape`.

        Raises:
            ConfigError: A name is missing, or there is one too many.
        """
        given = text.split("/") if text else []
        count = len(shape.split("/"))
        names = [*(self.workspace, self.project)[: max(0, count - len(given))], *given]
        if len(names) == count and all(names):
            return [name for name in names if name]
        raise ConfigError(f"not {shape}: {text!r} (names left out come from -w and -p, BUDDY_WORKSPACE, BUDDY_PROJECT)")


@Parameter(name="*", group="Connection")
@dataclass(frozen=True)
class Connection:
    """Where Buddy is."""

    region: str | None = None
    """US, EU or AS. Otherwise BUDDY_API_ENDPOINT, BUDDY_API_URL, BUDDY_BASE_URL or BUDDY_REGION decides."""
    base_url: str | None = None
    """The API's URL on premises, such as https://buddy.example.com/api; it beats the region."""
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), show_default=False)] = False
    """Tell on stderr of each request."""

    @asynccontextmanager
    async def open(self, messages: Output, **settings: Any) -> AsyncIterator[BuddyClient]:
        """Open the client, with those `settings` that are not None; `messages` is told what it logs."""
        given = {"region": self.region or None, "base_url": self.base_url or None, **settings}
        with messages.logs(debug=self.verbose):
            async with BuddyClient.from_env(**{name: it for name, it in given.items() if it is not None}) as buddy:
                yield buddy


@app.command(name="list")
async def list_sessions(
    key: str,
    /,
    *,
    branch: str | None = None,
    since: Annotated[int | None, _NATURAL] = None,
    most: Annotated[int | None, Parameter(name="--max"), _POSITIVE] = None,
    everything: Annotated[bool, Parameter(name="--all", show_default=False)] = False,
    start: str | None = None,
    per_page: Annotated[int | None, _POSITIVE] = None,
    format: Format | None = None,  # noqa: A002 - the option's name
    names: Names = Names(),
    connection: Connection = Connection(),
) -> None:
    """Print the sessions of a suite, newest first.

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID; or less, with -w and -p.
        branch: Only sessions of this branch.
        since: Only sessions with a higher number (relative_id) than this.
        most: At most so many; 50 for a table, otherwise all.
        everything: All of them, in a table too.
        start: Go on where an earlier walk stood, as its error said, such as 118@40.
        per_page: Sessions asked for in one request; 100 unless given.
        format: By default a table on a terminal, else jsonl.
        names: What the key leaves out.
        connection: Where to read.
    """
    if everything and most is not None:
        raise ConfigError("--all and --max exclude each other")
    suite = SuiteKey(*names.complete(key, "workspace/project/suite_id"))
    output, messages = Output(), Output(stderr=True)
    form = _format(format)
    if form == "table" and not everything and most is None:
        most = _TABLE_ROWS
    async with connection.open(messages) as buddy:
        paginator = buddy.sessions(
            *suite,
            branch=branch,
            since=since,
            start=None if start is None else Cursor.parse(start),
            max_sessions=most,
            per_page=per_page,
        )
        title = f"{suite}, branch {branch}" if branch else str(suite)
        complete = await _walk(paginator, _session_writer(form, output, title), messages)
    if form == "table":
        more = "" if complete else "; older ones: --all, or --max N"
        messages.say((_spent(paginator) + more, "dim"))


@app.command(name="suites")
async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    format: Format | None = None,  # noqa: A002 - the option's name
    names: Names = Names(),
    connection: Connection = Connection(),
) -> None:
    """Print the suites of a project.

    Args:
        project: WORKSPACE/PROJECT; or less, with -w and -p.
        format: By default a table on a terminal, else jsonl.
        names: What the project leaves out.
        connection: Where to read.
    """
    workspace, project = names.complete(project, "workspace/project")
    output, messages = Output(), Output(stderr=True)
    async with connection.open(messages) as buddy:
        suites = await buddy.suites(workspace, project)
    form = _format(format)
    if form == "table":
        output.print(render.suite_table(suites))
    elif form == "csv":
        Csv(sys.stdout, render.suite_columns()).write(suites)
    else:
        JsonLines(sys.stdout).write(suites)


@app.command(name="harvest")
async def harvest_suites(
    *key: str,
    source: Annotated[str | None, Parameter(name="--from", allow_leading_hyphen=True)] = None,
    branch: str | None = None,
    since: Annotated[int | None, _NATURAL] = None,
    concurrency: Annotated[int | None, _POSITIVE] = None,
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
                    messages.say(("interrupted", "bold red"), f": {reading.spent()}{render.one_line(untouched)}")
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


def _format(asked: Format | None) -> Format:
    return asked or ("table" if sys.stdout.isatty() else "jsonl")


def _session_writer(form: Format, output: Output, title: str) -> Writer:
    if form == "table":
        return SessionTable(output, title=title)
    return Csv(sys.stdout, render.session_columns()) if form == "csv" else JsonLines(sys.stdout)


async def _walk(paginator: SessionPaginator, writer: Writer, messages: Output) -> bool:
    """Write all sessions, page by page; return whether they were all that there are to be had."""
    complete = True
    # Where stdout is a terminal too, what is printed there is progress enough.
    with messages.progress(shown=not sys.stdout.isatty()) as show:
        async with aclosing(paginator.pages()) as pages:
            try:
                async for page in pages:
                    writer.write(page.sessions)
                    complete = page.last
                    show(_spent(paginator))
            except asyncio.CancelledError:
                if paginator.cursor:
                    messages.say(*_resume(paginator.cursor))
                raise
    return complete


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
    return Csv(stream, render.harvest_columns()) if form == "csv" else JsonLines(stream)


def _code(reading: Reading) -> int:
    """Return the exit code of a harvest."""
    failures = reading.failures().values()
    if not failures:
        return DONE
    if reading.harvest.stats.suites:
        return PARTLY_FAILED
    refused = all(isinstance(error, AuthenticationError | ForbiddenError) for error in failures)
    return NOT_AUTHORISED if refused else FAILED


def _spent(paginator: SessionPaginator) -> str:
    stats = paginator.stats
    again = f" ({stats.retries} repeated)" if stats.retries else ""
    return f"{render.count(stats.sessions, 'session')}, {render.count(stats.requests, 'request')}{again}"


def _resume(cursor: Cursor) -> tuple[str | tuple[str, str], ...]:
    return "all that was read is written; to go on, add ", (f"--start {cursor}", "bold")


def _fail(error: Exception) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    code, hint = FAILED, ""
    if isinstance(error, CycloptsError):
        code, hint = USAGE, " (see --help)"
    elif isinstance(error, ConfigError):
        code = USAGE
    elif isinstance(error, AuthenticationError | ForbiddenError):
        code = NOT_AUTHORISED
    messages = Output(stderr=True)
    messages.say(("error", "bold red"), f": {render.one_line(str(error))}{hint}")
    cursor = getattr(error, "cursor", None)
    if cursor:
        messages.say(*_resume(cursor))
    return code


app.command(demo.serve)
app.command(demo.demo)
