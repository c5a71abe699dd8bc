"""Suggests branches in place of an unknown one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from buddy_sessions import BuddyClient, RefType, Session, SuiteKey

_MAX_BRANCHES = 8


async def check_branch(buddy: BuddyClient, suite: SuiteKey, branch: str) -> str:
    """Return what `suggest_branches` does for the newest sessions of a suite: one request."""
    return suggest_branches(branch, suite, await buddy.sessions(suite, max_sessions=100).collect())


def suggest_branches(branch: str, suite: SuiteKey, sessions: Iterable[Session]) -> str:
    """Return that a suite has no session of a branch, and which branches its sessions have, the most frequent first."""
    names = [session.ref_name for session in sessions if session.ref_type in {None, RefType.BRANCH}]
    counts = Counter(filter(None, names))
    if branch in counts:
        return ""
    more = f" and {len(counts) - _MAX_BRANCHES} more" if len(counts) > _MAX_BRANCHES else ""
    known = ", ".join(name for name, _ in counts.most_common(_MAX_BRANCHES)) or "no branch"
    return f"no session of branch {branch!r} in {suite}: its latest sessions are of {known}{more}"
