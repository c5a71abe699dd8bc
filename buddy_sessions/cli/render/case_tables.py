"""Tables of test cases for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from buddy_sessions import Session, SuiteKey, TestCase, TestKey, TestRun, TestStatus

from .console import Output
from .failure_text import message_of
from .table import FAILED_MARK, OTHER_MARK, PASSED_MARK, grid, number_text, ref_text, status_text
from .text import format_age, format_count, format_duration, format_test_time, one_line

_STATUSES = {
    TestStatus.PASSED: ("✔", "passed", "green"),
    TestStatus.FAILED: ("✘", "failed", "bold red"),
    TestStatus.ERROR: ("✘", "error", "bold red"),
    TestStatus.SKIPPED: ("○", "skipped", "yellow"),
}
_RECENT_MARKS = 12  # length of a sparkline

TEST = "TEST"
"""The title of the column of names."""


def outcome_text(status: TestStatus) -> Text:
    """Return the status of a test as a symbol and a word, in its colour."""
    symbol, word, style = _STATUSES.get(status) or ("?", one_line(status).lower(), "magenta")
    return Text(f"{symbol} {word}", style)


def name_text(key: TestKey) -> Text:
    """Return the name of a test, its last part in bold."""
    before, separator, name = one_line(str(key)).rpartition(" > ")
    return Text.assemble(before, separator, (name, "bold"))


def session_text(suite: SuiteKey, session: Session, now: datetime) -> Text:
    """Return a session as text: its suite, `relative_id`, status, age, duration, and its branch, which may be long."""
    text = Text.assemble(
        f"{one_line(str(suite))} ",
        number_text(session),
        "  ",
        status_text(session),
        f"  {format_age(session.create_date, now)}",
    )
    if session.is_finished and session.duration is not None:
        text.append(f"  {format_duration(session.duration)}")
    return text.append("  ").append_text(ref_text(session.ref_type, session.ref_name))


def count_sessions(sessions: Sequence[Session]) -> str:
    """Return the number of sessions and the range of their `relative_id`s: `10 sessions, #373 to #382`."""
    numbers = sorted(session.relative_id for session in sessions)
    ends = sorted({numbers[0], numbers[-1]})
    return f"{format_count(len(numbers), 'session')}, {' to '.join(f'#{number}' for number in ends)}"


def recent_statuses(runs: Sequence[TestRun], keys: Iterable[TestKey]) -> dict[TestKey, Text]:
    """Return one mark per session for each test, the newest on the right. `runs` are oldest first."""
    marks = {key: Text() for key in keys}
    for run in runs[-_RECENT_MARKS:]:
        ran = [case for case in run.cases if case.status != TestStatus.SKIPPED]
        passed = {case.key for case in ran}
        failed = {case.key for case in ran if case.is_failing}
        for key, text in marks.items():
            text.append(*(FAILED_MARK if key in failed else PASSED_MARK if key in passed else OTHER_MARK))
    return marks


def print_summary(output: Output, text: str) -> None:
    """Print the result below a table."""
    output.print_line((f"\n{text}", "bold"))


def print_hidden(messages: Output, count: int) -> None:
    """Print how to see the rows that a table has left out, if there are any."""
    if count:
        messages.print_note(f"for the other {format_count(count, 'test')} add --limit N")


def print_sessions(output: Output, suite: SuiteKey, *sessions: Session) -> None:
    """Print sessions above a table."""
    now = datetime.now(UTC)
    for session in sessions:
        output.print(session_text(suite, session, now))
        if session.html_url:
            output.print_line((one_line(session.html_url), "dim"))


def case_table(cases: Iterable[tuple[TestCase, str]]) -> Table:
    """Return a table of test cases: status, time and name, and below the name a remark and the message of a failure."""
    table = grid()
    table.add_column("STATUS", no_wrap=True)
    table.add_column("TIME", justify="right", no_wrap=True)
    table.add_column(TEST, overflow="fold")
    for case, remark in cases:
        lines = [name_text(case.key)]
        if remark:
            lines.append(Text(one_line(remark), "yellow"))
        if case.failure is not None:
            message = one_line(message_of(case.failure)) or one_line((case.failure.text or "").partition("\n")[0])
            lines.append(Text(message, "dim", no_wrap=True, overflow="ellipsis"))
        table.add_row(outcome_text(case.status), format_test_time(case.time), Group(*lines))
    return table
