"""Reads the test cases of the last commits of a branch: which tests are flaky or slow, and how two commits differ."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from .._base.workers import map_concurrently
from ..analysis.branches import JudgedBranch, Main
from ..analysis.commits import SessionList, TestedCommit, find_commits, identify_commit, newest_judged
from ..analysis.runs import (
    Comparison,
    FlakyTests,
    SlowTest,
    compare_runs,
    count_changes,
    failed_only_by,
    slowest_tests,
    sort_flaky,
)
from ..errors import BuddyError, ConfigError, NotFoundError, NoVerdictError
from ..models import CaseScope, Session, SessionRef, TestCase, TestKey, TestRun, TestStatus
from .named_sessions import NamedSessions, find_sessions
from .suite_reader import SuiteReader
from .verdicts import last_commits


async def find_runs(
    reader: SuiteReader, branch: str | Main, *, last: int, scope: CaseScope = "all"
) -> tuple[list[TestedCommit], dict[str, TestRun]]:
    """Return the last commits of a branch, newest first, and those of their sessions with cases, by their ID.

    Raises NoVerdictError if there is no commit, or the sessions were deleted; ConfigError if no cases were saved.
    """
    chosen = await reader.require_branch(branch)
    commits = (await last_commits(reader, chosen, last))[0][:last]
    sessions = [each for commit in reversed(commits) for each in reversed(commit.sessions) if each.has_verdict]
    runs = await read_cases(reader, sessions, scope)
    return commits, {run.session.id: run for run in runs}


async def read_cases(reader: SuiteReader, sessions: Sequence[Session], scope: CaseScope = "all") -> list[TestRun]:
    """Return sessions with their cases, without those that were deleted or not saved; see `find_runs`."""

    async def read(session: Session) -> TestRun | BuddyError:
        try:
            if scope == "failed":
                cases = await reader.source.failing_cases(reader.suite, session) if session.is_failing else []
            else:
                cases = await reader.source.cases(reader.suite, session)
        except (NotFoundError, ConfigError) as error:
            return error
        return TestRun(session, tuple(cases), scope)

    found = await map_concurrently(read, sessions, limit=reader.source.concurrency)
    runs = [each for each in found if isinstance(each, TestRun)]
    if found and not runs:
        errors = [each for each in found if isinstance(each, BuddyError)]
        if isinstance(errors[0], ConfigError):
            raise errors[0]
        raise NoVerdictError(f"the sessions of {reader.suite} were deleted meanwhile: try again")
    return runs


async def find_flaky(reader: SuiteReader, branch: str | Main, *, last: int, changes: int) -> FlakyTests:
    """Return the tests whose status changes from commit to commit, or that passed when a session was run again."""
    commits, runs = await find_runs(reader, branch, last=last)
    oldest_first = commits[::-1]
    repaired: dict[TestKey, list[str]] = {}
    for commit in oldest_first:
        for key in _passed_again(commit, runs):
            repaired.setdefault(key, []).append(identify_commit(commit.first))
    by_commit = [_cases_of(commit, runs) for commit in oldest_first]
    found = [evolve(each, revisions=tuple(repaired.get(each.key, ()))) for each in count_changes(by_commit)]
    tests = sort_flaky(each for each in found if each.changes >= changes or each.revisions)
    everything = [each for commit in oldest_first for each in reversed(commit.sessions) if each.has_verdict]
    return FlakyTests(
        branch=commits[0].branch or "",
        sessions=[run.session for run in runs.values()],
        tests=tests,
        wasted=failed_only_by(runs.values(), {test.key for test in tests}),
        unread=[session for session in everything if session.id not in runs],
    )


def _cases_of(commit: TestedCommit, runs: dict[str, TestRun]) -> list[TestCase]:
    return [case for session in commit.counted if session.id in runs for case in runs[session.id].cases]


def _passed_again(commit: TestedCommit, runs: dict[str, TestRun]) -> set[TestKey]:
    """Return the tests that failed in a session which was run again, and passed in the one that replaced it."""
    found: set[TestKey] = set()
    for old, new in commit.reruns:
        if old.id in runs and new.id in runs:
            failed = {case.key for case in runs[old.id].cases if case.is_failing}
            passed = {case.key for case in runs[new.id].cases if case.status == TestStatus.PASSED}
            found |= failed & passed
    return found


async def find_slowest(
    reader: SuiteReader, branch: str | Main, *, last: int, threshold: float | None
) -> list[SlowTest]:
    """Return the times of the tests of the last commits, slowest median first."""
    _, runs = await find_runs(reader, branch, last=last)
    return slowest_tests([run.cases for run in runs.values()], threshold=threshold)


async def compare_sessions(
    reader: SuiteReader, old: SessionRef | None, new: SessionRef, *, branch: str | Main
) -> Comparison:
    """Return how the tests of two commits differ. Without an old one, it is the commit before the new one."""
    after = await find_sessions(reader, new, branch=branch)
    before = None if old is None else await find_sessions(reader, old)
    for named in (after, before or after):
        if not named.sessions:
            raise NoVerdictError(f"nothing to compare: {named.doubt}")
    newer = await _counted(reader, after)
    older = await _counted(reader, before) if before is not None else await _before(reader, after)
    if not older:
        raise NoVerdictError(f"nothing to compare {newer[0].revision or newer[0].id} with: no older commit")
    sides = [await read_cases(reader, sessions) for sessions in (older, newer)]
    cases = [[case for run in runs for case in run.cases] for runs in sides]
    sessions = [[run.session for run in runs] for runs in sides]
    return evolve(compare_runs(*cases), old=sessions[0], new=sessions[1])


async def find_cases(
    reader: SuiteReader, name: SessionRef, *, branch: str | Main, status: TestStatus | None, details: int | None
) -> list[TestRun]:
    """Return the sessions that a name stands for with their cases; unfinished ones only if there are no others."""
    named = await find_sessions(reader, name, branch=branch)
    if not named.sessions:
        raise NoVerdictError(f"no tests of {reader.suite}: {named.doubt}")
    sessions = [session for session in named.sessions if session.is_finished] or named.sessions

    async def read(session: Session) -> list[TestCase]:
        return await reader.source.cases(reader.suite, session, status)

    lists = await map_concurrently(read, sessions, limit=reader.source.concurrency)
    found = list(zip(sessions, lists, strict=True))
    failing = [(session, case) for session, cases in found for case in cases if case.is_failing][:details]
    ids = [(session.id, case.id) for session, case in failing]
    known = dict(zip(ids, await reader.with_details(failing), strict=True))
    return [TestRun(each, tuple(known.get((each.id, case.id), case) for case in cases)) for each, cases in found]


async def _counted(reader: SuiteReader, named: NamedSessions) -> Sequence[Session]:
    """Return which of the named sessions count."""
    if named.commit is not None or named.what == "session":
        return named.sessions
    commits = await _commits_from(reader, named)
    counted = {session.id for commit in commits for session in commit.counted}
    return [session for session in named.sessions if session.id in counted] or named.sessions


async def _before(reader: SuiteReader, named: NamedSessions) -> Sequence[Session]:
    """Return the sessions that count of the commit before the named one."""
    commits = await _commits_from(reader, named)
    identities, lowest_id = set(map(identify_commit, named.sessions)), named.sessions[-1].relative_id
    older = [each for each in commits if each.first.relative_id < lowest_id]
    return next((each.counted for each in older if identify_commit(each.first) not in identities), ())


async def _commits_from(reader: SuiteReader, named: NamedSessions) -> list[TestedCommit]:
    """Return the commits of the branch of named sessions, down to the one before them."""
    first = named.sessions[-1]
    if first.ref_name is None:
        return []

    def is_enough(listed: SessionList) -> bool:
        return any(each.first.relative_id < first.relative_id for each in find_commits(listed)[:-1])

    listed = await reader.of_branch(JudgedBranch(first.ref_name), is_enough)
    return newest_judged(find_commits(listed), len(listed.sessions))
