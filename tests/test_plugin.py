"""The pytest plugin, in runs of pytest as users have them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PLUGIN = "buddy_sessions.testing.plugin"
pytest_plugins = ["pytester"]

ASYNCHRONOUS = """
async def test_my_bot(fake_buddy, buddy_client):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg")
    broken = suite.create(status="ERROR")
    newest = await buddy_client.sessions(*suite.key, max_sessions=1).collect()
    assert newest[0].id == broken["id"]

async def test_a_long_walk(fake_buddy, buddy_client):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg").populate(250)
    names = []
    async for session in buddy_client.sessions(*suite.key, per_page=10):
        names.append(session.relative_id)
        suite.create()
        if session.relative_id % 2:
            suite.delete(session.id)
    assert names == list(range(250, 0, -1))
    assert len(fake_buddy.requests) > 25

async def test_a_walk_that_ends_early(fake_buddy, buddy_client):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg").populate(250)
    async for session in buddy_client.sessions(*suite.key, per_page=10):
        break
"""
SYNCHRONOUS = """
import asyncio, os, subprocess, sys
from buddy_sessions import BuddyClient

async def newest(client):
    return [session.id for session in await client.sessions("acme", "shop", "MNbyVedg", max_sessions=1).collect()]

def test_a_loop_of_its_own(fake_buddy, buddy_client):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg")
    created = suite.create()
    assert asyncio.run(newest(buddy_client)) == [created["id"]]

def test_the_environment_leads_to_it(fake_buddy):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg").populate(2)
    async def main():
        async with BuddyClient.from_env() as client:
            return await newest(client)
    assert asyncio.run(main()) == [suite.sessions[0]["id"]]

def test_a_process(fake_buddy):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg").populate(2)
    command = [sys.executable, "-m", "buddy_sessions", "list", "acme/shop/MNbyVedg", "--format", "jsonl"]
    assert suite.sessions[0]["id"] in subprocess.check_output(command, text=True)

def test_nothing_stays_of_it():
    assert not {"BUDDY_TOKEN", "BUDDY_API_URL"} & set(os.environ)
    assert os.environ["BUDDY_API_ENDPOINT"] == "https://buddy.example.com/api"
"""
STRICT = "import pytest\npytestmark = pytest.mark.asyncio\n"
ANYIO = """
import pytest
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    """A run loads the plugins that it names, so that none makes up for another, and has no settings of this project."""
    pytester.makeini("[pytest]")  # nox keeps temporary folders inside the checkout
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # Where the machine that the tests run on has it set, it would beat what the plugin sets.
    monkeypatch.setenv("BUDDY_API_ENDPOINT", "https://buddy.example.com/api")


def run(pytester: pytest.Pytester, *options: str, tests: str) -> pytest.RunResult:
    pytester.makepyfile(tests)
    return pytester.runpytest_subprocess("-W", "error", "-p", PLUGIN, *options, timeout=60)


@pytest.mark.parametrize(
    ("mark", "settings"),
    [
        pytest.param("", ["asyncio_mode=auto"], id="auto"),
        pytest.param(STRICT, ["asyncio_mode=strict"], id="strict"),
        pytest.param("", ["asyncio_mode=auto", "asyncio_default_test_loop_scope=session"], id="one loop for all"),
    ],
)
def test_a_test_of_pytest_asyncio_reads_what_it_has_made(
    pytester: pytest.Pytester, mark: str, settings: list[str]
) -> None:
    options = [part for each in ["asyncio_default_fixture_loop_scope=function", *settings] for part in ("-o", each)]
    run(pytester, "-p", "pytest_asyncio.plugin", *options, tests=mark + ASYNCHRONOUS).assert_outcomes(passed=3)


def test_a_test_of_anyio_reads_what_it_has_made(pytester: pytest.Pytester) -> None:
    run(pytester, "-p", "anyio.pytest_plugin", tests=ANYIO + ASYNCHRONOUS).assert_outcomes(passed=3)


def test_a_synchronous_test_has_loops_and_processes_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SYNCHRONOUS)
    pytester.runpytest_inprocess("-W", "error", "-p", PLUGIN).assert_outcomes(passed=4)


def test_the_example_of_the_readme_passes_as_it_stands(pytester: pytest.Pytester) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "fake_buddy" in block]
    options = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    run(pytester, "-p", "pytest_asyncio.plugin", *options, tests=example).assert_outcomes(passed=1)


def test_the_project_names_the_plugin_to_pytest() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert module == PLUGIN
