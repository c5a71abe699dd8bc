"""Text from a server in errors: the token in any escaping, control characters, and responses that are not Buddy's."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from buddy_sessions import (
    AuthenticationError,
    BadRequestError,
    DecodeError,
    ForbiddenError,
    NotFoundError,
    ResponseError,
    ServerError,
    StatusError,
    TransportError,
)
from helpers.faults import KEY, CheckedReader, text_of_error, text_of_log
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.fault

TOKEN = "s3cr3t/t0ken=="
PARTS = ["s3cr3t", "t0ken"]
"""Parts of the token that no escaping changes, unless it escapes every character."""


def percent_encode_all(text: str) -> str:
    return "".join(f"%{ord(character):02x}" for character in text)


def json_escape_all(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def escape_slashes(text: str) -> str:
    return text.replace("/", r"\/")


ESCAPINGS: list[tuple[str, Callable[[str], str]]] = [
    ("plain", str),
    ("slash", escape_slashes),
    ("lower-case-hex", lambda text: text.replace("=", r"\u003d").replace("/", r"\u002f")),
    ("upper-case-hex", lambda text: text.replace("=", r"\u003D").replace("/", r"\u002F")),
    ("every-character", json_escape_all),
    ("percent", lambda text: quote(text, safe="")),
    ("percent-lower-case", lambda text: quote(text, safe="").lower()),
    ("percent-twice", lambda text: quote(quote(text, safe=""), safe="")),
    ("percent-every-character", percent_encode_all),
    ("percent-escaped", lambda text: quote(text, safe="").replace("%", r"\u0025")),
    ("json-in-json", lambda text: json.dumps(escape_slashes(text)).strip('"')),
    ("json-in-json-hex", lambda text: text.replace("=", r"\\u003D").replace("/", r"\\\/")),
]

JSON_ESCAPINGS = [
    *ESCAPINGS,
    ("percent-every-character-escaped", lambda text: json_escape_all(percent_encode_all(text))),
]

any_escaping = pytest.mark.parametrize("escape", [pytest.param(escape, id=name) for name, escape in ESCAPINGS])
any_json_escaping = pytest.mark.parametrize(
    "escape", [pytest.param(escape, id=name) for name, escape in JSON_ESCAPINGS]
)


def assert_token_is_hidden(reader: CheckedReader, error: BaseException) -> None:
    for text in (text_of_error(error), text_of_log(reader.log.records)):
        unescaped = text.replace("\\\\", "\\")
        for part in PARTS:
            for repeated in (part, json_escape_all(part), percent_encode_all(part)):
                assert repeated not in unescaped


@any_json_escaping
async def test_token_in_a_message(reader: CheckedReader, escape: Callable[[str], str]) -> None:
    body = f'{{"errors": [{{"message": "Bearer {escape(TOKEN)} is bad"}}]}}'
    async with raw_server(http_response(body.encode(), status="403 Forbidden")) as server:
        error = await reader.fail(server, ForbiddenError, requests=1, token=TOKEN)
    assert error.messages == ("Bearer *** is bad",)
    assert_token_is_hidden(reader, error)


@any_json_escaping
async def test_token_in_an_invalid_field(reader: CheckedReader, escape: Callable[[str], str]) -> None:
    session = f'{{"id": "1", "relative_id": 1, "status": "OK", "create_date": "{escape(TOKEN)}!"}}'
    body = f'{{"sessions": [{session}]}}'
    async with raw_server(http_response(body.encode())) as server:
        error = await reader.fail(server, DecodeError, requests=1, token=TOKEN)
    assert "'***!'" in str(error)
    assert_token_is_hidden(reader, error)


@any_escaping
async def test_token_in_a_location(reader: CheckedReader, escape: Callable[[str], str]) -> None:
    response = http_response(b"", f"Location: /login?token={escape(TOKEN)}&x", status="302 Found")
    async with raw_server(response) as server:
        error = await reader.fail(server, ResponseError, requests=1, token=TOKEN)
    assert_token_is_hidden(reader, error)


@any_escaping
@pytest.mark.parametrize(
    "response", ["HTTP/1.1 200 OK\r\nX: \0{}\r\n\r\n", "{}\r\n\r\n"], ids=["header", "status-line"]
)
async def test_token_in_malformed_http(reader: CheckedReader, escape: Callable[[str], str], response: str) -> None:
    async with raw_server(response.format(escape(TOKEN)).encode()) as server:
        error = await reader.fail(server, ResponseError, requests=1, token=TOKEN)
    assert_token_is_hidden(reader, error)


@any_escaping
async def test_token_in_a_page_that_is_not_json(reader: CheckedReader, escape: Callable[[str], str]) -> None:
    async with raw_server(http_response(f"<p>{escape(TOKEN)}".encode())) as server:
        error = await reader.fail(server, ResponseError, requests=2, token=TOKEN)
    assert_token_is_hidden(reader, error)


@pytest.mark.parametrize(("token", "shown"), [("a", "a"), ("another", "another"), ("a-parame", "***")])
async def test_short_token_hides_no_letters(reader: CheckedReader, token: str, shown: str) -> None:
    """Only a token of at least 8 characters is redacted: a shorter one may be part of any message."""
    body = f'{{"errors": [{{"message": "another bad parameter: {token}"}}]}}'.encode()
    async with raw_server(http_response(body, status="403 Forbidden")) as server:
        error = await reader.fail(server, ForbiddenError, requests=1, token=token)
    assert error.messages == (f"another bad parameter: {shown}",)


async def test_body_of_backslashes(reader: CheckedReader) -> None:
    """The search for the token stays fast."""
    async with raw_server(http_response(b"\\" * 2**20, status="403 Forbidden")) as server:
        await reader.fail(server, ForbiddenError, requests=1, token=TOKEN)
    assert reader.seconds < 5


@pytest.mark.parametrize(
    ("character", "escaped"),
    [
        ("\x1b", r"\x1b"),
        ("\x07", r"\x07"),
        ("\0", r"\x00"),
        ("\x7f", r"\x7f"),
        ("\x9b", r"\x9b"),
        ("\u202e", r"\u202e"),
        ("\u2066", r"\u2066"),
        ("\u200f", r"\u200f"),
        ("\u061c", r"\u061c"),
        ("\ud800", r"\ud800"),
        ("\n", " "),
        ("\u2028", " "),
        ("\x85", " "),
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


CONTROLS = "\x1b[31m\x07\x9b\u202e\u2066"


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(http_response(f"<p>{CONTROLS}".encode()), id="page-that-is-not-json"),
        pytest.param(
            http_response(
                json.dumps(
                    {"sessions": [{"id": "1", "relative_id": 1, "status": "OK", "create_date": CONTROLS}]}
                ).encode()
            ),
            id="invalid-field",
        ),
        pytest.param(
            http_response(b"", status="302 Found").replace(b"\r\n\r\n", f"\r\nLocation: /{CONTROLS}\r\n\r\n".encode()),
            id="location",
        ),
        pytest.param(f"HTTP/1.1 200 OK\r\n{CONTROLS}: x\r\n\r\n".encode(), id="header"),
        pytest.param(f"{CONTROLS}\r\n\r\n".encode(), id="status-line"),
    ],
)
async def test_control_characters_elsewhere_in_a_response(reader: CheckedReader, response: bytes) -> None:
    async with raw_server(response) as server:
        with pytest.raises(ResponseError) as caught:
            await reader.read(server, requests=range(1, 3))
    assert str(caught.value).isprintable()
    assert all(record.getMessage().isprintable() for record in reader.log.records if record.name == "buddy_sessions")


async def test_control_characters_in_the_reason_of_a_proxy(reader: CheckedReader) -> None:
    script = http_response(b"", status="403 No\x1b[31m\x9b way")
    async with raw_server(script) as proxy, aiohttp.ClientSession(proxy=proxy.base_url) as session:
        base_url = URL("https://buddy.example.com")
        error = await reader.fail(proxy, TransportError, requests=1, base_url=base_url, http_session=session)
    assert r"responded with 403 No\x1b[31m" in str(error)
    assert str(error).isprintable()


FOREIGN = "but the response is not Buddy's: probably a proxy's; check the base URL; GET http://127.0.0.1"


@pytest.mark.parametrize(
    ("status", "error_type", "cause"),
    [
        (400, BadRequestError, "bad request (400)"),
        (401, AuthenticationError, "the token was rejected (401)"),
        (403, ForbiddenError, "access denied (403)"),
        (404, NotFoundError, "not found (404)"),
        (405, StatusError, "the request failed (405)"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>Forbidden</html>", id="html"),
        pytest.param(b'{"type": "about:blank", "title": "Forbidden"}', id="problem-json"),
        pytest.param(b'{"message": "Forbidden"}', id="other-json"),
    ],
)
async def test_4xx_that_is_not_from_buddy(
    reader: CheckedReader, status: int, error_type: type[StatusError], cause: str, body: bytes
) -> None:
    """It does not get Buddy's advice, for instance on the scopes of the token."""
    async with raw_server(http_response(body, status=f"{status} No")) as server:
        error = await reader.fail(
            server, error_type, requests=1, function=lambda buddy: buddy.sessions(KEY, per_page=20).collect()
        )
    assert str(error).startswith(f"{cause}, {FOREIGN}")


@pytest.mark.parametrize("body", [b"", b" \n"], ids=["empty", "white-space"])
async def test_4xx_with_an_empty_body(reader: CheckedReader, body: bytes) -> None:
    async with raw_server(http_response(body, status="403 Forbidden")) as server:
        error = await reader.fail(server, ForbiddenError, requests=1)
    assert "UNIT_TEST_INFO" in str(error)


async def test_5xx_of_a_proxy(reader: CheckedReader) -> None:
    async with raw_server(http_response(b"<html>", status="502 Bad Gateway")) as server:
        error = await reader.fail(server, ServerError, requests=3)
    assert str(error).startswith("the server failed (502); GET")
