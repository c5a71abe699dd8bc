"""Syncs of suites into a store: real files and a real server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import (
    BuddyClient,
    BuddyError,
    ConfigError,
    HarvestError,
    ServerError,
    SessionStore,
    StoreError,
    SuiteKey,
    SuiteRef,
)
from buddy_sessions.models import CaseScope
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.overlaps import overlapping_requests
from helpers.stores import (
    KEY,
    OTHER_KEY,
    collect_numbers,
    create_finished,
    execute,
    list_requests,
    make_due,
    marked_numbers,
    query,
    sessions_of,
    sync,
)


class TestFirstSync:
    async def test_first_sync_reads_the_whole_suite(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(130)
        assert await sync(store, buddy) == list(range(130, 0, -1))
        assert await store.sessions(KEY) == sessions_of(suite)
        assert [each.key for each in await store.suites()] == [KEY]
        assert await store.covered(KEY) == [(1, 130)]

    async def test_more_suites_than_requests_are_read_while_pages_are_saved(
        self, store: SessionStore, fake: FakeBuddy, path: Path
    ) -> None:
        keys = [fake.add_suite("acme", "shop", f"suite{number}").populate(3).key for number in range(10)]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # so that no page can be saved
            async with BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=4) as client:
                syncing = asyncio.create_task(sync(store, client, *keys))
                async with asyncio.timeout(20):
                    while len(list_requests(fake)) < 8:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                assert len(list_requests(fake)) == 8
                other.execute("ROLLBACK")
                assert len(await syncing) == 30
        assert len(list_requests(fake)) == 10

    @pytest.mark.parametrize(("number", "pages", "error"), [(None, 4, ServerError), (130, 3, StoreError)])
    async def test_pages_before_a_failure_are_saved_and_yielded(
        self,
        store: SessionStore,
        fake: FakeBuddy,
        suite: FakeSuite,
        path: Path,
        number: int | None,
        pages: int,
        error: type[BuddyError],
    ) -> None:
        """Even if the failure arrives before they are saved, and one of them cannot be saved."""
        for each in range(1, 201):
            suite.create(status="SUCCESSFUL", tests_count=-1 if each == number else 1)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            refuse = "SELECT RAISE(ABORT, 'negative'); END"
            other.execute(f"CREATE TRIGGER t BEFORE INSERT ON session_rows WHEN NEW.tests_count < 0 BEGIN {refuse}")

            def on_request(request: RecordedRequest) -> None:
                if request.page == 2:
                    other.execute("BEGIN IMMEDIATE")  # page 2 cannot be saved before pages 3 to 5 have arrived
                if request.page == 5:
                    fake.inject(Fault.status(500))

            fake.on_request = on_request
            async with (
                BuddyClient(fake.token, base_url=fake.base_url, per_page=20, max_attempts=1) as client,
                store.sync(client, [KEY], on_failure="collect") as harvest,
            ):
                reading = asyncio.create_task(collect_numbers(harvest))
                async with asyncio.timeout(20):
                    while len(fake.requests) < 5 or not all(request.status for request in fake.requests):
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)  # until the client has read the responses
                other.execute("ROLLBACK")
                numbers = await reading
        assert numbers == list(range(200, 200 - 20 * pages, -1))
        assert type(harvest.failures[KEY]) is error
        assert await store.covered(KEY) == [(numbers[-1], 200)]
        assert [session.relative_id for session in await store.sessions(KEY)] == numbers

    async def test_empty_suite_costs_one_request_each_time(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for requests in (3, 1, 1):  # the first sync checks the end of the list
            fake.requests.clear()
            assert await sync(store, buddy) == []
            assert len(list_requests(fake)) == requests
        assert (await store.sessions(KEY), await store.covered(KEY)) == ([], [])
        create_finished(suite, 30)
        assert len(await sync(store, buddy)) == 30
        assert await store.covered(KEY) == [(1, 30)]

    async def test_names_are_read_once_per_project_and_day(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        fake.add_suite(*OTHER_KEY, name="Other tests", identifier="other")
        fake.add_suite("acme", "shop", "unused")
        for _ in range(2):
            await sync(store, buddy, KEY, OTHER_KEY)
        listings = [request for request in fake.requests if request not in list_requests(fake)]
        assert len(listings) == 1
        names = [(each.key, each.name, each.identifier, each.html_url) for each in await store.suites()]
        assert names == [
            (KEY, "Unit tests", "unit-tests", suite.html_url),
            (OTHER_KEY, "Other tests", "other", fake.suites[OTHER_KEY].html_url),
        ]
        execute(path, "UPDATE projects SET listed_at = '2025-01-01T00:00:00Z'")
        fake.requests.clear()
        await sync(store, buddy)
        assert len(fake.requests) == 2

    async def test_unreadable_names_are_reported(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        suite.create(relative_id=1)
        for status, name in ((503, None), (403, None), (500, None)):
            fake.inject(Fault.stall(0), Fault.status(status))
            await sync(store, buddy)
            fake.faults.clear()
            assert [each.name for each in await store.suites()] == [name]
        assert caplog.text.count("cannot read the names of the suites of acme/shop") == 2, "not again after the 403"

    async def test_suite_listed_twice_is_read_once(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.create(relative_id=1)
        assert await sync(store, buddy, KEY, KEY) == [1]
        assert len(list_requests(fake)) == 1

    async def test_suite_can_be_referenced_in_every_way(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create_finished(suite, 3)
        url = "https://app.buddy.works/acme/shop/unit-tests/MNbyVedg"
        references: list[SuiteRef] = [KEY, "acme/shop/MNbyVedg", url]
        for reference in references:
            assert await sync(store, buddy, reference) == ([3, 2, 1] if reference is KEY else [])
            assert len(await store.sessions(reference)) == 3
            assert await store.covered(reference) == [(1, 3)]


class TestNextSync:
    async def test_unchanged_suite_costs_one_request(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 130)
        create_finished(fake.add_suite(*OTHER_KEY), 5)
        await sync(store, buddy, KEY, OTHER_KEY)
        fake.requests.clear()
        assert await sync(store, buddy, KEY, OTHER_KEY) == []
        assert len(list_requests(fake)) == 2

    @pytest.mark.parametrize("count", [1, 19, 20, 55])
    async def test_only_new_sessions_are_read(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, count: int
    ) -> None:
        create_finished(suite, 100)
        await sync(store, buddy)
        create_finished(suite, count)
        fake.requests.clear()
        assert await sync(store, buddy) == list(range(100 + count, 100, -1))
        assert len(list_requests(fake)) == -(-(count + 1) // 20)  # down to a known session
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.covered(KEY) == [(1, 100 + count)]

    async def test_changes_on_a_page_that_is_read_anyway_are_free(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 30)
        await sync(store, buddy)
        suite.reopen(suite.sessions[3]["id"])
        create_finished(suite, 2)
        fake.requests.clear()
        assert await sync(store, buddy) == [32, 31, 27]
        assert len(list_requests(fake)) == 1
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_concurrent_syncs_into_one_file_yield_each_session_once(
        self, path: Path, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create_finished(suite, 200)
        async with SessionStore(path) as other:
            yielded = await asyncio.gather(sync(store, buddy), sync(other, buddy))
        assert sorted(yielded[0] + yielded[1]) == list(range(1, 201))
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.covered(KEY) == [(1, 200)]


class TestUnfinishedSessions:
    async def test_unfinished_session_is_checked_until_it_finishes(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 400)
        unfinished = suite.sessions[250]["id"]
        suite.reopen(unfinished)
        await sync(store, buddy)
        for new in (10, 0):
            create_finished(suite, new)
            fake.requests.clear()
            assert len(await sync(store, buddy)) == new
            assert len(list_requests(fake)) == 1, "it was saved or checked less than a minute ago"
            make_due(path)
            fake.requests.clear()
            assert await sync(store, buddy) == []
            assert [request.path.split("/")[-1] for request in list_requests(fake)] == ["sessions", unfinished]
        suite.finish(unfinished)
        make_due(path)
        assert await sync(store, buddy) == [150]
        make_due(path)
        fake.requests.clear()
        assert await sync(store, buddy) == []
        assert len(list_requests(fake)) == 1
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_unfinished_sessions_near_each_other_share_a_request(
        self, store: SessionStore, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 1000)
        for index in (*range(300, 380, 10), 700, 702):
            suite.reopen(suite.sessions[index]["id"])
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            await sync(store, buddy)
            make_due(path)
            fake.requests.clear()
            assert await sync(store, buddy) == []
        assert len(list_requests(fake)) == 3

    async def test_ten_of_them_are_checked_in_turn(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 1500)
        unfinished = [suite.sessions[index]["id"] for index in range(100, 1500, 100)]
        for session_id in unfinished:
            suite.reopen(session_id)
        await sync(store, buddy)
        fake.requests.clear()
        for requests in (1 + 10, 2 + 2 * 10):
            make_due(path)
            assert await sync(store, buddy) == []
            assert len(list_requests(fake)) == requests
        assert {request.path.split("/")[-1] for request in list_requests(fake)} == {"sessions", *unfinished}

    async def test_groups_count_by_their_requests(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        """Unnoticed deletions make the client search for each of the fourteen pairs."""
        create_finished(suite, 3000)
        for index in range(100, 1500, 100):
            suite.reopen(suite.sessions[index]["id"])
            suite.reopen(suite.sessions[index + 1]["id"])
        await sync(store, buddy)
        for index in range(90, 1500, 100):
            for _ in range(40):
                suite.delete(suite.sessions[index - 60]["id"])
        make_due(path)
        fake.requests.clear()
        await sync(store, buddy)
        assert 5 < len(list_requests(fake)) <= 1 + 10 + 5  # the search of the last one is not interrupted

    async def test_deleted_unfinished_session_is_marked(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 200)
        unfinished = suite.sessions[150]["id"]
        suite.reopen(unfinished)
        await sync(store, buddy)
        suite.delete(unfinished)
        for column in ("missing_since", "deleted_at"):
            make_due(path)
            assert await sync(store, buddy) == []
            assert marked_numbers(path, column) == [50]
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_times_in_the_future_do_not_count(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        """The clock of the machine was ahead."""
        suite.create()
        create_finished(suite, 60)
        await sync(store, buddy)
        execute(path, "UPDATE session_rows SET checked_at = '2099-01-01T00:00:00Z' WHERE checked_at IS NOT NULL")
        execute(path, "UPDATE projects SET listed_at = '2099-01-01T00:00:00Z'")
        for requests in (3, 1):
            fake.requests.clear()
            await sync(store, buddy)
            assert len(fake.requests) == requests


class TestPagesAndStats:
    async def test_only_the_last_page_of_all_reads_is_last(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 100)
        suite.reopen(suite.sessions[80]["id"])
        async with store.sync(buddy, [KEY]) as harvest:
            pages = [page async for page in harvest.pages()]
        assert [(len(page.sessions), page.is_last) for page in pages] == [(20, False)] * 4 + [(20, True)]
        suite.finish(suite.sessions[80]["id"])
        make_due(path)
        create_finished(suite, 1)
        async with store.sync(buddy, [KEY]) as harvest:
            pages = [page async for page in harvest.pages()]
        numbers = [([session.relative_id for session in page.sessions], page.is_last) for page in pages]
        assert numbers == [([101], False), ([20], True)]

    async def test_last_page_is_yielded_without_new_sessions(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        suite.create()
        create_finished(suite, 60)
        await sync(store, buddy)
        make_due(path)
        async with store.sync(buddy, [KEY]) as harvest:
            assert [(page.sessions, page.is_last) async for page in harvest.pages()] == [((), True)]

    async def test_stats_add_up_over_all_reads(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 100)
        suite.reopen(suite.sessions[80]["id"])
        await sync(store, buddy)
        suite.finish(suite.sessions[80]["id"])
        make_due(path)
        async with store.sync(buddy, [KEY]) as harvest:
            assert [session.relative_id async for _, session in harvest] == [20]
        stats = harvest.stats
        assert (stats.suites, stats.sessions, stats.pages, stats.requests) == (1, 1, 1, 2)
        assert stats.verified


class TestAfter:
    async def test_sessions_below_remain_for_a_later_sync(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 50)
        suite.create(status="IN_PROGRESS")
        create_finished(suite, 9)
        assert await sync(store, buddy, after={KEY: 55}) == [60, 59, 58, 57, 56]
        assert len(list_requests(fake)) == 1
        assert (await store.covered(KEY))[-1][1] == 60
        create_finished(suite, 2)
        assert await sync(store, buddy, after={KEY: 55, OTHER_KEY: 3}) == [62, 61]
        assert len(list_requests(fake)) == 2
        await sync(store, buddy)
        assert await store.covered(KEY) == [(1, 62)]
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_one_number_applies_to_every_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 5)
        create_finished(fake.add_suite(*OTHER_KEY), 4)
        assert sorted(await sync(store, buddy, KEY, OTHER_KEY, after=3)) == [4, 4, 5]

    @pytest.mark.parametrize("after", [0, 20, 45, 60])
    async def test_gap_is_read_only_above(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, after: int
    ) -> None:
        create_finished(suite, 20)
        await sync(store, buddy)
        create_finished(suite, 60)
        await sync(store, buddy, after={KEY: 60})
        assert await store.covered(KEY) == [(1, 20), (61, 80)]
        await sync(store, buddy, after={KEY: after})
        *below, (low, high) = await store.covered(KEY)
        assert (low <= after + 1, high) == (True, 80)
        assert below == ([] if after <= 20 else [(1, 20)])

    async def test_unfinished_session_is_read_only_above(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        unfinished = suite.create(status="IN_PROGRESS")
        create_finished(suite, 50)
        await sync(store, buddy)
        suite.finish(unfinished["id"], status="ERROR")
        make_due(path)
        fake.requests.clear()
        assert await sync(store, buddy, after={KEY: 1}) == []
        assert len(list_requests(fake)) == 1
        assert await sync(store, buddy, after={KEY: 0}) == [1]

    async def test_branch_is_read_only_above(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
        for _ in range(4):
            suite.create(branch="main")
        assert await sync(store, buddy, branch="main", after={KEY: 2}) == [4, 3]

    @pytest.mark.parametrize("after", [-1, "7", 1.5])
    async def test_invalid_number_of_a_suite_fails_that_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, after: Any
    ) -> None:
        create_finished(suite, 3)
        with pytest.raises(HarvestError) as caught:
            await sync(store, buddy, after={KEY: after})
        assert isinstance(caught.value.failures[KEY], ConfigError)
        assert not fake.requests


class TestMissingSessions:
    async def test_second_sync_marks_missing_sessions_as_deleted(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 50)
        await sync(store, buddy)
        for index in (30, 5):  # numbers 20 and 45; the next sync does not read the page of number 20
            suite.delete(suite.sessions[index]["id"])
        assert await sync(store, buddy) == []
        assert (marked_numbers(path), marked_numbers(path, "missing_since")) == ([], [45])
        assert await store.covered(KEY) == [(1, 44), (46, 50)]
        ((missing_since,),) = query(path, "SELECT missing_since FROM sessions WHERE missing_since IS NOT NULL")
        assert missing_since.endswith("Z")
        assert abs((datetime.fromisoformat(missing_since) - datetime.now(UTC)).total_seconds()) < 60

        execute(path, "UPDATE session_rows SET missing_since = '2025-01-01T00:00:00Z' WHERE missing_since IS NOT NULL")
        assert await sync(store, buddy) == []
        assert query(path, "SELECT relative_id, deleted_at FROM sessions WHERE deleted_at IS NOT NULL") == [
            (45, "2025-01-01T00:00:00Z")
        ]
        assert await store.covered(KEY) == [(1, 50)]
        remaining = [session.relative_id for session in await store.sessions(KEY)]
        assert remaining == [number for number in range(50, 0, -1) if number != 45]

    async def test_session_that_is_found_again_is_not_missing(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 50)
        await sync(store, buddy)
        fake.inject(Fault.missing_row(3))
        assert await sync(store, buddy) == []
        assert marked_numbers(path, "missing_since") == [47]
        assert await sync(store, buddy) == []
        assert marked_numbers(path, "missing_since") == []
        assert await store.covered(KEY) == [(1, 50)]

    async def test_reappearing_session_makes_the_sync_read_everything(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 130)
        await sync(store, buddy)
        execute(path, "UPDATE session_rows SET deleted_at = '2025-01-01T00:00:00Z' WHERE relative_id IN (7, 60, 125)")
        execute(path, "DELETE FROM session_rows WHERE relative_id = 40")
        execute(path, "UPDATE suites SET digest = NULL")
        assert await sync(store, buddy) == [40]
        assert marked_numbers(path) == []
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.covered(KEY) == [(1, 130)]

    @pytest.mark.parametrize("count", [1, 30])
    async def test_emptied_suite_is_empty(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path, count: int
    ) -> None:
        create_finished(suite, count)
        await sync(store, buddy)
        for session in suite.sessions:
            suite.delete(session["id"])
        for deleted in (0, count):
            assert await sync(store, buddy) == []
            assert len(marked_numbers(path)) == deleted
        assert await store.sessions(KEY) == []
        assert [each.key for each in await store.suites()] == [KEY]

    @pytest.mark.parametrize("known", [0, 5])
    async def test_sessions_saved_by_a_concurrent_sync_are_not_marked(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path, known: int
    ) -> None:
        create_finished(suite, known)
        await sync(store, buddy)

        async def respond_late(_request: Any, make_response: Callable[[], Any]) -> Any:
            outdated = make_response()
            create_finished(suite, 1)
            await sync(store, buddy)
            return outdated

        fake.inject(Fault("late", respond_late))
        await sync(store, buddy)
        assert marked_numbers(path, "missing_since") == []
        assert await store.sessions(KEY) == sessions_of(suite)


class TestWrongResponses:
    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param(Fault.short_page(0), id="empty page"),
            pytest.param(Fault.short_page(7), id="short page"),
            pytest.param(Fault.filtered(lambda session: session["relative_id"] % 2), id="narrow token"),
            pytest.param(Fault.filtered(lambda session: session["relative_id"] % 2, after_cut=True), id="cut first"),
            pytest.param(Fault.swapped(19), id="swapped rows"),
            pytest.param(Fault.missing_row(0), id="missing row"),
            pytest.param(Fault.page_size(5), id="smaller page"),
            pytest.param(Fault.status(404), id="not found"),
        ],
    )
    async def test_healthy_sync_repairs_everything(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path, fault: Fault
    ) -> None:
        create_finished(suite, 130)
        await sync(store, buddy)
        fake.inject(fault, times=5)
        async with store.sync(buddy, [KEY], on_failure="collect") as harvest:
            assert [session async for _, session in harvest] == []
        assert marked_numbers(path) == []
        fake.faults.clear()
        assert await sync(store, buddy) == []
        assert marked_numbers(path, "missing_since") == []
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_outdated_list_proves_nothing_above_its_top(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        create_finished(suite, 40)
        snapshot = suite.snapshot()
        create_finished(suite, 10)
        await sync(store, buddy)
        fake.requests.clear()
        fake.inject(Fault.stale(snapshot))
        assert await sync(store, buddy) == []
        assert len(list_requests(fake)) == 2, "the newest known session was checked"
        assert "does not contain the newest saved session" in caplog.text
        assert marked_numbers(path, "missing_since") == []
        assert await store.covered(KEY) == [(1, 40)]
        assert await sync(store, buddy) == []
        assert await store.covered(KEY) == [(1, 50)]

    async def test_deleted_newest_sessions_are_marked(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 50)
        await sync(store, buddy)
        for session in suite.sessions[:3]:
            suite.delete(session["id"])
        for column in ("missing_since", "deleted_at"):
            assert await sync(store, buddy) == []
            assert marked_numbers(path, column) == [48, 49, 50]
        create_finished(suite, 1)
        assert await sync(store, buddy) == [51]
        assert await store.covered(KEY) == [(1, 51)]

    async def test_responses_of_a_late_replica_do_not_undo_newer_ones(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """Another sync saves a newer state while the response is on its way."""
        suite.create()

        async def respond_late(_request: Any, make_response: Callable[[], Any]) -> Any:
            outdated = make_response()
            suite.finish(suite.sessions[0]["id"])
            assert await sync(store, buddy) == [1]
            return outdated

        fake.inject(Fault("late", respond_late))
        assert await sync(store, buddy) == []
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_late_404_does_not_undo_a_newer_response(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 3)
        await sync(store, buddy)
        not_found = Fault.status(404)

        async def respond_late(request: Any, make_response: Callable[[], Any]) -> Any:
            create_finished(suite, 1)
            assert await sync(store, buddy) == [4]
            return await not_found.handler(request, make_response)

        fake.inject(Fault("late", respond_late))
        with pytest.raises(HarvestError):
            await sync(store, buddy)
        assert query(path, "SELECT missing_since FROM suites") == [(None,)]

    async def test_digest_of_an_overruled_page_is_not_recorded(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        """The list becomes equal to the late response again: session 4 is deleted."""
        create_finished(suite, 3)
        await sync(store, buddy)
        execute(path, "UPDATE suites SET digest = NULL")

        async def respond_late(_request: Any, make_response: Callable[[], Any]) -> Any:
            outdated = make_response()
            create_finished(suite, 1)
            assert await sync(store, buddy) == [4]
            return outdated

        fake.inject(Fault("late", respond_late))
        await sync(store, buddy)
        suite.delete(suite.sessions[0]["id"])
        for column in ("missing_since", "deleted_at"):
            assert await sync(store, buddy) == []
            assert marked_numbers(path, column) == [4]

    async def test_suite_is_missing_then_deleted_then_found(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 3)
        await sync(store, buddy)
        del fake.suites[KEY]
        for marks in ((True, False), (True, True), (True, True)):
            with pytest.raises(HarvestError):
                await sync(store, buddy)
            sql = "SELECT missing_since IS NOT NULL, deleted_at IS NOT NULL FROM suites"
            assert query(path, sql) == [marks]
        assert len(await store.sessions(KEY)) == 3
        fake.suites[KEY] = suite
        assert await sync(store, buddy) == []
        assert query(path, sql) == [(False, False)]

    async def test_recreated_suite_replaces_the_old_sessions(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 130)
        await sync(store, buddy)
        del fake.suites[KEY]
        fake.seed += 1  # other ids
        suite = create_finished(fake.add_suite(*KEY), 70)
        assert await sync(store, buddy) == list(range(70, 0, -1))
        await sync(store, buddy)
        assert len(marked_numbers(path)) == 130
        assert await store.sessions(KEY) == sessions_of(suite)


class TestRecreatedSuite:
    """A suite was deleted, and another one was created with the same name."""

    @pytest.fixture
    async def recreated(self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite) -> FakeSuite:
        """130 sessions were synced; the new suite has 150, so that page 1 contains no known number."""
        create_finished(suite, 130)
        await sync(store, buddy)
        del fake.suites[KEY]
        fake.seed += 1  # other ids
        return create_finished(fake.add_suite(*KEY), 150)

    async def check_healthy(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
        """Check that syncs find the new list, and that the old sessions are deleted after two of them."""
        for _ in range(3):
            await sync(store, buddy)
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.covered(KEY) == [(1, 150)]

    @pytest.mark.parametrize("after", [0, 100, 129, 130, 131, 140, 150])
    async def test_list_that_is_read_only_above_a_number(
        self, store: SessionStore, buddy: BuddyClient, recreated: FakeSuite, after: int
    ) -> None:
        assert await sync(store, buddy, after=after) == list(range(150, after, -1))
        await self.check_healthy(store, buddy, recreated)

    async def test_sync_that_ends_where_the_old_list_begins(
        self, store: SessionStore, buddy: BuddyClient, recreated: FakeSuite
    ) -> None:
        """Page 1 is saved: 150 to 131. The old list began at 130."""
        async with store.sync(buddy, [KEY], concurrency=1) as harvest:
            await anext(harvest)
        await self.check_healthy(store, buddy, recreated)

    async def test_failure_where_the_old_list_begins(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, recreated: FakeSuite
    ) -> None:
        fake.inject(Fault.stall(0), Fault.status(500))
        with pytest.raises(HarvestError):
            await sync(store, buddy)
        await self.check_healthy(store, buddy, recreated)

    async def test_sessions_that_are_too_old_are_compared(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        def create(suite: FakeSuite, number: int) -> None:
            suite.create(status="SUCCESSFUL", create_date=f"{date(2025, 1, 1) + timedelta(number)}T12:00:00Z")

        since = datetime(2025, 5, 12, tzinfo=UTC)
        for number in range(130):
            create(suite, number)
        await sync(store, buddy)
        del fake.suites[KEY]
        fake.seed += 1  # other ids
        recreated = fake.add_suite(*KEY)
        for number in range(150):
            create(recreated, number)
        await sync(store, buddy, since=since)
        await self.check_healthy(store, buddy, recreated)


class TestNotModified:
    """The first page is the one of the last complete sync."""

    async def pages(self, store: SessionStore, buddy: BuddyClient, **options: Any) -> int:
        """Sync, and return the number of pages that were compared."""
        async with store.sync(buddy, [KEY], **options) as harvest:
            assert [session async for _, session in harvest] == []
        assert harvest.stats.suites == 1
        return harvest.stats.pages

    async def test_page_is_not_compared(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 130)
        await sync(store, buddy)
        fake.requests.clear()
        assert await self.pages(store, buddy) == 0
        assert len(fake.requests) == 1
        create_finished(suite, 1)
        assert await sync(store, buddy) == [131]
        assert await self.pages(store, buddy) == 0
        suite.reopen(suite.sessions[5]["id"])
        assert await sync(store, buddy) == [126]

    @pytest.mark.parametrize(
        ("first", "second", "is_compared"),
        [
            ({"after": 10}, {"after": 10}, False),
            ({"after": 10}, {"after": 20}, False),
            ({"after": 20}, {"after": 10}, True),
            ({"after": 10}, {}, True),
            ({}, {"since": datetime(2025, 1, 1, tzinfo=UTC)}, False),
            ({"since": datetime(2025, 1, 1, tzinfo=UTC)}, {}, True),
            ({"since": datetime(2025, 1, 2, tzinfo=UTC)}, {"since": datetime(2025, 1, 1, tzinfo=UTC)}, True),
            ({"cases": "all"}, {"cases": "failed"}, False),
            ({"cases": "failed"}, {}, False),
            ({"cases": "failed"}, {"cases": "failed"}, False),
            ({"cases": "failed"}, {"cases": "all"}, True),
            ({}, {"cases": "failed"}, True),
            ({}, {"full": True}, True),
            ({"full": True}, {}, False),
            ({"branch": "main"}, {}, True),
            ({}, {"branch": "main"}, True),
        ],
        ids=str,
    )
    async def test_page_is_compared_if_the_last_sync_was_narrower(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        suite: FakeSuite,
        first: dict[str, Any],
        second: dict[str, Any],
        is_compared: bool,
    ) -> None:
        for _ in range(30):
            suite.create(cases=[{"name": "a", "status": "PASSED"}], branch="main", create_date="2025-06-01T00:00:00Z")
        await sync(store, buddy, **first)
        async with store.sync(buddy, [KEY], **second) as harvest:
            _ = [pair async for pair in harvest]
        assert (harvest.stats.pages > 0) is is_compared

    async def test_page_is_compared_while_anything_is_in_doubt(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 130)
        fake.inject(Fault.stall(0), Fault.stall(0), Fault.status(500))
        with pytest.raises(HarvestError):
            await sync(store, buddy)
        assert len(await sync(store, buddy)) == 90
        assert await self.pages(store, buddy) == 0
        older = suite.snapshot()
        create_finished(suite, 1)
        await sync(store, buddy)
        for fault in (Fault.missing_row(3), Fault.stale(older)):
            fake.inject(fault)
            assert await self.pages(store, buddy) > 0
            assert await self.pages(store, buddy) > 0, "the next sync decides about what is missing"
            assert await self.pages(store, buddy) == 0
        assert marked_numbers(path, "missing_since") == []
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_page_is_compared_when_an_unfinished_session_is_due(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        suite.create()
        create_finished(suite, 60)
        await sync(store, buddy)
        assert await self.pages(store, buddy) == 0, "it was saved less than a minute ago"
        make_due(path)
        assert await self.pages(store, buddy) == 1
        assert await self.pages(store, buddy) == 0, "it was checked less than a minute ago"

    async def test_suite_that_was_not_found_is_compared(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 3)
        await sync(store, buddy)
        fake.inject(Fault.status(404))
        with pytest.raises(HarvestError):
            await sync(store, buddy)
        assert await self.pages(store, buddy) == 1
        assert query(path, "SELECT missing_since FROM suites") == [(None,)]

    @pytest.mark.parametrize("cases", [None, "failed"])
    async def test_list_out_of_order_is_compared(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, cases: CaseScope | None
    ) -> None:
        create_finished(suite, 10)
        await sync(store, buddy, cases=cases)
        for _ in range(2):
            fake.inject(Fault.swapped(5))
            async with store.sync(buddy, [KEY], cases=cases) as harvest:
                _ = [pair async for pair in harvest]
            assert not harvest.stats.verified

    async def test_suite_that_another_sync_did_not_find_is_compared(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        suite.create(cases=[{"name": "a", "status": "FAILED"}])

        async def fail_another_sync(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                fake.on_request = None
                fake.inject(Fault.status(404))
                async with SessionStore(path) as other:
                    with pytest.raises(HarvestError):
                        await sync(other, buddy)

        fake.on_request = fail_another_sync
        assert await sync(store, buddy, cases="failed") == [1]
        assert query(path, "SELECT missing_since IS NULL FROM suites") == [(0,)]
        await sync(store, buddy, cases="failed")
        assert query(path, "SELECT missing_since FROM suites") == [(None,)]

    async def test_cases_that_remain_are_read(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.create(cases=[{"name": "a", "status": "FAILED"}], tests_count=1, failed_count=2)
        await sync(store, buddy, cases="failed")
        for pages in (3, 0):  # the number of cases is wrong, so they are read twice
            assert await self.pages(store, buddy, cases="failed") == pages


class TestFullSync:
    async def test_everything_is_read_and_corrected(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        create_finished(suite, 130)
        await sync(store, buddy)
        execute(path, "UPDATE session_rows SET deleted_at = '2025-01-01T00:00:00Z' WHERE relative_id < 10")
        execute(path, "DELETE FROM session_rows WHERE relative_id = 40")
        execute(path, "UPDATE session_rows SET tests_count = 7 WHERE relative_id = 50")
        assert await sync(store, buddy) == []
        async with store.sync(buddy, [KEY], full=True) as harvest:
            assert [session.relative_id async for _, session in harvest] == [50, 40]
        assert harvest.stats.repaired == 10
        assert "found 1 sessions that were not saved, and 9 marked as missing or deleted" in caplog.text
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.covered(KEY) == [(1, 130)]
        fake.requests.clear()
        caplog.clear()
        assert await sync(store, buddy, full=True) == []
        assert len(list_requests(fake)) == 7
        assert caplog.text == ""

    async def test_session_deleted_at_a_page_border_is_found(
        self, store: SessionStore, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        """The page that closes the gap at the border begins at the first row of the list, too."""
        create_finished(suite, 12)
        async with BuddyClient(fake.token, base_url=fake.base_url, per_page=5) as client:
            await sync(store, client)
            suite.delete(suite.sessions[5]["id"])
            for column in ("missing_since", "deleted_at"):
                await sync(store, client, full=True)
                assert marked_numbers(path, column) == [7]

    async def test_branch_is_rejected(self, store: SessionStore, buddy: BuddyClient) -> None:
        with pytest.raises(ConfigError, match="leave out branch"):
            store.sync(buddy, [KEY], full=True, branch="main")


class TestSince:
    @pytest.fixture
    def dated_suite(self, suite: FakeSuite) -> FakeSuite:
        """One session a day: number 1 on 1 January, number 120 on 30 April."""
        for day in range(120):
            suite.create(status="SUCCESSFUL", create_date=f"{date(2025, 1, 1) + timedelta(day)}T12:00:00Z")
        return suite

    async def test_only_newer_sessions_are_saved(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, dated_suite: FakeSuite
    ) -> None:
        since = datetime(2025, 4, 1, tzinfo=UTC)
        assert await sync(store, buddy, since=since) == list(range(120, 90, -1))
        assert [session.relative_id for session in await store.sessions(KEY)] == list(range(120, 90, -1))
        assert await store.covered(KEY) == [(91, 120)]
        for later in (since, since + timedelta(5)):
            fake.requests.clear()
            assert await sync(store, buddy, since=later) == []
            assert len(list_requests(fake)) == 1
        assert await sync(store, buddy, since=since - timedelta(10)) == list(range(90, 80, -1))
        assert len(await sync(store, buddy)) == 80
        assert await store.covered(KEY) == [(1, 120)]

    async def test_suite_without_newer_sessions_costs_one_request(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, dated_suite: FakeSuite
    ) -> None:
        for _ in range(2):
            fake.requests.clear()
            assert await sync(store, buddy, since=datetime(2025, 6, 1, tzinfo=UTC)) == []
            assert len(list_requests(fake)) == 1
        dated_suite.create(status="SUCCESSFUL", create_date="2025-06-02T00:00:00Z")
        assert await sync(store, buddy, since=datetime(2025, 6, 1, tzinfo=UTC)) == [121]

    async def test_recreated_suite_is_read_from_the_beginning(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, dated_suite: FakeSuite
    ) -> None:
        since = datetime(2025, 4, 25, tzinfo=UTC)
        assert len(await sync(store, buddy, since=since)) == 6
        del fake.suites[KEY]
        fake.seed += 1  # other ids
        created = create_finished(fake.add_suite(*KEY), 70)
        assert await sync(store, buddy, since=since) == list(range(70, 0, -1))
        assert await store.covered(KEY) == [(1, 70)]
        assert len(created.sessions) == 70

    @pytest.mark.parametrize("count", [50, 119, 120, 121, 150, 200])
    async def test_recreated_suite_is_noticed_if_no_session_was_saved(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, dated_suite: FakeSuite, count: int
    ) -> None:
        """All 120 sessions of the old list were too old, so that it is known to contain none."""
        since = datetime(2025, 6, 1, tzinfo=UTC)
        assert await sync(store, buddy, since=since) == []
        del fake.suites[KEY]
        fake.seed += 1  # other ids
        create_finished(fake.add_suite(*KEY), count)
        assert await sync(store, buddy, since=since) == list(range(count, 0, -1))
        assert await store.covered(KEY) == [(1, count)]
        assert await sync(store, buddy, since=since) == []

    async def test_branch_is_limited_too(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, dated_suite: FakeSuite
    ) -> None:
        suite.create(branch="main", create_date="2025-06-02T00:00:00Z")
        assert await sync(store, buddy, branch="main", since=datetime(2025, 6, 1, tzinfo=UTC)) == [121]

    async def test_naive_time_is_rejected(self, store: SessionStore, buddy: BuddyClient) -> None:
        with pytest.raises(ConfigError, match="time zone"):
            store.sync(buddy, [KEY], since=datetime(2025, 6, 1))  # noqa: DTZ001 - the invalid value


class TestBranch:
    async def test_sync_of_a_branch_proves_nothing_about_the_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        for number in range(90):
            suite.create(branch="main" if number % 3 else "feature", status="SUCCESSFUL")
        assert await sync(store, buddy, branch="feature") == list(range(88, 0, -3))
        assert await store.covered(KEY) == []
        assert await sync(store, buddy, branch="feature") == []
        assert {request.query.get("branch") for request in list_requests(fake)} == {"feature"}
        assert len(await sync(store, buddy)) == 60
        assert await store.sessions(KEY) == sessions_of(suite)
        suite.delete(suite.sessions[2]["id"])
        assert await sync(store, buddy, branch="feature") == []
        assert marked_numbers(path) == []
        assert await store.covered(KEY) == [(1, 90)]

    async def test_deleted_sessions_known_only_from_the_branch_are_marked(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        for _ in range(3):
            suite.create(branch="feature", status="SUCCESSFUL")
        await sync(store, buddy, branch="feature")
        for session in suite.sessions[:2]:
            suite.delete(session["id"])
        for column in ("missing_since", "deleted_at"):
            assert await sync(store, buddy) == []
            assert marked_numbers(path, column) == [2, 3]
        create_finished(suite, 1)
        assert await sync(store, buddy) == [4]
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_gaps_and_unfinished_sessions_cost_nothing(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.create(branch="feature")
        create_finished(suite, 60)
        suite.create(branch="feature")
        await sync(store, buddy)
        create_finished(suite, 60)
        await sync(store, buddy, after={KEY: 100})
        assert len(await store.covered(KEY)) == 2
        fake.requests.clear()
        assert await sync(store, buddy, branch="feature") == []
        assert len(list_requests(fake)) == 1


class TestListOutOfOrder:
    @pytest.mark.parametrize("branch", ["main", None], ids=["branch", "list-out-of-order"])
    async def test_next_sync_reads_the_suite_again(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        path: Path,
        branch: str | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """After a contradiction, if this sync proves nothing about the suite."""
        for _ in range(60):
            suite.create(branch="main", status="SUCCESSFUL")
        await sync(store, buddy)
        execute(path, "UPDATE session_rows SET deleted_at = '2025-01-01T00:00:00Z' WHERE relative_id IN (50, 10)")
        execute(path, "UPDATE suites SET digest = NULL")
        if branch is None:
            fake.inject(Fault.swapped(2))
        assert await sync(store, buddy, branch=branch, after=40) == []
        assert "the next sync of the whole suite reads it again" in caplog.text
        assert (marked_numbers(path), await store.covered(KEY)) == ([10], [])
        assert await sync(store, buddy) == []
        assert (marked_numbers(path), await store.covered(KEY)) == ([], [(1, 60)])

    async def test_everything_is_saved_and_nothing_is_covered(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in (3, 1, 2, *range(4, 50)):
            suite.create(relative_id=number, status="SUCCESSFUL")
        suite.create(relative_id=7)
        assert len(await sync(store, buddy)) == 50
        assert await store.covered(KEY) == []
        assert {session.id for session in await store.sessions(KEY)} == {session["id"] for session in suite.sessions}
        assert await sync(store, buddy) == []
        assert "not listed newest first" in caplog.text

    async def test_claims_are_withdrawn_if_the_read_also_fails(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 60)
        fake.inject(Fault.stall(0), Fault.swapped(25), Fault.status(500))
        with pytest.raises(HarvestError):
            await sync(store, buddy)
        assert await store.covered(KEY) == []

    async def test_unfinished_sessions_cost_nothing(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for number in (2, 1, 3):
            suite.create(relative_id=number)
        assert sorted(await sync(store, buddy)) == [1, 2, 3]
        assert len(list_requests(fake)) == 1


class TestInterruption:
    @pytest.mark.parametrize("page_count", range(1, 8))
    async def test_next_sync_reads_only_the_gap(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, page_count: int
    ) -> None:
        create_finished(suite, 130)
        seen = 0
        async with store.sync(buddy, [KEY], concurrency=1) as harvest:
            async for _ in harvest.pages():
                seen += 1
                if seen == page_count:
                    break
        create_finished(suite, 3)
        ((low, high),) = await store.covered(KEY)
        assert (high, low <= 131 - 20 * min(page_count, 6)) == (130, True)
        known = {session.relative_id for session in await store.sessions(KEY)}
        assert known == set(range(low, high + 1))
        fake.requests.clear()
        assert await sync(store, buddy) == [133, 132, 131, *range(low - 1, 0, -1)]
        assert len(list_requests(fake)) <= 1 + -(-(low - 1) // 19)
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.covered(KEY) == [(1, 133)]

    async def test_gaps_of_several_syncs_are_read(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for _ in range(3):
            create_finished(suite, 100)
            async with store.sync(buddy, [KEY], concurrency=1) as harvest:
                await anext(harvest)
        covered = await store.covered(KEY)
        assert len(covered) == 3
        missing = 300 - sum(high - low + 1 for low, high in covered)
        fake.requests.clear()
        assert len(await sync(store, buddy)) == missing
        assert len(list_requests(fake)) <= 1 + missing // 20 + 2 * 3
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.covered(KEY) == [(1, 300)]

    async def test_failed_suite_keeps_the_pages_read_before(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 100)
        fake.inject(Fault.stall(0), Fault.status(500))
        async with store.sync(buddy, [KEY], on_failure="collect") as harvest:
            assert len([session async for _, session in harvest]) == 20
        assert isinstance(harvest.failures[KEY], ServerError)
        assert (harvest.stats.sessions, harvest.stats.requests) == (20, 2)
        assert await store.covered(KEY) == [(81, 100)]

    async def test_error_of_the_server_is_logged_if_the_file_fails_too(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        create_finished(suite, 3)
        await sync(store, buddy)
        fake.inject(Fault.status(404))
        execute(path, "CREATE TRIGGER t BEFORE UPDATE ON suites BEGIN SELECT RAISE(ABORT, 'refused'); END")
        with pytest.raises(HarvestError) as caught:
            await sync(store, buddy)
        assert "refused" in str(caught.value.failures[KEY])
        assert "HTTP 404" in caplog.text

    async def test_invalid_name_fails_that_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 3)
        invalid = SuiteKey("acme", "..", "x")
        async with store.sync(buddy, [invalid, KEY], on_failure="collect") as harvest:
            assert len([session async for _, session in harvest]) == 3
        assert isinstance(harvest.failures[invalid], ConfigError)
        assert len(list_requests(fake)) == 1


async def test_pages_are_requested_in_advance_once_no_suite_is_waiting(fake: FakeBuddy, path: Path) -> None:
    giant = fake.add_suite("acme", "shop", "giant").populate(24 * 20)
    small = [fake.add_suite("acme", "shop", f"s{number}").populate(2) for number in range(40)]
    overlaps = overlapping_requests(fake, latency=0.1)
    async with (
        BuddyClient(fake.token, base_url=fake.base_url, per_page=20) as client,
        SessionStore(path) as store,
        store.sync(client, [giant.key, *(suite.key for suite in small)]) as changes,
    ):
        assert len([pair async for pair in changes]) == 24 * 20 + 40 * 2
    assert len(list_requests(fake)) == 24 + 40
    assert overlaps
    assert overlaps[0] > 40 - 8  # the others were started, and wait for the database
