"""Which tests of the last commits are flaky, and what they cost. All of it works on data that was read before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from attrs import evolve

from ..models import Session, TestKey, TestStatus, sort_key
from .baseline import Cases, failing_in, failing_keys, find_incomplete, is_outage, why_incomplete
from .commits import LAST, SessionList, TestedCommit, identify_commit, make_commit, usual_size
from .reruns import find_possible_rerun
from .results import FlakyTest, FlakyTests, count_flips


def reruns_elsewhere(
    listed: SessionList, judged: Iterable[TestedCommit], commits: Sequence[TestedCommit]
) -> list[tuple[Session, Session]]:
    """Return what failed on other branches, and what replaced it; `commits`, oldest first, say which size is usual."""
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


def red_sessions(commits: Iterable[TestedCommit], reruns: Iterable[tuple[Session, Session]]) -> list[Session]:
    """Return the red sessions of commits without outages, and those of re-runs, each once."""
    red = [each for commit in commits for each in reversed(commit.sessions) if each.is_failing and not is_outage(each)]
    red += [each for pair in reruns for each in pair if each.is_failing]
    return list({each.id: each for each in red}.values())


def select_flaky(
    commits: Sequence[TestedCommit],
    red: Sequence[Session],
    cases: Cases,
    repaired: Mapping[TestKey, Iterable[str]],
    *,
    flips: int,
) -> FlakyTests:
    """Return the tests that flipped at least `flips` times, or passed again, and the sessions that they cost.

    `commits` are the last ones, oldest first; `red` their `red_sessions`; `repaired` the commits on which a test passed
    when it was run again.
    """
    counted = _count_flips(commits, cases, repaired)
    flaky = {test.key: test for test in counted if test.flips >= flips or test.key in repaired}
    wasted = _failed_only_by(flaky.keys(), red, cases)
    failed = [failing_keys(session, cases) for session in wasted]
    tests = [
        evolve(test, revisions=tuple(repaired.get(key, ())), wasted=failed.count({key})) for key, test in flaky.items()
    ]
    unread = find_incomplete(red, cases)
    ran = [each for commit in commits for each in reversed(commit.sessions) if each.has_verdict]
    return FlakyTests(
        branch=commits[-1].branch or "" if commits else "",
        sessions=[session for session in ran if session not in unread],
        tests=sorted(tests, key=lambda test: (-test.wasted, -len(test.revisions), -test.flips, sort_key(test.key))),
        wasted=wasted,
        unread=unread,
    )


def _count_flips(commits: Iterable[TestedCommit], cases: Cases, others: Iterable[TestKey]) -> list[FlakyTest]:
    """Return how often each test that failed, and each other one, flipped between the commits that say what it did."""
    results: list[tuple[bool, dict[TestKey, TestStatus]]] = []
    for commit in commits:
        failing = [case for each in commit.counted if not is_outage(each) for case in failing_in(each, cases)]
        results.append((_lists_all(commit, cases), {case.key: case.status for case in failing}))
    passed = TestStatus.PASSED
    return [
        count_flips(key, [failed.get(key, passed) for lists_all, failed in results if lists_all or key in failed])
        for key in {key for _, failed in results for key in failed}.union(others)
    ]


def _lists_all(commit: TestedCommit, cases: Cases) -> bool:
    """Return whether a test that a commit does not list as failing passed."""
    return commit.is_whole and not any(is_outage(each) or why_incomplete(each, cases) for each in commit.counted)


def _failed_only_by(flaky: AbstractSet[TestKey], red: Iterable[Session], cases: Cases) -> list[Session]:
    """Return the sessions in which tests fail, and all of them are flaky, oldest first."""
    complete = [session for session in red if not why_incomplete(session, cases)]
    wasted = [session for session in complete if set() < failing_keys(session, cases) <= flaky]
    return sorted(wasted, key=lambda session: session.relative_id)
