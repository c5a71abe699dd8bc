"""Wrong responses of `FakeBuddy` over real HTTP: status 200, plausible content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import attrs
import pytest

from buddy_sessions import BuddyClient, NotFoundError
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

SUITES = "/workspaces/acme/projects/shop/unit-tests/suites"
SESSIONS = f"{SUITES}/MNbyVedg/sessions"

ALL = [
    Fault.stale(()),
    Fault.filtered(lambda _: True),
    Fault.filtered(lambda _: True, after_cut=True),
    Fault.short_page(0),
    Fault.page_size(1),
    Fault.swapped(0),
    Fault.missing_row(0),
]
each_fault = pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)


@attrs.frozen
class Reader:
    """Reads with a fault for the next request, independently of this package's client."""

    fake: FakeBuddy
    http: aiohttp.ClientSession

    async def get(self, path: str, fault: Fault | None = None, **query: str | int) -> tuple[int, Any]:
        """Return the status and the content of one response."""
        if fault is not None:
            self.fake.inject(fault)
        async with self.http.get(path, params=query) as response:
            return response.status, await response.json()

    async def page(self, fault: Fault | None = None, **query: str | int) -> list[int]:
        """Return the `relative_id`s on a page; on page 1 of size 4 if the query does not say otherwise."""
        status, content = await self.get(SESSIONS, fault, **{"per_page": 4, **query})
        assert status == 200
        assert list(content) == ["url", "html_url", "sessions"]
        return [session["relative_id"] for session in content["sessions"]]


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """Ten sessions; those with an even number are of the branch `dev`."""
    suite = fake.add_suite("acme", "shop", "MNbyVedg")
    for number in range(1, 11):
        suite.create(branch="main" if number % 2 else "dev", id=f"id{number}")
    return suite


@pytest.fixture
async def reader(fake: FakeBuddy, suite: FakeSuite) -> AsyncIterator[Reader]:
    headers = {"Authorization": f"Bearer {fake.token}"}
    async with aiohttp.ClientSession(fake.base_url, headers=headers) as http:
        yield Reader(fake, http)


def is_recent(session: dict[str, Any]) -> bool:
    return bool(session["relative_id"] in {9, 8, 5})


class TestStale:
    async def test_list_and_branch_are_those_of_the_snapshot(self, suite: FakeSuite, reader: Reader) -> None:
        snapshot = suite.snapshot()
        suite.delete("id9")
        suite.create(branch="dev")
        assert await reader.page(Fault.stale(snapshot)) == [10, 9, 8, 7]
        assert await reader.page(Fault.stale(snapshot), page=3) == [2, 1]
        assert await reader.page(Fault.stale(snapshot), branch="dev") == [10, 8, 6, 4]
        assert await reader.page() == [11, 10, 8, 7]

    async def test_single_session_is_that_of_the_snapshot(self, suite: FakeSuite, reader: Reader) -> None:
        snapshot = suite.snapshot()
        suite.finish("id9")
        suite.delete("id8")
        suite.create(id="id11")
        stale = Fault.stale(snapshot)
        responses = [await reader.get(f"{SESSIONS}/{session_id}", stale) for session_id in ("id9", "id8", "id11")]
        assert [status for status, _ in responses] == [200, 200, 404]
        assert [content["status"] for status, content in responses if status == 200] == ["IN_PROGRESS"] * 2
        assert (await reader.get(f"{SESSIONS}/id9"))[1]["status"] == "SUCCESSFUL"


class TestFiltered:
    async def test_page_is_filled_from_below(self, reader: Reader) -> None:
        assert await reader.page(Fault.filtered(is_recent)) == [10, 7, 6, 4]
        assert await reader.page(Fault.filtered(is_recent), page=2) == [3, 2, 1]
        assert await reader.page(Fault.filtered(is_recent), branch="dev") == [10, 6, 4, 2]

    async def test_page_gets_shorter_after_the_cut(self, reader: Reader) -> None:
        assert await reader.page(Fault.filtered(is_recent, after_cut=True)) == [10, 7]
        assert await reader.page(Fault.filtered(is_recent, after_cut=True), page=2) == [6, 4, 3]
        assert await reader.page(Fault.filtered(is_recent, after_cut=True), branch="dev") == [10, 6, 4]

    @pytest.mark.parametrize("after_cut", [False, True])
    async def test_hidden_single_session_is_not_found(
        self, fake: FakeBuddy, suite: FakeSuite, reader: Reader, after_cut: bool
    ) -> None:
        fault = Fault.filtered(is_recent, after_cut=after_cut)
        status, content = await reader.get(f"{SESSIONS}/id9", fault)
        assert (status, content) == (404, {"errors": [{"message": "Session not found"}]})
        assert await reader.get(f"{SESSIONS}/id10", fault) == (200, suite.sessions[0])
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            fake.inject(fault)
            with pytest.raises(NotFoundError):
                await buddy.session(suite.key, "id8")
            assert (await buddy.session(suite.key, "id8")).relative_id == 8

    async def test_function_gets_copies(self, suite: FakeSuite, reader: Reader) -> None:
        assert await reader.page(Fault.filtered(lambda session: session.pop("status") is None))
        await reader.get(f"{SESSIONS}/id9", Fault.filtered(lambda session: session.pop("status") is None))
        assert all(session["status"] == "IN_PROGRESS" for session in suite.sessions)


async def test_short_page(reader: Reader) -> None:
    assert await reader.page(Fault.short_page(3), page=2) == [6, 5, 4]
    assert await reader.page(Fault.short_page(0)) == []
    assert await reader.page(Fault.short_page(5)) == [10, 9, 8, 7]


async def test_page_size(fake: FakeBuddy, reader: Reader) -> None:
    assert await reader.page(Fault.page_size(3)) == [10, 9, 8]
    assert await reader.page(Fault.page_size(3), page=2) == [7, 6, 5]
    assert await reader.page(Fault.page_size(2), page=2, branch="main") == [5, 3]
    fake.largest_page = 2
    assert await reader.page(Fault.page_size(6), page=2) == [4, 3, 2, 1]


async def test_swapped(reader: Reader) -> None:
    assert await reader.page(Fault.swapped(0)) == [9, 10, 8, 7]
    assert await reader.page(Fault.swapped(1), branch="dev") == [10, 6, 8, 4]
    across_border = Fault.swapped(3)
    assert await reader.page(across_border) == [10, 9, 8, 6]
    assert await reader.page(across_border, page=2) == [7, 5, 4, 3]
    assert await reader.page(Fault.swapped(9), page=3) == [2, 1]


async def test_missing_row(reader: Reader) -> None:
    assert await reader.page(Fault.missing_row(0)) == [9, 8, 7]
    assert await reader.page(Fault.missing_row(2), page=2) == [6, 5, 3]
    assert await reader.page(Fault.missing_row(4)) == [10, 9, 8, 7]


@each_fault
async def test_list_of_suites_is_as_usual(suite: FakeSuite, reader: Reader, fault: Fault) -> None:
    status, content = await reader.get(SUITES, fault)
    assert (status, content["suites"]) == (200, [suite.summary()])


@pytest.mark.parametrize("fault", ALL[3:], ids=lambda fault: fault.name)
async def test_fault_of_a_page_does_not_change_a_single_session(suite: FakeSuite, reader: Reader, fault: Fault) -> None:
    assert await reader.get(f"{SESSIONS}/id10", fault) == (200, suite.sessions[0])


@each_fault
@pytest.mark.parametrize("rate_limit", [None, 5])
async def test_fault_changes_one_response(
    fake: FakeBuddy, reader: Reader, fault: Fault, rate_limit: int | None
) -> None:
    fake.rate_limit = rate_limit
    fake.inject(fault)
    assert await reader.page() != [10, 9, 8, 7]
    assert await reader.page() == [10, 9, 8, 7]


@each_fault
async def test_request_is_checked_as_usual(fake: FakeBuddy, reader: Reader, fault: Fault) -> None:
    fake.refuse_above = 50
    assert (await reader.get(SESSIONS, fault, per_page=51))[0] == 400
    fake.rate_limit = 1
    assert [(await reader.get(SESSIONS, fault))[0] for _ in range(2)] == [200, 429]
    fake.token = "renewed"
    assert (await reader.get(SESSIONS, fault))[0] == 401


async def test_view_can_be_combined_with_a_handler(reader: Reader) -> None:
    both = attrs.evolve(Fault.stall(0), view=Fault.short_page(1).view)
    assert await reader.page(both) == [10]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Fault.stale(()), "stale(0 sessions)"),
        (Fault.filtered(is_recent), "filtered(after_cut=False)"),
        (Fault.short_page(3), "short_page(3)"),
        (Fault.page_size(10), "page_size(10)"),
        (Fault.swapped(4), "swapped(4)"),
        (Fault.missing_row(2), "missing_row(2)"),
    ],
)
def test_names(fault: Fault, name: str) -> None:
    assert repr(fault) == f"Fault(name='{name}')"
