"""The recipes for frameworks do what they say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions.testing import FakeBuddy, Fault

RECIPES = Path(__file__).parent / "recipes"


def load_recipe(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": name}
    exec(compile((RECIPES / f"{name}.py").read_text(encoding="utf-8"), f"{name}.py", "exec"), names)
    return names


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy() as fake:
        fake.add_suite("acme", "storefront", "MNbyVedg").populate(30)
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        yield fake


async def test_fastapi_application(fake: FakeBuddy) -> None:
    """It has one client for its whole life, and a fitting status for each error."""
    uvicorn = pytest.importorskip("uvicorn")
    app = load_recipe("fastapi_app")["app"]
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}/acme/storefront"
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{base}/MNbyVedg") as response:
            assert [row["relative_id"] for row in await response.json()] == list(range(30, 20, -1))
        async with http.get(f"{base}/nothing") as response:
            assert response.status == 404
        fake.inject(Fault.status(429, headers={"Retry-After": "60"}))
        async with http.get(f"{base}/MNbyVedg") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "60")
    server.should_exit = True
    await serving
    assert "BuddyClient" in repr(app.state.buddy)
    with pytest.raises(Exception, match="closed"):
        await app.state.buddy.suites("acme", "storefront")


async def test_discord_bot_posts_changes_until_it_is_closed(fake: FakeBuddy) -> None:
    discord = pytest.importorskip("discord")
    posts: asyncio.Queue[str] = asyncio.Queue()
    base: Any = load_recipe("discord_bot")["Bot"]

    class Bot(base):  # type: ignore[misc]  # the base class comes from the recipe
        async def post(self, text: str) -> None:
            await posts.put(text)

        async def watch(self, suites: list[str]) -> None:
            await super().watch(suites, interval=0.01)

    bot = Bot(intents=discord.Intents.none())
    await bot.setup_hook()
    async with asyncio.timeout(10):
        while len(fake.requests) < 2:
            await asyncio.sleep(0.01)
        session = fake.suites["acme", "storefront", "MNbyVedg"].create()
        assert await posts.get() == f"acme/storefront/MNbyVedg: new {session['html_url']}"
    await bot.close()
    assert bot.watching.done()


async def test_discord_bot_stops_with_a_message_if_the_token_is_rejected(
    fake: FakeBuddy, capsys: pytest.CaptureFixture[str]
) -> None:
    discord = pytest.importorskip("discord")
    fake.token = "another"
    bot = load_recipe("discord_bot")["Bot"](intents=discord.Intents.none())
    await bot.setup_hook()
    async with asyncio.timeout(10):
        await bot.watching
    assert "The bot stops:" in capsys.readouterr().out
    assert bot.is_closed()
