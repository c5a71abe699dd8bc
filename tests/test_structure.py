"""The house: which way imports run, what the door shows, what an import costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import buddy_sessions
from buddy_sessions import testing

PACKAGE = Path(buddy_sessions.__file__).parent

LAYERS: list[set[str]] = [
    {"errors", "models"},
    {"converter", "credentials", "endpoints", "intervals", "pacing", "walk"},
    {"database", "transport", "harvest", "watch"},
    {"paging"},
    {"client"},
    {"store"},
    {"__init__"},
    {"render"},
    {"out", "targets"},
    {"progress"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
"""From the ground up: a module imports from the layers below its own, and no others."""

INSIDE = {("models", "errors"), ("errors", "models")}
"""Within the ground layer models raise errors; errors name models, for type checkers alone."""


def imports(path: Path) -> set[str]:
    """Return the modules of this package that a module imports, wherever the statement stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("buddy_sessions")):
            module = (node.module or "").removeprefix("buddy_sessions").lstrip(".")
            found.update([module.split(".")[0]] if module else [alias.name for alias in node.names])
            if not node.level and not module:
                found = found - {alias.name for alias in node.names} | {"__init__"}
    return found


MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def test_every_module_has_its_layer() -> None:
    assert set(MODULES) == set().union(*LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    (level,) = [level for level, layer in enumerate(LAYERS) if module in layer]
    below = set().union(*LAYERS[:level])
    above = {name for name in imports(PACKAGE / f"{module}.py") - below if (module, name) not in INSIDE}
    assert above <= ({"testing"} if module in {"cli", "demo"} else set())


@pytest.mark.parametrize("module", ["cli", "demo", "out", "progress", "render", "targets"])
def test_the_command_line_takes_public_names_only(module: str) -> None:
    assert imports(PACKAGE / f"{module}.py") <= {"__init__", "testing", "demo", "out", "progress", "render", "targets"}


@pytest.mark.parametrize("path", list((PACKAGE / "testing").glob("*.py")), ids=lambda path: path.stem)
def test_the_fake_buddy_shares_nothing_with_the_client(path: Path) -> None:
    own = {path.stem for path in (PACKAGE / "testing").glob("*.py")}
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1
            assert not node.module or node.module in own
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("buddy_sessions")


@pytest.mark.parametrize("module", [buddy_sessions, testing], ids=lambda module: module.__name__)
def test_the_door_shows_all_it_names_sorted(module: object) -> None:
    names = vars(module)["__all__"]
    assert names == sorted(names)
    assert all(name in vars(module) for name in names)


def test_every_public_error_is_at_the_door() -> None:
    public = {name for name, value in vars(buddy_sessions.errors).items() if isinstance(value, type)}
    errors = {name for name in public if name.endswith("Error")}
    assert errors <= set(buddy_sessions.__all__)


def test_importing_the_package_imports_no_more_than_it_needs() -> None:
    """Neither the command line, nor the fake, nor what is paid for when it is first needed."""
    code = "import sys, json, buddy_sessions; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.check_output([sys.executable, "-c", code])))
    assert "buddy_sessions.client" in loaded
    unwanted = {"cyclopts", "rich", "pytest", "hypothesis", "stamina", "tenacity", "msgspec", "orjson"}
    assert not unwanted & loaded
    assert not {"buddy_sessions.cli", "buddy_sessions.demo", "buddy_sessions.render", "buddy_sessions.testing"} & loaded


def test_every_module_says_first_what_it_is_for() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
