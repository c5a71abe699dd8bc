"""Text from a server in errors and logs: the token in each encoding, and control characters."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from rich.console import Console
from rich.traceback import Traceback
from structlog.tracebacks import ExceptionDictTransformer

from buddy_sessions import (
    BuddyClient,
    BuddyError,
    ConfigError,
    DecodeError,
    ForbiddenError,
    ResponseError,
    ServerError,
    TransportError,
)
from buddy_sessions.testing import FakeBuddy
from helpers.faults import CheckedReader, text_of_error, text_of_log
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.fault

TOKEN = "s3cr3t/t0ken=="
PARTS = ["s3cr3t", "t0ken"]
"""Parts of the token that no encoding changes."""

LONG_TOKEN = "s3cr3t" * 50 + " "
"""It ends with a character that no token has."""

CONTROLS = "\x1b[31m\x07\x9b\u202e\u2066"


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "percent-lower-case": lambda text: quote(text, safe="").lower(),
    "percent-except-slashes": quote,
}

PLACES: dict[str, Callable[[str], bytes]] = {
    "message": lambda text: http_response(
        f'{{"errors": [{{"message": "Bearer {text} is bad"}}]}}'.encode(), status="403 Forbidden"
    ),
    "field": lambda text: http_response(
        f'{{"sessions": [{{"id": "1", "relative_id": 1, "status": ["{text}"], "create_date": "{text}!"}}]}}'.encode()
    ),
    "text": lambda text: http_response(f"<p>{text}".encode()),
    "location": lambda text: http_response(b"", f"Location: /login?token={text}&x", status="302 Found"),
    "header": lambda text: http_response(b"", f"X: \0{text}"),
    "status line": lambda text: f"{text}\r\n\r\n".encode(),
}
JSON_PLACES: dict[str, tuple[type[BuddyError], str]] = {
    "message": (ForbiddenError, "Bearer *** is bad"),
    "field": (DecodeError, "field status: must be a string, not a list"),
}
"""The places whose text is decoded, with the error and its text."""


@pytest.mark.parametrize(("place", "encoding"), [*product(PLACES, ENCODINGS)])
async def test_token_is_hidden(reader: CheckedReader, place: str, encoding: str) -> None:
    error_type, shown = JSON_PLACES.get(place, (ResponseError, ""))
    async with raw_server(PLACES[place](ENCODINGS[encoding](TOKEN))) as server:
        error = await reader.fail(server, error_type, requests=range(1, 3), token=TOKEN)
    assert shown in str(error)
    for text in (text_of_error(error), text_of_log(reader.log.records)):
        for part in PARTS:
            assert part not in text


async def test_token_is_hidden_as_in_repr(reader: CheckedReader) -> None:
    token = r"s3cr3t\t0ken"
    async with raw_server(http_response(b"", f"X: \0{token}")) as server:
        error = await reader.fail(server, ResponseError, requests=range(1, 3), token=token)
    assert "t0ken" not in text_of_error(error) + text_of_log(reader.log.records)


async def test_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cr3t@127.0.0.1:1")
    message = (
        r"^cannot connect to the proxy 127\.0\.0\.1:1 \(connection refused\): check the proxy; 4 attempts; GET .*/unit/"
    )
    with pytest.raises(TransportError, match=message) as caught:
        async with BuddyClient("token", trust_env=True, backoff=0) as buddy:
            await buddy.sessions("acme/shop/unit").collect()
    assert "s3cr3t" not in str(caught.value)


async def give_long_token() -> str:
    return LONG_TOKEN


async def fail(*_: object) -> None:
    raise LookupError("a hook of the session fails")


async def read_with(fake: FakeBuddy, **options: Any) -> None:
    hooks = aiohttp.TraceConfig()
    hooks.on_request_start.append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[hooks]) as session,
        BuddyClient(base_url=fake.base_url, http_session=session, **options) as buddy,
    ):
        await buddy.suites("acme")


@pytest.mark.parametrize(
    ("use", "error_type"),
    [
        (lambda fake: read_with(fake, token=LONG_TOKEN), ConfigError),
        (lambda fake: read_with(fake, token=give_long_token), ConfigError),
        (lambda fake: asyncio.to_thread(BuddyClient.from_env, token=LONG_TOKEN), ConfigError),
        (lambda fake: read_with(fake, token=LONG_TOKEN[:-1]), LookupError),
    ],
    ids=["invalid", "callable", "environment", "in-the-frames-of-aiohttp"],
)
async def test_tools_that_cut_local_variables_show_nothing_of_a_long_token(
    fake: FakeBuddy, use: Callable[[FakeBuddy], Awaitable[None]], error_type: type[Exception]
) -> None:
    with pytest.raises(error_type) as caught:
        await use(fake)
    error, trace = caught.value, caught.value.__traceback__
    while trace and "buddy_sessions" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    console = Console(file=io.StringIO(), width=500, record=True)
    console.print(Traceback.from_exception(type(error), error, trace, show_locals=True))
    shown = console.export_text() + str(ExceptionDictTransformer(use_rich=False)((type(error), error, trace)))
    assert trace, "a frame of the package"
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(("token", "shown"), [("a", "a"), ("another", "another"), ("a-parame", "***")])
async def test_short_token_hides_no_letters(reader: CheckedReader, token: str, shown: str) -> None:
    """Only a token of at least 8 characters is redacted: a shorter one may be part of any message."""
    async with raw_server(PLACES["message"](f"another bad parameter: {token}")) as server:
        error = await reader.fail(server, ForbiddenError, requests=1, token=token)
    assert error.messages == (f"Bearer another bad parameter: {shown} is bad",)


@pytest.mark.parametrize(
    ("character", "escaped"),
    [
        *((character, f"\\x{ord(character):02x}") for character in "\x1b\x07\0\x7f\x9b"),
        *((character, f"\\u{ord(character):04x}") for character in "\u202e\u2066\u200f\u061c"),
        *((character, " ") for character in "\n\u2028\x85"),
        ("ż 🐢", "ż 🐢"),
    ],
    ids=ascii,
)
async def test_control_characters_in_a_message(reader: CheckedReader, character: str, escaped: str) -> None:
    body = json.dumps({"errors": [{"message": f"no{character}way"}]}).encode()
    async with raw_server(http_response(body, status="503 Service Unavailable")) as server:
        error = await reader.fail(server, ServerError, requests=3)
    assert error.messages == (f"no{escaped}way",)
    assert str(error).startswith(f"no{escaped}way (503)")
    for record in reader.log.records:
        assert len(character) > 1 or character not in record.getMessage().replace(" ", "")


@pytest.mark.parametrize("place", [place for place in PLACES if place != "message"])
async def test_control_characters_elsewhere_in_a_response(reader: CheckedReader, place: str) -> None:
    response = PLACES[place](json.dumps(CONTROLS)[1:-1] if place == "field" else CONTROLS)
    async with raw_server(response) as server:
        with pytest.raises(ResponseError) as caught:
            await reader.read(server, requests=range(1, 3))
    assert str(caught.value).isprintable()
    assert all(record.getMessage().isprintable() for record in reader.log.records if record.name == "buddy_sessions")
