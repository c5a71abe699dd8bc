"""Unexpected responses: statuses, bodies, JSON of another shape, redirects, page sizes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buddy_sessions import (
    AuthenticationError,
    BadRequestError,
    BuddyClient,
    BuddyError,
    DecodeError,
    ForbiddenError,
    NotFoundError,
    ResponseError,
    ServerError,
    Session,
    StatusError,
)
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.fault

GOOD = http_response(PAGE)
SESSION: dict[str, Any] = json.loads(PAGE)["sessions"][-1]  # number 1, which is the end of every list


def page_response(*sessions: object) -> bytes:
    return http_response(json.dumps({"sessions": sessions}).encode())


async def read_pages_of_20(buddy: BuddyClient) -> list[Session]:
    return await buddy.sessions(KEY, per_page=20).collect()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(http_response(b"<html>Sign in to the Wi-Fi</html>", "Content-Type: text/html"), id="html"),
        pytest.param(http_response("<html>Grüezi</html>".encode("latin-1")), id="html-in-latin-1"),
        pytest.param(http_response(f"<html>{TOKEN}".encode()), id="html-with-the-token"),
        pytest.param(http_response(b"<html>", f"X-Authorization: Bearer {TOKEN}"), id="header-with-the-token"),
        pytest.param(http_response(PAGE[:-1]), id="truncated"),
        pytest.param(http_response(b'{"sessions": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), id="nested-too-deep"),
        pytest.param(http_response(b'{"sessions": [], "x": NaN}'), id="nan"),
        pytest.param(http_response(b""), id="empty"),
        pytest.param(http_response(b" \r\n"), id="white-space"),
    ],
)
async def test_page_that_is_not_json(reader: CheckedReader, script: bytes) -> None:
    """It is requested once more."""
    async with raw_server(script, GOOD) as server:
        assert len(await reader.read(server, requests=2)) == 3
    async with raw_server(script) as server:
        assert (await reader.fail(server, ResponseError, requests=2)).retryable


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        pytest.param(http_response(PAGE.replace(b"feature", b"f\xe9ature")), "UTF-8", id="latin-1"),
        pytest.param(http_response(b'{"suites": []}'), "page 1, field sessions: is missing", id="sessions-missing"),
        pytest.param(page_response(SESSION, None), "page 1, item 1: must be an object, not null", id="item-null"),
        pytest.param(page_response({"relative_id": 1}), "page 1, item 0, field id: is missing", id="id-missing"),
    ],
)
async def test_invalid_page(reader: CheckedReader, script: bytes, problem: str) -> None:
    async with raw_server(script) as server:
        error = await reader.fail(server, ResponseError if problem == "UTF-8" else DecodeError, requests=1)
    assert problem in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(GOOD, id="no-content-type"),
        pytest.param(http_response(PAGE, "Content-Type: text/html; charset=utf-16"), id="html"),
        pytest.param(http_response(b"\xef\xbb\xbf" + PAGE), id="byte-order-mark"),
    ],
)
async def test_unusual_page(reader: CheckedReader, script: bytes) -> None:
    async with raw_server(script) as server:
        assert len(await reader.read(server, requests=1)) == 3


@pytest.mark.parametrize(
    ("status", "error_type", "requests"),
    [
        *((status, ResponseError, 1) for status in (101, 201, 204, 206, 304)),
        (400, BadRequestError, 1),
        (401, AuthenticationError, 1),
        (403, ForbiddenError, 1),
        (404, NotFoundError, 1),
        (405, StatusError, 1),
        (408, StatusError, 3),
        *((status, ServerError, 3) for status in (500, 502, 503, 504, 599)),
        (501, ServerError, 1),
    ],
)
async def test_status(reader: CheckedReader, status: int, error_type: type[BuddyError], requests: int) -> None:
    body = json.dumps({"errors": [{"message": "Not like this"}, {"message": f"nor with {TOKEN}"}]}).encode()
    response = http_response({204: b"", 304: b""}.get(status, body), status=f"{status} No")
    if requests > 1:
        async with raw_server(response, http_response(b"<html>", status=f"{status} No"), GOOD) as server:
            assert len(await reader.read(server, requests=3)) == 3
    async with raw_server(response) as server:
        error = await reader.fail(server, error_type, requests=requests, function=read_pages_of_20)
    assert error.retryable == (requests > 1)
    if isinstance(error, StatusError):
        assert (error.status, error.messages, error.method) == (status, ("Not like this", "nor with ***"), "GET")
        assert error.url.startswith(f"{server.base_url}/workspaces/acme/")
    else:
        assert str(error).startswith(f"unexpected {'redirect' if status == 304 else 'status'}")
        assert str(status) in str(error)


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        pytest.param(b"<html>403 Forbidden</html>", [], id="html"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b'[{"message": "no"}]', [], id="a-list"),
        pytest.param(
            b'{"errors": [null, 7, {"message": 7}, {"message": " no\\n way "}]}', ["no way"], id="invalid-errors"
        ),
        pytest.param(json.dumps({"errors": [{"message": "no" * 2**20}]}).encode(), ["no" * 250], id="huge-message"),
        pytest.param(json.dumps({"errors": [{"message": "no"}] * 1000}).encode(), ["no"] * 10, id="many-messages"),
        pytest.param(b'{"errors": [{"message": "\xff"}]}', ["\ufffd"], id="invalid-utf-8"),
        pytest.param(b"[" * 100_000, [], id="nested-too-deep"),
        pytest.param(
            json.dumps({"errors": [{"message": "x" * 495 + TOKEN}]}).encode(),
            ["x" * 495 + "***"],
            id="token-at-the-maximum-length",
        ),
    ],
)
async def test_unusual_body_of_an_error(reader: CheckedReader, body: bytes, messages: list[str]) -> None:
    async with raw_server(http_response(body, status="403 Forbidden")) as server:
        error = await reader.fail(server, ForbiddenError, requests=1)
    assert error.messages == tuple(messages)
    assert len(str(error)) < 6000


@pytest.mark.parametrize("status", ["301 Moved Permanently", "307 Temporary Redirect"])
@pytest.mark.parametrize(
    "location",
    [
        pytest.param("{other}/elsewhere", id="to-another-host"),
        pytest.param("/elsewhere", id="to-the-same-host"),
        pytest.param("file:///etc/passwd", id="to-a-file"),
        pytest.param("{same}", id="to-itself"),
        pytest.param("{other}/?token=" + TOKEN, id="with-the-token"),
        pytest.param("", id="without-a-location"),
    ],
)
async def test_redirect(reader: CheckedReader, location: str, status: str) -> None:
    """It is not followed."""
    async with raw_server(GOOD) as other, raw_server(b"") as server:
        path = f"/workspaces/{KEY.workspace}/projects/{KEY.project}/unit-tests/suites/{KEY.suite_id}/sessions"
        location = location.format(other=other.base_url, same=f"{path}?page=1&per_page=100")
        server.scripts = (http_response(b"", f"Location: {location}", status=status),)
        error = await reader.fail(server, ResponseError, requests=1)
    assert repr(location.replace(TOKEN, "***")) in str(error)
    assert not error.retryable
    assert other.requests == []


@pytest.mark.parametrize(("largest_page", "requests"), [(30, 3), (20, 4)])
async def test_reduced_page_size(reader: CheckedReader, fake: FakeBuddy, largest_page: int, requests: int) -> None:
    fake.largest_page = largest_page
    fake.suites[KEY].populate(67)
    sessions = await reader.read(fake, requests=requests)
    assert [session.relative_id for session in sessions] == list(range(70, 0, -1))
