"""Reads the sessions of one suite with their test cases, from the API or a database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from buddy_sessions import (
    MAIN,
    BuddyError,
    ConfigError,
    Main,
    NotFoundError,
    ResponseError,
    Session,
    TestCase,
    TestRun,
    TestStatus,
    UnstableListingError,
)
from buddy_sessions._base.figures import format_count
from buddy_sessions._base.workers import map_concurrently
from buddy_sessions.analysis.runs import CIRun
from buddy_sessions.analysis.suite_status import MAX_SEARCHED
from buddy_sessions.models import SuiteKey

from ..errors import NothingToJudgeError
from ..input.keys import Target
from ..options import Connection
from ..render.console import Output
from .case_source import CaseSource, open_source
from .suggestions import suggest_branches


class SuiteReader:
    """Reads one suite from a source. `show` prints the progress, which is a text."""

    def __init__(self, source: CaseSource, suite: SuiteKey, *, show: Callable[[str], None] = lambda _: None) -> None:
        self.suite = suite
        self.source = source
        self._show = show
        self.search = source.search(suite)

    async def choose_branch(self, branch: str | Main | None) -> str | None:
        """Return the name of the branch; None for all sessions. Raises NothingToJudgeError without a main branch."""
        name = await self.search.choose_branch(branch)
        if name is None and branch is MAIN and await self.search.newest():
            raise NothingToJudgeError(
                f"{self.suite} has no main branch, because its newest sessions tested no branch: name one, or look at "
                "all (--branch NAME, --all-branches)"
            )
        return name

    async def verdicts(
        self,
        *,
        branch: str | Main | None = MAIN,
        last: int = 1,
        below: int | None = None,
        where: Callable[[Session], bool] = lambda _: True,
    ) -> list[Session]:
        """Return the newest sessions of a branch that are SUCCESSFUL or ERROR, newest first: `last` of them, or more.

        Raises NothingToJudgeError if there is none.
        """
        name = await self.choose_branch(branch)
        found = await self.search.take(last, name, below=below, where=lambda each: each.has_verdict and where(each))
        if not found:
            raise await self.no_verdict(name)
        return found

    async def newest_ci_runs(
        self, branch: str | Main | None, *, last: int = 1, after: int = 0, with_incomplete: bool = False
    ) -> list[CIRun]:
        """Return the newest CI runs above #`after` that have a verdict, newest first: `last` of them, or more.

        Raises NothingToJudgeError if there is none. `with_incomplete` is that of `VerdictSearch.ci_runs`.
        """
        name = await self.choose_branch(branch)
        ci_runs, _ = await self.search.ci_runs(
            name,
            where=lambda ci_run: ci_run.sessions[0].relative_id > after,
            is_enough=lambda ci_runs: len(ci_runs) >= last,
            with_incomplete=with_incomplete,
        )
        if not ci_runs:
            raise await self.no_verdict(name)
        return ci_runs

    async def no_verdict(self, branch: str | None) -> NothingToJudgeError:
        """Return the error for a branch without a session that passed or failed."""
        if branch is None:
            return self.not_finished(" yet")
        hint = suggest_branches(branch, self.suite, await self.search.newest())
        is_unfinished = self.not_finished(f" of branch {branch!r} among its newest {MAX_SEARCHED:,}")
        return NothingToJudgeError(hint) if hint else is_unfinished

    def not_finished(self, of: str) -> NothingToJudgeError:
        """Return the error for sessions of which none has finished."""
        return NothingToJudgeError(f"{self.suite} has no finished session{of}: try again when one has finished")

    async def readable_runs(
        self, sessions: Sequence[Session], *, skip_unsaved: bool = False, again: bool = False
    ) -> tuple[list[TestRun], list[Session]]:
        """Return the sessions with their failing test cases, and those whose test cases cannot be read."""
        unread: list[Session] = []

        async def read(session: Session) -> list[TestCase]:
            try:
                return await self.source.failing_cases(self.suite, session, again=again)
            except (NotFoundError, ResponseError, UnstableListingError):
                unread.append(session)
                return []

        runs = await self._runs(sessions, read, skip_unsaved=skip_unsaved) if sessions else []
        return [run for run in runs if run.session not in unread], unread

    async def add_failures(self, tests: Sequence[tuple[Session, TestCase]]) -> list[TestCase]:
        """Return failing test cases with their failures, as far as these are known."""

        async def read(test: tuple[Session, TestCase]) -> TestCase:
            return await self.source.add_failure(self.suite, *test)

        return await map_concurrently(read, tests, limit=self.source.concurrency)

    async def cases(self, session: Session, *, status: TestStatus | None = None) -> list[TestCase]:
        """Return the test cases of a session: all, or those with a status."""
        return await self.source.cases(self.suite, session, status=status)

    async def full_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions with all their test cases, without those that were deleted or not saved.

        Raises NothingToJudgeError or ConfigError if none is left.
        """
        return await self._runs(sessions, self.cases, skip_unsaved=True)

    async def newest_full_runs(self, branch: str | None, *, last: int) -> tuple[list[TestRun], list[Session]]:
        """Return at most `last` of the newest sessions with a verdict, with all their test cases, oldest first.

        Also return the newer sessions with a verdict, whose tests are not known. Raises as `full_runs` does.
        """
        runs = await self.source.full_runs(self.suite, branch=branch, last=last)
        sessions = await self.verdicts(branch=branch, last=last)
        runs = runs or await self.full_runs(sessions[:last][::-1])
        return runs, [each for each in sessions if each.relative_id > runs[-1].session.relative_id]

    async def _runs(
        self,
        sessions: Sequence[Session],
        read_cases: Callable[[Session], Awaitable[list[TestCase]]],
        *,
        skip_unsaved: bool,
    ) -> list[TestRun]:
        """Return sessions with these test cases, as `full_runs` does. Unless `skip_unsaved`, all must be saved."""
        done = 0
        errors: list[BuddyError] = []

        async def read(session: Session) -> TestRun | None:
            nonlocal done
            run = None
            try:
                run = TestRun(session, tuple(await read_cases(session)))
            except NotFoundError as error:
                errors.append(error)
            except ConfigError as error:  # not saved, or an ID that no URL can have
                if not skip_unsaved:
                    raise
                errors.append(error)
            done += 1
            self._show(f"{done:,} of {format_count(len(sessions), 'session')}")
            return run

        found = await map_concurrently(read, sessions, limit=self.source.concurrency)
        if errors and not any(found):
            deleted = f"the finished sessions of {self.suite} were deleted: try again later"
            raise NothingToJudgeError(deleted) if isinstance(errors[0], NotFoundError) else errors[0]
        return [run for run in found if run is not None]


@asynccontextmanager
async def open_suite(
    target: Target, *, db: Path | None, connection: Connection, messages: Output
) -> AsyncIterator[SuiteReader]:
    """Open the suite `target`. `messages` shows the progress."""
    with messages.progress(enabled=db is None) as show:
        async with open_source(db=db, connection=connection, messages=messages) as source:
            yield SuiteReader(source, await source.find(target), show=show)
