"""The suites, projects and sessions that arguments name.

A suite or a project is named by its key, by a part of its key, or by a URL; a session by a URL, `latest`, its
relative_id, its ID, or the beginning of a commit's hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import unquote, urlsplit

from cyclopts import Parameter

from buddy_sessions import BuddyClient, ConfigError, Suite, SuiteKey, parse_session_url
from buddy_sessions.models import REVISION

Target: TypeAlias = SuiteKey | tuple[str, str]
"""A suite; or a workspace and a project, for all suites of the project."""

LATEST = "latest"
"""The name of the newest session that says whether a branch is good."""

_RELATIVE_ID = re.compile("#([0-9]{1,18})|([0-9]{1,7})")
_HASH_LENGTH = 40  # digits of a whole hash, which no ID has

_PROJECT_PATHS = (
    ".*/workspaces/([^/]+)/projects/([^/]+)(?:/unit-tests(?:/suites)?)?/?",  # of the API, also on premises
    "/([^/]+)/([^/]+)(?:/unit-tests)?/?",  # of the browser
)


@Parameter(name="*", group="Connection")
@dataclass(frozen=True)
class KeyDefaults:
    """The names that complete a key without a workspace or a project."""

    workspace: Annotated[str | None, Parameter(name=("--workspace", "-w"), env_var="BUDDY_WORKSPACE")] = None
    """Workspace, for a key without one."""
    project: Annotated[str | None, Parameter(name=("--project", "-p"), env_var="BUDDY_PROJECT")] = None
    """Project, for a key without one."""

    def parse_target(self, text: str) -> Target:
        """Return the suite or the project that a key or a URL names; without a text, the project of the defaults."""
        names = text.split("/")
        if len(names) == 1 and self.workspace and self.project:
            names = [self.workspace, self.project, *filter(None, names)]
        if "://" not in text and len(names) == 2 and all(names):
            return names[0], names[1]
        try:
            return _project_in_url(text) or SuiteKey.parse(text if "://" in text else "/".join(names))
        except ValueError:
            raise ConfigError(
                f"neither a suite nor a project: {text!r}; write workspace/project/suite_id or workspace/project, or a "
                "URL, or set -w and -p (BUDDY_WORKSPACE, BUDDY_PROJECT)"
            ) from None


def parse_session(defaults: KeyDefaults, key: str, session: str | None = None) -> tuple[Target, str | None]:
    """Return the suite of a key, and the name of a session; None if neither `key` nor `session` names one."""
    target = defaults.parse_target(key)
    is_session = "://" in key and isinstance(target, SuiteKey) and parse_session_url(key)[1] is not None
    if session is None:
        return target, key if is_session else None
    if is_session:
        raise ConfigError(f"two sessions: {key!r} is the URL of one, so leave out {session!r}")
    return target, parse_session_of(target, session)


def parse_session_of(suite: Target, text: str) -> str:
    """Return the name of a session of a suite. Raises ConfigError for a URL of something else."""
    try:
        key, session = parse_session_url(text) if "://" in text else (suite, text)
    except ValueError:
        key, session = None, None
    if session is None or key != suite:
        raise ConfigError(
            f"not a session of {'/'.join(suite)}: {text!r}; write its relative_id or ID, or paste its URL"
        )
    return text


def possible_ids(name: str) -> list[int | str]:
    """Return the `relative_id` (`#383`, or at most seven digits) and the ID that a name or a URL can be."""
    if "://" in name:
        return [parse_session_url(name)[1] or name]
    match = _RELATIVE_ID.fullmatch(name)
    relative_ids = [int(match[1] or match[2])] if match else []
    is_id = not name.startswith("#") and not (is_revision(name) and len(name) >= _HASH_LENGTH)
    return [*relative_ids, *([name] if is_id else [])]


def is_revision(name: str) -> bool:
    """Return whether a name can be the hash of a commit, or its beginning."""
    return REVISION.fullmatch(name) is not None


def check_host(buddy: BuddyClient, text: str) -> None:
    """Raise ConfigError if a URL is not of the Buddy that a client reads. Sends no request."""
    if "://" in text:
        scheme, host, *_ = urlsplit(text)
        buddy.sessions(f"{scheme}://{host}/any/any/unit-tests/any")


async def find_suite(buddy: BuddyClient, target: Target) -> SuiteKey:
    """Return the suite. Raises ConfigError for a project, which names its suites: one request."""
    return target if isinstance(target, SuiteKey) else choose_suite(target, await buddy.suites(*target))


def choose_suite(target: Target, suites: Sequence[Suite]) -> SuiteKey:
    """Return the suite. Raises ConfigError for a project, which names those of the suites that are in the project."""
    if isinstance(target, SuiteKey):
        return target
    error = ConfigError(f"{'/'.join(target)} is a project: name one of its suites")
    for suite in suites:
        if suite.key[:2] == target:
            error.add_note(describe_suite(suite))
    raise error


def describe_suite(suite: Suite) -> str:
    """Return the key of a suite, and its name if it is known."""
    return f"{suite.key} ({suite.name})" if suite.name else str(suite.key)


def select_suites(stored: Sequence[Suite], targets: Iterable[Target], db: Path) -> list[Suite]:
    """Return the suites of a database that are targets, or in a project that is one; all without targets."""
    requested = set(targets)
    known = {suite.key for suite in stored} | {suite.key[:2] for suite in stored}
    missing = sorted(requested - known)
    if missing:
        names = ["/".join(target) for target in missing]
        command = f"buddy-sessions sync {' '.join(names)} --db {db}"
        raise ConfigError(f"{', '.join(names)} not found in {str(db)!r}: run {command}")
    return [suite for suite in stored if not requested or not requested.isdisjoint((suite.key, suite.key[:2]))]


def _project_in_url(text: str) -> tuple[str, str] | None:
    """Return the names of a workspace and a project in a URL of the browser or the API; None if it has none."""
    path = urlsplit(text).path if "://" in text else ""
    match = next(filter(None, (re.fullmatch(pattern, path) for pattern in _PROJECT_PATHS)), None)
    return None if match is None else (unquote(match[1]), unquote(match[2]))
