"""Tested commits: which sessions of a branch belong to one commit, which of them count, and whether it is red.

The rules are those of the guide's section "What is judged". All of them work on data that was read before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice, takewhile
from typing import Literal

from attrs import evolve, field, frozen

from ..models import Session, SessionStatus
from .remarks import Remark
from .reruns import (
    Sizes,
    are_close,
    count_of,
    find_repaired,
    most_frequent_size,
    sizes_of,
    split_rounds,
    without_reruns,
)

LAST = 10
"""The number of older commits that a commit is compared with."""
MIN_TESTS = 0.9
"""The share of the fewest tests of these commits that must have run."""
_KILLED = timedelta(days=1)
"""A session that has been unfinished for so long was killed."""

Below = Literal["nothing", "limit", "more"]
"""What is below a list of sessions: nothing; only sessions older than the limit of a database; or perhaps more."""


@frozen(kw_only=True)
class SessionList:
    """The newest sessions of a suite or a branch, newest first, and what is known of the list that they are from.

    Below the lowest one, there is "nothing"; or the "limit" below which a database has pruned; or the list goes on:
    there are "more", or they are "out of reach", because a question reads no further. Then the lowest commit may have
    more sessions.
    """

    sessions: Sequence[Session]
    below: Literal[Below, "out of reach"]
    as_of: datetime  # when the list was read
    doubt: str = ""  # why sessions may have been missed in it; empty if none is

    @property
    def goes_on(self) -> bool:
        """Whether there may be older sessions."""
        return self.below in {"more", "out of reach"}

    @cached_property
    def commits(self) -> list[TestedCommit]:
        """The commits of these sessions of one branch, newest first: ordered by their first sessions.

        The lowest commit of a list that goes on is left out: some of its sessions may not have been read.
        """
        groups: dict[str, list[Session]] = {}
        for session in sorted(self.sessions, key=lambda each: each.relative_id):
            groups.setdefault(identify_commit(session), []).append(session)
        oldest_first = list(groups.values())[1 if self.goes_on else 0 :]
        # Above an unknown commit, the sessions that most commits have say how many are usual.
        usual = 1 if self.below == "nothing" else most_frequent_size(oldest_first)
        commits: list[TestedCommit] = []  # newest first
        for sessions in oldest_first:
            older = list(islice((commit for commit in commits if commit.has_result), LAST))
            commits.insert(0, make_commit(sessions, older, usual_size(older) if older else usual, as_of=self.as_of))
        return commits

    @cached_property
    def judged_commits(self) -> list[TestedCommit]:
        """The commits, of which those without a verdict that too few older ones can be compared with.

        Of a list that goes on, a verdict needs ten older commits with a result, so that it is the same whatever other
        branches do; of one that was read as far as possible, as many as there are.
        """
        if not self.goes_on:
            return self.commits
        settled = [commit.has_result and not commit.is_running for commit in self.commits]
        needed = LAST if self.below == "more" else min(LAST, sum(settled) - 1)
        return [
            commit if sum(settled[number:]) >= needed else evolve(commit, is_failing=None)
            for number, commit in enumerate(self.commits, 1)
        ]


@frozen(kw_only=True)
class TestedCommit:
    """The sessions of one branch that tested one commit, and their verdict.

    Sessions without a `revision` belong together if they have the same `ci_run_url`, or else the same `execution_id`.

    Attributes:
        branch: The `ref_name` of its first session: a branch, or the tag or pull request that was asked for.
        sessions: All its sessions, newest first.
        counted: Those that count, newest first: not those that were run again, were killed, or belong to an
            earlier nightly run.
        is_failing: True if one of `counted` is red. False if all have finished, one passed, and enough tests ran.
            None if that is not known yet.
        remarks: What keeps it from a verdict, or what could not be checked.
        is_whole: Whether it has finished, and enough tests ran: then a test that is not listed as failing did not fail.
    """

    __test__ = False  # pytest must not collect it

    branch: str | None
    sessions: Sequence[Session]
    counted: Sequence[Session]
    is_failing: bool | None
    remarks: Sequence[Remark] = ()
    is_whole: bool = False
    reruns: Sequence[tuple[Session, Session]] = field(default=(), repr=False)  # what failed, and what replaced it
    rounds: Sequence[Sizes] = field(default=(), repr=False)  # how many tests each session of one has

    @property
    def revision(self) -> str | None:
        """The hash of the commit; None if its sessions do not have one."""
        return self.sessions[0].revision

    @property
    def session(self) -> Session:
        """The newest red session that counts; or else the newest green one, or the newest one."""
        red = [session for session in self.counted if session.is_failing]
        return (red or [each for each in self.counted if each.has_verdict] or self.counted or self.sessions)[0]

    @property
    def first(self) -> Session:
        """The first session: commits are ordered by it."""
        return self.sessions[-1]

    @property
    def turning_session(self) -> Session:
        """The session with which its verdict began: the first red one, or the first green one after all red ones."""
        if self.is_failing:
            return [session for session in self.sessions if session.is_failing][-1]
        later = [each for each in takewhile(lambda each: not each.is_failing, self.sessions) if each.has_verdict]
        return later[-1] if later else self.session

    @cached_property
    def tests_ran(self) -> int | None:
        """The number of tests that ran in the sessions that count; None if it is not known."""
        return count_tests(self.counted)

    @cached_property
    def size(self) -> int:
        """The highest number of sessions in a round, without skipped ones and those that were run again."""
        return max(map(len, self.rounds), default=0)

    @property
    def is_running(self) -> bool:
        """Whether a session that counts has not finished."""
        return not all(session.is_finished for session in self.counted)

    @cached_property
    def has_result(self) -> bool:
        """Whether one of its sessions passed or failed."""
        return any(session.has_verdict for session in self.sessions)

    @cached_property
    def has_full_count(self) -> bool:
        """Whether its number of tests can be compared with: all ran, as far as is known."""
        is_finished = all(session.is_finished for session in self.sessions)
        if not self.tests_ran or not is_finished or any(map(has_crashed, self.counted)):
            return False
        return all(session.has_known_status for session in self.counted)


def has_crashed(session: Session) -> bool:
    """Return whether a session is red, but counts no failing test."""
    return session.is_failing and not session.failing_count


def identify_commit(session: Session) -> str:
    """Return what the sessions of one commit have in common."""
    return session.revision or run_url(session) or session.execution_id or session.id


def run_url(session: Session) -> str | None:
    """Return the URL of the CI run of a session: reporters also send text such as `undefined/actions/runs/1`."""
    url = session.ci_run_url or ""
    return url.removesuffix("/") if url.startswith("http") else None


def count_tests(sessions: Iterable[Session]) -> int | None:
    """Return how many tests ran in the sessions that passed or failed; None if a count is missing."""
    total: int | None = None
    for session in sessions:
        if session.has_verdict:
            if session.tests_count is None:
                return None
            total = (total or 0) + session.tests_count - (session.skipped_count or 0)
    return total


def lacks_tests(count: int | None, fewest: int | None, share: float = MIN_TESTS) -> bool:
    """Return whether too few tests ran: none at all, or fewer than a share of the fewest before."""
    return count is not None and (count == 0 or (fewest is not None and count < share * fewest))


def usual_size(older: Iterable[TestedCommit]) -> int:
    """Return how many sessions a commit has at most, as the older ones say, newest first; 1 if none is known."""
    compared = islice((commit for commit in older if commit.has_result), LAST)
    return max((commit.size for commit in compared), default=1)


def make_commit(
    oldest_first: Sequence[Session], older: Sequence[TestedCommit], usual: int, *, as_of: datetime
) -> TestedCommit:
    """Return the commit of these sessions with its verdict, compared with up to ten older ones of its branch.

    Above the `usual` number of sessions, a later one can be a re-run.
    """
    counted: list[Session] = []
    reruns: list[tuple[Session, Session]] = []
    rounds: list[list[Session]] = []
    for members in split_rounds(each for each in oldest_first if not was_killed(each, as_of)):
        remaining, replaced = without_reruns(members, usual, [commit.rounds for commit in older])
        reruns += replaced
        rounds.append(remaining)
        is_decided = all(each.is_finished for each in remaining) or any(each.is_failing for each in remaining)
        if not counted or (is_decided and _replaces_round(remaining, counted, older)):
            counted = remaining
        elif is_decided:
            counted = [*counted, *remaining]
    sizes = [list(sizes_of(each)) for each in rounds]
    return _build_commit(oldest_first, counted, older, as_of=as_of, reruns=reruns, rounds=sizes)


def _replaces_round(later: Sequence[Session], earlier: Sequence[Session], older: Sequence[TestedCommit]) -> bool:
    """Return whether a later round of a commit is about the same: it has as many sessions, and about as many tests.

    After a crash, a round with about as many tests as the older commits have is enough.
    """
    if count_of(later) < count_of(earlier):
        return False
    count = count_tests(later)
    if are_close(count, count_tests(earlier), 10):
        return True
    usual = [commit.tests_ran for commit in older if commit.has_full_count]
    return any(map(has_crashed, earlier)) and any(are_close(count, each, 10) for each in usual)


def make_named_commit(
    sessions: Iterable[Session], older: Sequence[TestedCommit], *, succeeded: bool, as_of: datetime
) -> TestedCommit:
    """Return sessions that were named as one commit: all of them count, because no re-run is inferred.

    If the tests ended well, all that failed was run again: a later green session replaces red ones.
    """
    oldest_first = sorted(sessions, key=lambda each: each.relative_id)
    counted = [session for session in oldest_first if not was_killed(session, as_of)]
    reruns = find_repaired(counted) if succeeded else []
    replaced = {red.id for red, _ in reruns}
    counted = [session for session in counted if session.id not in replaced]
    return _build_commit(oldest_first, counted, older[:LAST], as_of=as_of, reruns=reruns)


def _build_commit(
    oldest_first: Sequence[Session],
    counted: Sequence[Session],
    older: Sequence[TestedCommit],
    *,
    as_of: datetime,
    reruns: Sequence[tuple[Session, Session]],
    rounds: Sequence[Sizes] = (),
) -> TestedCommit:
    """Return the commit of these sessions, of which some count, with its verdict."""
    killed = [session for session in reversed(oldest_first) if was_killed(session, as_of)]
    is_failing, is_whole, remarks = _verdict(counted[::-1], older)
    if killed:
        remarks.insert(0, Remark("killed", killed, [len(counted)]))
    return TestedCommit(
        branch=oldest_first[0].ref_name,
        sessions=oldest_first[::-1],
        counted=counted[::-1],
        is_failing=is_failing,
        remarks=remarks,
        is_whole=is_whole,
        reruns=reruns,
        rounds=rounds,
    )


def was_killed(session: Session, as_of: datetime) -> bool:
    """Return whether a session has been in progress for so long that it will not finish."""
    began = session.create_date
    return session.status == SessionStatus.IN_PROGRESS and began is not None and as_of - began >= _KILLED


def _verdict(counted: Sequence[Session], older: Sequence[TestedCommit]) -> tuple[bool | None, bool, list[Remark]]:
    """Return whether these sessions, newest first, are red, whether all tests ran, and what is unusual."""
    remarks = list(_remarks_on(counted))
    count, fewest = count_tests(counted), _fewest_of_older(older)
    has_enough = fewest is None if count is None else not lacks_tests(count, fewest)
    have_ended = all(each.is_finished and (each.is_failing or each.has_known_status) for each in counted)
    if any(session.is_failing for session in counted):
        return True, have_ended and has_enough, remarks
    if not have_ended or not any(session.has_verdict for session in counted):
        return None, False, remarks
    if count is None:
        remarks.append(Remark("unknown count" if has_enough else "no count"))
    elif not has_enough:
        of_which = "the commit" if len(older) == 1 else f"each of the {len(older)} commits"
        remarks.append(Remark("few tests", counted[:1], [count, fewest or 0], of_which))
    return False if has_enough else None, has_enough, remarks


def _fewest_of_older(older: Iterable[TestedCommit]) -> int | None:
    """Return the fewest tests of older commits; of red ones, which may have stopped early, if there are no others."""
    full = [commit for commit in older if commit.has_full_count]
    counts = [each.tests_ran or 0 for each in full if not each.is_failing] or [each.tests_ran or 0 for each in full]
    return min(counts, default=None)


def _remarks_on(counted: Sequence[Session]) -> Iterator[Remark]:
    """Yield which sessions have a status that is not known, or passed although they count failing tests."""
    for session in counted:
        if not session.has_known_status:
            yield Remark("unknown status", [session], detail=session.status)
        elif session.status == SessionStatus.SUCCESSFUL and session.failing_count:
            yield Remark("green with failures", [session], [session.failing_count])
