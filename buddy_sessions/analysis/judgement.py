"""Judges the sessions of a commit or a CI run: whether a gate passes, and why not.

The rules are those of the guide's section "What a gate checks". All of them work on data that was read before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from attrs import frozen

from .._base.figures import format_count
from ..models import Session, SuiteKey
from .baseline import (
    Baseline,
    Cases,
    Cause,
    FailingTest,
    crash_text,
    failing_in,
    known_crashes,
    lists_too_few,
)
from .commits import UNKNOWN_COUNT, TestedCommit, count_tests, killed_text, lacks_tests, name_sessions, run_url
from .quarantine import QuarantinedTest

Outcome = Literal["success", "failure"]
"""How the program that ran the tests has ended."""
Named = Literal["session", "commit", "CI run"]
"""What the judged sessions are: one session that was named, those of a commit, or those of a CI run."""


@frozen
class Reason:
    """Why a gate fails, or why there is no verdict. `str(reason)` is a text."""

    kind: Literal[
        "new failure",
        "no failing test",
        "outcome",
        "no test ran",
        "few tests",
        "unfinished",
        "no session",
        "incomplete list",
        "incomplete cases",
        "no baseline",
    ]
    text: str

    def __str__(self) -> str:
        return self.text


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
    remarks: Sequence[str] = ()
    tests: Sequence[FailingTest] = ()
    causes: Sequence[Cause] = ()
    baseline: Baseline | None = None
    expired: Sequence[QuarantinedTest] = ()
    unused: Sequence[QuarantinedTest] = ()


@frozen(kw_only=True)
class Facts:
    """What a verdict rests on.

    Attributes:
        named: What the sessions of `commit` are.
        tests: The failing tests, compared.
        baseline: None to compare with nothing.
        is_new_suite: Whether the suite has few sessions, down to its first one: the baseline may have no commit yet.
        cases: The failing cases of the judged sessions and of the baseline.
        doubt: Why sessions that are judged, or of the baseline, may be missing; empty if none is.
        branches: Which branches there are, if the suite has none of the baseline.
    """

    named: Named
    commit: TestedCommit
    tests: Sequence[FailingTest]
    baseline: Baseline | None
    is_new_suite: bool
    cases: Cases
    doubt: str
    branches: str
    outcome: Outcome | None
    min_tests: float


Finding: TypeAlias = tuple[Literal[False] | None, Reason]
"""A verdict that follows, and why."""


def give_verdict(facts: Facts) -> tuple[bool | None, list[Reason]]:
    """Return whether a gate passes, with all reasons: the first thing that is known decides."""
    findings = list(_findings(facts))
    if not findings:
        return True, []
    passes = findings[0][0]
    return passes, [reason for verdict, reason in findings if verdict == passes]


def _findings(facts: Facts) -> Iterator[Finding]:
    """Yield why a gate fails (False), or why that is not known (None), what decides first."""
    commit, baseline = facts.commit, facts.baseline
    if not any(session.has_verdict for session in commit.counted):
        yield from _without_verdict(commit, facts.outcome)
        return
    new = [test for test in facts.tests if test.counts]
    if facts.doubt:
        yield None, Reason("incomplete list", facts.doubt)
    elif baseline is not None:
        yield from _lacks_baseline(facts, baseline, has_new=bool(new))
    if new:
        noun = "failing test" if new[0].novelty is None else "new failure"
        yield False, Reason("new failure", format_count(len(new), noun))
    crashed = [session for session in commit.counted if _has_crashed(session, facts.cases)]
    if facts.outcome != "success":
        yield from _unexplained(facts, crashed)
    if commit.is_running:
        yield None, _unfinished(commit)
    if facts.outcome == "failure" and not facts.tests and not crashed:
        yield False, Reason("outcome", "the tests failed, but no test did: a file or the configuration is broken")
    yield from _lacks_tests(facts)


def _unexplained(facts: Facts, crashed: Sequence[Session]) -> Iterator[Finding]:
    """Yield which red sessions have no failing test, or list fewer than they count."""
    known = known_crashes(facts.baseline)
    for session in crashed:
        if session.error_message not in known:
            yield False, Reason("no failing test", crash_text(session))
    for session in facts.commit.counted:
        if lists_too_few(session, facts.cases):
            yield None, Reason("incomplete cases", _incomplete_text(session, facts.cases))


def _has_crashed(session: Session, cases: Cases) -> bool:
    """Return whether a session is red, and neither counts nor lists a failing test."""
    return session.is_failing and not session.failing_count and not failing_in(session, cases)


def _unfinished(commit: TestedCommit) -> Reason:
    unfinished = [session for session in commit.counted if not session.is_finished]
    return Reason("unfinished", f"{name_sessions(unfinished)} did not finish")


def _without_verdict(commit: TestedCommit, outcome: Outcome | None) -> Iterator[Finding]:
    """Yield the finding for sessions of which none passed or failed."""
    if outcome == "failure":
        found = _unfinished(commit).text if commit.is_running else "no session did"
        yield False, Reason("outcome", f"the tests failed, and {found}")
    elif commit.is_running:
        yield None, _unfinished(commit)
    else:
        yield None, Reason("no session", f"{name_sessions(commit.sessions)} neither passed nor failed")


def _lacks_baseline(facts: Facts, baseline: Baseline, *, has_new: bool) -> Iterator[Finding]:
    """Yield why sessions cannot be compared with a baseline."""
    if not baseline.commits and (baseline.older or not facts.is_new_suite):
        found = "only outages" if baseline.older else "no session"
        known = f"; {facts.branches}" if facts.branches else ""
        yield None, Reason("no baseline", f"{baseline.branch} has {found} to compare with{known}")
    elif has_new:
        for session in baseline.red_sessions:
            if lists_too_few(session, facts.cases):
                text = f"to compare with: {_incomplete_text(session, facts.cases)}"
                yield None, Reason("incomplete cases", text)


def _lacks_tests(facts: Facts) -> Iterator[Finding]:
    commit, count = facts.commit, facts.commit.tests_ran
    if count == 0:
        yield False, Reason("no test ran", f"no test ran in {name_sessions(commit.counted)}")
    elif facts.outcome != "success" and facts.named != "session" and facts.baseline is not None:
        fewest, unit = fewest_tests(facts.baseline, facts.named)
        if lacks_tests(count, fewest, facts.min_tests):
            before = f"at least {fewest:,} in each {unit} of {facts.baseline.branch} before"
            yield False, Reason("few tests", f"{format_count(count or 0, 'test')} ran, {before}")


def fewest_tests(baseline: Baseline, named: Named) -> tuple[int | None, str]:
    """Return the fewest tests that ran in a commit of the baseline, or in one of its CI runs; and what these are."""
    whole = [commit for commit in baseline.commits if commit.says_how_many]
    if named != "CI run":
        return min((commit.tests_ran or 0 for commit in whole), default=None), "commit"
    of_run: dict[tuple[int, str], list[Session]] = {}
    for number, commit in enumerate(whole):
        for session in commit.counted:
            of_run.setdefault((number, run_url(session) or session.execution_id or ""), []).append(session)
    return min(filter(None, map(count_tests, of_run.values())), default=None), "CI run"


def remark_on(facts: Facts, *, knows_retries: bool) -> Iterator[str]:
    """Yield what was left out, excused, or could not be checked."""
    commit, baseline, succeeded = facts.commit, facts.baseline, facts.outcome == "success"
    for old, new in commit.reruns:
        yield f"#{new.relative_id} replaced #{old.relative_id}: it was run again"
    if killed := commit.killed:
        yield killed_text(killed)
    yield from _remarks_on_sessions(facts)
    if commit.tests_ran is None and any(session.has_verdict for session in commit.counted):
        yield UNKNOWN_COUNT
    elif facts.named == "session" and facts.outcome is None:
        yield "whether all tests ran was not checked: a single session was named"
    if succeeded and not knows_retries and any(test.counts for test in facts.tests):
        yield "retries are not known: only failing tests were saved"
    if baseline is not None and baseline.outages:
        yield f"not compared with {name_sessions(baseline.outages)}, because most tests failed there"
    if baseline is not None and not baseline.older and facts.is_new_suite:
        yield "nothing to compare with yet: each failure counts"


def _remarks_on_sessions(facts: Facts) -> Iterator[str]:
    """Yield which red sessions are excused although the reason is not known."""
    succeeded = facts.outcome == "success"
    for session in facts.commit.counted:
        if _has_crashed(session, facts.cases):
            if succeeded or session.error_message in known_crashes(facts.baseline):
                yield f"{crash_text(session)}, {'but the tests succeeded' if succeeded else 'as before'}"
        elif succeeded and lists_too_few(session, facts.cases):
            yield _incomplete_text(session, facts.cases)


def _incomplete_text(session: Session, cases: Cases) -> str:
    why = cases.get(session.id, f"the failing tests of #{session.relative_id} were not read")
    if isinstance(why, str):
        return why
    listed, counted = len(failing_in(session, cases)), format_count(session.failing_count or 0, "failing test")
    return f"#{session.relative_id} lists {listed:,} of its {counted}"
