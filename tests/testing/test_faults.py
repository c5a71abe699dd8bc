"""The faults of `FakeBuddy` over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import attrs
import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

SUITES = "/workspaces/acme/projects/shop/unit-tests/suites"
SESSIONS = f"{SUITES}/MNbyVedg/sessions"
CASES = f"{SESSIONS}/id10/cases"
NOT_FOUND = (404, {"errors": [{"message": "Session not found"}]})


def is_recent(session: dict[str, Any]) -> bool:
    return bool(session["relative_id"] in {9, 8, 5})


@attrs.frozen
class Reader:
    """Reads with a fault for the next request, independently of this package's client."""

    fake: FakeBuddy
    http: aiohttp.ClientSession

    async def get(self, path: str, *faults: Fault, **query: str | int) -> tuple[int, Any]:
        """Return the status and the content of one response."""
        self.fake.inject(*faults)
        async with self.http.get(path, params=query) as response:
            return response.status, await response.json()

    async def status(self, path: str = SESSIONS, *faults: Fault, **query: str | int) -> int:
        """Return the status of one response."""
        return (await self.get(path, *faults, **query))[0]

    async def page(self, *faults: Fault, path: str = SESSIONS, **query: str | int) -> list[int]:
        """Return the numbers of the sessions or test cases on a page of 4."""
        status, content = await self.get(path, *faults, **{"per_page": 4, **query})
        assert status == 200
        rows = content["sessions"] if path == SESSIONS else content["cases"]
        return [row["relative_id"] if path == SESSIONS else int(row["name"]) for row in rows]

    async def raw(self, fault: Fault) -> bytes:
        """Return all bytes that the server sends until it closes the connection."""
        self.fake.inject(fault)
        reader, writer = await asyncio.open_connection(self.fake.base_url.host, self.fake.base_url.port)
        writer.write(f"GET {SESSIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.fake.token}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return data


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """Ten sessions; those with an even number are of the branch `dev`. The newest one has ten test cases."""
    suite = fake.add_suite("acme", "shop", "MNbyVedg")
    for number in range(1, 11):
        suite.create(branch="main" if number % 2 else "dev", id=f"id{number}")
    suite.add_cases("id10", [{"name": str(number)} for number in range(10, 0, -1)])
    return suite


@pytest.fixture
async def reader(fake: FakeBuddy, suite: FakeSuite) -> AsyncIterator[Reader]:
    headers = {"Authorization": f"Bearer {fake.token}"}
    async with aiohttp.ClientSession(fake.base_url, headers=headers) as http:
        yield Reader(fake, http)


# Faults of a network or a proxy


async def test_faults_apply_in_order_and_once(fake: FakeBuddy, reader: Reader) -> None:
    fake.inject(Fault.status(500), Fault.body(b"{}"), times=2)
    fake.inject(Fault.status(502))
    assert [await reader.status() for _ in range(6)] == [500, 200, 500, 200, 502, 200]
    assert [request.status for request in fake.requests] == [500, 200, 500, 200, 502, 200]
    assert not fake.faults


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            Fault.status(502, body=b"<html>", headers={"content-type": "text/html"}),
            (502, b"<html>", ["text/html"]),
        ),
        (Fault.status(204), (204, b"", ["application/json"])),
        (Fault.body(b"\xff\xfe"), (200, b"\xff\xfe", ["application/json"])),
        (Fault.body(b"", headers={"Content-Type": "text/plain"}), (200, b"", ["text/plain"])),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_status_body_and_headers(reader: Reader, fault: Fault, expected: tuple[int, bytes, list[str]]) -> None:
    reader.fake.inject(fault)
    async with reader.http.get(SESSIONS) as response:
        assert (response.status, await response.read(), response.headers.getall("Content-Type")) == expected


async def test_disconnect(reader: Reader) -> None:
    assert await reader.raw(Fault.disconnect()) == b""
    assert [request.status for request in reader.fake.requests] == [None]


async def test_truncate_announces_more_than_it_sends(reader: Reader) -> None:
    async with reader.http.get(SESSIONS) as response:
        whole = await response.read()
    head, _, body = (await reader.raw(Fault.truncate(100))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(whole)}\r\n".encode() in head
    assert body == whole[:100]
    assert reader.fake.requests[-1].status is None


@pytest.mark.virtual_time
async def test_stall(reader: Reader) -> None:
    started = asyncio.get_running_loop().time()
    assert await reader.page(Fault.stall(5)) == [10, 9, 8, 7]
    assert asyncio.get_running_loop().time() - started == pytest.approx(5)


async def test_hang_ends_when_the_client_disconnects(fake: FakeBuddy, reader: Reader) -> None:
    arrived = asyncio.Event()
    fake.on_request = lambda _: arrived.set()
    request = asyncio.create_task(reader.status(SESSIONS, Fault.hang()))
    await arrived.wait()
    assert fake.in_flight == 1
    request.cancel()
    async with asyncio.timeout(5):
        while fake.in_flight:
            await asyncio.sleep(0.001)
    assert fake.requests[0].status is None
    assert await reader.status() == 200


# Wrong responses


@pytest.mark.parametrize(
    ("fault", "query", "numbers"),
    [
        (Fault.filtered(is_recent), {}, [10, 7, 6, 4]),
        (Fault.filtered(is_recent), {"branch": "dev"}, [10, 6, 4, 2]),
        (Fault.filtered(is_recent, after_cut=True), {}, [10, 7]),
        (Fault.filtered(is_recent, after_cut=True), {"branch": "dev"}, [10, 6, 4]),
        (Fault.short_page(3), {"page": 2}, [6, 5, 4]),
        (Fault.short_page(0), {}, []),
        (Fault.short_page(1), {"path": CASES}, [10]),
        (Fault.page_size(3), {"page": 2}, [7, 6, 5]),
        (Fault.page_size(6), {"page": 2}, [4, 3, 2, 1]),
        (Fault.page_size(2), {"page": 2, "branch": "main"}, [5, 3]),
        (Fault.swapped(0), {}, [9, 10, 8, 7]),
        (Fault.swapped(3), {"page": 2}, [7, 5, 4, 3]),
        (Fault.swapped(1), {"branch": "dev"}, [10, 6, 8, 4]),
        (Fault.missing_row(0), {}, [9, 8, 7]),
        (Fault.missing_row(2), {"page": 2}, [6, 5, 3]),
        (Fault.missing_row(1), {"path": CASES}, [10, 8, 7]),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else str(value),
)
async def test_rows_on_a_page(reader: Reader, fault: Fault, query: dict[str, Any], numbers: list[int]) -> None:
    usual = await reader.page(**query)
    reader.fake.largest_page = 5
    assert await reader.page(fault, **query) == numbers
    assert await reader.page(**query) == usual


async def test_stale_suite_is_that_of_the_snapshot(suite: FakeSuite, reader: Reader) -> None:
    stale = Fault.stale(suite.snapshot())
    suite.add_cases("id10", [{"name": "11"}])
    suite.finish("id9")
    suite.delete("id8")
    suite.create(branch="dev", id="id11")
    assert await reader.page(stale) == [10, 9, 8, 7]
    assert await reader.page(stale, page=3) == [2, 1]
    assert await reader.page(stale, branch="dev") == [10, 8, 6, 4]
    assert await reader.page(stale, path=CASES, per_page=20) == list(range(10, 0, -1))
    responses = [await reader.get(f"{SESSIONS}/{session_id}", stale) for session_id in ("id9", "id8", "id11")]
    assert [status for status, _ in responses] == [200, 200, 404]
    assert [content["status"] for _, content in responses[:2]] == ["IN_PROGRESS"] * 2
    assert await reader.get(f"{SESSIONS}/id11/cases", stale) == NOT_FOUND
    assert await reader.page() == [11, 10, 9, 7]


@pytest.mark.parametrize("path", [f"{SESSIONS}/id9", f"{SESSIONS}/id9/cases"])
async def test_hidden_session_is_not_found(suite: FakeSuite, reader: Reader, path: str) -> None:
    hides_9 = Fault.filtered(lambda session: session.pop("id") == "id9")  # it gets a copy
    assert await reader.page(hides_9) == [10, 8, 7, 6]
    assert await reader.get(path, hides_9) == NOT_FOUND
    assert await reader.get(f"{SESSIONS}/id10", hides_9) == (200, suite.sessions[0])
    assert await reader.status(path) == 200


async def test_request_is_checked_as_usual(fake: FakeBuddy, reader: Reader) -> None:
    fault = Fault.short_page(0)
    fake.refuse_above = 50
    assert await reader.status(SESSIONS, fault, per_page=51) == 400
    fake.rate_limit = 1
    assert [await reader.status(SESSIONS, fault) for _ in range(2)] == [200, 429]
    fake.token = "renewed"
    assert await reader.status(SESSIONS, fault) == 401
