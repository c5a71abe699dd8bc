"""Reads what one test did in the last CI runs: from the API with few requests, or from a database."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from buddy_sessions import Session, TestKey, TestRun
from buddy_sessions.analysis.by_test import find_test, find_tests
from buddy_sessions.analysis.completeness import lists_too_few
from buddy_sessions.analysis.outcomes import Outcome, outcome_in
from buddy_sessions.analysis.runs import CIRun

from ..errors import NothingToJudgeError
from ..render.result import describe_branch
from .suite_reader import SuiteReader


@frozen
class TestHistory:
    """What a test did in CI runs, newest first, and the sessions of which that is not known.

    Of these, `unread` list fewer failing tests than they count, or belong to a CI run with such a session; the failing
    tests of `unreadable` cannot be read.
    """

    key: TestKey
    outcomes: Sequence[Outcome]
    unread: Sequence[Session] = ()
    unreadable: Sequence[Session] = ()


async def read_history(reader: SuiteReader, text: str, *, branch: str | None, last: int) -> TestHistory:
    """Return what the only test that a text names did in CI runs of a branch.

    From a database, these are all of its newest list. From the API, they go back to where the test began or ceased to
    fail, which costs two requests for each red session: `last` are searched for a failure, and while the test fails,
    all that are known.

    Args:
        reader: The suite.
        text: The text of the key of a test, or a part of it.
        branch: The branch; None for all sessions.
        last: The number of CI runs.

    Raises:
        ConfigError: The text fits no test, or several; or the newest sessions were not saved.
        NothingToJudgeError: The branch has no session that passed or failed, or the test ran in none.
    """
    runs = await reader.newest_runs(branch, last=last, with_incomplete=True)
    await reader.readable_runs(runs[0].deciding)  # raises ConfigError if they were not saved
    saved = await reader.source.history(reader.suite, text, branch=branch)
    if saved is None:
        return await _read_failing(reader, runs, text, last)
    key = next((case.key for run in saved for case in run.cases), None)
    if key is None:
        raise NothingToJudgeError(f"{text!r} did not fail in a saved session of {describe_branch(branch)}")
    of_session = {run.session.id: run for run in saved}
    sessions = [[of_session[each.id] for each in run.deciding if each.id in of_session] for run in runs]
    return TestHistory(key, [outcome for each in sessions if (outcome := outcome_in(each, key)) is not None])


async def _read_failing(reader: SuiteReader, runs: Sequence[CIRun], text: str, last: int) -> TestHistory:
    """Return what a test did, back to where it began or ceased to fail, from the failing test cases."""
    searched = f"all tests of #{runs[0].session.relative_id}, and the failures of {last} CI runs"
    key: TestKey | None = None
    outcomes: list[Outcome] = []
    unread: list[Session] = []
    unreadable: list[Session] = []
    for number, run in enumerate(runs):
        if number >= last and not (outcomes and outcomes[0].is_failing):
            break
        readable, lost = await reader.readable_runs(run.deciding)
        read = [evolve(each, scope="failed") for each in readable]
        failing = {case.key for each in read for case in each.cases}
        if key is None and find_tests(failing, text):
            key = find_test(failing, text, searched=searched)
        if key not in failing and (lost or any(map(lists_too_few, read))):
            unreadable += lost
            unread += [] if lost else [each.session for each in read]
            continue
        outcome = None if key is None else outcome_in(read, key)
        outcomes.append(outcome or Outcome(run.session, None))
        if outcomes[-1].is_failing != outcomes[0].is_failing:
            break
    if key is None:  # all tests of the newest CI run say whether there is such a test
        complete = [TestRun(session, tuple(await reader.cases(session))) for session in runs[0].deciding]
        key = find_test({case.key for each in complete for case in each.cases}, text, searched=searched)
        newest = outcome_in(complete, key)
        outcomes[:1] = [newest] if newest is not None else outcomes[:1]
    return TestHistory(key, outcomes, unread, unreadable)
