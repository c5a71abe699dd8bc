"""Options that several commands share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from buddy_sessions import BuddyClient, ConfigError, SuiteKey

from .output import Output
from .writers import Format

_T = TypeVar("_T")

FROM = Parameter(name="--from", allow_leading_hyphen=True)  # the value - is stdin
OUT = Parameter(name=("--out", "-o"))
_TABLE_LIMIT = 20  # the default number of tests in a table


@Parameter(name="*")
@dataclass(frozen=True)
class KeyDefaults:
    """The names that complete a key without a workspace or a project."""

    workspace: Annotated[str | None, Parameter(name=("--workspace", "-w"), env_var="BUDDY_WORKSPACE")] = None
    """Workspace of a key without one."""
    project: Annotated[str | None, Parameter(name=("--project", "-p"), env_var="BUDDY_PROJECT")] = None
    """Project of a key without one."""

    def parse_suite(self, text: str) -> SuiteKey:
        """Return the key of a suite from its URL, or from a key whose first names may be missing.

        Raises ConfigError if the text is neither, or if the defaults lack a missing name.
        """
        if "://" in text:
            return parse_argument(SuiteKey.parse, text)
        return SuiteKey(*self._complete(text, "workspace/project/suite_id"))

    def parse_project(self, text: str) -> tuple[str, ...]:
        """Return the names of a workspace and a project from a key whose first names may be missing.

        Raises ConfigError if the key has too many names, or if the defaults lack a missing name.
        """
        return self._complete(text, "workspace/project")

    def _complete(self, text: str, form: str) -> tuple[str, ...]:
        given = text.split("/") if text else []
        count = form.count("/") + 1
        missing = (self.workspace, self.project)[: max(0, count - len(given))]
        names = tuple(name for name in (*missing, *given) if name)
        if len(names) != count or not all(given):
            raise ConfigError(
                f"not {form}: {text!r}; add the missing names, or set -w and -p (BUDDY_WORKSPACE, BUDDY_PROJECT)"
            )
        return names


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Which sessions a command reads with their test cases, and what it prints of the result."""

    branch: str | None = None
    """Only sessions of this branch."""
    last: PositiveInt = 10
    """Number of finished sessions to look at, the newest ones."""
    limit: PositiveInt | None = None
    """Maximum number of tests (default: 20 in a table, otherwise all)."""
    format: Format | None = None
    """Output format (default: table on a terminal, otherwise jsonl). In csv, a formula is preceded by '."""
    db: Path | None = None
    """SQLite file, as written by `sync --cases all`, to read from. No request is made."""

    def limit_for(self, output_format: Format) -> int | None:
        """Return the maximum number of tests in an output format; None for all."""
        return _TABLE_LIMIT if self.limit is None and output_format == "table" else self.limit


@Parameter(name="*", group="Connection")
@dataclass(frozen=True)
class Connection:
    """How to reach Buddy. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured."""

    region: str | None = None
    """US, EU or AS. Default: from BUDDY_API_ENDPOINT, BUDDY_API_URL, BUDDY_BASE_URL or BUDDY_REGION."""
    base_url: str | None = None
    """URL of the API on premises, such as https://buddy.example.com/api. Takes precedence over --region."""
    attempts: PositiveInt = 4
    """Maximum number of attempts for a request that fails, including the first one."""
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), show_default=False)] = False
    """Log each request to stderr."""

    @asynccontextmanager
    async def open_client(self, messages: Output, *, max_concurrency: int = 8) -> AsyncIterator[BuddyClient]:
        """Open a client, and print its log to `messages`."""
        client = BuddyClient.from_env(
            region=self.region,
            base_url=self.base_url,
            max_attempts=self.attempts,
            max_concurrency=max_concurrency,
            trust_env=True,
        )
        with messages.show_logs(debug=self.verbose):
            async with client as buddy:
                yield buddy


def to_utc(time: datetime | None) -> datetime | None:
    """Return an aware time. A time without a time zone is taken as UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def parse_argument(parse: Callable[[str], _T], text: str) -> _T:
    """Return `parse(text)`. A ValueError becomes a ConfigError, which is reported as wrong usage."""
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
