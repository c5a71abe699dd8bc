"""Prints the result of a command, or sessions page by page, in the format that its options name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from buddy_sessions import Session, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_rows import KEYED_SESSION_COLUMNS, keyed_rows, use_utf8

from ..errors import name_options
from .console import Output
from .files import render_files
from .github import render_github
from .junit import render_junit
from .markdown import render_markdown
from .pytest_ids import render_node_ids
from .result import Result
from .rows import make_writer, write_rows, write_text
from .table import SessionTable, print_result
from .text import one_line, session_facts, web_url

_CLOSED_PIPE = suppress(BrokenPipeError)
"""Ends printing: the exit code does not depend on what the reader of a pipe does."""


def session_printer(output_format: str, suite: SuiteKey, *, branch: str | None) -> Callable[[Sequence[Session]], None]:
    """Return a function that prints sessions of a suite, page by page."""
    if output_format == "table":
        return SessionTable(Output(), title=f"{suite}, branch {branch}" if branch else str(suite)).write
    writer = make_writer(output_format, sys.stdout, KEYED_SESSION_COLUMNS)
    return lambda sessions: writer.write(keyed_rows(suite, sessions))


def show_sessions(
    sessions: Sequence[Session], output_format: str | None, suite: SuiteKey, *, branch: str | None
) -> None:
    """Print sessions of a suite (default: a table on a terminal, otherwise one line each)."""
    with _CLOSED_PIPE:
        if output_format is not None or sys.stdout.isatty():
            session_printer(output_format or "table", suite, branch=branch)(sessions)
            return
        for session in sessions:
            facts = [*session_facts(session), web_url(session.html_url)]
            Output().print_line(one_line(f"{suite} {', '.join(filter(None, facts))}"))


def show(
    result: Result,
    output_format: str,
    messages: Output,
    *,
    limit: int | None = None,
    max_bytes: int = 0,
    is_gate: bool = False,
) -> None:
    """Print a result to stdout with at most `limit` items, then what `messages` says about it.

    The Markdown of a gate goes to a file, so its verdict is among the messages.
    """
    is_for_people = output_format in {"table", "markdown"}
    limited = result.limited(result.reader_limit if limit is None and is_for_people else limit)
    for warning in result.warnings:
        messages.print_warning(name_options(warning))
    with _CLOSED_PIPE:
        _write(limited, output_format, max_bytes, messages)
    if (hidden := len(result.items) - len(limited.items)) and is_for_people:
        messages.print_note(f"for the other {format_count(hidden, result.noun)} add --limit N")
    for note in result.notes:
        messages.print_note(name_options(note))
    if is_gate and output_format == "markdown":
        verdict = {True: "red", False: "green", None: "no verdict"}[result.is_red]
        messages.print_note(f"{verdict}: {result.title}")


def _write(result: Result, output_format: str, max_bytes: int, messages: Output) -> None:
    """Write a result to stdout, and to `messages` what the format leaves out."""
    if output_format == "table":
        print_result(Output(), result)
    elif output_format == "markdown":
        use_utf8(sys.stdout)
        sys.stdout.write(render_markdown(result, max_bytes=max_bytes))
        sys.stdout.flush()
    elif output_format == "junit":
        write_text(render_junit(result))
    elif output_format == "github":
        write_text(render_github(result))
    elif output_format == "pytest":
        write_text(render_node_ids(result, messages))
    elif output_format == "files":
        write_text(render_files(result, messages))
    else:
        write_rows(output_format, result)
