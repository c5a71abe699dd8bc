"""Authors that Buddy does not know, as of CI runs on GitHub: those of the commits in a clone."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
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
    revisions: set[str] = set()

    def note(session: Session) -> Session:
        if session.created_by is None and REVISION.fullmatch(session.revision or ""):
            revisions.add(session.revision or "")
        return session

    _map_sessions(result, note, {})
    authors = await asyncio.to_thread(_read_authors, clone, revisions) if revisions else {}

    def name(session: Session) -> Session:
        author = authors.get(session.revision or "")
        if author is None or session.created_by is not None:
            return session
        return attrs.evolve(session, created_by=Member(name=author))

    with_authors: _T = _map_sessions(result, name, {}) if authors else result
    return with_authors


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


def _map_sessions(value: Any, change: Callable[[Session], Session], done: dict[int, Any]) -> Any:
    """Return a result of the library with other sessions. What it has several times is also one object afterwards."""
    if id(value) in done:
        return done[id(value)]
    mapped = value
    if isinstance(value, Session):
        mapped = change(value)
    elif type(value) in {list, tuple}:
        mapped = type(value)(_map_sessions(each, change, done) for each in value)
    elif attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        values = {field.alias: _map_sessions(getattr(value, field.name), change, done) for field in fields}
        mapped = attrs.evolve(value, **values)
    done[id(value)] = mapped
    return mapped
