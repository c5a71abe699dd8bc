"""Options that several commands share, and the client or the database that they open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt
from cyclopts.validators import Number

from buddy_sessions import MAIN, BuddyClient, ConfigError, Main, SessionStore, SuiteKey
from buddy_sessions._base.validate import REVISION
from buddy_sessions.analysis import SuiteStatus
from buddy_sessions.analysis.branches import suggest_branches

from .render.console import Output
from .render.markdown import MIN_BYTES
from .suite_selection import CONNECTION, KeyDefaults, SuiteFile, select_keys
from .values import FILE, Duration, Timeout, find_database, parsed, read_text

Answers: TypeAlias = BuddyClient | SessionStore
"""What answers a question."""

Key: TypeAlias = Annotated[
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
_MANY = "WORKSPACE/PROJECT/SUITE_ID or a URL, or WORKSPACE/PROJECT or WORKSPACE for all suites in it"
Keys: TypeAlias = Annotated[
    str, Parameter(name="SUITE", help=f"{_MANY}. With -w and -p, SUITE_ID is enough, or nothing for the project.")
]
SavedKeys: TypeAlias = Annotated[str, Parameter(name="SUITE", help=f"{_MANY} (default: all suites in the database).")]

Flag: TypeAlias = Annotated[bool, Parameter(show_default=False)]
"""An option without a value."""
Quiet: TypeAlias = Annotated[
    bool, Parameter(name=("--quiet", "-q"), show_default=False, help="Hide progress and notes, not warnings or errors.")
]
Count: TypeAlias = Annotated[PositiveInt, Parameter(metavar="COUNT")]
FromFile: TypeAlias = Annotated[
    SuiteFile | None,
    parsed(
        # It is read while arguments are parsed, because a read of stdin would block the event loop.
        lambda name: SuiteFile(name, read_text(name)),
        name="--from",
        accepts_keys=False,
        n_tokens=1,
        allow_leading_hyphen=True,  # the value - is stdin
        metavar="FILE",
        help="File with more suites, one per line; - for stdin. Lines that begin with # are ignored.",
    ),
]


def _parse_branch(branch: str) -> str:
    if branch == "*":
        raise ConfigError("'*' is no branch: leave out this option")
    return branch


_BRANCH = parsed(_parse_branch, metavar="BRANCH")
Branch: TypeAlias = Annotated[str | None, _BRANCH, Parameter(help="Only sessions of this branch.")]
BranchOption: TypeAlias = Annotated[
    str | Main,
    _BRANCH,
    Parameter(show_choices=False, show_default=False, help="Branch to look at (default: the main branch)."),
]


def _parse_revision(revision: str) -> str:
    if not REVISION.fullmatch(revision):
        raise ConfigError(f"{revision!r} is not a hash of at least 7 digits: pass it, such as $(git rev-parse HEAD)")
    return revision


def _parse_run_url(url: str) -> str:
    if "://" not in url:
        raise ConfigError(f"{url!r} is not the URL of a CI run: pass the ci_run_url of its sessions")
    return url


Revision: TypeAlias = Annotated[
    str | None, parsed(_parse_revision, metavar="COMMIT", help="The commit: 7 or more digits of its hash.")
]
RunUrl: TypeAlias = Annotated[
    str | None,
    parsed(
        _parse_run_url, metavar="URL", help="The CI run: the ci_run_url of its sessions. A re-run has the same one."
    ),
]
After: TypeAlias = Annotated[
    NonNegativeInt | None, Parameter(metavar="RELATIVE_ID", help="Only sessions with a higher relative_id.")
]
Jobs: TypeAlias = Annotated[
    Count, Parameter(help="Number of sessions to wait for, such as one for each job of a matrix.")
]
Interval: TypeAlias = Annotated[Timeout, Parameter(help="Time between two polls (default: 10s).")]
Limit: TypeAlias = Annotated[
    Count | None, Parameter(help="Maximum number of rows (default: 50 in table and markdown, otherwise all).")
]
Last: TypeAlias = Annotated[
    Count, Parameter(help="Number of commits to look at: the newest ones that passed or failed.")
]
SavedFile: TypeAlias = Annotated[Path, FILE, Parameter(help="SQLite file, as written by sync.")]
ReadFile: TypeAlias = Annotated[
    Path | None,
    FILE,
    Parameter(
        help='Read this database instead of Buddy. It has failing tests after "sync --cases failed", all tests after '
        '"--cases all".'
    ),
]
Wait: TypeAlias = Annotated[
    Duration, Parameter(help="How long to wait for another process that writes the file, such as 10m.")
]
OutFile: TypeAlias = Annotated[
    Path | None,
    FILE,
    Parameter(
        name=("--out", "-o"),
        help="File to write: .jsonl, .csv or .parquet. An existing file is replaced only at the end, if all suites "
        "were read.",
    ),
]
Emails: TypeAlias = Annotated[
    bool, Parameter(show_default=False, help="Also write the e-mail addresses of the members who started sessions.")
]
FORMAT = Parameter(name="--format", metavar="FORMAT")
_CSV = "In csv, text that looks like a formula gets an apostrophe."
ROWS = Parameter(
    name="--format", metavar="FORMAT", help=f"Output format (default: table on a terminal, otherwise jsonl). {_CSV}"
)
RowFormat: TypeAlias = Annotated[
    Literal["jsonl", "csv"] | None, FORMAT, Parameter(help=f"Output format (default: jsonl). {_CSV}")
]
TableFormat: TypeAlias = Annotated[Literal["table", "jsonl", "csv"] | None, ROWS]
MaxBytes: TypeAlias = Annotated[
    int,
    Parameter(
        validator=Number(gte=MIN_BYTES),
        metavar="BYTES",
        help="Maximum size of markdown; what does not fit is left out, names last. The default fits in a GitHub "
        "comment.",
    ),
]


@Parameter(name="*", group=CONNECTION)
@dataclass(frozen=True)
class Connection:
    """How to reach Buddy. HTTPS_PROXY and NO_PROXY are used."""

    region: Annotated[str | None, Parameter(metavar="REGION")] = None
    """US, EU or AS (default: from BUDDY_REGION or BUDDY_API_URL, else US)."""
    base_url: Annotated[str | None, Parameter(metavar="URL")] = None
    """URL of the API on premises: https://buddy.example.com/api."""
    concurrency: Count = 8
    """Maximum number of requests at once."""
    attempts: Count = 4
    """Maximum number of attempts for each request, including the first one."""
    max_wait: Duration | None = None
    """Maximum time that a request waits for the rate limit and between attempts (default: 5m)."""
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), show_default=False)] = False
    """Log each request to stderr."""

    @asynccontextmanager
    async def open_client(self, messages: Output, *, max_wait: float = 300.0) -> AsyncIterator[BuddyClient]:
        """Open a client, and print its log to `messages`."""
        with messages.show_logs(debug=self.verbose):
            async with BuddyClient.from_env(
                region=self.region,
                base_url=self.base_url,
                max_attempts=self.attempts,
                max_concurrency=self.concurrency,
                max_wait=max_wait if self.max_wait is None else self.max_wait,
                trust_env=True,
            ) as buddy:
                yield buddy


@Parameter(name="*")
@dataclass(frozen=True)
class Access:
    """The options of each command that reads from Buddy."""

    quiet: Quiet = False
    defaults: KeyDefaults = KeyDefaults()
    connection: Connection = Connection()

    def messages(self) -> Output:
        """Return the console for messages."""
        return Output(stderr=True, quiet=self.quiet)


@Parameter(name="*")
@dataclass(frozen=True)
class Question:
    """The options of each command that asks about the tests of a suite."""

    branch: BranchOption = MAIN
    db: ReadFile = None
    access: Access = Access()


def open_answers(
    db: Path | None, access: Access, messages: Output, *, max_wait: float = 300.0
) -> AbstractAsyncContextManager[Answers]:
    """Open the database `db`, or a client if it is None."""
    if db is not None:
        return SessionStore(find_database(db))
    return access.connection.open_client(messages, max_wait=max_wait)


@asynccontextmanager
async def ask(key: str, question: Question, doing: str = "reading") -> AsyncIterator[tuple[Answers, SuiteKey, Output]]:
    """Open what answers a question about the suite that `key` names, and the console, whose progress is `doing`."""
    messages = question.access.messages()
    suite = question.access.defaults.parse_suite(key)
    with messages.progress(doing, enabled=question.db is None):
        async with open_answers(question.db, question.access, messages) as answers:
            if isinstance(answers, SessionStore):
                select_keys([saved.key for saved in await answers.suites()], [suite], question.db)
            yield answers, suite, messages


async def check_branch(answers: Answers, suite: SuiteKey, branch: str | None) -> str:
    """Return that a suite has no session of a branch, or of any, and which ones it has; empty if it has one."""
    if isinstance(answers, SessionStore):
        return suggest_branches(branch, suite, await answers.sessions(suite))
    return suggest_branches(branch, suite, await answers.sessions(suite, max_sessions=100).collect())


async def lacks_branch(answers: Answers, branch: str | Main, statuses: Sequence[SuiteStatus], messages: Output) -> bool:
    """Return whether a branch was named, and no suite has a session of it. This is a warning."""
    if not isinstance(branch, str) or any(status.reason != "no session" for status in statuses):
        return False
    for status in statuses[:1]:
        messages.print_warning(await check_branch(answers, status.suite, branch))
    return True
