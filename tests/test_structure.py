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
    {"errors", "fields", "models", "structuring"},
    {"fast"},
    {"changes", "converter", "credentials", "endpoints", "intervals", "pacing", "schema", "walk"},
    {"database", "transport", "harvest", "watch"},
    {"paging"},
    {"client"},
    {"dlt", "reading"},
    {"store"},
    {"__init__"},
    {"cli"},
    {"__main__"},
]
"""From the ground up: a module imports from the layers below its own, and no others."""

CLI_LAYERS: list[set[str]] = [
    {"figures", "output"},
    {"data", "options", "tables"},
    {"files", "parquet", "targets", "words"},
    {"charts", "progress"},
    {"page"},
    {"demo", "harvesting", "listing", "reporting", "watching"},
    {"app"},
    {"__init__"},
]
"""Likewise, inside the command line."""

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


def levels(layers: list[set[str]]) -> list[tuple[str, set[str]]]:
    """Return each module, and all that lie below it."""
    return [(module, set().union(*layers[:level])) for level, layer in enumerate(layers) for module in sorted(layer)]


def test_every_module_has_its_layer() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} | {"cli"} == set().union(*LAYERS)
    assert {path.stem for path in (PACKAGE / "cli").glob("*.py")} == set().union(*CLI_LAYERS)


@pytest.mark.parametrize(("module", "below"), [pair for pair in levels(LAYERS) if pair[0] != "cli"])
def test_imports_run_one_way(module: str, below: set[str]) -> None:
    assert {name for name in imports(PACKAGE / f"{module}.py") - below if (module, name) not in INSIDE} == set()


@pytest.mark.parametrize(("module", "below"), levels(CLI_LAYERS))
def test_the_command_line_takes_public_names_only(module: str, below: set[str]) -> None:
    door, fake = "__init__", "testing"
    assert imports(PACKAGE / "cli" / f"{module}.py") <= below | {door} | ({fake} if module == "demo" else set())


TESTING = {path.stem: path for path in sorted((PACKAGE / "testing").glob("*.py"))}


@pytest.mark.parametrize("module", sorted(TESTING.keys() - {"plugin"}))
def test_the_fake_buddy_shares_nothing_with_the_client(module: str) -> None:
    own = TESTING.keys() - {"plugin"}
    tree = ast.parse(TESTING[module].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1
            assert not node.module or node.module in own
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("buddy_sessions")


def test_the_pytest_plugin_alone_brings_the_fake_buddy_and_the_client_together() -> None:
    assert imports(TESTING["plugin"]) == {"__init__", "server"}


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
    unwanted = {"cyclopts", "rich", "pytest", "hypothesis", "stamina", "tenacity", "msgspec", "orjson", "dlt"}
    assert not unwanted & loaded
    assert not {"buddy_sessions.cli", "buddy_sessions.testing"} & loaded


def test_every_module_says_first_what_it_is_for() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
