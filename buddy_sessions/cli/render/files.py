"""The files of failing tests, to run them again: the groups of Buddy's own reporters, or the modules of pytest."""

from __future__ import annotations

import os
from pathlib import Path

from buddy_sessions import TestCase

from .console import Output
from .pytest_ids import find_node_id, render_arguments
from .result import Result


def render_files(result: Result, messages: Output) -> str:
    """Return each failing file on one line, once. A warning names each test that has none here."""
    return render_arguments(result, messages, _find_file, kind="", runner="the tests")


def _find_file(case: TestCase, root: Path) -> str | None:
    """Return the file of a test in the folder `root`, as an argument for a test runner; None if it has none there."""
    name = case.test_group_name or ""
    is_inside = not os.path.isabs(name) and ".." not in Path(name).parts and name.isprintable()
    if is_inside and os.path.isfile(root / name):
        return f"./{name}" if name.startswith("-") else name  # no option
    node_id = find_node_id(case, root)
    return node_id if node_id is None else node_id.partition("::")[0]
