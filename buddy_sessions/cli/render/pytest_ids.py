"""Node IDs of pytest, to run failing tests again. JUnit XML names modules and classes: the files on disk tell which."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from buddy_sessions import TestCase
from buddy_sessions.analysis.baseline import crash_text

from .console import Output
from .result import Result


def render_node_ids(result: Result, messages: Output) -> str:
    """Return the node ID of each test on one line, once. A warning names each failure that has none."""
    return render_arguments(result, messages, find_node_id, kind=" of pytest", runner="pytest")


def render_arguments(
    result: Result, messages: Output, find: Callable[[TestCase, Path], str | None], *, kind: str, runner: str
) -> str:
    """Return what is found for each failing test, to pass it to what runs the tests: on one line, once."""
    arguments: dict[str, None] = {}
    for item in result.items:
        argument = None if item.case is None else find(item.case, Path())
        if argument is None:
            messages.print_warning(f"no file{kind} in this folder for {item.key}: run this where {runner} ran")
        else:
            arguments[argument] = None
    for session in result.crashed:
        messages.print_warning(crash_text(session))
    return "".join(f"{argument}\n" for argument in arguments)


def find_node_id(case: TestCase, root: Path) -> str | None:
    """Return the argument with which pytest runs a test in the folder `root`; None if it has no file there.

    `tests.test_cart.TestCart` is a class of `tests/test_cart.py`. A file that cannot be loaded has its module as name.
    """
    names = (case.classname or case.name).split(".")
    is_path = all(name.strip() and not {"/", "\\", "\0"}.intersection(name) for name in names)
    for end in range(len(names) if is_path else 0, 0, -1):
        file = Path(*names[:end]).with_suffix(".py")
        if os.path.isfile(root / file):
            node_id = "::".join([file.as_posix(), *names[end:], *([case.name] if case.classname else [])])
            return node_id if {"\n", "\r", "\0"}.isdisjoint(node_id) else None  # it must be one line
    return None
