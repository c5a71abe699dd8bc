"""Where rows of sessions are written: to stdout, or to a new file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buddy_sessions import ConfigError
from buddy_sessions._export.files import Destination, format_of, open_file
from buddy_sessions._export.rows import KEYED_SESSION_COLUMNS

from ..files import explain_errors
from .writers import make_writer, named_format


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
def open_destination(
    output_format: str | None, out: Path | None, *, source: str | None = None
) -> Iterator[Destination]:
    """Open a new file that replaces `out` once it is finished, or stdout if `out` is None; nothing without a format."""
    if out is not None:
        with explain_errors(out, open_file(out, source=source)) as destination:
            yield destination
    elif output_format is not None:
        yield Destination(make_writer(output_format, sys.stdout, KEYED_SESSION_COLUMNS))
    else:
        yield Destination(None)
