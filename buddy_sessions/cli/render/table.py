"""Tables for terminals: the sessions of a suite, the suites of a project, and a summary of many suites."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.style import Style
from rich.table import Table
from rich.text import Text

from buddy_sessions import BuddyError, RefType, Session, SessionStatus, Suite, SuiteKey
from buddy_sessions._export.rows import KEYED_SESSION_COLUMNS, keyed_rows
from buddy_sessions.analysis.judgement import Streak, count_failing

from ..errors import error_text
from .console import Output
from .rows import make_writer
from .text import UNKNOWN, format_age, format_duration, one_line, web_url

_STATUSES = {
    SessionStatus.SUCCESSFUL: ("✔", "passed", "green"),
    SessionStatus.ERROR: ("✘", "failed", "bold red"),
    SessionStatus.SKIPPED: ("○", "skipped", "yellow"),
    SessionStatus.IN_PROGRESS: ("◌", "running", "cyan"),
}
_REF_LABELS = {RefType.TAG: "tag ", RefType.PULL_REQUEST: "PR "}
PASSED_MARK, FAILED_MARK, OTHER_MARK = ("▂", "green"), ("█", "bold red"), ("·", "")
RECENT_LEGEND = "▂ passed, █ failed, · neither; the newest is on the right"
"""What the marks of a sparkline mean."""
_GAP = 2  # characters between two columns
_SUMMARY_MARKS = 12  # length of a sparkline in a table
_TITLE_MARKS = 30  # length of a sparkline next to a title
_MIN_WIDTH, _MAX_WIDTH = 70, 120  # of the table of sessions; a terminal with less shows the first columns
_SHORT_REVISION = 7  # digits of the hash of a commit


def status_text(session: Session) -> Text:
    """Return the status of a session as a symbol and a word, in its colour."""
    symbol, word, style = _STATUSES.get(session.status) or ("?", one_line(session.status).lower(), "magenta")
    return Text(f"{symbol} {word}", style)


def number_text(session: Session) -> Text:
    """Return the `relative_id` of a session, which links to the session in Buddy: `#7`."""
    return _link(Text(f"#{session.relative_id}", "bold"), session.html_url)


def ref_text(ref_type: RefType | None, name: str | None) -> Text:
    """Return the name of a branch, tag or pull request: `main`, `tag v1.0`, `PR pull/7`."""
    label = _REF_LABELS.get(ref_type, "") if ref_type else ""
    return Text.assemble((label, "dim"), _text(name or UNKNOWN))


def sparkline(sessions: Sequence[Session]) -> Text:
    """Return one mark per session, the newest on the right. `sessions` are newest first."""
    marks = {SessionStatus.SUCCESSFUL: PASSED_MARK, SessionStatus.ERROR: FAILED_MARK}
    return Text.assemble(*(marks.get(session.status, OTHER_MARK) for session in reversed(sessions)))


def grid(*titles: str) -> Table:
    """Return an empty table with these columns and without borders."""
    return Table(*titles, box=None, header_style="dim", pad_edge=False, padding=(0, _GAP, 0, 0))


def suite_table(suites: Iterable[Suite]) -> Table:
    """Return a table of suites: key, name and identifier. The name links to the suite in Buddy."""
    table = _key_table()
    table.add_column("NAME")
    table.add_column("IDENTIFIER")
    for suite in suites:
        name = _link(_text(suite.name or UNKNOWN), suite.html_url)
        table.add_row(_text(str(suite.key)), name, _text(suite.identifier or UNKNOWN))
    return table


def print_statuses(output: Output, suites: Iterable[Suite], statuses: Sequence[Streak | BuddyError | None]) -> None:
    """Print a table of suites: whether each is red, and since which session; below it, the errors of the others."""
    now = datetime.now(UTC)
    table = _key_table()
    for title in ("STATUS", "SINCE", "AGE", "COMMIT", "AUTHOR"):
        table.add_column(title, justify="right" if title == "AGE" else "left")
    failed: list[Text] = []
    for suite, status in zip(suites, statuses, strict=True):
        key = _text(str(suite.key))
        if isinstance(status, BuddyError):
            failed.append(Text.assemble(key, (f"  {one_line(error_text(status))}", "red")))
            continue
        cells: list[Text | str] = [UNKNOWN]
        if status is not None:
            first = status.first
            state = ("red", "bold red") if first.is_failing else ("green", "green")
            cells = [
                Text.assemble(_text(first.branch or "all branches"), " is ", state),
                number_text(first) + ("" if status.before is not None else " or earlier"),
                format_age(first.create_date, now),
                _revision(first),
                _author(first),
            ]
        table.add_row(_link(key, suite.html_url), *cells)
    output.print(table)
    for line in failed:
        output.print_line(line)


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
                _link(Text(str(session.relative_id), "bold"), session.html_url),
                status_text(session),
                format_age(session.create_date, now).removesuffix(" ago"),
                _duration(session),
                Text(UNKNOWN if failing is None else str(failing), "bold red" if failing else "dim"),
                ref_text(session.ref_type, session.ref_name),
                _revision(session),
                _author(session),
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
        table.add_column("COMMIT", width=_SHORT_REVISION)
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
                _text(str(suite)),
                f"{counts.read:,}",
                f"{100 * counts.passed // counts.verdicts} %" if counts.verdicts else UNKNOWN,
                _link(status_text(latest), latest.html_url) if latest else "",
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


def _revision(session: Session) -> Text:
    return _text((session.revision or UNKNOWN)[:_SHORT_REVISION])


def _author(session: Session) -> Text:
    return _text((session.created_by and session.created_by.name) or UNKNOWN)


def _text(text: str) -> Text:
    return Text(one_line(text))


def _link(text: Text, url: str | None) -> Text:
    """Return the text as a link (OSC 8), except with NO_COLOR, or if the URL is not one of the web in plain ASCII.

    A pipe, and a terminal that does not support links, gets the text alone.
    """
    if web_url(url) and not os.environ.get("NO_COLOR"):
        text.stylize(Style(link=url))
    return text


def session_writer(output_format: str, suite: SuiteKey, *, branch: str | None) -> Callable[[Sequence[Session]], None]:
    """Return a function that prints sessions of a suite, page by page."""
    if output_format == "table":
        return SessionTable(Output(), title=f"{suite}, branch {branch}" if branch else str(suite)).write
    writer = make_writer(output_format, sys.stdout, KEYED_SESSION_COLUMNS)
    return lambda sessions: writer.write(keyed_rows(suite, sessions))
