"""Cursors that fit no list, and lists that never end."""

from __future__ import annotations

import json

import pytest

from buddy_sessions import BuddyClient, Cursor, Session, SuiteKey, UnstableListingError
from buddy_sessions._paging import reconciler
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.faults import KEY, CheckedReader
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.fault


async def test_unordered_list_that_never_ends(
    reader: CheckedReader, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails after a million sessions, of which this test reads the first 1,000. Other suites are harvested."""
    assert reconciler.MAX_ROWS_BY_ID == 1_000_000
    monkeypatch.setattr(reconciler, "MAX_ROWS_BY_ID", 1000)

    def on_request(request: RecordedRequest) -> None:
        end = request.page * request.per_page
        rows = [{"id": str(n), "relative_id": n, "status": "ERROR"} for n in range(end - request.per_page + 1, end + 1)]
        fake.inject(Fault.body(json.dumps({"sessions": rows}).encode()))

    async def harvest_all(buddy: BuddyClient) -> list[Session]:
        suites = [SuiteKey("acme", "shop", f"s{number}") for number in range(3)]
        async with buddy.harvest(suites, on_failure="collect", concurrency=1) as harvest:
            sessions = [session async for _, session in harvest]
        assert len(harvest.failures) == 3
        for error in harvest.failures.values():
            assert type(error) is UnstableListingError
            assert str(error).startswith("the list has more than 1,000 sessions, in no order")
        return sessions

    fake.on_request = on_request
    assert len(await reader.read(fake, requests=range(33, 40), function=harvest_all)) == 3 * 1000


@pytest.mark.parametrize("is_ordered", [True, False])
async def test_same_page_for_every_number(reader: CheckedReader, is_ordered: bool) -> None:
    sessions = FakeSuite(*KEY).populate(100).sessions[:20]
    if not is_ordered:
        sessions[2:4] = reversed(sessions[2:4])

    async def read(buddy: BuddyClient) -> list[Session]:
        return await buddy.sessions(KEY, per_page=20).collect()

    async with raw_server(http_response(json.dumps({"sessions": sessions}).encode())) as server:
        error = await reader.fail(server, UnstableListingError, requests=range(101, 110), function=read)
    assert error.cursor == (Cursor(81, 20) if is_ordered else None)
