"""The examples of the README that need a framework: what they say is what happens."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions.testing import FakeBuddy

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def example(word: str) -> dict[str, Any]:
    """Run the example that has a word in it, and return its names."""
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if word in block]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, "README.md", "exec"), names)
    return names


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    async with FakeBuddy() as fake:
        fake.add_suite("my-company", "my-project", "MNbyVedg").populate(30)
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        yield fake


@pytest.mark.usefixtures("fake")
async def test_a_fastapi_application_has_one_client_for_its_whole_life() -> None:
    uvicorn = pytest.importorskip("uvicorn")
    app = example("fastapi")["app"]
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/my-company/my-project/MNbyVedg"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        rows = await response.json()
    assert [row["relative_id"] for row in rows] == list(range(30, 20, -1))
    server.should_exit = True
    await serving
    assert "BuddyClient" in repr(app.state.buddy)
    with pytest.raises(Exception, match="closed"):
        await app.state.buddy.suites("my-company", "my-project")


async def test_a_discord_bot_posts_what_changes_until_it_is_closed(fake: FakeBuddy) -> None:
    discord = pytest.importorskip("discord")
    posts: asyncio.Queue[str] = asyncio.Queue()

    base: Any = example("discord")["Bot"]

    class Bot(base):  # type: ignore[misc]  # a class that the README defines
        async def post(self, text: str) -> None:
            await posts.put(text)

        async def watch(self, keys: Any) -> None:
            watch = example("discord")["BuddyClient"].watch
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("buddy_sessions.BuddyClient.watch", lambda buddy, keys: watch(buddy, keys, every=0.01))
                await super().watch(keys)

    bot = Bot(intents=discord.Intents.none())
    await bot.setup_hook()
    while not fake.requests:
        await asyncio.sleep(0.01)
    suite = fake.suites["my-company", "my-project", "MNbyVedg"]
    while fake.in_flight:
        await asyncio.sleep(0.01)
    session = suite.create()
    assert await posts.get() == f"my-company/my-project/MNbyVedg: new {session['html_url']}"
    await bot.close()
    assert bot.watching.done()
