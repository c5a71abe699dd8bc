"""Judges the sessions of a commit or a CI run: whether a gate passes, and why not.

The rules are those of the guide's section "What a gate checks". All of them work on data that was read before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from attrs import frozen

from ..errors import BuddyError
from ..models import Session, SuiteKey, TestKey
from .baseline import Baseline, Cases, Cause, FailingTest, failing_in, why_incomplete
from .commits import TestedCommit, count_tests, has_crashed, lacks_tests, run_url
from .quarantine import QuarantinedTest
from .remarks import Reason, Remark, name_sessions
from .reruns import find_possible_rerun

ProgramOutcome = Literal["success", "failure"]
"""How the program that ran the tests has ended."""
AFTER_TESTS = 60.0
"""Seconds in which sessions must exist if that program has ended."""
NameKind = Literal["session", "commit", "CI run"]
"""The kind of a name: of one session, of those of a commit, or of those of a CI run."""


@frozen(kw_only=True)
class Judgement:
    """The verdict on the sessions of one commit or CI run.

    Attributes:
        suite: The suite.
        sessions: The judged sessions, newest first: those that count.
        is_failing: Whether they are red, as in `SuiteStatus`: True if one failed; None if that is not known yet.
        passes: What a gate says: False if a failure is new, or tests did not run. None if that is not known.
        reasons: Why it does not pass: `str(reason)` is a text; empty if it passes.
        remarks: What was left out, excused, or could not be checked.
        tests: The failing tests, new ones first.
        causes: The tests of which the messages were read, by cause.
        baseline: What they were compared with; None if with nothing.
        expired: Entries of the quarantine that would excuse a failing test, but whose last day is over.
        unused: Entries of the quarantine that no failing test matches.
    """

    suite: SuiteKey
    sessions: Sequence[Session]
    is_failing: bool | None
    passes: bool | None
    reasons: Sequence[Reason] = ()
    remarks: Sequence[Remark] = ()
    tests: Sequence[FailingTest] = ()
    causes: Sequence[Cause] = ()
    baseline: Baseline | None = None
    expired: Sequence[QuarantinedTest] = ()
    unused: Sequence[QuarantinedTest] = ()


@frozen(kw_only=True)
class Evidence:
    """The evidence that a verdict rests on."""

    name_kind: NameKind  # what the sessions of the commit are
    commit: TestedCommit
    tests: Sequence[FailingTest]
    baseline: Baseline  # without a branch to compare with nothing
    is_new_suite: bool  # whether it has few sessions, down to its first one: the baseline may have no commit yet
    cases: Cases  # of the judged sessions and of the baseline
    entries: Mapping[TestKey, Sequence[QuarantinedTest]]  # of the quarantine, that match a failing test
    doubt: str  # why sessions that are judged, or of the baseline, may be missing; empty if none is
    branches: str  # which ones there are, if the suite has none of the baseline
    outcome: ProgramOutcome | None
    min_tests: float
    has_passed_cases: bool = True  # whether passed cases are saved, too, if they were looked for
    after_is_missing: bool  # whether neither `after` nor the outcome say what was run again
    has_session_since: bool  # whether a session was created since `after`
    ignored: Sequence[Session]  # red ones that were created before
    missing: tuple[int, int] | None  # how many of how many sessions there are; None if all


def give_verdict(evidence: Evidence) -> tuple[bool | None, list[Reason], list[Remark]]:
    """Return whether a gate passes, all reasons, and the remarks: the first reason that is known decides."""
    findings = list(_findings(evidence))
    reasons = [each for each in findings if isinstance(each, Reason)]
    remarks = [each for each in findings if not isinstance(each, Reason)]
    if not reasons:
        return True, [], remarks
    fails = reasons[0].fails
    lacking = [each for each in reasons if fails and each.kind in {"incomplete cases", "few sessions"}]
    remarks += [Remark(each.kind, each.sessions, each.numbers, each.detail, each.error) for each in lacking]
    return False if fails else None, [reason for reason in reasons if reason.fails == fails], remarks


def _findings(evidence: Evidence) -> Iterator[Remark]:
    """Yield why a gate does not pass, what decides first; and what is excused, or could not be checked."""
    # The order of these lines is the priority of the reasons: see `give_verdict`.
    commit = evidence.commit
    yield from _on_sessions(evidence, commit)
    if not any(session.has_verdict for session in commit.counted):
        yield _without_verdict(commit, evidence.outcome)
        return
    yield from _on_after(evidence)
    crashed = [each for each in commit.counted if has_crashed(each) and not failing_in(each, evidence.cases)]
    counting = [test for test in evidence.tests if test.counts]
    if evidence.doubt:
        yield Reason("incomplete list", detail=evidence.doubt)
    if evidence.baseline.branch:
        yield from _on_baseline(evidence, evidence.baseline, has_new=bool(counting))
    if counting:
        noun = "failing test" if counting[0].novelty is None else "new failure"
        yield Reason("new failure", numbers=[len(counting)], detail=noun)
        if not evidence.has_passed_cases:
            yield Remark("retries unknown")
    yield from _on_red_sessions(evidence, crashed)
    if commit.is_running:
        yield Reason("unfinished", _running(commit))
    yield from _on_unknown_statuses(commit)
    if evidence.outcome == "failure" and not evidence.tests and not crashed:
        yield Reason("outcome", detail="but no test did: a file or the configuration is broken, or an upload was lost")
        if evidence.ignored:
            yield Remark("ignored", evidence.ignored)
    yield from _on_number_of_tests(evidence)


def _on_sessions(evidence: Evidence, commit: TestedCommit) -> Iterator[Remark]:
    for old, new in commit.reruns:
        yield Remark("rerun", [new, old], detail="the outcome is success" if evidence.outcome == "success" else "")
    if evidence.after_is_missing and (pair := find_possible_rerun(commit.counted)):
        yield Remark("maybe rerun", pair)
    if nameless := [session for session in commit.counted if not session.ref_name]:
        yield Remark("no branch", nameless)
    yield from (remark for remark in commit.remarks if remark.kind in {"killed", "green with failures"})


def _on_after(evidence: Evidence) -> Iterator[Remark]:
    """Yield what follows if no session was created since this attempt of the CI run began."""
    if evidence.has_session_since or evidence.outcome == "failure":  # a failure is looked for, and not found
        return
    text = "no session was created since this attempt began"
    if evidence.outcome == "success":
        yield Remark("no session", detail=f"{text}: the tests were not run again, or their upload was lost")
    else:
        yield Reason("no session", detail=f"{text}: run all jobs again")


def _on_unknown_statuses(commit: TestedCommit) -> Iterator[Reason]:
    for session in commit.counted:
        if session.is_finished and not session.has_known_status and not session.is_failing:
            yield Reason("unknown status", [session], detail=session.status)


def _without_verdict(commit: TestedCommit, outcome: ProgramOutcome | None) -> Reason:
    """Return the reason for sessions of which none passed or failed."""
    if commit.is_running:
        return Reason("ended early" if outcome == "failure" else "unfinished", _running(commit))
    if outcome == "failure":
        return Reason("outcome", detail="and no session did")
    if unknown := next(_on_unknown_statuses(commit), None):
        return unknown
    return Reason("no session", commit.sessions, detail=f"{name_sessions(commit.sessions)} neither passed nor failed")


def _running(commit: TestedCommit) -> list[Session]:
    return [session for session in commit.counted if not session.is_finished]


def _on_baseline(evidence: Evidence, baseline: Baseline, *, has_new: bool) -> Iterator[Remark]:
    if baseline.outages:
        yield Remark("outage", baseline.outages)
    if not baseline.older and evidence.is_new_suite:
        yield Remark("new suite")
    elif not baseline.commits and not evidence.doubt:
        no_session = evidence.branches or f"{baseline.branch} has no session to compare with"
        text = f"{baseline.branch} has only outages to compare with" if baseline.older else no_session
        yield Reason("no baseline", detail=text)
    for session in baseline.red_sessions if has_new else ():
        if (why := why_incomplete(session, evidence.cases)) is not None:
            yield Reason("incomplete cases", [session], detail="to compare with", error=why)


def _on_red_sessions(evidence: Evidence, crashed: Sequence[Session]) -> Iterator[Remark]:
    """Yield which red sessions have no failing test, or list fewer than they count."""
    before = evidence.baseline.commits[0].counted if evidence.baseline.commits else ()
    messages = {session.error_message for session in before if has_crashed(session)}
    succeeded = evidence.outcome == "success"
    for session in crashed:
        if succeeded or session.error_message in messages:
            yield Remark("crash", [session], detail="but the tests succeeded" if succeeded else "as before")
        else:
            yield Reason("no failing test", [session])
    for session in evidence.commit.counted:
        if (why := why_incomplete(session, evidence.cases)) is not None:
            # A test that passed when it was retried may be counted, and not listed. An unread list says nothing.
            is_read = not isinstance(evidence.cases.get(session.id), BuddyError)
            yield (Remark if succeeded and is_read else Reason)("incomplete cases", [session], error=why)


def _on_number_of_tests(evidence: Evidence) -> Iterator[Remark]:
    commit, count = evidence.commit, evidence.commit.tests_ran
    fewest = _fewest_of_kind(evidence.baseline, evidence.name_kind)
    if evidence.missing is not None:
        yield Reason("few sessions", commit.counted, evidence.missing)
    if count is None:
        is_compared = fewest is not None and evidence.outcome != "success"
        yield Reason("no count") if is_compared else Remark("unknown count")
    elif count == 0:
        yield Reason("no test ran", commit.counted)
    elif lacks_tests(count, fewest, evidence.min_tests):
        detail = f"each {evidence.name_kind} of {evidence.baseline.branch}"
        kind = Remark if evidence.outcome == "success" else Reason
        yield kind("few tests", numbers=[count, fewest or 0], detail=detail)


def _fewest_of_kind(baseline: Baseline, name_kind: NameKind) -> int | None:
    """Return the fewest tests that ran in what is named, of the baseline: a commit, a CI run or a session."""
    parts: dict[tuple[int, str], list[Session]] = {}
    for number, commit in enumerate(each for each in baseline.commits if each.has_full_count):
        for session in commit.counted:
            names = {"commit": "", "session": session.id, "CI run": run_url(session) or session.execution_id or ""}
            parts.setdefault((number, names[name_kind]), []).append(session)
    return min(filter(None, map(count_tests, parts.values())), default=None)
