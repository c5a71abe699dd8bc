"""`FakeBuddy` over real HTTP: the documented responses, errors, settings and faults."""

import asyncio
import gc
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from aiohttp import web
from yarl import URL

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest, server

# The exact example in Buddy's documentation of "Get all test sessions for a suite".
EXAMPLE = """
{
  "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/MNbyVedg/sessions",
  "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/MNbyVedg",
  "sessions": [
    {
      "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/MNbyVedg/sessions/YDnagwGk",
      "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/MNbyVedg/YDnagwGk",
      "id": "YDnagwGk",
      "relative_id": 2,
      "create_date": "2025-10-21T06:42:16Z",
      "start_date": "2025-10-21T06:42:16Z",
      "created_by": {
        "url": "https://api.buddy.works/workspaces/my-workspace/members/1",
        "html_url": "https://app.buddy.works/my-workspace/-/profile/1",
        "id": 1,
        "name": "John Doe",
        "avatar_url": "https://app.buddy.works/image-server/user/0/0/0/0/0/0/1/d643744fbe5ebf2906a4d075a5b97110/w/32/32/AVATAR.png?ts=1760014081477",
        "email": "john.doe@company.com",
        "admin": true,
        "workspace_owner": true
      },
      "ci_provider": "BUDDY",
      "revision": "755b691cfff32e08aba35f2c9b1451ed76cfd583",
      "ref_type": "BRANCH",
      "ref_name": "master",
      "execution_id": "68f72b4466907cbc77887a08",
      "action_execution_id": "68f72b4466907cbc77887a0a",
      "status": "SUCCESSFUL",
      "duration": 0,
      "tests_count": 109,
      "failed_count": 0,
      "skipped_count": 0,
      "error_count": 0
    },
    {
      "url": "https://api.buddy.works/workspaces/my-workspace/projects/my-project/unit-tests/suites/MNbyVedg/sessions/r4nBYXVq",
      "html_url": "https://app.buddy.works/my-workspace/my-project/unit-tests/MNbyVedg/r4nBYXVq",
      "id": "r4nBYXVq",
      "relative_id": 1,
      "create_date": "2025-10-21T06:42:08Z",
      "start_date": "2025-10-21T06:42:08Z",
      "created_by": {
        "url": "https://api.buddy.works/workspaces/my-workspace/members/1",
        "html_url": "https://app.buddy.works/my-workspace/-/profile/1",
        "id": 1,
        "name": "John Doe",
        "avatar_url": "https://app.buddy.works/image-server/user/0/0/0/0/0/0/1/d643744fbe5ebf2906a4d075a5b97110/w/32/32/AVATAR.png?ts=1760014081477",
        "email": "john.doe@company.com",
        "admin": true,
        "workspace_owner": true
      },
      "ci_provider": "BUDDY",
      "revision": "755b691cfff32e08aba35f2c9b1451ed76cfd583",
      "ref_type": "BRANCH",
      "ref_name": "master",
      "execution_id": "68f72b3d66907cbc77887986",
      "action_execution_id": "68f72b3d66907cbc77887988",
      "status": "SUCCESSFUL",
      "duration": 1,
      "tests_count": 109,
      "failed_count": 0,
      "skipped_count": 0,
      "error_count": 0
    }
  ]
}
"""
SESSIONS = "/workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions"
SUITES = "/workspaces/acme/projects/shop/unit-tests/suites"


@attrs.frozen
class Response:
    """A response that was read completely."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[int]:
        return [session["relative_id"] for session in self.json["sessions"]]

    @property
    def message(self) -> str:
        (error,) = self.json["errors"]
        assert list(self.json) == ["errors"]
        assert list(error) == ["message"]
        return str(error["message"])


@attrs.frozen
class Client:
    """A client of the fake server, independent of this package's client."""

    fake: FakeBuddy
    http: aiohttp.ClientSession

    async def get(
        self, path: str = SESSIONS, *, method: str = "GET", token: str | None = None, **query: str | int
    ) -> Response:
        url = URL(str(self.fake.base_url) + path, encoded=True)
        headers = {"Authorization": f"Bearer {self.fake.token if token is None else token}"}
        async with self.http.request(
            method, url, params=query or None, headers=headers, allow_redirects=False
        ) as response:
            return Response(response.status, await response.read(), response.headers)


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "MNbyVedg", name="unit", identifier="unit").populate(45)


@pytest.fixture
async def client(fake: FakeBuddy, suite: FakeSuite) -> AsyncIterator[Client]:
    assert fake.suites[suite.key] is suite
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield Client(fake, http)


async def read_raw_response(fake: FakeBuddy) -> bytes:
    """Send one request, and return all bytes that the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection(fake.base_url.host, fake.base_url.port)
    writer.write(f"GET {SESSIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fake.token}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return data


# Responses


async def test_documented_example(fake: FakeBuddy, client: Client) -> None:
    example = json.loads(EXAMPLE)
    suite = fake.add_suite("my-workspace", "my-project", "MNbyVedg", name="unit", identifier="unit")
    for session in reversed(example["sessions"]):
        given = {name: value for name, value in session.items() if name not in {"url", "html_url", "relative_id"}}
        suite.create(**given)
    response = await client.get("/workspaces/my-workspace/projects/my-project/unit-tests/suites/MNbyVedg/sessions")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    # Serialised, so that the order of the fields counts too.
    assert json.dumps(response.json, indent=2) == EXAMPLE.strip()


async def test_default_page_size_is_20(client: Client) -> None:
    assert (await client.get()).ids == list(range(45, 25, -1))
    assert (await client.get(page=2)).ids == list(range(25, 5, -1))
    assert (await client.get(page=3)).ids == [5, 4, 3, 2, 1]
    past = await client.get(page=4)
    assert (past.status, past.ids) == (200, [])


async def test_per_page(client: Client) -> None:
    assert (await client.get(page=2, per_page=4)).ids == [41, 40, 39, 38]
    assert len((await client.get(per_page=100)).ids) == 45


async def test_branch(client: Client, suite: FakeSuite) -> None:
    first = suite.create(branch="feature/žluťoučký kůň?&")
    suite.create(branch="other")
    assert (await client.get(branch="feature/žluťoučký kůň?&")).ids == [first["relative_id"]]


async def test_single_session(fake: FakeBuddy, client: Client, suite: FakeSuite) -> None:
    session = suite.sessions[7]
    response = await client.get(f"{SESSIONS}/{session['id']}")
    assert response.status == 200
    assert list(response.json.items()) == list(session.items())
    suite.delete(session["id"])
    response = await client.get(f"{SESSIONS}/{session['id']}")
    assert (response.status, response.message) == (404, "Session not found")
    response = await client.get(f"{SUITES}/other/sessions/{session['id']}")
    assert (response.status, response.message) == (404, "Suite not found")


@pytest.mark.parametrize(
    ("session_id", "segment"),
    [("a/b %č?", "a%2Fb%20%25%C4%8D%3F"), ("com.example.Tests", "com.example.Tests"), (7, "7")],
)
async def test_id_in_the_path_is_decoded(client: Client, suite: FakeSuite, session_id: str | int, segment: str) -> None:
    session = suite.create(id=session_id)
    response = await client.get(f"{SESSIONS}/{segment}")
    assert (response.status, response.json) == (200, session)


@pytest.mark.parametrize("name", ["page", "per_page"])
@pytest.mark.parametrize(
    "value", ["0", "-1", "", "x", "1.5", "+1", " 1", "1_0", "¹", pytest.param("9" * 5000, id="5000-digits")]
)
async def test_invalid_page_or_per_page(client: Client, name: str, value: str) -> None:
    response = await client.get(**{name: value})
    assert (response.status, response.message) == (400, f"{name} must be a positive integer")


async def test_list_of_suites(fake: FakeBuddy, client: Client, suite: FakeSuite) -> None:
    other = fake.add_suite("acme", "shop", "65OmRb8v", name="Jest", identifier="jest")
    fake.add_suite("acme", "elsewhere", "kQ3xWz7P")
    response = await client.get(SUITES)
    assert list(response.json.items()) == [
        ("url", "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites"),
        ("html_url", "https://app.buddy.works/acme/shop/unit-tests"),
        ("suites", [suite.summary(), other.summary()]),
    ]


async def test_percent_encoded_names_are_decoded(fake: FakeBuddy, client: Client) -> None:
    fake.add_suite("a b", "c/d?", "žluť").create()
    path = "/workspaces/a%20b/projects/c%2Fd%3F/unit-tests/suites/%C5%BElu%C5%A5/sessions"
    assert (await client.get(path)).ids == [1]
    assert fake.requests[-1].path == path


@pytest.mark.parametrize(
    "path",
    [
        SESSIONS.replace("acme", "other"),
        SESSIONS.replace("shop", "other"),
        SESSIONS.replace("MNbyVedg", "other"),
        SUITES.replace("shop", "other"),
        SESSIONS + "/",
        SESSIONS + "/YDnagwGk",
        SESSIONS + "/YDnagwGk/",
        SESSIONS + "/YDnagwGk/cases",
        SESSIONS.replace("acme", ""),
        "/",
        "/workspaces",
    ],
)
async def test_unknown_path(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status == 404
    assert "ot found" in response.message


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    response = await client.get(method=method)
    assert (response.status, response.message) == (405, f"Method {method} is not allowed")


async def test_wrong_token(fake: FakeBuddy, client: Client) -> None:
    assert (await client.get(token="wrong")).status == 401
    fake.token = "renewed"
    assert (await client.get(token="fake-buddy-token")).status == 401
    assert (await client.get()).status == 200


async def test_missing_token(fake: FakeBuddy, client: Client) -> None:
    async with client.http.get(fake.base_url.join(URL(SESSIONS))) as response:
        assert response.status == 401
        assert "token" in (await response.json())["errors"][0]["message"]


async def test_missing_scope(fake: FakeBuddy, client: Client) -> None:
    fake.scopes = {"WORKSPACE"}
    response = await client.get()
    assert response.status == 403
    assert "cannot receive data" in response.message
    assert "UNIT_TEST_INFO" in response.message
    fake.scopes = {"UNIT_TEST_READ"}
    assert (await client.get()).status == 200


async def test_api_switched_off(fake: FakeBuddy, client: Client) -> None:
    fake.api_enabled = False
    response = await client.get(SUITES)
    assert (response.status, response.message) == (403, "API is disabled in this workspace")


# Settings


async def test_largest_page_reduces_per_page(fake: FakeBuddy, client: Client) -> None:
    fake.largest_page = 30
    assert len((await client.get(per_page=40)).ids) == 30
    assert len((await client.get(per_page=25)).ids) == 25


async def test_refuse_above_rejects_per_page(fake: FakeBuddy, client: Client) -> None:
    fake.refuse_above = 30
    response = await client.get(per_page=31)
    assert (response.status, response.message) == (400, "per_page must not be greater than 30")
    assert len((await client.get(per_page=30)).ids) == 30


@pytest.mark.virtual_time
async def test_latency(fake: FakeBuddy, client: Client) -> None:
    fake.latency = 5
    started = asyncio.get_running_loop().time()
    await asyncio.gather(client.get(), client.get(), client.get())
    assert asyncio.get_running_loop().time() - started == pytest.approx(5)
    assert (fake.max_in_flight, fake.in_flight) == (3, 0)


async def test_api_url_and_app_url() -> None:
    fake = FakeBuddy(api_url="https://api.eu.buddy.works", app_url="https://app.eu.buddy.works")
    session = fake.add_suite("acme", "shop", "MNbyVedg").create()
    for value in (session["url"], session["created_by"]["url"]):
        assert value.startswith("https://api.eu.buddy.works/workspaces/acme/")
    for name in ("html_url", "avatar_url"):
        assert session["created_by"][name].startswith("https://app.eu.buddy.works/")


async def test_compress(fake: FakeBuddy, client: Client) -> None:
    uncompressed = await client.get(per_page=45)
    fake.compress = True
    compressed = await client.get(per_page=45)
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert compressed.body == uncompressed.body
    assert "Content-Encoding" not in (await client.get(page=99)).headers
    async with client.http.get(
        fake.base_url.join(URL(SESSIONS)),
        headers={"Authorization": f"Bearer {fake.token}", "Accept-Encoding": "identity"},
    ) as response:
        assert "Content-Encoding" not in response.headers


async def test_https() -> None:
    authority = trustme.CA()
    server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    authority.configure_trust(client_context)
    async with FakeBuddy(ssl_context=server_context) as fake, aiohttp.ClientSession() as http:
        assert fake.base_url.scheme == "https"
        async with http.get(fake.base_url, ssl=client_context) as response:
            assert response.status == 401


async def test_no_headers_without_a_rate_limit(client: Client) -> None:
    assert not [name for name in (await client.get()).headers if name.startswith("X-Rate")]


async def test_rate_limit_windows(fake: FakeBuddy, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000.25]
    monkeypatch.setattr(server, "time", lambda: clock[0])
    fake.rate_limit, fake.rate_window = 2, 10

    async def get_limit() -> tuple[int, list[str]]:
        response = await client.get()
        names = ("Limit", "Remaining", "Reset")
        return response.status, [response.headers[f"X-Rate-Limit-{name}"] for name in names]

    assert await get_limit() == (200, ["2", "1", "1000011"])
    assert await get_limit() == (200, ["2", "0", "1000011"])
    assert await get_limit() == (429, ["2", "0", "1000011"])
    fake.rate_limit = 3
    assert await get_limit() == (200, ["3", "0", "1000011"])
    fake.rate_limit = 2
    assert await get_limit() == (429, ["2", "0", "1000011"])
    clock[0] = 1_000_010.99
    assert (await client.get()).message == "The API rate limit is exceeded"
    clock[0] = 1_000_011.0
    assert await get_limit() == (200, ["2", "1", "1000021"])
    clock[0] = 1_000_055.5
    fake.rate_limit = 1
    assert await get_limit() == (200, ["1", "0", "1000061"])


async def test_wrong_token_does_not_count_against_the_rate_limit(fake: FakeBuddy, client: Client) -> None:
    fake.rate_limit = 1
    assert (await client.get(token="wrong")).status == 401
    assert (await client.get()).headers["X-Rate-Limit-Remaining"] == "0"


# Recorded requests


async def test_requests_are_recorded(fake: FakeBuddy, client: Client) -> None:
    await client.get(page=2, per_page=5, branch="main")
    await client.get("/nowhere?x=1&x=2", token="wrong")
    first, second = fake.requests
    assert (first.method, first.path, first.status) == ("GET", SESSIONS, 200)
    assert first.query == {"page": "2", "per_page": "5", "branch": "main"}
    assert (first.page, first.per_page) == (2, 5)
    assert first.headers["authorization"] == first.headers["AUTHORIZATION"] == "Bearer fake-buddy-token"
    assert (second.path, second.query, second.status) == ("/nowhere", {"x": "1"}, 401)
    assert (second.page, second.per_page) == (1, 20)


async def test_recorded_request_is_frozen(fake: FakeBuddy, client: Client) -> None:
    await client.get()
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        fake.requests[0].path = "/other"


async def test_on_request_changes_the_list_before_the_response(
    fake: FakeBuddy, client: Client, suite: FakeSuite
) -> None:
    statuses: list[int | None] = []

    def add_session(record: RecordedRequest) -> None:
        statuses.append(record.status)
        suite.create()

    fake.on_request = add_session
    assert (await client.get(per_page=2)).ids == [46, 45]
    assert (await client.get(page=2, per_page=2)).ids == [45, 44]
    assert statuses == [None, None]


async def test_on_request_may_be_async_and_inject_a_fault(fake: FakeBuddy, client: Client) -> None:
    async def fail_page_2(record: RecordedRequest) -> None:
        await asyncio.sleep(0)
        if record.page == 2:
            fake.inject(Fault.status(503))

    fake.on_request = fail_page_2
    assert [(await client.get(page=number)).status for number in (1, 2, 3)] == [200, 503, 200]


# Faults


async def test_faults_apply_in_order_and_once(fake: FakeBuddy, client: Client) -> None:
    fake.inject(Fault.status(500), Fault.body(b"{}"), times=2)
    fake.inject(Fault.status(502))
    assert [(await client.get()).status for _ in range(6)] == [500, 200, 500, 200, 502, 200]
    assert not fake.faults
    assert [request.status for request in fake.requests] == [500, 200, 500, 200, 502, 200]


async def test_fault_precedes_token_and_rate_limit(fake: FakeBuddy, client: Client) -> None:
    fake.rate_limit = 1
    fake.inject(Fault.status(503))
    response = await client.get(token="wrong")
    assert (response.status, response.message) == (503, "HTTP 503 (injected fault)")
    assert response.headers["Content-Type"] == "application/json"
    assert (await client.get()).status == 200


async def test_status_with_body_and_headers(fake: FakeBuddy, client: Client) -> None:
    fake.inject(Fault.status(502, body=b"<html>", headers={"content-type": "text/html", "Retry-After": "7"}))
    fake.inject(Fault.status(302, headers={"Location": "/elsewhere"}), Fault.status(204))
    page, redirect, empty = await client.get(), await client.get(), await client.get()
    assert (page.status, page.body, page.headers["Retry-After"]) == (502, b"<html>", "7")
    assert page.headers.getall("Content-Type") == ["text/html"]
    assert (redirect.status, redirect.headers["Location"]) == (302, "/elsewhere")
    assert (empty.status, empty.body) == (204, b"")


async def test_body_is_sent_unchanged(fake: FakeBuddy, client: Client) -> None:
    fake.inject(Fault.body(b"\xff\xfe"), Fault.body(b"", headers={"X-Proxy": "yes"}))
    raw, empty = await client.get(), await client.get()
    assert (raw.status, raw.body, raw.headers["Content-Type"]) == (200, b"\xff\xfe", "application/json")
    assert (empty.body, empty.headers["X-Proxy"]) == (b"", "yes")


async def test_disconnect(fake: FakeBuddy) -> None:
    fake.inject(Fault.disconnect())
    assert await read_raw_response(fake) == b""
    assert [request.status for request in fake.requests] == [None]


@pytest.mark.parametrize("after", [0, 100])
async def test_truncate_announces_more_than_it_sends(fake: FakeBuddy, client: Client, after: int) -> None:
    whole = await client.get()
    fake.inject(Fault.truncate(after))
    head, _, body = (await read_raw_response(fake)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(whole.body)}\r\n".encode() in head
    assert b"Content-Type: application/json\r\n" in head
    assert body == whole.body[:after]
    assert fake.requests[-1].status is None
    assert (await client.get()).body == whole.body


async def test_client_notices_a_truncated_response(fake: FakeBuddy, client: Client) -> None:
    fake.inject(Fault.truncate())
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.get()


@pytest.mark.virtual_time
async def test_stall(fake: FakeBuddy, client: Client) -> None:
    fake.inject(Fault.stall(5))
    started = asyncio.get_running_loop().time()
    assert len((await client.get()).ids) == 20
    assert asyncio.get_running_loop().time() - started == pytest.approx(5)


async def test_hang_ends_when_the_client_disconnects(fake: FakeBuddy, client: Client) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def observed_hang(request: web.BaseRequest, make_response: Callable[[], web.Response]) -> web.Response | None:
        started.set()
        try:
            return await Fault.hang().handler(request, make_response)
        finally:
            ended.set()

    fake.inject(Fault("observed hang", observed_hang))
    request = asyncio.create_task(client.get())
    await started.wait()
    assert fake.in_flight == 1
    request.cancel()
    async with asyncio.timeout(5):
        await ended.wait()
    assert (fake.in_flight, fake.requests[0].status) == (0, None)
    assert (await client.get()).status == 200


async def test_own_fault(fake: FakeBuddy, client: Client) -> None:
    async def teapot(_request: web.BaseRequest, make_response: Callable[[], web.Response]) -> web.Response:
        return web.Response(status=418, body=make_response().body)

    fault = Fault("teapot", teapot)
    fake.inject(fault)
    assert repr(fault) == "Fault(name='teapot')"
    response = await client.get()
    assert (response.status, len(response.ids)) == (418, 20)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Fault.status(503), "status(503)"),
        (Fault.body(b"abc"), "body(3 bytes)"),
        (Fault.disconnect(), "disconnect()"),
        (Fault.truncate(), "truncate(100)"),
        (Fault.stall(0.5), "stall(0.5)"),
        (Fault.hang(), "hang()"),
    ],
)
def test_fault_names(fault: Fault, name: str) -> None:
    assert fault.name == name


# Start and close


@pytest.mark.virtual_time
async def test_close_cancels_requests_in_flight(client: Client, fake: FakeBuddy) -> None:
    fake.inject(Fault.hang(), Fault.stall(60))
    arrived = asyncio.Semaphore(0)
    fake.on_request = lambda _: arrived.release()
    requests = [asyncio.create_task(client.get()) for _ in range(2)]
    for _ in requests:
        await arrived.acquire()
    assert fake.in_flight == 2
    started = asyncio.get_running_loop().time()
    await fake.close()
    assert asyncio.get_running_loop().time() - started < 2
    assert fake.in_flight == 0
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results)


async def test_close_twice_or_before_start() -> None:
    fake = FakeBuddy()
    await fake.close()
    await fake.start()
    await fake.close()
    await fake.close()


async def test_start_twice(fake: FakeBuddy) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        await fake.start()


async def test_port_in_use(fake: FakeBuddy) -> None:
    second = FakeBuddy(port=fake.base_url.port or 0)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await fake.close()
    async with second:
        assert second.base_url == fake.base_url


async def test_restart_on_the_same_port(fake: FakeBuddy, client: Client) -> None:
    await fake.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get()
    fake.port = fake.base_url.port or 0
    await fake.start()
    assert (await client.get()).status == 200


def test_suites_can_be_filled_outside_an_event_loop() -> None:
    fake = FakeBuddy(seed=3)
    suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(3)
    assert list(suite.sessions) != list(FakeSuite("acme", "shop", "MNbyVedg").populate(3).sessions)

    async def read() -> int:
        async with fake, aiohttp.ClientSession() as http:
            return len((await Client(fake, http).get()).ids)

    assert asyncio.run(read()) == 3


def test_no_base_url_before_start() -> None:
    with pytest.raises(RuntimeError, match="async with FakeBuddy"):
        _ = FakeBuddy().base_url


def test_duplicate_suite() -> None:
    fake = FakeBuddy()
    fake.add_suite("acme", "shop", "MNbyVedg")
    with pytest.raises(ValueError, match="acme/shop/MNbyVedg already exists"):
        fake.add_suite("acme", "shop", "MNbyVedg")


async def test_demo_suites(fake: FakeBuddy, client: Client) -> None:
    added = fake.add_demo_suites()
    assert [len(suite.sessions) for suite in added] == [400, 220, 90, 310, 140, 30]
    assert {suite.key[:2] for suite in added} == {("acme", "storefront"), ("acme", "payments")}
    listed = await client.get("/workspaces/acme/projects/payments/unit-tests/suites")
    assert [each["name"] for each in listed.json["suites"]] == [
        "Unit tests",
        "Contract tests",
        "Nightly regression",
    ]


@pytest.mark.parametrize("iterations", range(8))
async def test_connection_accepted_during_close_is_closed(iterations: int) -> None:
    async with FakeBuddy() as fake:
        connection = socket.create_connection(("127.0.0.1", fake.base_url.port or 0))
        for _ in range(iterations):
            await asyncio.sleep(0)
    connection.close()
    gc.collect()  # a connection left open would raise a ResourceWarning here
