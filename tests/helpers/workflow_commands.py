"""Finds workflow commands in the log of a job, as the runner of GitHub Actions does."""

from __future__ import annotations

import re
from typing import NamedTuple

REGISTERED = {
    *("add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice"),
    *("remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning"),
}


class Command(NamedTuple):
    """A command of a line."""

    name: str
    properties: dict[str, str]
    data: str


def commands_in(log: str) -> list[Command]:
    """Return the commands of all lines: `::name key=value::data` at their beginning, or `##[name key=value]data`."""
    return [command for line in re.split("\r\n|\n|\r", log) if (command := _parse(line)) is not None]


def _parse(line: str) -> Command | None:
    text = line.lstrip()
    if text.startswith("::") and "::" in text[2:]:
        head, _, data = text[2:].partition("::")
        if (command := _command(head, data, separator=",", escaped="%0D %0A %3A %2C %25")) is not None:
            return command
    _, found, rest = line.partition("##[")
    if found and "]" in rest:
        head, _, data = rest.partition("]")
        return _command(head, data, separator=";", escaped="%3B %0D %0A %5D %25")
    return None


def _command(head: str, data: str, *, separator: str, escaped: str) -> Command | None:
    name, _, rest = head.partition(" ")
    if name.lower() not in REGISTERED:
        return None
    pairs = [pair.split("=", 1) for pair in rest.strip().split(separator) if "=" in pair]
    in_data = "%0D %0A %25" if separator == "," else escaped
    return Command(name, {key: _unescape(value, escaped) for key, value in pairs}, _unescape(data, in_data))


def _unescape(text: str, escaped: str) -> str:
    for code in escaped.split():
        text = text.replace(code, chr(int(code[1:], 16)))
    return text
