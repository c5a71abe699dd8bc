"""Reads the sessions of one suite with their test cases, from the API or a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
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
from buddy_sessions.analysis.branches import MAIN_NAMES
from buddy_sessions.analysis.completeness import MIN_TESTS, EarlierRuns, earlier_runs, lists_too_few
from buddy_sessions.analysis.judgement import Baseline, can_be_baseline
from buddy_sessions.analysis.runs import CIRun, ci_runs, run_identity, usual_size
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
            raise await self._no_verdict(name)
        return found

    async def newest_runs(
        self, branch: str | Main | None, *, last: int = 1, after: int = 0, with_incomplete: bool = False
    ) -> list[CIRun]:
        """Return the newest CI runs above #`after` that have a verdict, newest first: `last` of them, or more.

        Raises NothingToJudgeError if there is none. `with_incomplete` is that of `VerdictSearch.runs`.
        """
        name = await self.choose_branch(branch)
        runs, _ = await self.search.runs(
            name,
            where=lambda run: run.sessions[0].relative_id > after,
            is_enough=lambda runs: len(runs) >= last,
            with_incomplete=with_incomplete,
        )
        if not runs:
            raise await self._no_verdict(name)
        return runs

    async def _no_verdict(self, branch: str | None) -> NothingToJudgeError:
        """Return the error for a branch without a session that passed or failed."""
        if branch is None:
            return self.not_finished(" yet")
        hint = suggest_branches(branch, self.suite, await self.search.newest())
        is_unfinished = self.not_finished(f" of branch {branch!r} among its newest {MAX_SEARCHED:,}")
        return NothingToJudgeError(hint) if hint else is_unfinished

    def not_finished(self, of: str) -> NothingToJudgeError:
        """Return the error for sessions of which none has finished."""
        return NothingToJudgeError(f"{self.suite} has no finished session{of}: try again when one has finished")

    async def is_first_of(self, branch: str) -> bool:
        """Return whether `branch` is `main` or `master`, and the suite has no session of either, in a whole list."""
        if branch not in MAIN_NAMES or any([await self.search.take(1, name) for name in MAIN_NAMES]):
            return False
        return await self.source.has_all_sessions(self.suite)

    async def baseline(
        self,
        judged: Sequence[Session],
        branch: str | Main | None,
        *,
        last: int,
        min_tests: float = MIN_TESTS,
        skip_unsaved: bool = False,
    ) -> Baseline:
        """Return the last CI runs of a branch that are older than the judged sessions, and of another commit.

        Outages among them are replaced by older runs, see `earlier_runs`.
        """
        name = await self.choose_branch(branch)

        def choose(runs: Iterable[CIRun]) -> EarlierRuns:
            sessions = [session for run in runs for session in run.sessions if session.has_verdict]
            return earlier_runs(sessions, last=last, min_tests=min_tests)

        found, _ = await self.search.runs(
            name,
            below=min(session.relative_id for session in judged),
            where=lambda run: can_be_baseline(run.sessions[0], judged),
            is_enough=lambda runs: len(choose(runs).counting) == last,
            with_incomplete=True,
        )
        if not found:
            judged_id, error = judged[0].relative_id, await self._no_verdict(name)
            raise NothingToJudgeError(f"nothing older and of another commit to compare #{judged_id} with: {error}")
        chosen = choose(found)
        to_read = [session for run in chosen.counting for session in run.sessions]
        runs, unread = await self.readable_runs(to_read, skip_unsaved=skip_unsaved)
        if to_read and not runs:
            raise NothingToJudgeError(
                "no verdict: the failing tests of the sessions to compare with cannot be read: try again later"
            )
        runs += [TestRun(session, ()) for run in chosen.outages for session in run.sessions]
        return Baseline(name, runs, last, unread)

    async def judged_runs(
        self, sessions: Sequence[Session], *, pause: float = 10.0
    ) -> tuple[list[TestRun], list[Session]]:
        """Return the sessions with their failing test cases, and those whose test cases cannot be read.

        What cannot be read, or lists fewer failing tests than the session counts, is read again after `pause` seconds.
        """
        runs, unread = await self.readable_runs(sessions)
        if self.source.is_saved or not (unread or any(map(lists_too_few, runs))):
            return runs, unread
        complete = [run for run in runs if not lists_too_few(run)]
        doubtful = [*unread, *(run.session for run in runs if lists_too_few(run))]
        await asyncio.sleep(pause)
        again, unread = await self.readable_runs(doubtful, again=True)
        return [*complete, *again], unread

    async def other_sessions(self, judged: Sequence[Session], baseline: Baseline) -> list[Session]:
        """Return other sessions of the CI runs of the judged ones, if these are fewer than usual: one request or none.

        Only the newest 100 sessions are searched.
        """
        ids = Counter(map(run_identity, judged))
        if min(ids.values()) >= usual_size(run.sessions for run in ci_runs(baseline.sessions)):
            return []
        return [each for each in await self.search.newest() if run_identity(each) in ids and each not in judged]

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
        """Return what `full_runs` does; unless `skip_unsaved`, it is an error if one was not saved."""
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
