from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from buddy_sessions import (
    BuddyClient,
    ClientClosedError,
    ConfigError,
    Harvest,
    HarvestError,
    NotFoundError,
    ServerError,
    Session,
    SuiteKey,
    transport,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, attempts=1) as client:
        yield client


def add_suites(fake: FakeBuddy, count: int, sessions: int) -> list[FakeSuite]:
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(count)]
    for suite in suites:
        for _ in range(sessions):
            suite.create()
    return suites


def keys(suites: list[FakeSuite]) -> list[SuiteKey]:
    return [SuiteKey(*suite.key) for suite in suites]


def tasks() -> list[asyncio.Task[Any]]:
    """What is under way of a harvest: its workers, and the pages that they read ahead."""
    return [task for task in asyncio.all_tasks() if "buddy_sessions" in repr(task) and "test_" not in repr(task)]


async def settle(fake: FakeBuddy) -> None:
    async with asyncio.timeout(5):
        while fake.in_flight or tasks():
            await asyncio.sleep(0.001)


class TestTheStream:
    async def test_all_sessions_of_all_suites_come_each_suites_newest_first(
        self, fake: FakeBuddy, buddy: BuddyClient
    ) -> None:
        suites = add_suites(fake, 30, 25)
        found: dict[SuiteKey, list[int]] = {}
        async with buddy.harvest(keys(suites)) as harvest:
            async for key, session in harvest:
                found.setdefault(key, []).append(session.relative_id)
        assert list(found.values()) == [list(range(25, 0, -1))] * 30
        assert set(found) == set(keys(suites))
        assert harvest.failures == {}
        stats = harvest.stats
        assert (stats.suites, stats.failed, stats.sessions) == (30, 0, 750)
        assert stats.requests == stats.pages == len(fake.requests)

    @pytest.mark.usefixtures("no_waiting")
    async def test_what_retries_have_cost_is_told(self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "backoff", lambda retry: 7.0)
        suites = add_suites(fake, 3, 1)
        fake.inject(Fault.status(503), times=2)
        async with (
            BuddyClient(fake.token, base_url=fake.base_url) as buddy,
            buddy.harvest(keys(suites), concurrency=1) as harvest,
        ):
            assert len([session async for session in harvest]) == 3
        assert (harvest.stats.requests, harvest.stats.retries, harvest.stats.waited) == (5, 2, 14.0)

    @pytest.mark.usefixtures("no_waiting")
    async def test_what_a_suite_under_way_has_cost_counts_already(
        self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "backoff", lambda retry: 7.0)
        suites = add_suites(fake, 1, 150)
        fake.inject(Fault.status(503), Fault.stall(0), Fault.hang())
        async with (
            BuddyClient(fake.token, base_url=fake.base_url) as buddy,
            buddy.harvest(keys(suites)) as harvest,
        ):
            await anext(harvest)
            stats = harvest.stats
            assert (stats.suites, stats.sessions, stats.pages) == (0, 100, 1)
            assert (stats.retries, stats.waited) == (1, 7.0)

    async def test_who_comes_when_all_is_read_finds_what_waits_and_then_the_end(
        self, fake: FakeBuddy, buddy: BuddyClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        suites = add_suites(fake, 2, 1)
        async with asyncio.timeout(5), buddy.harvest(keys(suites), concurrency=1) as harvest:
            first = await anext(harvest)
            while tasks():
                await asyncio.sleep(0.001)
            assert [key for key, _ in [first, *[found async for found in harvest]]] == keys(suites)
        assert not caplog.records  # asyncio would log what the end of a worker raises

    async def test_suites_that_are_over_are_not_kept(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = [*keys(add_suites(fake, 20, 1)), SuiteKey("acme", "shop", "missing")]
        async with buddy.harvest(suites, on_failure="collect") as harvest:
            assert len([pair async for pair in harvest]) == 20
        assert not harvest._crew._reading

    async def test_pages_say_whose_they_are(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 3, 2)
        async with buddy.harvest(keys(suites)) as harvest:
            pages = [page async for page in harvest.pages()]
        assert {page.suite: len(page.sessions) for page in pages} == dict.fromkeys(keys(suites), 2)
        assert all(page.last for page in pages)

    @pytest.mark.parametrize("kind", ["list", "generator", "asynchronous"])
    async def test_keys_are_taken_as_they_are_needed(self, fake: FakeBuddy, buddy: BuddyClient, kind: str) -> None:
        suites = add_suites(fake, 40, 3)
        taken = 0

        def one_by_one() -> Iterator[SuiteKey]:
            nonlocal taken
            for key in keys(suites):
                taken += 1
                yield key

        async def asynchronous() -> AsyncIterator[SuiteKey]:
            for key in one_by_one():
                await asyncio.sleep(0)  # while one worker waits for a key, another comes for one
                yield key

        source: Any = {"list": keys(suites), "generator": one_by_one(), "asynchronous": asynchronous()}[kind]
        async with buddy.harvest(source, concurrency=2) as harvest:
            await anext(harvest)
            await asyncio.sleep(0.05)
            assert taken <= 8  # two in work, and the pages of a few more in the queue
            assert 1 <= harvest.stats.suites < harvest.stats.requests <= 8  # what is under way counts as well
            assert len([pair async for pair in harvest]) == 119

    async def test_a_branch_and_what_is_known_limit_it(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 2, 10)
        for suite in suites:
            suite.create(branch="develop")
        first, second = keys(suites)
        async with buddy.harvest([first, second], since={first: 8}) as harvest:
            found = [(key, session.relative_id) async for key, session in harvest]
        assert sorted(found) == [(first, number) for number in (9, 10, 11)] + [
            (second, number) for number in range(1, 12)
        ]
        async with buddy.harvest([first, second], branch="develop") as harvest:
            assert [session.relative_id async for _, session in harvest] == [11, 11]

    async def test_no_suites_are_an_empty_stream(self, buddy: BuddyClient) -> None:
        async with buddy.harvest([]) as harvest:
            assert [pair async for pair in harvest] == []
            assert [pair async for pair in harvest] == []
            assert [page async for page in harvest.pages()] == []

    async def test_a_giant_suite_does_not_starve_the_small_ones(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        giant = fake.add_suite("acme", "shop", "giant").populate(2000)
        small = add_suites(fake, 50, 2)
        fake.latency = 0.002
        async with buddy.harvest(keys([giant, *small])) as harvest:
            order = [page.suite async for page in harvest.pages()]
        assert max(order.index(key) for key in keys(small)) < len(order) - 2


class TestFailures:
    async def test_they_stop_no_other_suite_and_are_raised_at_the_end(
        self, fake: FakeBuddy, buddy: BuddyClient
    ) -> None:
        suites = add_suites(fake, 20, 3)
        missing = [SuiteKey("acme", "shop", "nope"), SuiteKey("acme", "..", "x")]
        found: list[Session] = []

        async def read(harvest: Harvest) -> None:
            async for _, session in harvest:
                found.append(session)

        async with buddy.harvest([missing[0], *keys(suites), missing[1]]) as harvest:
            with pytest.raises(HarvestError) as caught:
                await read(harvest)
            assert [pair async for pair in harvest] == []
        assert len(found) == 60
        assert {key: type(error) for key, error in caught.value.failures.items()} == {
            missing[0]: NotFoundError,
            missing[1]: ConfigError,
        }
        assert (harvest.stats.suites, harvest.stats.failed) == (20, 2)

    async def test_they_can_be_collected_instead(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 1, 150)
        fake.inject(Fault.stall(0), Fault.status(503))
        async with buddy.harvest(keys(suites), on_failure="collect") as harvest:
            assert len([pair async for pair in harvest]) == 100
        (error,) = harvest.failures.values()
        assert isinstance(error, ServerError)
        assert error.cursor is not None
        assert error.cursor.below == 51
        assert error.__traceback__ is None  # whose frames would keep the page that came before

    @pytest.mark.parametrize("suites", ["a/b/c", SuiteKey("a", "b", "c"), 7, None])
    def test_what_are_no_suites_is_refused_at_once(self, suites: Any) -> None:
        with pytest.raises(ConfigError, match="iterable of SuiteKey"):
            BuddyClient("token").harvest(suites)

    @pytest.mark.parametrize("arguments", [{"concurrency": 0}, {"on_failure": "ignore"}, {"branch": ""}], ids=str)
    def test_other_arguments_are_checked_at_once(self, arguments: Any) -> None:
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            BuddyClient("token").harvest([], **arguments)

    @pytest.mark.parametrize("key", ["a/b/c", ("a", "b"), None])
    async def test_what_is_no_key_ends_the_harvest(self, fake: FakeBuddy, buddy: BuddyClient, key: Any) -> None:
        suites: list[Any] = [*keys(add_suites(fake, 1, 1)), key]
        async with buddy.harvest(suites) as harvest:
            _, session = await anext(harvest)
            assert session.relative_id == 1
            with pytest.raises(ConfigError, match="a suite is named by a SuiteKey"):
                await anext(harvest)

    async def test_once_it_is_to_end_no_other_suite_is_begun(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        first, *others = keys(add_suites(fake, 100, 1))
        suites: Any = [first, "a/b/c", *others]
        async with buddy.harvest(suites, concurrency=2) as harvest:
            await anext(harvest)
            with pytest.raises(ConfigError):
                await anext(harvest)
        assert len(fake.requests) == 1

    async def test_what_the_source_of_keys_raises_comes_out_as_it_is(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        (first,) = keys(add_suites(fake, 1, 1))

        async def source() -> AsyncIterator[SuiteKey]:
            yield first
            raise LookupError("the list of suites is gone")

        async with buddy.harvest(source()) as harvest:
            await anext(harvest)
            with pytest.raises(LookupError, match="gone"):
                await anext(harvest)

    async def test_a_closed_client_ends_it_at_once(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = keys(add_suites(fake, 100, 1))
        await buddy.close()
        async with buddy.harvest(suites) as harvest:
            with pytest.raises(ClientClosedError):
                await anext(harvest)
        assert harvest.failures == {}


async def break_off(harvest: Harvest) -> None:
    async with harvest:
        async for _ in harvest:
            break
    assert not tasks()


async def drop(harvest: Harvest) -> None:
    await anext(harvest)


async def cancel(harvest: Harvest) -> None:
    async def consume() -> None:
        async with harvest:
            async for _ in harvest:
                await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not tasks()


async def never_begin(harvest: Harvest) -> None:
    async with harvest:
        pass


async def test_closing_it_ends_a_loop_that_waits(fake: FakeBuddy, buddy: BuddyClient) -> None:
    suites = add_suites(fake, 3, 1)
    fake.inject(Fault.hang(), times=3)
    harvest = buddy.harvest(keys(suites))
    waiting = [asyncio.create_task(anext(harvest)) for _ in range(2)]
    while fake.in_flight < 3:
        await asyncio.sleep(0.001)
    await harvest.aclose()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StopAsyncIteration] * 2


async def test_a_token_callable_that_is_cancelled_cancels_the_loop(fake: FakeBuddy) -> None:
    suites = add_suites(fake, 3, 1)

    async def token() -> str:
        raise asyncio.CancelledError

    async with BuddyClient(token, base_url=fake.base_url) as buddy, buddy.harvest(keys(suites)) as harvest:
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await anext(harvest)


class TestLeaving:
    @pytest.mark.parametrize("leave", [break_off, drop, cancel, never_begin])
    async def test_however_it_ends_nothing_of_it_goes_on(
        self,
        fake: FakeBuddy,
        leave: Callable[[Harvest], Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        suites = add_suites(fake, 50, 150)
        fake.latency = 0.005
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            await leave(buddy.harvest(keys(suites)))
            gc.collect()
            await settle(fake)
        assert len(fake.requests) < 90
        assert not caplog.records

    async def test_a_slow_reader_stops_the_reading(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 200, 1)
        async with buddy.harvest(keys(suites), concurrency=4) as harvest:
            await anext(harvest)
            await asyncio.sleep(0.1)
            assert len(fake.requests) <= 10


async def test_a_thousand_suites_that_move_five_that_fail_and_a_giant_one(fake: FakeBuddy) -> None:
    chance = random.Random(5)
    suites = add_suites(fake, 1000, 3)
    giant = fake.add_suite("acme", "shop", "giant").populate(3000)
    missing = [SuiteKey("acme", "shop", f"missing-{number}") for number in range(5)]
    stable = {session["id"] for suite in [*suites, giant] for session in suite.sessions}
    by_key = {tuple(suite.key): suite for suite in [*suites, giant]}

    def churn(request: Any) -> None:
        suite = by_key.get(("acme", "shop", request.path.split("/")[-2]))
        if suite is None:
            return
        suite.create()
        if chance.random() < 0.3:
            gone = chance.choice(suite.sessions)
            suite.delete(gone["id"])
            stable.discard(gone["id"])

    fake.on_request = churn
    order = keys([*suites, giant]) + missing
    chance.shuffle(order)
    found: list[str] = []
    most = 0

    async def read(harvest: Harvest) -> None:
        nonlocal most
        async for _, session in harvest:
            found.append(session.id)
            most = max(most, len(tasks()))

    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy, buddy.harvest(order) as harvest:
        with pytest.raises(HarvestError) as caught:
            await read(harvest)
    assert len(found) == len(set(found))
    assert stable <= set(found)
    assert set(caught.value.failures) == set(missing)
    assert most <= 8 + 8 * 4
