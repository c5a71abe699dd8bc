"""The gates of the recipes for GitHub Actions and Buddy: their commands run in a shell, as they are in the YAML."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from buddy_sessions import SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.recipe_programs import RECIPES

KEY = SuiteKey("acme", "storefront", "MNbyVedg")
SHA, OTHER_SHA = "5ff36f3a1b2c3d4e5f60718293a4b5c6d7e8f901", "0d9c8b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170"
RUN = "68f1edd1def5c92bcd57c"
SUMMARY = "summary.md"


def github(environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the commands before the tests and of the gate, and the environment, of the workflow."""
    workflow = yaml.safe_load((RECIPES / "github_actions.yml").read_text())
    steps = {step["name"]: step["run"] for step in workflow["jobs"]["tests"]["steps"] if "name" in step}
    variables = {"GITHUB_SHA": SHA, "GITHUB_STEP_SUMMARY": SUMMARY, "GITHUB_ENV": "github.env"}
    return [steps["Find the newest session"], steps["Gate"]], workflow["env"] | variables | environment


def buddy(environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the same of the pipeline, which needs no command before the tests."""
    (pipeline,) = yaml.safe_load((RECIPES / "buddy.yml").read_text())
    (gate,) = (action for action in pipeline["actions"] if action["action"] == "Gate")
    assert gate["shell"] == "BASH"
    variables = {each["key"]: each["value"] for each in pipeline["variables"]}
    variables |= {"BUDDY_RUN_COMMIT": SHA, "BUDDY_RUN_HASH": RUN}
    return ["", gate["execute_commands"][-1].replace("tests.md", SUMMARY)], variables | environment


async def run(script: str, folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run a script in a folder. Return its exit code and what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc", "-e", "-c", script),
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "PYTHONIOENCODING": "utf-8", **variables},
        stdout=PIPE,
        stderr=STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite in which a test fails on main."""
    suite = fake.add_suite(*KEY)
    for _ in range(3):
        add(suite, "old", revision=OTHER_SHA, branch="main", execution_id=None)
    return suite


def add(suite: FakeSuite, failing: str = "", **fields: Any) -> dict[str, Any]:
    """Add a session in which the tests with these names fail: of the tested commit, unless the fields say another."""
    cases: list[dict[str, Any]] = [{"name": "passes"}]
    cases += [{"name": name, "status": "FAILED", "message": f"{name} is wrong"} for name in failing.split()]
    return suite.create(cases=cases, **{"branch": "fix", "revision": SHA, "execution_id": RUN, **fields})


VERDICTS: dict[str, tuple[Callable[[FakeSuite], object], dict[str, str], int, str]] = {
    "green": (add, {}, 0, ""),
    "known failure": (lambda suite: add(suite, "old"), {}, 0, "old"),
    "new failure": (lambda suite: add(suite, "old new"), {}, 1, "new"),
    "crash": (lambda suite: add(suite, status="ERROR", error_message="out of memory"), {}, 1, "out of memory"),
    "no session": (lambda suite: None, {}, 5, "**No verdict:**"),
    "no session on the baseline": (add, {"BASELINE": "mian"}, 5, "**No verdict:**"),
    "session that does not finish": (lambda suite: add(suite, status="IN_PROGRESS"), {}, 6, "**No verdict:**"),
    "token that is rejected": (add, {"BUDDY_TOKEN": "wrong"}, 4, "**No verdict:**"),
    "server that is down": (add, {"BUDDY_API_URL": "http://127.0.0.1:1"}, 7, "**No verdict:**"),
}


def environment_of(fake: FakeBuddy) -> dict[str, str]:
    url = str(fake.base_url)
    return {"BUDDY_API_URL": url, "BUDDY_TOKEN": fake.token, "APPEAR_TIMEOUT": "2s", "TIMEOUT": "3s"}


@pytest.mark.parametrize("recipe", [github, buddy])
@pytest.mark.parametrize(("change", "environment", "code", "summary"), VERDICTS.values(), ids=VERDICTS)
async def test_exit_code_tells_a_red_test_from_an_outage(
    recipe: Callable[..., Any],
    fake: FakeBuddy,
    suite: FakeSuite,
    tmp_path: Path,
    change: Callable[[FakeSuite], object],
    environment: dict[str, str],
    code: int,
    summary: str,
) -> None:
    change(suite)
    (_, gate), variables = recipe(environment_of(fake) | environment)
    found, out = await run(gate, tmp_path, variables)
    assert found == code, out
    if recipe is github or code <= 1:
        assert summary in (tmp_path / SUMMARY).read_text()
    assert ("New failures" in out or "NEW FAILURES" in out) == (code == 1)
    assert ("No verdict" in out or "NO VERDICT" in out) == (code > 1)


@pytest.mark.parametrize("recipe", [github, buddy])
async def test_another_run_of_the_commit_replaces_the_first(
    recipe: Callable[..., Any], fake: FakeBuddy, suite: FakeSuite, tmp_path: Path
) -> None:
    add(suite, "new", execution_id="first")
    (before, gate), variables = recipe(environment_of(fake))
    assert (await run(before, tmp_path, variables))[0] == 0
    if (file := tmp_path / "github.env").exists():  # the variables of the next steps
        variables |= dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert (await run(gate, tmp_path, variables))[0] == 5
    add(suite)
    assert (await run(gate, tmp_path, variables))[0] == 0
