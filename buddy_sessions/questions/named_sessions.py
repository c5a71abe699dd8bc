"""The sessions that a name stands for: `latest`, a URL, a relative_id, an ID, a commit's hash, or a CI run's URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from attrs import evolve, frozen

from .._base.validate import LATEST, REVISION, validate_session_ref
from ..analysis.branches import MAIN, Main
from ..analysis.commits import SessionList, TestedCommit
from ..analysis.judgement import NameKind
from ..analysis.remarks import remarks_text
from ..errors import ConfigError, NotFoundError, NoVerdictError
from ..models import Session, SessionRef, SuiteKey, has_revision, has_run_url, parse_session_url
from .suite_reader import MAX_SEARCHED, SuiteReader

_RELATIVE_ID = re.compile("#([0-9]{1,18})|([0-9]{1,7})")
_SHORT_HASH = re.compile("(?=.*[a-f])[0-9a-f]{4,6}", re.IGNORECASE)
_HASH_LENGTH = 40  # digits of a whole hash, which no ID has
ACCEPTED_NAMES = (
    "name it by its relative_id, ID or URL, or a commit by at least 7 digits of its hash, such as $(git rev-parse HEAD)"
)
_MAX_NAMED = 5  # of what a name fits, in an error
_MAX_BELOW = 200  # how many sessions are searched below the last one of a commit or a CI run that was found


@frozen(kw_only=True)
class NamedSessions:
    """The sessions that a name stands for, newest first."""

    sessions: Sequence[Session]
    name_kind: NameKind
    commit: TestedCommit | None = None  # as in the status of its branch, for `latest` and a hash; None if not known
    doubt: str = ""  # why others may be missing, or there is none; empty if that is certain


def validate_session_name(session: SessionRef, suite: SuiteKey) -> SessionRef:
    """Return the name of a session of a suite. Raises ConfigError for a session of another suite, or for no name."""
    name = session.url or session.id if isinstance(session, Session) else session
    if name != LATEST and not (isinstance(name, str) and is_run_url(name)):
        validate_session_ref(name, suite)
    return session


async def find_sessions(reader: SuiteReader, name: SessionRef, *, branch: str | Main = MAIN) -> NamedSessions:
    """Return the sessions that a name stands for: one, or all of a commit or a CI run; for `latest`, those that count.

    Raises NoVerdictError if there is none; ConfigError if the name fits several sessions or commits, or if a branch is
    given for another name than `latest`.
    """
    if isinstance(name, Session):
        return NamedSessions(sessions=[name], name_kind="session")
    if name == LATEST:
        status = await reader.status(branch)
        if status.commit is not None:
            return NamedSessions(sessions=status.commit.counted, name_kind="commit", commit=status.commit)
        if status.reason in {"no session", "no main branch"}:
            raise await reader.no_session_of(status.branch)
        doubt = f"{status.branch or reader.suite}: {remarks_text(status.remarks) or status.reason}"
        return NamedSessions(sessions=(), name_kind="commit", doubt=doubt)
    if branch is not MAIN:
        raise ConfigError("a branch selects the latest session", advice="leave out {branch}, or do not name a session")
    name = f"#{name}" if isinstance(name, int) else name
    matches = await _matches(reader, name)
    if len(matches) > 1:
        more = f" and {len(matches) - _MAX_NAMED:,} more" if len(matches) > _MAX_NAMED else ""
        raise ConfigError(
            f"{name!r} fits {' and '.join([*matches][:_MAX_NAMED])}{more}",
            advice="write # before a relative_id, more digits of the hash of a commit, or the URL of the session",
        )
    if not matches:
        newest = await reader.newest()
        text = f"no session {name} in {reader.suite}"
        if any(session.ref_name == name for session in newest.sessions):
            raise NoVerdictError(f"{text}: it is a branch", advice="pass it as {branch}")
        raise _no_session(text, name, newest)
    return next(iter(matches.values()))


def _no_session(text: str, name: str, newest: SessionList) -> NoVerdictError:
    if newest.doubt or not newest.sessions:
        return NoVerdictError(f"{text}: {newest.doubt or 'it has none yet'}")
    text = f"{text}: the newest is #{newest.sessions[0].relative_id}"
    if _SHORT_HASH.fullmatch(name):
        return NoVerdictError(text, advice="write at least 7 digits of the hash of a commit")
    if REVISION.fullmatch(name) or is_run_url(name):
        return NoVerdictError(f"{text}; the newest {MAX_SEARCHED:,} were searched")
    return NoVerdictError(text, advice="" if _RELATIVE_ID.fullmatch(name) else ACCEPTED_NAMES)


async def _matches(reader: SuiteReader, name: str) -> dict[str, NamedSessions]:
    """Return what a name fits: a `relative_id`, an ID, commits or a CI run, with their sessions, newest first."""
    matches: dict[str, NamedSessions] = {}
    for each in _possible_ids(name):
        if (session := await reader.source.session(reader.suite, each)) is not None:
            label = "session" if isinstance(each, int) else "the ID of session"
            matches[f"{label} #{session.relative_id}"] = NamedSessions(sessions=[session], name_kind="session")
    if is_run_url(name):
        sessions, listed = await _search(reader, lambda session: has_run_url(session, name))
        if sessions:
            matches[f"CI run {name}"] = NamedSessions(sessions=sessions, name_kind="CI run", doubt=listed.doubt)
    elif REVISION.fullmatch(name):
        sessions, listed = await _search(reader, lambda session: has_revision(session, name))
        for revision in dict.fromkeys(session.revision for session in sessions):
            tested = [session for session in sessions if session.revision == revision]
            commit = _commit_in_status(listed, tested)
            matches[f"commit {revision}"] = NamedSessions(
                sessions=tested, name_kind="commit", commit=commit, doubt=listed.doubt
            )
    return matches


def _commit_in_status(listed: SessionList, sessions: Sequence[Session]) -> TestedCommit | None:
    """Return the commit of these sessions, as it is in the status of their branch; None if they are of several."""
    own = evolve(listed, sessions=[each for each in listed.sessions if each.ref_name == sessions[0].ref_name])
    return next((commit for commit in own.commits if list(commit.sessions) == sessions), None)


async def _search(reader: SuiteReader, where: Callable[[Session], bool]) -> tuple[list[Session], SessionList]:
    """Return the newest sessions for which `where` is true, until 200 other ones are below them; and the list."""

    def is_enough(listed: SessionList) -> bool:
        indexes = [index for index, session in enumerate(listed.sessions) if where(session)]
        return len(listed.sessions) > (indexes[-1] + _MAX_BELOW if indexes else MAX_SEARCHED - 1)

    listed = await reader.search(None, is_enough)
    return list(filter(where, listed.sessions)), listed


def _possible_ids(name: str) -> list[int | str]:
    """Return the `relative_id` (`#383`, or at most seven digits) and the ID that a name or a URL can be."""
    if is_run_url(name):
        return []
    if "://" in name:
        return [parse_session_url(name)[1] or name]
    match = _RELATIVE_ID.fullmatch(name)
    number = int(match[1] or match[2]) if match else 0
    names: list[int | str] = [number] if number else []
    if not name.startswith("#") and not (REVISION.fullmatch(name) and len(name) >= _HASH_LENGTH):
        names.append(name)
    return names


@contextmanager
def explain_missing(session: Session | str | int) -> Iterator[None]:
    """Add a note to the error for a session that is not found, if its name may be the hash of a commit."""
    try:
        yield
    except NotFoundError as error:
        if isinstance(session, str) and REVISION.fullmatch(session):
            error.add_note(f"{session!r} was looked up as the ID of a session: for a commit, ask judge or tests")
        raise


def is_run_url(name: str) -> bool:
    """Return whether a name is the URL of a CI run: one that names no suite."""
    if "://" not in name:
        return False
    try:
        parse_session_url(name)
    except ValueError:
        return True
    return False
