"""The suites that arguments and the lines of a file name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from buddy_sessions import AuthenticationError, BuddyClient, BuddyError, ConfigError, Stats, SuiteKey

from .keys import KeyDefaults, Target


class KeyFile(NamedTuple):
    """A file with one key on each line. Blank lines and those that begin with # are ignored."""

    name: str
    text: str

    def keys(self) -> Iterator[tuple[str, str]]:
        """Yield each key, and where it is."""
        for number, line in enumerate(self.text.split("\n"), 1):
            if (key := line.strip()) and not key.startswith("#"):
                yield key, f"{'stdin' if self.name == '-' else self.name}, line {number}: "


class SuiteSelection:
    """The suites that `arguments` and the lines of a file name: suites, and projects for all their suites, each once.

    Raises ConfigError for a text that names neither.
    """

    def __init__(
        self, arguments: Sequence[str], file: KeyFile | None = None, *, defaults: KeyDefaults = KeyDefaults()
    ) -> None:
        if not arguments and file is None:
            if not (defaults.workspace and defaults.project):
                raise ConfigError("no suite given: name suites or projects, or pass a file with --from")
            arguments = [""]  # the project of the defaults
        self._places: dict[Target, str] = {}  # where each is named
        for key, place in [*((key, "") for key in arguments), *(file.keys() if file is not None else ())]:
            with _located(place):
                self._places.setdefault(defaults.parse_target(key), place)
        self._known = {target for target in self._places if isinstance(target, SuiteKey)}
        self._unlisted_projects = len(self._places) - len(self._known)
        self.failures: dict[str, BuddyError] = {}
        self.stats = Stats()
        self.started = 0

    @property
    def count(self) -> int:
        """The number of suites that are known so far."""
        return len(self._known)

    @property
    def is_complete(self) -> bool:
        """Whether all suites are known."""
        return not self._unlisted_projects

    async def suites(self, buddy: BuddyClient) -> AsyncIterator[SuiteKey]:
        """Iterate over the suites, then over those of projects. Raises ConfigError for names that no URL can have."""
        for target, place in self._places.items():
            with _located(place):
                buddy.sessions(target if isinstance(target, SuiteKey) else SuiteKey(*target, "any"))
        for target in sorted(self._places, key=lambda target: not isinstance(target, SuiteKey)):
            for suite in [target] if isinstance(target, SuiteKey) else await self._list(buddy, target):
                self.started += 1
                yield suite

    async def _list(self, buddy: BuddyClient, project: tuple[str, str]) -> list[SuiteKey]:
        """Return the suites of a project, without those that are already known."""
        self.stats += Stats(requests=1)
        try:
            suites = [suite.key for suite in await buddy.suites(*project)]
        except AuthenticationError:
            raise  # nothing else can be read either
        except BuddyError as error:
            self.failures["/".join(project)] = error
            suites = []
        self._unlisted_projects -= 1
        new = [suite for suite in dict.fromkeys(suites) if suite not in self._known]
        self._known.update(new)
        return new


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Begin the message of a ConfigError with the place in a file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}{error}") from None
