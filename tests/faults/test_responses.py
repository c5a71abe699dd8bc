"""Unexpected responses: statuses, bodies, JSON of another shape, redirects, page sizes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buddy_sessions import (
    AuthenticationError,
    BadRequestError,
    BuddyClient,
    DecodeError,
    ForbiddenError,
    NotFoundError,
    ResponseError,
    ServerError,
    Session,
    SessionStatus,
    StatusError,
    UnstableListingError,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.faults import KEY, PAGE, TOKEN, CheckedReader
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.fault

GOOD = http_response(PAGE)
SESSION: dict[str, Any] = json.loads(PAGE)["sessions"][-1]  # number 1, which is the end of every list


def page_response(*sessions: object) -> bytes:
    return http_response(json.dumps({"sessions": sessions}).encode())


def page_with_branch(name: str) -> bytes:
    """Return a page with one session of this branch, in UTF-8."""
    return json.dumps({"sessions": [{**SESSION, "ref_name": name}]}, ensure_ascii=False).encode()


async def read_pages_of_20(buddy: BuddyClient) -> list[Session]:
    return await buddy.sessions(KEY, per_page=20).collect()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(http_response(b"<html>Sign in to the Wi-Fi</html>", "Content-Type: text/html"), id="html"),
        pytest.param(
            http_response("<html>Grüezi</html>".encode("latin-1"), "Content-Type: text/html"), id="html-in-latin-1"
        ),
        pytest.param(http_response(f"<html>{TOKEN}".encode()), id="html-with-the-token"),
        pytest.param(http_response(b"<html>", f"X-Authorization: Bearer {TOKEN}"), id="header-with-the-token"),
        pytest.param(http_response(PAGE[:-1]), id="truncated-json"),
        pytest.param(
            http_response(b'{"sessions": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), id="json-nested-too-deep"
        ),
        pytest.param(http_response(b'{"sessions": [], "x": NaN}'), id="nan"),
        pytest.param(http_response(b""), id="empty"),
        pytest.param(http_response(b" \r\n"), id="white-space"),
    ],
)
async def test_invalid_json(reader: CheckedReader, script: bytes) -> None:
    """It is retried once."""
    async with raw_server(script, GOOD) as server:
        assert len(await reader.read(server, requests=2)) == 3
    async with raw_server(script) as server:
        assert (await reader.fail(server, ResponseError, requests=2)).retryable


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(GOOD, id="no-content-type"),
        pytest.param(http_response(PAGE, "Content-Type: text/html; charset=utf-16"), id="other-content-type"),
        pytest.param(http_response(b"\xef\xbb\xbf" + PAGE), id="byte-order-mark"),
    ],
)
async def test_unusual_but_valid_json(reader: CheckedReader, script: bytes) -> None:
    async with raw_server(script) as server:
        sessions = await reader.read(server, requests=1)
    assert [session.ref_name for session in sessions] == [item["ref_name"] for item in json.loads(PAGE)["sessions"]]


async def test_text_beyond_ascii(reader: CheckedReader) -> None:
    async with raw_server(http_response(page_with_branch("żółw 🐢"))) as server:
        (session,) = await reader.read(server, requests=1)
    assert session.ref_name == "żółw 🐢"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(page_with_branch("ü").replace("ü".encode(), b"\xfc"), id="latin-1"),
        pytest.param(page_with_branch("x").replace(b'"x"', b'"\xed\xa0\xbd"'), id="encoded-surrogate"),
        pytest.param(PAGE.replace(b"relative_id", b"relativ\xe9_id"), id="latin-1-in-a-field-name"),
    ],
)
async def test_invalid_utf8(reader: CheckedReader, body: bytes) -> None:
    async with raw_server(http_response(body)) as server:
        assert "UTF-8" in str(await reader.fail(server, ResponseError, requests=1))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param("204 No Content", b"", id="204"),
        pytest.param("206 Partial Content", PAGE, id="206"),
        pytest.param("101 Switching Protocols", b"", id="101"),
    ],
)
async def test_unexpected_status(reader: CheckedReader, status: str, body: bytes) -> None:
    async with raw_server(http_response(body, status=status)) as server:
        error = await reader.fail(server, ResponseError, requests=1)
    assert f"unexpected status {status[:3]}" in str(error)


@pytest.mark.parametrize(
    ("script", "item", "field"),
    [
        pytest.param(http_response(b'{"suites": []}'), None, "sessions", id="sessions-missing"),
        pytest.param(http_response(b"[]"), None, None, id="page-a-list"),
        pytest.param(page_response(SESSION, None), 1, None, id="item-null"),
        pytest.param(page_response(SESSION, {"relative_id": 1, "status": "ERROR"}), 1, "id", id="id-missing"),
        pytest.param(page_response({**SESSION, "relative_id": 0}), 0, "relative_id", id="relative-id-0"),
        pytest.param(page_response({**SESSION, "relative_id": 10**400}), 0, "relative_id", id="number-of-400-digits"),
        pytest.param(page_response({**SESSION, "tests_count": 2**63}), 0, "tests_count", id="number-beyond-64-bits"),
        pytest.param(page_response({**SESSION, "create_date": "yesterday"}), 0, "create_date", id="invalid-date"),
    ],
)
async def test_json_of_another_shape(reader: CheckedReader, script: bytes, item: int | None, field: str | None) -> None:
    async with raw_server(script) as server:
        error = await reader.fail(server, DecodeError, requests=1)
    assert (error.page, error.item, error.field, error.retryable) == (1, item, field, False)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        pytest.param({"status": "PONDERING"}, "status", SessionStatus("PONDERING"), id="unknown-status"),
        pytest.param({"ref_type": "COMET"}, "ref_type", "COMET", id="unknown-ref-type"),
        pytest.param({"mood": {"today": ["fine"]}}, "id", SESSION["id"], id="unknown-field"),
        pytest.param({"relative_id": 2**53}, "relative_id", 2**53, id="relative-id-2^53"),
        pytest.param(
            dict.fromkeys(set(SESSION) - {"id", "relative_id", "status"}), "ref_name", None, id="optional-fields-null"
        ),
        pytest.param({"id": 77}, "id", "77", id="id-a-number"),
    ],
)
async def test_compatible_session(reader: CheckedReader, change: dict[str, object], field: str, value: object) -> None:
    requests = range(1, 8) if "relative_id" in change else 1  # an end above number 1 is checked
    async with raw_server(page_response({**SESSION, **change})) as server:
        (session,) = await reader.read(server, requests=requests)
    assert getattr(session, field) == value


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, StatusError),
        (501, ServerError),
    ],
)
async def test_permanent_error(reader: CheckedReader, status: int, error_type: type[StatusError]) -> None:
    body = json.dumps({"errors": [{"message": "Not like this"}, {"message": f"nor with {TOKEN}"}]}).encode()
    async with raw_server(http_response(body, status=f"{status} No")) as server:
        error = await reader.fail(server, error_type, requests=1, function=read_pages_of_20)
    assert (error.status, error.messages, error.method) == (status, ("Not like this", "nor with ***"), "GET")
    assert error.url.startswith(f"{server.base_url}/workspaces/acme/")
    assert not error.retryable


@pytest.mark.parametrize(
    "tokens",
    [pytest.param(["old", TOKEN], id="then-a-new-token"), pytest.param(["old", "older"], id="for-a-new-token-too")],
)
async def test_401(reader: CheckedReader, fake: FakeBuddy, tokens: list[str]) -> None:
    """A token callable is called once more."""
    fake.token = TOKEN
    fake.add_suite(*KEY).populate(3)
    remaining = iter(tokens)

    async def get_token() -> str:
        return next(remaining)

    if TOKEN in tokens:
        assert len(await reader.read(fake, requests=2, token=get_token)) == 3
    else:
        await reader.fail(fake, AuthenticationError, requests=2, token=get_token)
    assert not list(remaining)


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


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
async def test_temporary_error(reader: CheckedReader, status: int) -> None:
    errors = [http_response(body, status=f"{status} No") for body in (b"", b"<html>")]
    async with raw_server(*errors, GOOD) as server:
        assert len(await reader.read(server, requests=3)) == 3


@pytest.mark.parametrize(("status", "error_type"), [(408, StatusError), (503, ServerError)])
async def test_temporary_error_for_ever(reader: CheckedReader, status: int, error_type: type[StatusError]) -> None:
    async with raw_server(http_response(b"", status=f"{status} No")) as server:
        error = await reader.fail(server, error_type, requests=3)
    assert (error.status, error.retryable) == (status, True)


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
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


@pytest.mark.parametrize(
    ("largest_page", "refuse_above", "requests"),
    [
        pytest.param(30, None, 3, id="reduced-to-30"),
        pytest.param(20, None, 4, id="reduced-to-20"),
        pytest.param(None, 50, 5, id="rejected-above-50"),
    ],
)
async def test_limited_page_size(
    reader: CheckedReader, fake: FakeBuddy, largest_page: int | None, refuse_above: int | None, requests: int
) -> None:
    fake.token, fake.largest_page, fake.refuse_above = TOKEN, largest_page, refuse_above
    fake.add_suite(*KEY).populate(70)
    sessions = await reader.read(fake, requests=requests)
    assert [session.relative_id for session in sessions] == list(range(70, 0, -1))


async def test_same_page_for_every_number(reader: CheckedReader) -> None:
    page = json.dumps({"sessions": FakeSuite(*KEY).populate(100).sessions[:20]}).encode()
    async with raw_server(http_response(page)) as server:
        await reader.fail(server, UnstableListingError, requests=range(101, 110), function=read_pages_of_20)
