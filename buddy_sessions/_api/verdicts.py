"""Finds the newest sessions of a suite that passed or failed: what a verdict about a branch rests on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias

from .._paging.paginator import SessionPaginator
from ..analysis.branches import MAIN, NEWEST, Main, main_branch
from ..models import Session, has_revision

MAX_SEARCHED = 1000
"""How many sessions are searched at most, so that a wrong name or commit does not cost a read of the whole suite."""

ReadLists: TypeAlias = Callable[[str | None], AsyncGenerator[Sequence[Session], None]]
"""Yields the sessions of a branch, or all for None, in lists, newest first."""


async def read_lists(paginator: SessionPaginator) -> AsyncGenerator[Sequence[Session], None]:
    """Yield the sessions of each page."""
    async with aclosing(paginator.pages()) as pages:
        async for page in pages:
            yield page.sessions


class VerdictSearch:
    """Finds the newest sessions of one suite that passed or failed."""

    def __init__(self, read: ReadLists) -> None:
        self._read = read
        self._known: list[Session] | None = None  # the newest sessions, 100 or more

    async def newest(self) -> list[Session]:
        """Return the newest 100 sessions, newest first. They are read once."""
        if self._known is None:
            self._known = await self.take(NEWEST)
        return self._known[:NEWEST]

    async def choose_branch(self, branch: str | Main | None) -> str | None:
        """Return the name of the branch; None for all sessions. The main branch costs a read of the newest ones."""
        return main_branch(await self.newest()) if branch is MAIN else branch

    async def take(
        self,
        count: int,
        *,
        branch: str | None = None,
        below: int | None = None,
        where: Callable[[Session], bool] = lambda _: True,
        limit: int = MAX_SEARCHED,
    ) -> list[Session]:
        """Return `count` of the newest sessions for which `where` is true, newest first, or more; see `find`."""
        found: list[Session] = []
        searched = 0
        async with aclosing(self._read(branch)) as lists:
            async for sessions in lists:
                older = [each for each in sessions if below is None or each.relative_id < below][: limit - searched]
                searched += len(older)
                found += filter(where, older)
                if len(found) >= count or searched >= limit:
                    break
        return found

    async def find(
        self,
        *,
        branch: str | Main | None = MAIN,
        last: int = 1,
        below: int | None = None,
        where: Callable[[Session], bool] = lambda _: True,
        limit: int = MAX_SEARCHED,
    ) -> list[Session]:
        """Return the newest sessions of a branch that are SUCCESSFUL or ERROR, newest first.

        Args:
            branch: The branch; None for all sessions.
            last: How many to find. If the lists that were read have more, all are returned.
            below: Only sessions with a lower `relative_id`.
            where: Only sessions for which this is true.
            limit: How many sessions are searched: of the branch, and those below `below`.
        """
        name = await self.choose_branch(branch)

        def counts(session: Session) -> bool:
            is_below = below is None or session.relative_id < below
            return session.has_verdict and is_below and name in {None, session.branch} and where(session)

        found = list(filter(counts, self._known or ()))
        if len(found) >= last or (self._known is not None and len(self._known) < NEWEST):
            return found
        return await self.take(last, branch=name, below=below, where=counts, limit=limit)


async def find_latest(
    sessions: Callable[..., SessionPaginator], *, branch: str | Main | None, revision: str | None
) -> Session | None:
    """Return the newest session that is SUCCESSFUL or ERROR. The arguments are those of `BuddyClient.latest`."""
    found = await VerdictSearch(lambda name: read_lists(sessions(branch=name))).find(
        branch=None if branch is MAIN and revision is not None else branch,
        where=lambda session: has_revision(session, revision),
    )
    return found[0] if found else None
