"""Arguments that would lead to a wrong URL, or expose the token, are rejected before any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from buddy_sessions import AuthenticationError, BuddyClient, ConfigError, Session
from buddy_sessions.testing import FakeBuddy
from helpers.faults import TOKEN, CheckedReader

pytestmark = pytest.mark.fault


@pytest.mark.parametrize(
    "url",
    [
        "https://api.asia.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions",
        "https://evil.example/acme/shop/unit-tests/MNbyVedg",
    ],
)
async def test_only_the_names_of_a_url_are_used(reader: CheckedReader, fake: FakeBuddy, url: str) -> None:
    """The client reads from its own server, which may reject the token of another region."""

    async def read(buddy: BuddyClient) -> list[Session]:
        return await buddy.sessions(url).collect()

    assert len(await reader.read(fake, requests=1, function=read)) == 3
    error = await reader.fail(fake, AuthenticationError, requests=1, function=read, token="t0ken-of-a-region")
    assert "a token of one region is not valid in another" in str(error)


async def token_with_line_break() -> str:
    return f"{TOKEN}\r\nHost:evil"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"token": f"{TOKEN}\r\nHost:evil"}, id="line-break-in-token"),
        pytest.param({"token": f"{TOKEN} "}, id="space-in-token"),
        pytest.param({"token": f"{TOKEN}ż"}, id="token-beyond-ascii"),
        pytest.param({"token": ""}, id="empty-token"),
        pytest.param({"token": token_with_line_break}, id="callable-returns-a-line-break"),
        pytest.param({"token": lambda: TOKEN}, id="callable-not-async"),
        pytest.param({"base_url": "http://buddy.example.com"}, id="http-off-loopback"),
    ],
)
async def test_invalid_client_argument(reader: CheckedReader, fake: FakeBuddy, options: dict[str, Any]) -> None:
    await reader.fail(fake, ConfigError, requests=0, **options)
