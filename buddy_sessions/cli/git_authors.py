"""Authors that Buddy does not know, as of CI runs on GitHub: those of the commits in a clone."""

from __future__ import annotations

import asyncio
import copy
import subprocess
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import attrs

from buddy_sessions import ConfigError, Member, Session
from buddy_sessions._base.validate import REVISION

from .errors import describe_os_error
from .values import parsed

_T = TypeVar("_T")
_TIMEOUT = 5.0  # seconds


def _find_clone(folder: str) -> Path:
    """Return the folder that was named. Raises ConfigError if it is no clone, or if there is no Git."""
    try:
        command = ("git", "-C", folder, "rev-parse", "--git-dir")
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - the Git of the user
        message = done.stderr.decode(errors="replace").partition("\n")[0].removeprefix("fatal: ")
        problem = message if done.returncode else ""
    except OSError as error:
        problem = describe_os_error(error)
    if problem:
        raise ConfigError(f"cannot read commits in {folder!r}: {problem}")
    return Path(folder)


Clone: TypeAlias = Annotated[
    Path,
    parsed(
        _find_clone,
        name="--git",
        metavar="FOLDER",
        show_default=False,
        help="Clone that is asked for authors whom Buddy does not know, as of GitHub (default: this folder).",
    ),
]


async def name_authors(result: _T, clone: Path) -> _T:
    """Return a result in which sessions without an author have that of their commit, if the clone has the commit."""
    objects: dict[int, Any] = {}
    _collect(result, objects)
    sessions: dict[int, Any] = {key: value for key, value in objects.items() if isinstance(value, Session)}
    unknown = {key: session for key, session in sessions.items() if session.created_by is None and session.revision}
    revisions = {str(session.revision) for session in unknown.values() if REVISION.fullmatch(str(session.revision))}
    authors = await asyncio.to_thread(_read_authors, clone, revisions) if revisions else {}
    for key, session in unknown.items():
        if author := authors.get(str(session.revision)):
            sessions[key] = attrs.evolve(session, created_by=Member(name=author))
    return copy.deepcopy(result, sessions) if authors else result  # with these in place of copies


def _collect(value: Any, objects: dict[int, Any]) -> None:
    """Add what is in a result of the library, by its id."""
    if id(value) in objects:
        return
    objects[id(value)] = value
    parts = value if type(value) in {list, tuple} else ()
    if attrs.has(type(value)) and not isinstance(value, Session):
        parts = [getattr(value, field.name) for field in attrs.fields(type(value))]
    for part in parts:
        _collect(part, objects)


def _read_authors(clone: Path, revisions: set[str]) -> dict[str, str]:
    """Return the authors of the commits that a clone has; none without Git, or if the folder is no clone."""
    command = ("git", "-C", str(clone), "log", "--no-walk=unsorted", "--ignore-missing", "--stdin", "--format=%H %an")
    hashes = "".join(f"{each}\n" for each in revisions)
    try:
        done = subprocess.run(  # noqa: S603 - the Git of the user
            command,
            input=hashes,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.splitlines()
    return {revision: author for revision, _, author in (line.partition(" ") for line in lines) if author}
