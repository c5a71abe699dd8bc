"""Judges the sessions of a commit or a CI run, and reads what the verdict rests on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime

from attrs import evolve, frozen

from .._base.validate import LATEST, REVISION
from .._base.workers import add_jitter
from ..analysis.baseline import (
    NOVELTIES,
    Baseline,
    Cases,
    compare_with,
    failing_in,
    failing_keys,
    find_causes,
    find_failing_tests,
    other_branches,
    select_baseline,
)
from ..analysis.branches import MAIN_NAMES, NEWEST, Main, main_branch, suggest_branches
from ..analysis.commits import SessionList, TestedCommit, make_named_commit
from ..analysis.judgement import AFTER_TESTS, Evidence, Judgement, ProgramOutcome, give_verdict
from ..analysis.quarantine import QuarantinedTest, find_entries, unneeded_entries
from ..analysis.remarks import Reason, Remark
from ..analysis.same_tests import match_tests
from ..errors import NoVerdictError, StatusError
from ..models import Session, SessionRef, SuiteKey, TestKey
from .named_sessions import NamedSessions, find_sessions, is_run_url
from .suite_reader import Source, SuiteReader
from .wait import Waiting, WaitSpec, is_since

_ATTEMPTS = 3
"""How often a verdict on awaited sessions is tried, if its requests fail."""


@frozen(kw_only=True)
class JudgeSpec:
    """The arguments of `Questions.judge`."""

    session: SessionRef
    branch: str | Main
    baseline: str | Main | None
    last: int
    quarantine: Sequence[QuarantinedTest]
    outcome: ProgramOutcome | None
    min_tests: float
    after: int | datetime | None
    details: int | None
    count: int | None
    timeout: float | None
    interval: float
    fail_fast: bool


async def judge(source: Source, suite: SuiteKey, spec: JudgeSpec) -> Judgement:
    """Return the verdict on what there is now; or with a timeout, on what was named once it has finished."""
    loop = asyncio.get_running_loop()
    end = loop.time() + (spec.timeout or 0.0)
    if spec.timeout is not None and (awaited := _what_to_await(suite, spec, spec.timeout)) is not None:
        return await _judge_awaited(source, spec, Waiting(awaited, source))
    while True:
        judgement = await _judge_now(SuiteReader(source, suite), spec)
        is_open = judgement.passes is None and judgement.reasons[0].kind in {"unfinished", "no session"}
        pause = add_jitter(spec.interval)
        if not is_open or loop.time() + pause > end:
            return judgement
        await asyncio.sleep(pause)


def _what_to_await(suite: SuiteKey, spec: JudgeSpec, timeout: float) -> WaitSpec | None:
    """Return which sessions of a commit or a CI run to wait for; None if something else is named."""
    name = spec.session if isinstance(spec.session, str) else ""
    is_commit, is_run = REVISION.fullmatch(name) is not None, is_run_url(name)
    if not is_commit and not is_run:
        return None
    return WaitSpec(
        suite=suite,
        revision=name if is_commit else None,
        run_url=name if is_run else None,
        after=spec.after,
        count=spec.count or 1,
        interval=spec.interval,
        timeout=timeout,
        appear_timeout=timeout if spec.outcome is None else min(timeout, AFTER_TESTS),
        tests_have_ended=spec.outcome is not None,
    )


async def _judge_now(reader: SuiteReader, spec: JudgeSpec) -> Judgement:
    """Return the verdict on what there is now."""
    try:
        named = await find_sessions(reader, spec.session, branch=spec.branch)
    except NoVerdictError:
        if spec.outcome != "failure" or spec.session == LATEST:
            raise
        named = NamedSessions(sessions=(), name_kind="commit")
    if sessions := [each for each in named.sessions if _is_judged(each, spec.after)]:
        return await _judge_sessions(reader, named, sessions, spec)
    passes, reason = None, Reason("no session", detail=named.doubt or "no session is left to judge")
    if spec.outcome == "failure":
        passes, reason = False, Reason("no upload")
    remarks = [Remark("ignored", named.sessions)] if named.sessions else []
    return Judgement(suite=reader.suite, sessions=(), is_failing=None, passes=passes, reasons=[reason], remarks=remarks)


async def _judge_sessions(
    reader: SuiteReader, named: NamedSessions, sessions: Sequence[Session], spec: JudgeSpec
) -> Judgement:
    """Return the verdict, with the messages of the first failing tests."""
    today = datetime.now(UTC).date()
    evidence = await _read_evidence(reader, named, sessions, spec, today)
    if spec.outcome == "success":
        evidence = await _excuse_retried(reader, evidence)
    evidence = await _look_elsewhere(reader, evidence)
    passes, reasons, remarks = give_verdict(evidence)
    tests = sorted(evidence.tests, key=lambda test: NOVELTIES.index(test.novelty or "new"))
    failing = [(test.session, test.case) for test in tests[: spec.details]]
    details = await reader.read_details(failing, keep_data=False)
    tests[: spec.details] = [evolve(test, case=case) for test, case in zip(tests, details, strict=False)]
    expired, unused = unneeded_entries(spec.quarantine, evidence.entries, today)
    commit, baseline = evidence.commit, evidence.baseline
    return Judgement(
        suite=reader.suite,
        sessions=commit.counted,
        is_failing=None if evidence.doubt and not commit.is_failing else commit.is_failing,  # one may be missing
        passes=passes,
        reasons=reasons,
        remarks=remarks,
        tests=tests,
        causes=find_causes(tests),
        baseline=baseline if baseline.commits else None,
        expired=expired,
        unused=unused,
    )


async def _read_evidence(
    reader: SuiteReader, named: NamedSessions, sessions: Sequence[Session], spec: JudgeSpec, today: date
) -> Evidence:
    """Return the evidence, without what excuses or explains single tests: retries, and failures of other branches."""
    newest = await reader.newest()
    baseline, doubt = await _read_baseline(reader, sessions, spec)
    commit = _judged_commit(named, sessions, baseline, spec, as_of=newest.as_of)
    cases = await reader.read_failing(commit.counted)
    failed = {test.case.key for test in find_failing_tests(commit, cases)}
    if failed:
        cases |= await reader.read_failing(baseline.red_sessions)
    entries = find_entries(spec.quarantine, failed)
    # After a success, no job is missing: a retry within one may look like a replaced session.
    present = len(sessions if spec.outcome == "success" else commit.counted)
    return Evidence(
        name_kind=named.name_kind,
        commit=commit,
        tests=compare_with(commit, baseline, cases, entries, today),
        baseline=baseline,
        is_new_suite=_is_new(newest, spec.baseline),
        cases=cases,
        entries=entries,
        doubt=named.doubt or doubt,
        branches=suggest_branches(baseline.branch, reader.suite, newest.sessions),
        outcome=spec.outcome,
        min_tests=spec.min_tests,
        after_is_missing=spec.after is None and spec.outcome is None and commit is not named.commit,
        has_session_since=spec.after is None or any(is_since(each, spec.after) for each in commit.counted),
        ignored=[each for each in named.sessions if each.is_failing and not _is_judged(each, spec.after)],
        missing=None if spec.count is None or present >= spec.count else (present, spec.count),
    )


async def _excuse_retried(reader: SuiteReader, evidence: Evidence) -> Evidence:
    """Return the evidence with the tests that also passed in each session in which they failed."""
    counting = {test.case.key for test in evidence.tests if test.counts}
    retried = await _find_retried(reader, evidence.commit, evidence.cases, counting)
    if retried is None:
        return evolve(evidence, has_passed_cases=False)
    tests = [evolve(test, novelty="retried") if test.case.key in retried else test for test in evidence.tests]
    return evolve(evidence, tests=tests)


async def _look_elsewhere(reader: SuiteReader, evidence: Evidence) -> Evidence:
    """Count on how many other branches new failures occurred lately: one or two requests for each red session."""
    new = {test.case.key for test in evidence.tests if test.novelty == "new"}
    if not new:
        return evidence
    branches = other_branches((await reader.newest()).sessions, evidence.commit.sessions, evidence.baseline.branch)
    cases = await reader.read_failing([each for branch in branches for each in branch], is_sure=False)
    matches = match_tests([new], [[failing_keys(each, cases) for each in branch] for branch in branches])
    counts = {key: sum(key in match for match in matches) for key in new}
    return evolve(evidence, tests=[evolve(each, failed_elsewhere=counts.get(each.case.key)) for each in evidence.tests])


async def _judge_awaited(source: Source, spec: JudgeSpec, waiting: Waiting) -> Judgement:
    """Return the verdict once all awaited sessions have finished, a new failure has decided, or the time is over."""
    attempts = _ATTEMPTS
    judged: list[Session] | None = None
    while await waiting.look():
        if waiting.failure is not None or waiting.matching == judged:
            continue
        try:
            judgement = await _judge_now(SuiteReader(source, waiting.spec.suite, waiting.listed), spec)
        except NoVerdictError:
            continue
        except StatusError:  # the token and the suite are right, because the poll could read them
            attempts -= 1
            if not attempts:
                raise
            continue
        judged = waiting.matching
        has_decided = judgement.passes is False and judgement.reasons[0].kind == "new failure"
        # After a success, a session that runs may replace the red one.
        if waiting.is_complete() or (has_decided and spec.fail_fast and spec.outcome != "success"):
            return judgement
    if waiting.failure is not None:
        raise waiting.too_late() from waiting.failure
    try:
        return await _judge_now(SuiteReader(source, waiting.spec.suite, waiting.listed), spec)
    except NoVerdictError:
        raise NoVerdictError(str(waiting.too_late())) from None


def _judged_commit(
    named: NamedSessions, sessions: Sequence[Session], baseline: Baseline, spec: JudgeSpec, *, as_of: datetime
) -> TestedCommit:
    """Return the commit as it is in the status of its branch, or all sessions that were named as one commit."""
    is_status = spec.session == LATEST or (spec.baseline is None and spec.outcome is None)
    if named.commit is not None and is_status and spec.after is None:
        return named.commit
    older = () if named.name_kind == "session" else baseline.older
    return make_named_commit(sessions, older, succeeded=spec.outcome == "success", as_of=as_of)


def _is_new(newest: SessionList, baseline: str | Main | None) -> bool:
    """Return whether a suite has few sessions, down to its first one, and no other main branch than the named one."""
    is_small = newest.below == "nothing" and len(newest.sessions) < NEWEST
    return is_small and (not isinstance(baseline, str) or main_branch(newest.sessions) in {None, baseline})


def _is_judged(session: Session, after: int | datetime | None) -> bool:
    """Return whether a session is judged: what was red or unfinished before `after` was run again."""
    return (session.is_finished and not session.is_failing) or is_since(session, after) is not False


async def _read_baseline(reader: SuiteReader, judged: Sequence[Session], spec: JudgeSpec) -> tuple[Baseline, str]:
    """Return what sessions are compared with, and why others may be missing in the list that it was chosen from."""
    if spec.baseline is None:
        return Baseline(branch="", commits=()), ""
    branch = await reader.find_branch(spec.baseline)
    if branch is None:
        return Baseline(branch=MAIN_NAMES[0], commits=()), (await reader.newest()).doubt

    def choose(listed: SessionList) -> Baseline:
        return select_baseline(branch.name, listed, judged, spec.last)

    listed = await reader.of_branch(branch, lambda listed: len(choose(listed).commits) == spec.last)
    return choose(listed), listed.doubt


async def _find_retried(
    reader: SuiteReader, commit: TestedCommit, cases: Cases, retried: set[TestKey]
) -> set[TestKey] | None:
    """Return which of these tests also passed in each session in which they failed; None if that was not saved."""
    for session in commit.counted:
        failed = [case for case in failing_in(session, cases) if case.key in retried]
        for group in {case.test_group_id for case in failed}:
            no_test = set[TestKey]()
            passed = no_test if group is None else await reader.source.passed_in_group(reader.suite, session, group)
            if passed is None:
                return None
            retried -= {case.key for case in failed if case.test_group_id == group} - passed
    return retried
