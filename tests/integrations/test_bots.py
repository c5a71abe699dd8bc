"""The bots for Slack and Discord, as programs of their own, with as much of both services as they need."""

from __future__ import annotations

import asyncio
import html
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from buddy_sessions.testing import FakeBuddy
from helpers.recipe_programs import copy_recipe, finish, run_program, running

ON_FAKE_DISCORD = """
import runpy, sys, discord, yarl
url = sys.argv[2]
discord.http.Route.BASE = url[:-1]
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "gateway")
runpy.run_path(sys.argv[1], run_name="__main__")
"""
TOKENS = {"SLACK_BOT_TOKEN": "xoxb-fake", "DISCORD_TOKEN": "fake.discord.token"}
AUTHORIZATIONS = ("Bearer xoxb-fake", "Bot fake.discord.token")
CHANNEL = 42
USER = {"id": "7", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}


def json_response(content: object, *, status: int = 200) -> web.Response:
    """Return a response with JSON. discord.py decodes it only if its type has no parameters."""
    headers = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(content).encode(), status=status, headers=headers)


class FakeChat:
    """A fake Slack and a fake Discord, as their documentation describes both APIs and the gateway.

    Attributes:
        posts: The texts that bots have posted, as they were sent.
        rejections: How many of the next messages are rejected.
    """

    def __init__(self) -> None:
        self.posts: asyncio.Queue[str] = asyncio.Queue()
        self.rejections = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints of both services."""
        texts = dict.fromkeys(("name", "description", "icon", "verify_key"), "")
        flags = dict.fromkeys(("flags", "bot_public", "bot_require_code_grant"), 0)
        application = {"id": "7", "owner": USER, **texts, **flags}
        channel = {"id": str(CHANNEL), "guild_id": "9", "type": 0, "name": "builds", "position": 0}
        channel |= {"parent_id": None, "permission_overwrites": []}
        return [
            web.post("/auth.test", self.respond({"ok": True, "user_id": "U1"})),
            web.post("/chat.postMessage", self.post),
            web.get("/users/@me", self.respond(USER)),
            web.get("/oauth2/applications/@me", self.respond(application)),
            web.get("/channels/{channel}", self.respond(channel)),
            web.post("/channels/{channel}/messages", self.post),
            web.get("/gateway", self.gateway),
        ]

    @staticmethod
    def respond(content: object) -> Any:
        """Return a handler that responds with JSON, if the token is right."""

        async def handler(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") in AUTHORIZATIONS:
                return json_response(content)
            status = 200 if request.path == "/auth.test" else 401
            return json_response({"ok": False, "error": "invalid_auth", "message": "Unauthorized"}, status=status)

        return handler

    async def post(self, request: web.Request) -> web.Response:
        """Accept a message, unless it is to be rejected."""
        if request.headers.get("Authorization") not in AUTHORIZATIONS:
            return json_response({"ok": False, "error": "invalid_auth", "message": "Unauthorized"}, status=401)
        if self.rejections:
            self.rejections -= 1
            return json_response({"ok": False, "error": "channel_not_found"}, status=403)
        post = await request.json()
        self.posts.put_nowait(post.get("text") or post.get("markdown_text") or post["content"])
        message: dict[str, Any] = {"id": "1", "channel_id": str(CHANNEL), "type": 0, "author": USER, "content": ""}
        message |= {name: [] for name in ("embeds", "attachments", "mentions", "mention_roles")}
        message |= {"pinned": False, "mention_everyone": False, "tts": False, "edited_timestamp": None}
        return json_response({"ok": True, "ts": "1.0", **message, "timestamp": "2026-01-01T00:00:00+00:00"})

    async def gateway(self, request: web.Request) -> web.WebSocketResponse:
        """Serve the gateway of Discord."""
        gateway = web.WebSocketResponse()
        await gateway.prepare(request)
        await gateway.send_json({"op": 10, "d": {"heartbeat_interval": 45_000}})
        async for message in gateway:
            match message.json()["op"]:
                case 1:
                    await gateway.send_json({"op": 11})
                case 2:
                    data = {"v": 10, "user": USER, "guilds": [], "session_id": "1"}
                    data["resume_gateway_url"] = "ws://[::1]:1"
                    await gateway.send_json({"op": 0, "t": "READY", "s": 1, "d": data})
        return gateway


@pytest.fixture(params=["discord_bot", "slack_bot"])
async def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("discord")
    pytest.importorskip("slack_sdk")
    return str(request.param)


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat()


@asynccontextmanager
async def bot(
    fake: FakeBuddy, folder: Path, chat: FakeChat, name: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a bot, in a folder of its own."""
    app = web.Application()
    app.add_routes(chat.routes())
    async with TestServer(app) as server:
        url, constants = str(server.make_url("/")), {"INTERVAL": 0.05, "RETRY": 0.05}
        command: tuple[str | Path, ...]
        if name == "slack_bot":
            command = (copy_recipe(name, folder, **constants, SLACK_API=url),)
        else:
            command = ("-c", ON_FAKE_DISCORD, copy_recipe(name, folder, **constants, CHANNEL=CHANNEL), url)
        async with running(fake, folder, *command, **(TOKENS | environment)) as process:
            yield process


def results(*failing: str) -> list[dict[str, str]]:
    """Return the test cases of a session: of all these tests, some fail."""
    names = ("adds", "pays", "next", "hidden", "@everyone <!channel>")
    return [
        {"name": name, "classname": "", "test_group_name": "cart", "status": "FAILED" if name in failing else "PASSED"}
        for name in names
    ]


async def test_bot_posts_the_tests_that_newly_fail(fake: FakeBuddy, chat: FakeChat, name: str, tmp_path: Path) -> None:
    """At its first start, all that fail. It posts again what the chat has not accepted, and mentions nobody."""
    suite = fake.add_suite("acme", "storefront", "MNbyVedg")
    suite.create(cases=results())

    async def next_post() -> list[str]:
        return html.unescape((await chat.posts.get()).replace("\\", "")).splitlines()

    async with bot(fake, tmp_path, chat, name):
        while len(fake.requests) < 2:  # it reports each session from now on
            await asyncio.sleep(0.01)
        chat.rejections = 2
        suite.create(branch="feature", cases=results("hidden"))
        session = suite.create(cases=results("adds", "pays"))
        lines = await next_post()
        assert "acme/storefront/MNbyVedg is red on main:" in lines[0]
        assert [lines[1], *(line[2:] for line in lines[2:])] == [session["html_url"], "cart > adds", "cart > pays"]
        suite.create(cases=results("adds", "next"))
        assert [line[2:] for line in (await next_post())[2:]] == ["cart > next"]
        suite.create(cases=results())
        assert "is green on main:" in (await next_post())[0]
    suite.create(cases=results("@everyone <!channel>"))
    async with bot(fake, tmp_path, chat, name) as process:
        while "is green on main:" in (post := await chat.posts.get()):
            pass  # the bot was killed before it had asked for the next event, so this one is repeated
        assert "everyone" in post
        assert ("<!channel>" if name == "slack_bot" else "@everyone") not in post
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
        assert finished.code == 130
        assert "Traceback" not in finished.err
    assert chat.posts.empty()


async def test_bot_stops_if_the_chat_rejects_its_token(
    fake: FakeBuddy, chat: FakeChat, name: str, tmp_path: Path
) -> None:
    wrong = {"SLACK_BOT_TOKEN": "xoxb-wrong", "DISCORD_TOKEN": "wrong.token"}
    async with bot(fake, tmp_path, chat, name, **wrong) as process:
        finished = await finish(process)
    assert finished.code == 1
    assert f"The bot stops, because of {name.removesuffix('_bot').title()}: " in finished.err
    assert "Traceback" not in finished.err
    assert not any(token in finished.err for token in wrong.values())


async def test_red_suites_are_posted_each_morning(fake: FakeBuddy, chat: FakeChat, tmp_path: Path) -> None:
    pytest.importorskip("slack_sdk")
    fake.add_suite("acme", "storefront", "MNbyVedg").create(cases=results("adds"))
    app = web.Application()
    app.add_routes(chat.routes())
    async with TestServer(app) as server:
        recipe = copy_recipe("morning_post", tmp_path, SLACK_API=str(server.make_url("/")))
        status = f"{sys.executable} -m buddy_sessions status acme --why --format markdown"
        command = ("-c", f"import os; raise SystemExit(os.system({f'{status} | {sys.executable} {recipe}'!r}) >> 8)")
        finished = await run_program(fake, tmp_path, *command, SLACK_BOT_TOKEN="xoxb-fake")
    assert (finished.code, finished.err) == (0, "")
    assert "MNbyVedg" in chat.posts.get_nowait()
