"""Judges the sessions of a commit or a CI run, and reads what the verdict rests on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from attrs import evolve, frozen

from .._base.validate import LATEST
from ..analysis.baseline import (
    NOVELTIES,
    Baseline,
    Cases,
    FailingTest,
    compare_with,
    failing_in,
    find_causes,
    find_failing_tests,
    select_baseline,
)
from ..analysis.branches import MAIN_NAMES, NEWEST, Main, suggest_branches
from ..analysis.commits import SessionList, TestedCommit, make_commit, usual_size
from ..analysis.judgement import Facts, Judgement, Outcome, Reason, give_verdict
from ..analysis.quarantine import QuarantinedTest, unneeded_entries
from ..errors import NoVerdictError
from ..models import Session, SessionRef, SuiteKey, TestKey
from .named_sessions import NamedSessions, find_sessions
from .suite_reader import SuiteReader


@frozen(kw_only=True)
class JudgeSpec:
    """What is judged, and how: the arguments of `Questions.judge`."""

    session: SessionRef
    branch: str | Main
    baseline: str | Main | None
    last: int
    quarantine: Sequence[QuarantinedTest]
    outcome: Outcome | None
    min_tests: float
    after: int | datetime | None
    details: int | None


async def judge_sessions(reader: SuiteReader, spec: JudgeSpec) -> Judgement:
    """Return the verdict. The failing tests of the baseline are read only if there are some to compare."""
    try:
        named = await find_sessions(reader, spec.session, branch=spec.branch)
    except NoVerdictError:
        if spec.outcome != "failure" or spec.session == LATEST:
            raise
        named = NamedSessions(sessions=(), what="commit")
    sessions = [each for each in named.sessions if _is_judged(each, spec.after)]
    if not sessions:
        return _without_sessions(reader.suite, named, spec.outcome)
    newest = await reader.newest()
    baseline, doubt = await _read_baseline(reader, sessions, spec)
    commit = _judged_commit(named, sessions, baseline, spec, as_of=newest.as_of)
    today = datetime.now(UTC).date()
    tests, cases, knows_retries = await _compare(reader, commit, baseline, spec, today)
    expired, unused = unneeded_entries(spec.quarantine, [test.case.key for test in tests], today)
    facts = Facts(
        named=named.what,
        commit=commit,
        tests=tests,
        baseline=baseline,
        is_new_suite=newest.end == "beginning" and len(newest.sessions) < NEWEST,
        cases=cases,
        doubt=named.doubt or doubt,
        branches=suggest_branches(baseline.branch, reader.suite, newest.sessions),
        outcome=spec.outcome,
        min_tests=spec.min_tests,
        knows_retries=knows_retries,
    )
    passes, reasons, remarks = give_verdict(facts)
    failing = [(test.session, test.case) for test in tests[: spec.details]]
    details = await reader.read_details(failing, keep_data=False)
    tests[: spec.details] = [evolve(test, case=case) for test, case in zip(tests, details, strict=False)]
    return Judgement(
        suite=reader.suite,
        sessions=commit.counted,
        is_failing=None if facts.doubt and not commit.is_failing else commit.is_failing,  # one may be missing
        passes=passes,
        reasons=reasons,
        remarks=remarks,
        tests=tests,
        causes=find_causes(tests),
        baseline=baseline if baseline.commits else None,
        expired=expired,
        unused=unused,
    )


def _judged_commit(
    named: NamedSessions, sessions: Sequence[Session], baseline: Baseline, spec: JudgeSpec, *, as_of: datetime
) -> TestedCommit:
    """Return the commit as it is in the status of its branch, or all sessions that were named as one commit."""
    is_status = spec.session == LATEST or (spec.baseline is None and spec.outcome != "success")
    if named.commit is not None and is_status and spec.after is None:
        return named.commit
    older = () if named.what == "session" else baseline.older
    if spec.outcome == "success":
        usual = 1  # all tests ended well: any later session may be a re-run
    elif spec.baseline is None:
        usual = len(sessions)  # nothing says how many sessions a commit has: none is a re-run
    else:
        usual = usual_size(older)
    return make_commit(sessions, older, usual, as_of=as_of, is_named=True)


async def _compare(
    reader: SuiteReader, commit: TestedCommit, baseline: Baseline, spec: JudgeSpec, today: date
) -> tuple[list[FailingTest], Cases, bool]:
    """Return the compared failing tests, the cases that were read for that, and whether retries are known."""
    cases = await reader.read_failing(commit.counted)
    failing = find_failing_tests(commit, cases)
    if failing:
        cases |= await reader.read_failing(baseline.red_sessions)
    tests = compare_with(failing, baseline, cases, spec.quarantine, today)
    retried: set[TestKey] | None = set()
    if spec.outcome == "success" and (counting := {test.case.key for test in tests if test.counts}):
        retried = await _find_retried(reader, commit, cases, counting)
        tests = [evolve(each, novelty="retried") if each.case.key in (retried or ()) else each for each in tests]
    tests.sort(key=lambda test: NOVELTIES.index(test.novelty or "new"))
    return tests, cases, retried is not None


def _is_judged(session: Session, after: int | datetime | None) -> bool:
    """Return whether a session is judged: what was red or unfinished before `after` was run again."""
    if after is None or (session.is_finished and not session.is_failing):
        return True
    if isinstance(after, int):
        return session.relative_id > after
    return session.create_date is None or session.create_date >= after


def _without_sessions(suite: SuiteKey, named: NamedSessions, outcome: Outcome | None) -> Judgement:
    if outcome == "failure":
        passes, reason = False, Reason("outcome", "the tests failed, but no session of them was found")
    else:
        passes, reason = None, Reason("no session", named.doubt or "no session is left to judge")
    return Judgement(suite=suite, sessions=(), is_failing=None, passes=passes, reasons=[reason])


async def _read_baseline(reader: SuiteReader, judged: Sequence[Session], spec: JudgeSpec) -> tuple[Baseline, str]:
    """Return what sessions are compared with, and why others may be missing in the list that it was chosen from."""
    if spec.baseline is None:
        return Baseline(branch="", commits=()), ""
    branch = await reader.find_branch(spec.baseline)
    if branch is None:
        return Baseline(branch=MAIN_NAMES[0], commits=()), (await reader.newest()).doubt

    def choose(listed: SessionList) -> Baseline:
        return select_baseline(branch.name, listed, judged, spec.last)

    def is_enough(listed: SessionList) -> bool:
        found = choose(listed)
        return len(found.commits) == spec.last or len(found.older) >= 2 * spec.last

    listed = await reader.of_branch(branch, is_enough)
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
