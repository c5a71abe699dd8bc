"""Syncs of suites into a store: real files and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, ConfigError, HarvestError, ServerError, SessionStore, SuiteKey, SuiteRef
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.stores import KEY, OTHER_KEY, create_finished, deleted_numbers, query, sessions_of, sync


class TestFirstSync:
    async def test_first_sync_reads_the_whole_suite(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(130)
        assert await sync(store, buddy) == list(range(130, 0, -1))
        assert await store.sessions(KEY) == sessions_of(suite)
        assert await store.suites() == [KEY]
        assert await store.covered(KEY) == [(1, 130)]

    async def test_empty_suite_costs_one_request_each_time(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for _ in range(2):
            assert await sync(store, buddy) == []
        assert len(fake.requests) == 2
        assert (await store.sessions(KEY), await store.covered(KEY), await store.suites()) == ([], [], [])

    async def test_suite_can_be_referenced_in_every_way(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create_finished(suite, 3)
        url = "https://app.buddy.works/acme/shop/unit-tests/MNbyVedg"
        references: list[SuiteRef] = [KEY, ("acme", "shop", "MNbyVedg"), "acme/shop/MNbyVedg", url]
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
        assert len(fake.requests) == 2

    @pytest.mark.parametrize("count", [1, 19, 20, 55])
    async def test_only_new_sessions_are_read(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, count: int
    ) -> None:
        create_finished(suite, 100)
        await sync(store, buddy)
        create_finished(suite, count)
        fake.requests.clear()
        assert await sync(store, buddy) == list(range(100 + count, 100, -1))
        assert len(fake.requests) == -(-count // 20)
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
        assert len(fake.requests) == 1
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
    async def test_unfinished_session_is_read_until_it_finishes(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 400)
        unfinished = suite.sessions[250]["id"]
        suite.reopen(unfinished)
        await sync(store, buddy)
        create_finished(suite, 10)
        for expected in ([*range(410, 400, -1)], []):
            fake.requests.clear()
            assert await sync(store, buddy) == expected
            assert len(fake.requests) == 2
        suite.finish(unfinished)
        assert await sync(store, buddy) == [150]
        fake.requests.clear()
        assert await sync(store, buddy) == []
        assert len(fake.requests) == 1
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_unfinished_sessions_near_each_other_share_a_request(
        self, store: SessionStore, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 1000)
        for index in (*range(300, 380, 10), 700, 702):
            suite.reopen(suite.sessions[index]["id"])
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            await sync(store, buddy)
            fake.requests.clear()
            assert await sync(store, buddy) == []
        assert len(fake.requests) == 3

    async def test_unnoticed_deletions_cost_one_search(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """They shift the offsets of all sessions below; the search is not repeated for each unfinished session."""
        create_finished(suite, 1000)
        for index in range(200, 1000, 100):
            suite.reopen(suite.sessions[index]["id"])
        await sync(store, buddy)
        for _ in range(40):
            suite.delete(suite.sessions[60]["id"])
        fake.requests.clear()
        assert await sync(store, buddy) == []
        assert len(fake.requests) <= 1 + 8 + 5

    async def test_deleted_unfinished_session_is_marked(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 200)
        unfinished = suite.sessions[150]["id"]
        suite.reopen(unfinished)
        await sync(store, buddy)
        suite.delete(unfinished)
        assert await sync(store, buddy) == []
        assert deleted_numbers(path) == [50]
        assert await store.sessions(KEY) == sessions_of(suite)

    async def test_unknown_status_is_unfinished_without_a_finish_date(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        paused = suite.create(status="PAUSED")
        suite.create(status="LOST", finish_date="2025-10-21T08:00:00Z")
        create_finished(suite, 60)
        await sync(store, buddy)
        fake.requests.clear()
        assert await sync(store, buddy) == []
        assert len(fake.requests) == 2
        suite.finish(paused["id"])
        assert await sync(store, buddy) == [1]

    async def test_newest_known_session_is_read_again_below_a_full_page(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create_finished(suite, 30)
        unfinished = suite.create()["id"]
        await sync(store, buddy)
        suite.finish(unfinished)
        create_finished(suite, 20)
        assert await sync(store, buddy) == [*range(51, 31, -1), 31]


class TestPagesAndStats:
    async def test_only_the_last_page_of_all_reads_is_last(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create_finished(suite, 100)
        suite.reopen(suite.sessions[80]["id"])
        async with store.sync(buddy, [KEY]) as harvest:
            pages = [page async for page in harvest.pages()]
        assert [(len(page.sessions), page.is_last) for page in pages] == [(20, False)] * 4 + [(20, True)]
        suite.finish(suite.sessions[80]["id"])
        create_finished(suite, 1)
        async with store.sync(buddy, [KEY]) as harvest:
            pages = [page async for page in harvest.pages()]
        numbers = [([session.relative_id for session in page.sessions], page.is_last) for page in pages]
        assert numbers == [([101], False), ([20], True)]

    async def test_last_page_is_yielded_without_new_sessions(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create()
        create_finished(suite, 60)
        await sync(store, buddy)
        async with store.sync(buddy, [KEY]) as harvest:
            assert [(page.sessions, page.is_last) async for page in harvest.pages()] == [((), True)]

    async def test_stats_add_up_over_all_reads(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
        create_finished(suite, 100)
        suite.reopen(suite.sessions[80]["id"])
        await sync(store, buddy)
        suite.finish(suite.sessions[80]["id"])
        async with store.sync(buddy, [KEY]) as harvest:
            assert [session.relative_id async for _, session in harvest] == [20]
        stats = harvest.stats
        assert (stats.suites, stats.sessions, stats.pages, stats.requests) == (1, 1, 2, 2)
        assert stats.verified


class TestAfter:
    async def test_sessions_below_remain_for_a_later_sync(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 50)
        suite.create(status="IN_PROGRESS")
        create_finished(suite, 9)
        assert await sync(store, buddy, after={KEY: 55}) == [60, 59, 58, 57, 56]
        assert len(fake.requests) == 1
        assert (await store.covered(KEY))[-1][1] == 60
        create_finished(suite, 2)
        assert await sync(store, buddy, after={KEY: 55, OTHER_KEY: 3}) == [62, 61]
        assert len(fake.requests) == 2
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
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        unfinished = suite.create(status="IN_PROGRESS")
        create_finished(suite, 50)
        await sync(store, buddy)
        suite.finish(unfinished["id"], status="ERROR")
        fake.requests.clear()
        assert await sync(store, buddy, after={KEY: 1}) == []
        assert len(fake.requests) == 1
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


class TestDeletions:
    async def test_sessions_missing_on_a_page_are_marked(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 50)
        await sync(store, buddy)
        for index in (30, 5, 0):  # numbers 20, 45 and 50; the next sync does not read the page of number 20
            suite.delete(suite.sessions[index]["id"])
        assert await sync(store, buddy) == []
        assert deleted_numbers(path) == [45, 50]
        ((deleted_at,),) = query(path, "SELECT DISTINCT deleted_at FROM sessions WHERE deleted_at IS NOT NULL")
        assert deleted_at.endswith("Z")
        assert abs((datetime.fromisoformat(deleted_at) - datetime.now(UTC)).total_seconds()) < 60
        remaining = [session.relative_id for session in await store.sessions(KEY)]
        assert remaining == [number for number in range(49, 0, -1) if number != 45]

    async def test_session_that_reappears_is_yielded(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 10)
        await sync(store, buddy)
        deleted = suite.sessions[0]
        suite.delete(deleted["id"])
        await sync(store, buddy)
        assert deleted_numbers(path) == [10]
        suite.create(**deleted)
        assert await sync(store, buddy) == [10]
        assert deleted_numbers(path) == []
        assert await store.sessions(KEY) == sessions_of(suite)

    @pytest.mark.parametrize("count", [1, 30])
    async def test_emptied_suite_is_empty(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path, count: int
    ) -> None:
        create_finished(suite, count)
        await sync(store, buddy)
        for session in suite.sessions:
            suite.delete(session["id"])
        assert await sync(store, buddy) == []
        assert await store.sessions(KEY) == []
        assert len(deleted_numbers(path)) == count
        assert await store.suites() == [KEY]

    async def test_end_of_the_list_marks_everything_below(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create_finished(suite, 40)
        await sync(store, buddy)
        for session in suite.sessions[10:]:
            suite.delete(session["id"])
        assert await sync(store, buddy) == []
        assert deleted_numbers(path) == list(range(1, 31))

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
        assert deleted_numbers(path) == []
        assert await store.sessions(KEY) == sessions_of(suite)


class TestBranch:
    async def test_sync_of_a_branch_proves_nothing_about_the_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        for number in range(90):
            suite.create(branch="main" if number % 3 else "feature", status="SUCCESSFUL")
        assert await sync(store, buddy, branch="feature") == list(range(88, 0, -3))
        assert await store.covered(KEY) == []
        assert await sync(store, buddy, branch="feature") == []
        assert {request.query.get("branch") for request in fake.requests} == {"feature"}
        assert len(await sync(store, buddy)) == 60
        assert await store.sessions(KEY) == sessions_of(suite)
        suite.delete(suite.sessions[2]["id"])
        assert await sync(store, buddy, branch="feature") == []
        assert deleted_numbers(path) == []
        assert await store.covered(KEY) == [(1, 90)]

    async def test_deleted_sessions_known_only_from_the_branch_are_marked_by_a_full_sync(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        for _ in range(3):
            suite.create(branch="feature", status="SUCCESSFUL")
        await sync(store, buddy, branch="feature")
        for session in suite.sessions[:2]:
            suite.delete(session["id"])
        assert await sync(store, buddy) == []
        assert deleted_numbers(path) == [2, 3]
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
        assert len(fake.requests) == 1


class TestListOutOfOrder:
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

    async def test_unfinished_sessions_cost_nothing(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for number in (2, 1, 3):
            suite.create(relative_id=number)
        assert sorted(await sync(store, buddy)) == [1, 2, 3]
        assert len(fake.requests) == 1


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
        assert len(fake.requests) <= 1 + -(-(low - 1) // 19)
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
        assert len(fake.requests) <= 1 + missing // 20 + 2 * 3
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

    async def test_invalid_name_fails_that_suite(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create_finished(suite, 3)
        invalid = SuiteKey("acme", "..", "x")
        async with store.sync(buddy, [invalid, KEY], on_failure="collect") as harvest:
            assert len([session async for _, session in harvest]) == 3
        assert isinstance(harvest.failures[invalid], ConfigError)
        assert len(fake.requests) == 1
