"""What several commands take, and what all of them answer with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from buddy_sessions import BuddyClient, ConfigError

from .output import Output

DONE, FAILED, USAGE, PARTLY_FAILED, NOT_AUTHORISED, INTERRUPTED = 0, 1, 2, 3, 4, 130
"""The exit codes."""

POSITIVE = Parameter(validator=Number(gte=1))
NATURAL = Parameter(validator=Number(gte=0))
FROM = Parameter(name="--from", allow_leading_hyphen=True)  # whose value may be -, for stdin


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
