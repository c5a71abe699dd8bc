"""Cursors that fit no list, and lists that never end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from buddy_sessions import BuddyClient, Cursor, Session, SuiteKey, UnstableListingError
from buddy_sessions._paging import stability
from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, TOKEN, CheckedReader
from helpers.raw_server import RawServer, Step, http_response, raw_server

pytestmark = pytest.mark.fault

COUNT = 250


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    fake.token = TOKEN
    fake.add_suite(*KEY).populate(COUNT)
    return fake


class TestAbsurdCursor:
    """It costs requests, but is no error. Every session below its number is read."""

    @pytest.mark.parametrize("largest_page", [None, 30], ids=["100-per-page", "30-per-page"])
    @pytest.mark.parametrize(
        ("cursor", "requests"),
        [
            pytest.param("50@100000000000000000", 25, id="50@10^17"),
            pytest.param("50@1000000000", 25, id="50@10^9"),
            pytest.param("50@0", 5, id="50@0"),
            pytest.param("1@100000000000000000", 25, id="1@10^17"),
            pytest.param("1@0", 5, id="1@0"),
            pytest.param("251@100000000000000000", 30, id="251@10^17"),
            pytest.param("1000000@0", 15, id="above-the-list@0"),
            pytest.param("1000000@100000000000000000", 30, id="above-the-list@10^17"),
            pytest.param("100000000000000000@100000000000000000", 30, id="10^17@10^17"),
        ],
    )
    async def test_absurd_cursor(
        self, reader: CheckedReader, fake: FakeBuddy, cursor: str, requests: int, largest_page: int | None
    ) -> None:
        fake.largest_page = largest_page
        start = Cursor.parse(cursor)

        async def read(buddy: BuddyClient) -> list[Session]:
            return await buddy.sessions(KEY, cursor=start).collect()

        sessions = await reader.read(fake, requests=range(1, requests + 1), function=read)
        numbers = [session.relative_id for session in sessions]
        assert numbers == list(range(min(start.lowest_id - 1, COUNT), 0, -1))

    async def test_absurd_cursor_on_a_list_with_holes(self, reader: CheckedReader, fake: FakeBuddy) -> None:
        suite = fake.suites[KEY]
        for session in suite.sessions:
            if session["relative_id"] % 3 == 0 or session["relative_id"] < 20:
                suite.delete(session["id"])

        async def read(buddy: BuddyClient) -> list[Session]:
            return await buddy.sessions(KEY, cursor=Cursor(100, 10**17)).collect()

        sessions = await reader.read(fake, requests=range(1, 31), function=read)
        expected = [session["relative_id"] for session in suite.sessions if session["relative_id"] < 100]
        assert [session.relative_id for session in sessions] == expected

    async def test_absurd_cursor_of_a_list_that_does_not_exist_any_more(
        self, reader: CheckedReader, fake: FakeBuddy
    ) -> None:
        empty = SuiteKey("acme", "shop", "empty")
        fake.add_suite(*empty)

        async def read(buddy: BuddyClient) -> list[Session]:
            return await buddy.sessions(empty, cursor=Cursor(50, 10**17)).collect()

        assert await reader.read(fake, requests=range(1, 21), function=read) == []


class EndlessScript:
    """A page of an unordered list that never ends: no session is listed twice.

    Attributes:
        server: The server that sends the pages.
    """

    server: RawServer

    def __iter__(self) -> Iterator[Step]:
        request = self.server.requests[-1].decode()
        page, size = (int(re.findall(rf"[?&]{name}=(\d+)", request)[0]) for name in ("page", "per_page"))
        rows = [
            f'{{"id": "{number}", "relative_id": {number}, "status": "SUCCESSFUL"}}'
            for number in range((page - 1) * size + 1, page * size + 1)
        ]
        yield http_response(f'{{"sessions": [{", ".join(rows)}]}}'.encode())


class TestEndlessList:
    async def test_unordered_list_that_never_ends(self, reader: CheckedReader, monkeypatch: pytest.MonkeyPatch) -> None:
        """It fails after a million sessions, of which this test reads the first 10,000."""
        assert stability.MAX_ROWS_BY_ID == 1_000_000
        monkeypatch.setattr(stability, "MAX_ROWS_BY_ID", 10_000)
        script = EndlessScript()
        async with raw_server(script) as script.server:
            error = await reader.fail(script.server, UnstableListingError, requests=101)
        assert str(error).startswith("the list has more than 10,000 sessions, in no order")

    async def test_unordered_list_that_never_ends_in_a_harvest(
        self, reader: CheckedReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It does not stop the other suites."""
        monkeypatch.setattr(stability, "MAX_ROWS_BY_ID", 1000)
        suites = [SuiteKey("acme", "shop", f"s{number}") for number in range(3)]

        async def harvest_all(buddy: BuddyClient) -> list[Session]:
            async with buddy.harvest(suites, on_failure="collect", concurrency=1) as harvest:
                sessions = [session async for _, session in harvest]
            assert [type(error) for error in harvest.failures.values()] == [UnstableListingError] * 3
            return sessions

        script = EndlessScript()
        async with raw_server(script) as script.server:
            sessions = await reader.read(script.server, requests=range(33, 40), function=harvest_all)
        assert len(sessions) == 3 * 1000
