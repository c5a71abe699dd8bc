"""The failing tests of sessions, compared with the last commits of a branch: which of them are new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import takewhile
from typing import Literal, get_args

from attrs import evolve, field, frozen

from .._base.figures import format_count
from ..errors import BuddyError, ResponseError
from ..models import Session, TestCase, TestKey, case_ids, sort_key
from .causes import group_failures
from .commits import SessionList, TestedCommit, identify_commit
from .quarantine import QuarantinedTest
from .same_tests import match_tests

Novelty = Literal["new", "known", "earlier", "quarantined", "retried"]
NOVELTIES: tuple[Novelty, ...] = get_args(Novelty)
"""In the order in which they are listed."""


Cases = Mapping[str, Sequence[TestCase] | BuddyError]
"""The failing test cases of sessions by their ID, or why they cannot be read."""

_ELSEWHERE = 10  # red sessions of other branches
_OUTAGE = 20  # tests, of which more than half failed


@frozen(kw_only=True)
class FailingTest:
    """A failing test of the judged sessions.

    Attributes:
        case: The test case. Of a test that fails in several sessions, that of the newest one.
        session: Its session.
        novelty: "known" if it failed in the newest commit of the baseline, "earlier" if in an older one, "new" if in
            none. "quarantined" if the quarantine excuses it; "retried" if it also passed in the same session, and
            the outcome is success. None without a baseline.
        failed_in: The number of commits of the baseline in which it failed; None without a baseline.
        since: The commit of the baseline since which it has always failed; None if it did not fail in the newest one of
            which all tests ran.
        failed_elsewhere: Of a new failure: on how many other branches it failed lately, as far as ten red sessions say.
            It excuses nothing. None if it was not looked for.
        entry: The entry of the quarantine that excuses it; None if there is none.
    """

    case: TestCase
    session: Session
    novelty: Novelty | None = None
    failed_in: int | None = None
    since: TestedCommit | None = None
    failed_elsewhere: int | None = None
    entry: QuarantinedTest | None = None

    @property
    def counts(self) -> bool:
        """Whether it has no excuse."""
        return self.novelty in {None, "new"}


@frozen
class Cause:
    """Failing tests that probably have the same cause, new ones first. For the other fields, see `FailureGroup`."""

    type: str | None
    template: str
    tests: Sequence[FailingTest]
    is_place: bool = False


@frozen(kw_only=True)
class Baseline:
    """The commits that failures are compared with.

    Attributes:
        branch: Their branch.
        commits: The last ones that are older than the judged sessions, newest first, without outages.
        outages: Sessions that are not compared with, because more than half of their tests failed.
    """

    branch: str
    commits: Sequence[TestedCommit]
    outages: Sequence[Session] = ()
    older: Sequence[TestedCommit] = field(default=(), repr=False)  # all in the list, with outages

    @property
    def red_sessions(self) -> list[Session]:
        """The sessions whose failing tests are excused, newest first."""
        red = [each for commit in self.commits for each in commit.sessions if each.is_failing]
        return [session for session in red if not is_outage(session)]


def is_outage(session: Session) -> bool:
    """Return whether more than half of the tests of a session failed, of at least 20."""
    count = session.tests_count or 0
    return count >= _OUTAGE and 2 * (session.failing_count or 0) > count


def older_commits(listed: SessionList, judged: Sequence[Session]) -> list[TestedCommit]:
    """Return the commits with a result that are older than these sessions, newest first, without theirs."""
    identities, lowest_id = set(map(identify_commit, judged)), min(session.relative_id for session in judged)
    older = [commit for commit in listed.commits if commit.has_result and commit.first.relative_id < lowest_id]
    return [commit for commit in older if identify_commit(commit.first) not in identities]


def select_baseline(branch: str, listed: SessionList, judged: Sequence[Session], last: int) -> Baseline:
    """Return the last commits of a branch, whose newest sessions these are, that judged sessions are compared with."""
    older = older_commits(listed, judged)
    commits = without_outages(older, last)
    searched = older[: older.index(commits[-1]) + 1] if len(commits) == last else older[: 2 * last]
    outages = [each for commit in searched for each in commit.sessions if each.is_failing and is_outage(each)]
    return Baseline(branch=branch, commits=commits, outages=outages, older=older)


def without_outages(commits: Sequence[TestedCommit], last: int) -> list[TestedCommit]:
    """Return the last commits that were no outage, newest first. No more than twice as many are looked at."""
    return [commit for commit in commits[: 2 * last] if not _was_outage(commit)][:last]


def _was_outage(commit: TestedCommit) -> bool:
    """Return whether most tests failed in each red session of a commit."""
    red = [session for session in commit.sessions if session.is_failing]
    return bool(red) and all(map(is_outage, red))


def find_failing_tests(commit: TestedCommit, cases: Cases) -> list[FailingTest]:
    """Return the failing tests of the red sessions that count: of each test, the case of the newest session."""
    tests: dict[TestKey, FailingTest] = {}
    for session in commit.counted:
        for case in failing_in(session, cases):
            tests.setdefault(case.key, FailingTest(case=case, session=session))
    return sorted(tests.values(), key=lambda test: sort_key(test.case.key))


def failing_in(session: Session, cases: Cases) -> list[TestCase]:
    """Return the failing cases of a session; none of one that is not red, or whose cases cannot be read."""
    listing = cases.get(session.id, ())
    if isinstance(listing, BuddyError) or not session.is_failing:
        return []
    return [case for case in listing if case.is_failing]


def failing_keys(session: Session, cases: Cases) -> set[TestKey]:
    """Return the tests that failed in a session, as `failing_in`."""
    return {case.key for case in failing_in(session, cases)}


def find_incomplete(sessions: Iterable[Session], cases: Cases) -> list[Session]:
    """Return the sessions of which failing cases are missing: see `why_incomplete`."""
    return [session for session in sessions if why_incomplete(session, cases)]


def why_incomplete(session: Session, cases: Cases) -> BuddyError | None:
    """Return why failing cases of a red session are missing: fewer are listed than counted, or none can be read."""
    if not session.is_failing:
        return None
    listing = cases.get(session.id)
    if isinstance(listing, BuddyError):
        return listing
    listed, counted = len(set(map(case_ids, failing_in(session, cases)))), session.failing_count or 0
    if listing is not None and listed >= counted:
        return None
    return ResponseError(f"#{session.relative_id} lists {listed:,} of its {format_count(counted, 'failing test')}")


def compare_with(
    commit: TestedCommit,
    baseline: Baseline,
    cases: Cases,
    entries: Mapping[TestKey, Sequence[QuarantinedTest]],
    today: date,
) -> list[FailingTest]:
    """Return the failing tests of a commit with what the baseline and the quarantine say of them.

    `entries` are those of the quarantine that match a test.
    """
    commits, red = baseline.commits, {session.id for session in baseline.red_sessions}
    compared = [[failing_keys(each, cases) for each in commit.sessions if each.id in red] for commit in commits]
    failed = match_tests([failing_keys(each, cases) for each in commit.counted], compared)

    def compare(test: FailingTest) -> FailingTest:
        key = test.case.key
        if commits:
            count = sum(key in keys for keys in failed)
            novelty: Novelty = "known" if key in failed[0] else "earlier" if count else "new"
            # A commit of which not all tests ran does not say that it did not fail.
            pairs = ((each, keys) for each, keys in zip(commits, failed, strict=True) if key in keys or each.is_whole)
            streak = list(takewhile(lambda pair: key in pair[1], pairs))
            test = evolve(test, novelty=novelty, failed_in=count, since=streak[-1][0] if streak else None)
        entry = next((each for each in entries.get(key, ()) if today <= each.until), None)
        return test if entry is None else evolve(test, novelty="quarantined", entry=entry)

    return list(map(compare, find_failing_tests(commit, cases)))


def other_branches(sessions: Iterable[Session], judged: Sequence[Session], baseline: str) -> list[list[Session]]:
    """Return red sessions by branch, without those of the judged sessions and of the baseline, at most ten in all.

    `sessions` are the newest ones, newest first. Branches that share a commit are one: a pull request and its branch.
    """
    red = [each for each in sessions if each.is_failing and each.ref_name and not is_outage(each)]
    own = {baseline}.union(*map(_names_of, judged))
    groups = [own]  # names of branches and commits that belong together
    for session in red:
        names = _names_of(session)
        joined = names.union(*(group for group in groups if not group.isdisjoint(names)))
        groups = [*(group for group in groups if group.isdisjoint(names)), joined]
    others = [group for group in groups if group.isdisjoint(own)]
    newest = [each for each in red if any(each.ref_name in group for group in others)][:_ELSEWHERE]
    branches = [[each for each in newest if each.ref_name in group] for group in others]
    return [branch for branch in branches if branch]


def _names_of(session: Session) -> set[str]:
    return {name for name in (session.ref_name, session.revision) if name}


def find_causes(tests: Iterable[FailingTest]) -> list[Cause]:
    """Return the failing tests of which the details were read by cause: most new failures first."""
    of_case = {id(test.case): test for test in tests if test.case.has_details}
    causes = []
    for group in group_failures(test.case for test in of_case.values()):
        members = sorted((of_case[id(case)] for case in group.cases), key=lambda test: not test.counts)
        causes.append(Cause(group.type, group.template, members, group.is_place))

    def rank(cause: Cause) -> tuple[int, int]:
        earlier = sum(test.novelty in {"earlier", "retried"} for test in cause.tests)
        return -sum(test.counts for test in cause.tests), earlier - len(cause.tests)

    return sorted(causes, key=rank)
