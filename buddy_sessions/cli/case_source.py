"""The sessions of one suite with their test cases: from the API, or from a database without a request.

A `branch` is the name of a branch, None for the main branch, or "*" for all sessions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from buddy_sessions import (
    BuddyClient,
    ConfigError,
    NotFoundError,
    Session,
    SessionStore,
    TestCase,
    TestRun,
    main_branch,
)
from buddy_sessions._workers import map_concurrently
from buddy_sessions.models import CaseScope, SuiteKey, has_revision

from .errors import NothingToJudgeError
from .formats.formatting import format_count
from .session_names import LATEST, is_revision, possible_ids
from .suggestions import suggest_branches

_NEWEST = 100  # sessions that say which branch is the main one
_MAX_SEARCHED = 1000  # newest sessions in which those of a commit are searched


class CaseSource(ABC):
    """Where the sessions of one suite and their test cases are read from.

    `requests` is the number of requests for sessions and for all cases of sessions.
    """

    def __init__(self, suite: SuiteKey) -> None:
        self.suite = suite
        self.requests = 0
        self._newest: list[Session] | None = None

    @abstractmethod
    def pages(self, *, branch: str = "*") -> AsyncGenerator[Sequence[Session], None]:
        """Yield the sessions in lists, newest first."""

    @abstractmethod
    async def get(self, session: int | str) -> Session | None:
        """Return the session with this `relative_id`, if it is a number, or this ID; None if there is none."""

    @abstractmethod
    async def failing_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions, without deleted ones, with their failing test cases, which may lack their failures."""

    @abstractmethod
    async def add_failures(self, tests: Sequence[tuple[Session, TestCase]]) -> list[TestCase]:
        """Return test cases of `failing_runs` with their failures, as far as these are known."""

    @abstractmethod
    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session."""

    @abstractmethod
    async def full_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions, without those that have none, with all their test cases."""

    @abstractmethod
    async def runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return at most `last` of the newest sessions with a verdict, with all their test cases, oldest first."""

    async def newest(self) -> list[Session]:
        """Return the newest 100 sessions, newest first. They are read once."""
        if self._newest is None:
            self._newest = (await self._read(count=_NEWEST))[:_NEWEST]
        return self._newest

    async def choose_branch(self, branch: str | None) -> str:
        """Return the name of the branch, or "*" for all sessions. The main branch costs a read of the newest ones."""
        return branch if branch is not None else main_branch(await self.newest()) or "*"

    async def verdicts(
        self, *, branch: str | None = None, last: int = 1, where: Callable[[Session], bool] = lambda _: True
    ) -> list[Session]:
        """Return the newest sessions of a branch that are SUCCESSFUL or ERROR, newest first.

        They are `last`, or more if the pages that were read have more. Raises NothingToJudgeError if there is none.
        """
        name = await self.choose_branch(branch)

        def counts(session: Session) -> bool:
            return session.has_verdict and name in {"*", session.branch} and where(session)

        found = list(filter(counts, self._newest or ()))
        if len(found) < last and (self._newest is None or len(self._newest) == _NEWEST):
            found = await self._read(branch=name, count=last, where=counts)
        if found:
            return found
        of_branch = "" if name == "*" else f" of branch {name!r}"
        hint = suggest_branches(name, self.suite, await self.newest()) if of_branch else ""
        raise NothingToJudgeError(hint) if hint else self._not_finished(of_branch)

    async def find(self, name: str, *, branch: str | None = None) -> list[Session]:
        """Return the session with a name (see `session_names`), or all finished sessions of a commit, newest first.

        Args:
            name: The name of a session, or of the sessions of a commit.
            branch: The branch of the session that is named `latest`.

        Raises:
            NothingToJudgeError: There is none.
            ConfigError: The name fits several sessions or commits.
        """
        if name == LATEST:
            return (await self.verdicts(branch=branch))[:1]
        matches = await self._matches(name)
        if len(matches) > 1:
            raise ConfigError(
                f"{name!r} fits {' and '.join(matches)}: write # before a relative_id, more digits of the hash of a "
                "commit, or paste the URL of the session"
            )
        for what, sessions in matches.items():
            if sessions:
                return sessions
            raise self._not_finished(f" of {what}")
        newest = await self.newest()
        known = f"the newest is #{newest[0].relative_id}" if newest else "it has none yet"
        raise NothingToJudgeError(f"no session {name} in {self.suite}: {known}")

    async def session(self, name: str, *, branch: str | None = None) -> Session:
        """Return the newest of the sessions that `find` returns."""
        return (await self.find(name, branch=branch))[0]

    async def session_before(self, session: Session) -> Session:
        """Return the previous session of the same branch, tag or pull request that passed or failed."""

        def is_before(other: Session) -> bool:
            is_same = (other.ref_type, other.ref_name) == (session.ref_type, session.ref_name)
            return is_same and other.relative_id < session.relative_id

        try:
            return (await self.verdicts(branch=session.branch or "*", where=is_before))[0]
        except NothingToJudgeError as error:
            raise NothingToJudgeError(f"nothing to compare #{session.relative_id} with: {error}") from None

    async def _matches(self, name: str) -> dict[str, list[Session]]:
        """Return what a name fits: a `relative_id`, an ID, and commits with their finished sessions, newest first."""
        matches: dict[str, list[Session]] = {}
        for reference in possible_ids(name):
            if (session := await self.get(reference)) is not None:
                label = "session" if isinstance(reference, int) else "the ID of session"
                matches[f"{label} #{session.relative_id}"] = [session]
        if is_revision(name):
            for session in await self._read(count=_MAX_SEARCHED):
                if has_revision(session, name):
                    of_commit = matches.setdefault(f"commit {session.revision}", [])
                    of_commit += [session] if session.is_finished else []
        return matches

    def _not_finished(self, of: str) -> NothingToJudgeError:
        return NothingToJudgeError(f"{self.suite} has no finished session{of} yet: try again when one has finished")

    async def _read(
        self, *, branch: str = "*", count: int, where: Callable[[Session], bool] = lambda _: True
    ) -> list[Session]:
        """Return the newest sessions for which `where` is true, newest first: `count` of them, or more."""
        found: list[Session] = []
        async with aclosing(self.pages(branch=branch)) as pages:
            async for page in pages:
                found += filter(where, page)
                if len(found) >= count:
                    break
        return found


class ApiCases(CaseSource):
    """Reads from the API. `show` gets the progress as text."""

    def __init__(self, buddy: BuddyClient, suite: SuiteKey, *, show: Callable[[str], None]) -> None:
        super().__init__(suite)
        self._buddy = buddy
        self._show = show

    async def pages(self, *, branch: str = "*") -> AsyncGenerator[Sequence[Session], None]:
        """Yield the pages of the API: one request for each 100 sessions."""
        paginator = self._buddy.sessions(self.suite, branch=None if branch == "*" else branch, read_ahead=1)
        try:
            async with aclosing(paginator.pages()) as pages:
                async for page in pages:
                    yield page.sessions
        finally:
            self.requests += paginator.stats.requests

    async def get(self, session: int | str) -> Session | None:
        """Return the session. Usually two requests for a `relative_id`, one for an ID."""
        try:
            return await self._buddy.session(self.suite, session)
        except NotFoundError:
            return None

    async def failing_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions with their failing test cases: usually two requests for each one that is not green."""
        return await self._read_cases(sessions, self._failing_cases)

    async def _failing_cases(self, session: Session) -> list[TestCase]:
        return await self._buddy.failures(self.suite, session) if _may_have_failing_tests(session) else []

    async def add_failures(self, tests: Sequence[tuple[Session, TestCase]]) -> list[TestCase]:
        """Return the test cases with their failures: one request for each."""

        async def read(test: tuple[Session, TestCase]) -> TestCase:
            session, case = test
            if not case.test_group_id:
                return case
            try:
                return await self._buddy.case(self.suite, session, case)
            except NotFoundError:
                return case

        return await map_concurrently(read, tests, limit=self._buddy.max_concurrency)

    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session: one request for each 100 of them."""
        paginator = self._buddy.cases(self.suite, session)
        cases = await paginator.collect()
        self.requests += paginator.stats.requests
        return cases

    async def full_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions, without those that were deleted meanwhile."""
        return await self._read_cases(sessions, self.cases)

    async def runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the sessions with their test cases, without those that were deleted meanwhile."""
        return await self.full_runs((await self.verdicts(branch=branch, last=last))[:last][::-1])

    async def _read_cases(
        self, sessions: Sequence[Session], read_cases: Callable[[Session], Awaitable[list[TestCase]]]
    ) -> list[TestRun]:
        """Return the sessions that were not deleted meanwhile. Raises NothingToJudgeError if all were."""
        done = 0

        async def read(session: Session) -> TestRun | None:
            nonlocal done
            try:
                run = TestRun(session, tuple(await read_cases(session)))
            except NotFoundError:
                run = None
            done += 1
            self._show(f"{done:,} of {format_count(len(sessions), 'session')}")
            return run

        found = await map_concurrently(read, sessions, limit=self._buddy.max_concurrency)
        runs = [run for run in found if run is not None]
        if sessions and not runs:
            raise NothingToJudgeError(f"the finished sessions of {self.suite} were deleted: try again later")
        return runs


class SavedCases(CaseSource):
    """Reads from the database `path`, which `store` has opened."""

    def __init__(self, store: SessionStore, suite: SuiteKey, *, path: Path) -> None:
        super().__init__(suite)
        self._store = store
        self._path = path

    async def pages(self, *, branch: str = "*") -> AsyncGenerator[Sequence[Session], None]:
        """Yield the saved sessions."""
        async for page in self._store.pages(self.suite, branch=None if branch == "*" else branch):
            yield page

    async def get(self, session: int | str) -> Session | None:
        """Return the saved session."""
        found = await self._read(count=1, where=lambda each: session in (each.relative_id, each.id))
        return found[0] if found else None

    async def failing_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions with their failing test cases. Raises ConfigError if those of one were not saved."""
        return [TestRun(session, tuple(await self._cases(session, "failed"))) for session in sessions]

    async def add_failures(self, tests: Sequence[tuple[Session, TestCase]]) -> list[TestCase]:
        """Return the test cases as they were saved."""
        return [case for _, case in tests]

    async def cases(self, session: Session) -> list[TestCase]:
        """Return all test cases of a session. Raises ConfigError if they were not saved."""
        return await self._cases(session, "all")

    async def runs(self, *, branch: str | None, last: int) -> list[TestRun]:
        """Return the newest sessions of which all test cases were saved. Raises ConfigError if there is none."""
        runs = await self._store.runs(self.suite, cases="all", branch=branch, last=last)
        if not runs and await self.verdicts(branch=branch):
            raise self._nothing_saved()
        return runs

    async def full_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions whose test cases were saved. Raises ConfigError if there is none."""
        runs: list[TestRun] = []
        for session in sessions:
            saved = await self._store.runs(self.suite, branch="*", up_to=session.relative_id, last=1)
            runs += [run for run in saved if run.session.id == session.id]
        if sessions and not runs:
            raise self._nothing_saved()
        return runs

    async def _cases(self, session: Session, scope: CaseScope) -> list[TestCase]:
        if session.is_finished and not session.has_verdict:  # it is no run
            return [case for case in await self._store.cases(self.suite, session) if scope == "all" or case.is_failing]
        for run in await self._store.runs(self.suite, cases=scope, branch="*", up_to=session.relative_id, last=1):
            if run.session.id == session.id:
                return list(run.cases)
        when = "" if session.is_finished else "when it has finished, "
        raise ConfigError(
            f"the {'failing ' if scope == 'failed' else ''}test cases of session {session.id} are not in "
            f"{str(self._path)!r}: {when}{self._sync(scope)}"
        )

    def _nothing_saved(self) -> ConfigError:
        return ConfigError(f"{str(self._path)!r} has no session with all test cases: {self._sync('all')}")

    def _sync(self, scope: CaseScope) -> str:
        """Return a hint to the command that saves the missing test cases."""
        return f"run buddy-sessions sync {self.suite} --db {self._path} --cases {scope}"


def _may_have_failing_tests(session: Session) -> bool:
    return not session.has_verdict or session.is_failing or bool(session.failed_count or session.error_count)
