"""Annotations of GitHub Actions: a workflow command for each new failure, in the file where it is."""

from __future__ import annotations

import os
from pathlib import Path

from buddy_sessions import Failure
from buddy_sessions.analysis.baseline import crash_text
from buddy_sessions.analysis.failure_text import find_place

from .result import Item, Result
from .text import cut, trace_of

_MAX_COMMANDS = 10
"""GitHub shows no more of a step."""
_MAX_TRACE = 4_000  # characters
_IN_TEXT, _IN_PROPERTY = "%\r\n", "%\r\n:,"
"""The characters that are encoded."""


def render_github(result: Result) -> str:
    """Return an `::error::` for each reason and each failing test without an excuse: at most 10.

    Uploaded text is encoded, so that each line is one command, whatever it contains.
    """
    problems = [*result.problems, *map(crash_text, result.crashed)]
    commands = [_command(result.title, problem) for problem in problems]
    commands += [_command_of(item) for item in result.items if item.case is not None and not item.remark]
    return "".join(commands[:_MAX_COMMANDS])


def _command_of(item: Item) -> str:
    failure = (item.case.failure if item.case is not None else None) or Failure(kind="failure")
    place = find_place(failure)
    found = find_file(place[0], Path()) if place is not None else None
    where = {"file": found, "line": str(place[1])} if place is not None and found is not None else {}
    title = cut(str(item.key), 300)
    return _command(title, trace_of(failure, limit=_MAX_TRACE) or title, **where)


def find_file(path: str, root: Path) -> str | None:
    """Return the longest end of a path that is a file in the folder `root`; None if there is none."""
    names = path.replace("\\", "/").split("/")
    for start in range(len(names)):
        end = names[start:]
        if all(name.strip(".") for name in end) and os.path.isfile(root.joinpath(*end)):
            return "/".join(end)
    return None


def _command(title: str, text: str, **where: str) -> str:
    """Return an `::error::` command, as `@actions/core` encodes it."""
    properties = [f"{name}={_encode(value, _IN_PROPERTY)}" for name, value in {**where, "title": title}.items()]
    return f"::error {','.join(properties)}::{_encode(text, _IN_TEXT)}\n"


def _encode(text: str, characters: str) -> str:
    return "".join(f"%{ord(each):02X}" if each in characters else each for each in text)
