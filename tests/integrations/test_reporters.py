"""Buddy's own reporters on npm upload real test runs to `FakeBuddy`, and verdicts about them are right."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, NoVerdictError, TestCase
from buddy_sessions.analysis.judgement import ProgramOutcome
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.real_runs import CI, PACKAGES, RUNNERS, Repository
from helpers.uploads import GIT, trial_commands

NPM = shutil.which("npm")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NPM is None, reason="npm is not on the PATH")]

TESTS = {"adds": "", "applies the discount": "", "has lines": "", "removes": ""}
OLD = {"applies the discount": "throw new Error('20 is not 18')"}
NEW = {"has lines": "undefined.lines"}
MESSAGES = {
    "has lines": "Cannot read properties of undefined (reading 'lines')",
    "applies the discount": "20 is not 18",
}
PASSES = {True: "passes", False: "fails", None: "no verdict"}
CIS: tuple[CI, ...] = ("github", "gitlab", "circleci")


async def run_in(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, which is its home."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `node_modules` with the runners and the reporters."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text(json.dumps({"private": True}))
    command = [str(NPM), "install", "--no-audit", "--no-fund", "--silent", *PACKAGES]
    installed = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"npm cannot install the reporters: {installed.stderr.strip()[:200]}")
    return folder / "node_modules"


async def gate(buddy: BuddyClient, suite: FakeSuite, revision: str, outcome: ProgramOutcome | None = None) -> str:
    """Return what a gate says, the failing tests with their novelty, and the kinds of its reasons."""
    try:
        judgement = await buddy.judge(suite.key, revision, outcome=outcome)
    except NoVerdictError:
        return "no session"
    tests = [f"{title_of(test.case)} is {test.novelty}" for test in judgement.tests]
    reasons = [reason.kind for reason in judgement.reasons]
    return ", ".join([PASSES[judgement.passes], *tests]) + (f" ({', '.join(reasons)})" if reasons else "")


def title_of(case: TestCase) -> str:
    return next(title for title in TESTS if case.name.endswith(title))


async def status(buddy: BuddyClient, suite: FakeSuite) -> str:
    """Return the status of main, and since which commit."""
    (status,) = await buddy.status([suite.key])
    assert (status.branch, list(status.remarks)) == ("main", [])
    assert status.since is not None
    return f"{'red' if status.is_failing else 'green'} since {status.since.revision}"


async def check_history(buddy: BuddyClient, suite: FakeSuite, repository: Repository) -> None:
    """Upload a history: main breaks, and pull requests of it break more, nothing, and a file."""

    async def check(revision: str, code: int, verdict: str) -> None:
        assert await gate(buddy, suite, revision) == verdict
        assert await gate(buddy, suite, revision, "failure" if code else "success") == verdict

    good = repository.commit(TESTS)
    await check(good, await repository.test(), "passes")
    assert await status(buddy, suite) == f"green since {good}"

    bad = repository.commit(TESTS | OLD)
    await check(bad, await repository.test(), "fails, applies the discount is new (new failure)")
    assert await status(buddy, suite) == f"red since {bad}"

    repository.switch("fix")
    worse = repository.commit(TESTS | OLD | NEW)
    both = "fails, has lines is new, applies the discount is known (new failure)"
    await check(worse, await repository.test(pull_request=7), both)
    failing = [test.case for test in (await buddy.judge(suite.key, worse)).tests]
    assert {title_of(case): case.failure and case.failure.message for case in failing} == MESSAGES
    assert {case.key.classname for case in failing} == {repository.runner.file}

    same = repository.commit(TESTS | OLD)
    await check(same, await repository.test(pull_request=7), "passes, applies the discount is known")

    broken = repository.commit(TESTS | {"adds": "}"})
    assert await repository.test(pull_request=7) != 0
    assert not (await gate(buddy, suite, broken)).startswith("passes")
    assert (await gate(buddy, suite, broken, "failure")).startswith("fails")
    assert await status(buddy, suite) == f"red since {bad}"


@pytest.mark.parametrize("runner", RUNNERS)
async def test_verdicts(runner: str, modules: Path, tmp_path: Path, fake: FakeBuddy, buddy: BuddyClient) -> None:
    """From GitHub, GitLab and CircleCI at once."""
    async with asyncio.TaskGroup() as tasks:
        for ci in CIS:
            suite = fake.add_suite("acme", "shop", ci)
            repository = Repository(tmp_path / ci, modules, runner, ci, fake, suite)
            tasks.create_task(check_history(buddy, suite, repository))


@pytest.mark.parametrize("keeps", [True, False], ids=["each-attempt-is-kept", "the-last-one-replaces-the-others"])
async def test_retry(
    keeps: bool, modules: Path, tmp_path: Path, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """Playwright ends well, and its reporter closes the session as failed."""
    fake.keeps_repeated_cases = keeps
    repository = Repository(tmp_path / "shop", modules, "playwright", "github", fake, suite)
    revision = repository.commit(TESTS | {"removes": "if (test.info().retry === 0) throw new Error('at first')"})
    assert await repository.test("--retries=1") == 0, repository.output
    assert (await gate(buddy, suite, revision)).startswith("fails")
    retried = ", removes is retried" if keeps else ""
    assert await gate(buddy, suite, revision, "success") == f"passes{retried}"


async def test_trial_of_the_readme(modules: Path, fake_buddy: FakeBuddy, tmp_path: Path) -> None:
    """With the packages that are installed."""
    suite = fake_buddy.add_suite("acme", "storefront", "MNbyVedg")
    (tmp_path / "package.json").write_text(json.dumps({"private": True}))
    (tmp_path / "node_modules").symlink_to(modules)
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
    assert "  try.test.js > fails\n" in process.stdout
    assert "Fails: 1 new failure\n" in process.stdout
