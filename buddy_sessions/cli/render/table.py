"""Tables for terminals: the result of a command, the sessions of a suite, and a summary of many suites."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from buddy_sessions import Session, SessionStatus, SuiteKey
from buddy_sessions._base.durations import format_duration
from buddy_sessions.analysis.completeness import count_failing

from .console import Output
from .result import Column, Item, Result
from .styled import (
    RECENT_LEGEND,
    author_text,
    link,
    name_text,
    number_text,
    plain,
    ref_text,
    revision_text,
    sparkline,
    status_text,
)
from .text import UNKNOWN, crash_text, format_age, message_of, one_line

_GAP = 2  # characters between two columns
_SUMMARY_MARKS = 12  # length of a sparkline in a table
_TITLE_MARKS = 30  # length of a sparkline next to a title
_MIN_WIDTH, _MAX_WIDTH = 70, 120  # of the table of sessions; a terminal with less shows the first columns
_MIN_CUT = 12  # to which a column of suites is cut
_MAX_CRASHED = 3


def print_result(output: Output, result: Result) -> None:
    """Print the sessions or the scope of a result, its sections, and the verdict with what it rests on."""
    _print_head(output, result)
    for section in result.sections:
        if not section.items and result.suite is not None:
            continue
        if not result.columns or len(result.sections) > 1:
            output.print_line((f"\n{one_line(section.title)}", "bold"))
        elif result.sessions:
            output.print()
        if result.columns:
            _print_items(output, result.columns, section.items)
        else:
            _print_names(output, section.items)
    if result.title:
        output.print_line((f"\n{result.title}", "bold"))
    for fact in [*result.facts, *map(crash_text, result.crashed[:_MAX_CRASHED])]:
        output.print_line(one_line(fact))


def _print_head(output: Output, result: Result) -> None:
    """Print the sessions that a result is about, or which ones these are."""
    for session in (*filter(None, [result.old]), *result.sessions):
        output.print(_session_line(result.suite, session))
        if session.html_url:
            output.print_line((one_line(session.html_url), "dim"))
    if not result.sessions and result.suite is not None:
        output.print_line((one_line(f"{result.suite}, {result.scope}"), "bold"))


def grid(*titles: str) -> Table:
    """Return an empty table with these columns and without borders."""
    return Table(*titles, box=None, header_style="dim", pad_edge=False, padding=(0, _GAP, 0, 0))


def _session_line(suite: SuiteKey | None, session: Session) -> Text:
    """Return a session as text: its suite, `relative_id`, status, age, duration, and its branch, which may be long."""
    age = format_age(session.create_date, datetime.now(UTC))
    text = Text.assemble(f"{one_line(str(suite))} ", number_text(session), "  ", status_text(session), f"  {age}")
    if session.is_finished and session.duration is not None:
        text.append(f"  {format_duration(session.duration)}")
    return text.append("  ").append_text(ref_text(session))


def _print_names(output: Output, items: Sequence[Item]) -> None:
    """Print the names of tests with their remarks."""
    for item in items:
        name = name_text(item.key) if item.key is not None else ""
        output.print_line("  ", name, (f"  {one_line(item.remark)}" if item.remark else "", "yellow"))


def _print_items(output: Output, columns: Sequence[Column], items: Sequence[Item]) -> None:
    """Print a table of tests, whose names are the last column, or of suites."""
    if not any(item.key is not None for item in items):
        _print_suites(output, columns, items)
        return
    table = _table(columns)
    table.add_column("TEST", overflow="fold")
    for item in items:
        table.add_row(*item.cells, _name(item))
    output.print(table)
    if any(column.title == "RECENT" for column in columns):
        output.print_line((f"RECENT: {RECENT_LEGEND}", "dim"))


def _print_suites(output: Output, columns: Sequence[Column], items: Sequence[Item]) -> None:
    """Print a table of suites, whose keys are the first column. If it is too wide, names are cut, and columns left out.

    A suite with a remark could not be read: it is below the table. Its key is broken only if no other column is left.
    """
    read = [item for item in items if not item.remark]
    widths = [
        max(cell_len(str(cell)) for cell in [column.title, *(cell for item in read for cell in item.cells[index:][:1])])
        for index, column in enumerate(columns)
    ]
    for index, each in enumerate(columns):
        if each.can_be_cut or each.wraps:
            excess = max(0, sum(widths) + _GAP * (len(widths) - 1) - output.width)
            widths[index] = max(min(widths[index], _MIN_CUT), widths[index] - excess)
    while len(widths) > 1 and sum(widths) + _GAP * (len(widths) - 1) > output.width:
        widths.pop()
    shown = len(widths)
    table = _table(columns[:shown])
    table.width = sum(widths) + _GAP * (shown - 1)
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    for item in read:
        table.add_row(*item.cells[:shown])
    if read or not items:
        output.print(table, crop=False)
    for item in items:
        if item.remark:
            key, *name = item.cells
            output.print_line(key, *(f"  {each}" for each in name), (f"  {one_line(item.remark)}", "red"))


def _table(columns: Sequence[Column]) -> Table:
    """Return an empty table."""
    table = grid()
    for column in columns:
        table.add_column(column.title, justify="right" if column.is_number else "left", no_wrap=not column.wraps)
    table.show_header = any(column.title for column in columns)
    return table


def _name(item: Item) -> Group:
    """Return the name of a test, and below it a remark and the message of its failure."""
    lines = [name_text(item.key)] if item.key is not None else []
    if item.remark:
        lines.append(Text(one_line(item.remark), "yellow"))
    if item.case is not None and (failure := item.case.failure) is not None:
        message = one_line(message_of(failure)) or one_line((failure.text or "").partition("\n")[0])
        lines.append(Text(message, "dim", no_wrap=True, overflow="ellipsis"))
    return Group(*lines)


class SessionTable:
    """A table of sessions that is printed page by page, each page with the same widths."""

    def __init__(self, output: Output, *, title: str) -> None:
        self._output = output
        self._title = Text(one_line(title), "bold")
        self._number_width = 0

    def write(self, sessions: Sequence[Session]) -> None:
        """Print one row for each session. The first call prints the title and the header above them."""
        is_first = not self._number_width
        if is_first:
            self._number_width = len(str(sessions[0].relative_id)) if sessions else 1
            self._print_title(sessions)
        if not sessions:
            return
        table = self._new_table()
        table.show_header = is_first
        now = datetime.now(UTC)
        for session in sessions:
            failing = count_failing(session)
            table.add_row(
                link(Text(str(session.relative_id), "bold"), session.html_url),
                status_text(session),
                format_age(session.create_date, now).removesuffix(" ago"),
                _duration(session),
                Text(UNKNOWN if failing is None else str(failing), "bold red" if failing else "dim"),
                ref_text(session),
                revision_text(session),
                author_text(session),
            )
        self._output.print(table)

    def _new_table(self) -> Table:
        """Return an empty table. The branch and the author take what the other columns leave."""
        table = grid()
        table.width = min(max(self._output.width, _MIN_WIDTH), _MAX_WIDTH)
        table.add_column("#", width=self._number_width, justify="right")
        table.add_column("STATUS", width=9)
        for title, width in (("AGE", 6), ("TIME", 6), ("FAIL", 4)):
            table.add_column(title, width=width, justify="right")
        table.add_column("BRANCH", ratio=5)
        table.add_column("COMMIT", width=7)
        table.add_column("AUTHOR", ratio=3)
        for column in table.columns:
            column.no_wrap = True
        return table

    def _print_title(self, sessions: Sequence[Session]) -> None:
        marks = min(self._output.width - self._title.cell_len - _GAP, _TITLE_MARKS)
        if sessions and marks > 0:
            self._title = Text.assemble(self._title, " " * _GAP, sparkline(sessions[:marks]))
        self._output.print(self._title)


@dataclass
class _SuiteCounts:
    read: int = 0
    verdicts: int = 0
    passed: int = 0
    newest: list[Session] = field(default_factory=list[Session])


class SuiteSummary:
    """A table with one row per suite: the number of sessions read, their pass rate, and the newest sessions."""

    MAX_SUITES = 50

    def __init__(self, *, only_new: bool = False) -> None:
        self._only_new = only_new
        self._counts: dict[SuiteKey, _SuiteCounts] = {}

    def add(self, suite: SuiteKey, sessions: Sequence[Session]) -> None:
        """Add the next sessions of a suite, newest first."""
        if (self._only_new and not sessions) or (suite not in self._counts and len(self._counts) > self.MAX_SUITES):
            return
        counts = self._counts.setdefault(suite, _SuiteCounts())
        counts.read += len(sessions)
        counts.verdicts += sum(session.has_verdict for session in sessions)
        counts.passed += sum(session.status == SessionStatus.SUCCESSFUL for session in sessions)
        counts.newest += sessions[: _SUMMARY_MARKS - len(counts.newest)]

    def print_to(self, output: Output, *, exclude: Container[SuiteKey] = ()) -> None:
        """Print the table, sorted by suite, without the suites in `exclude`. Print nothing without rows."""
        rows = [(suite, counts) for suite, counts in sorted(self._counts.items()) if suite not in exclude]
        if not rows or len(self._counts) > self.MAX_SUITES:
            return
        now = datetime.now(UTC)
        table = _key_table()
        count_title = "NEW" if self._only_new else "READ"
        for title in (count_title, "PASS", "LATEST", "AGE", "RECENT"):
            table.add_column(title, justify="left" if title in {"LATEST", "RECENT"} else "right", no_wrap=True)
        for suite, counts in rows:
            latest = counts.newest[0] if counts.newest else None
            table.add_row(
                plain(str(suite)),
                f"{counts.read:,}",
                f"{100 * counts.passed // counts.verdicts} %" if counts.verdicts else UNKNOWN,
                link(status_text(latest), latest.html_url) if latest else "",
                format_age(latest.create_date, now) if latest else "",
                sparkline(counts.newest),
            )
        output.print(table)
        output.print_line((f"PASS: the share that passed, of the sessions in {count_title} with a result", "dim"))
        output.print_line((f"RECENT: {RECENT_LEGEND}", "dim"))


def _key_table() -> Table:
    table = grid()
    table.add_column("KEY", overflow="fold")  # never truncated, so that it can be copied
    return table


def _duration(session: Session) -> str:
    # Buddy reports 0 while a session is running.
    return format_duration(session.duration if session.is_finished or session.duration else None)
