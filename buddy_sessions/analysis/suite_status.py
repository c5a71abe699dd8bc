"""Whether a suite is red on one branch, and since when: from its newest sessions that passed or failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import pairwise
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from .._base.validate import validate_branch
from ..errors import BuddyError
from ..models import Session, SessionStatus, SuiteKey, has_revision
from .branches import MAIN, MAIN_NAMES, NEWEST, Main, main_branch
from .completeness import find_judged_runs, remark_on_tests
from .runs import CIRun, newest_first, newest_streak

MAX_SEARCHED = 1000
"""The maximum number of sessions that are searched: for a wrong name or commit, not the whole suite is read."""

ReadLists: TypeAlias = Callable[[str | None], AsyncGenerator[Sequence[Session], None]]
"""Yields the sessions of a branch, or all for None, in lists, newest first."""

NewestOf: TypeAlias = Callable[[str, Sequence[Session]], Awaitable[Session | None]]
"""Returns the newest session of a branch, of which the newest 100 sessions, the second argument, have none."""

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


class VerdictSearch:
    """Finds the newest sessions and CI runs of one suite, in the lists that `read` yields."""

    def __init__(self, read: ReadLists, newest_of: NewestOf | None = None) -> None:
        self.is_ordered = True  # what was read so far: each session was listed above the older ones
        self._read = read
        self._newest_of = newest_of or self._read_newest_of
        self._known: list[Session] | None = None  # the newest sessions, 100 or more, or all

    def know(self, sessions: Sequence[Session]) -> None:
        """Search these sessions first: the newest 100 or more, or all; of all branches, or of the searched one."""
        self._known = newest_first(sessions)

    async def newest(self) -> list[Session]:
        """Return the newest 100 sessions, newest first. They are read once."""
        if self._known is None:
            self._known = await self.sessions(None, lambda sessions: len(sessions) >= NEWEST)
        return self._known[:NEWEST]

    async def choose_branch(self, branch: str | Main | None, *, kept: str | None = None) -> str | None:
        """Return the name of the branch; None for all sessions. The main branch costs a read of the newest ones.

        None for MAIN says that there is no main branch. `kept` is that of `main_branch`.
        """
        if branch is not MAIN:
            return validate_branch(branch)
        known = await self.newest()
        if len(known) == NEWEST and not any(session.branch in MAIN_NAMES for session in known):
            known += filter(None, [await self._newest_of(name, known) for name in MAIN_NAMES])
        return main_branch(known, kept=kept)

    async def sessions(
        self,
        branch: str | None,
        is_enough: Callable[[Sequence[Session]], bool],
        *,
        below: int | None = None,
        limit: int = MAX_SEARCHED,
        confirm: bool = False,
    ) -> list[Session]:
        """Return the newest sessions of a branch that have a lower `relative_id` than `below`, newest first.

        If the known sessions are not enough, the lists are read from the top, until there are enough, or `limit`. With
        `confirm`, they are read once more if they may lack sessions, see `may_lack_sessions`.
        """
        found, _ = await self._search(branch, is_enough, below=below, limit=limit, confirm=confirm)
        return found

    async def _search(
        self,
        branch: str | None,
        is_enough: Callable[[Sequence[Session]], bool],
        *,
        below: int | None,
        limit: int = MAX_SEARCHED,
        confirm: bool,
    ) -> tuple[list[Session], bool]:
        """Return what `sessions` does, and whether these are all."""

        def select(sessions: Iterable[Session]) -> list[Session]:
            of_branch = [each for each in sessions if branch in {None, each.branch}]
            return [each for each in of_branch if below is None or each.relative_id < below]

        found = select(self._known or ())
        is_complete = self._known is not None and len(self._known) < NEWEST
        if self._known is not None and (is_complete or len(found) >= limit or is_enough(found)):
            return found[:limit], is_complete

        async def read() -> tuple[list[Session], bool]:
            """Return the sessions, and whether they are all."""
            found: list[Session] = []
            async with aclosing(self._read(branch)) as lists:
                async for sessions in lists:
                    found += select(sessions)
                    if len(found) >= limit or is_enough(found):
                        return found, False
            return found, True

        found, is_complete = await read()
        self.is_ordered = self.is_ordered and is_newest_first(found)
        if confirm and may_lack_sessions(found, lowest=1 if is_complete else None):
            again, _ = await read()
            found = list({session.id: session for session in [*found, *again]}.values())
        return newest_first(found)[:limit], is_complete and len(found) <= limit

    async def take(
        self,
        count: int,
        branch: str | None,
        *,
        below: int | None = None,
        where: Callable[[Session], bool] = lambda _: True,
        limit: int = MAX_SEARCHED,
    ) -> list[Session]:
        """Return the newest sessions for which `where` is true, newest first: `count`, or more that were read."""
        found = await self.sessions(branch, lambda found: sum(map(where, found)) >= count, below=below, limit=limit)
        return list(filter(where, found))

    async def ci_runs(
        self,
        branch: str | None,
        *,
        below: int | None = None,
        where: Callable[[CIRun], bool] = lambda _: True,
        is_enough: Callable[[Sequence[CIRun]], object] = bool,
        with_incomplete: bool = False,
        confirm: bool = False,
    ) -> tuple[list[CIRun], list[Session]]:
        """Return the CI runs of a branch that have a verdict and for which `where` is true, newest first.

        Also return the sessions of the branch that were searched. `is_enough` says whether these CI runs are enough; by
        default, one is. It is asked about those that are listed above a whole CI run, which says how large they usually
        are; of the last one in a list, sessions may follow. `with_incomplete` includes those that `without_incomplete`
        leaves out. `below` and `confirm` are those of `sessions`.
        """

        def choose(sessions: Sequence[Session], end: int | None, *, is_complete: bool) -> list[CIRun]:
            judged = find_judged_runs(sessions, is_complete=is_complete, with_incomplete=with_incomplete)
            return list(filter(where, judged[:end]))

        found, is_complete = await self._search(
            branch,
            lambda sessions: bool(is_enough(choose(sessions, -2, is_complete=False))),
            below=below,
            confirm=confirm,
        )
        return choose(found, None, is_complete=is_complete), found

    async def _read_newest_of(self, branch: str, _: object) -> Session | None:
        async with aclosing(self._read(branch)) as lists:
            async for sessions in lists:
                return next(iter(sessions), None)
        return None


def is_newest_first(sessions: Sequence[Session]) -> bool:
    """Return whether each session has a higher `relative_id` than the next one."""
    return all(one.relative_id > other.relative_id for one, other in pairwise(sessions))


def may_lack_sessions(sessions: Iterable[Session], *, lowest: int | None) -> bool:
    """Return whether a `relative_id` is missing in a list: the session was deleted, or one response lacked it.

    `lowest` is the `relative_id` with which the list should end; None if that is not known.
    """
    numbers = {session.relative_id for session in sessions}
    return bool(numbers) and len(numbers) <= max(numbers) - (min(numbers) if lowest is None else lowest)


async def find_status(search: VerdictSearch, suite: SuiteKey, *, branch: str | Main | None) -> SuiteStatus:
    """Return the status of a suite: usually with one list, with more if its newest sessions have no verdict."""
    chosen = await search.choose_branch(branch)
    status = SuiteStatus(suite=suite, branch=chosen)
    if chosen is None and branch is MAIN:
        return evolve(status, reason="no main branch" if await search.newest() else "no session")
    ci_runs, sessions = await search.ci_runs(chosen)
    if ci_runs:
        return judged_by(ci_runs, status)
    if not sessions:
        return evolve(status, reason="no session")
    is_running = any(not session.is_finished for session in sessions)
    return evolve(status, reason="running" if is_running else "no verdict")


def judged_by(ci_runs: Sequence[CIRun], status: SuiteStatus) -> SuiteStatus:
    """Return a status with the verdict of CI runs, newest first, each with a verdict."""
    streak = newest_streak(ci_runs)
    is_exact, remark = streak.before is not None, remark_on_tests(ci_runs)
    return evolve(status, session=ci_runs[0].session, since=streak.first, is_since_exact=is_exact, remark=remark)


async def find_latest(
    search: VerdictSearch, *, branch: str | Main | None, revision: str | None, status: SessionStatus | None
) -> Session | None:
    """Return the session that decides the newest CI run with a verdict, as `BuddyClient.latest` does."""

    def is_wanted(ci_run: CIRun) -> bool:
        has_status = status is None or ci_run.is_failing == (status == SessionStatus.ERROR)
        return has_status and any(has_revision(session, revision) for session in ci_run.sessions)

    selected = None if branch is MAIN and revision is not None else branch
    chosen = await search.choose_branch(selected)
    if chosen is None and selected is MAIN:
        return None  # there is no main branch
    ci_runs, _ = await search.ci_runs(chosen, where=is_wanted, confirm=revision is not None)
    return ci_runs[0].session if ci_runs else None
