"""Reads what a verdict rests on: the judged sessions, and the CI runs of a branch before them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from attrs import evolve

from buddy_sessions import ConfigError, Main, Session, TestRun
from buddy_sessions.analysis.branches import MAIN_NAMES
from buddy_sessions.analysis.completeness import MIN_TESTS, EarlierCIRuns, earlier_ci_runs, lists_too_few
from buddy_sessions.analysis.judgement import Baseline, Judgement, can_be_baseline, judge
from buddy_sessions.analysis.runs import CIRun, find_ci_runs, run_identity, usual_size

from ..errors import NothingToJudgeError
from ..options import DEFAULT_LAST
from .suite_reader import SuiteReader


async def explain(
    reader: SuiteReader, sessions: Sequence[Session], branch: str | Main | None, *, reach: int = DEFAULT_LAST
) -> Judgement:
    """Explain why sessions are red: return their verdict, compared with the CI runs of a branch before them.

    It is for the report and for agents, not for gates: tests that did not run change no colour, and only what is known
    is compared. `reach` CI runs show since when a test fails. Raises ConfigError if the test cases of the sessions were
    not saved.
    """
    runs, unread = await read_judged(reader, sessions)
    baseline: Baseline | None = None
    others: list[Session] = []
    if any(case.is_failing for run in runs for case in run.cases):
        with suppress(ConfigError, NothingToJudgeError):
            baseline = await read_baseline(reader, sessions, branch, last=reach, skip_unsaved=True)
            baseline = evolve(baseline, last=DEFAULT_LAST)
            others = await read_other_sessions(reader, sessions, baseline)
    return evolve(judge(runs, baseline, others=others, unread=unread), missing_tests=())


async def has_no_main_yet(reader: SuiteReader, branch: str) -> bool:
    """Return whether `branch` is `main` or `master`, and it is certain that the suite has no session of either."""
    if branch not in MAIN_NAMES or any([await reader.search.take(1, name) for name in MAIN_NAMES]):
        return False
    return await reader.source.has_all_sessions(reader.suite)


async def read_baseline(
    reader: SuiteReader,
    judged: Sequence[Session],
    branch: str | Main | None,
    *,
    last: int,
    min_tests: float = MIN_TESTS,
    skip_unsaved: bool = False,
) -> Baseline:
    """Return the last CI runs of a branch that are older than the judged sessions, and of another commit.

    Outages among them are replaced by older runs, see `earlier_ci_runs`.
    """
    name = await reader.choose_branch(branch)

    def choose(ci_runs: Iterable[CIRun]) -> EarlierCIRuns:
        sessions = [session for ci_run in ci_runs for session in ci_run.sessions if session.has_verdict]
        return earlier_ci_runs(sessions, last=last, min_tests=min_tests)

    found, _ = await reader.search.ci_runs(
        name,
        below=min(session.relative_id for session in judged),
        where=lambda ci_run: can_be_baseline(ci_run.sessions[0], judged),
        is_enough=lambda ci_runs: len(choose(ci_runs).counting) == last,
        with_incomplete=True,
    )
    if not found:
        judged_id, error = judged[0].relative_id, await reader.no_verdict(name)
        raise NothingToJudgeError(f"nothing older and of another commit to compare #{judged_id} with: {error}")
    chosen = choose(found)
    to_read = [session for ci_run in chosen.counting for session in ci_run.sessions]
    runs, unread = await reader.readable_runs(to_read, skip_unsaved=skip_unsaved)
    if to_read and not runs:
        raise NothingToJudgeError(
            "no verdict: the failing tests of the sessions to compare with cannot be read: try again later"
        )
    runs += [TestRun(session, ()) for ci_run in chosen.outages for session in ci_run.sessions]
    return Baseline(name, runs, last, unread)


async def read_judged(
    reader: SuiteReader, sessions: Sequence[Session], *, pause: float = 10.0
) -> tuple[list[TestRun], list[Session]]:
    """Return the sessions with their failing test cases, and those whose test cases cannot be read.

    What cannot be read, or lists fewer failing tests than the session counts, is read again after `pause` seconds.
    """
    runs, unread = await reader.readable_runs(sessions)
    if reader.source.is_saved or not (unread or any(map(lists_too_few, runs))):
        return runs, unread
    complete = [run for run in runs if not lists_too_few(run)]
    doubtful = [*unread, *(run.session for run in runs if lists_too_few(run))]
    await asyncio.sleep(pause)
    again, unread = await reader.readable_runs(doubtful, again=True)
    return [*complete, *again], unread


async def read_other_sessions(reader: SuiteReader, judged: Sequence[Session], baseline: Baseline) -> list[Session]:
    """Return other sessions of the CI runs of the judged ones, if these are fewer than usual: one request or none.

    Only the newest 100 sessions are searched.
    """
    ids = Counter(map(run_identity, judged))
    if min(ids.values()) >= usual_size(ci_run.sessions for ci_run in find_ci_runs(baseline.sessions)):
        return []
    return [each for each in await reader.search.newest() if run_identity(each) in ids and each not in judged]
