"""What the README shows works, and what it names exists."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

import buddy_sessions
from buddy_sessions import BuddyClient, BuddyError, ClientClosedError, StatusError, SuiteKey
from buddy_sessions.testing import FakeBuddy

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def _line(block: str) -> str:
    return f"line {README[: README.index(block)].count(chr(10)) + 1}"


# Bots and servers never end by themselves, and a test is run by pytest: they have tests of their own. What needs other
# tools is run by tests/integrations.
SERVICES = ("buddy.watch(", "make_app", "fastapi", "discord", "def test_", "duckdb", "pandas", "import dlt", "prefect")


@pytest.mark.parametrize("block", [one for one in BLOCKS if not any(word in one for word in SERVICES)], ids=_line)
async def test_every_example_runs(fake: FakeBuddy, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    fake.add_suite("my-company", "my-project", "MNbyVedg").populate(250)
    monkeypatch.setenv("BUDDY_TOKEN", fake.token)
    monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        await asyncio.to_thread(exec, compile(block, "README.md", "exec"), {"__name__": "__main__"})
    assert printed.getvalue()


def test_the_first_example_is_an_async_for_of_at_most_ten_lines() -> None:
    lines = BLOCKS[0].strip().splitlines()
    assert len(lines) <= 10
    assert any("async for" in line for line in lines)


def test_the_table_of_settings_names_every_argument_with_its_default() -> None:
    table = README.partition("| argument of `BuddyClient`")[2].partition("\n\n")[0]
    for name, parameter in inspect.signature(BuddyClient).parameters.items():
        assert f"`{name}`" in table
        if isinstance(parameter.default, int | float):
            (row,) = [row for row in table.splitlines() if f"`{name}`" in row]
            assert f"{parameter.default:g}" in row


def test_the_table_of_errors_names_every_error_that_a_client_raises() -> None:
    table = README.partition("| error | what to do |")[2].partition("\n\n")[0]
    raised = {name for name in buddy_sessions.__all__ if name.endswith("Error")}
    bases = {BuddyError.__name__, StatusError.__name__}
    assert set(re.findall(r"`(\w+Error)`", table)) - {"ValueError"} == raised - bases


def test_the_two_commands_stand_in_it_each_on_one_line() -> None:
    commands = [line.strip() for line in README.splitlines() if line.startswith("    python3 -m venv")]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/buddy-sessions demo",
        "python3 -m venv .venv && .venv/bin/pip install -q 'nox[uv]' && .venv/bin/nox -s tests",
    ]


async def test_two_processes_with_the_recipes_budget_stay_within_it_together(fake: FakeBuddy, tmp_path: Path) -> None:
    """The recipe allows 10 requests a second."""
    (recipe,) = [block for block in BLOCKS if "SQLiteBucket" in block]
    fake.add_suite("my-company", "my-project", "MNbyVedg").populate(250)
    times: list[float] = []
    fake.on_request = lambda _: times.append(time.monotonic())
    environment = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", recipe, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    printed = [(await process.communicate())[0] for process in processes]
    assert printed == [b"250 sessions\n"] * 2
    assert len(times) == 26
    # The last six may be sent two seconds after the first; with a budget for each process it would be one.
    assert times[-1] - times[0] > 1.5


async def test_the_server_has_one_client_for_its_whole_life(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
    (server,) = [block for block in BLOCKS if "make_app" in block]
    names: dict[str, Any] = {"__name__": "server"}
    exec(compile(server, "README.md", "exec"), names)
    fake.add_suite("my-company", "my-project", "MNbyVedg").populate(30)
    monkeypatch.setenv("BUDDY_TOKEN", fake.token)
    monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
    app = names["make_app"]()
    async with TestClient(TestServer(app)) as http:
        for _ in range(2):
            async with http.get("/my-company/my-project/MNbyVedg") as response:
                assert [row["relative_id"] for row in await response.json()] == list(range(30, 20, -1))
        buddy = app[names["BUDDY"]]
    with pytest.raises(ClientClosedError):
        await buddy.suites("my-company", "my-project")


async def test_the_bot_posts_when_a_branch_turns_red_and_when_it_turns_green_again(fake: FakeBuddy) -> None:
    bot = next(block for block in BLOCKS if "buddy.watch(" in block)
    assert len(bot.splitlines()) <= 30
    names: dict[str, Any] = {"__name__": "bot"}
    exec(compile(bot.replace("every=60", "every=0.01"), "README.md", "exec"), names)
    posts: asyncio.Queue[str] = asyncio.Queue()
    names["post"] = posts.put
    suite = fake.add_suite("my-company", "my-project", "MNbyVedg").populate(30)

    async def run(status: str, branch: str = "main") -> None:
        session = suite.create(branch=branch)
        before = len(fake.requests)
        while len(fake.requests) < before + 3:  # it is seen unfinished
            await asyncio.sleep(0.005)
        suite.finish(session["id"], status=status)
        while len(fake.requests) < before + 6:
            await asyncio.sleep(0.005)

    async with asyncio.timeout(20), BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        watching = asyncio.create_task(names["watch"](buddy, [SuiteKey(*suite.key)]))
        while not fake.requests or fake.in_flight:
            await asyncio.sleep(0.005)
        for status in ("SUCCESSFUL", "ERROR", "ERROR", "SUCCESSFUL", "SUCCESSFUL"):
            await run(status)
            await run("ERROR", branch="develop")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    texts = [posts.get_nowait() for _ in range(posts.qsize())]
    assert [text.split(": ")[0].rsplit(" ", 1)[1] for text in texts] == ["green", "red", "green"]
