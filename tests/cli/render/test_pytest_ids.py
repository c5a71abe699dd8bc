"""Node IDs of pytest: what real pytest has written is run again by real pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call

SUITE = "acme/shop/a"

FILES = {
    "tests/test_cart.py": """
import pytest

class TestCart:
    @pytest.mark.parametrize("a, b", [(1, 1), (1, 2)])
    def test_equal(self, a, b):
        assert a == b

    class TestEmpty:
        class TestTotal:
            def test_nested(self):
                assert False

TEXTS = ["with space", "a::b", "a/b", "[x]", "", "-k", "ż", "new\\nline", "it's \\"x\\"", "a.b", "$HOME"]

@pytest.mark.parametrize("text", TEXTS)
def test_text(text):
    assert False

def test_passes():
    pass
""",
    "tests/cart/test_total.py": "class TestCart:\n    def test_in_a_folder(self):\n        assert False\n",
    "shop/__init__.py": "",
    "shop/cart/__init__.py": "",
    "shop/cart/test_total.py": """
import unittest

class TotalTest(unittest.TestCase):
    def test_in_a_package(self):
        self.fail()

    def test_passes(self):
        pass
""",
    "tests/test_broken.py": "import no_such_module\n",
    "tests/test_setup.py": """
import pytest

@pytest.fixture
def service():
    yield
    raise OSError

def test_fails_twice(service):
    assert False
""",
}


def run_pytest(folder: Path, command: str) -> list[dict[str, Any]]:
    """Run a shell command that calls pytest; return the tests of its JUnit XML as Buddy imports them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take most of the time
    options = "-p no:cacheprovider --continue-on-collection-errors --junitxml=out.xml"
    command = command.replace("PYTEST", f"'{sys.executable}' -m pytest {options}")
    subprocess.run(["bash", "-c", command], cwd=folder, env=environment, check=False, capture_output=True, timeout=120)
    cases: list[dict[str, Any]] = []
    for element in ET.parse(folder / "out.xml").iter("testcase"):
        kinds = {child.tag for child in element}
        status = "ERROR" if "error" in kinds else "FAILED" if "failure" in kinds else "PASSED"
        names = {"name": element.get("name"), "classname": element.get("classname"), "test_group_name": "pytest"}
        cases.append({**names, "status": status})
    return cases


def failing(cases: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(case["classname"], case["name"]) for case in cases if case["status"] != "PASSED"}


def test_what_failed_is_run_again(fake: FakeBuddy, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    Path(tmp_path, "pytest.ini").write_text("[pytest]\n")  # names begin here, wherever the folder is
    cases = run_pytest(tmp_path, "PYTEST")
    assert (len(cases), len(failing(cases))) == (21, 17)
    fake.add_suite("acme", "shop", "a").create(cases=cases)
    monkeypatch.chdir(tmp_path)
    code, out, err = call("failures", SUITE, "--format", "pytest")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == len(failing(cases))
    Path("failed.txt").write_text(out, encoding="utf-8")
    Path("out.xml").unlink()
    has_option = sys.platform == "linux"  # others lack -d
    again = run_pytest(tmp_path, "xargs -r -d '\\n' PYTEST < failed.txt" if has_option else "PYTEST @failed.txt")
    assert failing(again) == failing(cases)
    assert {case["status"] for case in again} == {"FAILED", "ERROR"}, "others were run, too"


def test_test_without_a_file_is_named(
    fake: FakeBuddy, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a file of another runner, or one that would be several arguments, is no node ID."""
    monkeypatch.chdir(tmp_path)
    for name in ("test_here.py", "cart.test.js"):
        Path(name).touch()
    outside = tmp_path.parent / "outside.py"
    outside.touch()
    names = [
        ("test_here.TestCart", "test_found"),
        ("test_gone.TestCart", "test_lost"),
        ("cart.test.js", "adds"),
        ("test_here", "test_x\n--collect-only"),
        (str(outside.with_suffix("")), "test_outside"),
        (None, "adds_more"),
    ]
    cases = [{"name": name, "classname": classname, "status": "FAILED"} for classname, name in names]
    fake.add_suite("acme", "shop", "a").create(cases=cases)
    code, out, err = call("failures", SUITE, "--format", "pytest")
    assert (code, out) == (0, "test_here.py::TestCart::test_found\n")
    start = "warning: no file in this folder for tests/cart/test_total.py > "
    assert [line.startswith(start) for line in err.splitlines()] == [True] * (len(names) - 1)
