"""The recipes for frameworks do what they say."""

from __future__ import annotations

import asyncio
import base64
import html
import importlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.chat_servers import ChatServer, FakeDiscord, FakeSlack, json_response
from helpers.recipe_programs import RECIPES, Finished, copy_recipe, finish, run_program, running

ON_FAKE_DISCORD = """
import runpy, sys, discord, yarl
url = sys.argv[2]
discord.http.Route.BASE = url[:-1]
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "gateway")
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture
async def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite of which a watch reads one page when it starts, because that has enough sessions."""
    return fake.add_suite("acme", "storefront", "MNbyVedg").populate(120)


@asynccontextmanager
async def fastapi_app(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Serve the application, and yield its URL."""
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setenv("BUDDY_TOKEN", fake.token)
    monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
    monkeypatch.syspath_prepend(RECIPES)
    monkeypatch.delitem(sys.modules, "fastapi_app", raising=False)
    app = importlib.import_module("fastapi_app").app
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/acme/storefront"
    finally:
        server.should_exit = True
        await serving


async def get(url: str) -> tuple[int, str | None, Any]:
    """Return the status, the header `Retry-After` and the JSON of a response."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, response.headers.get("Retry-After"), await response.json()


async def test_fastapi_responds_with_sessions_and_failing_tests(
    fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = suite.create(cases=[{"name": "adds"}, {"name": "pays", "status": "FAILED"}])
    async with fastapi_app(fake, monkeypatch) as url:
        status, _, sessions = await get(f"{url}/MNbyVedg")
        assert status == 200
        assert [session["relative_id"] for session in sessions] == list(range(121, 111, -1))
        assert "email" not in str(sessions)
        status, _, tests = await get(f"{url}/MNbyVedg/{broken['id']}/failures")
        assert (status, [test["name"] for test in tests]) == (200, ["pays"])


@pytest.mark.parametrize("path", ["nothing", "MNbyVedg/nothing/failures", "%00"])
async def test_fastapi_responds_with_404_to_unknown_names(
    fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with fastapi_app(fake, monkeypatch) as url:
        assert await get(f"{url}/{path}") == (404, None, {"detail": "there is no such suite or session"})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "60"}, 60),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "4000000000"}, 10**8),
    ],
)
async def test_fastapi_tells_when_the_rate_limit_ends(
    fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seconds: int
) -> None:
    """The second request gets the same response, without a request to Buddy."""
    fake.inject(Fault.status(429, headers=headers))
    async with fastapi_app(fake, monkeypatch) as url:
        for _ in range(2):
            status, retry_after, content = await get(f"{url}/MNbyVedg")
            assert (status, content) == (503, {"detail": "Buddy is not available"})
            assert retry_after is not None
            assert int(retry_after) >= seconds - 1
    assert len(fake.requests) == 1


@pytest.mark.parametrize("fault", [Fault.status(503), Fault.status(429), Fault.disconnect()])
async def test_fastapi_responds_with_503_during_an_outage(
    fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch, no_waiting: None, fault: Fault
) -> None:
    fake.inject(fault, times=200)
    async with fastapi_app(fake, monkeypatch) as url:
        assert await get(f"{url}/MNbyVedg") == (503, "5", {"detail": "Buddy is not available"})


async def test_fastapi_keeps_the_reasons_for_its_log(
    fake: FakeBuddy, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client of the application learns neither the URL of Buddy nor that the token is wrong."""
    async with fastapi_app(fake, monkeypatch) as url:
        fake.token = "another"
        assert await get(f"{url}/MNbyVedg") == (502, None, {"detail": "Buddy cannot be read"})
    assert "Unauthorized" in caplog.text
    assert "fake-buddy-token" not in caplog.text


class BotPrograms:
    """Starts a bot, in a folder of its own that keeps its database.

    Attributes:
        chat: The fake chat service that it posts to.
    """

    def __init__(self, fake: FakeBuddy, folder: Path, chat: ChatServer) -> None:
        self.chat = chat
        self._fake = fake
        self._folder = folder

    @asynccontextmanager
    async def start(
        self, *, channel: int = FakeDiscord.channel, **environment: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        tokens = {"SLACK_BOT_TOKEN": self.chat.token, "DISCORD_TOKEN": self.chat.token}
        if isinstance(self.chat, FakeSlack):
            recipe = copy_recipe("slack_bot", self._folder, INTERVAL=0.05, SLACK_API=self.chat.url)
            command: tuple[str | Path, ...] = (recipe,)
        else:
            recipe = copy_recipe("discord_bot", self._folder, INTERVAL=0.05, CHANNEL=channel)
            command = ("-c", ON_FAKE_DISCORD, recipe, self.chat.url)
        async with running(self._fake, self._folder, *command, **(tokens | environment)) as process:
            yield process

    async def start_watching(self) -> None:
        """Wait for the second request of the bot that was started: it reports each session from now on."""
        seen = len(self._fake.requests)
        while len(self._fake.requests) < seen + 2:
            await asyncio.sleep(0.01)

    async def next_post(self) -> list[str]:
        """Wait for a post, and return its lines."""
        post = await self.chat.posts.get()
        text: str = post["content" if isinstance(self.chat, FakeDiscord) else "text"]
        return text.splitlines()

    async def interrupt(self, process: asyncio.subprocess.Process) -> None:
        """Stop a bot, as Ctrl-C does."""
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
        assert finished.code == 130
        assert "Traceback" not in finished.err

    async def run(self, *, channel: int = FakeDiscord.channel, **environment: str) -> Finished:
        """Run a bot until it ends."""
        async with self.start(channel=channel, **environment) as process:
            return await finish(process)


@pytest.fixture(params=[FakeDiscord, FakeSlack])
async def bot(
    fake: FakeBuddy, suite: FakeSuite, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[BotPrograms]:
    pytest.importorskip("discord")
    pytest.importorskip("slack_sdk")
    async with request.param() as chat:
        yield BotPrograms(fake, tmp_path, chat)


def failing(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "classname": "", "test_group_name": "cart", "status": "FAILED"} for name in names]


async def test_bot_posts_the_failing_tests_of_each_session_that_turns_red(suite: FakeSuite, bot: BotPrograms) -> None:
    """After a restart, it continues where it has stopped; the last post may be repeated."""
    async with bot.start() as process:
        await bot.start_watching()
        running = suite.create()
        suite.create(branch="feature", cases=failing("hidden"))
        suite.add_cases(running["id"], [{"name": "passes"}, *failing("adds", "pays")])
        suite.finish(running["id"])
        lines = await bot.next_post()
        assert "acme/storefront/MNbyVedg is red on main:" in lines[0].replace("\\", "")
        assert lines[1] == running["html_url"]
        assert [html.unescape(line)[2:] for line in lines[2:]] == ["cart > adds", "cart > pays"]
        suite.add_cases(running["id"], failing("more"))  # it is still red
        suite.create(cases=failing("next"))
        assert (await bot.next_post())[2:] in (["- cart > next"], ["• cart &gt; next"])
        await bot.interrupt(process)
    suite.create(cases=failing("meanwhile"))
    async with bot.start() as process:
        while "meanwhile" not in (lines := await bot.next_post())[2]:
            assert lines[2].endswith("next")
        await bot.interrupt(process)
    assert bot.chat.posts.empty()


async def test_bot_cuts_a_long_message_after_a_line(suite: FakeSuite, bot: BotPrograms) -> None:
    async with bot.start() as process:
        await bot.start_watching()
        suite.create(cases=failing(*(f"test{number:060}" for number in range(100))))
        lines = await bot.next_post()
        limit = 2000 if isinstance(bot.chat, FakeDiscord) else 4000
        assert limit - 100 < len("\n".join(lines)) <= limit
        assert lines[-1] == "…"
        assert all(len(line) == len(lines[2]) for line in lines[2:-1])
        await bot.interrupt(process)


async def test_bot_posts_a_red_session_whose_tests_cannot_be_read(
    fake: FakeBuddy, suite: FakeSuite, bot: BotPrograms
) -> None:
    def on_request(request: RecordedRequest) -> None:
        if request.path.endswith("/cases"):
            fake.inject(Fault.status(404))

    fake.on_request = on_request
    async with bot.start() as process:
        await bot.start_watching()
        session = suite.create(cases=failing("adds"))
        assert (await bot.next_post())[1:] == [session["html_url"]]
        await bot.interrupt(process)


async def test_bot_stops_if_the_chat_rejects_its_token(bot: BotPrograms) -> None:
    finished = await bot.run(SLACK_BOT_TOKEN="xoxb-wrong", DISCORD_TOKEN="wrong.token")
    assert finished.code == 1
    assert "Traceback" not in finished.err
    expected = "Discord: Improper token" if isinstance(bot.chat, FakeDiscord) else "invalid_auth"
    assert expected in finished.err[finished.err.index("The bot stops, because of") :]
    assert "wrong" not in finished.err


async def test_bot_stops_without_a_token_of_the_chat(bot: BotPrograms) -> None:
    finished = await bot.run(SLACK_BOT_TOKEN="", DISCORD_TOKEN="")
    assert finished.code == 1
    assert "The bot stops, because of" in finished.err
    assert "Traceback" not in finished.err


async def test_bot_stops_if_buddy_rejects_its_token(bot: BotPrograms) -> None:
    finished = await bot.run(BUDDY_TOKEN="wrong-token")
    assert finished.code == 1
    assert finished.err.splitlines()[-1].startswith("The bot stops, because of Buddy: Unauthorized")
    assert "Traceback" not in finished.err
    assert "wrong-token" not in finished.err


async def test_bot_stops_if_a_suite_does_not_exist(fake: FakeBuddy, bot: BotPrograms) -> None:
    fake.suites.clear()
    finished = await bot.run()
    assert finished.code == 1
    assert "The bot stops, because of Buddy: Suite not found" in finished.err


async def test_bot_posts_again_what_the_chat_has_not_accepted(suite: FakeSuite, bot: BotPrograms) -> None:
    """It stops, and posts after a restart."""
    bot.chat.faults.append(json_response({"ok": False, "error": "channel_not_found"}, status=403))
    async with bot.start() as process:
        await bot.start_watching()
        suite.create(cases=failing("adds"))
        finished = await finish(process)
        assert finished.code == 1
        assert "The bot stops, because of" in finished.err
        assert "Traceback" not in finished.err
    async with bot.start() as process:
        assert "adds" in (await bot.next_post())[2]
        await bot.interrupt(process)


@pytest.mark.parametrize("bot", [FakeDiscord], indirect=True)
async def test_discord_bot_escapes_markup_and_mentions_nobody(suite: FakeSuite, bot: BotPrograms) -> None:
    async with bot.start() as process:
        await bot.start_watching()
        suite.create(cases=failing("@everyone", "**bold**", "two\nlines", "[click](https://example.com/_x_)"))
        post = await bot.chat.posts.get()
        assert post["allowed_mentions"]["parse"] == []
        assert post["flags"] == 4  # no previews of links
        text = post["content"]
        assert "@everyone" not in text
        assert r"cart > \*\*bold\*\*" in text
        assert "cart > two lines" in text
        assert r"\[click](https://example.com/" in text
        await bot.interrupt(process)


@pytest.mark.parametrize("bot", [FakeDiscord], indirect=True)
async def test_discord_bot_stops_if_it_cannot_see_the_channel(bot: BotPrograms) -> None:
    finished = await bot.run(channel=43)
    assert finished.code == 1
    assert "The bot stops, because of Discord: 404 Not Found (error code: 10003): Unknown Channel" in finished.err


@pytest.mark.parametrize("bot", [FakeSlack], indirect=True)
async def test_slack_bot_escapes_control_characters(suite: FakeSuite, bot: BotPrograms) -> None:
    async with bot.start() as process:
        await bot.start_watching()
        suite.create(cases=failing("<!channel> & *all*", "two\nlines"))
        post = await bot.chat.posts.get()
        assert post["text"].splitlines()[2:] == ["• cart &gt; &lt;!channel&gt; &amp; *all*", "• cart &gt; two lines"]
        assert (post["mrkdwn"], post["unfurl_links"]) == (False, False)
        await bot.interrupt(process)


@pytest.mark.parametrize("bot", [FakeSlack], indirect=True)
async def test_slack_bot_waits_for_the_rate_limit(suite: FakeSuite, bot: BotPrograms) -> None:
    limited = {"ok": False, "error": "ratelimited"}
    bot.chat.faults.append(json_response(limited, status=429, headers={"Retry-After": "0"}))
    async with bot.start() as process:
        await bot.start_watching()
        suite.create(cases=failing("adds"))
        assert "adds" in (await bot.next_post())[2]
        assert not bot.chat.faults
        await bot.interrupt(process)


@asynccontextmanager
async def webhook_program(fake: FakeBuddy, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the program with the webhook, and yield it with its URL. The watch alone finds no change in time."""
    recipe = copy_recipe("webhook_refresh", folder, PORT=0, INTERVAL=3600)
    async with running(fake, folder, recipe, WEBHOOK_SECRET="swordfish") as process:
        assert process.stderr is not None
        listening = await process.stderr.readline()
        yield process, f"http://127.0.0.1:{int(listening.split()[-1])}/refresh"


async def call(url: str, *, suite: str = "acme/storefront/MNbyVedg", **headers: str) -> int:
    async with aiohttp.ClientSession() as http, http.post(f"{url}/{suite}", headers=headers) as response:
        return response.status


def basic(login: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{login}:{password}'.encode()).decode()}"


async def test_webhook_delivers_a_change_at_once(fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> None:
    async with webhook_program(fake, tmp_path) as (process, url):
        while len(fake.requests) < 1:
            await asyncio.sleep(0.01)
        assert await call(url, Authorization=basic("buddy", "swordfish")) == 202
        while len(fake.requests) < 2:  # the first check is over
            await asyncio.sleep(0.01)
        session = suite.create(cases=failing("adds"))
        assert await call(url, Authorization=basic("buddy", "swordfish")) == 202
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line == f"acme/storefront/MNbyVedg NEW ERROR {session['html_url']}\n"
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
        assert finished.code == 130
        assert "Traceback" not in finished.err


async def test_webhook_accepts_only_calls_with_the_secret_for_a_watched_suite(
    fake: FakeBuddy, suite: FakeSuite, tmp_path: Path
) -> None:
    async with webhook_program(fake, tmp_path) as (process, url):
        assert await call(url) == 401
        assert await call(url, Authorization=basic("buddy", "")) == 401
        assert await call(url, Authorization=basic("buddy", "swordfish2")) == 401
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
        writer.write(b"POST /refresh/a/b/c HTTP/1.1\r\nHost: a\r\nAuthorization: B\xe4sic\r\n\r\n")
        assert b" 401 " in await reader.readline()
        writer.close()
        assert await call(url, suite="acme/storefront/another", Authorization=basic("buddy", "swordfish")) == 404
        process.kill()
        finished = await finish(process)
        assert "swordfish" not in finished.err
    assert len(fake.requests) <= 1


async def test_webhook_program_ends_without_a_secret(fake: FakeBuddy, tmp_path: Path) -> None:
    finished = await run_program(fake, tmp_path, RECIPES / "webhook_refresh.py", WEBHOOK_SECRET="")
    assert finished == (1, "", "set WEBHOOK_SECRET to a long random text\n")


async def test_webhook_program_ends_if_the_token_is_rejected(fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> None:
    recipe = copy_recipe("webhook_refresh", tmp_path, PORT=0)
    finished = await run_program(fake, tmp_path, recipe, WEBHOOK_SECRET="swordfish", BUDDY_TOKEN="wrong-token")
    assert finished.code == 1
    assert finished.err.splitlines()[-1].startswith("The watch ends: Unauthorized")
