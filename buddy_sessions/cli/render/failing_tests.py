"""The failing tests of sessions: as a table, by cause, as rows and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buddy_sessions import Session, SuiteKey
from buddy_sessions._export.rows import Row, suite_names
from buddy_sessions.analysis.judgement import NOVELTIES, FailingTest, Judgement, find_causes

from .case_tables import case_table, count_sessions, name_text, print_sessions, print_summary
from .console import Output
from .failure_text import cause_text
from .markdown import Entry, Page, Section, code, headline, places, suite_facts
from .rows import session_case_row
from .text import format_count, one_line

CAUSE_COLUMNS = ("workspace", "project", "suite_id", "relative_ids", "type", "template", "count", "new", "tests")
"""What `--group` prints of a cause. `new` is null without a baseline."""

_CRASHED = "failed without a failing test"
_MAX_FACTS = 3  # of one kind
_MAX_PATTERN = 150  # characters


def print_failing_tests(output: Output, suite: SuiteKey, judgement: Judgement, tests: Sequence[FailingTest]) -> None:
    """Print the judged sessions, some of their failing tests, and the verdict."""
    print_sessions(output, suite, *judgement.sessions)
    if tests:
        output.print()
        output.print(case_table((test.case, _remark(test)) for test in tests))
    _print_verdict(output, judgement)


def print_causes(output: Output, suite: SuiteKey, judgement: Judgement) -> None:
    """Print the judged sessions, the causes with the names of their tests, and the verdict."""
    print_sessions(output, suite, *judgement.sessions)
    for cause in find_causes(judgement.tests):
        output.print_line((f"\n{format_count(len(cause.tests), 'test')}: ", "bold"), cause_text(cause))
        for test in cause.tests:
            remark = _remark(test) and f"  {one_line(_remark(test))}"
            output.print_line("  ", name_text(test.case.key), (remark, "yellow"))
    _print_verdict(output, judgement)


def cause_rows(suite: SuiteKey, judgement: Judgement) -> Iterator[Row]:
    """Return the causes as rows."""
    for cause in find_causes(judgement.tests):
        yield {
            **suite_names(suite),
            "relative_ids": [session.relative_id for session in judgement.sessions],
            "type": cause.type,
            "template": cause.template,
            "count": len(cause.tests),
            "new": sum(test.baseline == "new" for test in cause.tests) if judgement.baseline else None,
            "tests": [str(test.case.key) for test in cause.tests],
        }


def test_rows(suite: SuiteKey, judgement: Judgement) -> Iterator[Row]:
    """Return the failing tests as rows, with a baseline also how each compares with it."""
    for test in judgement.tests:
        row = session_case_row(suite, test.session, test.case)
        yield row if judgement.baseline is None else {**row, "baseline": test.baseline, "failed_in": test.failed_in}


def failures_page(suite: SuiteKey, judgement: Judgement) -> Page:
    """Return the page of the command `failures`."""
    baseline = judgement.baseline
    facts = [suite_facts(suite, judgement.sessions[0])]
    if baseline is not None:
        facts.append(f"Compared with {places(*baseline.sessions)}")
    facts += [
        f"Quarantine of {code(entry.pattern, limit=_MAX_PATTERN)} ended on {entry.until}"
        for entry in judgement.expired[:_MAX_FACTS]
    ]
    facts += crash_facts(judgement.crashed)
    sections = []
    for novelty in (None,) if baseline is None else NOVELTIES:
        tests = [test for test in judgement.tests if test.baseline == novelty]
        entries = [Entry(test.case.key, test.excuse and code(test.excuse), test.case.failure) for test in tests]
        sections.append(Section("Failing tests" if novelty is None else novelty.capitalize(), entries))
    title = headline(_verdict(judgement), *judgement.sessions, is_red=judgement.is_red)
    causes = find_causes(test for test in judgement.tests if not test.excuse)
    return Page("failures", suite, title, facts, sections, causes)


def print_crashed(output: Output, sessions: Sequence[Session]) -> None:
    """Print why sessions failed without a failing test."""
    for session in sessions[:_MAX_FACTS]:
        output.print_line(f"session #{session.relative_id} {_CRASHED}: {one_line(_reason(session))}")


def crash_facts(sessions: Sequence[Session]) -> list[str]:
    """Return why sessions failed without a failing test, in Markdown."""
    crashed = sessions[:_MAX_FACTS]
    return [f"Session #{session.relative_id} {_CRASHED}: {code(_reason(session))}" for session in crashed]


def _remark(test: FailingTest) -> str:
    return test.excuse or test.baseline or ""


def _print_verdict(output: Output, judgement: Judgement) -> None:
    print_summary(output, _verdict(judgement))
    if (baseline := judgement.baseline) is not None:
        output.print_line(f"compared with {one_line(str(baseline))}: {count_sessions(baseline.sessions)}")
    print_crashed(output, judgement.crashed)


def _verdict(judgement: Judgement) -> str:
    """Return the verdict: `3 of 412 tests failed`, or `2 new failures, 1 known`."""
    sessions, tests = judgement.sessions, judgement.tests
    if judgement.crashed and not tests:
        return "Failed without a failing test"
    if judgement.baseline is not None:
        counts = {novelty: sum(test.baseline == novelty for test in tests) for novelty in NOVELTIES}
        new = format_count(counts.pop("new"), "new failure")
        return ", ".join([new, *(f"{count:,} {novelty}" for novelty, count in counts.items() if count)])
    if len(sessions) == 1 and sessions[0].tests_count is not None:
        return f"{len(tests):,} of {format_count(sessions[0].tests_count, 'test')} failed"
    return f"{format_count(len(tests), 'test')} failed"


def _reason(session: Session) -> str:
    return session.error_message or "Buddy gives no reason"
