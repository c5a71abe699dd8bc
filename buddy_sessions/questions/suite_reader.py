"""Reads the lists of sessions of one suite, as far down as a question needs them: its status, and its last commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TypeAlias

from attrs import evolve

from .._base.workers import map_concurrently
from ..analysis.baseline import lists_too_few
from ..analysis.branches import (
    MAIN_NAMES,
    NEWEST,
    JudgedBranch,
    Main,
    main_branch,
    suggest_branches,
)
from ..analysis.commits import MAX_SEARCHED, SessionList, TestedCommit
from ..analysis.suite_status import SuiteStatus, has_enough_commits, status_of
from ..errors import ConfigError, NotFoundError, NoVerdictError, ResponseError, UnstableListingError
from ..models import RefType, Session, SuiteKey, TestCase
from .source import Source

_STEP = 100
"""After so many sessions, a question is asked whether they are enough, whatever the pages of the server."""
_REREAD_AFTER = 10.0
"""Seconds after which a list of failing cases that is too short is read again."""

IsEnough: TypeAlias = Callable[[SessionList], bool]


class SuiteReader:
    """Reads one suite for one question, or for one poll of a watch. The newest sessions are read once."""

    def __init__(self, source: Source, suite: SuiteKey) -> None:
        self.source = source
        self.suite = suite
        self._newest: SessionList | None = None  # 100 of them
        self._longest: SessionList | None = None  # as many as were read
        self._among_newest: dict[JudgedBranch, SessionList] = {}
        self._own: dict[JudgedBranch, SessionList] = {}  # the newest of branches

    def know(self, newest: SessionList) -> None:
        """Take these for the newest sessions: at least 100, or all."""
        self._longest, self._newest = newest, _cut(newest, NEWEST)

    async def newest(self) -> SessionList:
        """Return the newest 100 sessions."""
        if self._newest is None:
            self._newest = _cut(await self.search(lambda listed: len(listed.sessions) >= NEWEST), NEWEST)
        return self._newest

    async def search(self, is_enough: IsEnough) -> SessionList:
        """Return the newest sessions: as many as are enough."""
        listed = self._longest
        if listed is None or (listed.end == "cut" and not is_enough(listed)):
            self._longest = listed = await self.read(None, is_enough)
        return listed

    async def find_branch(self, branch: str | Main) -> JudgedBranch | None:
        """Return the branch to judge; None if there is no main branch. That one needs the newest sessions."""
        if not isinstance(branch, Main):
            return JudgedBranch(branch)
        newest = await self.newest()
        name = main_branch(newest.sessions)
        for older in MAIN_NAMES if name is None and newest.end == "cut" else ():  # it was not tested for long
            if main_branch((await self._own_newest(JudgedBranch(older, is_main=True))).sessions):
                return JudgedBranch(older, is_main=True)
        return None if name is None else JudgedBranch(name, is_main=True)

    async def require_branch(self, branch: str | Main) -> JudgedBranch:
        """Return the branch to judge. Raises NoVerdictError without a main branch."""
        found = await self.find_branch(branch)
        if found is None:
            sessions = (await self.newest()).sessions
            if not sessions and self.source.is_saved:
                raise NoVerdictError(f"{self.suite} has no saved session: sync it first")
            known = suggest_branches("main", self.suite, sessions)
            raise NoVerdictError(f"{self.suite} has no main branch: name the branch; {known}")
        return found

    async def newest_of(self, branch: JudgedBranch) -> SessionList:
        """Return the newest sessions of a branch: among the newest 100, if these say what is usual, or its own 100."""
        own = await self._select(branch)
        return own if has_enough_commits(own) else await self._own_newest(branch)

    async def of_branch(self, branch: JudgedBranch, is_enough: IsEnough) -> SessionList:
        """Return the newest sessions of a branch: among the newest 100, if these are enough, or as many as needed."""
        own = await self._select(branch)
        return own if own.end != "cut" or is_enough(own) else await self._read_own(branch, is_enough)

    async def _own_newest(self, branch: JudgedBranch) -> SessionList:
        """Return 100 sessions, or more until there are two commits: one says how many sessions the other has."""
        if branch not in self._own:
            self._own[branch] = await self._read_own(branch, lambda listed: len(listed.commits) > 1)
        return self._own[branch]

    async def _read_own(self, branch: JudgedBranch, is_enough: IsEnough) -> SessionList:
        """Read the list of a branch. The server lists only sessions with the type BRANCH by name."""
        is_listed = all(each.ref_type == RefType.BRANCH for each in (await self._select(branch)).sessions)
        return await self.read(branch, is_enough, is_listed=is_listed)

    async def _select(self, branch: JudgedBranch) -> SessionList:
        """Return which of the newest 100 sessions are of a branch."""
        if branch not in self._among_newest:
            newest = await self.newest()
            self._among_newest[branch] = evolve(newest, sessions=list(filter(branch.includes, newest.sessions)))
        return self._among_newest[branch]

    async def status(self, branch: str | Main) -> SuiteStatus:
        """Return the status of the suite: usually from its newest 100 sessions, or else from those of the branch."""
        chosen = await self.find_branch(branch)
        if chosen is not None:
            return status_of(self.suite, chosen.name, await self.newest_of(chosen))
        newest = await self.newest()
        if newest.doubt:
            return SuiteStatus(suite=self.suite, reason="incomplete", remark=newest.doubt)
        return SuiteStatus(suite=self.suite, reason="no main branch" if newest.sessions else "no session")

    async def latest(self, branch: str | Main, *, is_failing: bool | None) -> TestedCommit | None:
        """Return the newest commit of a branch with a verdict, or with this one; None if there is none."""
        chosen = await self.find_branch(branch)
        wanted = {True, False} if is_failing is None else {is_failing}

        def find(listed: SessionList) -> TestedCommit | None:
            return next((commit for commit in listed.commits if commit.is_failing in wanted), None)

        listed = await self.newest() if chosen is None else await self.newest_of(chosen)
        if chosen is not None and listed.end == "cut" and not find(listed):
            listed = await self.of_branch(chosen, lambda listed: find(listed) is not None)
        if listed.doubt:
            raise NoVerdictError(f"no verdict about {self.suite}: {listed.doubt}")
        return None if chosen is None else find(listed)

    async def last_commits(self, branch: JudgedBranch, last: int) -> tuple[list[TestedCommit], SessionList]:
        """Return the commits of a branch of which a session passed or failed, newest first: `last` of them, or more.

        Also return the list that they are from. Raises NoVerdictError if there is none, or sessions may be missing.
        """
        listed = await self.of_branch(branch, lambda listed: sum(each.has_result for each in listed.commits) >= last)
        if listed.doubt:
            raise NoVerdictError(f"no verdict about {self.suite}: {listed.doubt}")
        if found := [commit for commit in listed.commits if commit.has_result]:
            return found, listed
        hint = suggest_branches(branch.name, self.suite, (await self.newest()).sessions)
        raise NoVerdictError(hint or f"{self.suite} has no finished session of branch {branch.name!r} yet")

    async def read(self, branch: JudgedBranch | None, is_enough: IsEnough, *, is_listed: bool = True) -> SessionList:
        """Return the newest sessions of a branch, or all for None: as many hundreds as are enough, at most 1,000.

        `is_listed` is false for a branch that the server does not list by its name.
        """
        sessions: list[Session] = []
        listed = SessionList(sessions=(), end="cut", as_of=datetime.now(UTC))
        count, step, doubt = 0, _STEP, ""
        name = branch.name if branch is not None and is_listed else None
        async with aclosing(self.source.lists(self.suite, name)) as parts:
            async for part in parts:
                sessions += [each for each in part.sessions if branch is None or branch.includes(each)]
                count += len(part.sessions)
                doubt = doubt or part.doubt
                listed = evolve(part, sessions=sessions, doubt=doubt)
                while step <= len(sessions):
                    cut = _cut(listed, step)
                    if cut.end != "cut" or step >= MAX_SEARCHED or is_enough(cut):
                        return cut
                    step += _STEP
                if count >= MAX_SEARCHED:
                    break
        return listed

    async def failing_cases(self, sessions: Iterable[Session]) -> dict[str, list[TestCase] | str]:
        """Return the failing cases of red sessions by their ID, or why they cannot be read.

        A list that is shorter than the session counts is read once more after ten seconds.
        """
        red = [session for session in sessions if session.is_failing]
        found = await self._read_failing(red)
        doubtful = [session for session in red if lists_too_few(session, found)]
        if doubtful and not self.source.is_saved:
            await asyncio.sleep(_REREAD_AFTER)
            found |= await self._read_failing(doubtful)
        return found

    async def _read_failing(self, sessions: Sequence[Session]) -> dict[str, list[TestCase] | str]:
        async def read(session: Session) -> list[TestCase] | str:
            try:
                return await self.source.failing_cases(self.suite, session)
            except (NotFoundError, ResponseError, UnstableListingError):
                return f"the failing tests of #{session.relative_id} cannot be read"
            except ConfigError as error:
                return str(error)

        lists = await map_concurrently(read, sessions, limit=self.source.concurrency)
        return {session.id: cases for session, cases in zip(sessions, lists, strict=True)}

    async def with_details(self, cases: Sequence[tuple[Session, TestCase]]) -> list[TestCase]:
        """Return failing cases with their details, as far as these are known: no verdict needs them."""

        async def read(found: tuple[Session, TestCase]) -> TestCase:
            try:
                return await self.source.with_details(self.suite, *found)
            except ResponseError:
                return found[1]

        return await map_concurrently(read, cases, limit=self.source.concurrency)


def _cut(listed: SessionList, count: int) -> SessionList:
    """Return the first `count` sessions of a list."""
    if count >= len(listed.sessions):
        return listed
    return evolve(listed, sessions=listed.sessions[:count], end="cut")


def merge_lists(listed: SessionList, again: SessionList) -> SessionList:
    """Return what either of two reads of a list shows."""
    sessions: Mapping[str, Session] = {each.id: each for each in [*listed.sessions, *again.sessions]}
    newest_first = sorted(sessions.values(), key=lambda each: -each.relative_id)
    return evolve(again, sessions=newest_first, doubt=listed.doubt or again.doubt)
