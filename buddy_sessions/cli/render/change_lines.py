"""Prints changes of sessions, and of the status of suites, as they happen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from rich.text import Text

from buddy_sessions import Change, StatusChange, TestCase, to_dict
from buddy_sessions._export.session_rows import KEYED_SESSION_COLUMNS, case_row, keyed_rows
from buddy_sessions.analysis.completeness import count_failing

from .console import Output
from .rows import make_writer
from .styled import author_text, name_text, number_text, outcome_text, revision_text, status_text
from .text import UNKNOWN, one_line, session_duration

_STATUS_WIDTH = len("✔ running")
_GAP = Text("  ")
_INDENT = " " * len("12:30:00  ")
_MAX_TESTS = 20  # printed tests of one kind


def change_printer(output_format: str, *, status: bool) -> Callable[[Change | StatusChange], None]:
    """Return a function that prints a change: of sessions, or with `status` of the status of suites."""
    if output_format == "table":
        return partial(_print, Output())
    fields = ("since", "since_date", "newly_failing", "no_longer_failing") if status else ()
    writer = make_writer(output_format, sys.stdout, ("kind", *KEYED_SESSION_COLUMNS, *fields))

    def write(change: Change | StatusChange) -> None:
        previous = None if change.previous is None else to_dict(change.previous)
        (row,) = keyed_rows(change.suite, [change.session])
        rows: dict[str, object] = {name: list(map(case_row, cases)) for name, cases in _tests(change).items()}
        if isinstance(change, StatusChange):
            rows["since"], rows["since_date"] = change.since.relative_id, to_dict(change.since)["create_date"]
        writer.write([{"key": row["key"], "kind": change.kind.value, **row, "previous": previous, **rows}])

    return write


def _tests(change: Change | StatusChange) -> dict[str, Sequence[TestCase]]:
    """Return the tests of a change of the status, by the name of their field."""
    if not isinstance(change, StatusChange):
        return {}
    return {"newly_failing": change.newly_failing, "no_longer_failing": change.no_longer_failing}


def _print(output: Output, change: Change | StatusChange) -> None:
    """Print a change, and below it its commit and author if a status has changed, and the tests."""
    session = change.session
    status = status_text(session)
    status.pad_right(max(0, _STATUS_WIDTH - len(status)))
    time = Text(f"{datetime.now().astimezone():%H:%M:%S}", "dim")
    width = len("still failing") if isinstance(change, StatusChange) else len("finished")
    kind = change.kind.lower().replace("_", " ").ljust(width)
    duration = session_duration(session)
    failed = f", {count:,} failed" if (count := count_failing(session)) else ""
    suite = Text.assemble(f"{one_line(str(change.suite))} ", number_text(session))
    result = f"{one_line(session.ref_name or UNKNOWN)}{duration and f'  {duration}'}{failed}"
    output.print_line(_GAP.join([time, Text(kind), status, suite, Text(result)]))
    origin = [text for text in (revision_text(session), author_text(session)) if text.plain != UNKNOWN]
    if isinstance(change, StatusChange) and change.previous is not None and origin:
        output.print_line(_INDENT, _GAP.join(origin))
    for name, cases in _tests(change).items():
        for case in cases[:_MAX_TESTS]:
            outcome = Text("no longer failing", "dim") if name == "no_longer_failing" else outcome_text(case.status)
            output.print_line(_INDENT, _GAP.join([outcome, name_text(case.key)]))
        if len(cases) > _MAX_TESTS:
            output.print_line(_INDENT, Text(f"and {len(cases) - _MAX_TESTS:,} more", "dim"))
