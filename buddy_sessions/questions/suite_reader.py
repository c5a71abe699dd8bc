"""What questions read: a `Source` is the API or a database, and a `SuiteReader` reads as much as a question needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeAlias

from attrs import evolve

from .._api import Api, failing_statuses
from .._base.validate import validate_session
from .._base.workers import LongBodies, map_concurrently
from .._paging.selection import ReadSpec
from ..analysis.baseline import find_incomplete
from ..analysis.branches import MAIN_NAMES, NEWEST, JudgedBranch, Main, list_branches, main_branch, suggest_branches
from ..analysis.commits import SessionList, TestedCommit
from ..analysis.suite_status import SuiteStatus, has_enough_commits, status_of
from ..errors import BuddyError, ConfigError, NotFoundError, NoVerdictError, ResponseError, UnstableListingError
from ..models import FAILING, RefType, Session, Suite, SuiteKey, TestCase, TestKey, TestStatus, case_ids

MAX_SEARCHED = 1000
"""The maximum number of sessions that are searched: for a wrong name or commit, not the whole suite is read."""
_STEP = 100
"""After so many sessions, a question is asked whether they are enough, whatever the pages of the server."""
_REREAD_AFTER = 10.0
"""Seconds after which a list of failing cases that is too short is read again."""

IsEnough: TypeAlias = Callable[[SessionList], bool]


class Source(Protocol):
    """Where the sessions of suites and their test cases are read from."""

    concurrency: int
    """How many sessions to read at once."""
    is_saved: bool
    """Whether another read returns the same, because it is one of a database."""

    async def suites(self, workspace: str, project: str | None, /) -> list[Suite]:
        """Return the suites of a project, or of a workspace."""
        ...

    def parts(self, suite: SuiteKey, branch: str | None, /) -> AsyncGenerator[SessionList, None]:
        """Yield the sessions of a suite, or those with the `ref_type` BRANCH of a branch, in parts, newest first."""
        ...

    async def session(self, suite: SuiteKey, name: int | str, /) -> Session | None:
        """Return the session with this `relative_id` or ID; None if there is none."""
        ...

    async def failing_cases(self, suite: SuiteKey, session: Session | str, /) -> list[TestCase]:
        """Return the failing cases of a session, perhaps without details. Raises ConfigError if they were not saved."""
        ...

    async def cases(self, suite: SuiteKey, session: Session, status: TestStatus | None = None, /) -> list[TestCase]:
        """Return all cases of a session, or those with a status. Raises ConfigError if they were not saved."""
        ...

    async def with_details(self, _suite: SuiteKey, _session: Session | str, case: TestCase, /) -> TestCase:
        """Return a failing case with its `data` and `failure`, as far as they are known: by default, as it is."""
        return case

    async def passed_in_group(self, suite: SuiteKey, session: Session, group_id: str, /) -> set[TestKey] | None:
        """Return the tests that passed in a group of a session; None if that was not saved."""
        ...

    async def tested_again(self, _suite: SuiteKey, /) -> SessionList | None:
        """Return the sessions of commits that were perhaps tested again; None if all must be read for that."""
        return None


class ApiSource(Source):
    """Lists are verified, and failing tests are read only where there are some. See `Source`."""

    is_saved = False

    def __init__(self, api: Api) -> None:
        self.concurrency = api.max_concurrency
        self._api = api
        self._long_bodies = LongBodies()

    async def suites(self, workspace: str, project: str | None) -> list[Suite]:
        """Return the suites, as `BuddyClient.suites` does."""
        return await self._api.suites(workspace, project)

    async def parts(self, suite: SuiteKey, branch: str | None) -> AsyncGenerator[SessionList, None]:
        """Yield the pages of the list: one request for each 100 sessions."""
        reader = self._api.read(suite, ReadSpec(branch=branch, read_ahead=1))
        async with aclosing(reader.pages()) as pages:
            async for page in pages:
                yield list_of(page.sessions, self._api.now, is_complete=page.is_last, is_verified=reader.is_verified)

    async def session(self, suite: SuiteKey, name: int | str) -> Session | None:
        """Return the session with this `relative_id` (usually two requests) or ID (one)."""
        try:
            return (await self._api.session(suite, name)).result()
        except NotFoundError:
            return None

    async def failing_cases(self, suite: SuiteKey, session: Session | str) -> list[TestCase]:
        """Return the failing cases: two requests, or one if the session counts only one kind of failure."""
        statuses = failing_statuses(session) if isinstance(session, Session) else FAILING
        lists = await map_concurrently(partial(self.cases, suite, session), statuses, concurrency=len(FAILING))
        # A case may have moved from one list to the other meanwhile.
        return list({case_ids(case): case for cases in lists for case in cases}.values())

    async def cases(self, suite: SuiteKey, session: Session | str, status: TestStatus | None = None) -> list[TestCase]:
        """Return the cases of a session: one request for each 100 of them."""
        validate_session(session)
        return await self._api.cases(suite, session, status=status).collect()

    async def with_details(self, suite: SuiteKey, session: Session | str, case: TestCase) -> TestCase:
        """Return a case with its details: one request."""
        with self._long_bodies.track() as on_size:
            return await self._api.with_details(suite, session, case, on_size=on_size)

    async def passed_in_group(self, suite: SuiteKey, session: Session, group_id: str) -> set[TestKey]:
        """Return the tests that passed in a group of a session: one request for each 100 cases of the group."""
        cases = await self._api.cases(suite, session.id, status=None, group_id=group_id).collect()
        return {case.key for case in cases if case.status == TestStatus.PASSED}


def list_of(sessions: Sequence[Session], as_of: datetime, *, is_complete: bool, is_verified: bool) -> SessionList:
    """Return the sessions that were just read from the API; there is no verdict from a list that is not verified."""
    return SessionList(
        sessions=sessions,
        below="nothing" if is_complete else "more",
        as_of=as_of,
        doubt="" if is_verified else "sessions may have been missed: the list cannot be verified",
    )


class SuiteReader:
    """Reads one suite for one question, or for one poll of a watch. Each list is read once, and longer if needed.

    - `newest`: 100 sessions of all branches.
    - `of_branch`: the sessions of a branch among these if they are enough; or else, `search` in its own list.
    - `search`: the list of a branch, or of all branches, read until it is enough.

    The argument `newest` are the newest sessions, if they were read before: at least 100, or all.
    """

    def __init__(self, source: Source, suite: SuiteKey, newest: SessionList | None = None) -> None:
        self.source = source
        self.suite = suite
        self._lists: dict[JudgedBranch | None, SessionList] = {}  # as far as they were read; None: of all branches
        if newest is not None:
            self._lists[None] = newest

    async def newest(self) -> SessionList:
        """Return the newest 100 sessions."""
        listed = _cut(await self.search(None, lambda listed: are_enough(listed.sessions)), NEWEST)
        # What a search for a name does not reach, the list of a branch may.
        return evolve(listed, below="more") if listed.below == "out of reach" else listed

    async def search(self, branch: JudgedBranch | None, is_enough: IsEnough) -> SessionList:
        """Return the newest sessions of a branch, or of all for None: as many as are enough."""
        listed = self._lists.get(branch)
        if listed is None or (listed.below == "more" and not is_enough(listed)):
            self._lists[branch] = listed = await self._read_list(branch, is_enough)
        return listed

    async def find_branch(self, branch: str | Main) -> JudgedBranch | None:
        """Return the branch to judge; None if there is no main branch. That one needs the newest sessions."""
        if not isinstance(branch, Main):
            return JudgedBranch(branch)
        newest = await self.newest()
        name = main_branch(newest.sessions)
        if name not in MAIN_NAMES and newest.below == "more":  # it was not tested for long
            for older in MAIN_NAMES:
                listed = await self.search(JudgedBranch(older, is_main=True), has_enough_commits)
                if main_branch([*newest.sessions, *listed.sessions[:1]]) == older:
                    return JudgedBranch(older, is_main=True)
        return None if name is None else JudgedBranch(name, is_main=True)

    async def no_session_of(self, branch: str | None) -> NoVerdictError:
        """Return the error for a branch without finished sessions, or for a suite without a main branch."""
        newest = await self.newest()
        if not newest.sessions and newest.doubt and self.source.is_saved:
            return NoVerdictError(f"{self.suite} has no saved session", advice='sync it with {cases="failed"}')
        if not newest.sessions:
            return NoVerdictError(suggest_branches(None, self.suite, ()))
        if branch is None:
            text = f"{self.suite} has no main branch, and its latest sessions are of {list_branches(newest.sessions)}"
            return NoVerdictError(text, advice="name one with {branch}")
        others = suggest_branches(branch, self.suite, newest.sessions)
        return NoVerdictError(others or f"{self.suite} has no finished session of branch {branch!r} yet")

    async def of_branch(self, branch: JudgedBranch, is_enough: IsEnough) -> SessionList:
        """Return the newest sessions of a branch: among the newest 100, if these are enough, or as many as needed."""
        own = await self._among_newest(branch)
        return own if own.below != "more" or is_enough(own) else await self.search(branch, is_enough)

    async def _among_newest(self, branch: JudgedBranch) -> SessionList:
        newest = await self.newest()
        return evolve(newest, sessions=list(filter(branch.includes, newest.sessions)))

    async def status(self, branch: str | Main) -> SuiteStatus:
        """Return the status of the suite: usually from its newest 100 sessions, or else from those of the branch."""
        chosen = await self.find_branch(branch)
        if chosen is None:
            return status_of(self.suite, None, await self.newest())
        return status_of(self.suite, chosen.name, await self.of_branch(chosen, has_enough_commits))

    async def latest(self, branch: str | Main, *, is_failing: bool | None) -> TestedCommit | None:
        """Return the newest commit of a branch with a verdict, or with this one; None if there is none."""
        chosen = await self.find_branch(branch)
        wanted = {True, False} if is_failing is None else {is_failing}

        def find(listed: SessionList) -> TestedCommit | None:
            return next((commit for commit in listed.judged_commits if commit.is_failing in wanted), None)

        if chosen is None:
            self._checked(await self.newest())
            return None
        return find(self._checked(await self.of_branch(chosen, lambda listed: find(listed) is not None)))

    async def last_commits(self, branch: str | Main, last: int) -> tuple[list[TestedCommit], SessionList]:
        """Return the commits of a branch of which a session passed or failed, newest first: `last` of them, or more.

        Also return the list that they are from. Raises NoVerdictError if there is none, or one may have been missed.
        """
        chosen = await self.find_branch(branch)
        if chosen is None:
            raise await self.no_session_of(None)
        listed = await self.of_branch(chosen, lambda listed: sum(each.has_result for each in listed.commits) >= last)
        if commits := [commit for commit in self._checked(listed).commits if commit.has_result]:
            return commits, listed
        raise await self.no_session_of(chosen.name)

    def _checked(self, listed: SessionList) -> SessionList:
        if listed.doubt:
            raise NoVerdictError(f"no verdict about {self.suite}: {listed.doubt}")
        return listed

    async def _read_list(self, branch: JudgedBranch | None, is_enough: IsEnough) -> SessionList:
        """Return the newest sessions of a branch, or of all for None: as many hundreds as are enough, at most 1,000."""
        sessions: list[Session] = []
        listed = SessionList(sessions=(), below="more", as_of=datetime.now(UTC))
        count, step, doubt, name = 0, _STEP, "", None
        # The server lists only sessions with the type BRANCH by name.
        if branch and all(each.ref_type == RefType.BRANCH for each in (await self._among_newest(branch)).sessions):
            name = branch.name
        async with aclosing(self.source.parts(self.suite, name)) as parts:
            async for part in parts:
                sessions += [each for each in part.sessions if branch is None or branch.includes(each)]
                count += len(part.sessions)
                doubt = doubt or part.doubt
                listed = evolve(part, sessions=sessions, doubt=doubt)
                while step <= min(len(sessions), MAX_SEARCHED):
                    cut = _cut(listed, step)
                    if is_enough(cut):
                        return cut
                    step += _STEP
                if count >= MAX_SEARCHED:
                    return end_search(_cut(listed, MAX_SEARCHED))
        return listed

    async def read_failing(
        self, sessions: Iterable[Session], *, is_sure: bool = True
    ) -> dict[str, list[TestCase] | BuddyError]:
        """Return the failing cases of red sessions by their ID, or why they cannot be read.

        If `is_sure` is true, a list that is shorter than the session counts is read once more after ten seconds.
        """
        red = [session for session in sessions if session.is_failing]
        lists = await self._read_once(red)
        doubtful = find_incomplete(red, lists)
        if doubtful and is_sure and not self.source.is_saved:
            await asyncio.sleep(_REREAD_AFTER)
            lists |= await self._read_once(doubtful)
        return lists

    async def _read_once(self, sessions: Sequence[Session]) -> dict[str, list[TestCase] | BuddyError]:
        async def read(session: Session) -> list[TestCase] | BuddyError:
            try:
                return await self.source.failing_cases(self.suite, session)
            except (NotFoundError, ResponseError, UnstableListingError):
                return ResponseError(f"the failing tests of #{session.relative_id} cannot be read")
            except ConfigError as error:
                return error.with_traceback(None)

        lists = await map_concurrently(read, sessions, concurrency=self.source.concurrency)
        return {session.id: cases for session, cases in zip(sessions, lists, strict=True)}

    async def read_details(
        self, cases: Sequence[tuple[Session | str, TestCase]], *, keep_data: bool = True
    ) -> list[TestCase]:
        """Return failing cases with their details, as far as these are known: no verdict needs them.

        Without `keep_data`, the `data` of each is emptied once its failure was read from it, because it may be long.
        """

        async def read(pair: tuple[Session | str, TestCase]) -> TestCase:
            if pair[1].has_details and not keep_data:
                return pair[1]
            try:
                case = await self.source.with_details(self.suite, *pair)
            except ResponseError:
                return pair[1]
            return case if keep_data or not case.data else evolve(case, data="")

        return await map_concurrently(read, cases, concurrency=self.source.concurrency)


def are_enough(sessions: Sequence[Session], *, stop_at: int | None = None, count: int = NEWEST) -> bool:
    """Return whether no older sessions need be read than these, the newest ones, newest first.

    They are enough if there are `count`, and no session is missing between them and what was read before, down from
    the `relative_id` `stop_at`; None if nothing was read before.
    """
    return len(sessions) >= count and (stop_at is None or sessions[-1].relative_id <= stop_at + 1)


def _cut(listed: SessionList, count: int) -> SessionList:
    is_whole = count >= len(listed.sessions)
    return listed if is_whole else evolve(listed, sessions=listed.sessions[:count], below="more")


def end_search(listed: SessionList) -> SessionList:
    """Return a list of which no question reads more."""
    return evolve(listed, below="out of reach") if listed.below == "more" else listed
