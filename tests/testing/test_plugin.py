"""The pytest plugin, in separate runs of pytest."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PLUGIN = "buddy_sessions.testing.plugin"
pytest_plugins = ["pytester"]

SYNC_TESTS = """
import asyncio, os, subprocess, sys, time
from buddy_sessions import BuddyClient
from buddy_sessions.testing import Fault

async def newest(client):
    return [session.id for session in await client.sessions("acme/shop/MNbyVedg", max_sessions=1).collect()]

def test_asyncio_run(fake_buddy, buddy_client):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg")
    created = suite.create()
    assert asyncio.run(newest(buddy_client)) == [created["id"]]

def test_outage(fake_buddy, buddy_client):
    fake_buddy.add_suite("acme", "shop", "MNbyVedg")
    fake_buddy.inject(Fault.status(503), times=3)
    started = time.monotonic()
    assert asyncio.run(newest(buddy_client)) == []
    assert time.monotonic() - started < 3  # with pauses, it takes at least 3.5 s

def test_from_env(fake_buddy):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg").populate(2)
    async def main():
        async with BuddyClient.from_env() as client:
            return await newest(client)
    assert asyncio.run(main()) == [suite.sessions[0]["id"]]

def test_command_line(fake_buddy):
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg").populate(2)
    command = [sys.executable, "-m", "buddy_sessions", "list", "acme/shop/MNbyVedg", "--format", "jsonl"]
    assert suite.sessions[0]["id"] in subprocess.check_output(command, text=True)

def test_environment_is_restored():
    assert not {"BUDDY_TOKEN", "BUDDY_API_URL"} & set(os.environ)
    assert os.environ["BUDDY_API_ENDPOINT"] == "https://buddy.example.com/api"
"""


@pytest.fixture(autouse=True)
def isolated_runs(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    """Let a run load only the plugins that it names, and none of this project's settings."""
    pytester.makeini("[pytest]")  # nox keeps temporary folders inside the checkout
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # It would take precedence over the variables that the plugin sets.
    monkeypatch.setenv("BUDDY_API_ENDPOINT", "https://buddy.example.com/api")


def run(pytester: pytest.Pytester, *options: str, tests: str) -> pytest.RunResult:
    pytester.makepyfile(tests)
    return pytester.runpytest_inprocess("-W", "error", "-p", PLUGIN, *options)


def test_synchronous_tests(pytester: pytest.Pytester) -> None:
    run(pytester, tests=SYNC_TESTS).assert_outcomes(passed=5)


def test_examples_of_the_guides(pytester: pytest.Pytester) -> None:
    guide = (PROJECT / "buddy_sessions/testing/README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    code = "\n".join(each for each in examples if "def test_" in each)
    (settings,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    pytester.makepyprojecttoml(settings)
    run(pytester, "-p", "pytest_asyncio.plugin", tests=code).assert_outcomes(passed=2)


def test_entry_point() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert module == PLUGIN
