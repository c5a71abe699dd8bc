"""The suites, projects and workspaces that arguments and files name: by a key, a part of it, or the URL of a suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

from cyclopts import Group, Parameter

from buddy_sessions import AuthenticationError, BuddyClient, BuddyError, ConfigError, SuiteKey
from buddy_sessions._base.validate import LATEST, validate_key
from buddy_sessions.models import parse_session_url
from buddy_sessions.questions.named_sessions import ACCEPTED_NAMES

Target: TypeAlias = SuiteKey | tuple[str, str] | tuple[str]
"""A suite; or a workspace and a project, or a workspace, for all suites in it."""

CONNECTION = Group("Connection", sort_key=9)  # the last one in --help


@Parameter(name="*", group=CONNECTION)
@dataclass(frozen=True)
class KeyDefaults:
    """The names that complete a key without a workspace or a project."""

    workspace: Annotated[
        str | None, Parameter(name=("--workspace", "-w"), env_var="BUDDY_WORKSPACE", metavar="WORKSPACE")
    ] = None
    """Workspace of the suites, if SUITE does not name it."""
    project: Annotated[str | None, Parameter(name=("--project", "-p"), env_var="BUDDY_PROJECT", metavar="PROJECT")] = (
        None
    )
    """Project of the suites, if SUITE does not name it."""

    def parse_suite(self, text: str) -> SuiteKey:
        """Return the suite that a key or a URL names. Raises ConfigError for anything else."""
        target = self.parse_target(text)
        if isinstance(target, SuiteKey):
            return target
        advice = "pass its key, its URL or, with -w and -p, its ID: buddy-sessions status WORKSPACE prints the keys"
        raise ConfigError(f"{'/'.join(target)}: a suite is WORKSPACE/PROJECT/SUITE_ID", advice=advice)

    def parse_target(self, text: str) -> Target:
        """Return a suite, a project or a workspace; without a text, the project or the workspace of the defaults.

        Raises ConfigError also for names that no URL can have.
        """
        names = text.split("/") if text else []
        is_host = len(names) > 1 and "." in names[0].strip(".")
        if len(names) < 2 and self.workspace:
            names = list(filter(None, (self.workspace, self.project, *names)))
        advice = (
            "write workspace/project/suite_id or workspace/project, or paste the URL of a suite in Buddy; "
            "buddy-sessions status WORKSPACE prints the IDs, and -w and -p (BUDDY_WORKSPACE, BUDDY_PROJECT) complete "
            "them"
        )
        if "://" in text:
            with suppress(ValueError):
                return validate_key(SuiteKey.parse(text))
        elif "\\" in text:
            advice = "write / between the names"
        elif is_host:
            advice = f"a URL begins with https://, as in https://{text}"
        elif 0 < len(names) <= 3 and all(names) and (len(names) > 1 or not self.project):
            key = SuiteKey(*names, *["any"] * (3 - len(names)))
            validate_key(key)
            return key if len(names) == 3 else key[:2] if len(names) == 2 else key[:1]
        raise ConfigError(f"neither a suite nor a project: {text!r}", advice=advice)


def parse_session(defaults: KeyDefaults, key: str, session: str | None = None) -> tuple[SuiteKey, str]:
    """Return the suite of a key, and the name of a session: `latest` if neither `key` nor `session` names one."""
    suite = defaults.parse_suite(key)
    is_session = "://" in key and parse_session_url(key)[1] is not None
    if session is None:
        return suite, key if is_session else LATEST
    if is_session:
        raise ConfigError(f"two sessions: {key!r} is the URL of one, so leave out {session!r}")
    if "/" in session and "://" not in session:
        raise ConfigError(f"{session!r} is not a session: {ACCEPTED_NAMES}")
    return suite, session


def select_keys(stored: Sequence[SuiteKey], targets: Iterable[Target], db: Path | None) -> list[SuiteKey]:
    """Return the suites of a database that are targets, or in a project or workspace that is one; all without targets.

    Raises ConfigError for a target that is not in it, and for a database without a suite.
    """
    if not stored:
        raise ConfigError(f"no suite in {str(db)!r}: run buddy-sessions sync WORKSPACE/PROJECT --db {db}")
    requested: set[tuple[str, ...]] = set(targets)
    saved = {target for suite in stored for target in _targets_with(suite)}
    missing = sorted(requested - saved)
    if missing:
        names = ["/".join(target) for target in missing]
        command = f"buddy-sessions sync {' '.join(names)} --db {db}"
        raise ConfigError(f"{', '.join(names)} not found in {str(db)!r}: run {command}")
    return [suite for suite in stored if not requested or not requested.isdisjoint(_targets_with(suite))]


def _targets_with(suite: SuiteKey) -> tuple[tuple[str, ...], ...]:
    return suite, suite[:2], suite[:1]


class SuiteFile(NamedTuple):
    """A file with one key on each line. Blank lines and those that begin with # are ignored."""

    name: str
    text: str

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
        self,
        arguments: Sequence[str],
        file: SuiteFile | None = None,
        *,
        defaults: KeyDefaults = KeyDefaults(),
        may_be_empty: bool = False,
    ) -> None:
        if not arguments and file is None and not may_be_empty:
            if not defaults.workspace:
                raise ConfigError("no suite given: name suites, projects or a workspace, or pass a file with --from")
            arguments = [""]  # the project of the defaults, or their workspace
        targets: dict[Target, None] = {}
        for key, place in [*((key, "") for key in arguments), *(file.keys() if file is not None else ())]:
            try:
                targets[defaults.parse_target(key)] = None
            except ConfigError as error:
                raise ConfigError(f"{place}{error}") from None
        if file is not None and not targets:
            raise ConfigError(f"no suite in {'stdin' if file.name == '-' else file.name}: write one on each line")
        self.targets = list(targets)
        self.failures: dict[str, BuddyError] = {}
        """Why projects and workspaces could not be listed."""

    @property
    def followed(self) -> str | None:
        """The only project or workspace: a watch follows its new suites. None for anything else."""
        (first, *others) = self.targets
        return None if others or isinstance(first, SuiteKey) else "/".join(first)

    async def resolve(self, buddy: BuddyClient) -> dict[SuiteKey, str | None]:
        """Return the suites, then those of projects and workspaces, which have their names, each once.

        Raises ConfigError if there is no suite, and no error says why.
        """
        suites: dict[SuiteKey, str | None] = {each: None for each in self.targets if isinstance(each, SuiteKey)}
        for target in self.targets:
            if isinstance(target, SuiteKey):
                continue
            try:
                suites |= {suite.key: suite.name for suite in await buddy.suites(*target)}
            except AuthenticationError:
                raise
            except BuddyError as error:
                self.failures["/".join(target)] = error
        if not suites and not self.failures:
            names = ", ".join(map("/".join, self.targets))
            raise ConfigError(f"{names}: no suite: create one in Buddy, or check the name")
        return suites
