"""The programs for Slack, as processes of their own, with as much of Slack as they need."""

from __future__ import annotations

import asyncio
import html
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from buddy_sessions.testing import FakeBuddy
from helpers.recipe_programs import copy_recipe, finish, run_program, running

TOKEN = "xoxb-fake"


class FakeChat:
    """A fake Slack, as its documentation describes the API.

    Attributes:
        posts: The texts that bots have posted, as they were sent.
        rejections: How many of the next messages are rejected.
    """

    def __init__(self) -> None:
        self.posts: asyncio.Queue[str] = asyncio.Queue()
        self.rejections = 0

    def server(self) -> TestServer:
        """Return a server with the endpoints of Slack."""
        app = web.Application()
        app.add_routes([web.post("/auth.test", self.respond), web.post("/chat.postMessage", self.respond)])
        return TestServer(app)

    async def respond(self, request: web.Request) -> web.Response:
        """Accept a request if its token is right, and a message unless it is to be rejected."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if request.path == "/chat.postMessage":
            if self.rejections:
                self.rejections -= 1
                return web.json_response({"ok": False, "error": "channel_not_found"}, status=403)
            post = await request.json()
            self.posts.put_nowait(post.get("text") or post["markdown_text"])
        return web.json_response({"ok": True, "user_id": "U1", "ts": "1.0"})


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat()


@asynccontextmanager
async def bot(
    fake: FakeBuddy, folder: Path, chat: FakeChat, token: str = TOKEN
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the bot, in a folder of its own."""
    pytest.importorskip("slack_sdk")
    async with chat.server() as server:
        recipe = copy_recipe("slack_bot", folder, INTERVAL=0.05, RETRY=0.05, SLACK_API=str(server.make_url("/")))
        async with running(fake, folder, recipe, SLACK_BOT_TOKEN=token) as process:
            yield process


def results(*failing: str) -> list[dict[str, str]]:
    """Return the test cases of a session: of all these tests, some fail."""
    names = ("adds", "pays", "next", "hidden", "@everyone <!channel>")
    return [
        {"name": name, "classname": "", "test_group_name": "cart", "status": "FAILED" if name in failing else "PASSED"}
        for name in names
    ]


async def test_bot_posts_the_tests_that_newly_fail(fake: FakeBuddy, chat: FakeChat, tmp_path: Path) -> None:
    """At its first start, all that fail. It posts again what the chat has not accepted, and mentions nobody."""
    suite = fake.add_suite("acme", "storefront", "MNbyVedg")
    suite.create(cases=results())

    async def next_post() -> list[str]:
        return html.unescape(await chat.posts.get()).splitlines()

    async with bot(fake, tmp_path, chat):
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
    async with bot(fake, tmp_path, chat) as process:
        while "is green on main:" in (post := await chat.posts.get()):
            pass  # the bot was killed before it had asked for the next event, so this one is repeated
        assert "everyone" in post
        assert "<!channel>" not in post
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
        assert finished.code == 130
        assert "Traceback" not in finished.err
    assert chat.posts.empty()


async def test_bot_stops_if_the_chat_rejects_its_token(fake: FakeBuddy, chat: FakeChat, tmp_path: Path) -> None:
    async with bot(fake, tmp_path, chat, "xoxb-wrong") as process:
        finished = await finish(process)
    assert finished.code == 1
    assert "The bot stops, because of Slack: " in finished.err
    assert "Traceback" not in finished.err
    assert "xoxb-wrong" not in finished.err


async def test_red_suites_are_posted_each_morning(fake: FakeBuddy, chat: FakeChat, tmp_path: Path) -> None:
    pytest.importorskip("slack_sdk")
    fake.add_suite("acme", "storefront", "MNbyVedg").create(cases=results("adds"))
    async with chat.server() as server:
        recipe = copy_recipe("morning_post", tmp_path, SLACK_API=str(server.make_url("/")))
        status = f"{sys.executable} -m buddy_sessions status acme --why --format markdown"
        command = ("-c", f"import os; raise SystemExit(os.system({f'{status} | {sys.executable} {recipe}'!r}) >> 8)")
        finished = await run_program(fake, tmp_path, *command, SLACK_BOT_TOKEN=TOKEN)
    assert (finished.code, finished.err) == (0, "")
    assert "MNbyVedg" in chat.posts.get_nowait()
