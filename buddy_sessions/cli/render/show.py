"""Prints results and rows in each format, or writes them to files: `--out FILE`, `--write FORMAT=FILE`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from attrs import frozen

from buddy_sessions import ConfigError, Session, SuiteKey, TestKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_files import format_of, open_file
from buddy_sessions._export.session_rows import KEYED_SESSION_COLUMNS, Csv, JsonLines, RowWriter, suite_names, use_utf8

from ..errors import describe_os_error
from ..input.paths import explain_errors
from .checkout import render_arguments, render_github
from .console import Output
from .junit import render_junit
from .markdown import render_markdown
from .result import CommandResult
from .table import print_result
from .text import escape

KEYED_TEST_COLUMNS = (*SuiteKey._fields, "test_group_name", "classname", "name", "branch", "oldest", "newest")
"""What names a test across sessions, and the sessions that were looked at."""

_FOR_PEOPLE = ("table", "markdown")
_WRITTEN_FORMATS = ("markdown", "jsonl", "junit", "github")
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
    return 50 if choose_format(requested) in _FOR_PEOPLE else None


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


def make_writer(text_format: str, stream: TextIO, columns: Sequence[str]) -> RowWriter:
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
        elif output_format in {"jsonl", "csv"}:
            make_writer(output_format, sys.stdout, result.fields).write(limited.rows)
        else:
            write_text(_render(limited, output_format, messages, max_bytes=max_bytes))
    if (hidden := len(result.items) - len(limited.items)) and output_format in _FOR_PEOPLE:
        messages.print_note(f"for the other {format_count(hidden, 'row')} add --limit N")


@frozen
class Destination:
    """A format and the file that gets it; None for stdout."""

    format: str
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Return the format and the file of `FORMAT=FILE`. Raises ConfigError for another format."""
        name, _, file = text.partition("=")
        if name not in _WRITTEN_FORMATS or not file:
            raise ConfigError(f"--write must be FORMAT=FILE with {', '.join(_WRITTEN_FORMATS)}, not {text!r}")
        return cls(name, None if file == "-" else Path(file))

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
    make_writer("jsonl", stream, result.fields).write(result.rows)
    return stream.getvalue()
