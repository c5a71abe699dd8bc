"""Options that several commands share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter, Token
from cyclopts.types import NonNegativeInt, PositiveInt
from cyclopts.validators import Number

from buddy_sessions import MAIN, BuddyClient, ConfigError, Main

from .input.keys import CONNECTION, KeyDefaults
from .input.paths import FILE, read_text
from .input.suite_selection import SuiteFile
from .input.times import Duration, Since
from .render.console import Output
from .render.markdown import DEFAULT_MAX_BYTES, MIN_BYTES
from .render.rows import choose_format

Key: TypeAlias = Annotated[
    str,
    Parameter(
        name="SUITE", help="WORKSPACE/PROJECT/SUITE_ID, or the URL of a suite. With -w and -p, SUITE_ID is enough."
    ),
]
KeyOrSession: TypeAlias = Annotated[
    str,
    Parameter(
        name="SUITE",
        help="WORKSPACE/PROJECT/SUITE_ID, or the URL of a suite or a session. With -w and -p, SUITE_ID is enough.",
    ),
]
SessionName: TypeAlias = Annotated[
    str | None,
    Parameter(
        show_default=False,
        help="latest (the default), relative_id or ID of a session, its URL, a commit (at least 7 digits), or the URL "
        "of a CI run.",
    ),
]
Keys: TypeAlias = Annotated[
    str,
    Parameter(
        name="SUITE",
        help="WORKSPACE/PROJECT/SUITE_ID or a URL, or WORKSPACE/PROJECT or WORKSPACE for all suites in it. With -w and "
        "-p, SUITE_ID is enough, or nothing for the project.",
    ),
]
SavedKeys: TypeAlias = Annotated[
    str,
    Parameter(
        name="SUITE",
        help="WORKSPACE/PROJECT/SUITE_ID or a URL, or WORKSPACE/PROJECT or WORKSPACE for all suites in it (default: "
        "all suites in the database).",
    ),
]


Flag: TypeAlias = Annotated[bool, Parameter(show_default=False)]
"""An option without a value."""


def _read_keys(_: Any, tokens: Sequence[Token]) -> SuiteFile:
    """Read all lines. It is done while arguments are parsed, because a read of stdin would block the event loop."""
    return SuiteFile(tokens[0].value, text=read_text(tokens[0].value))


Source: TypeAlias = Annotated[
    SuiteFile | None,
    Parameter(
        name="--from",
        converter=_read_keys,
        accepts_keys=False,
        allow_leading_hyphen=True,  # the value - is stdin
        metavar="FILE",
        help="File with more suites, one per line; - for stdin. Blank lines and lines that begin with # are ignored.",
    ),
]


def _check_branch(_: Any, branch: str | Main | None) -> None:
    if branch == "*":
        raise ConfigError("'*' is no branch: leave out --branch")
    if branch == "":
        raise ConfigError("the name of the branch is empty: leave out --branch")


def _read_branch(_: Any, tokens: Sequence[Token]) -> str:
    return tokens[0].value


BRANCH = Parameter(validator=_check_branch)
Branch: TypeAlias = Annotated[str | None, BRANCH, Parameter(help="Only sessions of this branch.")]
JudgedBranch: TypeAlias = Annotated[
    str | Main,
    BRANCH,
    Parameter(
        converter=_read_branch,
        metavar="BRANCH",
        show_choices=False,
        show_default=False,
        help="Branch to look at (default: the main branch).",
    ),
]
Last: TypeAlias = Annotated[
    PositiveInt, Parameter(help="Number of commits to look at: the newest ones that passed or failed.")
]
SavedFile: TypeAlias = Annotated[Path, FILE, Parameter(help="SQLite file, as written by sync.")]
OUT = Parameter(
    name=("--out", "-o"),
    metavar="FILE",
    help="File to write: .jsonl, .csv (see --format) or .parquet. An existing file is replaced only at the end, if all "
    "suites were read.",
)
RowFormat: TypeAlias = Annotated[
    Literal["jsonl", "csv"] | None,
    Parameter(
        help="Output format (default: jsonl). In csv, an apostrophe is put before text that looks like a formula."
    ),
]
Json: TypeAlias = Annotated[bool, Parameter(show_default=False, help="The same as --format jsonl.")]
MaxBytes: TypeAlias = Annotated[
    int,
    Parameter(
        validator=Number(gte=MIN_BYTES),
        help="Maximum size of markdown: traces, then names are left out. The default fits in a comment of GitHub.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Verbosity:
    """What is printed to stderr."""

    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), show_default=False)] = False
    """Print only warnings and errors to stderr."""

    def open(self) -> Output:
        """Return the console for messages."""
        return Output(stderr=True, quiet=self.quiet)


@Parameter(name="*")
@dataclass(frozen=True)
class Printing:
    """How data is printed."""

    format: Literal["table", "jsonl", "csv"] | None = None
    """Output format (default: table on a terminal, otherwise jsonl). In csv, an apostrophe is put before text
    that looks like a formula."""
    json: Json = False

    def choose(self) -> str:
        """Return the format to print. Raises ConfigError if the two options contradict each other."""
        return choose_format(self.format, json=self.json)


@Parameter(name="*")
@dataclass(frozen=True)
class TestPrinting:
    """How tests are printed."""

    format: Literal["table", "jsonl", "csv", "markdown"] | None = None
    """Output format (default: table on a terminal, otherwise jsonl). In csv, an apostrophe is put before text
    that looks like a formula; markdown is for a comment or a job summary."""
    json: Json = False
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES

    def choose(self) -> str:
        """Return the format to print. Raises ConfigError if the two options contradict each other."""
        return choose_format(self.format, json=self.json)


@Parameter(name="*")
@dataclass(frozen=True)
class StatusPrinting(TestPrinting):
    """How the status of suites is printed."""

    max_bytes: Annotated[int, Parameter(validator=Number(gte=2_000))] = 4_000
    """Maximum size of markdown: suites are left out. The default fits in a message of a chat."""


@Parameter(name="*")
@dataclass(frozen=True)
class ReadOptions:
    """Which sessions of which suites a command reads."""

    source: Source = None
    after: NonNegativeInt | None = None
    """Only sessions with a higher relative_id, in every suite."""
    since: Since = None
    concurrency: PositiveInt = 8
    """Maximum number of requests at once."""


@Parameter(name="*", group=CONNECTION)
@dataclass(frozen=True)
class Connection:
    """How to reach Buddy. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are used."""

    region: str | None = None
    """US, EU or AS (default: from BUDDY_REGION or BUDDY_API_URL)."""
    base_url: str | None = None
    """URL of the API on premises: https://buddy.example.com/api."""
    attempts: PositiveInt = 4
    """Attempts for a request that fails, with the first one."""
    max_wait: Duration | None = None
    """Longest wait of a request for the rate limit (default: 5m; of mcp: 30s)."""
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), show_default=False)] = False
    """Log each request to stderr."""

    @asynccontextmanager
    async def open_client(
        self, messages: Output, *, max_concurrency: int = 8, max_wait: float = 300.0
    ) -> AsyncIterator[BuddyClient]:
        """Open a client, and print its log to `messages`."""
        with messages.show_logs(debug=self.verbose):
            async with BuddyClient.from_env(
                region=self.region,
                base_url=self.base_url,
                max_attempts=self.attempts,
                max_concurrency=max_concurrency,
                max_wait=max_wait if self.max_wait is None else self.max_wait,
                trust_env=True,
            ) as buddy:
                yield buddy


@Parameter(name="*")
@dataclass(frozen=True)
class Access:
    """The options of each command that reads from Buddy."""

    verbosity: Verbosity = Verbosity()
    defaults: KeyDefaults = KeyDefaults()
    connection: Connection = Connection()


@Parameter(name="*")
@dataclass(frozen=True)
class Question:
    """The options of each command that asks about the tests of a suite."""

    branch: JudgedBranch = MAIN
    limit: PositiveInt | None = None
    """Maximum number of tests or commits (default: 20, of cases 50, in a table and in markdown; otherwise all)."""
    db: Annotated[Path | None, FILE] = None
    """Read from this SQLite file, written by "sync --cases all" (for history: "failed"), and send no request."""
    access: Access = Access()
