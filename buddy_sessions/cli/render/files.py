"""The files of failing tests, to run them again: the groups of Buddy's own reporters, or the modules of pytest."""

from __future__ import annotations

import os
from pathlib import Path

from buddy_sessions import TestCase
from buddy_sessions.analysis.baseline import crash_text

from .console import Output
from .pytest_ids import find_node_id
from .result import Result


def render_files(result: Result, messages: Output) -> str:
    """Return each failing file on one line, once. A warning names each test that has none here."""
    files: dict[str, None] = {}
    for item in result.items:
        file = None if item.case is None else _find_file(item.case, Path())
        if file is None:
            messages.print_warning(f"no file in this folder for {item.key}: run this where the tests ran")
        else:
            files[file] = None
    for session in result.crashed:
        messages.print_warning(crash_text(session))
    return "".join(f"{file}\n" for file in files)


def _find_file(case: TestCase, root: Path) -> str | None:
    """Return the file of a test in the folder `root`, as an argument for a test runner; None if it has none there."""
    name = case.test_group_name or ""
    is_inside = not os.path.isabs(name) and ".." not in Path(name).parts and name.isprintable()
    if is_inside and os.path.isfile(root / name):
        return f"./{name}" if name.startswith("-") else name  # no option
    node_id = find_node_id(case, root)
    return node_id if node_id is None else node_id.partition("::")[0]
