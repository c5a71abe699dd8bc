from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
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

KEY = SuiteKey("acme", "shop", "MNbyVedg")


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY)


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, attempts=1) as client:
        yield client


def numbers(sessions: list[Session]) -> list[int]:
    return [session.relative_id for session in sessions]


def flights() -> list[asyncio.Task[Any]]:
    """The pages that some walk has in flight."""
    return [task for task in asyncio.all_tasks() if "BuddyClient.sessions.<locals>.fetch" in repr(task)]


async def settle(fake: FakeBuddy) -> None:
    """Let what was cancelled come to its end; fail if it does not."""
    async with asyncio.timeout(5):
        while fake.in_flight or flights():
            await asyncio.sleep(0.001)


class TestTheList:
    async def test_all_sessions_come_newest_first(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(250)
        paginator = buddy.sessions(*KEY)
        seen = [session async for session in paginator]
        assert [session.id for session in seen] == [session["id"] for session in suite.sessions]
        assert numbers(seen) == list(range(250, 0, -1))
        assert (paginator.stats.sessions, paginator.stats.pages, paginator.stats.requests) == (250, 3, 3)
        assert paginator.stats.certified

    @pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 99, 100, 101, 200])
    @pytest.mark.parametrize("per_page", [1, 7, 20, 100])
    async def test_any_number_of_sessions_comes_whole(
        self, buddy: BuddyClient, suite: FakeSuite, count: int, per_page: int
    ) -> None:
        suite.populate(count)
        assert numbers(await buddy.sessions(*KEY, per_page=per_page).collect()) == list(range(count, 0, -1))

    @pytest.mark.parametrize("read_ahead", [1, 4, 16])
    async def test_fifty_pages_of_a_quiet_list_are_fifty_requests(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, read_ahead: int
    ) -> None:
        suite.populate(1000)
        paginator = buddy.sessions(*KEY, per_page=20, read_ahead=read_ahead)
        assert len(await paginator.collect()) == 1000
        assert len(fake.requests) == paginator.stats.requests == paginator.stats.pages == 50
        assert (paginator.stats.duplicates, paginator.stats.rereads) == (0, 0)

    async def test_a_branch_is_filtered_by_the_server(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for number in range(90):
            suite.create(branch="main" if number % 3 else "feature/a b&c")
        sessions = await buddy.sessions(*KEY, branch="feature/a b&c", per_page=20).collect()
        assert numbers(sessions) == list(range(88, 0, -3))
        assert {request.query["branch"] for request in fake.requests} == {"feature/a b&c"}

    async def test_pages_bring_what_is_new_with_what_it_proves(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(50)
        pages = [page async for page in buddy.sessions(*KEY, per_page=20).pages()]
        assert [(page.number, len(page.sessions), page.covers, page.last) for page in pages] == [
            (1, 20, (31, 50), False),
            (2, 20, (11, 30), False),
            (3, 10, (1, 10), True),
        ]
        assert {page.suite for page in pages} == {KEY}
        assert pages[0].url == suite.url + "/sessions"
        assert pages[0].html_url == suite.html_url

    async def test_an_empty_suite_is_one_last_page_without_sessions(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        paginator = buddy.sessions(*KEY)
        (page,) = [page async for page in paginator.pages()]
        assert page == SessionPage(
            suite=KEY, number=1, sessions=(), url=suite.url + "/sessions", html_url=suite.html_url, last=True
        )
        assert (paginator.stats.pages, paginator.stats.rereads) == (1, 0)

    async def test_each_loop_is_a_new_walk(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(3)
        paginator = buddy.sessions(*KEY)
        assert numbers(await paginator.collect()) == [3, 2, 1]
        suite.create()
        assert numbers(await paginator.collect()) == [4, 3, 2, 1]
        assert paginator.stats.requests == 1


class TestLimits:
    @pytest.mark.parametrize(("most", "requests"), [(0, 0), (1, 1), (20, 1), (21, 2), (60, 3), (1000, 5)])
    async def test_no_request_is_made_that_max_sessions_does_not_need(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, most: int, requests: int
    ) -> None:
        suite.populate(100)
        paginator = buddy.sessions(*KEY, max_sessions=most, per_page=20, read_ahead=16)
        assert numbers(await paginator.collect()) == list(range(100, 0, -1))[:most]
        assert len(fake.requests) == requests

    async def test_a_page_that_is_cut_proves_no_more_than_it_brings(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(30)
        pages = [page async for page in buddy.sessions(*KEY, max_sessions=25, per_page=20).pages()]
        assert [(page.covers, page.last) for page in pages] == [((11, 30), False), ((6, 10), False)]

    @pytest.mark.parametrize(("since", "requests"), [(100, 1), (99, 1), (80, 1), (79, 2), (0, 5)])
    async def test_since_stops_as_soon_as_all_that_is_newer_is_proved(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, since: int, requests: int
    ) -> None:
        suite.populate(100)
        paginator = buddy.sessions(*KEY, since=since, per_page=20, read_ahead=16)
        pages = [page async for page in paginator.pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == list(range(100, since, -1))
        assert len(fake.requests) == requests
        assert pages[-1].last
        assert [page.covers for page in pages if page.covers] == [
            (max(high - 19, since + 1), high) for high in range(100, since, -20)
        ]


class TestPageSizes:
    @pytest.mark.parametrize("largest", [20, 30, 50])
    @pytest.mark.parametrize("count", [19, 20, 30, 100, 251])
    async def test_a_server_that_cuts_pages_silently_loses_nothing(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, largest: int, count: int
    ) -> None:
        fake.largest_page = largest
        suite.populate(count)
        assert numbers(await buddy.sessions(*KEY, per_page=100).collect()) == list(range(count, 0, -1))

    @pytest.mark.parametrize("limit", [20, 50])
    async def test_a_size_that_is_refused_is_asked_for_once_and_then_never_again(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, limit: int
    ) -> None:
        fake.refuse_above = limit
        suite.populate(100)
        for _ in range(2):
            assert numbers(await buddy.sessions(*KEY, per_page=100).collect()) == list(range(100, 0, -1))
        assert [request.per_page for request in fake.requests] == [100] + [20] * 10

    async def test_what_is_refused_for_another_reason_is_raised(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        fake.inject(Fault.status(400), times=2)
        with pytest.raises(BadRequestError):
            await buddy.sessions(*KEY).collect()
        assert [request.per_page for request in fake.requests] == [100, 20]
        await buddy.sessions(*KEY).collect()
        assert fake.requests[-1].per_page == 100

    async def test_over_a_thousand_suites_finding_it_out_costs_a_handful_of_requests(
        self, buddy: BuddyClient, fake: FakeBuddy
    ) -> None:
        sizes = random.Random(7)
        suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(1000)]
        for one in suites:
            for _ in range(sizes.randrange(90)):
                one.create()
            for session in one.sessions[-2:]:  # what is oldest is gone: no list ends in number 1
                one.delete(session["id"])
        for one in suites:
            assert len(await buddy.sessions(*one.key).collect()) == len(one.sessions)
        # One for each page that is longer than all before it, and for those that are as long as the longest.
        assert len(fake.requests) <= 1020


class TestAMovingList:
    @pytest.mark.parametrize("seed", range(300))
    async def test_what_stays_comes_exactly_once_newest_first(
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
            *KEY,
            branch=branch,
            per_page=chance.choice([10, 20, 50, 100]),
            read_ahead=chance.choice([1, 4, 16]),
        )
        seen = await paginator.collect()
        assert numbers(seen) == sorted(set(numbers(seen)), reverse=True)
        assert stable <= {session.id for session in seen}
        assert paginator.stats.certified

    async def test_a_page_that_is_served_for_ever_ends_in_an_error(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(40)

        def rewind(request: Any) -> None:
            request.query["page"] = "1"

        fake.on_request = rewind
        paginator = buddy.sessions(*KEY, per_page=20)
        with pytest.raises(UnstableListingError) as caught:
            await paginator.collect()
        assert caught.value.cursor == Cursor(21, 20)
        assert len(fake.requests) < 120
        assert paginator.stats.rereads > 50


class TestStats:
    @pytest.fixture
    def paginator(self, buddy: BuddyClient, suite: FakeSuite) -> SessionPaginator:
        suite.populate(60)
        return buddy.sessions(*KEY, per_page=20, read_ahead=1)

    @staticmethod
    def grow(fake: FakeBuddy, suite: FakeSuite, count: int) -> None:
        """Let so many sessions come before the second request."""

        def on_request(request: Any) -> None:
            if len(fake.requests) == 2:
                for _ in range(count):
                    suite.create()

        fake.on_request = on_request

    async def test_what_came_again_is_counted(
        self, fake: FakeBuddy, suite: FakeSuite, paginator: SessionPaginator
    ) -> None:
        self.grow(fake, suite, 5)
        assert len(await paginator.collect()) == 60
        stats = paginator.stats
        assert (stats.sessions, stats.duplicates, stats.rereads) == (60, 5, 0)

    async def test_a_page_that_brought_nothing_new_is_counted_and_not_handed_out(
        self, fake: FakeBuddy, suite: FakeSuite, paginator: SessionPaginator
    ) -> None:
        self.grow(fake, suite, 20)
        counts = [len(page.sessions) async for page in paginator.pages()]
        assert (sum(counts), min(counts) > 0) == (60, True)
        assert (paginator.stats.pages, paginator.stats.rereads) == (len(counts) + 1, 1)


class TestDisorder:
    @pytest.mark.parametrize("largest", [None, 30])
    async def test_a_list_that_is_not_in_order_is_read_by_the_plain_rule_and_said_to_be(
        self,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        largest: int | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        fake.largest_page = largest
        order = list(range(1, 101))
        random.Random(3).shuffle(order)
        for number in order:
            suite.create(relative_id=number)
        paginator = buddy.sessions(*KEY, per_page=50)
        pages = [page async for page in paginator.pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == order[::-1]
        assert not paginator.stats.certified
        assert {page.covers for page in pages} == {None}
        assert pages[-1].last
        assert paginator.cursor is None
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    @pytest.mark.parametrize("largest", [None, 30])
    async def test_disorder_further_down_repeats_nothing_that_was_read(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, largest: int | None
    ) -> None:
        fake.largest_page = largest
        for number in (1, 3, 2, 4, *range(5, 105)):
            suite.create(relative_id=number)
        paginator = buddy.sessions(*KEY, per_page=50)
        assert numbers(await paginator.collect()) == [*range(104, 4, -1), 4, 2, 3, 1]
        assert not paginator.stats.certified
        assert paginator.cursor is not None
        assert paginator.cursor.below >= 5

    async def test_disorder_that_is_served_for_ever_ends_in_an_error(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for number in (1, 3, 2, *range(4, 30)):
            suite.create(relative_id=number)
        fake.on_request = lambda request: request.query.update(page="1")  # type: ignore[attr-defined]  # a dict
        with pytest.raises(UnstableListingError):
            await buddy.sessions(*KEY, per_page=28).collect()


class TestCursor:
    async def test_it_stands_after_every_single_session(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(45)
        paginator = buddy.sessions(*KEY, per_page=20)
        assert paginator.cursor is None
        cursors: list[Cursor | None] = []
        async for session in paginator:
            cursors.append(paginator.cursor)
            assert paginator.stats.sessions == len(cursors)
            assert paginator.cursor == Cursor(session.relative_id, 46 - session.relative_id)
        for cursor in (cursors[0], cursors[19], cursors[20], cursors[44]):
            assert cursor is not None
            rest = await buddy.sessions(*KEY, per_page=20, start=Cursor.parse(str(cursor))).collect()
            assert numbers(rest) == list(range(cursor.below - 1, 0, -1))

    async def test_a_resumed_walk_stands_at_its_start_until_it_yields(
        self, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(10)
        paginator = buddy.sessions(*KEY, start=Cursor(5, 6))
        assert paginator.cursor == Cursor(5, 6)
        assert "5@6" in repr(paginator)

    async def test_it_stands_after_every_page(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(45)
        paginator = buddy.sessions(*KEY, per_page=20)
        async for _ in paginator.pages():
            assert paginator.cursor is not None
            assert paginator.stats.sessions == paginator.cursor.place

    @pytest.mark.parametrize("read_ahead", [1, 4])
    async def test_an_error_carries_it_and_the_iterator_can_be_asked_again(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, read_ahead: int
    ) -> None:
        suite.populate(100)
        walk = aiter(buddy.sessions(*KEY, per_page=20, read_ahead=read_ahead))
        seen = [(await anext(walk)).relative_id for _ in range(20)]
        fake.inject(Fault.status(503))
        with pytest.raises(ServerError) as caught:
            await anext(walk)
        assert caught.value.cursor == Cursor(81, 20)
        seen += [session.relative_id async for session in walk]
        assert seen == list(range(100, 0, -1))

    async def test_an_error_on_the_first_page_has_none(self, buddy: BuddyClient) -> None:
        with pytest.raises(BuddyError) as caught:
            await buddy.sessions(*KEY).collect()
        assert caught.value.cursor is None


async def break_off(paginator: SessionPaginator) -> None:
    async for session in paginator:
        if session.relative_id == 850:
            break


async def raise_inside(paginator: SessionPaginator) -> None:
    async def loop() -> None:
        async for session in paginator:
            if session.relative_id == 850:
                raise LookupError

    with pytest.raises(LookupError):
        await loop()


async def close_it(paginator: SessionPaginator) -> None:
    async with aclosing(aiter(paginator)) as walk:
        async for session in walk:
            if session.relative_id == 850:
                break
    assert not flights()


async def drop_it(paginator: SessionPaginator) -> None:
    walk = aiter(paginator)
    for _ in range(150):
        await anext(walk)
    del walk
    gc.collect()


async def cancel_it(paginator: SessionPaginator) -> None:
    assert not flights()
    task = asyncio.create_task(paginator.collect())
    await asyncio.sleep(0.1)  # long enough for all that is read ahead to hang
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def fail_ahead(paginator: SessionPaginator) -> None:
    async for session in paginator:
        if session.relative_id == 850:
            await asyncio.sleep(0.05)  # what is read ahead fails meanwhile, and nobody comes for it
            break


async def test_two_tasks_cannot_iterate_over_one_walk_at_once(buddy: BuddyClient, suite: FakeSuite) -> None:
    suite.populate(5)
    walk = aiter(buddy.sessions(*KEY))
    results = await asyncio.gather(anext(walk), anext(walk), return_exceptions=True)
    assert [type(result) for result in results] == [Session, RuntimeError]
    assert (await anext(walk)).relative_id == 4


class TestLeaving:
    @pytest.mark.parametrize("leave", [break_off, raise_inside, close_it, drop_it, cancel_it])
    async def test_however_a_walk_ends_nothing_of_it_goes_on(
        self,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        leave: Callable[[SessionPaginator], Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        suite.populate(1000)

        def never(request: Any) -> None:
            if request.page > 2:
                fake.inject(Fault.hang())

        fake.on_request = never
        await leave(buddy.sessions(*KEY, per_page=100, read_ahead=8))
        await settle(fake)
        assert len(fake.requests) <= 10
        assert not caplog.records
        fake.on_request = None
        assert len(await buddy.sessions(*KEY).collect()) == 1000

    async def test_a_failure_ahead_that_nobody_waits_for_prints_nothing(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        suite.populate(1000)

        def fail(request: Any) -> None:
            if request.page > 2:
                fake.inject(Fault.status(503))

        fake.on_request = fail
        await fail_ahead(buddy.sessions(*KEY, per_page=100, read_ahead=8))
        gc.collect()
        await asyncio.sleep(0)
        assert not caplog.records

    async def test_the_first_session_never_waits_for_the_second_page(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(1000)
        fake.inject(Fault.stall(0), Fault.hang())
        async with asyncio.timeout(5), aclosing(aiter(buddy.sessions(*KEY))) as walk:
            assert (await anext(walk)).relative_id == 1000

    async def test_a_walk_inside_a_walk_needs_only_one_request_at_a_time(
        self, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(60)
        async with (
            asyncio.timeout(10),
            BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=1, per_page=20) as buddy,
        ):
            pairs = 0
            async for _ in buddy.sessions(*KEY):
                async for _ in buddy.sessions(*KEY, max_sessions=30):
                    pairs += 1
        assert pairs == 60 * 30

    async def test_what_is_no_longer_wanted_is_not_waited_for(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(400)
        hung: list[int] = []
        in_flight: list[int] = []

        def shrink(request: Any) -> None:
            in_flight.append(fake.in_flight)
            if request.page == 2:
                for session in suite.sessions[:10]:  # so that page 2, and one before it, prove nothing
                    suite.delete(session["id"])
            elif request.page > 2 and len(hung) < 3:
                hung.append(request.page)
                fake.inject(Fault.hang())

        fake.on_request = shrink
        async with asyncio.timeout(10):
            await buddy.sessions(*KEY, per_page=20, read_ahead=4).collect()
        assert hung == [3, 4, 5]
        assert in_flight[-1] == 1

    async def test_what_is_in_flight_when_a_walk_is_over_is_cancelled_at_once(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(400)

        def shorten(request: Any) -> None:
            if request.page == 2:
                for session in suite.sessions[150:]:
                    suite.delete(session["id"])
            elif request.page > 2:
                fake.inject(Fault.hang())

        fake.on_request = shorten
        walk = buddy.sessions(*KEY, per_page=100, read_ahead=4).pages()
        async with asyncio.timeout(5):
            assert [len(page.sessions) async for page in walk] == [100, 50]
        await settle(fake)
        assert max(request.page for request in fake.requests) > 2

    @pytest.mark.parametrize("read_ahead", [2, 3])
    async def test_pages_read_ahead_are_bounded(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, read_ahead: int
    ) -> None:
        suite.populate(2000)
        fake.latency = 0.002
        assert len(await buddy.sessions(*KEY, per_page=20, read_ahead=read_ahead).collect()) == 2000
        assert fake.max_in_flight == read_ahead
