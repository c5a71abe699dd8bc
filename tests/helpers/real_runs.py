"""Test runs with Git and Buddy's own reporters on npm, in the environment of a CI."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.uploads import GIT

PACKAGES = ["@buddy-works/unit-tests@0.20.0", "jest@30", "mocha@11", "vitest@4", "@playwright/test@1"]
CI = Literal["github", "gitlab", "circleci"]


class Runner(NamedTuple):
    """A test runner: its file, what begins it, its functions, and its command."""

    file: str
    imports: str
    describe: str
    test: str
    command: tuple[str, ...]


RUNNERS = {
    "jest": Runner(
        "cart.test.js",
        "const assert = require('assert')",
        "describe",
        "test",
        ("jest", "--ci", "--rootDir=.", "--reporters=@buddy-works/unit-tests/jest"),
    ),
    "vitest": Runner(
        "cart.spec.mjs",
        "import { assert, describe, it } from 'vitest'",
        "describe",
        "it",
        ("vitest", "run", "--root=.", "--reporter=@buddy-works/unit-tests/vitest", "cart.spec"),
    ),
    "mocha": Runner(
        "cart.js",
        # Mocha's reporter loses what ends before it is ready.
        "const assert = require('assert'); before((done) => setTimeout(done, 1500))",
        "describe",
        "it",
        ("mocha", "--reporter", "@buddy-works/unit-tests/mocha", "cart.js"),
    ),
    "playwright": Runner(
        "cart.spec.js",
        "const assert = require('assert'); const { test } = require('@playwright/test')",
        "test.describe",
        "test",
        ("playwright", "test", "--reporter=@buddy-works/unit-tests/playwright", "cart.spec.js"),
    ),
}


def ci_variables(ci: CI, number: int, branch: str, revision: str, *, pull_request: int | None = None) -> dict[str, str]:
    """Return the variables of a CI for its run with this number: of a push, or of a pull request."""
    if ci == "github":
        ref = branch if pull_request is None else f"{pull_request}/merge"
        variables = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/web",
            "GITHUB_EVENT_NAME": "push" if pull_request is None else "pull_request",
            "GITHUB_REF": f"refs/heads/{branch}" if pull_request is None else f"refs/pull/{ref}",
            "GITHUB_REF_NAME": ref,
            "GITHUB_REF_TYPE": "branch",
            "GITHUB_SHA": revision if pull_request is None else "feedface" * 5,
            "GITHUB_RUN_ID": str(1_000_000 + number),
            "GITHUB_RUN_ATTEMPT": "1",
        }
        return variables | ({} if pull_request is None else {"GITHUB_HEAD_REF": branch, "GITHUB_BASE_REF": "main"})
    if ci == "gitlab":
        source = {"CI_PIPELINE_SOURCE": "push" if pull_request is None else "merge_request_event"}
        return {"GITLAB_CI": "true", "CI_COMMIT_SHA": revision, "CI_COMMIT_REF_NAME": branch, **source}
    url = {"CIRCLE_BUILD_URL": f"https://circleci.com/gh/acme/web/{number}"}
    if pull_request is not None:
        url["CIRCLE_PULL_REQUEST"] = f"https://github.com/acme/web/pull/{pull_request}"
    return {"CIRCLECI": "true", "CIRCLE_SHA1": revision, "CIRCLE_BRANCH": branch, **url}


class Repository:
    """A Git repository whose tests are run with one runner, and uploaded from one CI.

    Attributes:
        branch: The branch that is checked out.
    """

    def __init__(self, folder: Path, modules: Path, runner: str, ci: CI, fake: FakeBuddy, suite: FakeSuite) -> None:
        self.folder, self.runner = folder, RUNNERS[runner]
        self.ci: CI = ci
        self.branch = "main"
        self._bin = modules / ".bin"
        self._number = 0
        self.upload = {"BUDDY_UT_TOKEN": suite.upload_token, "BUDDY_API_URL": str(fake.base_url)}
        folder.mkdir(parents=True)
        (folder / "node_modules").symlink_to(modules)
        (folder / "package.json").write_text(json.dumps({"private": True}))
        (folder / ".gitignore").write_text("node_modules\ntmp\ntest-results\n")
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        """Run a Git command, and return what it prints."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **GIT}
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def switch(self, branch: str) -> None:
        """Check out a new branch, which begins at the commit that is checked out."""
        self.git("checkout", "-q", "-b", branch)
        self.branch = branch

    def commit(self, tests: Mapping[str, str]) -> str:
        """Commit these tests, the body of each by its title. Return the hash of the commit."""
        runner = self.runner
        lines = [f"  {runner.test}({json.dumps(title)}, () => {{ {body} }})" for title, body in tests.items()]
        text = "\n".join([runner.imports, f"{runner.describe}('Cart', () => {{", *lines, "})", ""])
        (self.folder / runner.file).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")

    async def test(self, *arguments: str, pull_request: int | None = None) -> int:
        """Run the tests of the commit that is checked out, as a job of the CI does; return the exit code."""
        self._number += 1
        revision = self.git("rev-parse", "HEAD")
        environment = ci_variables(self.ci, self._number, self.branch, revision, pull_request=pull_request)
        temporary = self.folder / "tmp" / str(self._number)
        temporary.mkdir(parents=True)
        if self.ci == "github" and pull_request is not None:
            event = temporary / "event.json"
            event.write_text(json.dumps({"pull_request": {"number": pull_request, "head": {"sha": revision}}}))
            environment["GITHUB_EVENT_PATH"] = str(event)
        if self.ci == "gitlab":  # checks out a commit, not a branch
            self.git("checkout", "-q", "--detach")
            for name in ("FORCED_ENV_BRANCH", "BUDDY_BRANCH"):  # its newer name
                environment[name] = environment["CI_COMMIT_REF_NAME"]
        command, *options = self.runner.command
        process = await asyncio.create_subprocess_exec(
            *(str(self._bin / command), *options, *arguments),
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(temporary), "TMPDIR": str(temporary), "CI": "true"}
            | environment
            | self.upload,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        async with asyncio.timeout(120):
            self.output, _ = await process.communicate()
        if self.ci == "gitlab":
            self.git("checkout", "-q", self.branch)
        assert process.returncode is not None
        return process.returncode
