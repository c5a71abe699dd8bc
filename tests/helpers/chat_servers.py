"""Fake servers of Slack and Discord: as much of their APIs as a bot needs that posts messages."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer


def json_response(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a response with JSON. discord.py decodes it only if its type has no parameters."""
    types = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(content).encode(), status=status, headers={**types, **(headers or {})})


class ChatServer:
    """A chat service that accepts one token: `async with FakeSlack() as chat`.

    Attributes:
        posts: The messages that bots have posted, as JSON.
        faults: The queue of responses to the next posts, in place of accepting them.
    """

    token: ClassVar[str]

    def __init__(self) -> None:
        self.posts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.faults: deque[web.Response] = deque()
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
        """Accept a post, unless a fault is queued."""
        if self.faults:
            return self.faults.popleft()
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
        error = "invalid_auth" if header.removeprefix("Bearer").strip() else "not_authed"
        return json_response({"ok": False, "error": error})  # the status is 200


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

    async def _channel(self, request: web.Request) -> web.Response:
        if int(request.match_info["channel"]) != self.channel:
            return json_response({"message": "Unknown Channel", "code": 10003}, status=404)
        place = {"guild_id": "9", "position": 0, "parent_id": None, "permission_overwrites": []}
        return json_response({"id": str(self.channel), "type": 0, "name": "builds", **place})

    async def _post(self, request: web.Request) -> web.Response:
        post = await request.json()
        if len(post["content"]) > 2000:
            return json_response({"message": "Invalid Form Body", "code": 50035}, status=400)
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
