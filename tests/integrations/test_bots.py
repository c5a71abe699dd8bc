"""The bots for Slack and Discord, as programs of their own, with as much of both services as they need."""

from __future__ import annotations

import asyncio
import html
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from buddy_sessions.testing import FakeBuddy
from helpers.recipe_programs import copy_recipe, finish, running

ON_FAKE_DISCORD = """
import runpy, sys, discord, yarl
url = sys.argv[2]
discord.http.Route.BASE = url[:-1]
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "gateway")
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def json_response(content: object, *, status: int = 200) -> web.Response:
    """Return a response with JSON. discord.py decodes it only if its type has no parameters."""
    headers = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(content).encode(), status=status, headers=headers)


class ChatServer:
    """A chat service that accepts one token: `async with FakeSlack() as chat`.

    Attributes:
        posts: The messages that bots have posted, as JSON.
        rejections: How many of the next messages are rejected.
    """

    token: ClassVar[str]

    def __init__(self) -> None:
        self.posts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.rejections = 0
        app = web.Application()
        app.add_routes(self.routes())
        self._server = TestServer(app)

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints of the service."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        """The URL of the server, with a slash at the end."""
        return str(self._server.make_url("/"))

    def accept(self, post: dict[str, Any], response: object) -> web.Response:
        """Accept a post, unless it is to be rejected."""
        if self.rejections:
            self.rejections -= 1
            return json_response({"ok": False, "error": "channel_not_found"}, status=403)
        self.posts.put_nowait(post)
        return json_response(response)


class FakeSlack(ChatServer):
    """A fake Slack, whose API is at `url` (Slack's documentation of `auth.test` and `chat.postMessage`)."""

    token = "xoxb-fake"

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/auth.test", self._auth_test), web.post("/chat.postMessage", self._post)]

    async def _auth_test(self, request: web.Request) -> web.Response:
        return self._error(request) or json_response({"ok": True, "user_id": "U1"})

    async def _post(self, request: web.Request) -> web.Response:
        error = self._error(request)
        return error or self.accept(await request.json(), {"ok": True, "ts": "1.0"})

    def _error(self, request: web.Request) -> web.Response | None:
        header = request.headers.get("Authorization", "")
        if header == f"Bearer {self.token}":
            return None
        return json_response({"ok": False, "error": "invalid_auth"})  # the status is 200


class FakeDiscord(ChatServer):
    """A fake Discord, with a gateway (Discord's documentation of its HTTP API and of the gateway's opcodes)."""

    token = "fake.discord.token"
    channel = 42
    _USER: ClassVar = {"id": "7", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/users/@me", self._me),
            web.get("/oauth2/applications/@me", self._application),
            web.get("/channels/{channel}", self._channel),
            web.post("/channels/{channel}/messages", self._post),
            web.get("/gateway", self._gateway),
        ]

    async def _me(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bot {self.token}":
            return json_response({"message": "401: Unauthorized", "code": 0}, status=401)
        return json_response(self._USER)

    async def _application(self, _: web.Request) -> web.Response:
        texts = {"id": "7", "name": "bot", "description": "", "icon": None, "verify_key": "", "flags": 0}
        return json_response({**texts, "bot_public": False, "bot_require_code_grant": False, "owner": self._USER})

    async def _channel(self, _: web.Request) -> web.Response:
        place = {"guild_id": "9", "position": 0, "parent_id": None, "permission_overwrites": []}
        return json_response({"id": str(self.channel), "type": 0, "name": "builds", **place})

    async def _post(self, request: web.Request) -> web.Response:
        post = await request.json()
        message = {"id": "1", "channel_id": str(self.channel), "type": 0, "author": self._USER, **post}
        lists: dict[str, list[Any]] = {"embeds": [], "attachments": [], "mentions": [], "mention_roles": []}
        flags = {"pinned": False, "mention_everyone": False, "tts": False}
        time = {"timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None}
        return self.accept(post, {**message, **lists, **flags, **time})

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        gateway = web.WebSocketResponse()
        await gateway.prepare(request)
        await gateway.send_json({"op": 10, "d": {"heartbeat_interval": 45_000}})
        async for message in gateway:
            assert message.type is WSMsgType.TEXT
            match json.loads(message.data)["op"]:
                case 1:
                    await gateway.send_json({"op": 11})
                case 2:
                    ready = {"v": 10, "user": self._USER, "guilds": [], "session_id": "1"}
                    data = {**ready, "resume_gateway_url": f"ws{self.url.removeprefix('http')}gateway"}
                    await gateway.send_json({"op": 0, "t": "READY", "s": 1, "d": data})
        return gateway


@asynccontextmanager
async def bot(
    fake: FakeBuddy, folder: Path, chat: ChatServer, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a bot, in a folder of its own."""
    tokens = {"SLACK_BOT_TOKEN": chat.token, "DISCORD_TOKEN": chat.token}
    command: tuple[str | Path, ...]
    if isinstance(chat, FakeSlack):
        command = (copy_recipe("slack_bot", folder, INTERVAL=0.05, RETRY=0.05, SLACK_API=chat.url),)
    else:
        recipe = copy_recipe("discord_bot", folder, INTERVAL=0.05, RETRY=0.05, CHANNEL=FakeDiscord.channel)
        command = ("-c", ON_FAKE_DISCORD, recipe, chat.url)
    async with running(fake, folder, *command, **(tokens | environment)) as process:
        yield process


def failing(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "classname": "", "test_group_name": "cart", "status": "FAILED"} for name in names]


@pytest.fixture(params=[FakeDiscord, FakeSlack])
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[ChatServer]:
    pytest.importorskip("discord")
    pytest.importorskip("slack_sdk")
    async with request.param() as chat:
        yield chat


async def test_bot_posts_the_tests_that_newly_fail(fake: FakeBuddy, chat: ChatServer, tmp_path: Path) -> None:
    """When it starts, all that fail. It posts again what the chat has not accepted, and mentions nobody."""
    suite = fake.add_suite("acme", "storefront", "MNbyVedg")
    suite.create(status="SUCCESSFUL")

    async def next_post() -> list[str]:
        post = await chat.posts.get()
        text = html.unescape(post["text"]) if isinstance(chat, FakeSlack) else post["content"].replace("\\", "")
        return text.splitlines()

    async def interrupt(process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
        assert finished.code == 130
        assert "Traceback" not in finished.err

    async with bot(fake, tmp_path, chat) as process:
        while len(fake.requests) < 2:  # it reports each session from now on
            await asyncio.sleep(0.01)
        chat.rejections = 2
        suite.create(branch="feature", cases=failing("hidden"))
        session = suite.create(cases=[{"name": "passes"}, *failing("adds", "pays")])
        lines = await next_post()
        assert "acme/storefront/MNbyVedg is red on main:" in lines[0]
        assert [lines[1], *(line[2:] for line in lines[2:])] == [session["html_url"], "cart > adds", "cart > pays"]
        suite.create(cases=failing("adds", "next"))
        assert [line[2:] for line in (await next_post())[2:]] == ["cart > next"]
        suite.create(cases=[{"name": "passes"}])
        assert "is green on main:" in (await next_post())[0]
        await interrupt(process)
    suite.create(cases=failing("@everyone <!channel>"))
    async with bot(fake, tmp_path, chat) as process:
        post = str(await chat.posts.get())
        assert "everyone" in post
        assert ("<!channel>" if isinstance(chat, FakeSlack) else "@everyone") not in post
        await interrupt(process)
    assert chat.posts.empty()


async def test_bot_stops_if_a_token_is_rejected(fake: FakeBuddy, chat: ChatServer, tmp_path: Path) -> None:
    wrong = {"SLACK_BOT_TOKEN": "xoxb-wrong", "DISCORD_TOKEN": "wrong.token"}
    for tokens, service in (
        (wrong, type(chat).__name__.removeprefix("Fake")),
        ({"BUDDY_TOKEN": "wrong-token"}, "Buddy"),
    ):
        async with bot(fake, tmp_path, chat, **tokens) as process:
            finished = await finish(process)
        assert finished.code == 1
        assert f"The bot stops, because of {service}: " in finished.err
        assert "Traceback" not in finished.err
        assert not any(token in finished.err for token in tokens.values())
