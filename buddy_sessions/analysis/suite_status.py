"""Whether a suite is red on one branch, and since which commit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal, TypeAlias

from attrs import evolve, field, frozen

from ..errors import BuddyError
from ..models import SuiteKey
from .commits import SessionList, TestedCommit, usual_size
from .remarks import Remark

NoVerdict: TypeAlias = Literal[
    "no session", "no main branch", "running", "few tests", "no verdict", "incomplete", "missing", "deleted"
]
"""Why a suite is neither red nor green."""

_RECENT = 20  # commits


@frozen(kw_only=True)
class SuiteStatus:
    """Whether a suite is red or green on one branch, and since when.

    Attributes:
        suite: The suite.
        name: Its name; None if it is not known: a client knows it only of a `Suite`.
        branch: The branch that was looked at; None if there is no main branch.
        commit: The newest commit with a verdict; None if there is none.
        since: The first commit of the streak with that verdict. Commits without a verdict are skipped.
        is_since_exact: Whether the commit before `since` is known, and had the other verdict. Otherwise the streak may
            be longer.
        reason: Why there is no verdict: the branch has "no session"; the suite has "no main branch"; the only commits
            are still "running"; in them "few tests" ran; they have "no verdict", such as skipped ones; the list of
            sessions is "incomplete"; or the last syncs of a database did not find the suite ("missing", then
            "deleted"). None if there is a verdict or an error.
        recent: Whether the newest 20 commits that were looked at are red, newest first; None for one without a verdict.
        verdicts: Of the commits that were looked at and have a verdict, newest first: when it was known, and whether it
            is red.
        remarks: What is unusual, such as that a newer commit is running, or that in it few tests ran.
        synced_at: When the last sync of the suite began that has read to its end; None without a database.
        missing_since: When a sync did not find the suite for the first time; None unless it is missing or deleted.
        error: Why the suite could not be read; None if it was read.
    """

    suite: SuiteKey
    name: str | None = None
    branch: str | None = None
    commit: TestedCommit | None = None
    since: TestedCommit | None = None
    is_since_exact: bool = False
    reason: NoVerdict | None = None
    recent: Sequence[bool | None] = ()
    verdicts: Sequence[tuple[datetime, bool]] = field(default=(), repr=False)
    remarks: Sequence[Remark] = ()
    synced_at: datetime | None = None
    missing_since: datetime | None = None
    error: BuddyError | None = None
    usual_size: int = field(default=1, repr=False)  # how many sessions the commits before `commit` have, at most

    @property
    def is_failing(self) -> bool | None:
        """Whether the suite is red; None without a verdict."""
        return None if self.commit is None else self.commit.is_failing


def is_stale(status: SuiteStatus, now: datetime, max_age: timedelta | None) -> bool:
    """Return whether the newest verdict of a suite, or its last sync, is older than `max_age`."""
    verdict = None if status.commit is None else status.commit.session.finish_date or status.commit.session.create_date
    synced = None if status.missing_since is not None else status.synced_at
    return max_age is not None and any(time is not None and now - time > max_age for time in (verdict, synced))


def has_enough_commits(listed: SessionList) -> bool:
    """Return whether a status needs no more sessions of a branch: one commit has a verdict."""
    return any(commit.is_failing is not None for commit in listed.judged_commits)


def status_of(suite: SuiteKey, branch: str | None, listed: SessionList) -> SuiteStatus:
    """Return the status of a suite on a branch, whose newest sessions these are; of all branches for None."""
    status = SuiteStatus(suite=suite, branch=branch)
    if listed.doubt:
        return evolve(status, reason="incomplete", remarks=[Remark("incomplete list", detail=listed.doubt)])
    if branch is None:
        return evolve(status, reason="no main branch" if listed.sessions else "no session")
    commits = listed.judged_commits
    status = evolve(status, recent=[commit.is_failing for commit in commits[:_RECENT]])
    judged = [commit for commit in commits if commit.is_failing is not None]
    if not judged:
        return evolve(status, reason=_reason(listed, commits), remarks=_remarks_above(commits))
    turns = [(each.turning_session, each.is_failing is True) for each in judged]
    dates = [(session.finish_date or session.create_date, is_red) for session, is_red in turns]
    status = evolve(status, verdicts=[(date, is_red) for date, is_red in dates if date is not None])
    streak = list(takewhile(lambda commit: commit.is_failing == judged[0].is_failing, judged))
    above = _remarks_above(commits[: commits.index(judged[0])])
    before = [commit.is_failing for commit in commits[commits.index(streak[-1]) + 1 :]]
    return evolve(
        status,
        commit=judged[0],
        since=streak[-1],
        is_since_exact=bool(before) and before[0] is not None,
        usual_size=usual_size(commits[commits.index(judged[0]) + 1 :]),
        remarks=[*above, *judged[0].remarks],
    )


def _reason(listed: SessionList, commits: Sequence[TestedCommit]) -> NoVerdict:
    """Return why none of these commits has a verdict."""
    if not listed.sessions:
        return "no session"
    if any(commit.is_running for commit in commits):
        return "running"
    have_passed = any(session.has_verdict for commit in commits for session in commit.counted)
    return "few tests" if have_passed else "no verdict"


def _remarks_above(commits: Sequence[TestedCommit]) -> list[Remark]:
    """Return what the commits above the newest verdict do: the newest one that runs, or has other remarks."""
    running = [each for commit in commits for each in commit.counted if not each.is_finished]
    others = next((commit.remarks for commit in commits if commit.remarks), ())
    return [*(Remark("running", [session]) for session in running[:1]), *others]
