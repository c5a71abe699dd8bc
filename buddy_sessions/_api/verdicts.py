"""Finds the newest sessions of a suite that passed or failed: the evidence for a verdict about a branch."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from .._base.outage import Outage
from .._base.workers import map_concurrently
from .._paging.paginator import SessionPaginator
from .._paging.scope import ReadSpec
from ..analysis.branches import MAIN, NEWEST, Main, main_branch
from ..analysis.completeness import missing_tests
from ..analysis.runs import CIRun, ci_runs, newest_streak
from ..errors import BuddyError, ClientClosedError
from ..models import Session, SessionStatus, SuiteKey, has_revision
from .api import Api

MAX_SEARCHED = 1000
"""The maximum number of sessions that are searched: for a wrong name or commit, not the whole suite is read."""

ReadLists: TypeAlias = Callable[[str | None], AsyncGenerator[Sequence[Session], None]]
"""Yields the sessions of a branch, or all for None, in lists, newest first."""


NoVerdict: TypeAlias = Literal["no session", "no main branch", "running", "no verdict", "missing", "deleted"]
"""Why a suite is neither red nor green."""


@frozen(kw_only=True)
class SuiteStatus:
    """Whether a suite is red or green on one branch, and since when.

    Attributes:
        suite: The suite.
        name: Its name; None if it is not known, as in the result of `BuddyClient.status`.
        branch: The branch that was looked at; None for all sessions, or if there is no main branch.
        session: The session that decides, of the newest CI run with a verdict: one that is failing, or else the newest
            that passed. None if there is no such run.
        since: The session that decides the first CI run of the streak that ends with the one of `session`.
        is_since_exact: Whether the CI run before `since` is known, and had the other verdict. Otherwise the streak may
            be longer.
        reason: Why there is no verdict: the branch has "no session"; the suite has "no main branch"; the only CI runs
            are still "running"; they have "no verdict", such as SKIPPED ones; or the last syncs of a database did not
            find the suite ("missing", then "deleted"). None if there is a verdict or an error.
        synced_at: When the last sync of the suite began that has read to its end; None without a database.
        missing_since: When a sync did not find the suite for the first time; None unless it is missing or deleted.
        error: Why the suite could not be read; None if it was read.
        remark: That tests did not run in the newest CI run: `3 tests ran, usually 8: 5 did not run`. This changes no
            verdict. None if all ran, or if that is not known.

    Example:
        >>> red = Session(id="YDnagwGk", relative_id=383, status=SessionStatus.ERROR, ref_name="main")
        >>> status = SuiteStatus(suite=SuiteKey("acme", "shop", "MNbyVedg"), branch="main", session=red, since=red)
        >>> status.is_failing
        True
    """

    suite: SuiteKey
    name: str | None = None
    branch: str | None = None
    session: Session | None = None
    since: Session | None = None
    is_since_exact: bool = False
    reason: NoVerdict | None = None
    synced_at: datetime | None = None
    missing_since: datetime | None = None
    error: BuddyError | None = None
    remark: str | None = None

    @property
    def is_failing(self) -> bool | None:
        """Whether the suite is red; None without a verdict."""
        return None if self.session is None else self.session.is_failing


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

    def know(self, sessions: Sequence[Session]) -> None:
        """Search these sessions first: the newest 100 or more, or all; of all branches, or of the searched one."""
        self._known = list(sessions)

    async def newest(self) -> list[Session]:
        """Return the newest 100 sessions, newest first. They are read once."""
        if self._known is None:
            self._known = await self.take(NEWEST)
        return self._known[:NEWEST]

    async def choose_branch(self, branch: str | Main | None) -> str | None:
        """Return the name of the branch; None for all sessions. The main branch costs a read of the newest ones.

        None for MAIN says that there is no main branch.
        """
        return main_branch(await self.newest()) if branch is MAIN else branch

    async def take(
        self,
        count: int,
        *,
        branch: str | None = None,
        below: int | None = None,
        where: Callable[[Session], bool] = lambda _: True,
        limit: int = MAX_SEARCHED,
        is_enough: Callable[[Sequence[Session]], bool] | None = None,
    ) -> list[Session]:
        """Return `count` of the newest sessions for which `where` is true, newest first, or more; see `find`."""
        is_enough = is_enough or (lambda found: len(found) >= count)
        found: list[Session] = []
        searched = 0
        async with aclosing(self._read(branch)) as lists:
            async for sessions in lists:
                older = [each for each in sessions if below is None or each.relative_id < below][: limit - searched]
                searched += len(older)
                found += filter(where, older)
                if is_enough(found) or searched >= limit:
                    break
        return found

    async def runs(
        self, branch: str | None, *, where: Callable[[CIRun], bool] = lambda _: True
    ) -> tuple[list[CIRun], list[Session]]:
        """Return the CI runs of a branch that have a verdict and for which `where` is true, newest first.

        Also return the sessions of the branch that were searched: its newest ones, more only if these have no such run.
        """

        def choose(sessions: Iterable[Session]) -> tuple[list[CIRun], list[Session]]:
            runs, of_branch = judged_runs(sessions, branch)
            return list(filter(where, runs)), of_branch

        found = choose(self._known or ())
        if found[0] or (self._known is not None and len(self._known) < NEWEST):
            return found
        sessions: list[Session] = []
        async with aclosing(self._read(branch)) as lists:
            async for page in lists:
                sessions += page
                found = choose(sessions)
                if len(sessions) >= (NEWEST if found[0] else MAX_SEARCHED):
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
        is_enough: Callable[[Sequence[Session]], bool] | None = None,
    ) -> list[Session]:
        """Return the newest sessions of a branch that are SUCCESSFUL or ERROR, newest first.

        Args:
            branch: The branch; None for all sessions. A suite without a main branch has none for MAIN.
            last: How many to find. If the lists that were read have more, all are returned.
            below: Only sessions with a lower `relative_id`.
            where: Only sessions for which this is true.
            limit: How many sessions are searched: of the branch, and those below `below`.
            is_enough: Whether the sessions that were found are enough; by default, if they are `last`.
        """
        is_enough = is_enough or (lambda found: len(found) >= last)
        name = await self.choose_branch(branch)
        if name is None and branch is MAIN:
            return []

        def counts(session: Session) -> bool:
            is_below = below is None or session.relative_id < below
            return session.has_verdict and is_below and name in {None, session.branch} and where(session)

        found = list(filter(counts, self._known or ()))
        if is_enough(found) or (self._known is not None and len(self._known) < NEWEST):
            return found
        return await self.take(last, branch=name, below=below, where=counts, limit=limit, is_enough=is_enough)


def search_of(api: Api, suite: SuiteKey) -> VerdictSearch:
    """Return the search in a suite of the API."""

    def read(branch: str | None) -> AsyncGenerator[Sequence[Session], None]:
        return read_lists(SessionPaginator(suite, partial(api.read, suite, ReadSpec(branch=branch, read_ahead=1))))

    return VerdictSearch(read)


def judged_runs(sessions: Iterable[Session], branch: str | None) -> tuple[list[CIRun], list[Session]]:
    """Return the CI runs of a branch that have a verdict, newest first, and the sessions of the branch."""
    of_branch = [session for session in sessions if branch in {None, session.branch}]
    return [run for run in ci_runs(of_branch) if run.is_failing is not None], of_branch


async def find_status(search: VerdictSearch, suite: SuiteKey, *, branch: str | Main | None) -> SuiteStatus:
    """Return the status of a suite: usually with one list, with more if its newest sessions have no verdict."""
    chosen = await search.choose_branch(branch)
    status = SuiteStatus(suite=suite, branch=chosen)
    if chosen is None and branch is MAIN:
        return evolve(status, reason="no main branch" if await search.newest() else "no session")
    runs, sessions = await search.runs(chosen)
    if runs:
        streak = newest_streak(runs)
        is_exact, remark = streak.before is not None, missing_tests(runs)
        return evolve(status, session=runs[0].session, since=streak.first, is_since_exact=is_exact, remark=remark)
    if not sessions:
        return evolve(status, reason="no session")
    is_running = any(not session.is_finished for session in sessions)
    return evolve(status, reason="running" if is_running else "no verdict")


async def find_statuses(api: Api, suites: Sequence[SuiteKey], *, branch: str | Main | None) -> list[SuiteStatus]:
    """Return the statuses of suites, in their order. An error of one suite is in its own.

    The error of a suite is in its status. An error that every other suite would have, too, is raised.
    """
    outage = Outage()

    async def read(suite: SuiteKey) -> SuiteStatus:
        try:
            status = await find_status(search_of(api, suite), suite, branch=branch)
        except ClientClosedError:
            raise
        except BuddyError as error:
            if outage.is_shown_by(error):
                raise
            return SuiteStatus(suite=suite, error=error.with_traceback(None))
        outage.on_success()
        return status

    return await map_concurrently(read, suites, limit=api.max_concurrency)


async def find_latest(
    search: VerdictSearch, *, branch: str | Main | None, revision: str | None, status: SessionStatus | None
) -> Session | None:
    """Return the session that decides the newest CI run with a verdict, as `BuddyClient.latest` does."""

    def is_wanted(run: CIRun) -> bool:
        has_status = status is None or run.is_failing == (status == SessionStatus.ERROR)
        return has_status and any(has_revision(session, revision) for session in run.sessions)

    selected = None if branch is MAIN and revision is not None else branch
    chosen = await search.choose_branch(selected)
    if chosen is None and selected is MAIN:
        return None  # there is no main branch
    runs, _ = await search.runs(chosen, where=is_wanted)
    return runs[0].session if runs else None
