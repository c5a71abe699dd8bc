"""The branch by which a suite is judged, and how often its sessions pass."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Final

from .._base.validate import validate_branch
from ..models import Session, SessionStatus

NEWEST = 100
"""The number of newest sessions that say which branch is the main one."""
_MAIN_NAMES = ("main", "master")
_LEAST_SHARE = 10  # percent of the newest sessions that a branch needs to be the main one
_NO_BRANCH = re.compile(r"\d+/merge|gh-readonly-queue/.*|HEAD")
"""What reporters upload as a branch: a pull request and a merge queue of GitHub, a commit that was checked out."""


class Main(Enum):
    """The type of `MAIN`."""

    MAIN = "the main branch"

    def __repr__(self) -> str:
        return "MAIN"


MAIN: Final = Main.MAIN
"""The main branch of each suite, as `main_branch` determines it from the newest 100 sessions."""


def validate_judged_branch(branch: str | Main | None) -> str | Main | None:
    """Return the branch of a verdict: a name, MAIN, or None for all sessions."""
    return branch if isinstance(branch, Main) else validate_branch(branch)


def main_branch(sessions: Iterable[Session]) -> str | None:
    """Return the main branch of a suite, judging by its newest 100 sessions.

    It is `main`, or else `master`, if a session tested a branch of that name. Otherwise it is the branch with most
    sessions, if it has at least a tenth of them; of two with equally many, the one that was tested last. Tags and pull
    requests do not count, nor what only reporters call a branch: `7/merge`, `gh-readonly-queue/…`, `HEAD`.

    Args:
        sessions: Sessions of one suite, in any order. Those with the highest `relative_id` are the newest.

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
    newest = heapq.nlargest(NEWEST, sessions, key=lambda session: session.relative_id)
    counts = Counter(each.branch for each in newest if each.branch and not _NO_BRANCH.fullmatch(each.branch))
    for name in _MAIN_NAMES:
        if name in counts:
            return name
    frequent = [name for name, count in counts.most_common(1) if 100 * count >= _LEAST_SHARE * len(newest)]
    return frequent[0] if frequent else None


def pass_rate(sessions: Iterable[Session]) -> float | None:
    """Return the fraction of sessions that are SUCCESSFUL, of those that are SUCCESSFUL or ERROR: from 0.0 to 1.0.

    None if there is no such session: SKIPPED, unknown and unfinished ones do not count. Pass sessions of one branch:
    see `main_branch`.
    """
    verdicts = [session.status for session in sessions if session.has_verdict]
    return verdicts.count(SessionStatus.SUCCESSFUL) / len(verdicts) if verdicts else None
