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
    ("region", "url"),
    [
        pytest.param("EU", f"https://api.eu.buddy.works/{PATH}", id="api-of-eu"),
        pytest.param("AS", f"https://API.ASIA.buddy.works:443/{PATH}/sessions/YDnagwGk", id="api-of-as"),
    ],
)
def test_url_of_another_region(region: str, url: str) -> None:
    for read in readers_of(BuddyClient("token"), url):
        with pytest.raises(
            ConfigError, match=rf"^api\.\w+\.buddy\.works is the API of the region {region}, but the client reads US: "
        ):
            read()
    BuddyClient("token", region=region).sessions(url)


@pytest.mark.parametrize("host", ["evil.example", "buddy.works.evil.example", "notbuddy.works", ""])
def test_url_of_an_unknown_host(host: str) -> None:
    for read in readers_of(BuddyClient("token"), f"https://{host}/acme/shop/unit-tests/MNbyVedg"):
        with pytest.raises(ConfigError, match=f"^unknown host '{host}': use a URL of "):
            read()


def readers_of(buddy: BuddyClient, url: str) -> list[Callable[[], object]]:
    return [lambda: buddy.sessions(url), lambda: buddy.cases(url, "YDnagwGk"), lambda: buddy.watch([url])]


async def test_harvest_of_a_url_of_an_unknown_host(reader: CheckedReader, fake: FakeBuddy, tmp_path: Path) -> None:
    url = "https://evil.example/acme/shop/unit-tests/MNbyVedg"
    await reader.fail(fake, ConfigError, requests=0, function=lambda buddy: buddy.harvest([url]).__anext__())
    async with SessionStore(tmp_path / "sessions.db") as store:
        await reader.fail(fake, ConfigError, requests=0, function=lambda buddy: store.sync(buddy, [url]).__anext__())


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
