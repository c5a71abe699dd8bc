"""Finds the newest session that says whether a branch or a commit is good."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from ._paging.paginator import SessionPaginator
from .analysis.branches import MAIN, Main, main_branch
from .models import Session, has_revision

_MAX_SESSIONS = 1000
"""How many sessions are searched at most, so that a wrong revision does not cost a read of the whole suite."""


async def find_latest(
    sessions: Callable[..., SessionPaginator], *, branch: str | Main | None, revision: str | None
) -> Session | None:
    """Return the newest session that is SUCCESSFUL or ERROR. The arguments are those of `BuddyClient.latest`."""
    if branch is MAIN and revision is None:
        newest = await sessions(max_sessions=100).collect()
        branch = main_branch(newest)
        found = next((each for each in newest if each.has_verdict and branch in {None, each.branch}), None)
        if found is not None or len(newest) < 100:
            return found
    elif branch is MAIN:
        branch = None
    async with aclosing(aiter(sessions(branch=branch, max_sessions=_MAX_SESSIONS))) as reading:
        async for session in reading:
            if session.has_verdict and has_revision(session, revision):
                return session
    return None
