"""The file of sessions: real SQLite files, a real server, and processes that are really killed."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buddy_sessions import (
    BuddyClient,
    CIProvider,
    ConfigError,
    HarvestError,
    Member,
    RefType,
    ServerError,
    Session,
    SessionStatus,
    SessionStore,
    StoreError,
    SuiteKey,
    database,
    transport,
)
from buddy_sessions.converter import session_from_json
from buddy_sessions.database import Database
from buddy_sessions.schema import APPLICATION_ID, MIGRATIONS
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

KEY = SuiteKey("acme", "shop", "MNbyVedg")
OTHER = SuiteKey("acme", "shop", "other")


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY)


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, attempts=1, per_page=20, read_ahead=1) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SessionStore]:
    async with SessionStore(path) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT", 0.01)


async def bring_up_to_date(store: SessionStore, buddy: BuddyClient, *keys: SuiteKey, **options: Any) -> list[int]:
    """Harvest; return the numbers of what came."""
    async with store.harvest(buddy, list(keys) or [KEY], **options) as harvest:
        return [session.relative_id async for _, session in harvest]


def truth(suite: FakeSuite) -> list[Session]:
    return [session_from_json(session) for session in suite.sessions]


def finished(suite: FakeSuite, count: int) -> FakeSuite:
    for _ in range(count):
        suite.create(status="SUCCESSFUL")
    return suite


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def deleted(path: Path) -> list[int]:
    sql = "SELECT relative_id FROM sessions WHERE deleted_at IS NOT NULL ORDER BY relative_id"
    return [number for (number,) in rows(path, sql)]


class TestAHarvest:
    async def test_the_first_one_brings_the_whole_suite_and_the_file_holds_it(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        suite.populate(130)
        assert await bring_up_to_date(store, buddy) == list(range(130, 0, -1))
        assert await store.sessions(KEY) == truth(suite)
        assert await store.suites() == [KEY]
        assert await store.covered(KEY) == ((1, 130),)
        assert repr(store) == f"<SessionStore {path}>"

    async def test_an_unchanged_suite_costs_one_request_and_brings_nothing(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 130)
        finished(fake.add_suite(*OTHER), 5)
        await bring_up_to_date(store, buddy, KEY, OTHER)
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy, KEY, OTHER) == []
        assert len(fake.requests) == 2

    async def test_an_empty_suite_costs_one_request_each_time(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for _ in range(2):
            assert await bring_up_to_date(store, buddy) == []
        assert len(fake.requests) == 2
        assert (await store.sessions(KEY), await store.covered(KEY), await store.suites()) == ([], (), [])

    @pytest.mark.parametrize("count", [1, 19, 20, 55])
    async def test_the_next_one_reads_what_is_new_and_no_more(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, count: int
    ) -> None:
        finished(suite, 100)
        await bring_up_to_date(store, buddy)
        finished(suite, count)
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy) == list(range(100 + count, 100, -1))
        assert len(fake.requests) == -(-count // 20)
        assert await store.sessions(KEY) == truth(suite)
        assert await store.covered(KEY) == ((1, 100 + count),)

    async def test_what_changed_on_a_page_that_was_read_anyway_comes_at_no_cost(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 30)
        await bring_up_to_date(store, buddy)
        suite.reopen(suite.sessions[3]["id"])
        finished(suite, 2)
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy) == [32, 31, 27]
        assert len(fake.requests) == 1
        assert await store.sessions(KEY) == truth(suite)

    async def test_an_unfinished_session_is_read_again_until_it_finishes(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 400)
        stuck = suite.sessions[250]["id"]
        suite.reopen(stuck)
        await bring_up_to_date(store, buddy)
        finished(suite, 10)
        for came in ([*range(410, 400, -1)], []):
            fake.requests.clear()
            assert await bring_up_to_date(store, buddy) == came
            assert len(fake.requests) == 2
        suite.finish(stuck)
        assert await bring_up_to_date(store, buddy) == [150]
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy) == []
        assert len(fake.requests) == 1
        assert await store.sessions(KEY) == truth(suite)

    async def test_unfinished_sessions_near_each_other_share_a_request(
        self, store: SessionStore, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 1000)
        for place in (*range(300, 380, 10), 700, 702):
            suite.reopen(suite.sessions[place]["id"])
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            await bring_up_to_date(store, buddy)
            fake.requests.clear()
            assert await bring_up_to_date(store, buddy) == []
        assert len(fake.requests) == 3

    async def test_sessions_that_went_unnoticed_cost_a_search_once_and_not_for_each_session_below(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 1000)
        for place in range(200, 1000, 100):
            suite.reopen(suite.sessions[place]["id"])
        await bring_up_to_date(store, buddy)
        for _ in range(40):
            suite.delete(suite.sessions[60]["id"])
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy) == []
        assert len(fake.requests) <= 1 + 8 + 5

    async def test_an_unfinished_session_that_is_gone_is_marked(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        finished(suite, 200)
        stuck = suite.sessions[150]["id"]
        suite.reopen(stuck)
        await bring_up_to_date(store, buddy)
        suite.delete(stuck)
        assert await bring_up_to_date(store, buddy) == []
        assert deleted(path) == [50]
        assert await store.sessions(KEY) == truth(suite)

    async def test_an_unknown_status_is_unfinished_until_there_is_a_finish_date(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        open_one, _ = suite.create(status="PAUSED"), suite.create(status="LOST", finish_date="2025-10-21T08:00:00Z")
        finished(suite, 60)
        await bring_up_to_date(store, buddy)
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy) == []
        assert len(fake.requests) == 2
        suite.finish(open_one["id"])
        assert await bring_up_to_date(store, buddy) == [1]

    async def test_pages_tell_when_a_suite_is_done(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        finished(suite, 100)
        suite.reopen(suite.sessions[80]["id"])
        async with store.harvest(buddy, [KEY]) as harvest:
            pages = [page async for page in harvest.pages()]
        assert [(len(page.sessions), page.last) for page in pages] == [(20, False)] * 4 + [(20, True)]
        suite.finish(suite.sessions[80]["id"])
        async with store.harvest(buddy, [KEY]) as harvest:
            pages = [page async for page in harvest.pages()]
        assert [([one.relative_id for one in page.sessions], page.last) for page in pages] == [([20], True)]
        stats = harvest.stats
        assert (stats.suites, stats.sessions, stats.pages, stats.requests) == (1, 1, 2, 2)

    async def test_only_the_last_page_of_all_walks_is_the_last_and_it_comes_though_nothing_is_new(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        running = suite.create()["id"]
        finished(suite, 60)
        await bring_up_to_date(store, buddy)
        async with store.harvest(buddy, [KEY]) as harvest:
            assert [(page.sessions, page.last) async for page in harvest.pages()] == [((), True)]
        suite.finish(running)
        finished(suite, 1)
        async with store.harvest(buddy, [KEY]) as harvest:
            pages = [page async for page in harvest.pages()]
        assert [([one.relative_id for one in page.sessions], page.last) for page in pages] == [
            ([62], False),
            ([1], True),
        ]

    async def test_the_newest_known_is_read_again_though_the_page_above_it_ends_just_there(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        finished(suite, 30)
        running = suite.create()["id"]
        await bring_up_to_date(store, buddy)
        suite.finish(running)
        finished(suite, 20)
        assert await bring_up_to_date(store, buddy) == [*range(51, 31, -1), 31]

    @pytest.mark.usefixtures("no_waiting")
    async def test_what_its_walks_have_waited_adds_up(
        self, fake: FakeBuddy, store: SessionStore, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "backoff", lambda retry: 7.0)
        finished(suite, 1)
        fake.inject(Fault.status(503))
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy, store.harvest(buddy, [KEY]) as harvest:
            assert len([session async for session in harvest]) == 1
        assert (harvest.stats.retries, harvest.stats.waited) == (1, 7.0)

    async def test_a_finished_reading_stays_finished(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        finished(suite, 5)
        async with store.harvest(buddy, [KEY]) as harvest:
            source = harvest._crew._read(KEY)
            assert [page.last async for page in source.pages()] == [True]
            assert [page async for page in source.pages()] == []

    async def test_a_suite_that_fails_leaves_what_was_read_of_it(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 100)
        fake.inject(Fault.stall(0), Fault.status(500))
        async with store.harvest(buddy, [KEY], on_failure="collect") as harvest:
            assert len([session async for _, session in harvest]) == 20
        assert isinstance(harvest.failures[KEY], ServerError)
        assert await store.covered(KEY) == ((81, 100),)

    async def test_an_argument_that_cannot_work_is_refused_at_once(
        self, store: SessionStore, buddy: BuddyClient
    ) -> None:
        options: dict[str, Any]
        for options in ({"branch": ""}, {"concurrency": 0}, {"on_failure": "ignore"}):
            with pytest.raises(ConfigError):
                store.harvest(buddy, [KEY], **options)

    async def test_two_harvests_at_once_into_one_file_bring_each_session_once(
        self, path: Path, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        finished(suite, 200)
        async with SessionStore(path) as other:
            came = await asyncio.gather(bring_up_to_date(store, buddy), bring_up_to_date(other, buddy))
        assert sorted(came[0] + came[1]) == list(range(1, 201))
        assert await store.sessions(KEY) == truth(suite)
        assert await store.covered(KEY) == ((1, 200),)


class TestSince:
    async def test_it_reads_no_further_down_and_what_lies_there_remains_to_be_read(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 50)
        suite.create(status="IN_PROGRESS")
        finished(suite, 9)
        assert await bring_up_to_date(store, buddy, since={KEY: 55}) == [60, 59, 58, 57, 56]
        assert len(fake.requests) == 1
        assert (await store.covered(KEY))[-1][1] == 60
        finished(suite, 2)
        assert await bring_up_to_date(store, buddy, since={KEY: 55, OTHER: 3}) == [62, 61]
        assert len(fake.requests) == 2
        await bring_up_to_date(store, buddy)
        assert await store.covered(KEY) == ((1, 62),)
        assert await store.sessions(KEY) == truth(suite)

    @pytest.mark.parametrize("since", [0, 20, 45, 60])
    async def test_a_gap_is_read_only_above_it(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, since: int
    ) -> None:
        finished(suite, 20)
        await bring_up_to_date(store, buddy)
        finished(suite, 60)
        await bring_up_to_date(store, buddy, since={KEY: 60})
        assert await store.covered(KEY) == ((1, 20), (61, 80))
        await bring_up_to_date(store, buddy, since={KEY: since})
        *below, (low, high) = await store.covered(KEY)
        assert (low <= since + 1, high) == (True, 80)
        assert below == ([] if since <= 20 else [(1, 20)])

    async def test_an_unfinished_session_is_read_again_only_above_it(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        running = suite.create(status="IN_PROGRESS")
        finished(suite, 50)
        await bring_up_to_date(store, buddy)
        suite.finish(running["id"], status="ERROR")
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy, since={KEY: 1}) == []
        assert len(fake.requests) == 1
        assert await bring_up_to_date(store, buddy, since={KEY: 0}) == [1]

    @pytest.mark.parametrize("since", [-1, "7", 1.5])
    async def test_a_number_that_cannot_work_is_a_failure_of_its_suite_and_nothing_is_asked(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, since: Any
    ) -> None:
        finished(suite, 3)
        with pytest.raises(HarvestError) as caught:
            await bring_up_to_date(store, buddy, since={KEY: since})
        assert isinstance(caught.value.failures[KEY], ConfigError)
        assert not fake.requests

    async def test_it_holds_for_a_branch_too(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
        for _ in range(4):
            suite.create(branch="main")
        assert await bring_up_to_date(store, buddy, branch="main", since={KEY: 2}) == [4, 3]


class TestDeletions:
    async def test_what_is_missing_where_a_page_was_read_again_is_marked(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        finished(suite, 50)
        await bring_up_to_date(store, buddy)
        for place in (30, 5, 0):  # numbers 20, 45, 50: the first lies where nobody looks
            suite.delete(suite.sessions[place]["id"])
        assert await bring_up_to_date(store, buddy) == []
        assert deleted(path) == [45, 50]
        ((moment,),) = rows(path, "SELECT DISTINCT deleted_at FROM sessions WHERE deleted_at IS NOT NULL")
        assert moment.endswith("Z")
        assert abs((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()) < 60
        assert [one.relative_id for one in await store.sessions(KEY)] == [
            number for number in range(49, 0, -1) if number != 45
        ]

    async def test_what_comes_back_is_alive_again_and_yielded(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        finished(suite, 10)
        await bring_up_to_date(store, buddy)
        gone = suite.sessions[0]
        suite.delete(gone["id"])
        await bring_up_to_date(store, buddy)
        assert deleted(path) == [10]
        suite.create(**gone)
        assert await bring_up_to_date(store, buddy) == [10]
        assert deleted(path) == []
        assert await store.sessions(KEY) == truth(suite)

    @pytest.mark.parametrize("count", [1, 30])
    async def test_a_suite_that_was_emptied_is_empty(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path, count: int
    ) -> None:
        finished(suite, count)
        await bring_up_to_date(store, buddy)
        for session in suite.sessions:
            suite.delete(session["id"])
        assert await bring_up_to_date(store, buddy) == []
        assert await store.sessions(KEY) == []
        assert len(deleted(path)) == count
        assert await store.suites() == [KEY]

    async def test_the_end_of_the_list_tells_that_nothing_older_is_left(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        finished(suite, 40)
        await bring_up_to_date(store, buddy)
        for session in suite.sessions[10:]:
            suite.delete(session["id"])
        assert await bring_up_to_date(store, buddy) == []
        assert deleted(path) == list(range(1, 31))

    @pytest.mark.parametrize("known", [0, 5])
    async def test_what_another_harvest_saved_meanwhile_is_not_taken_for_gone(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path, known: int
    ) -> None:
        finished(suite, known)
        await bring_up_to_date(store, buddy)

        async def answer_late(request: Any, answer: Callable[[], Any]) -> Any:
            early = answer()
            finished(suite, 1)
            await bring_up_to_date(store, buddy)
            return early

        fake.inject(Fault("late", answer_late))
        await bring_up_to_date(store, buddy)
        assert deleted(path) == []
        assert await store.sessions(KEY) == truth(suite)


class TestABranch:
    async def test_it_is_saved_but_proves_nothing_of_the_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        for number in range(90):
            suite.create(branch="main" if number % 3 else "feature", status="SUCCESSFUL")
        assert await bring_up_to_date(store, buddy, branch="feature") == list(range(88, 0, -3))
        assert await store.covered(KEY) == ()
        assert await bring_up_to_date(store, buddy, branch="feature") == []
        assert {request.query.get("branch") for request in fake.requests} == {"feature"}
        assert len(await bring_up_to_date(store, buddy)) == 60
        assert await store.sessions(KEY) == truth(suite)
        suite.delete(suite.sessions[2]["id"])
        assert await bring_up_to_date(store, buddy, branch="feature") == []
        assert deleted(path) == []
        assert await store.covered(KEY) == ((1, 90),)

    async def test_it_is_read_once_and_what_is_unfinished_in_it_or_missing_elsewhere_costs_no_more(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.create(branch="feature")
        finished(suite, 60)
        suite.create(branch="feature")
        await bring_up_to_date(store, buddy)
        finished(suite, 60)
        await bring_up_to_date(store, buddy, since={KEY: 100})
        assert len(await store.covered(KEY)) == 2
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy, branch="feature") == []
        assert len(fake.requests) == 1

    async def test_it_can_be_asked_for(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create(branch="main")
        suite.create(branch="feature")
        suite.create(branch="main", ref_type="TAG")
        await bring_up_to_date(store, buddy)
        assert [one.relative_id for one in await store.sessions(KEY, branch="main")] == [1]


class TestAListThatIsNotInOrder:
    async def test_it_is_saved_whole_and_covers_nothing(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in (3, 1, 2, *range(4, 50)):
            suite.create(relative_id=number, status="SUCCESSFUL")
        suite.create(relative_id=7)
        assert len(await bring_up_to_date(store, buddy)) == 50
        assert await store.covered(KEY) == ()
        assert {one.id for one in await store.sessions(KEY)} == {one["id"] for one in suite.sessions}
        assert await bring_up_to_date(store, buddy) == []
        assert "not strictly newest first" in caplog.text

    async def test_it_is_read_once_and_what_is_unfinished_in_it_costs_no_more(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for number in (2, 1, 3):
            suite.create(relative_id=number)
        assert sorted(await bring_up_to_date(store, buddy)) == [1, 2, 3]
        assert len(fake.requests) == 1


class TestAnInterruption:
    @pytest.mark.parametrize("pages", range(1, 8))
    async def test_after_any_page_the_next_harvest_reads_the_gaps_alone(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, pages: int
    ) -> None:
        finished(suite, 130)
        seen = 0
        async with store.harvest(buddy, [KEY], concurrency=1) as harvest:
            async for _ in harvest.pages():
                seen += 1
                if seen == pages:
                    break
        finished(suite, 3)
        ((low, high),) = await store.covered(KEY)
        assert (high, low <= 131 - 20 * min(pages, 6)) == (130, True)
        known = {one.relative_id for one in await store.sessions(KEY)}
        assert known == set(range(low, high + 1))
        fake.requests.clear()
        assert await bring_up_to_date(store, buddy) == [133, 132, 131, *range(low - 1, 0, -1)]
        assert len(fake.requests) <= 1 + -(-(low - 1) // 19)
        assert await store.sessions(KEY) == truth(suite)
        assert await store.covered(KEY) == ((1, 133),)

    async def test_gaps_of_several_harvests_are_read_one_by_one(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for _ in range(3):
            finished(suite, 100)
            async with store.harvest(buddy, [KEY], concurrency=1) as harvest:
                await anext(harvest)
        covered = await store.covered(KEY)
        assert len(covered) == 3
        gap = 300 - sum(high - low + 1 for low, high in covered)
        fake.requests.clear()
        assert len(await bring_up_to_date(store, buddy)) == gap
        assert len(fake.requests) <= 1 + gap // 20 + 2 * 3
        assert await store.sessions(KEY) == truth(suite)
        assert await store.covered(KEY) == ((1, 300),)

    @pytest.mark.parametrize("requests", range(1, 8))
    async def test_a_cancelled_harvest_is_just_cancelled_and_leaves_what_is_true(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, requests: int
    ) -> None:
        finished(suite, 150)
        harvesting = asyncio.create_task(bring_up_to_date(store, buddy))
        fake.on_request = lambda _: len(fake.requests) == requests and harvesting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await harvesting
        assert harvesting.cancelled()
        fake.on_request = None
        known = {one.relative_id for one in await store.sessions(KEY)}
        assert known == {number for low, high in await store.covered(KEY) for number in range(low, high + 1)}
        await bring_up_to_date(store, buddy)
        assert await store.sessions(KEY) == truth(suite)

    async def test_a_transaction_that_has_begun_ends_before_the_store_is_closed(
        self, path: Path, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        store = SessionStore(path)
        await store.open()
        begun, go_on = threading.Event(), threading.Event()

        def slow(file: Database) -> None:
            with file._transaction():
                begun.set()
                assert go_on.wait(5)  # the event loop does not wait for this thread meanwhile
                file._execute("INSERT INTO covered VALUES ('w', 'p', 's', 1, 2)")

        writing = asyncio.create_task(store._call(slow))
        await asyncio.to_thread(begun.wait, 5)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        closing_it = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        assert not closing_it.done()
        go_on.set()
        await closing_it
        async with asyncio.timeout(5):
            while [thread for thread in threading.enumerate() if "buddy_sessions" in thread.name]:
                await asyncio.sleep(0.001)
        assert rows(path, "SELECT low, high FROM covered") == [(1, 2)]

    async def test_closing_amid_a_harvest_fails_what_is_left(
        self, path: Path, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        finished(suite, 200)
        async with SessionStore(path) as store:
            harvest = store.harvest(buddy, [KEY])
            await anext(harvest)
        with pytest.raises(HarvestError) as caught:
            async for _ in harvest:
                pass
        assert isinstance(caught.value.failures[KEY], StoreError)
        await harvest.aclose()


HARVEST = """
import asyncio, sys
from buddy_sessions import BuddyClient, SessionStore, SuiteKey

async def main(path, *keys):
    async with BuddyClient.from_env(per_page=20) as buddy, SessionStore(path) as store:
        async with store.harvest(buddy, map(SuiteKey.parse, keys)) as harvest:
            async for key, session in harvest:
                pass

asyncio.run(main(*sys.argv[1:]))
"""


async def test_opening_twice_is_opening_once(path: Path) -> None:
    async with SessionStore(path) as store:
        threads = threading.enumerate()
        await store.open()
        assert not set(threading.enumerate()).difference(threads)


@pytest.mark.fault(30)
async def test_a_harvest_that_is_killed_ten_times_comes_to_the_truth(fake: FakeBuddy, path: Path) -> None:
    chance = random.Random(11)
    suites = [finished(fake.add_suite("acme", "shop", name), 500) for name in ("one", "two")]
    stable = {suite.key: {session["id"]: session for session in suite.sessions} for suite in suites}
    due, reached = 0, asyncio.Event()

    def churn(_: object) -> None:
        suite = chance.choice(suites)
        suite.create()
        if chance.random() < 0.5:
            gone = chance.choice(suite.sessions)
            suite.delete(gone["id"])
            stable[suite.key].pop(gone["id"], None)
        if len(fake.requests) >= due:
            reached.set()

    fake.on_request = churn
    environment = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    kills = 0
    while True:
        due = len(fake.requests) + chance.randrange(1, 12)
        reached.clear()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HARVEST, path, *("/".join(suite.key) for suite in suites), env=environment
        )
        if kills == 10:
            break
        async with asyncio.timeout(20):
            await reached.wait()
        await asyncio.sleep(chance.random() * 0.02)
        process.kill()
        await process.wait()
        kills += 1
    assert await process.wait() == 0
    async with SessionStore(path) as store:
        for suite in suites:
            key = SuiteKey(*suite.key)
            ((low, _),) = await store.covered(key)
            assert low == 1
            saved = {one.id: one for one in await store.sessions(key)}
            wanted = stable[suite.key]
            assert {name: session_from_json(one) for name, one in wanted.items()} == {
                name: one for name, one in saved.items() if name in wanted
            }


class TestTheFile:
    async def test_its_columns_are_the_fields_of_the_api(self, store: SessionStore, path: Path) -> None:
        names = [row[1] for row in rows(path, "PRAGMA table_info(sessions)")]
        assert names == ["workspace", "project", "suite_id", *attrs.fields_dict(Session), "deleted_at"]

    async def test_it_says_whose_it_is_and_which_version(self, store: SessionStore, path: Path) -> None:
        assert rows(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
        assert rows(path, "PRAGMA application_id") == [(0x42645365,)]
        assert rows(path, "PRAGMA journal_mode") == [("wal",)]

    async def test_queries_are_answered_by_the_indexes(self, store: SessionStore, path: Path) -> None:
        unfinished = f"{database._SELECT} AND status NOT IN ('SUCCESSFUL', 'ERROR', 'SKIPPED') AND relative_id < 9"
        for sql, index in (
            (f"{unfinished} ORDER BY relative_id DESC", "sessions_unfinished"),
            (f"{database._SELECT} ORDER BY relative_id DESC", "sessions_newest"),
            (database._COUNT, "sessions_newest"),
            (database._NEWEST, "sessions_newest"),
        ):
            plan = str(rows(path, "EXPLAIN QUERY PLAN " + sql.replace("?", "'x'")))
            assert f"INDEX {index}" in plan
            assert "TEMP B-TREE" not in plan

    async def test_it_can_be_opened_closed_and_opened_again(
        self, path: Path, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        finished(suite, 3)
        store = SessionStore(str(path))
        await store.open()
        await store.open()
        await bring_up_to_date(store, buddy)
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="not open"):
            await store.suites()
        with pytest.raises(StoreError, match="not open"):
            store.harvest(buddy, [KEY])
        async with store:
            assert await store.sessions(KEY) == truth(suite)

    async def test_a_store_left_open_warns_and_closes_itself(self, path: Path) -> None:
        store = SessionStore(path)
        await store.open()
        file, waiting = store._file, [store]
        del store
        with pytest.warns(ResourceWarning, match="unclosed <SessionStore"):
            waiting.clear()
        async with asyncio.timeout(5):
            while file._connection is not None:
                await asyncio.sleep(0.001)
        with pytest.raises(StoreError, match="closed"):
            file.suites()

    async def test_an_opening_that_is_cancelled_leaves_nothing(self, path: Path) -> None:
        store = SessionStore(path)
        opening = asyncio.create_task(store.open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert store._file._connection is None
        with pytest.raises(StoreError, match="not open"):
            await store.suites()

    @pytest.mark.fault(30)
    @pytest.mark.parametrize("content", [b"x", b"xy", b"SQLite format 3", b"this is a diary\n" * 1000])
    def test_what_is_not_sqlite_is_left_alone(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(StoreError, match="not a SQLite file"):
            asyncio.run(SessionStore(path).open())
        assert content_of(path) == content

    @pytest.mark.fault(30)
    @pytest.mark.parametrize(
        "sql",
        ["CREATE TABLE sessions (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"],
        ids=["table", "application", "version"],
    )
    async def test_the_file_of_another_program_is_left_alone(self, path: Path, sql: str) -> None:
        rows(path, sql)
        before = content_of(path)
        with pytest.raises(StoreError, match="another program's"):
            await SessionStore(path).open()
        assert content_of(path) == before

    async def test_a_newer_schema_is_left_alone(self, path: Path) -> None:
        async with SessionStore(path):
            pass
        rows(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        before = content_of(path)
        with pytest.raises(StoreError, match="newer buddy_sessions"):
            await SessionStore(path).open()
        assert content_of(path) == before

    @pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
    async def test_an_older_schema_is_brought_up_to_date_and_keeps_what_it_has(
        self, path: Path, buddy: BuddyClient, suite: FakeSuite, version: int
    ) -> None:
        finished(suite, 3)
        with closing(sqlite3.connect(path)) as connection:
            for migration in MIGRATIONS[:version]:
                connection.executescript(migration)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("INSERT INTO covered VALUES ('acme', 'shop', 'MNbyVedg', 1, 2)")
            connection.commit()
        async with SessionStore(path) as store:
            assert await bring_up_to_date(store, buddy, since={KEY: 2}) == [3]
            assert await store.covered(KEY) == ((1, 3),)
        assert rows(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]

    async def test_an_empty_file_is_as_good_as_none(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT))
        async with SessionStore(path) as store:
            assert await store.suites() == []

    async def test_a_file_that_another_process_has_just_made_is_taken_as_it_is(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with SessionStore(path):
            pass
        versions = iter([0, len(MIGRATIONS)])
        monkeypatch.setattr(Database, "_version", lambda _: next(versions))
        async with SessionStore(path) as store:
            assert await store.suites() == []

    async def test_a_folder_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="folder exists"):
            await SessionStore(tmp_path / "nowhere" / "sessions.db").open()
        with pytest.raises(StoreError, match="folder exists"):
            await SessionStore(tmp_path).open()

    def test_a_path_is_always_that_of_a_file(self) -> None:
        """SQLite would take these for a database that is gone once it is closed."""
        for name in ("", ":memory:"):
            assert str(Path.cwd()) in repr(SessionStore(name))

    @pytest.mark.fault(30)
    @pytest.mark.usefixtures("impatient")
    async def test_a_locked_file_is_told_and_later_suites_cost_no_request(
        self, path: Path, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        finished(suite, 3)
        finished(fake.add_suite(*OTHER), 3)
        async with SessionStore(path) as store:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(HarvestError) as caught:
                    await bring_up_to_date(store, buddy, KEY, OTHER, concurrency=1)
            assert set(caught.value.failures) == {KEY, OTHER}
            for failure in caught.value.failures.values():
                assert isinstance(failure, StoreError)
                assert "another program holds it" in str(failure)
            assert len(fake.requests) == 1
            assert len(await bring_up_to_date(store, buddy, KEY, OTHER)) == 6

    @pytest.mark.fault(30)
    async def test_a_full_disk_is_told_and_what_was_saved_stays(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        finished(suite, 20)
        await bring_up_to_date(store, buddy)
        finished(suite, 200)

        def limit(pages: int) -> Callable[[Database], None]:
            return lambda file: file._execute(f"PRAGMA max_page_count = {pages}").close()

        await store._call(limit(1))
        with pytest.raises(HarvestError) as caught:
            await bring_up_to_date(store, buddy)
        assert "the disk is full" in str(caught.value.failures[KEY])
        covered = await store.covered(KEY)
        known = {one.relative_id for one in await store.sessions(KEY)}
        assert known == {number for low, high in covered for number in range(low, high + 1)}
        await store._call(limit(2**30))
        await bring_up_to_date(store, buddy)
        assert await store.sessions(KEY) == truth(suite)

    async def test_a_number_that_no_file_holds_is_told_and_stops_no_other_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.create(tests_count=2**63)
        finished(fake.add_suite(*OTHER), 3)
        with pytest.raises(HarvestError) as caught:
            await bring_up_to_date(store, buddy, KEY, OTHER, concurrency=1)
        assert set(caught.value.failures) == {KEY}
        assert "64 bits" in str(caught.value.failures[KEY])
        assert await store.suites() == [OTHER]

    @pytest.mark.parametrize("change", ["tests_count = 'many'", "created_by = '{'", "nonsense"])
    async def test_a_file_that_someone_changed_is_told(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path, change: str
    ) -> None:
        finished(suite, 1)
        await bring_up_to_date(store, buddy)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("DROP TABLE sessions" if change == "nonsense" else f"UPDATE sessions SET {change}")
        with pytest.raises(StoreError, match="no such table" if change == "nonsense" else "was changed"):
            await store.sessions(KEY)


def test_importing_the_package_does_not_pay_for_sqlite() -> None:
    code = "import sys, buddy_sessions; print('sqlite3' in sys.modules, 'concurrent.futures.thread' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


texts = st.none() | st.text() | st.just("half \ud83d a pair \0")
moments = st.none() | st.datetimes(timezones=st.just(UTC))
counts = st.none() | st.integers(0, 2**63 - 1)


def enums(kind: type[StrEnum]) -> st.SearchStrategy[Any]:
    return st.sampled_from(list(kind)) | st.text(min_size=1).map(kind)


members = st.builds(
    Member,
    url=texts,
    html_url=texts,
    id=st.none() | st.integers(),
    name=texts,
    avatar_url=texts,
    email=texts,
    admin=st.none() | st.booleans(),
    workspace_owner=st.none() | st.booleans(),
)
sessions = st.builds(
    Session,
    id=st.text() | st.just("\udfff"),
    relative_id=st.integers(1, 2**63 - 1),
    status=enums(SessionStatus),
    create_date=moments,
    start_date=moments,
    finish_date=moments,
    created_by=st.none() | members,
    ci_provider=st.none() | enums(CIProvider),
    ref_type=st.none() | enums(RefType),
    duration=counts | st.floats(allow_nan=False, allow_infinity=False),
    **dict.fromkeys(("tests_count", "failed_count", "skipped_count", "error_count"), counts),
    **dict.fromkeys(
        (
            *("url", "html_url", "ci_run_url", "revision", "ref_name", "execution_id", "action_execution_id"),
            "error_message",
        ),
        texts,
    ),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = Database(str(tmp_path_factory.mktemp("round-trip") / "sessions.db"))
    opened.open()
    yield opened
    opened.close()


@settings(max_examples=200)
@given(session=sessions)
def test_every_field_of_every_session_comes_back_as_it_went_in(file: Database, session: Session) -> None:
    key = SuiteKey("acmé", "shop \ud83d", "x")
    file._execute("DELETE FROM sessions")
    assert file.save(key, [session], None, None) == (session,)
    (back,) = file.sessions(key, None)
    assert back == session
    assert type(back.duration) is type(session.duration)
    assert file.save(key, [session], None, None) == ()
    assert file.suites() == [key]
