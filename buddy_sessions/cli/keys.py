"""The suites and projects that arguments name: by key, by a part of a key, or by URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from cyclopts import Parameter

from buddy_sessions import BuddyClient, ConfigError, Suite, SuiteKey

from .suggestions import suggest_suites

_T = TypeVar("_T")

Target: TypeAlias = SuiteKey | tuple[str, str]
"""A suite, or the workspace and the name of a project, which stand for all its suites."""

_PROJECT_PATHS = (
    ".*/workspaces/([^/]+)/projects/([^/]+)(?:/unit-tests(?:/suites)?)?/?",  # of the API, also on premises
    "/([^/]+)/([^/]+)(?:/unit-tests)?/?",  # of the browser
)


@Parameter(name="*")
@dataclass(frozen=True)
class KeyDefaults:
    """The names that complete a key without a workspace or a project."""

    workspace: Annotated[str | None, Parameter(name=("--workspace", "-w"), env_var="BUDDY_WORKSPACE")] = None
    """Workspace, for a key without one."""
    project: Annotated[str | None, Parameter(name=("--project", "-p"), env_var="BUDDY_PROJECT")] = None
    """Project, for a key without one."""

    def parse_suite(self, text: str) -> SuiteKey:
        """Return the key of a suite from its URL, or from a key whose first names may be missing.

        Raises ConfigError if the text is neither, or if the defaults lack a missing name.
        """
        if "://" in text:
            return parse_argument(SuiteKey.parse, text)
        return SuiteKey(*self._complete(text, "workspace/project/suite_id"))

    def parse_project(self, text: str) -> tuple[str, str]:
        """Return the names of a workspace and a project from a URL, or from a key whose first names may be missing.

        The URL can also be that of a suite in the project. Raises ConfigError if the text is neither, or if the
        defaults lack a missing name.
        """
        if "://" in text:
            workspace, project, *_ = self.parse_target(text)
        else:
            workspace, project = self._complete(text, "workspace/project")
        return workspace, project

    def parse_target(self, text: str) -> Target:
        """Return the suite or the project that a key or a URL names.

        Two names are a workspace and a project. One name is a suite if the defaults have a workspace and a project, and
        a project if they have only a workspace. Raises ConfigError if the text names neither.
        """
        names = text.split("/")
        if len(names) == 1 and self.workspace:
            names = [self.workspace, *filter(None, [self.project]), text]
        if len(names) == 2 and all(names):
            return names[0], names[1]
        try:
            return _project_in_url(text) or SuiteKey.parse(text if "://" in text else "/".join(names))
        except ValueError:
            raise ConfigError(
                f"neither a suite nor a project: {text!r}; "
                "write workspace/project/suite_id or workspace/project, or paste its URL"
            ) from None

    def parse_targets(self, texts: Iterable[str]) -> list[Target]:
        """Return what the texts name, each once; without a text, the project of the defaults if they have one.

        Raises ConfigError as `parse_target` does.
        """
        targets: list[Target] = list(dict.fromkeys(map(self.parse_target, texts)))
        if not targets and self.workspace and self.project:
            return [(self.workspace, self.project)]
        return targets

    def _complete(self, text: str, form: str) -> tuple[str, ...]:
        given = text.split("/") if text else []
        count = form.count("/") + 1
        missing = (self.workspace, self.project)[: max(0, count - len(given))]
        names = tuple(name for name in (*missing, *given) if name)
        if len(names) != count or not all(given):
            raise ConfigError(
                f"not {form}: {text!r}; write all names, or a URL, or set -w and -p (BUDDY_WORKSPACE, BUDDY_PROJECT)"
            )
        return names


def parse_argument(parse: Callable[[str], _T], text: str) -> _T:
    """Return `parse(text)`. A ValueError becomes a ConfigError, which is reported as wrong usage."""
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_host(buddy: BuddyClient, text: str) -> None:
    """Raise ConfigError if a URL is not of the Buddy that a client reads. Sends no request."""
    if "://" in text:
        scheme, host, *_ = urlsplit(text)
        buddy.sessions(f"{scheme}://{host}/any/any/unit-tests/any")


def select_suites(stored: Sequence[Suite], targets: Iterable[Target], db: Path) -> list[Suite]:
    """Return the suites of a database that are targets, or are in a project that is one; all if there are no targets.

    Raises ConfigError if the database has nothing of a target.
    """
    requested = set(targets)
    known = {suite.key for suite in stored} | {suite.key[:2] for suite in stored}
    missing = sorted(requested - known)
    if missing:
        names = ["/".join(target) for target in missing]
        command = f"buddy-sessions sync {' '.join(names)} --db {db}"
        error = ConfigError(f"{', '.join(names)} not found in {str(db)!r}: run {command}")
        hints = [suggest_suites(target, stored) for target in missing if isinstance(target, SuiteKey)]
        for hint in filter(None, hints):
            error.add_note(hint)
        raise error
    return [suite for suite in stored if not requested or not requested.isdisjoint((suite.key, suite.key[:2]))]


def _project_in_url(text: str) -> tuple[str, str] | None:
    """Return the names of a workspace and a project in a URL of the browser or the API; None if it has none."""
    path = urlsplit(text).path if "://" in text else ""
    match = next(filter(None, (re.fullmatch(pattern, path) for pattern in _PROJECT_PATHS)), None)
    return None if match is None else (unquote(match[1]), unquote(match[2]))
