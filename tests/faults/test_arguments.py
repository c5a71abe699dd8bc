"""Arguments that would lead to a wrong URL, or expose the token, are rejected before any I/O."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, ConfigError, Region, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, TOKEN, CheckedReader

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("name", ["..", "", "a/b", "a%2Fb", "\ud800", "a\r\nb"], ids=ascii)
async def test_invalid_name(reader: CheckedReader, fake: FakeBuddy, name: str) -> None:
    key = SuiteKey("acme", name, "MNbyVedg")
    await reader.fail(fake, ConfigError, requests=0, function=lambda buddy: buddy.sessions(key).collect())
    await reader.fail(fake, ConfigError, requests=0, function=lambda buddy: buddy.suites("acme", name))


PATH = "workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"https://api.eu.buddy.works/{PATH}", "is the API of the region EU, but the client reads US: "),
        (f"https://API.ASIA.buddy.works:443/{PATH}/sessions/YDnagwGk", "is the API of the region AS, but the client "),
        *(
            (f"https://{host}/acme/shop/unit-tests/MNbyVedg", f"^unknown host '{host}': use a URL of ")
            for host in ("evil.example", "buddy.works.evil.example", "notbuddy.works", "")
        ),
    ],
)
async def test_url_of_another_server(url: str, message: str, tmp_path: Path) -> None:
    async with SessionStore(tmp_path / "sessions.db") as store, BuddyClient("token") as buddy:
        for read in (
            lambda: buddy.sessions(url).collect(),
            lambda: buddy.cases(url, "YDnagwGk").collect(),
            lambda: anext(buddy.watch([url])),
            lambda: anext(buddy.harvest([url])),
            lambda: anext(store.sync(buddy, [url])),
        ):
            with pytest.raises(ConfigError, match=message):
                await read()


@pytest.mark.parametrize("base_url", [None, "https://buddy.example.com/api"])
def test_url_of_a_known_host(base_url: str | None) -> None:
    buddy = BuddyClient("token", region=Region.EU, base_url=base_url)
    api = f"{base_url or 'https://api.eu.buddy.works'}/{PATH}"
    for url in (api, "https://app.buddy.works/acme/shop/unit-tests/MNbyVedg"):
        assert str(KEY) in repr(buddy.sessions(url))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"token": f"{TOKEN}\r\nHost:evil"}, id="line-break-in-token"),
        pytest.param({"token": f"{TOKEN} "}, id="space-in-token"),
        pytest.param({"token": f"{TOKEN}ż"}, id="token-beyond-ascii"),
        pytest.param({"token": ""}, id="empty-token"),
        pytest.param({"base_url": "http://buddy.example.com"}, id="http-off-loopback"),
        pytest.param({"base_url": "https://me:hunter2@buddy.example.com"}, id="password-in-url"),
        pytest.param({"base_url": "https://me:hunter2@buddy.example.com:port"}, id="password-in-invalid-url"),
    ],
)
async def test_invalid_client_argument(reader: CheckedReader, fake: FakeBuddy, options: dict[str, Any]) -> None:
    assert "hunter2" not in str(await reader.fail(fake, ConfigError, requests=0, **options))


async def token_with_line_break() -> str:
    return f"{TOKEN}\r\nHost:evil"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(token_with_line_break, id="returns-a-line-break"),
        pytest.param(lambda: TOKEN, id="not-async"),
    ],
)
async def test_invalid_token_callable(reader: CheckedReader, fake: FakeBuddy, token: Callable[[], object]) -> None:
    await reader.fail(fake, ConfigError, requests=0, token=token)
