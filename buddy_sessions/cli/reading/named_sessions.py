"""The sessions that arguments name: by a URL, `latest`, a relative_id, an ID, a commit's hash, or a CI run's URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from buddy_sessions import MAIN, ConfigError, Main, Session, SuiteKey, parse_session_url
from buddy_sessions._base.validate import REVISION
from buddy_sessions.analysis.runs import name_sessions, run_identity
from buddy_sessions.analysis.suite_status import MAX_SEARCHED
from buddy_sessions.models import has_revision, has_run_url

from ..errors import NothingToJudgeError
from ..input.keys import KeyDefaults, Target
from .suite_reader import SuiteReader

_LATEST = "latest"  # the name of the newest session that says whether a branch is good
_RELATIVE_ID = re.compile("#([0-9]{1,18})|([0-9]{1,7})")
_HASH_LENGTH = 40  # digits of a whole hash, which no ID has
_MAX_BELOW = 200  # how many sessions are searched below the last one of a commit or a CI run that was found


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
    """Return the name of a session of a suite. Raises ConfigError for the URL of another suite, or of no session."""
    if "://" in text and not _is_run_url(text):
        key, session = parse_session_url(text)
        if session is None or key != suite:
            raise ConfigError(
                f"not a session of {'/'.join(suite)}: {text!r}; write its relative_id or ID, or paste its URL"
            )
    return text


async def find_sessions(
    reader: SuiteReader,
    name: str | None,
    *,
    branch: str | Main | None = MAIN,
    after: int = 0,
    all_finished: bool = False,
) -> list[Session]:
    """Return the session with a name, or all finished sessions of a commit or CI run, newest first.

    For `latest`, return the deciding sessions of the newest CI run with a verdict, see `CIRun`.

    Args:
        reader: The suite.
        name: The name of a session, or of the sessions of a commit or a CI run (default: `latest`).
        branch: The branch of the session that is named `latest`.
        after: Only sessions with a higher `relative_id`.
        all_finished: Whether one that has not finished is an error.

    Raises:
        NothingToJudgeError: There is none, or one that has not finished.
        ConfigError: The name fits several sessions or commits, or a branch is given for another one than `latest`.
    """
    if name is None or name == _LATEST:
        # A gate does not pass over a CI run in which tests are missing.
        ci_run, *_ = await reader.newest_ci_runs(branch, after=after, with_incomplete=all_finished)
        return [session for session in ci_run.deciding if session.relative_id > after]
    if branch is not MAIN:
        raise ConfigError("--branch selects the latest session: leave it out, or do not name a session")
    matches = await _matches(reader, name)
    if len(matches) > 1:
        raise ConfigError(
            f"{name!r} fits {' and '.join(matches)}: write # before a relative_id, more digits of the hash of a "
            "commit, or paste the URL of the session"
        )
    for what, matching in matches.items():
        sessions = [session for session in matching if session.relative_id > after]
        if not sessions:
            raise NothingToJudgeError(f"{reader.suite} has no session of {what} above #{after} yet: wait for one")
        if all_finished:
            _require_finished(what, sessions)
        if any(session.is_finished for session in sessions):
            return [session for session in sessions if session.is_finished]
        if _is_run_url(name) or what.startswith("commit"):
            raise reader.not_finished(f" of {what} yet")
        return sessions
    newest = await reader.search.newest()
    known = f"the newest is #{newest[0].relative_id}" if newest else "it has none yet"
    raise NothingToJudgeError(f"no session {name} in {reader.suite}: {known}")


async def find_session(reader: SuiteReader, name: str | None) -> Session:
    """Return the newest of the sessions that `find_sessions` returns; for `latest`, the one that decides."""
    if name is None or name == _LATEST:
        return (await reader.newest_ci_runs(MAIN))[0].session
    return (await find_sessions(reader, name))[0]


async def find_session_before(reader: SuiteReader, session: Session) -> Session:
    """Return the newest session of the previous CI run of the same branch, tag or pull request."""

    def is_same(other: Session) -> bool:
        is_other_run = run_identity(other) != run_identity(session)
        return is_other_run and (other.ref_type, other.ref_name) == (session.ref_type, session.ref_name)

    try:
        return (await reader.verdicts(branch=session.branch, below=session.relative_id, where=is_same))[0]
    except NothingToJudgeError as error:
        raise NothingToJudgeError(f"nothing to compare #{session.relative_id} with: {error}") from None


def require_verdict(sessions: Sequence[Session]) -> None:
    """Raise NothingToJudgeError if none of the sessions passed or failed."""
    if not any(session.has_verdict for session in sessions):
        number = sessions[0].relative_id
        raise NothingToJudgeError(f"session #{number} neither passed nor failed: wait until it has finished")


def _require_finished(what: str, sessions: Sequence[Session]) -> None:
    """Raise NothingToJudgeError if a session has not finished."""
    unfinished = [session for session in sessions if not session.is_finished]
    if unfinished:
        names = name_sessions(unfinished)
        of = "" if what.endswith(f" {names}") else f" of {what}"
        raise NothingToJudgeError(
            f"no verdict: {names}{of} did not finish; wait with buddy-sessions wait, or, if an earlier run was "
            f"killed, add --after {unfinished[0].relative_id}"
        )


async def _matches(reader: SuiteReader, name: str) -> dict[str, list[Session]]:
    """Return what a name fits: a `relative_id`, an ID, commits or a CI run, with their sessions, newest first."""
    matches: dict[str, list[Session]] = {}
    for each in _possible_ids(name):
        if (session := await reader.source.session(reader.suite, each)) is not None:
            label = "session" if isinstance(each, int) else "the ID of session"
            matches[f"{label} #{session.relative_id}"] = [session]
    if _is_run_url(name):
        if found := await _search(reader, lambda session: has_run_url(session, name)):
            matches[f"CI run {name}"] = found
    elif _is_revision(name):
        for session in await _search(reader, lambda session: has_revision(session, name)):
            matches.setdefault(f"commit {session.revision}", []).append(session)
    return matches


async def _search(reader: SuiteReader, where: Callable[[Session], bool]) -> list[Session]:
    """Return the newest sessions for which `where` is true, down to the first gap of 200 other ones."""

    def end(sessions: Sequence[Session]) -> int:
        end = MAX_SEARCHED
        for position, session in enumerate(sessions, 1):
            if position <= end and where(session):
                end = min(position + _MAX_BELOW, MAX_SEARCHED)
        return end

    sessions = await reader.search.sessions(None, lambda read: len(read) >= end(read), confirm=True)
    return list(filter(where, sessions[: end(sessions)]))


def _possible_ids(name: str) -> list[int | str]:
    """Return the `relative_id` (`#383`, or at most seven digits) and the ID that a name or a URL can be."""
    if _is_run_url(name):
        return []
    if "://" in name:
        return [parse_session_url(name)[1] or name]
    match = _RELATIVE_ID.fullmatch(name)
    relative_ids = [int(match[1] or match[2])] if match else []
    is_id = not name.startswith("#") and not (_is_revision(name) and len(name) >= _HASH_LENGTH)
    return [*relative_ids, *([name] if is_id else [])]


def _is_run_url(name: str) -> bool:
    """Return whether a name is the URL of a CI run: one that names no suite."""
    if "://" not in name:
        return False
    try:
        parse_session_url(name)
    except ValueError:
        return True
    return False


def _is_revision(name: str) -> bool:
    """Return whether a name can be the hash of a commit, or its beginning."""
    return REVISION.fullmatch(name) is not None
