"""`FakeBuddy` and its faults over real HTTP: responses, errors, start and close. No client of this package is used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import attrs
import pytest
from yarl import URL

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

SUITES = "/workspaces/acme/projects/shop/unit-tests/suites"
SUITE = f"{SUITES}/MNbyVedg"
SESSIONS = f"{SUITE}/sessions"
SESSION = f"{SESSIONS}/id10"
CASES = f"{SESSION}/cases"
CASE = f"{SESSION}/test-groups/g0/cases/c10"


@attrs.frozen
class Reader:
    """Reads from the fake server."""

    fake: FakeBuddy
    http: aiohttp.ClientSession

    def request(
        self, path: str, *, method: str = "GET", token: str | None = None, **query: str | int
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a request. The path is sent as it is."""
        url = URL(str(self.fake.base_url) + path, encoded=True)
        headers = {"Authorization": f"Bearer {self.fake.token if token is None else token}"}
        return self.http.request(method, url, params=query or None, headers=headers)

    async def get(self, path: str, *faults: Fault, **query: Any) -> tuple[int, Any]:
        """Return the status of a response with these faults, and its content, or its message if it is an error."""
        self.fake.inject(*faults)
        async with self.request(path, **query) as response:
            content = await response.json()
            return response.status, content if response.status == 200 else content["errors"][0]["message"]

    async def status(self, path: str = SESSIONS, **options: Any) -> int:
        """Return the status of a response."""
        async with self.request(path, **options) as response:
            return response.status

    async def page(self, *faults: Fault, path: str = SESSIONS, **query: Any) -> list[int]:
        """Return the numbers of the sessions, or those in the names of the test cases, on a page of 4."""
        _, content = await self.get(path, *faults, **{"per_page": 4, **query})
        rows = content.get("sessions", content.get("cases"))
        return [row["relative_id"] if "relative_id" in row else int(row["name"]) for row in rows]


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """Ten sessions; those with an even number are of the branch `dev`. The newest one has ten test cases."""
    suite = fake.add_suite("acme", "shop", "MNbyVedg", name="unit", identifier="unit")
    for number in range(1, 11):
        suite.create(branch="main" if number % 2 else "dev", id=f"id{number}")
    cases = ({"name": str(number), "id": f"c{number}", "test_group_id": "g0"} for number in range(10, 0, -1))
    suite.add_cases("id10", [{**case, "status": "FAILED" if case["name"] == "5" else "PASSED"} for case in cases])
    return suite


@pytest.fixture
async def raw(fake: FakeBuddy, suite: FakeSuite) -> AsyncIterator[Reader]:
    assert fake.suites[suite.key] is suite
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield Reader(fake, http)


@pytest.mark.parametrize("row_id", ["/ . .. % ü <&>", "..", "a?b#c;d+e", 7])
async def test_urls_lead_to_the_object(suite: FakeSuite, raw: Reader, row_id: str | int) -> None:
    session = suite.create(id=row_id, cases=[{"name": "t", "id": row_id, "test_group_id": row_id}])
    assert await raw.get(urlsplit(session["url"]).path) == (200, session)
    _, content = await raw.get(urlsplit(session["url"]).path + "/cases")
    (case,) = content["cases"]
    assert await raw.get(urlsplit(case["url"]).path) == (200, suite.case(session, row_id))


ERRORS: list[tuple[str, dict[str, str], int, str]] = [
    *((SESSIONS, {"page": each}, 400, "page must be a positive integer") for each in ("0", "-1", "", "¹", "9" * 5000)),
    (CASES, {"per_page": "0"}, 400, "per_page must be a positive integer"),
    (CASES, {"status": "failed"}, 400, "status must be one of PASSED, FAILED, SKIPPED, ERROR"),
    (f"{SUITES}/", {}, 404, "Not found"),
    (f"{SESSION}/cases/c10", {}, 404, "Not found"),  # Buddy has no such path
    (SUITES.replace("shop", "other"), {}, 404, "Project not found"),
    (SESSIONS.replace("MNbyVedg", "other"), {}, 404, "Suite not found"),
    (CASES.replace("id10", "other"), {}, 404, "Session not found"),
    (CASE.replace("g0", "g1"), {}, 404, "Test case not found"),
]


@pytest.mark.parametrize(("path", "query", "status", "message"), ERRORS, ids=range(len(ERRORS)))
async def test_wrong_request(raw: Reader, path: str, query: dict[str, str], status: int, message: str) -> None:
    assert await raw.get(path, **query) == (status, message)


@pytest.mark.parametrize("path", [SUITES, CASE])
async def test_every_request_is_checked(fake: FakeBuddy, raw: Reader, path: str) -> None:
    assert await raw.status(path, token="wrong") == 401
    for method in ("POST", "PUT", "DELETE"):
        assert await raw.status(path, method=method) == 405
    fake.scopes = {"WORKSPACE"}
    assert await raw.get(path) == (403, "The client cannot receive data: the token lacks the scope UNIT_TEST_READ")
    fake.scopes, fake.token = {"UNIT_TEST_INFO"}, "renewed"
    assert await raw.status(path) == 200


async def test_rate_limit(fake: FakeBuddy, raw: Reader) -> None:
    fake.rate_limit = 2
    assert await raw.status(token="wrong") == 401  # does not count
    remaining: list[tuple[int, str]] = []
    wait = 0.0
    for _ in range(3):
        async with raw.request(SESSIONS) as response:
            remaining.append((response.status, response.headers["X-Rate-Limit-Remaining"]))
            wait = int(response.headers["X-Rate-Limit-Reset"]) - time.time()
    assert remaining == [(200, "1"), (200, "0"), (429, "0")]
    assert 0 < wait <= fake.rate_window + 1


@pytest.mark.parametrize(
    ("faults", "query", "numbers"),
    [
        pytest.param([], {"path": CASES, "status": "FAILED"}, [5], id="cases with a status"),
        ([Fault.short_page(3)], {"page": 2}, [6, 5, 4]),
        ([Fault.short_page(1)], {"path": CASES}, [10]),
        ([Fault.swapped(3)], {"page": 2}, [7, 5, 4, 3]),
        ([Fault.missing_row(2)], {"page": 2}, [6, 5, 3]),
    ],
    ids=str,
)
async def test_rows_on_a_page(raw: Reader, faults: list[Fault], query: dict[str, Any], numbers: list[int]) -> None:
    assert await raw.page(*faults, **query) == list(numbers)


async def test_stale_suite_is_that_of_the_snapshot(suite: FakeSuite, raw: Reader) -> None:
    stale = Fault.stale(suite.snapshot())
    suite.add_cases("id10", [{"name": "11"}])
    suite.finish("id9")
    suite.delete("id8")
    suite.create(branch="dev", id="id11")
    assert await raw.page(stale, branch="dev") == [10, 8, 6, 4]
    assert await raw.page(stale, path=CASES, per_page=20) == list(range(10, 0, -1))
    (_, changed), (_, deleted) = [await raw.get(f"{SESSIONS}/{each}", stale) for each in ("id9", "id8")]
    assert (changed["status"], deleted["status"]) == ("IN_PROGRESS", "IN_PROGRESS")
    assert await raw.get(f"{SESSIONS}/id11/cases", stale) == (404, "Session not found")
    assert await raw.page() == [11, 10, 9, 7]


@pytest.mark.virtual_time
async def test_close_cancels_requests_in_flight(raw: Reader, fake: FakeBuddy) -> None:
    fake.inject(Fault.hang(), Fault.stall(60))
    arrived = asyncio.Semaphore(0)
    fake.on_request = lambda _: arrived.release()
    requests = [asyncio.create_task(raw.status()) for _ in range(2)]
    for _ in requests:
        await arrived.acquire()
    assert fake.in_flight == 2
    started = asyncio.get_running_loop().time()
    await fake.close()
    assert asyncio.get_running_loop().time() - started < 2
    assert fake.in_flight == 0
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results)


async def test_start_and_close_again(fake: FakeBuddy, raw: Reader) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        await fake.start()
    with pytest.raises(OSError, match="in use"):
        await FakeBuddy(port=fake.base_url.port or 0).start()
    await fake.close()
    await fake.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await raw.status()
    fake.port = fake.base_url.port or 0
    await fake.start()
    assert await raw.status() == 200


def test_suites_are_added_outside_an_event_loop() -> None:
    fake = FakeBuddy(seed=3)
    with pytest.raises(RuntimeError, match="async with FakeBuddy"):
        _ = fake.base_url
    fake.add_suite("acme", "shop", "MNbyVedg").populate(3)
    with pytest.raises(ValueError, match="acme/shop/MNbyVedg already exists"):
        fake.add_suite("acme", "shop", "MNbyVedg")

    async def read() -> list[int]:
        async with fake, aiohttp.ClientSession() as http:
            return await Reader(fake, http).page()

    assert asyncio.run(read()) == [3, 2, 1]


def test_fault_has_a_status_of_http() -> None:
    with pytest.raises(ValueError, match="99 is no status of a response"):
        Fault.status(99)
