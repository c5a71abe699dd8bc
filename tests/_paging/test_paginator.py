from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions import (
    BadRequestError,
    BuddyClient,
    BuddyError,
    Cursor,
    ServerError,
    Session,
    SessionPage,
    SessionPaginator,
    SuiteKey,
    UnstableListingError,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.effort import repeats

KEY = SuiteKey("acme", "shop", "MNbyVedg")


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY)


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1) as client:
        yield client


def numbers(sessions: list[Session]) -> list[int]:
    return [session.relative_id for session in sessions]


@pytest.fixture
async def settle(fake: FakeBuddy, buddy: BuddyClient) -> Callable[[], Awaitable[None]]:
    """Wait until no request is in flight; then close the client, and wait until every task of the read has ended."""

    async def wait() -> None:
        async with asyncio.timeout(5):
            while fake.in_flight:
                await asyncio.sleep(0.001)
            await buddy.close()
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0.001)

    return wait


class TestSessions:
    async def test_sessions_arrive_newest_first(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(250)
        paginator = buddy.sessions(KEY)
        seen = [session async for session in paginator]
        assert [session.id for session in seen] == [session["id"] for session in suite.sessions]
        assert numbers(seen) == list(range(250, 0, -1))
        assert (paginator.stats.sessions, paginator.stats.pages, paginator.stats.requests) == (250, 3, 3)
        assert paginator.stats.verified

    @pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 99, 100, 101, 200])
    @pytest.mark.parametrize("per_page", [1, 7, 20, 100])
    async def test_any_number_of_sessions_is_complete(
        self, buddy: BuddyClient, suite: FakeSuite, count: int, per_page: int
    ) -> None:
        suite.populate(count)
        assert numbers(await buddy.sessions(KEY, per_page=per_page).collect()) == list(range(count, 0, -1))

    @pytest.mark.parametrize("read_ahead", [1, 4, 16])
    async def test_fifty_pages_cost_fifty_requests(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, read_ahead: int
    ) -> None:
        suite.populate(1000)
        paginator = buddy.sessions(KEY, per_page=20, read_ahead=read_ahead)
        assert len(await paginator.collect()) == 1000
        assert len(fake.requests) == paginator.stats.requests == paginator.stats.pages == 50
        assert (paginator.stats.duplicates, paginator.stats.rereads) == (0, 0)

    async def test_branch_is_sent_to_the_server(self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite) -> None:
        for number in range(90):
            suite.create(branch="main" if number % 3 else "feature/a b&c")
        sessions = await buddy.sessions(KEY, branch="feature/a b&c", per_page=20).collect()
        assert numbers(sessions) == list(range(88, 0, -3))
        assert {request.query["branch"] for request in fake.requests} == {"feature/a b&c"}

    async def test_pages_contain_new_sessions_and_what_they_cover(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(50)
        pages = [page async for page in buddy.sessions(KEY, per_page=20).pages()]
        assert [(page.number, len(page.sessions), page.proven_range, page.is_last) for page in pages] == [
            (1, 20, (31, 50), False),
            (2, 20, (11, 30), False),
            (3, 10, (1, 10), True),
        ]
        assert {page.suite for page in pages} == {KEY}
        assert pages[0].url == suite.url + "/sessions"
        assert pages[0].html_url == suite.html_url

    async def test_empty_suite_is_one_empty_page(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        await buddy.sessions(KEY).collect()  # the first end is checked
        paginator = buddy.sessions(KEY)
        (page,) = [page async for page in paginator.pages()]
        assert page == SessionPage(
            suite=KEY, number=1, sessions=(), url=suite.url + "/sessions", html_url=suite.html_url, is_last=True
        )
        assert (paginator.stats.pages, paginator.stats.rereads) == (1, 0)

    async def test_checked_end_is_one_more_page(self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite) -> None:
        for number in range(11, 26):
            suite.create(relative_id=number)
        for requests, expected in (
            (3, [((11, 25), False), ((1, 10), True)]),  # the first end that this client sees
            (1, [((11, 25), True)]),
        ):
            fake.requests.clear()
            paginator = buddy.sessions(KEY)
            pages = [page async for page in paginator.pages()]
            assert [(page.proven_range, page.is_last) for page in pages] == expected
            assert sum(len(page.sessions) for page in pages) == 15
            assert len(fake.requests) == paginator.stats.requests == requests
            assert paginator.stats.verified

    async def test_both_requests_of_a_check_are_sent_together(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for number in range(11, 21):
            suite.create(relative_id=number)
        fake.latency = 0.01
        await buddy.sessions(KEY, read_ahead=1).collect()
        assert [(request.page, request.per_page) for request in fake.requests] == [(1, 100), (1, 20), (2, 100)]
        assert fake.max_in_flight == 2

    @pytest.mark.parametrize("count", [99, 100, 101, 199, 200, 250])
    @pytest.mark.parametrize("read_ahead", [1, 4])
    async def test_list_truncated_by_retention_costs_as_many_requests_as_the_usual_loop(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, count: int, read_ahead: int
    ) -> None:
        full = fake.add_suite("acme", "shop", "full").populate(100)
        await buddy.sessions(full.key).collect()  # the client learns that the server honours 100
        for number in range(5001, 5001 + count):
            suite.create(relative_id=number)
        await buddy.sessions(KEY).collect()
        fake.requests.clear()
        paginator = buddy.sessions(KEY, read_ahead=read_ahead)
        assert len(await paginator.collect()) == count
        assert len(fake.requests) == count // 100 + 1

    async def test_each_loop_is_a_new_read(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(3)
        paginator = buddy.sessions(KEY)
        assert numbers(await paginator.collect()) == [3, 2, 1]
        suite.create()
        assert numbers(await paginator.collect()) == [4, 3, 2, 1]
        assert paginator.stats.requests == 1


class TestLimits:
    @pytest.mark.parametrize(("max_sessions", "requests"), [(0, 0), (1, 1), (20, 1), (21, 2), (60, 3), (1000, 5)])
    async def test_max_sessions_requests_no_more_than_needed(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, max_sessions: int, requests: int
    ) -> None:
        suite.populate(100)
        paginator = buddy.sessions(KEY, max_sessions=max_sessions, per_page=20, read_ahead=16)
        assert numbers(await paginator.collect()) == list(range(100, 0, -1))[:max_sessions]
        assert len(fake.requests) == requests

    async def test_page_cut_by_max_sessions_covers_what_it_contains(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(30)
        pages = [page async for page in buddy.sessions(KEY, max_sessions=25, per_page=20).pages()]
        assert [(page.proven_range, page.is_last) for page in pages] == [((11, 30), False), ((6, 10), False)]

    @pytest.mark.parametrize(("after", "requests"), [(100, 1), (99, 1), (80, 1), (79, 2), (0, 5)])
    async def test_after_stops_once_all_newer_sessions_are_verified(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, after: int, requests: int
    ) -> None:
        suite.populate(100)
        paginator = buddy.sessions(KEY, after=after, per_page=20, read_ahead=16)
        pages = [page async for page in paginator.pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == list(range(100, after, -1))
        assert len(fake.requests) == requests
        assert pages[-1].is_last
        assert [page.proven_range for page in pages if page.proven_range] == [
            (max(high - 19, after + 1), high) for high in range(100, after, -20)
        ]

    async def test_since_stops_at_the_first_page_that_is_entirely_older(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        for minute in range(100):
            suite.create(create_date=(start + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ"))
        paginator = buddy.sessions(KEY, since=start + timedelta(minutes=75), per_page=20, read_ahead=1)
        pages = [page async for page in paginator.pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == list(range(100, 75, -1))
        assert [page.proven_range for page in pages] == [(81, 100), (76, 80), None]
        assert pages[-1].is_last
        assert len(fake.requests) == 3
        assert paginator.stats.verified

    async def test_session_without_a_date_counts_as_new(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        for minute in range(5):
            suite.create(create_date=None if minute == 1 else f"2026-01-01T00:0{minute}:00Z")
        pages = [page async for page in buddy.sessions(KEY, since=datetime(2026, 1, 1, 0, 3, tzinfo=UTC)).pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == [5, 4, 2]
        assert [page.proven_range for page in pages] == [(4, 5)]  # 3 was left out, so nothing below it is covered


class TestPageSizes:
    @pytest.mark.parametrize("cap", [20, 30, 50])
    @pytest.mark.parametrize("count", [19, 20, 30, 100, 251])
    async def test_capped_pages_lose_nothing(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, cap: int, count: int
    ) -> None:
        fake.largest_page = cap
        suite.populate(count)
        assert numbers(await buddy.sessions(KEY, per_page=100).collect()) == list(range(count, 0, -1))

    @pytest.mark.parametrize("limit", [20, 50])
    async def test_refused_page_size_is_requested_once(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, limit: int
    ) -> None:
        fake.refuse_above = limit
        suite.populate(100)
        for _ in range(2):
            assert numbers(await buddy.sessions(KEY, per_page=100).collect()) == list(range(100, 0, -1))
        assert [request.per_page for request in fake.requests] == [100] + [20] * 10

    async def test_other_bad_request_is_raised(self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite) -> None:
        fake.inject(Fault.status(400), times=2)
        with pytest.raises(BadRequestError):
            await buddy.sessions(KEY).collect()
        assert [request.per_page for request in fake.requests] == [100, 20]
        await buddy.sessions(KEY).collect()
        assert fake.requests[-1].per_page == 100

    @pytest.mark.slow
    async def test_learning_the_cap_costs_few_requests_over_a_thousand_suites(
        self, buddy: BuddyClient, fake: FakeBuddy
    ) -> None:
        sizes = random.Random(7)
        suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(1000)]
        for one in suites:
            for _ in range(sizes.randrange(90)):
                one.create()
            for session in one.sessions[-2:]:  # as after retention: no list ends at number 1
                one.delete(session["id"])
        for one in suites:
            assert len(await buddy.sessions(one.key).collect()) == len(one.sessions)
        # One more for each page that is at least as long as all pages before it, and two for each of 20 checks.
        assert len(fake.requests) <= 1060


class TestMovingList:
    @pytest.mark.parametrize("seed", range(repeats(quick=30, thorough=300)))
    async def test_remaining_sessions_are_yielded_exactly_once(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, seed: int
    ) -> None:
        chance = random.Random(seed)
        for _ in range(chance.randrange(400)):
            suite.create(branch=chance.choice(["main", "main", "develop"]))
        for session in suite.sessions:
            if chance.random() < chance.choice([0, 0.2]):
                suite.delete(session["id"])
        fake.largest_page = chance.choice([None, None, 20, 30])
        branch = chance.choice([None, None, "main"])
        stable = {session["id"] for session in suite.sessions if branch in (None, session["ref_name"])}

        def churn(_: object) -> None:
            for _ in range(chance.choice([0, 0, 1, 1, 5])):
                suite.create(branch="main")
            alive = suite.sessions
            for session in chance.sample(alive, min(len(alive), chance.choice([0, 0, 1, 4]))):
                suite.delete(session["id"])
                stable.discard(session["id"])

        fake.on_request = churn
        paginator = buddy.sessions(
            KEY,
            branch=branch,
            per_page=chance.choice([10, 20, 50, 100]),
            read_ahead=chance.choice([1, 4, 16]),
        )
        seen = await paginator.collect()
        assert numbers(seen) == sorted(set(numbers(seen)), reverse=True)
        assert stable <= {session.id for session in seen}
        assert paginator.stats.verified

    async def test_same_page_for_ever_raises(self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite) -> None:
        suite.populate(40)

        def rewind(request: Any) -> None:
            request.query["page"] = "1"

        fake.on_request = rewind
        paginator = buddy.sessions(KEY, per_page=20)
        with pytest.raises(UnstableListingError) as caught:
            await paginator.collect()
        assert caught.value.cursor == Cursor(21, 20)
        assert len(fake.requests) < 120
        assert paginator.stats.rereads > 50


class TestStats:
    @pytest.fixture
    def paginator(self, buddy: BuddyClient, suite: FakeSuite) -> SessionPaginator:
        suite.populate(60)
        return buddy.sessions(KEY, per_page=20, read_ahead=1)

    @staticmethod
    def grow(fake: FakeBuddy, suite: FakeSuite, count: int) -> None:
        """Create sessions before the second request."""

        def on_request(request: Any) -> None:
            if len(fake.requests) == 2:
                for _ in range(count):
                    suite.create()

        fake.on_request = on_request

    async def test_duplicates_are_counted(self, fake: FakeBuddy, suite: FakeSuite, paginator: SessionPaginator) -> None:
        self.grow(fake, suite, 5)
        assert len(await paginator.collect()) == 60
        stats = paginator.stats
        assert (stats.sessions, stats.duplicates, stats.rereads) == (60, 5, 0)

    async def test_page_without_new_sessions_is_counted_but_not_yielded(
        self, fake: FakeBuddy, suite: FakeSuite, paginator: SessionPaginator
    ) -> None:
        self.grow(fake, suite, 20)
        counts = [len(page.sessions) async for page in paginator.pages()]
        assert (sum(counts), min(counts) > 0) == (60, True)
        assert (paginator.stats.pages, paginator.stats.rereads) == (len(counts) + 1, 1)


class TestUnorderedList:
    @pytest.mark.parametrize("cap", [None, 30])
    async def test_unordered_list_is_read_and_reported_as_unverified(
        self,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        cap: int | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        fake.largest_page = cap
        order = list(range(1, 101))
        random.Random(3).shuffle(order)
        for number in order:
            suite.create(relative_id=number)
        paginator = buddy.sessions(KEY, per_page=50)
        pages = [page async for page in paginator.pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == order[::-1]
        assert not paginator.stats.verified
        assert {page.proven_range for page in pages} == {None}
        assert pages[-1].is_last
        assert paginator.cursor is None
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    @pytest.mark.parametrize("cap", [None, 30])
    async def test_disorder_farther_down_repeats_nothing(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, cap: int | None
    ) -> None:
        fake.largest_page = cap
        for number in (1, 3, 2, 4, *range(5, 105)):
            suite.create(relative_id=number)
        paginator = buddy.sessions(KEY, per_page=50)
        assert numbers(await paginator.collect()) == [*range(104, 4, -1), 4, 2, 3, 1]
        assert not paginator.stats.verified
        assert paginator.cursor is not None
        assert paginator.cursor.lowest_id >= 5

    async def test_disorder_at_a_page_border_is_reported(
        self, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        order = [*range(100, 61, -1), 60, 61, *range(59, 0, -1)]  # page 1 ends with 60
        for number in reversed(order):
            suite.create(relative_id=number)
        paginator = buddy.sessions(KEY, per_page=40)
        seen: list[int] = []
        cursor = None
        async for session in paginator:
            seen.append(session.relative_id)
            if session.relative_id == 60:
                cursor = paginator.cursor
        assert seen == order
        assert not paginator.stats.verified
        assert paginator.cursor == cursor == Cursor(60, 40)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    async def test_unordered_page_for_ever_raises(self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite) -> None:
        for number in (1, 3, 2, *range(4, 30)):
            suite.create(relative_id=number)
        fake.on_request = lambda request: request.query.update(page="1")  # type: ignore[attr-defined]  # a dict
        with pytest.raises(UnstableListingError):
            await buddy.sessions(KEY, per_page=28).collect()


class TestCursor:
    async def test_cursor_is_valid_after_every_session(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(45)
        paginator = buddy.sessions(KEY, per_page=20)
        assert paginator.cursor is None
        cursors: list[Cursor | None] = []
        async for session in paginator:
            cursors.append(paginator.cursor)
            assert paginator.stats.sessions == len(cursors)
            assert paginator.cursor == Cursor(session.relative_id, 46 - session.relative_id)
        for cursor in (cursors[0], cursors[19], cursors[20], cursors[44]):
            assert cursor is not None
            rest = await buddy.sessions(KEY, per_page=20, cursor=Cursor.parse(str(cursor))).collect()
            assert numbers(rest) == list(range(cursor.lowest_id - 1, 0, -1))

    async def test_cursor_of_a_resumed_read_is_its_start_at_first(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(10)
        paginator = buddy.sessions(KEY, cursor=Cursor(5, 6))
        assert paginator.cursor == Cursor(5, 6)
        assert "5@6" in repr(paginator)

    async def test_cursor_is_valid_after_every_page(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(45)
        paginator = buddy.sessions(KEY, per_page=20)
        async for _ in paginator.pages():
            assert paginator.cursor is not None
            assert paginator.stats.sessions == paginator.cursor.offset

    @pytest.mark.parametrize("read_ahead", [1, 4])
    async def test_error_carries_the_cursor_to_resume_from(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, read_ahead: int
    ) -> None:
        suite.populate(100)
        sessions = aiter(buddy.sessions(KEY, per_page=20, read_ahead=read_ahead))
        seen = [(await anext(sessions)).relative_id for _ in range(20)]
        fake.inject(Fault.status(503))
        with pytest.raises(ServerError) as caught:
            await anext(sessions)
        assert caught.value.cursor == Cursor(81, 20)
        seen += numbers(await buddy.sessions(KEY, per_page=20, cursor=caught.value.cursor).collect())
        assert seen == list(range(100, 0, -1))

    async def test_error_on_the_first_page_has_no_cursor(self, buddy: BuddyClient) -> None:
        with pytest.raises(BuddyError) as caught:
            await buddy.sessions(KEY).collect()
        assert caught.value.cursor is None


async def leave_by_break(paginator: SessionPaginator) -> None:
    async for session in paginator:
        if session.relative_id == 850:
            break


async def leave_by_exception(paginator: SessionPaginator) -> None:
    async def loop() -> None:
        async for session in paginator:
            if session.relative_id == 850:
                raise LookupError

    with pytest.raises(LookupError):
        await loop()


async def leave_by_closing(paginator: SessionPaginator) -> None:
    async with aclosing(aiter(paginator)) as sessions:
        async for session in sessions:
            if session.relative_id == 850:
                break


async def leave_by_dropping(paginator: SessionPaginator) -> None:
    sessions = aiter(paginator)
    for _ in range(150):
        await anext(sessions)
    del sessions
    gc.collect()


async def leave_by_cancelling(paginator: SessionPaginator) -> None:
    task = asyncio.create_task(paginator.collect())
    await asyncio.sleep(0.1)  # until every page requested in advance hangs
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_after_a_failure_ahead(paginator: SessionPaginator) -> None:
    async for session in paginator:
        if session.relative_id == 850:
            await asyncio.sleep(0.05)  # the pages requested in advance fail meanwhile
            break


async def test_second_task_that_iterates_gets_an_error(buddy: BuddyClient, suite: FakeSuite) -> None:
    suite.populate(5)
    sessions = aiter(buddy.sessions(KEY))
    results = await asyncio.gather(anext(sessions), anext(sessions), return_exceptions=True)
    assert [type(result) for result in results] == [Session, RuntimeError]
    assert [session.relative_id async for session in sessions] == [4, 3, 2, 1]


async def test_second_task_that_iterates_over_pages_gets_an_error(buddy: BuddyClient, suite: FakeSuite) -> None:
    suite.populate(50)
    pages = buddy.sessions(KEY, per_page=20).pages()
    results = await asyncio.gather(anext(pages), anext(pages), return_exceptions=True)
    assert [type(result) for result in results] == [SessionPage, RuntimeError]
    assert [page.proven_range async for page in pages] == [(11, 30), (1, 10)]


class TestLeaving:
    @pytest.mark.parametrize(
        "leave", [leave_by_break, leave_by_exception, leave_by_closing, leave_by_dropping, leave_by_cancelling]
    )
    async def test_leaving_a_read_leaves_nothing_behind(
        self,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        leave: Callable[[SessionPaginator], Any],
        settle: Callable[[], Awaitable[None]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        suite.populate(1000)

        def never(request: Any) -> None:
            if request.page > 2:
                fake.inject(Fault.hang())

        fake.on_request = never
        await leave(buddy.sessions(KEY, per_page=100, read_ahead=8))
        await settle()
        assert len(fake.requests) <= 10
        assert not caplog.records
        fake.on_request = None
        async with BuddyClient(fake.token, base_url=fake.base_url) as another:
            assert len(await another.sessions(KEY).collect()) == 1000

    async def test_failure_ahead_that_is_not_awaited_logs_nothing(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        suite.populate(1000)

        def fail(request: Any) -> None:
            if request.page > 2:
                fake.inject(Fault.status(503))

        fake.on_request = fail
        await leave_after_a_failure_ahead(buddy.sessions(KEY, per_page=100, read_ahead=8))
        gc.collect()
        await asyncio.sleep(0)
        assert not caplog.records

    async def test_first_session_does_not_wait_for_the_second_page(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(1000)
        fake.inject(Fault.stall(0), Fault.hang())
        async with asyncio.timeout(5), aclosing(aiter(buddy.sessions(KEY))) as sessions:
            assert (await anext(sessions)).relative_id == 1000

    async def test_nested_read_works_with_one_request_at_a_time(self, fake: FakeBuddy, suite: FakeSuite) -> None:
        suite.populate(60)
        async with (
            asyncio.timeout(10),
            BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=1, per_page=20) as buddy,
        ):
            pairs = 0
            async for _ in buddy.sessions(KEY):
                async for _ in buddy.sessions(KEY, max_sessions=30):
                    pairs += 1
        assert pairs == 60 * 30

    async def test_outdated_requests_are_not_awaited(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(400)
        hung: list[int] = []
        in_flight: list[int] = []

        def shrink(request: Any) -> None:
            in_flight.append(fake.in_flight)
            if request.page == 2:
                for session in suite.sessions[:10]:  # page 2 is rejected, and so is the one before it
                    suite.delete(session["id"])
            elif request.page > 2 and len(hung) < 3:
                hung.append(request.page)
                fake.inject(Fault.hang())

        fake.on_request = shrink
        async with asyncio.timeout(10):
            await buddy.sessions(KEY, per_page=20, read_ahead=4).collect()
        assert hung == [3, 4, 5]
        assert in_flight[-1] == 1

    async def test_end_of_read_cancels_pending_requests(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, settle: Callable[[], Awaitable[None]]
    ) -> None:
        await buddy.sessions(fake.add_suite("acme", "shop", "empty").key).collect()  # the first end is checked
        fake.requests.clear()
        suite.populate(400)

        def shorten(request: Any) -> None:
            if request.page == 2:
                for session in suite.sessions[150:]:
                    suite.delete(session["id"])
            elif request.page > 2:
                fake.inject(Fault.hang())

        fake.on_request = shorten
        sessions = buddy.sessions(KEY, per_page=100, read_ahead=4).pages()
        async with asyncio.timeout(5):
            assert [len(page.sessions) async for page in sessions] == [100, 50]
        await settle()
        assert max(request.page for request in fake.requests) > 2

    @pytest.mark.parametrize("read_ahead", [2, 3])
    async def test_read_ahead_is_bounded(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, read_ahead: int
    ) -> None:
        suite.populate(2000)
        fake.latency = 0.002
        assert len(await buddy.sessions(KEY, per_page=20, read_ahead=read_ahead).collect()) == 2000
        assert fake.max_in_flight == read_ahead
