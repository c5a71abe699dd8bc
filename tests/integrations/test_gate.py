"""The jobs of the guide, and the action for GitHub: their steps run in a shell, with a fake API of GitHub.

The variables of GitHub, and what a session of it stores, are those of the recordings.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from buddy_sessions import SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.recordings import environment_of, requests_of
from helpers.workflow_commands import commands_in

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "gate"
GUIDE = (ROOT / "buddy_sessions" / "cli" / "GATE.md").read_text(encoding="utf-8")
KEY = SuiteKey("acme", "storefront", "MNbyVedg")
MARKER = f"<!-- buddy-sessions gate {KEY} -->\n"
PULL_REQUEST, PUSH, RERUN = "ci-github-pull-request", "ci-github-push", "ci-github-rerun"
BOT = "github-actions[bot]"
GITHUB_SHELL = "bash --noprofile --norc -e -o pipefail -c"
QUEUE = "gh-readonly-queue/main/pr-7-0d9c8b7"


def stored_by(recording: str) -> dict[str, Any]:
    """Return the fields of the session that a reporter creates in this CI."""
    return {**requests_of(recording)[0]["json"], "created_by": None}


def minutes_ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def run_shell(shell: str, script: str, folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run a script with these words of a shell. Return its exit code, and what it prints."""
    environment = {"PATH": os.environ["PATH"], **variables}
    process = await asyncio.create_subprocess_exec(
        *shell.split(), script, cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(120):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


class GitHub:
    """A part of GitHub's API: the attempts of a run, and the comments in pull request 7.

    Attributes:
        comments: The text of each comment, by ID.
        people: The IDs of the comments that people wrote; the others are those of workflows.
        is_forbidden: Whether all requests are refused.
    """

    def __init__(self) -> None:
        self.comments = {1: "Looks good.", 2: f"Why do I see {MARKER}?"}
        self.people = {1, 2}
        self.is_forbidden = False
        app = web.Application()
        repository = "/repos/acme/web"
        app.router.add_get(f"{repository}/actions/runs/1234567890/attempts/2", self._show_attempt)
        app.router.add_get(f"{repository}/issues/7/comments", self._list)
        app.router.add_post(f"{repository}/issues/7/comments", self._write)
        app.router.add_patch(f"{repository}/issues/comments/{{id}}", self._write)
        self.server = TestServer(app)

    def _check(self, request: web.Request) -> None:
        assert request.headers["Authorization"] == "Bearer of-github"
        if self.is_forbidden:
            raise web.HTTPForbidden

    async def _show_attempt(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"id": 1234567890, "run_attempt": 2, "run_started_at": minutes_ago(30)})

    async def _list(self, request: web.Request) -> web.Response:
        self._check(request)
        first = 100 * (int(request.query["page"]) - 1)
        listed = [
            {"id": number, "body": body, "user": {"login": "ada" if number in self.people else BOT}}
            for number, body in self.comments.items()
        ]
        return web.json_response(listed[first : first + 100])

    async def _write(self, request: web.Request) -> web.Response:
        self._check(request)
        number = int(request.match_info.get("id", len(self.comments) + 1))
        if number in self.people:
            raise web.HTTPForbidden
        self.comments[number] = (await request.json())["body"]
        return web.json_response({"id": number})


class Gate:
    """The action in a folder of its own: its step for the verdict, in the CI of a recording.

    Attributes:
        inputs: The inputs of the action.
        variables: The environment of its commands.
    """

    def __init__(self, recording: str, folder: Path, fake: FakeBuddy, github: GitHub) -> None:
        action = yaml.safe_load((ACTION / "action.yml").read_text())
        self.folder, self.files = folder, folder / "of-github"
        self.files.mkdir()
        (folder / "buddy-sessions").symlink_to(sys.prefix)  # what the step before installs
        self.inputs = {name: str(each.get("default", "")) for name, each in action["inputs"].items()}
        self.inputs |= {"suite": str(KEY), "token": fake.token, "outcome": "failure", "options": "--timeout 2s"}
        self._step = action["runs"]["steps"][-1]
        self.variables = {
            **environment_of(recording),
            "BUDDY_API_URL": str(fake.base_url),
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_API_URL": str(github.server.make_url("")).rstrip("/"),
            "RUNNER_TEMP": str(folder),
            **{name: str(self.files / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")},
        }
        self.variables.setdefault("GITHUB_RUN_ATTEMPT", "1")
        self.pull_request = "7" if self.variables["GITHUB_EVENT_NAME"] == "pull_request" else ""
        self.head = "acme/web" if self.pull_request else ""

    async def judge(self) -> tuple[int, str]:
        """Run the gate. Return its exit code, and what it prints."""
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            (self.files / name).unlink(missing_ok=True)
        context = {f"inputs.{name}": value for name, value in self.inputs.items()}
        event = "github.event.pull_request"
        context |= {"github.token": "of-github", f"{event}.number": self.pull_request}
        context[f"{event}.head.repo.full_name"] = self.head
        environment = {
            name: re.sub(r"\$\{\{ (\S+) \}\}", lambda match: context[match[1]], value)
            for name, value in self._step["env"].items()
        }
        environment = {"HOME": str(self.folder), "PYTHONPATH": ".", **self.variables, **environment}
        code, out = await run_shell(GITHUB_SHELL, self._step["run"], self.folder, environment)
        assert self.inputs["token"] not in out or not self.inputs["token"]
        return code, out

    @property
    def summary(self) -> str:
        """The Markdown of the summary."""
        file = self.files / "GITHUB_STEP_SUMMARY"
        return file.read_text() if file.exists() else ""

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs of the step."""
        lines = (self.files / "GITHUB_OUTPUT").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


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
    for number in range(3):
        add(suite, "old", revision=f"0d9c8b7{number}" * 5, branch="main", create_date=minutes_ago(90))
    return suite


@pytest.fixture
def open_gate(fake: FakeBuddy, github: GitHub, tmp_path: Path) -> Any:
    """Return the gate in the CI of a recording."""
    return lambda recording: Gate(recording, tmp_path, fake, github)


def add(suite: FakeSuite, failing: str = "", *, tests: str = "passes old new", **fields: Any) -> dict[str, Any]:
    """Add a session with these tests, of which some fail."""
    cases: list[dict[str, Any]] = [{"name": name} for name in tests.split()]
    for case in cases:
        if case["name"] in failing.split():
            case |= {"status": "FAILED", "message": f"{case['name']} is wrong"}
    return suite.create(cases=cases, **fields)


VERDICTS: dict[str, tuple[dict[str, Any] | None, dict[str, str], int, str]] = {
    "green": ({}, {"outcome": "success"}, 0, "✅ Passes: 0 new failures"),
    "known failure": ({"failing": "old"}, {}, 0, "✅ Passes: 0 new failures, 1 known"),
    "new failure": ({"failing": "old new"}, {}, 1, "❌ Fails: 1 new failure, 1 known"),
    "no session, and tests that failed": (None, {}, 1, "the tests failed, but no session of them was found"),
    "cancelled": (None, {"outcome": "cancelled"}, 5, "the tests were cancelled"),
    "token that is rejected": ({}, {"token": "wrong"}, 4, "No verdict"),
}


@pytest.mark.parametrize("verdict", VERDICTS)
async def test_verdict_is_in_each_place(verdict: str, suite: FakeSuite, open_gate: Any, github: GitHub) -> None:
    """The exit code, the log, the summary, the outputs and the comment say the same."""
    session, inputs, code, shown = VERDICTS[verdict]
    gate = open_gate(PULL_REQUEST)
    gate.inputs |= inputs
    if session is not None:
        add(suite, **stored_by(PULL_REQUEST), **session)
    found, out = await gate.judge()
    assert found == code, out
    assert gate.summary.startswith(MARKER)
    assert shown in gate.summary
    assert gate.outputs["verdict"] == {0: "passes", 1: "fails"}.get(code, "none")
    counts = (int(verdict == "new failure"), int("old" in (session or {}).get("failing", ""))) if code < 2 else ("", "")
    assert (gate.outputs["new"], gate.outputs["known"]) == tuple(map(str, counts))
    assert [command.name for command in commands_in(out)] == ["error"] * (code > 0)
    comment = f"{gate.summary}\n<!-- run 1234567890 -->\n"
    assert github.comments.get(3) == (None if verdict == "green" else comment)


@pytest.mark.parametrize(
    ("recording", "variables", "stored"),
    [
        (PUSH, {}, {}),
        (PULL_REQUEST, {}, {}),
        (PUSH, {"GITHUB_EVENT_NAME": "merge_group", "GITHUB_REF_NAME": QUEUE}, {"ref_name": QUEUE}),
    ],
    ids=["push", "pull request", "merge queue"],
)
async def test_sessions_of_each_event_are_found(
    recording: str, variables: dict[str, str], stored: dict[str, str], suite: FakeSuite, open_gate: Any, github: GitHub
) -> None:
    """Each job of a matrix has a session. One of another run of the same commit does not count."""
    gate = open_gate(recording)
    gate.variables |= variables
    fields = {**stored_by(recording), **stored}
    add(suite, "old", **fields)
    add(suite, "new", **fields)
    add(suite, "other", **{**fields, "ci_run_url": "https://github.com/acme/web/actions/runs/1234567891"})
    code, out = await gate.judge()
    assert code == 1, out
    assert [name for name in ("new", "old", "other") if f"{name}</code>" in gate.summary] == ["new", "old"]
    assert (len(github.comments) == 3) == (recording == PULL_REQUEST)


@pytest.mark.parametrize("is_begin_known", [True, False])
async def test_failed_jobs_are_run_again(
    is_begin_known: bool, suite: FakeSuite, open_gate: Any, github: GitHub
) -> None:
    """What was red before this attempt is replaced, also if GitHub does not say when it began: then that is said."""
    gate, github.is_forbidden = open_gate(RERUN), not is_begin_known
    stored = stored_by(RERUN)
    add(suite, "new", **stored, create_date=minutes_ago(60), finish_date=minutes_ago(59))
    add(suite, **stored, create_date=minutes_ago(10))
    gate.inputs["outcome"] = "success"
    code, out = await gate.judge()
    assert (code, is_begin_known or "does not count: the outcome is success" in out) == (0, True), out
    assert ("give the workflow actions: read" in out) == (not is_begin_known)


async def test_one_comment_is_updated(suite: FakeSuite, open_gate: Any, github: GitHub) -> None:
    """It is found behind 100 others, also of people who copied it."""
    github.comments |= dict.fromkeys(range(3, 103), f"{MARKER}Me, too.")
    github.people.update(range(3, 103))
    gate = open_gate(PULL_REQUEST)
    session, before = add(suite, "new", **stored_by(PULL_REQUEST)), {**github.comments}
    assert (await gate.judge())[0] == 1
    assert "❌ Fails: 1 new failure" in github.comments[103]
    suite.finish(session, "SUCCESSFUL", cases=[{"name": name} for name in ("passes", "old", "new")])
    gate.inputs["outcome"] = "success"
    assert (await gate.judge())[0] == 0
    assert "✅ Passes: 0 new failures" in github.comments.pop(103)
    assert github.comments == before


@pytest.mark.parametrize(("run", "is_newer"), [(1234567889, False), (1234567890, False), (1234567891, True)])
async def test_comment_of_a_newer_run_stays(
    run: int, is_newer: bool, suite: FakeSuite, open_gate: Any, github: GitHub
) -> None:
    """A test that prints the marker of a run is no run."""
    github.comments[3] = f"{MARKER}<!-- run 9999999999 --> failed\n\n<!-- run {run} -->"
    gate = open_gate(PULL_REQUEST)
    add(suite, "new", **stored_by(PULL_REQUEST))
    code, out = await gate.judge()
    assert (code, "Fails" not in github.comments[3], f"newer run {run}" in out) == (1, is_newer, is_newer), out


@pytest.mark.parametrize(("comment", "notices"), [("true", 1), ("false", 0)])
async def test_refused_comment_changes_no_verdict(
    comment: str, notices: int, suite: FakeSuite, open_gate: Any, github: GitHub
) -> None:
    github.is_forbidden = True
    gate = open_gate(PULL_REQUEST)
    gate.inputs["comment"] = comment
    add(suite, "old", **stored_by(PULL_REQUEST))
    code, out = await gate.judge()
    assert code == 0, out
    assert [command.properties["title"] for command in commands_in(out)] == ["No comment"] * notices


@pytest.mark.parametrize(
    ("outcome", "code", "verdict"),
    [
        ("success", 0, "passes"),
        ("success skipped", 0, "passes"),
        ("success failure cancelled", 1, "fails"),
        ("success cancelled", 5, "none"),
        ("skipped skipped", 5, "none"),
        ("", 2, "none"),
        ("success ", 2, "none"),
        (" success", 2, "none"),
        ("success  success", 2, "none"),
        ("success, failure", 2, "none"),
        ("successful", 2, "none"),
    ],
)
async def test_outcome_decides_without_a_token(outcome: str, code: int, verdict: str, open_gate: Any) -> None:
    """The order of several is that of the option --outcome."""
    gate = open_gate(PULL_REQUEST)
    gate.head = "ada/web"
    gate.inputs |= {"outcome": outcome, "token": ""}
    found, out = await gate.judge()
    names = [command.name for command in commands_in(out)]
    is_empty = "" in outcome.split(" ")
    assert (found, names, gate.outputs["verdict"]) == (
        code,
        ["error"] if is_empty else ["notice"] + ["error"] * (code == 2),
        verdict,
    )
    assert gate.outputs["new"] == gate.outputs["known"] == ""


@pytest.mark.parametrize(
    ("recording", "variables", "head", "level"),
    [
        (PULL_REQUEST, {}, "ada/web", "notice"),
        (PULL_REQUEST, {}, "", "notice"),  # the fork was deleted
        (PULL_REQUEST, {"GITHUB_ACTOR": "dependabot[bot]"}, "acme/web", "notice"),
        (PULL_REQUEST, {}, "acme/web", "warning"),
        (PUSH, {}, "", "warning"),
    ],
    ids=["fork", "deleted fork", "Dependabot", "own branch", "push"],
)
async def test_missing_secret_is_a_warning(
    recording: str, variables: dict[str, str], head: str, level: str, open_gate: Any
) -> None:
    """It is usual only in pull requests of forks and of Dependabot."""
    gate = open_gate(recording)
    gate.head, gate.variables = head, gate.variables | variables
    gate.inputs |= {"outcome": "success", "token": ""}
    code, out = await gate.judge()
    assert (code, [command.name for command in commands_in(out)]) == (0, [level])


async def test_arguments_of_programs_have_no_token(
    suite: FakeSuite, open_gate: Any, github: GitHub, tmp_path: Path
) -> None:
    """All processes of a machine see them."""
    curl = shutil.which("curl")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "curl"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/arguments"\nexec {curl} "$@"\n')
    program.chmod(0o755)
    gate = open_gate(PULL_REQUEST)
    gate.variables["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    add(suite, "new", **stored_by(PULL_REQUEST))
    assert (await gate.judge())[0] == 1
    arguments = (tmp_path / "arguments").read_text()
    assert ("issues/7/comments" in arguments, "of-github" in arguments) == (True, False)
    assert 3 in github.comments


MODULES = ("venv", "logging", "json", "typing", "sysconfig", "buddy_sessions", "aiohttp")


async def test_modules_of_the_checkout_do_not_run(suite: FakeSuite, open_gate: Any) -> None:
    gate = open_gate(PUSH)
    for name in MODULES:
        (gate.folder / f"{name}.py").write_text("raise SystemExit('of the checkout')")
    add(suite, "old", **stored_by(PUSH))
    code, out = await gate.judge()
    assert (code, "of the checkout" in out) == (0, False), out


async def install(checkout: Path, **variables: str) -> tuple[int, str]:
    """Run the step that installs, in a checkout with modules of its own; the action is a copy that pins nothing."""
    action = checkout / "action" / ".github" / "actions" / "gate"
    action.mkdir(parents=True)
    shutil.copy(ACTION / "install.sh", action)
    (action / "requirements.txt").touch()
    (checkout / "action" / "buddy_sessions.py").write_text("print('of the action')")
    for name in MODULES:
        (checkout / f"{name}.py").write_text("raise SystemExit('of the checkout')")
    step = yaml.safe_load((ACTION / "action.yml").read_text())["runs"]["steps"][0]["run"]
    variables |= {"GITHUB_ACTION_PATH": str(action), "RUNNER_TEMP": str(checkout / "temp"), "PYTHONPATH": "."}
    return await run_shell(GITHUB_SHELL, step, checkout, variables)


async def test_installed_package_is_that_of_the_action(tmp_path: Path) -> None:
    code, out = await install(tmp_path)
    assert code == 0, out
    python = tmp_path / "temp" / "buddy-sessions" / "bin" / "python"
    assert await run_shell(f"{python} -I -m", "buddy_sessions", tmp_path, {}) == (0, "of the action\n")


async def test_old_python_is_named_first(tmp_path: Path) -> None:
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\nexit 1\n")  # what the check of the version ends with
    old.chmod(0o755)
    code, out = await install(tmp_path, PATH=f"{old.parent}{os.pathsep}{os.environ['PATH']}")
    (error,) = commands_in(out)
    assert (code, error.name, error.data.partition(" is")[0]) == (2, "error", "Python 3.11 or later")


def test_dependencies_are_pinned_with_hashes() -> None:
    """Of each dependency of the command line, one release, whose files have hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    needed = {re.split("[>=<]", each)[0] for each in requirements}
    entries = re.split(r"\n(?=\S)", (ACTION / "requirements.txt").read_text().strip())
    assert needed <= {entry.partition("==")[0] for entry in entries}
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


async def test_inputs_are_options(suite: FakeSuite, open_gate: Any) -> None:
    """Also with spaces."""
    gate = open_gate(PUSH)
    (gate.folder / "my tests.toml").write_text('[[test]]\nname = "*new"\nuntil = 2099-12-31\nreason = "SHOP-7"\n')
    gate.inputs |= {"baseline": "main", "quarantine": "my tests.toml"}
    add(suite, "old new", **stored_by(PUSH))
    code, out = await gate.judge()
    assert (code, "Passes: 0 new failures, 1 known, 1 quarantined" in out) == (0, True), out
    assert (gate.outputs["new"], gate.outputs["known"]) == ("0", "2")


def test_guide_uses_inputs_that_there_are() -> None:
    inputs = yaml.safe_load((ACTION / "action.yml").read_text())["inputs"]
    steps = re.findall(
        r"^( +)- uses: OWNER/buddy_sessions/.github/actions/gate@\w+.*\n((?:\1  .*\n)+)", GUIDE, re.MULTILINE
    )
    assert steps
    for _, step in steps:
        used = yaml.safe_load(step)["with"]
        assert used.keys() <= inputs.keys()
        assert {name for name, each in inputs.items() if each.get("required")} <= used.keys()


def section_of_the_guide(title: str) -> tuple[str, list[Any]]:
    """Return the text of a section, and its blocks of YAML."""
    section = GUIDE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return section, [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]


class PytestOnGitHub:
    """The guide's workflow for pytest, in the CI of a gate.

    Attributes:
        context: The values of the expressions `${{ … }}`.
    """

    def __init__(self, gate: Gate, suite: FakeSuite, commit: str) -> None:
        _, (workflow, *_) = section_of_the_guide("Set it up")
        *steps, self._judge = workflow["jobs"]["tests"]["steps"]
        self._test, self._upload = (step for step in steps if "junit.xml" in step.get("run", ""))
        self._gate = gate
        self.context = {
            "secrets.BUDDY_UT_TOKEN": suite.upload_token,
            "secrets.BUDDY_TOKEN": gate.inputs["token"],
            "github.ref_name": gate.variables["GITHUB_REF_NAME"],
            "github.event.pull_request.head.sha || github.sha": commit,
        }

    async def run(self) -> tuple[int, str]:
        """Run the tests, the upload and the gate. Return how the last step ended that ran, and what it printed."""
        code, _ = await self._run_shell(self._test)
        self.context[f"steps.{self._test['id']}.outcome"] = "failure" if code else "success"
        code, out = await self._run_shell(self._upload)
        if code:
            return code, out
        self._gate.inputs |= self._fill_in(self._judge["with"])
        return await self._gate.judge()

    def _fill_in(self, values: dict[str, str]) -> dict[str, str]:
        expression = re.compile(r"\$\{\{ (.+?) \}\}")
        return {name: expression.sub(lambda match: self.context[match[1]], value) for name, value in values.items()}

    async def _run_shell(self, step: dict[str, Any]) -> tuple[int, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        variables = {**self._gate.variables, "PATH": path, **self._fill_in(step.get("env", {}))}
        return await run_shell(GITHUB_SHELL, step["run"], self._gate.folder, variables)


@pytest.mark.parametrize("recording", [PUSH, PULL_REQUEST])
@pytest.mark.parametrize(
    ("tests", "code", "shown"),
    [
        ("import os\ndef test_a(): assert not {'BUDDY_TOKEN', 'BUDDY_UT_TOKEN'} & {*os.environ}", 0, "Passes: 0 new"),
        ("def test_a(): assert 1 == 2", 1, "Fails: 1 new failure"),
        ("import no_such_module", 1, "Fails: 1 new failure"),
    ],
    ids=["tests pass, without a token", "new failure", "file that cannot be loaded"],
)
async def test_pytest_on_github(
    tests: str, code: int, shown: str, recording: str, suite: FakeSuite, open_gate: Any
) -> None:
    """The session has the branch, the commit and the CI run that Buddy's reporters store."""
    gate, stored = open_gate(recording), stored_by(recording)
    (gate.folder / "test_shop.py").write_text(tests)
    found, out = await PytestOnGitHub(gate, suite, stored["revision"]).run()
    assert (found, shown in out) == (code, True), out
    names = ("ref_type", "ref_name", "revision", "ci_run_url")
    assert [suite.sessions[0][name] for name in names] == [stored[name] for name in names]


@pytest.mark.parametrize(
    ("wrong", "test", "code", "shown"),
    [
        ({"secrets.BUDDY_UT_TOKEN": "wrong"}, "assert 1 == 1", 5, "no session"),
        ({"secrets.BUDDY_UT_TOKEN": "wrong"}, "assert 1 == 2", 1, "no session"),
        ({"github.ref_name": ""}, "assert 1 == 1", 1, "BRANCH: "),
    ],
    ids=["lost upload, tests pass", "lost upload, a test fails", "no branch"],
)
async def test_pytest_without_a_session_does_not_pass(
    wrong: dict[str, str], test: str, code: int, shown: str, suite: FakeSuite, open_gate: Any
) -> None:
    gate = open_gate(PUSH)
    (gate.folder / "test_shop.py").write_text(f"def test_a(): {test}")
    workflow = PytestOnGitHub(gate, suite, "d15ea5ed" * 5)
    workflow.context |= wrong
    found, out = await workflow.run()
    assert (found, shown in out, len(suite.sessions)) == (code, True, 3), out


CIS: dict[str, tuple[str, dict[str, str]]] = {
    "GitLab": ("bash -eo pipefail -c", {"CI_COMMIT_REF_NAME": "fix"}),
    "GitLab without bash": ("dash -e -c", {"CI_COMMIT_REF_NAME": "fix"}),
    "CircleCI": ("bash -eo pipefail -c", {"CIRCLE_SHA1": "HEAD"}),
    "Jenkins": ("dash -xe -c", {"BRANCH_NAME": "fix"}),
    "Bitbucket": ("sh -e -c", {"BITBUCKET_COMMIT": "another"}),
    "Azure": ("bash --noprofile --norc -c", {}),
    "Buddy": ("sh -c", {"BUDDY_RUN_COMMIT": "HEAD"}),
}
"""The shell of each CI, and the variables that the guide names; HEAD stands for the commit."""

ATTEMPTS: dict[str, tuple[str, dict[str, Any] | None, int, str]] = {
    "tests pass, without the token": ('test -z "$BUDDY_TOKEN"', {}, 0, "Passes: 0 new failures"),
    "new failure": ("false", {"failing": "new"}, 1, "Fails: 1 new failure"),
    "file that cannot be loaded": ("sh -c 'exit 2'", {}, 1, "the tests failed, but no test did"),
}
"""How the tests end, what they upload, the exit code of the gate, and what it says."""


STUBS = {
    "apt-get": "",
    "pip": "",
    "python3": """test "$1 $2" = "-m venv"
mkdir -p "$3/bin"
printf '#!/bin/sh\\ntest "$1 $2" = "install -q"\\n' > "$3/bin/pip"
chmod +x "$3/bin/pip"
ln -sf {bin}/buddy-sessions "$3/bin/"
""",
}
"""Programs that would install something from elsewhere, and what they do instead."""


class OtherCI:
    """A CI with a clone, and the job of the guide for it."""

    def __init__(self, name: str, folder: Path, fake: FakeBuddy) -> None:
        shell, variables = CIS[name]
        section, (job, pytest_lines, jobs) = section_of_the_guide("In any other CI")
        commit = re.search(rf"^- {name}: .*, the commit `(.*?)`", section, re.MULTILINE)
        (in_jenkins,) = re.findall(r"sh '''\n(.*?)\n +'''", section, re.DOTALL)
        *tests, gate = textwrap.dedent(in_jenkins).splitlines() if name == "Jenkins" else job["tests"]["script"]
        gate = gate.replace("$(git rev-parse HEAD)", commit[1] if commit else "$(git rev-parse HEAD)")
        gate += " --timeout 2s --quiet"
        before, after, load = (each.replace("\n", " ") for each in re.findall(r"`([^`]*tests\.env)`", section))
        self.one_step = ["\n".join([*tests, gate])]
        self.two_steps = ["\n".join([before, *tests, after]), f"{load}\n{gate}"]
        self.without_file = ["\n".join(tests), gate]
        self.with_pytest = ["\n".join([*tests[:-1], *pytest_lines, gate])]
        unit, joined = ("\n".join(jobs[each]["script"]) for each in ("unit", "gate"))
        self.two_jobs = [unit, unit.replace("TEST", "E2E"), f"{joined} --timeout 2s --quiet"]
        (of_forks,) = re.findall(r"of a fork[^`]*`(.*?)`", section)
        self.of_forks = ["\n".join([*tests, f"{of_forks} {gate}"])]
        self._shell, self._folder = shell, folder
        for program, script in STUBS.items():
            self.install(program, script.replace("{bin}", str(Path(sys.executable).parent)))
        self._environment = {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "SUITE": job["tests"]["variables"]["SUITE"],
            "BUDDY_BRANCH": "fix",
            "BUDDY_TOKEN": fake.token,
            "BUDDY_API_URL": str(fake.base_url),
        }
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.example")
        subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], cwd=folder, check=True)
        self.head = subprocess.check_output([*git, "rev-parse", "HEAD"], cwd=folder, text=True).strip()
        self._environment |= {name: value.replace("HEAD", self.head) for name, value in variables.items()}

    def install(self, program: str, script: str) -> None:
        """Add a program to those of the machine."""
        path = self._folder / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh -e\n{script}\n")
        path.chmod(0o755)

    async def run(self, steps: list[str], test: str, **variables: str) -> tuple[int, str]:
        """Run steps with this test command, each in a shell of its own, until one fails; return how the last ended."""
        code, out = 0, ""
        for step in steps:
            script, environment = step.replace("TEST", test), {**self._environment, **variables}
            code, out = await run_shell(self._shell, script, self._folder, environment)
            if code:
                break
        return code, out


@pytest.mark.parametrize("steps", ["one_step", "two_steps"])
@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("ci", CIS)
async def test_lines_for_any_other_ci(
    ci: str, attempt: str, steps: str, suite: FakeSuite, fake: FakeBuddy, tmp_path: Path
) -> None:
    """They judge the commit that the reporters of this CI store, and ignore what was red before this attempt."""
    test, session, code, shown = ATTEMPTS[attempt]
    server = OtherCI(ci, tmp_path, fake)
    add(suite, "new", branch="fix", revision=server.head, create_date=minutes_ago(20), finish_date=minutes_ago(19))
    if session is not None:
        add(suite, branch="fix", revision=server.head, create_date=minutes_ago(-1), **session)
    found, out = await server.run(getattr(server, steps), test)
    assert (found, shown in out) == (code, True), out


@pytest.mark.parametrize("ci", CIS)
async def test_lost_variables_do_not_pass(ci: str, suite: FakeSuite, fake: FakeBuddy, tmp_path: Path) -> None:
    """The gate is in a second step, without a file, or with that of tests which did not end."""
    server = OtherCI(ci, tmp_path, fake)
    add(suite, branch="fix", revision=server.head, create_date=minutes_ago(-1))
    assert (await server.run(server.without_file, "false"))[0] == 2
    assert (await server.run(server.two_steps, "true"))[0] == 0
    killed, judge = server.two_steps
    assert (await server.run([killed.partition("(unset")[0], judge], "true"))[0] in {1, 2}


@pytest.mark.parametrize(("test", "code"), [("true", 0), ("false", 1)])
@pytest.mark.parametrize("ci", CIS)
async def test_lines_of_a_fork(ci: str, test: str, code: int, fake: FakeBuddy, tmp_path: Path) -> None:
    """Without a token, the outcome decides; with one, the gate finds no session."""
    server = OtherCI(ci, tmp_path, fake)
    assert (await server.run(server.of_forks, test, BUDDY_TOKEN=""))[0] == code
    assert (await server.run(server.of_forks, test))[0] != 0


@pytest.mark.parametrize(
    ("script", "code", "shown"),
    [
        ('echo "$XML" > "${1#*=}"', 0, "Passes: 0 new failures"),
        ('echo "$XML" | sed "s:/>:><failure/></testcase>:" > "${1#*=}"; exit 1', 1, "Fails: 1 new failure"),
        ("exit 4", 1, "the tests failed, but no session of them was found"),
    ],
    ids=["tests pass", "new failure", "no file"],
)
@pytest.mark.parametrize("ci", CIS)
async def test_lines_for_pytest(
    ci: str, script: str, code: int, shown: str, suite: FakeSuite, fake: FakeBuddy, tmp_path: Path
) -> None:
    """The session is that of the branch and the commit; an upload that fails does not end the job."""
    server = OtherCI(ci, tmp_path, fake)
    server.install("pytest", f'test -z "$BUDDY_TOKEN"\n{script}')
    xml = '<testsuite><testcase classname="a" name="passes"/></testsuite>'
    found, out = await server.run(server.with_pytest, "", XML=xml, BUDDY_UT_TOKEN=suite.upload_token)
    assert (found, shown in out) == (code, True), out
    uploaded = [each for each in suite.sessions if each["revision"] == server.head]
    assert [each["ref_name"] for each in uploaded] == ["fix"] * ("no session" not in shown)


@pytest.mark.parametrize("ci", CIS)
async def test_lines_for_pytest_need_a_branch(ci: str, suite: FakeSuite, fake: FakeBuddy, tmp_path: Path) -> None:
    server = OtherCI(ci, tmp_path, fake)
    server.install("pytest", "exit 1")
    variables = {"BUDDY_UT_TOKEN": suite.upload_token, "BUDDY_BRANCH": "", "BRANCH_NAME": ""}
    code, out = await server.run(server.with_pytest, "", **variables)
    assert (code != 0, "Fails" in out) == (True, False), out
    assert ("BRANCH_NAME: " if ci == "Jenkins" else "BUDDY_BRANCH: ") in out


@pytest.mark.parametrize(
    ("unit", "e2e", "count", "code"),
    [("true", "true", 2, 0), ("false", "true", 2, 1), ("true", "exit 3", 2, 1), ("true", "true", 1, 6)],
    ids=["both pass", "unit fails", "e2e fails", "lost upload"],
)
@pytest.mark.parametrize("ci", ["GitLab", "GitLab without bash"])
async def test_two_jobs_on_gitlab(
    ci: str, unit: str, e2e: str, count: int, code: int, suite: FakeSuite, fake: FakeBuddy, tmp_path: Path
) -> None:
    """Both outcomes and both sessions count; in a fork, only the outcomes. Without their files, nothing passes."""
    server = OtherCI(ci, tmp_path, fake)
    for _ in range(count):
        add(suite, branch="fix", revision=server.head, create_date=minutes_ago(1))
    unit_job, e2e_job, judge = server.two_jobs
    assert (await server.run([judge], "", CI_PIPELINE_CREATED_AT=minutes_ago(5)))[0] == 2
    assert (await server.run([judge], "", BUDDY_TOKEN=""))[0] == 1
    assert (await server.run([unit_job], unit, CI_JOB_ID="1"))[0] == 0
    assert (await server.run([e2e_job.replace("E2E", e2e)], "", CI_JOB_ID="2"))[0] == 0
    variables = {"CI_PIPELINE_CREATED_AT": minutes_ago(5)}
    found, out = await server.run([judge], "", **variables)
    assert found == code, out
    assert (await server.run([judge], "", BUDDY_TOKEN="", **variables))[0] == (code == 1)
