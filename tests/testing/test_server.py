"""`FakeBuddy` over real HTTP: the documented responses, errors and settings; start and close."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import attrs
import pytest
import trustme
from yarl import URL

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest

EXAMPLES = Path(__file__).parent / "examples"
"""The examples in Buddy's documentation and its OpenAPI document; the list of test cases is shortened."""

SUITES = "/workspaces/acme/projects/shop/unit-tests/suites"
SUITE = f"{SUITES}/MNbyVedg"
SESSIONS = f"{SUITE}/sessions"
SESSION = f"{SESSIONS}/YDnagwGk"
CASES = f"{SESSION}/cases"
CASE = f"{SESSION}/test-groups/g0/cases/c0"


@attrs.frozen
class Reader:
    """Reads from the fake server, independently of this package's client."""

    fake: FakeBuddy
    http: aiohttp.ClientSession

    def request(
        self, path: str, *, method: str = "GET", token: str | None = None, **query: str | int
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a request. The path is sent as it is."""
        url = URL(str(self.fake.base_url) + path, encoded=True)
        headers = {"Authorization": f"Bearer {self.fake.token if token is None else token}"}
        return self.http.request(method, url, params=query or None, headers=headers)

    async def get(self, path: str, **query: Any) -> tuple[int, Any]:
        """Return the status of a response and its content, or its message if it is an error."""
        async with self.request(path, **query) as response:
            content = await response.json()
            return response.status, content if response.status == 200 else content["errors"][0]["message"]

    async def status(self, path: str = SESSIONS, **options: Any) -> int:
        """Return the status of a response."""
        async with self.request(path, **options) as response:
            return response.status

    async def numbers(self, path: str = SESSIONS, **query: str | int) -> list[int]:
        """Return the `relative_id`s of sessions, or the numbers in the names of test cases."""
        _, content = await self.get(path, **query)
        rows = content.get("sessions", content.get("cases"))
        return [row["relative_id"] if "relative_id" in row else int(row["name"]) for row in rows]


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """45 sessions. The newest one has 45 test cases, in 3 groups; every fifth one failed."""
    suite = fake.add_suite("acme", "shop", "MNbyVedg", name="unit", identifier="unit").populate(44)
    suite.create(
        id="YDnagwGk",
        cases=[
            {
                "name": str(number),
                "id": f"c{number}",
                "test_group_id": f"g{number % 3}",
                "status": "PASSED" if number % 5 else "FAILED",
            }
            for number in range(45, 0, -1)
        ]
        + [{"name": "0", "id": "c0", "test_group_id": "g0"}],
    )
    return suite


@pytest.fixture
async def reader(fake: FakeBuddy, suite: FakeSuite) -> AsyncIterator[Reader]:
    assert fake.suites[suite.key] is suite
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield Reader(fake, http)


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.json").read_text(encoding="utf-8").strip()


def without_urls(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"url", "html_url"}}


class TestDocumentedExamples:
    """Compared as text, so that the order of the fields counts too."""

    async def text(self, reader: Reader, url: str) -> str:
        status, content = await reader.get(urlsplit(url).path)
        assert status == 200
        return json.dumps(content, indent=2)

    async def test_sessions(self, fake: FakeBuddy, reader: Reader) -> None:
        suite = fake.add_suite("my-workspace", "my-project", "MNbyVedg")
        for session in reversed(json.loads(example("sessions"))["sessions"]):
            suite.create(**without_urls(session))
        assert await self.text(reader, f"{suite.url}/sessions") == example("sessions")

    async def test_suite(self, fake: FakeBuddy, reader: Reader) -> None:
        names = {"name": "Backend Integration Tests", "identifier": "backend-tests"}
        suite = fake.add_suite("my-workspace", "my-project", "65OmRb8v", **names)
        suite.settings.update(token="bud_ut_us_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5", slow_threshold=5000)
        del suite.settings["send_commit_status"]
        assert await self.text(reader, suite.url) == example("suite")

    async def test_cases(self, fake: FakeBuddy, reader: Reader) -> None:
        suite = fake.add_suite("my-workspace", "my-project", "65OmRb8v")
        session = suite.create(id="0eV0P3V7", cases=map(without_urls, json.loads(example("cases"))["cases"]))
        assert await self.text(reader, f"{session['url']}/cases") == example("cases")

    async def test_case(self, fake: FakeBuddy, reader: Reader) -> None:
        case = json.loads(example("case"))
        suite = fake.add_suite("my-workspace", "my-project", "5ddb7c180fb38be67bd78a88a")
        suite.create(id="5ddb7c180fb38be67bd78a88b", cases=[{**without_urls(case), "html_url": case["html_url"]}])
        assert await self.text(reader, case["url"]) == example("case")


async def test_list_of_suites(fake: FakeBuddy, reader: Reader, suite: FakeSuite) -> None:
    other = fake.add_suite("acme", "shop", "65OmRb8v", name="Jest", identifier="jest")
    fake.add_suite("acme", "elsewhere", "kQ3xWz7P")
    status, content = await reader.get(SUITES)
    assert (status, list(content.items())) == (
        200,
        [
            ("url", "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites"),
            ("html_url", "https://app.buddy.works/acme/shop/unit-tests"),
            ("suites", [suite.summary(), other.summary()]),
        ],
    )
    assert str(suite.settings["token"]) not in repr([content, suite])
    assert await reader.status(SUITES, token=suite.settings["token"]) == 401


@pytest.mark.parametrize(
    ("path", "query", "numbers"),
    [
        pytest.param(SESSIONS, {}, range(45, 25, -1), id="20 by default"),
        pytest.param(SESSIONS, {"page": 3}, range(5, 0, -1), id="the rest on the last page"),
        pytest.param(SESSIONS, {"page": 4}, (), id="nothing past the end"),
        pytest.param(SESSIONS, {"page": 2, "per_page": 4}, (41, 40, 39, 38), id="a page of another size"),
        pytest.param(CASES, {"page": 2, "per_page": 4}, (41, 40, 39, 38), id="second page of cases"),
        pytest.param(CASES, {"status": "FAILED", "per_page": 4, "page": 3}, (5,), id="cases with a status"),
    ],
)
async def test_pages(reader: Reader, path: str, query: dict[str, Any], numbers: range | tuple[int, ...]) -> None:
    assert await reader.numbers(path, **query) == list(numbers)


async def test_branch_is_neither_a_tag_nor_a_pull_request(reader: Reader, suite: FakeSuite) -> None:
    name = "feature/žluťoučký kůň?&"
    numbers = [suite.create(branch=name, ref_type=kind)["relative_id"] for kind in ("TAG", "BRANCH", "PULL_REQUEST")]
    assert await reader.numbers(branch=name) == [numbers[1]]


async def test_limits_of_the_page_size(fake: FakeBuddy, reader: Reader) -> None:
    fake.largest_page = 18
    assert [len(await reader.numbers(per_page=17)), len(await reader.numbers())] == [17, 18]
    fake.refuse_above = 19
    assert await reader.get(SESSIONS) == (400, "per_page must not be greater than 19")
    assert len(await reader.numbers(per_page=19)) == 18


@pytest.mark.parametrize("row_id", ["/ . .. % ü <&>", "..", "%2F", "a?b#c;d+e", 7])
async def test_urls_lead_to_the_object(suite: FakeSuite, reader: Reader, row_id: str | int) -> None:
    session = suite.create(id=row_id, cases=[{"name": "t", "id": row_id, "test_group_id": row_id}])
    assert await reader.get(urlsplit(session["url"]).path) == (200, session)
    _, content = await reader.get(urlsplit(session["url"]).path + "/cases")
    assert [content["url"], content["html_url"]] == [f"{session['url']}/cases", session["html_url"]]
    (case,) = content["cases"]
    assert case["id"] == row_id
    assert await reader.get(urlsplit(case["url"]).path) == (200, suite.case(session, row_id))
    assert case == suite.cases(session)[0]


WRONG_NUMBERS = ("0", "-1", "", "1.5", "+1", "1_0", "¹", "9" * 5000)
ERRORS: list[tuple[str, dict[str, str], int, str]] = [
    *((SESSIONS, {"page": value}, 400, "page must be a positive integer") for value in WRONG_NUMBERS),
    (CASES, {"per_page": "0"}, 400, "per_page must be a positive integer"),
    *(
        (CASES, {"status": each}, 400, "status must be one of PASSED, FAILED, SKIPPED, ERROR")
        for each in ("", "failed")
    ),
    ("/", {}, 404, "Not found"),
    (SESSIONS.replace("acme", ""), {}, 404, "Not found"),
    (f"{SUITES}/", {}, 404, "Not found"),
    (f"{SESSION}/cases/c0", {}, 404, "Not found"),  # Buddy has no such path
    (SUITES.replace("shop", "other"), {}, 404, "Project not found"),
    (SESSIONS.replace("MNbyVedg", "other"), {}, 404, "Suite not found"),
    (f"{SESSIONS}/other", {}, 404, "Session not found"),
    (CASES.replace("YDnagwGk", "other"), {}, 404, "Session not found"),
    (CASE.replace("g0", "g1"), {}, 404, "Test case not found"),
    (CASE.replace("c0", "other"), {}, 404, "Test case not found"),
]


@pytest.mark.parametrize(("path", "query", "status", "message"), ERRORS, ids=range(len(ERRORS)))
async def test_wrong_request(reader: Reader, path: str, query: dict[str, str], status: int, message: str) -> None:
    assert await reader.get(path, **query) == (status, message)


@pytest.mark.parametrize("path", [SUITES, CASE])
async def test_every_request_is_checked(fake: FakeBuddy, reader: Reader, path: str) -> None:
    assert await reader.status(path) == 200
    assert await reader.status(path, token="wrong") == 401
    async with reader.http.get(fake.base_url.join(URL(path))) as response:
        assert response.status == 401
    for method in ("POST", "PUT", "DELETE"):
        assert await reader.status(path, method=method) == 405
    fake.scopes = {"WORKSPACE"}
    assert await reader.get(path) == (403, "The client cannot receive data: the token lacks the scope UNIT_TEST_INFO")
    fake.scopes = {"UNIT_TEST_READ"}
    assert await reader.status(path) == 200
    fake.token = "renewed"
    assert await reader.status(path) == 200
    fake.api_enabled = False
    assert await reader.get(path) == (403, "API is disabled in this workspace")


@pytest.mark.virtual_time
async def test_latency(fake: FakeBuddy, reader: Reader) -> None:
    fake.latency = 5
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(reader.status() for _ in range(3)))
    assert asyncio.get_running_loop().time() - started == pytest.approx(5)
    assert (fake.max_in_flight, fake.in_flight) == (3, 0)


async def test_compress(fake: FakeBuddy, reader: Reader) -> None:
    fake.compress = True
    for accepted, sent in (("gzip", "gzip"), ("identity", None)):
        reader.http.headers["Accept-Encoding"] = accepted
        async with reader.request(SESSIONS) as response:
            assert response.headers.get("Content-Encoding") == sent
            assert len((await response.json())["sessions"]) == 20


async def test_https() -> None:
    authority = trustme.CA()
    server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    authority.configure_trust(client_context)
    async with FakeBuddy(ssl_context=server_context) as fake, aiohttp.ClientSession() as http:
        assert fake.base_url.scheme == "https"
        async with http.get(fake.base_url, ssl=client_context) as response:
            assert response.status == 401


async def test_rate_limit(fake: FakeBuddy, reader: Reader) -> None:
    async with reader.request(SESSIONS) as response:
        assert not [name for name in response.headers if name.startswith("X-Rate")]
    fake.rate_limit = 2
    assert await reader.status(token="wrong") == 401  # does not count
    remaining: list[tuple[int, str]] = []
    for _ in range(3):
        async with reader.request(SESSIONS) as response:
            remaining.append((response.status, response.headers["X-Rate-Limit-Remaining"]))
    assert remaining == [(200, "1"), (200, "0"), (429, "0")]
    assert await reader.get(SESSIONS) == (429, "The API rate limit is exceeded")


async def test_requests_are_recorded(fake: FakeBuddy, reader: Reader) -> None:
    await reader.status(page=2, per_page=5, branch="main")
    await reader.status("/nowhere?x=1&x=2", token="wrong")
    first, second = fake.requests
    assert (first.method, first.path, first.status) == ("GET", SESSIONS, 200)
    assert first.query == {"page": "2", "per_page": "5", "branch": "main"}
    assert (first.page, first.per_page) == (2, 5)
    assert first.headers["authorization"] == first.headers["AUTHORIZATION"] == "Bearer fake-buddy-token"
    assert (second.path, second.query, second.status) == ("/nowhere", {"x": "1"}, 401)
    assert (second.page, second.per_page) == (1, 20)


async def test_on_request_changes_the_response(fake: FakeBuddy, reader: Reader, suite: FakeSuite) -> None:
    async def on_request(record: RecordedRequest) -> None:
        await asyncio.sleep(0)
        assert record.status is None
        if record.page == 2:
            fake.inject(Fault.status(503))
        else:
            suite.create()

    fake.on_request = on_request
    assert await reader.numbers(per_page=2) == [46, 45]
    assert await reader.status(page=2) == 503


@pytest.mark.virtual_time
async def test_close_cancels_requests_in_flight(reader: Reader, fake: FakeBuddy) -> None:
    fake.inject(Fault.hang(), Fault.stall(60))
    arrived = asyncio.Semaphore(0)
    fake.on_request = lambda _: arrived.release()
    requests = [asyncio.create_task(reader.status()) for _ in range(2)]
    for _ in requests:
        await arrived.acquire()
    assert fake.in_flight == 2
    started = asyncio.get_running_loop().time()
    await fake.close()
    assert asyncio.get_running_loop().time() - started < 2
    assert fake.in_flight == 0
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results)


async def test_start_and_close_again(fake: FakeBuddy, reader: Reader) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        await fake.start()
    second = FakeBuddy(port=fake.base_url.port or 0)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await fake.close()
    await fake.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await reader.status()
    fake.port = fake.base_url.port or 0
    await fake.start()
    assert await reader.status() == 200


@pytest.mark.parametrize("iterations", range(8))
async def test_connection_accepted_during_close_is_closed(iterations: int) -> None:
    async with FakeBuddy() as fake:
        connection = socket.create_connection(("127.0.0.1", fake.base_url.port or 0))
        for _ in range(iterations):
            await asyncio.sleep(0)
    connection.close()
    gc.collect()  # a connection left open would raise a ResourceWarning here


def test_suites_are_added_outside_an_event_loop() -> None:
    fake = FakeBuddy(seed=3)
    with pytest.raises(RuntimeError, match="async with FakeBuddy"):
        _ = fake.base_url
    fake.add_suite("acme", "shop", "MNbyVedg").populate(3)
    with pytest.raises(ValueError, match="acme/shop/MNbyVedg already exists"):
        fake.add_suite("acme", "shop", "MNbyVedg")

    async def read() -> list[int]:
        async with fake, aiohttp.ClientSession() as http:
            return await Reader(fake, http).numbers()

    assert asyncio.run(read()) == [3, 2, 1]


async def test_suite_that_is_created_again_has_other_sessions(
    fake: FakeBuddy, reader: Reader, suite: FakeSuite
) -> None:
    before = suite.create()
    fake.delete_suite(suite)
    assert await reader.get(SESSIONS) == (404, "Suite not found")
    assert await reader.get(SUITES) == (404, "Project not found")
    with pytest.raises(KeyError):
        fake.delete_suite(suite)
    created = fake.add_suite(*suite.key).create()
    assert await reader.numbers() == [created["relative_id"]] == [1]
    assert {created["id"], created["revision"]}.isdisjoint(
        each for row in [*suite.sessions, before] for each in (row["id"], row["revision"])
    )
