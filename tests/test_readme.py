"""The examples of the README run, its output is what they print, and its tables are complete."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import os
import re
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import buddy_sessions
from buddy_sessions import BuddyError, ClientClosedError, ClientOptions, Session, StatusError, TestCase
from buddy_sessions.testing import FakeBuddy

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```(?:\n```text\n(.*?)```)?", README, re.DOTALL)
PROGRAMS = [(code, output) for code, output in EXAMPLES if output]
(BOT,) = [code for code, _ in EXAMPLES if "def report(" in code]
RECIPES = ROOT / "tests" / "integrations" / "recipes"


def line_of(value: str) -> str:
    return f"line {README[: README.index(value)].count(chr(10)) + 1}" if value in README else ""


@pytest.fixture
def demo(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> FakeBuddy:
    """The suites of `buddy-sessions serve`."""
    fake.add_demo_suites()
    monkeypatch.setenv("BUDDY_TOKEN", fake.token)
    monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
    return fake


def load_recipe(name: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile((RECIPES / f"{name}.py").read_text(encoding="utf-8"), f"{name}.py", "exec"), vars(module))
    return module


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(("code", "output"), PROGRAMS, ids=line_of)
async def test_example_prints_its_output(
    code: str, output: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        await asyncio.to_thread(exec, compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == output


def test_first_example_is_an_async_for_of_ten_lines() -> None:
    lines = EXAMPLES[0][0].strip().splitlines()
    assert len(lines) <= 10
    assert any("async for" in line for line in lines)


def test_contents_list_every_section() -> None:
    sections = re.findall(r"^## (.*)$", README, re.MULTILINE)
    contents = README.partition("**Contents:**")[2].partition("\n\n")[0]
    assert re.findall(r"\[([^]]*)\]", contents.replace("\n", " ")) == sections


def test_links_to_files_exist() -> None:
    links = re.findall(r"\]\(((?:tests|benchmarks)/[^)]*)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_every_recipe_is_linked() -> None:
    assert [path.name for path in RECIPES.glob("*.py") if f"recipes/{path.name}" not in README] == []


def test_table_of_settings_is_complete() -> None:
    """It has the names and numbers of `ClientOptions`."""
    table = README.partition("| argument of `BuddyClient`")[2].partition("\n\n")[0]
    documented = inspect.getdoc(ClientOptions) or ""
    defaults = dict(re.findall(r"^ {4}(\w+): [^:]*?\(default: (\d+)\)", documented, re.MULTILINE))
    assert len(defaults) == 6
    for name in ("token", *ClientOptions.__annotations__):
        (row,) = [row for row in table.splitlines() if f"`{name}`" in row]
        assert defaults.get(name, "") in row


def test_table_of_errors_is_complete() -> None:
    table = README.partition("| error | what to do |")[2].partition("\n\n")[0]
    raised = {name for name in buddy_sessions.__all__ if name.endswith("Error")}
    bases = {BuddyError.__name__, StatusError.__name__}
    assert set(re.findall(r"`(\w+Error)`", table)) - {"ValueError"} == raised - bases


def test_every_field_of_a_session_is_listed() -> None:
    section = README.partition("## Fields")[2].partition("## ")[0]
    names = [field.name for model in (Session, TestCase) for field in attrs.fields(model)]
    fields = [*names, "is_finished", "passed_count", "key", "is_failing"]
    assert [name for name in fields if f"`{name}`" not in section] == []


def test_two_commands() -> None:
    commands = [line.strip() for line in README.splitlines() if line.startswith("    python3 -m venv")]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/buddy-sessions demo",
        "python3 -m venv .venv && .venv/bin/pip install -q 'nox[uv]' && .venv/bin/nox -s tests",
    ]


async def test_two_processes_share_one_limiter(demo: FakeBuddy, tmp_path: Path) -> None:
    """The recipe allows 10 requests a second."""
    times: list[float] = []
    demo.on_request = lambda _: times.append(time.monotonic())
    (suite,) = [suite for key, suite in demo.suites.items() if key[2] == "MNbyVedg"]
    for session in suite.sessions[250:]:
        suite.delete(session["id"])
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, RECIPES / "shared_limiter.py", cwd=tmp_path, env=os.environ, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    printed = [(await process.communicate())[0] for process in processes]
    assert printed == [b"250 sessions\n"] * 2
    assert len(times) >= 26
    # The last six may be sent two seconds after the first; with a limiter for each process it would be one second.
    assert times[-1] - times[0] > 1.5


async def test_application_has_one_client_for_its_whole_life(demo: FakeBuddy) -> None:
    module: Any = load_recipe("aiohttp_app")
    app: web.Application = module.make_app()
    async with TestClient(TestServer(app)) as http:
        for _ in range(2):
            async with http.get("/acme/storefront/MNbyVedg") as response:
                assert [row["relative_id"] for row in await response.json()] == list(range(400, 390, -1))
        async with http.get("/acme/storefront/nothing") as response:
            assert response.status == 404
        demo.scopes = ()
        async with http.get("/acme/storefront/MNbyVedg") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
        buddy = app[module.BUDDY]
    with pytest.raises(ClientClosedError):
        await buddy.suites("acme", "storefront")


def test_readme_fits_in_300_lines() -> None:
    assert len(README.splitlines()) <= 300


async def test_bot_names_the_failing_tests(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDDY_TOKEN", fake.token)
    monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
    suite = fake.add_suite("acme", "storefront", "MNbyVedg")
    suite.create(status="SUCCESSFUL")
    printed = io.StringIO()
    names: dict[str, Any] = {"__name__": "bot", "print": partial(print, file=printed)}
    exec(compile(BOT.replace('MNbyVedg"]', 'MNbyVedg"], interval=0.01'), "README.md", "exec"), names)
    watching = asyncio.create_task(names["main"]())
    async with asyncio.timeout(20):
        while "CURRENT" not in printed.getvalue():
            await asyncio.sleep(0.005)
        suite.create(cases=[{"name": "adds", "status": "FAILED"}, {"name": "removes"}])
        while "adds" not in printed.getvalue():
            await asyncio.sleep(0.005)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert [line.partition(" http")[0] for line in printed.getvalue().splitlines()] == [
        "acme/storefront/MNbyVedg CURRENT: #1",
        "acme/storefront/MNbyVedg FAILING: #2",
        "- tests/cart/test_total.py > CartTest > adds",
    ]
