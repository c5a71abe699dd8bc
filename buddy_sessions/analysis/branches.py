"""The branch by which a suite is judged, and how often its sessions pass."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from enum import Enum
from typing import Final

from .._base.validate import validate_branch
from ..models import Session, SessionStatus, is_before

NEWEST = 100
"""The number of newest sessions that say which branch is the main one."""
MAIN_NAMES = ("main", "master")
"""The branches that are the main one if they are tested: the first is, or else the second."""
_MAX_AGE = timedelta(days=90)
"""A session of `MAIN_NAMES` that is not among the newest 100 does not count if it is so much older than the newest."""
_LEAST_SHARE = 10  # percent of the newest sessions that a branch needs to be the main one
_NO_BRANCH = re.compile(r"\d+/merge|gh-readonly-queue/.*|HEAD")
"""What reporters upload as a branch: a pull request and a merge queue of GitHub, a commit that was checked out."""


class Main(Enum):
    """The type of `MAIN`."""

    MAIN = "the main branch"

    def __repr__(self) -> str:
        return "MAIN"


MAIN: Final = Main.MAIN
"""The main branch of each suite, see `main_branch`."""


def validate_judged_branch(branch: str | Main | None) -> str | Main | None:
    """Return the branch of a verdict: a name, MAIN, or None for all sessions."""
    return branch if isinstance(branch, Main) else validate_branch(branch)


def main_branch(sessions: Iterable[Session], *, kept: str | None = None) -> str | None:
    """Return the main branch of a suite, judging by its newest 100 sessions.

    It is `main`, or else `master`, if a session tested a branch of that name. If the newest 100 have none, an older one
    counts, unless it is more than 90 days older than the newest session: then the main branch was renamed. Without
    both, it is the branch with most of the newest 100 sessions, if it has at least a tenth of them; of two with equally
    many, the one that was tested last. Tags and pull requests do not count, nor what only reporters call a branch:
    `7/merge`, `gh-readonly-queue/…`, `HEAD`.

    Args:
        sessions: Sessions of one suite, in any order: the newest 100, and perhaps older ones of `main` and `master`.
            Those with the highest `relative_id` are the newest.
        kept: The branch that was the main one before. As long as the newest 100 sessions have one of it, no other
            branch becomes the main one only because it has more.

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
    known = list(sessions)
    newest = heapq.nlargest(NEWEST, known, key=lambda session: session.relative_id)
    counts = Counter(each.branch for each in newest if each.branch and not _NO_BRANCH.fullmatch(each.branch))
    dates = [session.create_date for session in newest if session.create_date is not None]
    oldest = max(dates) - _MAX_AGE if dates else None
    for branches in (set(counts), {session.branch for session in known if not is_before(session, oldest)}):
        for name in MAIN_NAMES:
            if name in branches:
                return name
    if kept in counts:
        return kept
    frequent = [name for name, count in counts.most_common(1) if 100 * count >= _LEAST_SHARE * len(newest)]
    return frequent[0] if frequent else None


def pass_rate(sessions: Iterable[Session]) -> float | None:
    """Return the fraction of sessions that are SUCCESSFUL, of those that are SUCCESSFUL or ERROR: from 0.0 to 1.0.

    None if there is no such session: SKIPPED, unknown and unfinished ones do not count. Pass sessions of one branch:
    see `main_branch`.
    """
    verdicts = [session.status for session in sessions if session.has_verdict]
    return verdicts.count(SessionStatus.SUCCESSFUL) / len(verdicts) if verdicts else None
