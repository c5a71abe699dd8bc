"""Whether a branch is red, and which of its commits have a verdict."""

from __future__ import annotations

from ..analysis.branches import JudgedBranch, Main, suggest_branches
from ..analysis.commits import SessionList, TestedCommit, find_commits, newest_judged
from ..analysis.suite_status import SuiteStatus, judge_suite
from ..errors import NoVerdictError
from .suite_reader import SuiteReader


async def find_status(reader: SuiteReader, branch: str | Main) -> SuiteStatus:
    """Return the status of a suite: usually from its newest 100 sessions, or else from those of the branch."""
    chosen = await reader.find_branch(branch)
    if chosen is None:
        newest = await reader.newest()
        if newest.doubt:
            return SuiteStatus(suite=reader.suite, reason="incomplete", remark=newest.doubt)
        return SuiteStatus(suite=reader.suite, reason="no main branch" if newest.sessions else "no session")
    return judge_suite(reader.suite, chosen.name, await reader.newest_of(chosen))


async def find_latest(reader: SuiteReader, branch: str | Main, *, is_failing: bool | None) -> TestedCommit | None:
    """Return the newest commit of a branch with a verdict, or with this one; None if there is none."""
    chosen = await reader.find_branch(branch)
    wanted = {True, False} if is_failing is None else {is_failing}

    def find(listed: SessionList) -> list[TestedCommit]:
        return [commit for commit in find_commits(listed) if commit.is_failing in wanted]

    listed = await reader.newest() if chosen is None else await reader.newest_of(chosen)
    if chosen is not None and listed.end == "cut" and not find(listed):
        listed = await reader.of_branch(chosen, lambda listed: bool(find(listed)))
    if listed.doubt:
        raise NoVerdictError(f"no verdict about {reader.suite}: {listed.doubt}")
    return None if chosen is None else next(iter(find(listed)), None)


async def last_commits(reader: SuiteReader, branch: JudgedBranch, last: int) -> tuple[list[TestedCommit], SessionList]:
    """Return the commits of a branch of which a session passed or failed, newest first: `last` of them, or more.

    Also return the list that they are from. Raises NoVerdictError if there is none, or sessions may be missing.
    """

    def find(listed: SessionList) -> list[TestedCommit]:
        return newest_judged(find_commits(listed), len(listed.sessions))

    listed = await reader.of_branch(branch, lambda listed: len(find(listed)) >= last)
    if listed.doubt:
        raise NoVerdictError(f"no verdict about {reader.suite}: {listed.doubt}")
    if not (found := find(listed)):
        hint = suggest_branches(branch.name, reader.suite, (await reader.newest()).sessions)
        raise NoVerdictError(hint or f"{reader.suite} has no finished session of branch {branch.name!r} yet")
    return found, listed
