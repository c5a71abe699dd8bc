"""Prints results and rows in each format, as tables for people, or writes them to files."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from attrs import frozen
from rich.cells import cell_len
from rich.text import Text

from buddy_sessions import ConfigError, Session, SuiteKey, TestKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import (
    KEYED_SESSION_COLUMNS,
    Csv,
    JsonLines,
    RowWriter,
    format_of,
    open_file,
    suite_names,
    use_utf8,
)

from ..errors import describe_os_error
from ..values import explain_errors
from .console import Output
from .markdown import render_markdown
from .result import Column, CommandResult, Item
from .runners import render_arguments, render_github, render_junit
from .text import (
    author_name,
    cut,
    escape,
    format_age,
    name_text,
    one_line,
    ref_name,
    revision_text,
    status_text,
    summary_of,
)

KEYED_TEST_COLUMNS = (*SuiteKey._fields, "test_group_name", "classname", "name", "branch", "oldest", "newest")
"""What names a test across sessions, and the sessions that were looked at."""

FOR_PEOPLE = ("table", "markdown")  # the formats that are read, not parsed
_WRITTEN_FORMATS = ("markdown", "json", "jsonl", "junit", "github")
_GAP = 2  # characters between two columns of a table
_INDENT = " " * _GAP  # of the lines that continue a text
_MIN_CUT, _MIN_WRAPPED = 8, 30  # to which a column is cut, or wrapped
_MAX_MESSAGE = 400  # characters below a test, also if the width is larger
_CLOSED_PIPE = suppress(BrokenPipeError)
"""Ends printing: the exit code does not depend on what the reader of a pipe does."""


def write_text(text: str) -> None:
    """Write a text to stdout, in the same bytes on every system. On a terminal, control characters are escaped."""
    use_utf8(sys.stdout)
    if sys.stdout.isatty():
        sys.stdout.writelines(f"{escape(line)}\n" for line in text.split("\n")[:-1])
    else:
        sys.stdout.write(text)  # not line by line: it may be long
    sys.stdout.flush()


def choose_format(requested: str | None) -> str:
    """Return the format to print: without --format, table on a terminal, otherwise jsonl."""
    return requested or ("table" if sys.stdout.isatty() else "jsonl")


def default_limit(requested: str | None) -> int | None:
    """Return how many items a long list has without --limit; None for all."""
    return 50 if choose_format(requested) in FOR_PEOPLE else None


@contextmanager
def open_output(
    requested: str | None, out: Path | None, columns: Sequence[str] = KEYED_SESSION_COLUMNS, *, source: str | None
) -> Iterator[RowWriter]:
    """Open a new file of rows, which replaces `out` if it is finished; if `out` is None, stdout, jsonl by default."""
    if out is None:
        yield make_writer(requested or "jsonl", sys.stdout, columns)
    elif requested not in {None, format_of(out)}:
        raise ConfigError(f"the format {requested} contradicts --out {out.name}: leave out one of them")
    else:
        with explain_errors(out, open_file(out, columns, source=source)) as writer:
            yield writer


def make_writer(text_format: str, stream: TextIO, columns: Sequence[str] = ()) -> RowWriter:
    """Return a writer of csv, or else of jsonl. `columns` are those of CSV; JSON lines have every field of a row."""
    escape_text = escape if stream.isatty() else None
    return Csv(stream, columns, escape_text) if text_format == "csv" else JsonLines(stream, escape_text)


def keyed_test_row(suite: SuiteKey, test: TestKey, branch: str | None, sessions: Sequence[Session]) -> dict[str, Any]:
    """Return what names a test, and the sessions that were looked at: of a branch, or of all."""
    ends = sessions[0].relative_id, sessions[-1].relative_id
    values = (*suite, test.group, test.classname, test.name, branch, *ends)
    return {**suite_names(suite), **dict(zip(KEYED_TEST_COLUMNS, values, strict=True))}


def show(
    result: CommandResult, requested: str | None, messages: Output, *, limit: int | None = None, max_bytes: int = 0
) -> None:
    """Print a result to stdout with at most `limit` items, then what `messages` says about it."""
    output_format, limited = choose_format(requested), result.limited(limit)
    for warning in result.warnings:
        messages.print_warning(warning)
    with _CLOSED_PIPE:
        if output_format == "table":
            print_result(Output(), limited)
        elif output_format in {"json", "jsonl", "csv"}:
            rows = [limited.verdict] if output_format == "json" else limited.rows
            make_writer(output_format, sys.stdout, result.csv_columns).write(rows)
        else:
            write_text(_render(limited, output_format, messages, max_bytes=max_bytes))
    if (hidden := len(result.items) - len(limited.items)) and output_format in FOR_PEOPLE:
        messages.print_note(f"for the other {format_count(hidden, 'row')} add --limit N")


@frozen
class Destination:
    """A format and the file that gets it; None for stdout."""

    format: str
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Return the format and the file of `FORMAT=FILE`. Raises ConfigError for another format, or no such folder."""
        name, _, file = text.partition("=")
        if name not in _WRITTEN_FORMATS:
            raise ConfigError(f"pass FORMAT=FILE with {', '.join(_WRITTEN_FORMATS)}, not {text!r}")
        path = Path(file)
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigError(f"cannot write {file!r}: name a file in a folder that exists")
        return cls(name, None if file == "-" else path)

    def write(self, result: CommandResult, messages: Output, *, max_bytes: int) -> None:
        """Write a result. A file that cannot be written is a warning, because it does not change the verdict."""
        text = _render(result, self.format, messages, max_bytes=max_bytes)
        if self.path is None:
            with _CLOSED_PIPE:
                write_text(text)
            return
        try:
            self.path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            messages.print_warning(f"cannot write {describe_os_error(error, self.path)}")


def _render(result: CommandResult, output_format: str, messages: Output, *, max_bytes: int) -> str:
    if output_format == "markdown":
        return render_markdown(result, max_bytes=max_bytes)
    if output_format == "junit":
        return render_junit(result)
    if output_format == "github":
        return render_github(result)
    if output_format in {"pytest", "files"}:
        return render_arguments(result, messages, for_pytest=output_format == "pytest")
    stream = io.StringIO()
    make_writer("jsonl", stream).write([result.verdict] if output_format == "json" else result.rows)
    return stream.getvalue()


def print_result(output: Output, result: CommandResult) -> None:
    """Print what a result is about, its sections, and the verdict with what it rests on."""
    _print_head(output, result)
    for section in result.sections:
        if not section.items and result.suite is not None:
            continue
        if not result.columns or len(result.sections) > 1:
            output.print()
            output.print_message((one_line(section.title), "bold"), indent=_INDENT)
        elif result.sessions:
            output.print()
        _print_items(output, result.columns, section.items)
    if result.title:
        output.print()
        output.print_message((one_line(result.title), "bold"), indent=_INDENT)
    for fact in (*result.problems, *result.facts, *result.advice):
        output.print_message(one_line(fact), indent=_INDENT)


def _print_head(output: Output, result: CommandResult) -> None:
    for session in (*result.old, *result.sessions):
        facts = (
            format_age(session.create_date, datetime.now(UTC)),
            one_line(ref_name(session)),
            revision_text(session).plain if session.revision else "",
            one_line(author_name(session)),
        )
        name = f"{one_line(str(result.suite))} #{session.relative_id}"
        more = "".join(f"  {each}" for each in facts if each)
        output.print_message(f"{name}  ", status_text(session), more, indent=_INDENT)
        if session.html_url:
            output.print_line((one_line(session.html_url), "dim"))
        message = one_line(session.error_message or "")
        said = map(one_line, (*result.problems, *result.facts))
        if message and session.is_failing and not any(message in text for text in said):
            output.print_message((message, "yellow"), indent=_INDENT)
    if not result.sessions and result.suite is not None:
        about = ", ".join(filter(None, (str(result.suite), result.about)))
        output.print_message((one_line(about), "bold"), indent=_INDENT)


def _print_items(output: Output, columns: Sequence[Column], items: Sequence[Item]) -> None:
    """Print a table of tests, whose names are the last column, or of suites or sessions, which the first one names."""
    rows = [[*item.cells, *([] if item.key is None else [name_text(item.key)])] for item in items]
    has_names = any(item.key is not None for item in items)
    if has_names:
        title = "TEST" if any(column.title for column in columns) else ""
        columns = [*columns, Column(title, is_number=False, wraps=True)]
    titles: list[str | Text] = [Text(column.title, "dim") for column in columns]
    shown, widths = _fit(columns, [titles, *rows], output.width)
    kept = [columns[index] for index in shown]
    indent = sum(widths[:-1]) + _GAP * (len(widths) - 1) if has_names else _GAP
    for row, item in zip([titles, *rows], [Item(None), *items], strict=True):
        if row is not titles or any(column.title for column in kept):
            cells = [row[index] for index in shown if index < len(row)]
            _print_row(output, kept, widths, cells)
        for line in _lines_below(item, output, output.width - indent):
            line.rstrip()
            output.print_line(" " * indent, line)
    if hidden := [column.title for index, column in enumerate(columns) if index not in shown and column.title]:
        output.print_message((f"left out in this width: {', '.join(hidden)}", "dim"))


def _fit(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int) -> tuple[list[int], list[int]]:
    """Return the numbers of the columns that fit in a line, and their widths. The first row has the titles."""
    widest = [max(cell_len(str(cell)) for cell in cells) for cells in zip_longest(*rows, fillvalue="")]
    shown = list(range(len(columns)))
    while True:
        widths = _cut([columns[index] for index in shown], [widest[index] for index in shown], width)
        if len(shown) == 1 or sum(widths) + _GAP * (len(widths) - 1) <= width:
            return shown, widths
        shown.remove(max(shown, key=lambda index: (not columns[index].wraps, columns[index].rank, index)))


def _cut(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Return the widths of columns for a line of `width`: of those that can be cut or wrap, the widest is cut first.

    While some have a rank, which means that they can be left out, only these are cut.
    """
    is_ranked = any(each.rank for each in columns)
    least = {
        index: _MIN_WRAPPED if each.wraps else _MIN_CUT
        for index, each in enumerate(columns)
        if each.wraps or (each.can_be_cut and (each.rank or not is_ranked))
    }
    fitted = list(widths)
    for _ in range(sum(fitted) + _GAP * (len(fitted) - 1) - width):
        if wide := [index for index in least if fitted[index] > least[index]]:
            fitted[max(wide, key=fitted.__getitem__)] -= 1
    return fitted


def _print_row(output: Output, columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str | Text]) -> None:
    """Print cells, each cut or padded to the width of its column. One that wraps, the last one, may have more lines."""
    texts: list[Text] = []
    more: list[Text] = []
    for column, width, cell in zip(columns, widths, cells, strict=False):
        text = cell.copy() if isinstance(cell, Text) else Text(cell)
        if column.wraps:  # all lines but the first one are indented
            text, *more = text.wrap(output, width if text.cell_len <= width else width - _GAP) or [text]
        else:
            text.truncate(width, overflow="ellipsis")
            text.align("right" if column.is_number else "left", width)
        texts.append(text)
    row = Text(" " * _GAP).join(texts)
    row.rstrip()
    output.print_line(row)
    for text in more:
        output.print_line(" " * (sum(widths[:-1]) + _GAP * len(widths)), text)


def _lines_below(item: Item, output: Output, width: int) -> Iterator[Text]:
    """Yield the remark about an item, and the message of a test's failure, which is cut."""
    if item.remark:
        yield from Text(one_line(item.remark), "yellow").wrap(output, width)
    if item.case is not None and (failure := item.case.failure) is not None:
        yield from Text(cut(summary_of(failure), min(2 * width, _MAX_MESSAGE)), "dim").wrap(output, width)
