"""Files with other formats of a result: `--write FORMAT=FILE`."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from buddy_sessions import ConfigError

from ..errors import describe_os_error
from .console import Output
from .github import render_github
from .junit import render_junit
from .markdown import render_markdown
from .result import Result
from .rows import make_writer, write_text

WRITTEN_FORMATS = ("markdown", "jsonl", "junit", "github")


@frozen
class Destination:
    """A format and the file that gets it; None for stdout."""

    format: str
    path: Path | None


def parse_destination(text: str) -> Destination:
    """Return the format and the file of `FORMAT=FILE`. Raises ConfigError for a file that cannot be written."""
    name, _, file = text.partition("=")
    if name not in WRITTEN_FORMATS or not file:
        raise ConfigError(f"--write must be FORMAT=FILE with {', '.join(WRITTEN_FORMATS)}, not {text!r}")
    path = None if file == "-" else Path(file)
    if path is not None and path.is_dir():
        raise ConfigError(f"--write {text}: {file!r} is a folder")
    if path is not None and not path.parent.is_dir():
        raise ConfigError(f"--write {text}: there is no folder {str(path.parent)!r}")
    return Destination(name, path)


def write_result(result: Result, destination: Destination, messages: Output, *, max_bytes: int) -> None:
    """Write a result. A file that cannot be written is a warning, because it does not change the verdict."""
    text = render_text(result, destination.format, max_bytes=max_bytes)
    if destination.path is None:
        with suppress(BrokenPipeError):
            write_text(text)
        return
    try:
        destination.path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        messages.print_warning(f"cannot write {describe_os_error(error, destination.path)}")


def render_text(result: Result, output_format: str, *, max_bytes: int) -> str:
    """Return a result in one of the formats that are written."""
    if output_format == "markdown":
        return render_markdown(result, max_bytes=max_bytes)
    if output_format == "junit":
        return render_junit(result)
    if output_format == "github":
        return render_github(result)
    stream = io.StringIO()
    make_writer(output_format, stream, result.fields).write([item.row for item in result.items if item.row is not None])
    return stream.getvalue()
