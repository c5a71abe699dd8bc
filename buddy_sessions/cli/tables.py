"""Tables for a person: sessions as they come, suites, and what was read of each suite."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from rich.table import Table
from rich.text import Text

from buddy_sessions import RefType, Session, SessionStatus, Suite, SuiteKey

from .output import NOTHING, Output, age, length, one_line

_STATUSES = {
    SessionStatus.SUCCESSFUL: ("✔", "passed", "green"),
    SessionStatus.ERROR: ("✘", "failed", "bold red"),
    SessionStatus.SKIPPED: ("○", "skipped", "yellow"),
    SessionStatus.IN_PROGRESS: ("◌", "running", "cyan"),
}
_REF_MARKS = {RefType.TAG: "tag ", RefType.PULL_REQUEST: "PR "}
_GAP = 2  # places between two columns
_RECENT, _LONG_RECENT = 12, 30  # marks of a sparkline, beside other columns and alone


class SessionTable:
    """A table whose columns are as wide as the terminal allows, fixed by the first page: so it can be of any length."""

    def __init__(self, output: Output, *, title: str) -> None:
        self._output = output
        self._title = title
        self._columns: Sequence[_Column] = ()

    def write(self, models: Iterable[Session]) -> None:
        """Print a row for each, and the title and the columns' heads before the first."""
        sessions, now = tuple(models), datetime.now(UTC)
        if self._title:
            title = Text(one_line(self._title), "bold")
            room = min(self._output.width - title.cell_len - _GAP, _LONG_RECENT)
            if sessions and room > 0:
                title = Text.assemble(title, " " * _GAP, sparkline(sessions[:room]))
            self._output.print(title)
            self._title = ""
        if not sessions:
            return
        if not self._columns:
            self._columns = _columns(self._output.width, digits=len(str(sessions[0].relative_id)))
            self._output.say(self._row(Text(column.title, "dim") for column in self._columns))
        rows = (self._row(column.cell(session, now) for column in self._columns) for session in sessions)
        self._output.say(Text("\n").join(rows))

    def _row(self, cells: Iterable[Text]) -> Text:
        fitted: list[Text] = []
        for cell, column in zip(cells, self._columns, strict=True):
            cell.truncate(column.width, overflow="ellipsis")
            cell.align(column.justify, column.width)
            fitted.append(cell)
        row = Text(" " * _GAP).join(fitted)
        row.rstrip()
        return row


def suite_table(suites: Iterable[Suite]) -> Table:
    """Return a table of suites: each with the key that `list` takes."""
    table = grid()
    table.add_column("KEY", overflow="fold")  # to be copied, so never cut
    table.add_column("NAME")
    table.add_column("IDENTIFIER")
    for suite in suites:
        table.add_row(*(_text(str(text or NOTHING)) for text in (suite.key, suite.name, suite.identifier)))
    return table


class SuiteSummary:
    """What was read of each suite, for a person: counts and the newest sessions are kept, and of few suites only.

    Args:
        news: Whether only what is new is read, so that suites without any are left out.
    """

    MOST = 50
    """More suites than this make no table that a person reads."""

    def __init__(self, *, news: bool = False) -> None:
        self._news = news
        self._tallies: dict[SuiteKey, _Tally] = {}
        self._too_many = False

    def write(self, models: Sequence[Session], suite: SuiteKey) -> None:
        """Take note of sessions of a suite, which come newest first."""
        if self._too_many or (self._news and not models):
            return
        self._tallies.setdefault(suite, _Tally()).add(models)
        if len(self._tallies) > self.MOST:
            self._too_many = True
            self._tallies.clear()

    def finish(self) -> None:
        """Do nothing: a summary is for `print_to`."""

    def print_to(self, output: Output, *, without: Container[SuiteKey] = ()) -> None:
        """Print the table, if there is one."""
        table = self.table(without=without, now=datetime.now(UTC))
        if table is not None:
            output.print(table)

    def table(self, *, without: Container[SuiteKey], now: datetime) -> Table | None:
        """Return a table with one row for each suite, sorted; None where there is none, or where there are too many."""
        rows = [(suite, tally) for suite, tally in sorted(self._tallies.items()) if suite not in without]
        if not rows:
            return None
        table = grid()
        table.add_column("KEY", overflow="fold")  # to be copied, so never cut
        for title in ("NEW" if self._news else "READ", "PASS", "LATEST", "AGE", "RECENT"):
            table.add_column(title, justify="left" if title in {"LATEST", "RECENT"} else "right", no_wrap=True)
        for suite, tally in rows:
            numbers = Text(f"{tally.read:,}"), Text(_share(tally.passed, tally.ended))
            table.add_row(_text(str(suite)), *numbers, *_latest(tally.newest, now), sparkline(tally.newest))
        return table


@dataclass
class _Tally:
    read: int = 0
    ended: int = 0
    passed: int = 0
    newest: list[Session] = field(default_factory=list[Session])

    def add(self, sessions: Sequence[Session]) -> None:
        ended = [session.status for session in sessions if session.finished]
        self.read += len(sessions)
        self.ended += len(ended)
        self.passed += ended.count(SessionStatus.SUCCESSFUL)
        self.newest += sessions[: _RECENT - len(self.newest)]


def status(session: Session) -> Text:
    """Return a session's status as a symbol and a word, in its colour."""
    symbol, word, style = _STATUSES.get(session.status) or ("?", one_line(session.status).lower(), "magenta")
    return Text(f"{symbol} {word}", style)


def ref(kind: RefType | None, name: str | None) -> Text:
    """Return a branch's name; that of anything else after the word for what it is."""
    return Text.assemble((_REF_MARKS.get(kind, "") if kind else "", "dim"), _text(name or NOTHING))


def sparkline(sessions: Sequence[Session]) -> Text:
    """Return how sessions ended, one mark each, the newest at the right: low is passed, high is failed."""
    marks = {SessionStatus.SUCCESSFUL: "▂", SessionStatus.ERROR: "█"}
    pairs = ((marks.get(session.status, "·"), _STATUSES.get(session.status, ("", "", ""))[2]) for session in sessions)
    return Text.assemble(*reversed(list(pairs)))


class _Column(NamedTuple):
    title: str
    width: int
    justify: Literal["left", "right"]
    cell: Callable[[Session, datetime], Text]


_BRANCH = _Column("BRANCH", 17, "left", lambda session, _: ref(session.ref_type, session.ref_name))
_COLUMNS = (
    _Column("#", 1, "right", lambda session, _: Text(str(session.relative_id), "bold")),
    _Column("STATUS", 9, "left", lambda session, _: status(session)),
    _Column("AGE", 10, "right", lambda session, now: Text(age(session.create_date, now))),
    _Column("TIME", 6, "right", lambda session, _: Text(_duration(session))),
    _Column("PASS", 5, "right", lambda session, _: _number(session.passed_count, "green")),
    _Column("FAIL", 4, "right", lambda session, _: _number(session.failed_count, "bold red")),
    _Column("SKIP", 4, "right", lambda session, _: _number(session.skipped_count, "yellow")),
    _Column("ERR", 3, "right", lambda session, _: _number(session.error_count, "bold red")),
    _BRANCH,
    _Column("COMMIT", 7, "left", lambda session, _: _text((session.revision or NOTHING)[:7])),
    _Column(
        "AUTHOR", 16, "left", lambda session, _: _text((session.created_by and session.created_by.name) or NOTHING)
    ),
    _Column("MESSAGE", 30, "left", lambda session, _: _text(session.error_message or "")),
)
_WANTED = ("#", "STATUS", "BRANCH", "AGE", "FAIL", "PASS", "TIME", "SKIP", "ERR", "COMMIT", "AUTHOR", "MESSAGE")
"""The columns that are given room, the most needed first: the first nine fit in 80 places."""
_LONGEST_BRANCH = 40


def _columns(width: int, *, digits: int) -> list[_Column]:
    """Return the columns that fit in `width`, the first of them `digits` wide, and the branch in what is left."""
    columns = {column.title: column for column in _COLUMNS}
    columns["#"] = columns["#"]._replace(width=digits)
    chosen, left = set[str](), width + _GAP  # the last one needs no gap
    for title in _WANTED:
        room = columns[title].width + _GAP
        if room > left:
            break
        chosen.add(title)
        left -= room
    columns["BRANCH"] = _BRANCH._replace(width=min(_BRANCH.width + left, _LONGEST_BRANCH))
    return [column for title, column in columns.items() if title in chosen]


def _duration(session: Session) -> str:
    # Buddy says 0 for as long as a session runs.
    return length(session.duration if session.finished or session.duration else None)


def _number(number: int | None, style: str) -> Text:
    return Text(NOTHING if number is None else str(number), style if number else "dim")


def _latest(sessions: Sequence[Session], now: datetime) -> tuple[Text, Text]:
    """Return the status and the age of the first."""
    return (status(sessions[0]), Text(age(sessions[0].create_date, now))) if sessions else (Text(), Text())


def _share(passed: int, ended: int) -> str:
    return f"{100 * passed // ended} %" if ended else NOTHING


def _text(text: str) -> Text:
    return Text(one_line(text))


def grid(*titles: str) -> Table:
    """Return a table with columns of these titles, and no lines."""
    return Table(*titles, box=None, header_style="dim", pad_edge=False, padding=(0, _GAP, 0, 0))
