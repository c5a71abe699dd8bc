"""Prints the result of a command, or sessions page by page, and writes results to files: `--write FORMAT=FILE`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from buddy_sessions import ConfigError, Session, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_rows import KEYED_SESSION_COLUMNS, keyed_rows

from ..errors import describe_os_error, name_options
from .checkout import render_files, render_github, render_node_ids
from .console import Output
from .junit import render_junit
from .markdown import render_markdown
from .result import Result
from .rows import make_writer, write_text
from .table import SessionTable, print_result
from .text import one_line, session_facts, web_url

_WRITTEN_FORMATS = ("markdown", "jsonl", "junit", "github")
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
    says_verdict: bool = False,
) -> None:
    """Print a result to stdout with at most `limit` items, then what `messages` says about it.

    The Markdown of a gate goes to a file, so its verdict is among the messages.
    """
    is_for_people = output_format in {"table", "markdown"}
    limited = result.limited(result.reader_limit if limit is None and is_for_people else limit)
    for warning in result.warnings:
        messages.print_warning(name_options(warning))
    with _CLOSED_PIPE:
        if output_format == "table":
            print_result(Output(), limited)
        elif output_format in {"jsonl", "csv"}:
            make_writer(output_format, sys.stdout, result.fields).write(limited.rows)
        else:
            write_text(_render(limited, output_format, messages, max_bytes=max_bytes))
    if (hidden := len(result.items) - len(limited.items)) and is_for_people:
        messages.print_note(f"for the other {format_count(hidden, result.noun)} add --limit N")
    for note in result.notes:
        messages.print_note(name_options(note))
    if says_verdict and output_format == "markdown":
        verdict = {True: "red", False: "green", None: "no verdict"}[result.is_red]
        messages.print_note(f"{verdict}: {result.title}")


@frozen
class Destination:
    """A format and the file that gets it; None for stdout."""

    format: str
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Return the format and the file of `FORMAT=FILE`. Raises ConfigError for a file that cannot be written."""
        name, _, file = text.partition("=")
        if name not in _WRITTEN_FORMATS or not file:
            raise ConfigError(f"--write must be FORMAT=FILE with {', '.join(_WRITTEN_FORMATS)}, not {text!r}")
        path = None if file == "-" else Path(file)
        if path is not None and path.is_dir():
            raise ConfigError(f"--write {text}: {file!r} is a folder")
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"--write {text}: there is no folder {str(path.parent)!r}")
        return cls(name, path)

    def write(self, result: Result, messages: Output, *, max_bytes: int) -> None:
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


def _render(result: Result, output_format: str, messages: Output, *, max_bytes: int) -> str:
    """Return a result as text; `messages` gets what the format leaves out."""
    if output_format == "markdown":
        return render_markdown(result, max_bytes=max_bytes)
    if output_format == "junit":
        return render_junit(result)
    if output_format == "github":
        return render_github(result)
    if output_format == "pytest":
        return render_node_ids(result, messages)
    if output_format == "files":
        return render_files(result, messages)
    stream = io.StringIO()
    make_writer("jsonl", stream, result.fields).write(result.rows)
    return stream.getvalue()
