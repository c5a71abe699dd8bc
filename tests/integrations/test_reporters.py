"""Buddy's own reporter on npm, in Jest, uploads to `FakeBuddy`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy

NPM = shutil.which("npm")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NPM is None, reason="npm is not on the PATH")]

PACKAGES = ["@buddy-works/unit-tests@0.20.0", "jest@30"]
TESTS = """
describe('Cart', () => {
  test('adds', () => {})
  test('applies the discount', () => expect(20).toBe(18))
  test('has lines', () => undefined.lines)
})
"""
RUN = "https://github.com/acme/shop/actions/runs/17"
SHA = "1cc809d4a7d4c1e5cbd1e7b4b5f3d0a1c2e3f405"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Jest and the reporter are installed."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text(json.dumps({"private": True}))
    command = [str(NPM), "install", "--no-audit", "--no-fund", "--silent", *PACKAGES]
    installed = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"npm cannot install Jest and the reporter: {installed.stderr.strip()[:200]}")
    (folder / "cart.test.js").write_text(TESTS)
    return folder


async def test_jest_uploads_a_session(project: Path, fake_buddy: FakeBuddy, buddy_client: BuddyClient) -> None:
    suite = fake_buddy.add_suite("acme", "shop", "MNbyVedg")
    github = {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_RUN_ID": "17",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REF_NAME": "main",
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_SHA": SHA,
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(project), "BUDDY_UT_TOKEN": suite.upload_token, **github}
    jest = await asyncio.to_thread(
        subprocess.run,
        ["npx", "jest", "--ci", "--reporters=@buddy-works/unit-tests/jest"],
        cwd=project,
        env={**environment, "BUDDY_API_URL": str(fake_buddy.base_url)},
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert jest.returncode == 1
    (session,) = await buddy_client.sessions(suite.key).collect()
    assert (session.is_finished, session.status, session.tests_count, session.failed_count) == (True, "ERROR", 3, 2)
    assert (session.branch, session.revision, session.ci_run_url) == ("main", SHA, RUN)
    assert session.created_by is None
    failures = await buddy_client.failures(suite.key, session, details=True)
    assert {str(case.key) for case in failures} == {
        "cart.test.js > Cart > applies the discount",
        "cart.test.js > Cart > has lines",
    }
    messages = {case.failure.type: case.failure.message or "" for case in failures if case.failure is not None}
    assert "Expected: 18\nReceived: 20" in messages[None]
    assert messages["TypeError"].startswith("Cannot read properties of undefined")
