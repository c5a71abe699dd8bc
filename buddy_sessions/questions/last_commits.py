"""Reads the tests of the last commits: since when one fails, which are flaky, how two commits differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import evolve

from .._base.figures import format_count
from .._base.workers import map_concurrently
from ..analysis.baseline import (
    Cases,
    failing_in,
    failing_keys,
    find_incomplete,
    is_outage,
    older_commits,
    why_incomplete,
    without_outages,
)
from ..analysis.branches import JudgedBranch, Main
from ..analysis.commits import SessionList, TestedCommit, identify_commit
from ..analysis.flakiness import red_sessions, reruns_elsewhere, select_flaky
from ..analysis.remarks import name_sessions
from ..analysis.results import Comparison, FlakyTests, TestHistory, TestOutcome, compare_cases, outcome_in
from ..analysis.same_tests import find_test, find_tests, is_whole_name, same_key
from ..errors import BuddyError, ConfigError, NotFoundError, NoVerdictError
from ..models import CaseScope, Session, SessionRef, TestedSession, TestKey, TestStatus, case_ids
from .named_sessions import NamedSessions, find_sessions
from .suite_reader import SuiteReader


async def read_last_commits(
    reader: SuiteReader, branch: str | Main, *, last: int, cases: CaseScope = "all"
) -> list[TestedSession]:
    """Return the sessions of the last commits of a branch with their cases, oldest first.

    Raises NoVerdictError if there is no commit, or the sessions were deleted; ConfigError if no cases were saved.
    """
    commits = (await reader.last_commits(branch, last))[0][:last]
    sessions = [each for commit in reversed(commits) for each in reversed(commit.sessions) if each.has_verdict]
    return await read_cases(reader, sessions, cases)


async def read_cases(reader: SuiteReader, sessions: Sequence[Session], cases: CaseScope = "all") -> list[TestedSession]:
    """Return sessions with their cases, without those that were deleted or not saved; see `read_last_commits`."""

    async def read(session: Session) -> TestedSession | BuddyError:
        try:
            if cases == "failed":
                listed = await reader.source.failing_cases(reader.suite, session) if session.is_failing else []
            else:
                listed = await reader.source.cases(reader.suite, session)
        except (NotFoundError, ConfigError) as error:
            return error
        return TestedSession(session, tuple(listed))

    results = await map_concurrently(read, sessions, concurrency=reader.source.concurrency)
    tested = [each for each in results if isinstance(each, TestedSession)]
    if results and not tested:
        if isinstance(results[0], ConfigError):
            raise results[0]
        raise NoVerdictError(f"the sessions of {reader.suite} were deleted meanwhile: try again")
    return tested


async def find_history(reader: SuiteReader, branch: str | Main, test: TestKey | str, *, last: int) -> TestHistory:
    """Return what a test did in `last` commits, and in older ones while it fails: two requests for each red session."""
    commits, listed = await reader.last_commits(branch, last)
    sessions = [session for commit in commits[:last] for session in commit.counted]
    cases = await reader.read_failing(sessions)
    seen = _count_sessions(sessions, cases)
    distinct = {same_key(key, seen): key for key in reversed(seen)}  # of equal ones, the newest
    key = await _find_test(reader, commits, list(distinct.values()), test, last=last)
    outcomes: list[TestOutcome] = []
    unread: list[Session] = []
    may_have_older = listed.below != "nothing"
    for number, commit in enumerate(commits):
        if number >= last:
            if not outcomes or not all(outcome.is_failing for outcome in outcomes):
                may_have_older = True
                break
            cases |= await reader.read_failing(commit.counted)
            seen += _count_sessions(commit.counted, cases)
        outcome = outcome_in(commit, key, cases, seen)
        if outcome is None:
            unread += find_incomplete(commit.counted, cases)
        else:
            outcomes.append(outcome)
    branch = commits[0].branch or ""
    return TestHistory(key=key, branch=branch, outcomes=outcomes, may_have_older=may_have_older, unread=unread)


def _count_sessions(sessions: Sequence[Session], cases: Cases) -> Counter[TestKey]:
    """Return in how many of these sessions each test failed."""
    failed = [dict.fromkeys(case.key for case in failing_in(session, cases)) for session in sessions]
    return Counter(key for keys in failed for key in keys)


async def _find_test(
    reader: SuiteReader,
    commits: Sequence[TestedCommit],
    failing: Sequence[TestKey],
    test: TestKey | str,
    *,
    last: int,
) -> TestKey:
    """Return the only test that a text names, of failing ones; or also of all tests of the newest whole commit."""
    searched = f"the failures of {format_count(min(last, len(commits)), 'commit')}, and all tests of the newest one"
    failing_key = find_test(failing, test, searched=searched) if find_tests(failing, test) else None
    if failing_key is not None and is_whole_name(failing_key, test):
        return failing_key
    # A part of a name may fit tests that do not fail.
    whole = next((commit for commit in commits if commit.is_whole), commits[0])
    try:
        tested = await read_cases(reader, [each for each in whole.counted if each.has_verdict])
    except ConfigError as error:
        if failing_key is not None:  # a database of failing tests
            return failing_key
        error.args = (f"no failing test is named {str(test)!r}, and {error.without_advice}",)
        raise
    keys = {case.key for each in tested for case in each.cases}
    return find_test(keys | {failing_key} if failing_key else keys, test, searched=searched, kind="tests")


async def find_flaky(reader: SuiteReader, branch: str | Main, *, last: int, flips: int) -> FlakyTests:
    """Return the flaky tests of the last commits, and those that passed when they were run again on any branch.

    It costs one or two requests for each red session; for each session that was run again, one for each 100 tests.
    """
    judged, _ = await reader.last_commits(branch, last)
    commits = without_outages(judged, last)[::-1]
    listed = await reader.source.tested_again(reader.suite) or await reader.newest()
    reruns = [pair for commit in commits for pair in commit.reruns] + reruns_elsewhere(listed, judged, commits)
    red = red_sessions(commits, reruns)
    cases = await reader.read_failing(red)
    first = cases[red[0].id] if red and find_incomplete(red, cases) == red else None
    if reader.source.is_saved and isinstance(first, BuddyError):  # no failing test was saved
        raise first
    repaired: dict[TestKey, dict[str, None]] = {}
    for old, new in sorted(reruns, key=lambda pair: pair[0].relative_id):
        for key in await _passed_again(reader, old, new, cases):
            repaired.setdefault(key, {})[identify_commit(old)] = None
    return select_flaky(commits, red, cases, repaired, flips=flips)


async def _passed_again(reader: SuiteReader, old: Session, new: Session, cases: Cases) -> set[TestKey]:
    """Return the tests that failed in a session which was run again, and passed in the one that replaced it."""
    failed = failing_keys(old, cases) - failing_keys(new, cases)
    if not failed or is_outage(old) or why_incomplete(new, cases):
        return set()
    try:
        passed = await reader.source.cases(reader.suite, new, TestStatus.PASSED)
    except NotFoundError:
        return set()
    except ConfigError:  # only failing tests were saved
        return failed
    return failed & {case.key for case in passed}


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
        raise NoVerdictError(f"nothing to compare {name_sessions(newer)} with: no older commit")
    if {session.id for session in older} == {session.id for session in newer}:
        raise ConfigError(f"nothing to compare: both names are of {name_sessions(newer)}", advice="name two commits")
    sides = [await read_cases(reader, sessions) for sessions in (older, newer)]
    cases = [[case for each in side for case in each.cases] for side in sides]
    sessions = [[each.session for each in side] for side in sides]
    incomplete = [
        each.session
        for side in reversed(sides)
        for each in side
        if why_incomplete(each.session, {each.session.id: each.cases})
    ]
    return evolve(compare_cases(*cases), old=sessions[0], new=sessions[1], incomplete=incomplete)


async def _counted(reader: SuiteReader, named: NamedSessions) -> Sequence[Session]:
    if named.commit is not None:
        return named.commit.counted
    if named.name_kind == "session":
        return named.sessions
    commits = (await _list_from(reader, named)).commits
    counted = {session.id for commit in commits for session in commit.counted}
    return [session for session in named.sessions if session.id in counted] or named.sessions


async def _before(reader: SuiteReader, named: NamedSessions) -> Sequence[Session]:
    """Return the sessions that count of the commit before the named one."""
    older = older_commits(await _list_from(reader, named), named.sessions)
    return next((commit for commit in older if commit.is_whole), older[0]).counted if older else ()


async def _list_from(reader: SuiteReader, named: NamedSessions) -> SessionList:
    """Return the list of the branch of named sessions, down to the commit before them; empty without a branch."""
    first = named.sessions[-1]
    if first.ref_name is None:
        return evolve(await reader.newest(), sessions=())
    return await reader.of_branch(
        JudgedBranch(first.ref_name),
        lambda listed: any(each.is_whole for each in older_commits(listed, named.sessions)[:-1]),
    )


async def find_cases(
    reader: SuiteReader, name: SessionRef, *, branch: str | Main, status: TestStatus | None, details: int | None
) -> list[TestedSession]:
    """Return the sessions that a name stands for with their cases; unfinished ones only if there are no others."""
    named = await find_sessions(reader, name, branch=branch)
    if not named.sessions:
        raise NoVerdictError(f"no tests of {reader.suite}: {named.doubt}")
    sessions = [session for session in named.sessions if session.is_finished] or named.sessions
    source = reader.source
    lists = await map_concurrently(
        lambda session: source.cases(reader.suite, session, status), sessions, concurrency=source.concurrency
    )
    pairs = list(zip(sessions, lists, strict=True))
    failing = [(session, case) for session, cases in pairs for case in cases if case.is_failing][:details]
    ids = [(session.id, case_ids(case)) for session, case in failing]
    detailed = dict(zip(ids, await reader.read_details(failing), strict=True))
    return [
        TestedSession(each, tuple(detailed.get((each.id, case_ids(case)), case) for case in cases))
        for each, cases in pairs
    ]
