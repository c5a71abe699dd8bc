"""How the command line shows what it reads: a table for a person, JSON lines or CSV for a program.

Everything here writes as it goes and keeps nothing. What a server sends may hold anything, escape sequences among it:
no text of its reaches a terminal but through `escape`.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Any, Literal, NamedTuple, NoReturn, Protocol, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from buddy_sessions import RefType, Session, SessionStatus, Suite, SuiteKey, to_json

Format = Literal["table", "jsonl", "csv"]
DataFormat = Literal["jsonl", "csv"]

_STATUSES = {
    SessionStatus.SUCCESSFUL: ("✔", "passed", "green"),
    SessionStatus.ERROR: ("✘", "failed", "bold red"),
    SessionStatus.SKIPPED: ("○", "skipped", "yellow"),
    SessionStatus.IN_PROGRESS: ("◌", "running", "cyan"),
}
_REF_MARKS = {RefType.TAG: "tag ", RefType.PULL_REQUEST: "PR "}
_NOTHING = "-"
_GAP = 2  # places between two columns
_RECENT = 12  # marks of a sparkline
_AGES = (
    (60, "s", 1),
    (3600, "min", 60),
    (48 * 3600, "h", 3600),
    (60 * 86_400, "d", 86_400),
    (730 * 86_400, "mo", 2_629_800),
)
_YEAR = 31_557_600  # seconds


class Output(Console):
    """A rich console that takes every text as it is, and lets a closed pipe be an error like any other."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if isinstance(self.file, TextIOWrapper):  # a sign that the terminal's encoding lacks is no reason to fail
            self.file.reconfigure(errors="replace")

    def on_broken_pipe(self) -> NoReturn:
        """Raise; rich itself would exit here."""
        raise BrokenPipeError

    def say(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print texts, or pairs of a text and its style, as one line that is not wrapped."""
        self.print(Text.assemble(*parts), soft_wrap=True)

    @contextmanager
    def progress(self, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
        """Return a function that shows what is going on, on one line that is gone at the end; only on a terminal."""
        if not (shown and self.is_terminal):
            yield lambda _: None
            return
        with self.status("reading…") as spinner:
            yield lambda text: spinner.update(self._fitted(text))

    def _fitted(self, text: str) -> Text:
        fitted = Text(text)
        fitted.truncate(self.width - _GAP, overflow="ellipsis")  # the spinner takes two places
        return fitted

    @contextmanager
    def logs(self, *, debug: bool) -> Iterator[None]:
        """Print what the library logs: its warnings, and each request too if `debug`."""
        logger = logging.getLogger("buddy_sessions")
        handler, level = _LogHandler(self), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if debug else logging.WARNING)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _LogHandler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.say((one_line(record.getMessage()), "yellow" if record.levelno > logging.DEBUG else "dim"))


class Writer(Protocol):
    """Writes sessions to stdout, as they come."""

    def write(self, models: Iterable[Session]) -> None:
        """Write them, the first time with whatever belongs above them, and flush."""


class SuiteWriter(Protocol):
    """Writes the sessions of several suites, as they come."""

    def write(self, models: Sequence[Session], suite: SuiteKey) -> None:
        """Write some sessions of a suite, and flush."""


class JsonLines:
    """One JSON object a line: exactly what `to_json` returns, after the names of the suite where there are several."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = _for_data(stream)
        self._safe = _safe(stream)

    def write(self, models: Iterable[Session | Suite], suite: SuiteKey | None = None) -> None:
        """Write one line for each."""
        for model in models:
            self._stream.write(self._safe(json.dumps(_fields(model, suite), ensure_ascii=False)) + "\n")
        self._stream.flush()


class Csv:
    """CSV as RFC 4180 has it: a row of the API's names first. Null is empty; an object is JSON."""

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        self._stream = _for_data(stream)
        self._safe = _safe(stream)
        self._rows = csv.writer(stream)
        self._columns = columns
        self._begun = False

    def write(self, models: Iterable[Session | Suite], suite: SuiteKey | None = None) -> None:
        """Write one row for each, and the head before the first."""
        if not self._begun:
            self._begun = True
            self._rows.writerow(self._columns)
        for model in models:
            fields = _fields(model, suite)
            self._rows.writerow([self._cell(fields[name]) for name in self._columns])
        self._stream.flush()

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        return self._safe(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


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
            self._output.print(Text(one_line(self._title), "bold"))
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
    table = _grid()
    table.add_column("KEY", overflow="fold")  # to be copied, so never cut
    table.add_column("NAME")
    table.add_column("IDENTIFIER")
    for suite in suites:
        table.add_row(*(_text(str(text or _NOTHING)) for text in (suite.key, suite.name, suite.identifier)))
    return table


class WalkRow(NamedTuple):
    """A suite that was read: what the walk brought and cost, and what had come since when it was asked again."""

    suite: SuiteKey
    requests: int
    read: Sequence[Session]
    new: Sequence[Session]


def walk_table(rows: Iterable[WalkRow], *, now: datetime) -> Table:
    """Return a table with one row for each suite that was read."""
    table = _grid()
    for title in ("SUITE", "READ", "REQS", "NEW", "PASS", "LATEST", "AGE", "RECENT"):
        table.add_column(title, justify="left" if title in {"SUITE", "LATEST", "RECENT"} else "right", no_wrap=True)
    for suite, requests, read, new in rows:
        sessions = [*new, *read]
        ended = [session.status for session in sessions if session.finished]
        rate = _share(ended.count(SessionStatus.SUCCESSFUL), len(ended))
        numbers = (Text(text) for text in (str(len(read)), str(requests), str(len(new)), rate))
        recent = sparkline(sessions[:_RECENT])
        table.add_row(_text(f"{suite.project}/{suite.suite_id}"), *numbers, *_latest(sessions, now), recent)
    return table


class SuiteSummary:
    """What was read of each suite, for a person: counts and the newest sessions are kept, and of few suites only."""

    MOST = 50
    """More suites than this make no table that a person reads."""

    def __init__(self) -> None:
        self._tallies: dict[SuiteKey, _Tally] = {}
        self._too_many = False

    def write(self, models: Sequence[Session], suite: SuiteKey) -> None:
        """Take note of sessions of a suite, which come newest first."""
        if self._too_many:
            return
        self._tallies.setdefault(suite, _Tally()).add(models)
        if len(self._tallies) > self.MOST:
            self._too_many = True
            self._tallies.clear()

    def table(self, *, without: Container[SuiteKey], now: datetime) -> Table | None:
        """Return a table with one row for each suite, sorted; None where there is none, or where there are too many."""
        rows = [(suite, tally) for suite, tally in sorted(self._tallies.items()) if suite not in without]
        if not rows:
            return None
        table = _grid()
        table.add_column("KEY", overflow="fold")  # to be copied, so never cut
        for title in ("READ", "PASS", "LATEST", "AGE", "RECENT"):
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


def session_columns() -> tuple[str, ...]:
    """Return the names of a session's fields."""
    return tuple(to_json(Session(id="", relative_id=1, status=SessionStatus.SKIPPED)))


def harvest_columns() -> tuple[str, ...]:
    """Return the names of a suite's key, and those of a session's fields."""
    return (*SuiteKey._fields, *session_columns())


def suite_columns() -> tuple[str, ...]:
    """Return the names of a suite's fields."""
    return tuple(to_json(Suite(key=SuiteKey("", "", ""), id="")))


def escape(text: str) -> str:
    """Return `text` with all that is no visible character escaped, as JSON does it."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


def one_line(text: str) -> str:
    """Return `text` on one line, escaped."""
    return escape(" ".join(text.split()))


def count(number: int, thing: str) -> str:
    """Return how many there are: `1 request`, `1,300 requests`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was: `3 h ago`. One that is yet to come counts as now: clocks differ."""
    if moment is None:
        return _NOTHING
    seconds = max(0, int((now - moment).total_seconds()))
    for limit, unit, size in _AGES:
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
    return f"{seconds // _YEAR} y ago"


def length(seconds: float | None) -> str:
    """Return a duration: `0.4s`, `42s`, `3m05s`, `2h07m`, `3d04h`."""
    if seconds is None:
        return _NOTHING
    if 0 < seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, part, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{small}"
    return f"{whole}s"


def status(session: Session) -> Text:
    """Return a session's status as a symbol and a word, in its colour."""
    symbol, word, style = _STATUSES.get(session.status) or ("?", one_line(session.status).lower(), "magenta")
    return Text(f"{symbol} {word}", style)


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


_BRANCH = _Column("BRANCH", 17, "left", lambda session, _: _ref(session))
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
    _Column("COMMIT", 7, "left", lambda session, _: _text((session.revision or _NOTHING)[:7])),
    _Column(
        "AUTHOR", 16, "left", lambda session, _: _text((session.created_by and session.created_by.name) or _NOTHING)
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
    return Text(_NOTHING if number is None else str(number), style if number else "dim")


def _ref(session: Session) -> Text:
    mark = _REF_MARKS.get(session.ref_type, "") if session.ref_type else ""
    return Text.assemble((mark, "dim"), _text(session.ref_name or _NOTHING))


def _latest(sessions: Sequence[Session], now: datetime) -> tuple[Text, Text]:
    """Return the status and the age of the first."""
    return (status(sessions[0]), Text(age(sessions[0].create_date, now))) if sessions else (Text(), Text())


def _share(passed: int, ended: int) -> str:
    return f"{100 * passed // ended} %" if ended else _NOTHING


def _fields(model: Session | Suite, suite: SuiteKey | None) -> dict[str, Any]:
    return to_json(model) if suite is None else {**suite._asdict(), **to_json(model)}


def _text(text: str) -> Text:
    return Text(one_line(text))


def _grid() -> Table:
    return Table(box=None, header_style="dim", pad_edge=False, padding=(0, _GAP, 0, 0))


def _safe(stream: TextIO) -> Callable[[str], str]:
    """Return what makes a text fit for a stream: a file or a pipe gets it as it is, a terminal escaped."""
    return escape if stream.isatty() else str


def _for_data(stream: TextIO) -> TextIO:
    """Return the stream, set to UTF-8 wherever it runs, with line ends as they are written.

    Half a surrogate pair, which JSON can hold and UTF-8 cannot, is written as its JSON escape.
    """
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    return stream
