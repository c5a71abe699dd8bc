"""Buddy's own reporters on npm upload to `FakeBuddy` from Jest, Mocha and Vitest."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy
from helpers.recordings import environment_of, requests_of
from helpers.uploads import GIT, trial_commands

NPM = shutil.which("npm")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NPM is None, reason="npm is not on the PATH")]

PACKAGES = ["@buddy-works/unit-tests@0.20.0", "jest@30", "mocha@11", "vitest@4"]
RUNNERS = {
    "jest": ("cart.test.js", ["jest", "--ci", "--reporters=@buddy-works/unit-tests/jest"]),
    "mocha": ("cart.js", ["mocha", "--reporter", "@buddy-works/unit-tests/mocha", "cart.js"]),
    "vitest": ("cart.spec.mjs", ["vitest", "run", "--reporter=@buddy-works/unit-tests/vitest", "cart.spec"]),
}
TESTS = """
describe('Cart', () => {
  it('adds', () => new Promise((done) => setTimeout(done, 1500)))  // Mocha's reporter loses what ends at once
  it('applies the discount', () => assert.equal(20, 18))
  it('has lines', () => undefined.lines)
})
"""
GITHUB = "ci-github-push"


async def run_in(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a folder, which is its home."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=environment, check=False, capture_output=True, timeout=120
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the runners and the reporters are installed."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text(json.dumps({"private": True}))
    command = [str(NPM), "install", "--no-audit", "--no-fund", "--silent", *PACKAGES]
    installed = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"npm cannot install the reporters: {installed.stderr.strip()[:200]}")
    for name, _ in RUNNERS.values():
        imports = "const assert = require('assert')"
        if name.endswith(".mjs"):
            imports = "import { assert, describe, it } from 'vitest'"
        (folder / name).write_text(imports + TESTS)
    return folder


@pytest.mark.parametrize("runner", RUNNERS)
async def test_reporter_uploads_a_session(
    runner: str, project: Path, fake_buddy: FakeBuddy, buddy_client: BuddyClient
) -> None:
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg")
    file, command = RUNNERS[runner]
    variables = {"BUDDY_UT_TOKEN": suite.upload_token, "BUDDY_API_URL": str(fake_buddy.base_url)}
    process = await run_in(project, "npx", *command, **environment_of(GITHUB), **variables)
    assert process.returncode, process.stdout
    (session,) = await buddy_client.sessions(suite.key).collect()
    assert (session.is_finished, session.status, session.tests_count, session.failed_count) == (True, "ERROR", 3, 2)
    expected = requests_of(GITHUB)[0]["json"]
    assert {name: getattr(session, name) for name in expected} == expected
    assert session.created_by is None
    failures = await buddy_client.failures(suite.key, session, details=True)
    separator = " " if runner == "mocha" else " > "
    titles = [separator.join(["Cart", title]) for title in ("applies the discount", "has lines")]
    assert [str(case.key) for case in failures] == [f"{file} > {title}" for title in titles]
    discount, lines = (case.failure for case in failures)
    assert discount is not None
    assert "20" in (discount.message or "")
    assert lines is not None
    assert (lines.type, lines.message) == ("TypeError", "Cannot read properties of undefined (reading 'lines')")


async def test_trial_of_the_readme(project: Path, fake_buddy: FakeBuddy, tmp_path: Path) -> None:
    """With the packages that are installed."""
    suite = fake_buddy.add_suite("acme", "storefront", "MNbyVedg")
    (tmp_path / "package.json").write_text(json.dumps({"private": True}))
    (tmp_path / "node_modules").symlink_to(project / "node_modules")
    (tmp_path / "cart.test.js").write_text("test('adds', () => expect(1 + 1).toBe(2))")
    variables = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), **GIT}
    variables |= {"BUDDY_TOKEN": fake_buddy.token, "BUDDY_API_URL": str(fake_buddy.base_url)}
    variables |= {"BUDDY_UT_TOKEN": suite.upload_token}
    install, *commands = trial_commands()
    names = {package.rpartition("@")[0] for package in PACKAGES}
    assert {*install.removeprefix("npm install --save-dev ").split()} <= names
    script = "\n".join(["git init -qb main", "git add cart.test.js", "git commit -qm main", *commands])
    process = await run_in(tmp_path, "bash", "-c", script, **variables)
    assert process.returncode == 1, process.stderr
    failure = json.loads(process.stdout.splitlines()[-1])
    assert (failure["classname"], failure["name"], failure["baseline"]) == ("try.test.js", "fails", "new")
