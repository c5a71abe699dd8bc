"""The suites and projects that arguments name: by a key, a part of a key, or a URL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import unquote, urlsplit

from cyclopts import Group as HelpGroup
from cyclopts import Parameter

from buddy_sessions import ConfigError, Suite, SuiteKey

Target: TypeAlias = SuiteKey | tuple[str, str]
"""A suite; or a workspace and a project, for all suites of the project."""

Group: TypeAlias = Target | tuple[str]
"""A target; or a workspace, for all suites of its projects."""

_PROJECT_PATHS = (
    ".*/workspaces/([^/]+)/projects/([^/]+)(?:/unit-tests(?:/suites)?)?/?",  # of the API, also on premises
    "/([^/]+)/([^/]+)(?:/unit-tests)?/?",  # of the browser
)


CONNECTION = HelpGroup("Connection", sort_key=9)  # the last one in --help


@Parameter(name="*", group=CONNECTION)
@dataclass(frozen=True)
class KeyDefaults:
    """The names that complete a key without a workspace or a project."""

    workspace: Annotated[str | None, Parameter(name=("--workspace", "-w"), env_var="BUDDY_WORKSPACE")] = None
    """Workspace of suites without one."""
    project: Annotated[str | None, Parameter(name=("--project", "-p"), env_var="BUDDY_PROJECT")] = None
    """Project of suites without one."""

    def parse_target(self, text: str) -> Target:
        """Return the suite or the project that a key or a URL names; without a text, the project of the defaults."""
        names = text.split("/")
        if "\\" in text or (len(names) > 1 and "." in names[0].strip(".") and "://" not in text):  # a host
            raise ConfigError(f"neither a suite nor a project: {text!r}; {_advise(text)}")
        if len(names) == 1 and self.workspace:
            names = list(filter(None, [self.workspace, self.project, *names]))
        if "://" not in text and len(names) == 2 and all(names):
            return names[0], names[1]
        try:
            return _project_in_url(text) or SuiteKey.parse(text if "://" in text else "/".join(names))
        except ValueError:
            raise ConfigError(f"neither a suite nor a project: {text!r}; {_advise(text)}") from None

    def parse_group(self, text: str) -> Group:
        """Return what `parse_target` does, or a workspace: that of the defaults if they have no project."""
        if not text and self.workspace and not self.project:
            return (self.workspace,)
        is_workspace = text and "/" not in text and not (self.workspace or self.project)
        return (text,) if is_workspace else self.parse_target(text)


def _advise(text: str) -> str:
    """Return how to write what a text means."""
    if "\\" in text:
        return f"write / in place of the backslash: {text.replace(chr(92), '/')}"
    if "." in text.partition("/")[0]:
        return f"a URL begins with https://, as in https://{text}"
    return (
        "write workspace/project/suite_id or workspace/project, or a URL, or set -w and -p (BUDDY_WORKSPACE, "
        "BUDDY_PROJECT)"
    )


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


def select_keys(stored: Sequence[SuiteKey], targets: Iterable[Group], db: Path | None) -> list[SuiteKey]:
    """Return the suites of a database that are targets, or in a project or workspace that is one; all without targets.

    Raises ConfigError for a target that is not in it.
    """
    requested: set[tuple[str, ...]] = set(targets)
    known = {group for suite in stored for group in _groups(suite)}
    missing = sorted(requested - known)
    if missing:
        names = ["/".join(target) for target in missing]
        command = f"buddy-sessions sync {' '.join(names)} --db {db}"
        raise ConfigError(f"{', '.join(names)} not found in {str(db)!r}: run {command}")
    return [suite for suite in stored if not requested or not requested.isdisjoint(_groups(suite))]


def _groups(suite: SuiteKey) -> tuple[tuple[str, ...], ...]:
    """Return the key of a suite, and those of its project and workspace."""
    return suite, suite[:2], suite[:1]


def _project_in_url(text: str) -> tuple[str, str] | None:
    """Return the names of a workspace and a project in a URL of the browser or the API; None if it has none."""
    path = urlsplit(text).path if "://" in text else ""
    match = next(filter(None, (re.fullmatch(pattern, path) for pattern in _PROJECT_PATHS)), None)
    return None if match is None else (unquote(match[1]), unquote(match[2]))
