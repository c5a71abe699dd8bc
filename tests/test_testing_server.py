"""The fake Buddy over real HTTP: the documented answers, the refusals, the knobs and the faults."""

import asyncio
import gc
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from aiohttp import web
from yarl import URL

from buddy_sessions import testing
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest, server

# Word for word the example of Buddy's documentation of "Get all test sessions for a suite".
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
class Reply:
    """What a client saw."""

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
class Caller:
    """A client of the fake server."""

    fake: FakeBuddy
    http: aiohttp.ClientSession

    async def __call__(
        self, path: str = SESSIONS, *, method: str = "GET", token: str | None = None, **query: str | int
    ) -> Reply:
        url = URL(str(self.fake.base_url) + path, encoded=True)
        headers = {"Authorization": f"Bearer {self.fake.token if token is None else token}"}
        async with self.http.request(
            method, url, params=query or None, headers=headers, allow_redirects=False
        ) as response:
            return Reply(response.status, await response.read(), response.headers)


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy() as running:
        yield running


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "MNbyVedg", name="unit", identifier="unit").populate(45)


@pytest.fixture
async def get(fake: FakeBuddy, suite: FakeSuite) -> AsyncIterator[Caller]:
    assert fake.suites[suite.key] is suite
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield Caller(fake, http)


async def raw_answer(fake: FakeBuddy) -> bytes:
    """Every byte that the server sends to one request, until it closes the connection."""
    reader, writer = await asyncio.open_connection(fake.base_url.host, fake.base_url.port)
    writer.write(f"GET {SESSIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fake.token}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_the_door_exports_what_it_names() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)


# What Buddy answers


async def test_the_documented_example_is_served_field_for_field(fake: FakeBuddy, get: Caller) -> None:
    example = json.loads(EXAMPLE)
    suite = fake.add_suite("my-workspace", "my-project", "MNbyVedg", name="unit", identifier="unit")
    for session in reversed(example["sessions"]):
        given = {name: value for name, value in session.items() if name not in {"url", "html_url", "relative_id"}}
        suite.create(**given)
    reply = await get("/workspaces/my-workspace/projects/my-project/unit-tests/suites/MNbyVedg/sessions")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    # Serialised, so that the order of the fields counts too.
    assert json.dumps(reply.json, indent=2) == EXAMPLE.strip()


async def test_pages_are_of_twenty_newest_first_and_empty_past_the_end(get: Caller) -> None:
    assert (await get()).ids == list(range(45, 25, -1))
    assert (await get(page=2)).ids == list(range(25, 5, -1))
    assert (await get(page=3)).ids == [5, 4, 3, 2, 1]
    past = await get(page=4)
    assert (past.status, past.ids) == (200, [])


async def test_per_page_sets_the_size_of_a_page(get: Caller) -> None:
    assert (await get(page=2, per_page=4)).ids == [41, 40, 39, 38]
    assert len((await get(per_page=100)).ids) == 45


async def test_branch_filters(get: Caller, suite: FakeSuite) -> None:
    first = suite.create(branch="feature/žluťoučký kůň?&")
    suite.create(branch="other")
    assert (await get(branch="feature/žluťoučký kůň?&")).ids == [first["relative_id"]]


@pytest.mark.parametrize("name", ["page", "per_page"])
@pytest.mark.parametrize("value", ["0", "-1", "", "x", "1.5", "+1", " 1", "1_0", "¹", "9" * 5000])
async def test_a_page_that_is_no_positive_integer_is_refused(get: Caller, name: str, value: str) -> None:
    reply = await get(**{name: value})
    assert (reply.status, reply.message) == (400, f"{name} must be a positive integer")


async def test_the_list_of_suites_has_the_documented_shape(fake: FakeBuddy, get: Caller, suite: FakeSuite) -> None:
    other = fake.add_suite("acme", "shop", "65OmRb8v", name="Jest", identifier="jest")
    fake.add_suite("acme", "elsewhere", "kQ3xWz7P")
    reply = await get(SUITES)
    assert list(reply.json.items()) == [
        ("url", "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites"),
        ("html_url", "https://app.buddy.works/acme/shop/unit-tests"),
        ("suites", [suite.summary(), other.summary()]),
    ]


async def test_percent_encoded_names_are_decoded(fake: FakeBuddy, get: Caller) -> None:
    fake.add_suite("a b", "c/d?", "žluť").create()
    path = "/workspaces/a%20b/projects/c%2Fd%3F/unit-tests/suites/%C5%BElu%C5%A5/sessions"
    assert (await get(path)).ids == [1]
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
        SESSIONS.replace("acme", ""),
        "/",
        "/workspaces",
    ],
)
async def test_what_does_not_exist_is_not_found(get: Caller, path: str) -> None:
    reply = await get(path)
    assert reply.status == 404
    assert "ot found" in reply.message


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_only_get_is_allowed(get: Caller, method: str) -> None:
    reply = await get(method=method)
    assert (reply.status, reply.message) == (405, f"Method {method} is not allowed")


async def test_a_wrong_token_is_unauthorized(fake: FakeBuddy, get: Caller) -> None:
    assert (await get(token="wrong")).status == 401
    fake.token = "renewed"
    assert (await get(token="fake-buddy-token")).status == 401
    assert (await get()).status == 200


async def test_a_missing_token_is_unauthorized(fake: FakeBuddy, get: Caller) -> None:
    async with get.http.get(fake.base_url.join(URL(SESSIONS))) as response:
        assert response.status == 401
        assert "token" in (await response.json())["errors"][0]["message"]


async def test_a_token_without_the_scope_cannot_receive_data(fake: FakeBuddy, get: Caller) -> None:
    fake.scopes = {"WORKSPACE"}
    reply = await get()
    assert reply.status == 403
    assert "cannot receive data" in reply.message
    assert "UNIT_TEST_INFO" in reply.message
    fake.scopes = {"UNIT_TEST_READ"}
    assert (await get()).status == 200


async def test_a_workspace_can_have_its_api_switched_off(fake: FakeBuddy, get: Caller) -> None:
    fake.api_enabled = False
    reply = await get(SUITES)
    assert (reply.status, reply.message) == (403, "API is disabled in this workspace")


# Knobs


async def test_a_large_page_can_be_clamped_silently(fake: FakeBuddy, get: Caller) -> None:
    fake.largest_page = 30
    assert len((await get(per_page=40)).ids) == 30
    assert len((await get(per_page=25)).ids) == 25


async def test_a_large_page_can_be_refused(fake: FakeBuddy, get: Caller) -> None:
    fake.refuse_above = 30
    reply = await get(per_page=31)
    assert (reply.status, reply.message) == (400, "per_page must not be greater than 30")
    assert len((await get(per_page=30)).ids) == 30


async def test_latency_delays_each_answer(fake: FakeBuddy, get: Caller) -> None:
    fake.latency = 0.05
    began = time.perf_counter()
    await asyncio.gather(get(), get(), get())
    assert 0.045 < time.perf_counter() - began < 5
    assert (fake.max_in_flight, fake.in_flight) == (3, 0)


async def test_bodies_can_name_other_addresses() -> None:
    fake = FakeBuddy(api_url="https://api.eu.buddy.works", app_url="https://app.eu.buddy.works")
    session = fake.add_suite("acme", "shop", "MNbyVedg").create()
    for value in (session["url"], session["created_by"]["url"]):
        assert value.startswith("https://api.eu.buddy.works/workspaces/acme/")
    for name in ("html_url", "avatar_url"):
        assert session["created_by"][name].startswith("https://app.eu.buddy.works/")


async def test_answers_can_be_compressed(fake: FakeBuddy, get: Caller, suite: FakeSuite) -> None:
    plain = await get(per_page=45)
    fake.compress = True
    packed = await get(per_page=45)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.body == plain.body
    assert "Content-Encoding" not in (await get(page=99)).headers
    async with get.http.get(
        fake.base_url.join(URL(SESSIONS)),
        headers={"Authorization": f"Bearer {fake.token}", "Accept-Encoding": "identity"},
    ) as response:
        assert "Content-Encoding" not in response.headers
    assert suite.sessions[0]["id"].encode() in packed.body


async def test_it_serves_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    served, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    served.load_cert_chain(tmp_path / "pem")
    trusted.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    async with FakeBuddy(ssl_context=served) as fake, aiohttp.ClientSession() as http:
        assert fake.base_url.scheme == "https"
        async with http.get(fake.base_url, ssl=trusted) as response:
            assert response.status == 401


async def test_without_a_limit_answers_say_nothing_about_it(get: Caller) -> None:
    assert not [name for name in (await get()).headers if name.startswith("X-Rate")]


async def test_the_rate_limit_counts_down_refuses_and_starts_anew(
    fake: FakeBuddy, get: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000_000.25]
    monkeypatch.setattr(server, "time", lambda: clock[0])
    fake.rate_limit, fake.rate_window = 2, 10

    async def ask() -> tuple[int, list[str]]:
        reply = await get()
        return reply.status, [reply.headers[f"X-Rate-Limit-{it}"] for it in ("Limit", "Remaining", "Reset")]

    assert await ask() == (200, ["2", "1", "1000011"])
    assert await ask() == (200, ["2", "0", "1000011"])
    assert await ask() == (429, ["2", "0", "1000011"])
    fake.rate_limit = 3
    assert await ask() == (200, ["3", "0", "1000011"])
    fake.rate_limit = 2
    assert await ask() == (429, ["2", "0", "1000011"])
    clock[0] = 1_000_010.99
    assert (await get()).message == "The API rate limit is exceeded"
    clock[0] = 1_000_011.0
    assert await ask() == (200, ["2", "1", "1000021"])
    clock[0] = 1_000_055.5
    fake.rate_limit = 1
    assert await ask() == (200, ["1", "0", "1000061"])


async def test_a_wrong_token_spends_nothing_of_the_limit(fake: FakeBuddy, get: Caller) -> None:
    fake.rate_limit = 1
    assert (await get(token="wrong")).status == 401
    assert (await get()).headers["X-Rate-Limit-Remaining"] == "0"


# What a test sees


async def test_requests_are_recorded(fake: FakeBuddy, get: Caller) -> None:
    await get(page=2, per_page=5, branch="main")
    await get("/nowhere?x=1&x=2", token="wrong")
    first, second = fake.requests
    assert (first.method, first.path, first.status) == ("GET", SESSIONS, 200)
    assert first.query == {"page": "2", "per_page": "5", "branch": "main"}
    assert (first.page, first.per_page) == (2, 5)
    assert first.headers["authorization"] == first.headers["AUTHORIZATION"] == "Bearer fake-buddy-token"
    assert (second.path, second.query, second.status) == ("/nowhere", {"x": "1"}, 401)
    assert (second.page, second.per_page) == (1, 20)


async def test_a_record_is_frozen(fake: FakeBuddy, get: Caller) -> None:
    await get()
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        fake.requests[0].path = "/other"


async def test_on_request_moves_the_list_under_the_reader(fake: FakeBuddy, get: Caller, suite: FakeSuite) -> None:
    statuses: list[int | None] = []

    def one_more(record: RecordedRequest) -> None:
        statuses.append(record.status)
        suite.create()

    fake.on_request = one_more
    assert (await get(per_page=2)).ids == [46, 45]
    assert (await get(page=2, per_page=2)).ids == [45, 44]
    assert statuses == [None, None]


async def test_on_request_may_be_a_coroutine_and_choose_a_fault(fake: FakeBuddy, get: Caller) -> None:
    async def trip_on_page_two(record: RecordedRequest) -> None:
        await asyncio.sleep(0)
        if record.page == 2:
            fake.inject(Fault.status(503))

    fake.on_request = trip_on_page_two
    assert [(await get(page=number)).status for number in (1, 2, 3)] == [200, 503, 200]


# Faults


async def test_faults_are_met_in_order_and_then_no_more(fake: FakeBuddy, get: Caller) -> None:
    fake.inject(Fault.status(500), Fault.body(b"{}"), times=2)
    fake.inject(Fault.status(502))
    assert [(await get()).status for _ in range(6)] == [500, 200, 500, 200, 502, 200]
    assert not fake.faults
    assert [request.status for request in fake.requests] == [500, 200, 500, 200, 502, 200]


async def test_a_fault_comes_before_the_token_and_the_limit(fake: FakeBuddy, get: Caller) -> None:
    fake.rate_limit = 1
    fake.inject(Fault.status(503))
    reply = await get(token="wrong")
    assert (reply.status, reply.message) == (503, "HTTP 503, a fault that was injected")
    assert reply.headers["Content-Type"] == "application/json"
    assert (await get()).status == 200


async def test_a_status_can_have_any_body_and_headers(fake: FakeBuddy, get: Caller) -> None:
    fake.inject(Fault.status(502, body=b"<html>", headers={"content-type": "text/html", "Retry-After": "7"}))
    fake.inject(Fault.status(302, headers={"Location": "/elsewhere"}), Fault.status(204))
    page, redirect, empty = await get(), await get(), await get()
    assert (page.status, page.body, page.headers["Retry-After"]) == (502, b"<html>", "7")
    assert page.headers.getall("Content-Type") == ["text/html"]
    assert (redirect.status, redirect.headers["Location"]) == (302, "/elsewhere")
    assert (empty.status, empty.body) == (204, b"")


async def test_a_body_is_sent_as_it_is(fake: FakeBuddy, get: Caller) -> None:
    fake.inject(Fault.body(b"\xff\xfe"), Fault.body(b"", headers={"X-Proxy": "yes"}))
    raw, empty = await get(), await get()
    assert (raw.status, raw.body, raw.headers["Content-Type"]) == (200, b"\xff\xfe", "application/json")
    assert (empty.body, empty.headers["X-Proxy"]) == (b"", "yes")


async def test_a_disconnect_answers_no_byte(fake: FakeBuddy) -> None:
    fake.inject(Fault.disconnect())
    assert await raw_answer(fake) == b""
    assert [request.status for request in fake.requests] == [None]


@pytest.mark.parametrize("after", [0, 100])
async def test_a_truncated_answer_promises_more_than_it_sends(fake: FakeBuddy, get: Caller, after: int) -> None:
    whole = await get()
    fake.inject(Fault.truncate(after))
    head, _, body = (await raw_answer(fake)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(whole.body)}\r\n".encode() in head
    assert b"Content-Type: application/json\r\n" in head
    assert body == whole.body[:after]
    assert fake.requests[-1].status is None
    assert (await get()).body == whole.body


async def test_a_client_notices_a_truncated_answer(fake: FakeBuddy, get: Caller) -> None:
    fake.inject(Fault.truncate())
    with pytest.raises(aiohttp.ClientPayloadError):
        await get()


async def test_a_stalled_answer_comes_late_and_whole(fake: FakeBuddy, get: Caller) -> None:
    fake.inject(Fault.stall(0.05))
    began = time.perf_counter()
    assert len((await get()).ids) == 20
    assert time.perf_counter() - began > 0.045


async def test_a_hanging_answer_ends_when_the_client_goes_away(fake: FakeBuddy, get: Caller) -> None:
    hanging, ended = asyncio.Event(), asyncio.Event()

    async def watched(request: web.BaseRequest, answer: Callable[[], web.Response]) -> web.Response | None:
        hanging.set()
        try:
            return await Fault.hang().play(request, answer)
        finally:
            ended.set()

    fake.inject(Fault("hang, watched", watched))
    call = asyncio.create_task(get())
    await hanging.wait()
    assert fake.in_flight == 1
    call.cancel()
    async with asyncio.timeout(5):
        await ended.wait()
    assert (fake.in_flight, fake.requests[0].status) == (0, None)
    assert (await get()).status == 200


async def test_a_fault_of_ones_own_can_do_anything(fake: FakeBuddy, get: Caller) -> None:
    async def teapot(_request: web.BaseRequest, answer: Callable[[], web.Response]) -> web.Response:
        return web.Response(status=418, body=answer().body)

    fault = Fault("teapot", teapot)
    fake.inject(fault)
    assert repr(fault) == "Fault(name='teapot')"
    reply = await get()
    assert (reply.status, len(reply.ids)) == (418, 20)


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
def test_a_fault_says_what_it_is(fault: Fault, name: str) -> None:
    assert fault.name == name


# Its life


async def test_closing_cuts_off_what_is_under_way_and_is_prompt(get: Caller, fake: FakeBuddy) -> None:
    fake.inject(Fault.hang(), Fault.stall(60))
    arrived = asyncio.Semaphore(0)
    fake.on_request = lambda _: arrived.release()
    calls = [asyncio.create_task(get()) for _ in range(2)]
    for _ in calls:
        await arrived.acquire()
    assert fake.in_flight == 2
    began = time.perf_counter()
    await fake.close()
    assert time.perf_counter() - began < 2
    assert fake.in_flight == 0
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes)


async def test_closing_twice_or_before_the_start_is_harmless() -> None:
    fake = FakeBuddy()
    await fake.close()
    await fake.start()
    await fake.close()
    await fake.close()


async def test_starting_twice_is_an_error(fake: FakeBuddy) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        await fake.start()


async def test_a_taken_port_is_an_error_and_leaves_nothing_running(fake: FakeBuddy) -> None:
    second = FakeBuddy(port=fake.base_url.port or 0)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await fake.close()
    async with second:
        assert second.base_url == fake.base_url


async def test_it_can_come_back_after_it_was_closed(fake: FakeBuddy, get: Caller) -> None:
    await fake.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await get()
    fake.port = fake.base_url.port or 0
    await fake.start()
    assert (await get()).status == 200


def test_it_can_be_made_and_filled_outside_a_loop() -> None:
    fake = FakeBuddy(seed=3)
    suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(3)
    assert list(suite.sessions) != list(FakeSuite("acme", "shop", "MNbyVedg").populate(3).sessions)

    async def read() -> int:
        async with fake, aiohttp.ClientSession() as http:
            return len((await Caller(fake, http)()).ids)

    assert asyncio.run(read()) == 3


def test_it_has_no_address_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="async with FakeBuddy"):
        _ = FakeBuddy().base_url


def test_a_suite_is_added_once() -> None:
    fake = FakeBuddy()
    fake.add_suite("acme", "shop", "MNbyVedg")
    with pytest.raises(ValueError, match="a suite acme/shop/MNbyVedg already"):
        fake.add_suite("acme", "shop", "MNbyVedg")


async def test_demo_suites_fill_two_projects(fake: FakeBuddy, get: Caller) -> None:
    added = fake.add_demo_suites()
    assert [len(suite.sessions) for suite in added] == [400, 220, 90, 310, 140, 30]
    assert {suite.key[:2] for suite in added} == {("acme", "storefront"), ("acme", "payments")}
    listed = await get("/workspaces/acme/projects/payments/unit-tests/suites")
    assert [each["name"] for each in listed.json["suites"]] == [
        "Unit tests",
        "Contract tests",
        "Nightly regression",
    ]


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_is_just_being_made_is_closed_too(turns: int) -> None:
    async with FakeBuddy() as fake:
        client = socket.create_connection(("127.0.0.1", fake.base_url.port or 0))
        for _ in range(turns):
            await asyncio.sleep(0)
    client.close()
    gc.collect()  # what was left open would warn now, and warnings are errors
