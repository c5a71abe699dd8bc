"""Rows for programs, and the writers of the formats that commands print."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from buddy_sessions import ConfigError, Session, SuiteKey, TestKey
from buddy_sessions._export.session_files import format_of, open_file
from buddy_sessions._export.session_rows import (
    KEYED_SESSION_COLUMNS,
    Csv,
    JsonLines,
    RowWriter,
    suite_names,
    use_utf8,
)

from ..input.paths import explain_errors
from .text import escape

KEYED_TEST_COLUMNS = (*SuiteKey._fields, "test_group_name", "classname", "name", "branch", "oldest", "newest")
"""What names a test across sessions, and the sessions that were looked at."""


def write_text(text: str) -> None:
    """Write a text to stdout, in the same bytes on every system. On a terminal, control characters are escaped."""
    use_utf8(sys.stdout)
    escape_line = escape if sys.stdout.isatty() else str
    sys.stdout.writelines(f"{escape_line(line)}\n" for line in text.split("\n")[:-1])
    sys.stdout.flush()


def named_format(requested: str | None, *, json: bool) -> str | None:
    """Return the format that --format or --json names; None without them. Raises ConfigError if they differ."""
    if json and requested not in {None, "jsonl"}:
        raise ConfigError(f"--format {requested} and --json exclude each other: use one of them")
    return "jsonl" if json else requested


def choose_format(requested: str | None, *, json: bool) -> str:
    """Return the format that is named (default: table on a terminal, otherwise jsonl)."""
    return named_format(requested, json=json) or ("table" if sys.stdout.isatty() else "jsonl")


def choose_file_format(requested: str | None, *, json: bool, out: Path | None) -> str | None:
    """Return the format of the file, or else the requested one."""
    named = named_format(requested, json=json)
    if out is None:
        return named
    file_format = format_of(out)
    if named not in {None, file_format}:
        option = "--json" if json else f"--format {named}"
        raise ConfigError(f"{option} contradicts --out {out.name}: leave out {option.split(maxsplit=1)[0]}")
    return file_format


@contextmanager
def open_output(
    text_format: str,
    out: Path | None,
    columns: Sequence[str] = KEYED_SESSION_COLUMNS,
    *,
    source: str | None = None,
) -> Iterator[RowWriter]:
    """Open a new file of rows, which replaces `out` if it is finished; if `out` is None, stdout in this format."""
    if out is None:
        yield make_writer(text_format, sys.stdout, columns)
    else:
        with explain_errors(out, open_file(out, columns, source=source)) as writer:
            yield writer


def make_writer(text_format: str, stream: TextIO, columns: Sequence[str]) -> RowWriter:
    """Return a writer of csv, or else of jsonl. `columns` are those of CSV; JSON lines have every field of a row."""
    escape_text = escape if stream.isatty() else None
    return Csv(stream, columns, escape_text) if text_format == "csv" else JsonLines(stream, escape_text)


def keyed_test_row(suite: SuiteKey, test: TestKey, branch: str | None, sessions: Sequence[Session]) -> dict[str, Any]:
    """Return what names a test, and the sessions that were looked at: of a branch, or of all."""
    return {
        **suite_names(suite),
        "test_group_name": test.group,
        "classname": test.classname,
        "name": test.name,
        "branch": branch,
        "oldest": sessions[0].relative_id,
        "newest": sessions[-1].relative_id,
    }
