"""The suites that arguments and the lines of a file name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import final

from buddy_sessions import AuthenticationError, BuddyClient, BuddyError, ConfigError, Project, Stats, Suite, SuiteKey

from .keys import Group, KeyDefaults


@final
class SuiteFile:
    """A file with one key on each line. Blank lines and those that begin with # are ignored."""

    def __init__(self, name: str, *, text: str = "") -> None:  # cyclopts takes as many words as have no default
        self.name = name
        self.text = text

    def keys(self) -> Iterator[tuple[str, str]]:
        """Yield each key, and where it is."""
        for number, line in enumerate(self.text.split("\n"), 1):
            if (key := line.strip()) and not key.startswith("#"):
                yield key, f"{'stdin' if self.name == '-' else self.name}, line {number}: "


class SuiteSelection:
    """The suites that `arguments` and the lines of a file name, each once: suites, projects, and workspaces.

    Raises ConfigError for a text that names none of them, and for an empty file.
    """

    def __init__(
        self, arguments: Sequence[str], file: SuiteFile | None = None, *, defaults: KeyDefaults = KeyDefaults()
    ) -> None:
        if not arguments and file is None:
            if not defaults.workspace:
                raise ConfigError("no suite given: name suites, projects or a workspace, or pass a file with --from")
            arguments = [""]  # the project of the defaults, or their workspace
        self._places: dict[Group, str] = {}  # where each is named
        for key, place in [*((key, "") for key in arguments), *(file.keys() if file is not None else ())]:
            with _located(place):
                self._places.setdefault(defaults.parse_group(key), place)
        if file is not None and not self._places:
            raise ConfigError(f"no suite in {'stdin' if file.name == '-' else file.name}: write one on each line")
        self._known = {target: "" for target in self._places if isinstance(target, SuiteKey)}
        self._unlisted = len(self._places) - len(self._known)
        self.failures: dict[str, BuddyError] = {}
        self.stats = Stats()
        self.started = 0

    @property
    def groups(self) -> list[Group]:
        """The suites, projects and workspaces."""
        return list(self._places)

    @property
    def count(self) -> int:
        """The number of suites that are known so far."""
        return len(self._known)

    @property
    def is_complete(self) -> bool:
        """Whether all suites are known."""
        return not self._unlisted

    def name_of(self, suite: SuiteKey) -> str | None:
        """Return the name of a suite, if its project was listed."""
        return self._known.get(suite) or None

    async def suites(self, buddy: BuddyClient) -> AsyncIterator[SuiteKey]:
        """Iterate over the suites, then over those of projects, then of workspaces.

        Raises ConfigError for names that no URL can have, and at the end if there is no suite, and no error says why.
        """
        for target, place in self._places.items():
            with _located(place):
                buddy.sessions(SuiteKey(*target, *["any"] * (3 - len(target))))
        for target in sorted(self._places, key=len, reverse=True):
            if isinstance(target, SuiteKey):
                self.started += 1
                yield target
                continue
            for project in [target] if len(target) == 2 else await self._projects(buddy, *target):
                for suite in await self._list(buddy, *project):
                    self.started += 1
                    yield suite
            self._unlisted -= 1
        if not self.started and not self.failures:
            names = ", ".join(map("/".join, self._places))
            raise ConfigError(f"{names}: no suite: create one in Buddy, or check the name")

    async def _projects(self, buddy: BuddyClient, workspace: str) -> list[tuple[str, str]]:
        """Return the projects of a workspace."""
        found: list[Project] = []
        with self._collect_failures(workspace):
            found = await buddy.projects(workspace)
        return [(workspace, project.name) for project in found]

    async def _list(self, buddy: BuddyClient, workspace: str, project: str) -> list[SuiteKey]:
        """Return the suites of a project, without those that are already returned or named."""
        found: list[Suite] = []
        with self._collect_failures(f"{workspace}/{project}"):
            found = await buddy.suites(workspace, project)
        names = {suite.key: suite.name or "" for suite in found}
        new = [suite for suite in names if suite not in self._known]
        self._known |= names
        return new

    @contextmanager
    def _collect_failures(self, name: str) -> Iterator[None]:
        """Count a request; keep its error, unless nothing else can be read either."""
        self.stats += Stats(requests=1)
        try:
            yield
        except AuthenticationError:
            raise
        except BuddyError as error:
            self.failures[name] = error


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Begin the message of a ConfigError with the place in a file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}{error}") from None
