"""Tables for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.text import Text

from .console import Output
from .result import Column, CommandResult, Item
from .text import format_age, message_of, name_text, one_line, ref_name, status_text

_GAP = 2  # characters between two columns
_MIN_CUT = 12  # to which a column is cut


def print_result(output: Output, result: CommandResult) -> None:
    """Print what a result is about, its sections, and the verdict with what it rests on."""
    _print_head(output, result)
    for section in result.sections:
        if not section.items and result.suite is not None:
            continue
        if not result.columns or len(result.sections) > 1:
            output.print_line((f"\n{one_line(section.title)}", "bold"))
        elif result.sessions:
            output.print()
        _print_items(output, result.columns, section.items)
    if result.title:
        output.print_line((f"\n{result.title}", "bold"))
    for fact in (*result.problems, *result.facts):
        output.print_line(one_line(fact))


def _print_head(output: Output, result: CommandResult) -> None:
    for session in (*result.old, *result.sessions):
        age = format_age(session.create_date, datetime.now(UTC))
        facts = f"  {age}  {one_line(ref_name(session))}"
        output.print_line(f"{one_line(str(result.suite))} #{session.relative_id}  ", status_text(session), facts)
        if session.html_url:
            output.print_line((one_line(session.html_url), "dim"))
        message = one_line(session.error_message or "")
        if message and session.is_failing and not any(message in one_line(problem) for problem in result.problems):
            output.print_line((message, "yellow"))
    if not result.sessions and result.suite is not None:
        output.print_line((one_line(", ".join(filter(None, (str(result.suite), result.about)))), "bold"))


def _print_items(output: Output, columns: Sequence[Column], items: Sequence[Item]) -> None:
    """Print a table of tests, whose names are the last column, or of suites."""
    if not any(item.key is not None for item in items):
        _print_suites(output, columns, items)
        return
    widths = _widths(columns, [item.cells for item in items], range(len(columns)))
    name_width = max(cell_len(name_text(item.key).plain) for item in items if item.key is not None)
    # The last columns are left out if the names then fit in a line; otherwise, a terminal gets them in several.
    fitting = (n for n in range(len(columns), 0, -1) if sum(widths[:n]) + _GAP * n + name_width <= output.width)
    shown = next(fitting, len(columns))
    start = sum(widths[:shown]) + _GAP * shown
    has_titles = any(column.title for column in columns)
    columns, widths = [*columns[:shown], Column("TEST" if has_titles else "", is_number=False)], [*widths[:shown], 0]
    _print_header(output, columns, widths)
    for item in items:
        room = max(_MIN_CUT, output.width - start)
        name, *others = _lines(item, room)
        name, *rest = name.wrap(output, room - _GAP) if output.is_terminal and name.cell_len > room else [name]
        _print_row(output, columns, widths, [*item.cells[:shown], name])
        for line in rest:
            output.print_line(" " * (start + _GAP), line)
        for line in others:
            output.print_line(" " * start, line)
    if any(column.title == "RECENT" for column in columns):
        output.print_line(("RECENT: ▂ passed, █ failed; the newest is on the right", "dim"))


def _print_suites(output: Output, columns: Sequence[Column], items: Sequence[Item]) -> None:
    """Print a table of suites or sessions, which the first column names, each with its remark below it."""
    rows, titles = [item.cells for item in items], [column.title for column in columns]
    shown = list(range(len(columns)))
    while True:
        kept = [columns[index] for index in shown]
        widths = _cut(kept, _widths(columns, rows, shown), output.width)
        if len(shown) == 1 or sum(widths) + _GAP * (len(widths) - 1) <= output.width:
            break
        shown.remove(max(shown, key=lambda index: (columns[index].rank, index)))
    columns = kept
    rows = [[row[index] for index in shown if index < len(row)] for row in rows]
    _print_header(output, columns, widths)
    for row, item in zip(rows, items, strict=True):
        _print_row(output, columns, widths, row)
        if item.remark:
            remark = Text(f"  {one_line(item.remark)}", "yellow")
            remark.truncate(output.width, overflow="ellipsis")
            output.print_line(remark)
    hidden = [title for index, title in enumerate(titles) if index not in shown]
    if output.is_terminal and hidden:
        output.print_line((f"left out in this width: {', '.join(hidden)}", "dim"))


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], shown: Sequence[int]) -> list[int]:
    return [
        max(cell_len(str(cell)) for cell in [columns[index].title, *(cell for row in rows for cell in row[index:][:1])])
        for index in shown
    ]


def _cut(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Return the widths of columns after those that can be cut or wrap have made room for a line of `width`."""
    fitted = list(widths)
    for index, column in reversed([*enumerate(columns)]):
        excess = max(0, sum(fitted) + _GAP * (len(fitted) - 1) - width)
        if column.can_be_cut or column.wraps:
            fitted[index] = max(min(fitted[index], _MIN_CUT), fitted[index] - excess)
    return fitted


def _print_header(output: Output, columns: Sequence[Column], widths: Sequence[int]) -> None:
    if any(column.title for column in columns):
        _print_row(output, columns, widths, [Text(column.title, "dim") for column in columns])


def _print_row(output: Output, columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str | Text]) -> None:
    """Print the cells of the columns that have a width, each cut or padded to it; with the width 0 as it is."""
    texts: list[Text] = []
    folded: list[Text] = []  # the other lines of a cell that wraps: the last one
    for column, width, cell in zip(columns, widths, cells, strict=False):
        text = cell.copy() if isinstance(cell, Text) else Text(cell)
        if column.wraps:
            text, *folded = text.wrap(output, width) or [text]
        elif width:
            text.truncate(width, overflow="ellipsis")
            text.align("right" if column.is_number else "left", width)
        texts.append(text)
    row = Text(" " * _GAP).join(texts)
    row.rstrip()
    output.print_line(row)
    indent = " " * (sum(widths) + _GAP * (len(widths) - 1) - widths[-1])
    for text in folded:
        output.print_line(indent, text)


def _lines(item: Item, width: int) -> list[Text]:
    """Return the name of a test, and below it a remark and the message of its failure, which is cut."""
    lines = [name_text(item.key)] if item.key is not None else [Text()]
    if item.remark:
        lines.append(Text(one_line(item.remark), "yellow"))
    if item.case is not None and (failure := item.case.failure) is not None:
        message = one_line(message_of(failure)) or one_line((failure.text or "").partition("\n")[0])
        lines.append(Text(message, "dim"))
        lines[-1].truncate(width, overflow="ellipsis")
    return lines
