"""The gates of the recipes for GitHub Actions and Buddy: their commands run in a shell, as they are in the YAML.

The variables of each CI, and what a session of it stores, are those of the recordings.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from buddy_sessions import SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.recipe_programs import RECIPES
from helpers.recordings import environment_of, requests_of

KEY = SuiteKey("acme", "storefront", "MNbyVedg")
MARKER = f"<!-- buddy-sessions failures {KEY} -->\n"
GITHUB, BUDDY = "ci-github-pull-request", "ci-buddy-pull-request"
OLD_COMMIT = "0d9c8b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170"
QUEUE = "gh-readonly-queue/main/pr-7-0d9c8b7"

both = pytest.mark.parametrize("recording", [GITHUB, BUDDY])


def is_github(recording: str) -> bool:
    return recording.startswith("ci-github")


def stored_by(recording: str) -> dict[str, Any]:
    """Return the fields of the session that a reporter creates in this CI, but for its author."""
    return {**requests_of(recording)[0]["json"], "created_by": None}


def minutes_ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


class GitHub:
    """A part of GitHub's API: the attempts of a run, and the comments in pull request 7.

    Attributes:
        comments: The text of each comment, by ID.
        is_forbidden: Whether comments are refused.
    """

    def __init__(self) -> None:
        self.comments = {1: "Looks good.", 2: f"Why do I see {MARKER}?"}
        self.is_forbidden = False
        app = web.Application()
        repository = "/repos/acme/web"
        app.router.add_get(f"{repository}/actions/runs/1234567890/attempts/2", self._show_attempt)
        app.router.add_get(f"{repository}/issues/7/comments", self._list)
        app.router.add_post(f"{repository}/issues/7/comments", self._write)
        app.router.add_patch(f"{repository}/issues/comments/{{id}}", self._write)
        self.server = TestServer(app)

    async def _show_attempt(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer of-github"
        return web.json_response({"id": 1234567890, "run_attempt": 2, "run_started_at": minutes_ago(30)})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": number, "body": body} for number, body in self.comments.items()])

    async def _write(self, request: web.Request) -> web.Response:
        if self.is_forbidden:
            raise web.HTTPForbidden
        number = int(request.match_info.get("id", len(self.comments) + 1))
        self.comments[number] = (await request.json())["body"]
        return web.json_response({"id": number})


class Gate:
    """The gate of a recipe in a folder of its own.

    Attributes:
        variables: The environment of its commands.
        runner: The result of the tests' job: `success` or `failure`.
    """

    def __init__(self, recording: str, folder: Path, fake: FakeBuddy, github: GitHub) -> None:
        self.folder = folder
        self.runner = "failure"
        self.variables = {
            **environment_of(recording),
            "BUDDY_API_URL": str(fake.base_url),
            "BUDDY_TOKEN": fake.token,
            "GITHUB_API_URL": str(github.server.make_url("")).rstrip("/"),
            "GITHUB_TOKEN": "of-github",
        }
        if is_github(recording):
            workflow = yaml.safe_load((RECIPES / "github_actions.yml").read_text())
            job = workflow["jobs"]["gate"]
            (step,) = (step for step in job["steps"] if step.get("name") == "Gate")
            assert set(step["env"]) == {"BUDDY_TOKEN", "GITHUB_TOKEN", "PULL_REQUEST", "RUNNER"}
            assert job["needs"] == "tests"
            self._before, self._script = "", step["run"]
            pull_request = "7" if self.variables["GITHUB_EVENT_NAME"] == "pull_request" else ""
            defaults = {**workflow["env"], "GITHUB_RUN_ATTEMPT": "1", "PULL_REQUEST": pull_request}
            defaults["GITHUB_STEP_SUMMARY"] = "summary.md"
        else:
            (pipeline,) = yaml.safe_load((RECIPES / "buddy.yml").read_text())
            actions = {action["action"]: action["execute_commands"] for action in pipeline["actions"]}
            assert pipeline["actions"][-1]["shell"] == "BASH"
            self._before, self._script = actions["Find the newest session"][-1], actions["Gate"][-1]
            defaults = {each["key"]: each["value"] for each in pipeline["variables"]}
        self.variables = {**defaults, **self.variables, "APPEAR_TIMEOUT": "2s", "TIMEOUT": "3s"}

    async def begin(self) -> None:
        """Run what is before the tests. It must succeed."""
        code, out = await self._run(self._before)
        assert code == 0, out

    async def judge(self) -> tuple[int, str, str]:
        """Run the gate. Return its exit code, what it prints, and the Markdown that it writes."""
        self.variables["RUNNER"] = self.runner
        (self.folder / "runner.txt").write_text(f"{self.runner}\n")
        code, out = await self._run(self._script)
        markdown = self.folder / "gate.md"
        return code, out, markdown.read_text() if markdown.exists() else ""

    async def _run(self, script: str) -> tuple[int, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            *("bash", "--noprofile", "--norc", "-e", "-c", script),
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.folder), "PYTHONIOENCODING": "utf-8", **self.variables},
            stdout=PIPE,
            stderr=STDOUT,
        )
        async with asyncio.timeout(120):
            out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()


@pytest.fixture
async def github() -> AsyncIterator[GitHub]:
    github = GitHub()
    await github.server.start_server()
    yield github
    await github.server.close()


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite in which a test fails on main."""
    suite = fake.add_suite(*KEY)
    for _ in range(3):
        add(suite, "old", revision=OLD_COMMIT, branch="main", create_date=minutes_ago(90))
    return suite


@pytest.fixture
def open_gate(fake: FakeBuddy, github: GitHub, tmp_path: Path) -> Callable[[str], Gate]:
    """Return the gate in the CI of a recording."""
    return lambda recording: Gate(recording, tmp_path, fake, github)


def add(suite: FakeSuite, failing: str = "", *, tests: str = "passes old new", **fields: Any) -> dict[str, Any]:
    """Add a session with these tests, of which some fail."""
    cases: list[dict[str, Any]] = [{"name": name} for name in tests.split()]
    for case in cases:
        if case["name"] in failing.split():
            case |= {"status": "FAILED", "message": f"{case['name']} is wrong"}
    return suite.create(cases=cases, **fields)


NO_VERDICT = "No verdict: the tests were not judged"
VERDICTS: dict[str, tuple[dict[str, Any] | None, dict[str, str], int, str]] = {
    "green": ({"runner": "success"}, {}, 0, "✅"),
    "known failure": ({"failing": "old"}, {}, 0, "old"),
    "new failure": ({"failing": "old new"}, {}, 1, "new"),
    "crash": ({"status": "ERROR", "error_message": "out of memory"}, {}, 1, "out of memory"),
    "file that cannot be loaded": ({"tests": "passes old"}, {}, 1, "❌ Tests did not run"),
    "runner that failed": ({}, {}, 1, "❌ The runner failed, but no test did"),
    "no session": (None, {}, 5, NO_VERDICT),
    "no session on the baseline": ({}, {"BASELINE": "mian"}, 5, NO_VERDICT),
    "session that does not finish": ({"status": "IN_PROGRESS"}, {}, 6, NO_VERDICT),
    "token that is rejected": ({}, {"BUDDY_TOKEN": "wrong"}, 4, NO_VERDICT),
    "server that is down": ({}, {"BUDDY_API_URL": "http://127.0.0.1:1"}, 7, NO_VERDICT),
}


@pytest.mark.parametrize(
    ("recording", "verdict"),
    [(GITHUB, verdict) for verdict in VERDICTS]
    + [(BUDDY, verdict) for verdict in ("known failure", "new failure", "runner that failed", "no session")],
)
async def test_exit_code_tells_a_red_test_from_an_outage(
    recording: str,
    verdict: str,
    suite: FakeSuite,
    open_gate: Callable[[str], Gate],
    github: GitHub,
) -> None:
    session, variables, code, shown = VERDICTS[verdict]
    gate = open_gate(recording)
    await gate.begin()
    if session is not None:
        fields = {**session}
        gate.runner = fields.pop("runner", "failure")
        add(suite, **stored_by(recording), **fields)
    gate.variables |= variables
    found, out, markdown = await gate.judge()
    assert found == code, out
    assert markdown.startswith(MARKER)
    assert shown in markdown
    assert ("title=Red::" in out or "RED:" in out) == (shown in {"new", "out of memory", "❌ Tests did not run"}), out
    assert github.comments[3] == markdown
    if is_github(recording):
        assert (gate.folder / "summary.md").read_text() == markdown
        assert ("::error" in out) == (code > 0)


@pytest.mark.parametrize(
    ("recording", "variables", "stored"),
    [
        ("ci-github-push", {}, {}),
        ("ci-github-tag", {}, {}),
        ("ci-github-push", {"GITHUB_EVENT_NAME": "merge_group", "GITHUB_REF_NAME": QUEUE}, {"ref_name": QUEUE}),
        ("ci-github-pull-request", {}, {}),
        ("ci-github-pull-request-without-event-file", {}, {}),
        ("ci-buddy-push", {}, {}),
        ("ci-buddy-pull-request", {}, {}),
        ("ci-buddy-tag", {}, {}),
    ],
    ids=lambda value: value.get("GITHUB_EVENT_NAME") if isinstance(value, dict) else value,
)
async def test_session_of_each_event_is_found(
    recording: str,
    variables: dict[str, str],
    stored: dict[str, str],
    suite: FakeSuite,
    open_gate: Callable[[str], Gate],
    github: GitHub,
) -> None:
    """Each job of a matrix has a session. One of another run of the same commit does not count at GitHub."""
    gate = open_gate(recording)
    gate.variables |= variables
    await gate.begin()
    fields = {**stored_by(recording), **stored}
    add(suite, "new", **fields)
    add(suite, "old", **fields)
    if is_github(recording):
        add(suite, "other", **{**fields, "ci_run_url": "https://github.com/acme/web/actions/runs/1234567891"})
    code, out, markdown = await gate.judge()
    assert code == 1, out
    assert [name for name in ("new", "old", "other") if f"{name}</code>" in markdown] == ["new", "old"]
    assert (len(github.comments) == 3) == ("pull-request" in recording)


@pytest.mark.parametrize("recording", ["ci-github-rerun", "ci-buddy-push"])
async def test_another_run_of_the_commit_replaces_the_first(
    recording: str, suite: FakeSuite, open_gate: Callable[[str], Gate]
) -> None:
    """Also if the first one was killed: its session never finishes."""
    gate = open_gate(recording)
    stored = stored_by(recording)
    add(suite, "new", **stored, create_date=minutes_ago(60))
    add(suite, **stored, status="IN_PROGRESS", create_date=minutes_ago(60))
    await gate.begin()
    assert (await gate.judge())[0] == 5
    add(suite, **stored)
    gate.runner = "success"
    code, out, _ = await gate.judge()
    assert code == 0, out


@both
async def test_one_comment_is_updated(
    recording: str, suite: FakeSuite, open_gate: Callable[[str], Gate], github: GitHub
) -> None:
    gate = open_gate(recording)
    await gate.begin()
    session = add(suite, "new", **stored_by(recording))
    before = {**github.comments}
    assert (await gate.judge())[0] == 1
    assert "❌ 1 new failure" in github.comments[3]
    suite.finish(session, "SUCCESSFUL", cases=[{"name": "new"}])
    gate.runner = "success"
    assert (await gate.judge())[0] == 0
    assert "✅ 0 new failures" in github.comments.pop(3)
    assert github.comments == before


async def test_refused_comment_changes_no_verdict(
    suite: FakeSuite, open_gate: Callable[[str], Gate], github: GitHub
) -> None:
    github.is_forbidden = True
    gate = open_gate(GITHUB)
    add(suite, "old", **stored_by(GITHUB))
    code, out, _ = await gate.judge()
    assert (code, "comment could not be written" in out) == (0, True)


@pytest.mark.parametrize(("runner", "code"), [("success", 0), ("failure", 1)])
async def test_pull_request_of_a_fork_has_no_token(runner: str, code: int, open_gate: Callable[[str], Gate]) -> None:
    gate = open_gate(GITHUB)
    gate.runner = runner
    gate.variables["BUDDY_TOKEN"] = ""
    found, out, _ = await gate.judge()
    assert (found, "::notice title=No gate::" in out) == (code, True)


async def test_begin_of_an_attempt_that_is_unknown(suite: FakeSuite, open_gate: Callable[[str], Gate]) -> None:
    """Without it, a session of the attempt before would be judged."""
    gate = open_gate("ci-github-rerun")
    gate.variables["GITHUB_RUN_ATTEMPT"] = "3"
    add(suite, **stored_by("ci-github-rerun"))
    code, out, markdown = await gate.judge()
    assert code > 1, out
    assert NO_VERDICT in markdown
