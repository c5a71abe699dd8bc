"""One response leaves out one row of a page that is not the last one: alone, in a harvest, in a sync."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, SessionStore, Stats
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY

pytestmark = pytest.mark.fault


@pytest.fixture(params=["new-client", "old-client"])
async def client(fake: FakeBuddy, request: pytest.FixtureRequest) -> AsyncIterator[BuddyClient]:
    """A client, and one that has read many honest pages before."""
    fake.suites[KEY].populate(597)
    async with BuddyClient(fake.token, base_url=fake.base_url, read_ahead=1) as client:
        if request.param == "old-client":
            await client.sessions(KEY).collect()
            fake.requests.clear()
        yield client


@pytest.mark.parametrize("page", range(1, 6))
@pytest.mark.parametrize("reader", ["alone", "harvest", "sync"])
async def test_row_that_one_response_leaves_out_is_read(
    fake: FakeBuddy, client: BuddyClient, tmp_path: Path, reader: str, page: int
) -> None:
    def leave_out(_: object) -> None:
        if len(fake.requests) == page:
            fake.inject(Fault.short_page(99))

    fake.on_request = leave_out
    stats: Stats
    if reader == "alone":
        sessions = client.sessions(KEY)
        found, stats = await sessions.collect(), sessions.stats
    elif reader == "harvest":
        harvest = client.harvest([KEY])
        found = [session async for _, session in harvest]
        stats = harvest.stats
    else:
        async with SessionStore(tmp_path / "sessions.db") as store:
            stats = await store.sync(client, [KEY]).run()
            found = await store.sessions(KEY)
    assert [session.relative_id for session in found] == list(range(600, 0, -1))
    assert stats.verified
    assert len(fake.requests) == (8 if reader == "sync" else 7)  # a sync also reads the name of the suite
