"""Authors that only a clone knows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mcp import Client
from mcp_types import TextContent

from buddy_sessions import BuddyClient
from buddy_sessions.cli.commands.mcp_server import make_server
from buddy_sessions.cli.suite_selection import KeyDefaults
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, sync_database

A = "acme/shop/a"


@pytest.fixture
def commit(tmp_path: Path) -> str:
    """A commit of Grażyna in the clone `web`."""
    git = ("git", "-C", str(tmp_path / "web"), "-c", "user.name=Grażyna Lis", "-c", "user.email=g@example.com")
    subprocess.run(["git", "init", "-q", str(tmp_path / "web")], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    return subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()


@pytest.fixture(autouse=True)
def broken(suite: FakeSuite, fake: FakeBuddy, commit: str, tmp_path: Path) -> None:
    """A test fails since that commit. The clone does not have the others; Buddy knows the author of one."""
    for revision, author in (("abad1dea" * 5, None), ("beef" * 10, {"name": "Ann"})):
        suite.create(cases=[{"name": "pays"}], revision=revision, created_by=author)
    for revision in (commit, "f00d" * 10):
        cases = [{"name": "pays", "status": "FAILED", "message": "lost"}]
        suite.create(cases=cases, revision=revision, created_by=None)
    sync_database(fake, tmp_path / "x.db", cases="failed")


COMMANDS = {
    "status": ["status", "acme/shop", "--format", "table"],
    "history": ["history", A, "pays", "--format", "table"],
    "gate": ["gate", A, "4"],
    "report": ["report", "--db", "x.db", "--format", "jsonl"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_clone_knows_the_author(command: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which the command runs, or the one of the option. Without a clone or Git, nobody is named."""
    monkeypatch.chdir(tmp_path)
    assert "Grażyna Lis" in call(*COMMANDS[command], "--git", "web").out
    code, out, err = call(*COMMANDS[command])
    assert (code, "Grażyna" in out, "git" in err) == (0, False, False)
    assert ("Ann" in out) == (command == "history")
    monkeypatch.chdir(tmp_path / "web")
    words = [word.replace("x.db", "../x.db") for word in COMMANDS[command]]
    assert "Grażyna Lis" in call(*words).out
    monkeypatch.setenv("PATH", "")  # without Git
    code, out, _ = call(*words)
    assert (code, "Grażyna" in out) == (0, False)


def test_named_folder_must_be_a_clone(
    fake: FakeBuddy, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option names it for its authors: without them, nothing would say that it is misspelt."""
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))  # the folders of tests can be in a clone
    requests = len(fake.requests)
    for folder, reason in {"plain": "not a git repository", "gone": "No such file"}.items():
        code, out, err = call("status", "acme/shop", "--git", folder)
        assert (code, out, err.count("\n"), reason in err) == (2, "", 1, True)
        assert err.startswith(f"error: Invalid value for --git: cannot read commits in '{folder}': ")
    monkeypatch.setenv("PATH", "")
    code, out, err = call("status", "acme/shop", "--git", "web")
    assert (code, out, "'git': no such file" in err, len(fake.requests)) == (2, "", True, requests)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("list_suites", {"project": "acme"}),
        ("get_failures", {"suite": A}),
        ("get_test_history", {"suite": A, "test": "pays"}),
    ],
    ids=str,
)
async def test_agents_get_the_author(tool: str, arguments: dict[str, str], tmp_path: Path) -> None:
    for clone, is_known in (("web", True), ("gone", False)):
        async with (
            BuddyClient.from_env() as buddy,
            Client(make_server(buddy, KeyDefaults(), tmp_path / clone)) as client,
        ):
            (content,) = (await client.call_tool(tool, arguments)).content
        assert isinstance(content, TextContent)
        assert ("Grażyna Lis" in content.text) == is_known
