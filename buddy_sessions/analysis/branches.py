"""The branch by which a suite is judged, and how often its sessions pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import Enum
from typing import Final, NamedTuple

from .._base.validate import validate_utf8
from ..errors import ConfigError
from ..models import RefType, Session, SessionStatus, SuiteKey

NEWEST = 100
"""The number of newest sessions of a suite that most questions need."""
MAIN_NAMES = ("main", "master")
"""The branches that are the main one if they are tested: the first is, or else the second."""
_OTHER_NAMES = ("trunk", "develop", "mainline", "default")
_MAX_SUGGESTED = 5
_LEFT = timedelta(days=90)
"""A branch whose newest session is so much older than that of the suite was left."""


class Main(Enum):
    """The type of `MAIN`."""

    MAIN = "the main branch"

    def __repr__(self) -> str:
        return "MAIN"


MAIN: Final = Main.MAIN
"""The main branch of each suite, see `main_branch`."""


class JudgedBranch(NamedTuple):
    """A branch that is judged. The main one has only sessions of branches; one that was named, any with this name.

    CircleCI, for example, uploads the branch of a pull request with the type PULL_REQUEST.
    """

    name: str
    is_main: bool = False

    def includes(self, session: Session) -> bool:
        """Return whether a session has tested the branch."""
        return session.ref_name == self.name and (session.ref_type == RefType.BRANCH or not self.is_main)


def validate_judged_branch(branch: str | Main, name: str = "branch") -> str | Main:
    """Return the branch of a verdict: a name, or MAIN. `name` is that of the argument."""
    if isinstance(branch, Main):
        return branch
    if not isinstance(branch, str) or branch in {"", "*"}:
        raise ConfigError(f"{name} must be MAIN or the name of a branch, not {branch!r}")
    return validate_utf8(name, branch)


def main_branch(sessions: Iterable[Session]) -> str | None:
    """Return the main branch of a suite: the first of `main` and `master` that its newest 100 sessions have tested.

    If they have tested neither, it is `main` or `master` in older sessions, unless these are more than 90 days older
    than the newest one; or else the first of `trunk`, `develop`, `mainline` and `default` among the newest 100. Tags
    and pull requests do not count.

    Args:
        sessions: Sessions of one suite, in any order: the newest 100, and perhaps older ones of `main` and `master`.
            Those with the highest `relative_id` are the newest.

    Returns:
        The name of the branch; None if there is no such branch.

    Example:
        >>> from buddy_sessions import RefType
        >>> def tested(number: int, branch: str, status: SessionStatus) -> Session:
        ...     fields = {"relative_id": number, "ref_type": RefType.BRANCH, "ref_name": branch, "status": status}
        ...     return Session(id=str(number), **fields)
        >>> passed, failed = SessionStatus.SUCCESSFUL, SessionStatus.ERROR
        >>> sessions = [tested(3, "fix", failed), tested(2, "main", passed), tested(1, "main", failed)]
        >>> main_branch(sessions)
        'main'
        >>> pass_rate(session for session in sessions if session.branch == "main")
        0.5
    """
    newest_first = sorted(sessions, key=lambda session: -session.relative_id)
    among_newest = [each.branch for each in newest_first[:NEWEST]]
    lately = [each.branch for each in newest_first if not _was_left(each, newest_first[0])]
    candidates = ((MAIN_NAMES, among_newest), (MAIN_NAMES, lately), (_OTHER_NAMES, among_newest))
    return next((name for names, branches in candidates for name in names if name in branches), None)


def _was_left(session: Session, newest: Session) -> bool:
    """Return whether a session is so old that its branch was left, as far as their dates say."""
    dates = session.create_date, newest.create_date
    return dates[0] is not None and dates[1] is not None and dates[1] - dates[0] > _LEFT


def pass_rate(sessions: Iterable[Session]) -> float | None:
    """Return the fraction of sessions that passed, of those that passed or failed: from 0.0 to 1.0.

    None if there is no such session: SKIPPED and unfinished ones do not count. Pass sessions of one branch: see
    `main_branch`.
    """
    verdicts = [session.status for session in sessions if session.has_verdict]
    return verdicts.count(SessionStatus.SUCCESSFUL) / len(verdicts) if verdicts else None


def suggest_branches(branch: str | None, suite: SuiteKey, sessions: Sequence[Session]) -> str:
    """Return that a suite has no session, or none of a branch, and which branches it has; empty if it has some."""
    if not sessions:
        return f"{suite} has no session yet: check that its tests upload their results"
    if branch is None or any(session.ref_name == branch for session in _of_branches(sessions)):
        return ""
    others = list_branches(sessions)
    return f"no session of branch {branch!r} in {suite}: its latest sessions are of {others}; check the name"


def list_branches(sessions: Iterable[Session]) -> str:
    """Return the branches of sessions, the most frequent first: `main, fix and 3 more`."""
    counts = Counter(session.ref_name or "no branch" for session in _of_branches(sessions))
    more = f" and {len(counts) - _MAX_SUGGESTED} more" if len(counts) > _MAX_SUGGESTED else ""
    return (", ".join(name for name, _ in counts.most_common(_MAX_SUGGESTED)) or "no branch") + more


def _of_branches(sessions: Iterable[Session]) -> list[Session]:
    return [session for session in sessions if session.ref_type in {None, RefType.BRANCH}]
