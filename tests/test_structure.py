"""The structure of the package: the direction of imports, what is public, what an import loads."""

from __future__ import annotations

import ast
import json
import pickle
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_type_hints

import pytest

import buddy_sessions
from buddy_sessions import testing

PACKAGE = Path(buddy_sessions.__file__).parent

LAYERS: list[set[str]] = [
    {"models", "_version"},
    {"errors"},
    {"_base"},
    {"_decoding"},
    {"_export", "_http", "_paging", "analysis"},
    {"_api"},
    {"questions"},
    {"_streams"},
    {"_client"},
    {"store"},
    {"__init__"},
    {"testing"},
    {"cli"},
    {"__main__"},
]
"""A module imports only from the layers above its own; a folder is one module here."""


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py" or path.parent == PACKAGE]


def name_of(path: Path) -> tuple[str, str]:
    """Return the module or folder at the top of the package, and the module inside that folder or ""."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0], "/".join(parts[1:])


def imports_of(path: Path) -> set[tuple[str, str]]:
    """Return what a module imports of this package, wherever the statement is, named as by `name_of`."""
    package = list(path.relative_to(PACKAGE).parent.parts)
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if node.level:
            base = package[: len(package) - node.level + 1]
        elif module.split(".")[0] == "buddy_sessions":
            base, module = [], module.partition(".")[2]
        else:
            continue
        names = [*base, *filter(None, module.split("."))]
        for alias in node.names:
            target = PACKAGE.joinpath(*names, alias.name)
            is_module = target.is_dir() or target.with_suffix(".py").exists()
            full = [*names, alias.name] if is_module else names
            found.add((full[0] if full else "__init__", "/".join(full[1:])))
    return found


def level_of(name: str) -> int:
    return next(level for level, layer in enumerate(LAYERS) if name in layer)


def test_every_module_has_a_layer() -> None:
    assert {name_of(path)[0] for path in modules()} == set().union(*LAYERS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    top, _ = name_of(path)
    for other_top, _ in imports_of(path):
        assert other_top == top or level_of(other_top) < level_of(top), f"{top} imports {other_top}"


def test_no_import_cycles() -> None:
    graph = {name_of(path): imports_of(path) - {name_of(path)} for path in modules()}
    TopologicalSorter(graph).prepare()  # a cycle is an error


def test_command_line_imports_few_internal_names() -> None:
    """Only what it shares: names of sessions, the files of `SessionStore.export`, and for `doctor` the decoders."""
    allowed = {"cli", "__init__", "models", "testing", "analysis", "_base", "_export"}
    for path in (PACKAGE / "cli").rglob("*.py"):
        more = {"_api", "_decoding", "_http"} if path.parent.name == "doctor" or path.name == "doctor.py" else set()
        names = {name for name in imports_of(path) if name != ("questions", "named_sessions")}
        assert {top for top, _ in names} <= allowed | more, path


def test_fake_buddy_imports_nothing_from_the_client() -> None:
    """The pytest plugin alone knows both. A suite is named by the same `SuiteKey`."""
    for path in (PACKAGE / "testing").glob("*.py"):
        allowed = {"testing", {"plugin.py": "__init__", "suite.py": "models"}.get(path.name)}
        assert {top for top, _ in imports_of(path)} <= allowed, path


@pytest.mark.parametrize("module", [buddy_sessions, testing], ids=lambda module: module.__name__)
def test_public_names_exist_and_are_sorted(module: object) -> None:
    names = vars(module)["__all__"]
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))  # constants first
    assert set(names) <= set(dir(module))
    assert all(hasattr(module, name) for name in names)
    assert not hasattr(module, "NoSuchName")


def test_public_classes_belong_to_the_package() -> None:
    """Their names in tracebacks; pickles find them, and others their annotations."""
    for name in buddy_sessions.__all__:
        value = getattr(buddy_sessions, name)
        if isinstance(value, type):
            assert value.__module__ == "buddy_sessions"
            assert pickle.loads(pickle.dumps(value)) is value
            assert all(not isinstance(hint, str) for hint in get_type_hints(value).values())


def test_every_error_is_public() -> None:
    errors = {name for name in vars(buddy_sessions.errors) if name.endswith("Error") and name[0] != "_"}
    assert errors <= set(buddy_sessions.__all__)


def test_import_loads_no_more_than_needed() -> None:
    code = "import sys, json, buddy_sessions; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.check_output([sys.executable, "-c", code])))
    assert "buddy_sessions._client.client" in loaded
    unwanted = {"cyclopts", "rich", "pytest", "hypothesis", "msgspec", "orjson", "stamina", "structlog", "tenacity"}
    assert not unwanted & loaded
    assert not {"buddy_sessions.cli", "buddy_sessions.store", "buddy_sessions.testing"} & loaded


def test_every_module_has_a_docstring() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_catalogue_entry_has_the_version() -> None:
    entry = json.loads((Path(__file__).parents[1] / ".github/server.json").read_text(encoding="utf-8"))
    assert {entry["version"], entry["packages"][0]["version"]} == {buddy_sessions.__version__}


def test_extra_all_has_every_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras.pop("all") == [f"buddy_sessions[{','.join(sorted(extras))}]"]
