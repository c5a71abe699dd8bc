"""One response leaves out a row, or all rows, of a page that is not the last one; and pages beyond the end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, Cursor, NotFoundError, SessionStore
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.faults import KEY, CheckedReader
from helpers.wrong_servers import refuse_pages_after_the_end

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


def retain(suite: FakeSuite, count: int) -> None:
    for session in suite.sessions[count:]:
        suite.delete(session["id"])


Read = Callable[[BuddyClient], Awaitable[list[Any]]]
READS: dict[str, tuple[Read, int, int | range]] = {
    "pages": (lambda buddy: buddy.sessions(KEY, read_ahead=1).collect(), 450, 6),
    "full-pages": (lambda buddy: buddy.sessions(KEY, per_page=50, read_ahead=1).collect(), 450, 12),
    "pages-at-once": (lambda buddy: buddy.sessions(KEY, per_page=20, read_ahead=16).collect(), 450, range(24, 40)),
    "perhaps-cut": (lambda buddy: buddy.sessions(KEY, branch="main").collect(), 46, 4),
    "cursor-below-the-end": (lambda buddy: buddy.sessions(KEY, cursor=Cursor(51, 900)).collect(), 0, 8),
    "wait": (lambda buddy: buddy.wait(KEY, branch="main", count=45), 45, 4),
    "cases": (lambda buddy: buddy.cases(KEY, "with-cases").collect(), 100, 3),
    "projects": (lambda buddy: buddy.projects("acme"), 3, 4),
}


@pytest.mark.parametrize(("read", "count", "requests"), READS.values(), ids=READS)
async def test_404_beyond_the_end_is_the_end(
    reader: CheckedReader, fake: FakeBuddy, read: Read, count: int, requests: int | range
) -> None:
    """Retention has cut the list: it has 450 sessions, down to #51."""
    suite = fake.suites[KEY]
    for number in range(496):
        suite.create(branch="main" if number % 10 == 0 else "topic", status="SUCCESSFUL")
    suite.create(id="with-cases", cases=[{"name": f"test {number}", "status": "PASSED"} for number in range(100)])
    retain(suite, 450)
    for name in ("docs", "web"):
        fake.add_project("acme", name)
    refuse_pages_after_the_end(fake)
    assert len(await reader.read(fake, requests=requests, function=read)) == count
    assert max(record.levelno for record in reader.log.records) < logging.WARNING, "nothing is in doubt"


async def test_suite_whose_page_1_is_a_404_is_missing(reader: CheckedReader, fake: FakeBuddy) -> None:
    """It is deleted after the first page was read."""
    suite = fake.suites[KEY]
    suite.populate(400)
    fake.on_request = lambda _: fake.delete_suite(suite) if len(fake.requests) == 2 else None
    await reader.fail(fake, NotFoundError, requests=5, read_ahead=1)
