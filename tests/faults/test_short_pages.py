"""One response leaves out a row, or all rows, of a page that is not the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, SessionStore
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY, CheckedReader

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("page", range(1, 6))
async def test_row_that_one_response_leaves_out_is_read(fake: FakeBuddy, tmp_path: Path, page: int) -> None:
    fake.suites[KEY].populate(597)
    fake.on_request = lambda _: fake.inject(Fault.short_page(99)) if len(fake.requests) == page else None
    async with (
        BuddyClient(fake.token, base_url=fake.base_url, read_ahead=1) as client,
        SessionStore(tmp_path / "sessions.db") as store,
    ):
        sessions = client.sessions(KEY)
        read = await sessions.collect()
        assert len(fake.requests) <= 8  # the page, and perhaps the one after it, once more
        fake.requests.clear()
        stats = await store.sync(client, [KEY]).run()
        assert len(fake.requests) <= 9  # it also reads the name of the suite
        saved = await store.sessions(KEY)
    for found in (read, saved):
        assert [session.relative_id for session in found] == list(range(600, 0, -1))
    assert sessions.stats.verified
    assert stats.verified


@pytest.mark.parametrize("cap", [20, 30, 50])
async def test_one_empty_page_after_a_cut_one_is_no_end(reader: CheckedReader, fake: FakeBuddy, cap: int) -> None:
    fake.suites[KEY].populate(247)
    fake.largest_page = cap
    empty = [Fault.short_page(0)]
    fake.on_request = lambda request: fake.inject(empty.pop()) if request.page == 2 and empty else None
    sessions = await reader.read(fake, requests=-(-250 // cap) + 1, read_ahead=1)
    assert [session.relative_id for session in sessions] == list(range(250, 0, -1))
    assert reader.stats.verified
