"""The guides: their examples run and print what they show, their links lead somewhere, and `help()` is complete.

The guides are the README, those next to the code, and those for contributors. In each guide, a block of Python or shell
code that is followed by a block `text` is run unchanged, on a terminal of 100 columns, with the suites of
`buddy-sessions serve`. The blocks of one guide are run in their order, in one folder.
"""

from __future__ import annotations

import asyncio
import doctest
import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

import buddy_sessions
from buddy_sessions import (
    BuddyClient,
    BuddyError,
    ClientOptions,
    Session,
    StatusError,
    TestCase,
)
from buddy_sessions.testing import FakeBuddy
from helpers.uploads import GIT, trial_commands, upload

pytest.importorskip("termios", reason="the examples are for a POSIX terminal")
import pty
import tty

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIBRARY = (ROOT / "buddy_sessions" / "README.md").read_text(encoding="utf-8")
GUIDES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / ".github").glob("*.md") if path.name != "PULL_REQUEST_TEMPLATE.md"),
    *sorted((ROOT / "buddy_sessions").rglob("*.md")),
]
EXAMPLE = re.compile(r"^```(python|sh)\n((?:(?!```).*\n)+)```\n\n?(```+)text\n((?:.*\n)*?)\3$", re.MULTILINE)
TIMEOUT = 120.0  # seconds
ENDLESS = 1.0  # seconds until a program that has printed its output, and goes on, is ended: a bot


class Example(NamedTuple):
    """A block of code, and what it prints."""

    line: int
    command: list[str]
    output: str

    def run(self, folder: Path, environment: dict[str, str]) -> str:
        """Run the code on a terminal, and return what it has written to stdout."""
        controller, terminal = pty.openpty()
        tty.setraw(terminal)  # a line ends with \n
        process = subprocess.Popen(self.command, cwd=folder, env=environment, stdout=terminal, start_new_session=True)
        os.close(terminal)
        end = threading.Timer(TIMEOUT, os.killpg, (process.pid, signal.SIGKILL))
        end.start()
        printed = b""
        with suppress(OSError):  # how Linux says that a terminal is closed
            while chunk := os.read(controller, 65536):
                printed += chunk
                if printed.decode(errors="ignore") == self.output:
                    end.cancel()
                    end = threading.Timer(ENDLESS, os.killpg, (process.pid, signal.SIGTERM))
                    end.start()
        process.wait()
        end.cancel()
        os.close(controller)
        return printed.decode()


def examples_of(guide: Path) -> list[Example]:
    text = guide.read_text(encoding="utf-8")
    shells = {"python": [sys.executable, "-c"], "sh": ["bash", "-c"]}
    return [
        Example(text[: found.start()].count("\n") + 1, [*shells[found[1]], found[2]], found[4])
        for found in EXAMPLE.finditer(text)
    ]


@pytest.mark.parametrize(
    "guide", [guide for guide in GUIDES if examples_of(guide)], ids=lambda guide: str(guide.relative_to(ROOT))
)
async def test_examples_print_their_output(guide: Path, fake: FakeBuddy, tmp_path: Path) -> None:
    fake.add_demo_suites()
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "BUDDY_TOKEN": fake.token,
        "BUDDY_API_URL": str(fake.base_url),
        "COLUMNS": "100",
        "LINES": "50",  # without it, Rich takes 80 columns
        "TERM": "dumb",  # no colours
        "PYTHONUTF8": "1",
    }
    for example in examples_of(guide):
        printed = await asyncio.to_thread(example.run, tmp_path, environment)
        assert printed == example.output, f"the example in line {example.line}"


async def test_own_tests_can_be_tried(fake: FakeBuddy, tmp_path: Path) -> None:
    """Instead of Jest, this test uploads. `tests/integrations` runs Jest."""
    suite = fake.add_suite("acme", "storefront", "MNbyVedg")
    served = {"BUDDY_API_URL": str(fake.base_url), "BUDDY_TOKEN": fake.token, "BUDDY_UT_TOKEN": suite.upload_token}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        paths = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
        environment = {**os.environ, **paths, **served, **GIT}
        return subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    def run_jest() -> None:
        branch, commit = run("git branch --show-current; git rev-parse HEAD").stdout.split()
        cases = [{"name": "fails", "status": "FAILED"}] if (tmp_path / "try.test.js").exists() else []
        upload(
            served, [{"name": "adds", "status": "PASSED"}, *cases], ref_type="BRANCH", ref_name=branch, revision=commit
        )

    await asyncio.to_thread(run, "git init -qb main && git commit -q --allow-empty -m main")
    results = []
    for command in trial_commands():
        if command.startswith("npx jest "):
            await asyncio.to_thread(run_jest)
        elif not command.startswith("npm install "):
            results.append(await asyncio.to_thread(run, command))
    assert [result.returncode for result in results] == [0, 0, 0, 1], results
    assert "Fails: 1 new failure\n" in results[-1].stdout


@pytest.mark.parametrize(
    "module", ["models", "analysis", "analysis.branches", "analysis.causes", "analysis.quarantine"]
)
def test_examples_of_docstrings_run(module: str) -> None:
    of_module, finder, runner = (
        importlib.import_module(f"buddy_sessions.{module}"),
        doctest.DocTestFinder(),
        doctest.DocTestRunner(),
    )
    classes = {
        name: each for name, each in vars(of_module).items() if inspect.isclass(each)
    }  # whose module is the package
    for name, each in {module: of_module, **classes}.items():
        for example in finder.find(each, name, of_module):
            runner.run(example)
    assert runner.tries > 1
    assert runner.failures == 0


def anchors_of(guide: Path) -> set[str]:
    """Return the names of the sections, as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", guide.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("guide", [*GUIDES, ROOT / "CHANGELOG.md"], ids=lambda guide: str(guide.relative_to(ROOT)))
def test_links_lead_somewhere(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    for link in re.findall(r'(?:\]\(|(?:src|srcset|href)=")([^)"\s]+)', text):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = guide.parent / name if name else guide
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target), link


def test_every_guide_and_recipe_is_linked() -> None:
    texts = {guide: guide.read_text(encoding="utf-8") for guide in GUIDES}
    linked = {(guide.parent / link).resolve() for guide in GUIDES for link in re.findall(r"\]\(([^)#]*)", texts[guide])}
    recipes = (ROOT / "tests" / "integrations" / "recipes").glob("*.*")
    assert {*GUIDES[1:], *recipes} - linked == set()


def test_map_of_the_code_is_complete() -> None:
    contributing = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "buddy_sessions").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert [name for name in modules if not name.startswith("__") and name not in contributing] == []


def test_functions_that_contributors_read_of_exist() -> None:
    """Those on the paths of a page, a sync and a gate, and those of the rules of a sync."""
    paths = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("### The path of a page")[2]
    rules = (
        (ROOT / "buddy_sessions" / "store" / "README.md").read_text(encoding="utf-8").partition("## Inside a sync")[2]
    )
    named = re.findall(r"^ +(?:[→←] )?(\w[\w., ]*?)  ", paths.partition("\n## ")[0], re.MULTILINE)
    named += [row.rpartition("| `")[2].partition("`")[0] for row in rules.splitlines() if row.endswith("` |")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "buddy_sessions").rglob("*.py"))
    names = {name.rpartition(".")[2] for name in ", ".join(named).split(", ")}
    assert len(names) > 30
    assert {name for name in names if not re.search(rf"(?:def|class) {name}\b", code)} == set()


def test_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.split()) <= 900


def test_two_commands() -> None:
    commands = [line.strip() for line in README.splitlines() if line.startswith("    python3 -m venv")]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/buddy-sessions demo",
        "python3 -m venv .venv && .venv/bin/pip install -q 'nox[uv]' && .venv/bin/nox -s tests",
    ]


def test_table_of_errors_is_complete() -> None:
    table = LIBRARY.partition("| error | what to do |")[2].partition("\n\n")[0]
    raised = {name for name in buddy_sessions.__all__ if name.endswith("Error")}
    bases = {BuddyError.__name__, StatusError.__name__}
    assert set(re.findall(r"`(\w+Error)`", table)) - {"ValueError", "TimeoutError"} == raised - bases


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Session, {*Session.__annotations__}),
        (TestCase, TestCase.__annotations__.keys() - {"__test__"}),
        (BuddyClient, {"token", *ClientOptions.__annotations__}),
    ],
)
def test_help_lists_every_name(kind: type, names: set[str]) -> None:
    text = (inspect.getdoc(kind) or "").partition("\nRaises:")[0]
    assert set(re.findall(r"^    (\w+): ", text, re.MULTILINE)) == names
