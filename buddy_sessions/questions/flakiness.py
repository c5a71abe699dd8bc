"""Which tests are flaky: what failed and passed on the same commit, and what flips from commit to commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from attrs import evolve

from ..analysis.baseline import Cases, failing_in, is_outage, lists_too_few, was_outage
from ..analysis.branches import Main
from ..analysis.commits import LAST, TestedCommit, identify_commit, make_commit, usual_size
from ..analysis.reruns import find_possible_rerun
from ..analysis.results import FlakyTest, FlakyTests, count_flips
from ..errors import BuddyError, ConfigError, NotFoundError
from ..models import Session, TestKey, TestStatus, sort_key
from .suite_reader import SuiteReader

_Rerun: TypeAlias = tuple[Session, Session]
"""A red session, and the one of the same commit that replaced it."""


async def find_flaky(reader: SuiteReader, branch: str | Main, *, last: int, flips: int) -> FlakyTests:
    """Return the flaky tests of the last commits, and those that passed when they were run again on any branch.

    It costs one or two requests for each red session; for each session that was run again, one for each 100 tests.
    """
    judged = (await reader.last_commits(branch, last))[0]
    commits = [commit for commit in judged[: 2 * last] if not was_outage(commit)][:last][::-1]
    reruns = [pair for commit in commits for pair in commit.reruns]
    reruns += await _reruns_elsewhere(reader, judged, commits)
    ran = [each for commit in commits for each in reversed(commit.sessions) if each.has_verdict]
    red = {each.id: each for each in ran if each.is_failing and not is_outage(each)}
    red |= {each.id: each for pair in reruns for each in pair if each.is_failing}
    cases = await reader.read_failing(red.values())
    unread = [session for session in red.values() if lists_too_few(session, cases)]
    first = cases[unread[0].id] if unread and len(unread) == len(red) and reader.source.is_saved else None
    if isinstance(first, BuddyError):  # no failing test was saved
        raise first
    repaired: dict[TestKey, list[str]] = {}
    for old, new in sorted(reruns, key=lambda pair: pair[0].relative_id):
        for key in await _passed_again(reader, old, new, cases):
            repaired.setdefault(key, []).append(identify_commit(old))
    tests = [
        evolve(test, revisions=tuple(dict.fromkeys(repaired.get(test.key, ()))))
        for test in _count_flips(commits, cases, repaired)
        if test.flips >= flips or test.key in repaired
    ]
    keys = {test.key for test in tests}
    listed = sorted((each for each in red.values() if each not in unread), key=lambda each: each.relative_id)
    failed = [(each, {case.key for case in failing_in(each, cases)}) for each in listed]
    only_flaky = [(each, failures) for each, failures in failed if failures and failures <= keys]
    wasted = Counter(key for _, failures in only_flaky for key in failures if len(failures) == 1)
    return FlakyTests(
        branch=commits[-1].branch or "" if commits else "",
        sessions=[session for session in ran if session not in unread],
        tests=sorted((evolve(test, wasted=wasted[test.key]) for test in tests), key=_cost),
        wasted=[session for session, _ in only_flaky],
        unread=unread,
    )


def _cost(test: FlakyTest) -> tuple[object, ...]:
    """Return what flaky tests are sorted by: those first because of which alone most sessions failed."""
    return -test.wasted, -len(test.revisions), -test.flips, sort_key(test.key)


async def _reruns_elsewhere(
    reader: SuiteReader, judged: Sequence[TestedCommit], commits: Sequence[TestedCommit]
) -> list[_Rerun]:
    """Return what was run again on other branches, among the newest 100 sessions, or 1,000 that were saved.

    How many sessions are usual is known of the judged branch.
    """
    listed = await reader.source.tested_again(reader.suite) or await reader.newest()
    own = {session.id for commit in judged for session in commit.sessions}
    groups: dict[tuple[str | None, str], list[Session]] = {}
    for session in reversed(listed.sessions):
        if session.id not in own:
            groups.setdefault((session.ref_name, identify_commit(session)), []).append(session)
    compared = commits[::-1][:LAST]
    usual = usual_size(compared)
    return [
        pair
        for each in groups.values()
        # The lowest commit of a list that goes on may have older sessions. Most commits need not be judged.
        if not (listed.goes_on and each[0] is listed.sessions[-1]) and find_possible_rerun(each)
        for pair in make_commit(each, compared, usual, as_of=listed.as_of).reruns
    ]


async def _passed_again(reader: SuiteReader, old: Session, new: Session, cases: Cases) -> set[TestKey]:
    """Return the tests that failed in a session which was run again, and passed in the one that replaced it."""
    failed = {case.key for case in failing_in(old, cases)} - {case.key for case in failing_in(new, cases)}
    if not failed or is_outage(old) or lists_too_few(new, cases):
        return set()
    try:
        passed = await reader.source.cases(reader.suite, new, TestStatus.PASSED)
    except NotFoundError:
        return set()
    except ConfigError:  # only failing tests were saved
        return failed
    return failed & {case.key for case in passed}


def _count_flips(commits: Sequence[TestedCommit], cases: Cases, others: Mapping[TestKey, object]) -> list[FlakyTest]:
    """Return how often each test that failed flipped, between the commits that say whether it did, oldest first."""
    results: list[tuple[bool, dict[TestKey, TestStatus]]] = []
    for commit in commits:
        red = [session for session in commit.counted if session.is_failing and not is_outage(session)]
        is_whole = commit.is_whole and not any(map(is_outage, commit.counted))
        is_whole = is_whole and not any(lists_too_few(session, cases) for session in red)
        results.append((is_whole, {case.key: case.status for each in red for case in failing_in(each, cases)}))
    keys = dict.fromkeys([key for _, failed in results for key in failed]) | dict.fromkeys(others)
    return [
        count_flips(
            key, [failed.get(key, TestStatus.PASSED) for is_whole, failed in results if is_whole or key in failed]
        )
        for key in keys
    ]
