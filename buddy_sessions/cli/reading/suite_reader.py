"""Reads the sessions of one suite with their test cases, from the API or a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from buddy_sessions import (
    MAIN,
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
from buddy_sessions._api.verdicts import MAX_SEARCHED
from buddy_sessions._base.workers import map_concurrently
from buddy_sessions.analysis.branches import MAIN_NAMES
from buddy_sessions.analysis.completeness import MIN_TESTS, EarlierRuns, earlier_runs, lists_too_few
from buddy_sessions.analysis.judgement import Baseline, can_be_baseline
from buddy_sessions.analysis.runs import CIRun, ci_runs, name_sessions, run_identity, usual_size
from buddy_sessions.models import SuiteKey, has_revision, has_run_url

from ..errors import NothingToJudgeError
from ..input.keys import Target
from ..input.session_names import LATEST, is_revision, is_run_url, possible_ids
from ..options import Connection
from ..render.console import Output
from .case_source import CaseSource, SavedCases, open_source, read_runs
from .suggestions import suggest_branches

_MAX_BELOW = 200  # how many sessions are searched below the last one of a commit or a CI run that was found


class SuiteReader:
    """Reads one suite from a source. `show` prints the progress, which is a text."""

    def __init__(self, source: CaseSource, suite: SuiteKey, *, show: Callable[[str], None] = lambda _: None) -> None:
        self.suite = suite
        self._source = source
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
        self, branch: str | Main | None, *, last: int = 1, after: int = 0, with_partial: bool = False
    ) -> list[CIRun]:
        """Return the newest CI runs above #`after` that have a verdict, newest first: `last` of them, or more.

        Raises NothingToJudgeError if there is none. `with_partial` is that of `VerdictSearch.runs`.
        """
        name = await self.choose_branch(branch)
        runs, _ = await self.search.runs(
            name,
            where=lambda run: run.sessions[0].relative_id > after,
            is_enough=lambda runs: len(runs) >= last,
            with_partial=with_partial,
        )
        if not runs:
            raise await self._no_verdict(name)
        return runs

    async def _no_verdict(self, branch: str | None) -> NothingToJudgeError:
        """Return the error for a branch without a session that passed or failed."""
        if branch is None:
            return self._not_finished(" yet")
        hint = suggest_branches(branch, self.suite, await self.search.newest())
        is_unfinished = self._not_finished(f" of branch {branch!r} among its newest {MAX_SEARCHED:,}")
        return NothingToJudgeError(hint) if hint else is_unfinished

    async def is_first_of(self, branch: str) -> bool:
        """Return whether `branch` is `main` or `master`, and the suite has no session of either, in a whole list."""
        if branch not in MAIN_NAMES or any([await self.search.take(1, name) for name in MAIN_NAMES]):
            return False
        return not isinstance(self._source, SavedCases) or await self._source.has_all_sessions(self.suite)

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
            with_partial=True,
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
        if isinstance(self._source, SavedCases) or not (unread or any(map(lists_too_few, runs))):
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
                return await self._source.failing_cases(self.suite, session, again=again)
            except (NotFoundError, ResponseError, UnstableListingError):
                unread.append(session)
                return []

        runs = await self._runs(sessions, read, skip_unsaved=skip_unsaved) if sessions else []
        return [run for run in runs if run.session not in unread], unread

    async def find(
        self, name: str, *, branch: str | Main | None = MAIN, after: int = 0, all_finished: bool = False
    ) -> list[Session]:
        """Return the session with a name, or all finished sessions of a commit or CI run, newest first.

        Args:
            name: The name of a session, or of the sessions of a commit or a CI run.
            branch: The branch of the session that is named `latest`.
            after: Only sessions with a higher `relative_id`.
            all_finished: Whether one that has not finished is an error.

        Raises:
            NothingToJudgeError: There is none, or one that has not finished.
            ConfigError: The name fits several sessions or commits.
        """
        if name == LATEST:
            # A gate does not pass over a CI run in which tests are missing.
            run, *_ = await self.newest_runs(branch, after=after, with_partial=all_finished)
            return [session for session in run.deciding if session.relative_id > after]
        matches = await self._matches(name)
        if len(matches) > 1:
            raise ConfigError(
                f"{name!r} fits {' and '.join(matches)}: write # before a relative_id, more digits of the hash of a "
                "commit, or paste the URL of the session"
            )
        for what, matching in matches.items():
            sessions = [session for session in matching if session.relative_id > after]
            if not sessions:
                raise NothingToJudgeError(f"{self.suite} has no session of {what} above #{after} yet: wait for one")
            if all_finished:
                require_finished(what, sessions)
            if any(session.is_finished for session in sessions):
                return [session for session in sessions if session.is_finished]
            if is_run_url(name) or what.startswith("commit"):
                raise self._not_finished(f" of {what} yet")
            return sessions
        newest = await self.search.newest()
        known = f"the newest is #{newest[0].relative_id}" if newest else "it has none yet"
        raise NothingToJudgeError(f"no session {name} in {self.suite}: {known}")

    async def session(self, name: str) -> Session:
        """Return the newest of the sessions that `find` returns; for `latest`, the one that decides."""
        return (await self.newest_runs(MAIN))[0].session if name == LATEST else (await self.find(name))[0]

    async def session_before(self, session: Session) -> Session:
        """Return the newest session of the previous CI run of the same branch, tag or pull request."""

        def is_same(other: Session) -> bool:
            is_other_run = run_identity(other) != run_identity(session)
            return is_other_run and (other.ref_type, other.ref_name) == (session.ref_type, session.ref_name)

        try:
            return (await self.verdicts(branch=session.branch, below=session.relative_id, where=is_same))[0]
        except NothingToJudgeError as error:
            raise NothingToJudgeError(f"nothing to compare #{session.relative_id} with: {error}") from None

    async def add_failures(self, tests: Sequence[tuple[Session, TestCase]]) -> list[TestCase]:
        """Return failing test cases with their failures, as far as these are known."""

        async def read(test: tuple[Session, TestCase]) -> TestCase:
            return await self._source.add_failure(self.suite, *test)

        return await map_concurrently(read, tests, limit=self._source.concurrency)

    async def cases(self, session: Session, *, status: TestStatus | None = None) -> list[TestCase]:
        """Return the test cases of a session: all, or those with a status."""
        return await self._source.cases(self.suite, session, status=status)

    async def failing_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions that were not deleted, with their failing test cases, which may lack their failures.

        Raises NothingToJudgeError if all were, ConfigError if the cases of one were not saved.
        """
        return await self._runs(sessions, partial(self._source.failing_cases, self.suite), skip_unsaved=False)

    async def full_runs(self, sessions: Sequence[Session]) -> list[TestRun]:
        """Return the sessions with all their test cases, as `read_runs` does, without those that were not saved."""
        return await self._runs(sessions, self.cases, skip_unsaved=True)

    async def saved_history(self, test: str, *, branch: str | None) -> list[TestRun] | None:
        """Return the sessions of which it is known what a test did, newest first; None without a database."""
        source = self._source
        return await source.history(self.suite, test, branch=branch) if isinstance(source, SavedCases) else None

    async def runs(self, *, branch: str | Main | None, last: int) -> list[TestRun]:
        """Return at most `last` of the newest sessions with a verdict, with all their test cases, oldest first."""
        name = await self.choose_branch(branch)
        if isinstance(self._source, SavedCases):
            saved = await self._source.full_runs(self.suite, branch=name, last=last)
            if saved:
                return saved
        return await self.full_runs((await self.verdicts(branch=name, last=last))[:last][::-1])

    async def newer_sessions(self, runs: Sequence[TestRun], *, branch: str | None) -> list[Session]:
        """Return the sessions with a verdict that are newer than those of `runs`: their tests are not known."""
        newest = max(run.session.relative_id for run in runs)
        return [each for each in await self.verdicts(branch=branch) if each.relative_id > newest]

    async def _runs(
        self,
        sessions: Sequence[Session],
        read_cases: Callable[[Session], Awaitable[list[TestCase]]],
        *,
        skip_unsaved: bool,
    ) -> list[TestRun]:
        limit, show = self._source.concurrency, self._show
        return await read_runs(self.suite, sessions, read_cases, show=show, limit=limit, skip_unsaved=skip_unsaved)

    async def _matches(self, name: str) -> dict[str, list[Session]]:
        """Return what a name fits: a `relative_id`, an ID, commits or a CI run, with their sessions, newest first."""
        matches: dict[str, list[Session]] = {}
        for each in possible_ids(name):
            if (session := await self._source.session(self.suite, each)) is not None:
                label = "session" if isinstance(each, int) else "the ID of session"
                matches[f"{label} #{session.relative_id}"] = [session]
        if is_run_url(name):
            if found := await self._search(lambda session: has_run_url(session, name)):
                matches[f"CI run {name}"] = found
        elif is_revision(name):
            for session in await self._search(lambda session: has_revision(session, name)):
                matches.setdefault(f"commit {session.revision}", []).append(session)
        return matches

    async def _search(self, where: Callable[[Session], bool]) -> list[Session]:
        """Return the newest sessions for which `where` is true, down to the first gap of 200 other ones."""

        def end(sessions: Sequence[Session]) -> int:
            end = MAX_SEARCHED
            for position, session in enumerate(sessions, 1):
                if position <= end and where(session):
                    end = min(position + _MAX_BELOW, MAX_SEARCHED)
            return end

        sessions = await self.search.sessions(None, lambda read: len(read) >= end(read), confirm=True)
        return list(filter(where, sessions[: end(sessions)]))

    def _not_finished(self, of: str) -> NothingToJudgeError:
        return NothingToJudgeError(f"{self.suite} has no finished session{of}: try again when one has finished")


def require_verdict(sessions: Sequence[Session]) -> None:
    """Raise NothingToJudgeError if none of the sessions passed or failed."""
    if not any(session.has_verdict for session in sessions):
        number = sessions[0].relative_id
        raise NothingToJudgeError(f"session #{number} neither passed nor failed: wait until it has finished")


def require_finished(what: str, sessions: Sequence[Session]) -> None:
    """Raise NothingToJudgeError if a session has not finished."""
    unfinished = [session for session in sessions if not session.is_finished]
    if unfinished:
        names = name_sessions(unfinished)
        of = "" if what.endswith(f" {names}") else f" of {what}"
        raise NothingToJudgeError(
            f"no verdict: {names}{of} did not finish; wait with buddy-sessions wait, or, if an earlier run was "
            f"killed, add --after {unfinished[0].relative_id}"
        )


@asynccontextmanager
async def open_cases(
    target: Target, *, db: Path | None, connection: Connection, messages: Output
) -> AsyncIterator[SuiteReader]:
    """Open the suite `target`. `messages` shows the progress."""
    with messages.progress(enabled=db is None) as show:
        async with open_source(db=db, connection=connection, messages=messages) as source:
            yield SuiteReader(source, await source.find(target), show=show)
