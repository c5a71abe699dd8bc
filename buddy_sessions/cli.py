"""The command line: reads the arguments, lets `BuddyClient` do the work, and turns what happens into an exit code.

Data goes to stdout, everything else to stderr. Only what the package exports is used here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

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
from .render import Csv, Format, JsonLines, Output, SessionTable, Writer

DONE, FAILED, USAGE, NOT_AUTHORISED, INTERRUPTED = 0, 1, 2, 4, 130

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
4 not authorised, 130 interrupted.""",
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code.

    Args:
        arguments: The arguments; those of the process if left out.
    """
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(tokens, console=Output(), exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:  # nobody reads any more, as with `| head`
        return DONE
    except (CycloptsError, BuddyError, OSError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


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
    async def open(self, messages: Output) -> AsyncIterator[BuddyClient]:
        """Open the client; `messages` is told what it logs."""
        given = {"region": self.region, "base_url": self.base_url}
        with messages.logs(debug=self.verbose):
            async with BuddyClient.from_env(**{name: text for name, text in given.items() if text}) as buddy:
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
