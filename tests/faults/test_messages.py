"""Text from a server in errors: the token in any escaping, control characters, and responses that are not Buddy's."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from urllib.parse import quote

import pytest

from buddy_sessions import (
    AuthenticationError,
    BadRequestError,
    BuddyError,
    DecodeError,
    ForbiddenError,
    NotFoundError,
    ResponseError,
    ServerError,
    StatusError,
)
from helpers.faults import KEY, CheckedReader, text_of_error, text_of_log
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.fault

TOKEN = "s3cr3t/t0ken=="
PARTS = ["s3cr3t", "t0ken"]
"""Parts of the token that no escaping changes, unless it escapes every character."""

CONTROLS = "\x1b[31m\x07\x9b\u202e\u2066"


def percent_encode_all(text: str) -> str:
    return "".join(f"%{ord(character):02x}" for character in text)


def json_escape_all(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def escape_slashes(text: str) -> str:
    return text.replace("/", r"\/")


ESCAPINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "slash": escape_slashes,
    "lower-case-hex": lambda text: text.replace("=", r"\u003d").replace("/", r"\u002f"),
    "upper-case-hex": lambda text: text.replace("=", r"\u003D").replace("/", r"\u002F"),
    "every-character": json_escape_all,
    "percent": lambda text: quote(text, safe=""),
    "percent-lower-case": lambda text: quote(text, safe="").lower(),
    "percent-twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-every-character": percent_encode_all,
    "percent-escaped": lambda text: quote(text, safe="").replace("%", r"\u0025"),
    "json-in-json": lambda text: json.dumps(escape_slashes(text)).strip('"'),
    "json-in-json-hex": lambda text: text.replace("=", r"\\u003D").replace("/", r"\\\/"),
    "percent-every-character-escaped": lambda text: json_escape_all(percent_encode_all(text)),
}
ONLY_IN_JSON = "percent-every-character-escaped"


def in_message(text: str) -> bytes:
    body = f'{{"errors": [{{"message": "Bearer {text} is bad"}}]}}'
    return http_response(body.encode(), status="403 Forbidden")


def in_field(text: str) -> bytes:
    session = f'{{"id": "1", "relative_id": 1, "status": "OK", "create_date": "{text}!"}}'
    return http_response(f'{{"sessions": [{session}]}}'.encode())


def in_text(text: str) -> bytes:
    return http_response(f"<p>{text}".encode())


def in_location(text: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /login?token={text}&x\r\n\r\n".encode()


def in_header(text: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nX: \0{text}\r\n\r\n".encode()


def in_status_line(text: str) -> bytes:
    return f"{text}\r\n\r\n".encode()


Place = Callable[[str], bytes]
JSON_PLACES: list[Place] = [in_message, in_field]
PLACES: list[Place] = [*JSON_PLACES, in_text, in_location, in_header, in_status_line]
ERRORS: dict[Place, type[BuddyError]] = {in_message: ForbiddenError, in_field: DecodeError}
SHOWN: dict[Place, str] = {in_message: "Bearer *** is bad", in_field: "'***!'"}


@pytest.mark.parametrize(
    ("place", "escaping"),
    [(place, name) for place, name in product(PLACES, ESCAPINGS) if place in JSON_PLACES or name != ONLY_IN_JSON],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_token_is_hidden(reader: CheckedReader, place: Place, escaping: str) -> None:
    async with raw_server(place(ESCAPINGS[escaping](TOKEN))) as server:
        error = await reader.fail(server, ERRORS.get(place, ResponseError), requests=range(1, 3), token=TOKEN)
    assert SHOWN.get(place, "") in str(error)
    for text in (text_of_error(error), text_of_log(reader.log.records)):
        unescaped = text.replace("\\\\", "\\")
        for part in PARTS:
            for repeated in (part, json_escape_all(part), percent_encode_all(part)):
                assert repeated not in unescaped


@pytest.mark.parametrize(("token", "shown"), [("a", "a"), ("another", "another"), ("a-parame", "***")])
async def test_short_token_hides_no_letters(reader: CheckedReader, token: str, shown: str) -> None:
    """Only a token of at least 8 characters is redacted: a shorter one may be part of any message."""
    async with raw_server(in_message(f"another bad parameter: {token}")) as server:
        error = await reader.fail(server, ForbiddenError, requests=1, token=token)
    assert error.messages == (f"Bearer another bad parameter: {shown} is bad",)


async def test_body_of_backslashes(reader: CheckedReader) -> None:
    """The search for the token stays fast."""
    async with raw_server(http_response(b"\\" * 2**20, status="403 Forbidden")) as server:
        await reader.fail(server, ForbiddenError, requests=1, token=TOKEN)
    assert reader.seconds < 5


@pytest.mark.parametrize(
    ("character", "escaped"),
    [
        *((character, f"\\x{ord(character):02x}") for character in "\x1b\x07\0\x7f\x9b"),
        *((character, f"\\u{ord(character):04x}") for character in "\u202e\u2066\u200f\u061c\ud800"),
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


@pytest.mark.parametrize("place", [in_field, in_text, in_location, in_header, in_status_line])
async def test_control_characters_elsewhere_in_a_response(reader: CheckedReader, place: Place) -> None:
    response = place(json.dumps(CONTROLS)[1:-1] if place is in_field else CONTROLS)
    async with raw_server(response) as server:
        with pytest.raises(ResponseError) as caught:
            await reader.read(server, requests=range(1, 3))
    assert str(caught.value).isprintable()
    assert all(record.getMessage().isprintable() for record in reader.log.records if record.name == "buddy_sessions")


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
@pytest.mark.parametrize("body", [b"<html>Forbidden</html>", b'{"type": "about:blank"}', b'{"message": "Forbidden"}'])
async def test_4xx_that_is_not_from_buddy(
    reader: CheckedReader, status: int, error_type: type[StatusError], cause: str, body: bytes
) -> None:
    """It does not get Buddy's advice, for instance on the scopes of the token."""
    async with raw_server(http_response(body, status=f"{status} No")) as server:
        error = await reader.fail(
            server, error_type, requests=1, function=lambda buddy: buddy.sessions(KEY, per_page=20).collect()
        )
    advice = "but the response is not Buddy's: probably a proxy's; check the base URL; GET http://127.0.0.1"
    assert str(error).startswith(f"{cause}, {advice}")


async def test_response_that_may_be_from_buddy(reader: CheckedReader) -> None:
    """A 4xx without a body, and a 5xx, even if it is a proxy's."""
    async with raw_server(http_response(b" \n", status="403 Forbidden")) as server:
        assert "UNIT_TEST_INFO" in str(await reader.fail(server, ForbiddenError, requests=1))
    async with raw_server(http_response(b"<html>", status="502 Bad Gateway")) as server:
        assert "the server failed (502); GET" in str(await reader.fail(server, ServerError, requests=3))
