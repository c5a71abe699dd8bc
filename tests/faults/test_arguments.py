"""Arguments that would lead to a wrong URL, or expose the token, are rejected before any I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from buddy_sessions import ConfigError
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, TOKEN, CheckedReader

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("position", range(3), ids=["workspace", "project", "suite-id"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("..", id="two-dots"),
        pytest.param("", id="empty"),
        pytest.param("a/b", id="slash"),
        pytest.param("a%2Fb", id="encoded-slash"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param("a\r\nb", id="line-break"),
    ],
)
async def test_invalid_name(reader: CheckedReader, fake: FakeBuddy, name: Any, position: int) -> None:
    key: list[Any] = list(KEY)
    key[position] = name
    await reader.fail(fake, ConfigError, requests=0, function=lambda buddy: buddy.sessions(tuple(key)).collect())
    if position < 2:
        await reader.fail(fake, ConfigError, requests=0, function=lambda buddy: buddy.suites(*key[:2]))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"token": f"{TOKEN}\r\nHost: evil"}, id="line-break-in-token"),
        pytest.param({"token": f"{TOKEN} "}, id="space-in-token"),
        pytest.param({"token": f"{TOKEN}ż"}, id="token-beyond-ascii"),
        pytest.param({"token": ""}, id="empty-token"),
        pytest.param({"per_page": 0}, id="another-argument"),
        pytest.param({"base_url": "http://buddy.example.com"}, id="http-off-loopback"),
        pytest.param({"base_url": "http://localhost.example.com"}, id="http-to-a-name-like-loopback"),
        pytest.param({"base_url": "https://me:hunter2@buddy.example.com"}, id="password-in-url"),
        pytest.param({"base_url": "https://hunter2@buddy.example.com"}, id="user-in-url"),
        pytest.param({"base_url": "https://me:hunter2@buddy.example.com:port"}, id="password-in-invalid-url"),
        pytest.param({"base_url": "ftp://buddy.example.com"}, id="other-scheme"),
    ],
)
async def test_invalid_client_argument(reader: CheckedReader, fake: FakeBuddy, options: dict[str, Any]) -> None:
    assert "hunter2" not in str(await reader.fail(fake, ConfigError, requests=0, **options))


async def token_with_line_break() -> str:
    return f"{TOKEN}\r\nHost: evil"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(token_with_line_break, id="returns-a-line-break"),
        pytest.param(lambda: TOKEN, id="not-async"),
    ],
)
async def test_invalid_token_callable(reader: CheckedReader, fake: FakeBuddy, token: Callable[[], object]) -> None:
    await reader.fail(fake, ConfigError, requests=0, token=token)
