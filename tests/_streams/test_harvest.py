from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
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
    SessionStore,
    Suite,
    SuiteKey,
    SuiteRef,
    TransportError,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.virtual_time  # so a sleep returns when nothing more happens


def add_suites(fake: FakeBuddy, count: int, sessions: int) -> list[FakeSuite]:
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(count)]
    for suite in suites:
        for _ in range(sessions):
            suite.create()
    return suites


def keys(suites: list[FakeSuite]) -> list[SuiteKey]:
    return [suite.key for suite in suites]


class TestStream:
    async def test_sessions_of_a_suite_arrive_newest_first(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 30, 25)
        found: dict[SuiteKey, list[int]] = {}
        async with buddy.harvest(keys(suites)) as harvest:
            async for key, session in harvest:
                found.setdefault(key, []).append(session.relative_id)
        assert list(found.values()) == [list(range(25, 0, -1))] * 30
        assert set(found) == set(keys(suites))
        assert harvest.failures == {}
        stats = harvest.stats
        assert (stats.suites, stats.failed, stats.sessions, stats.verified) == (30, 0, 750, True)
        assert stats.requests == stats.pages == len(fake.requests)

    async def test_stats_contain_retries_and_suites_that_are_being_read(self, fake: FakeBuddy) -> None:
        suites = add_suites(fake, 1, 150)
        fake.inject(Fault.status(503), Fault.stall(0), Fault.stall(9))
        now = asyncio.get_running_loop().time
        started = now()
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy, buddy.harvest(keys(suites)) as harvest:
            await anext(harvest)
            stats = harvest.stats
            assert (stats.suites, stats.sessions, stats.pages, stats.requests, stats.retries) == (0, 100, 1, 2, 1)
            assert 0 < stats.waited == pytest.approx(now() - started)
            assert len([session async for session in harvest]) == 149
            assert (harvest.stats.suites, harvest.stats.sessions, harvest.stats.requests) == (1, 150, 3)

    async def test_run_reads_to_the_end(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = [*keys(add_suites(fake, 3, 25)), SuiteKey("acme", "shop", "none")]
        stats = await buddy.harvest(suites, on_failure="collect").run()
        assert (stats.suites, stats.sessions, stats.failed) == (3, 75, 1)
        with pytest.raises(HarvestError):
            await buddy.harvest(suites).run()

    @pytest.mark.parametrize("kind", ["list", "generator", "asynchronous"])
    async def test_suites_are_taken_as_they_are_needed(self, fake: FakeBuddy, buddy: BuddyClient, kind: str) -> None:
        suites = add_suites(fake, 40, 3)
        taken = 0

        def one_by_one() -> Iterator[SuiteKey]:
            nonlocal taken
            for key in keys(suites):
                taken += 1
                yield key

        async def asynchronous() -> AsyncIterator[SuiteKey]:
            for key in one_by_one():
                await asyncio.sleep(0)  # while one worker waits for a suite, another asks for one
                yield key

        source: Any = {"list": keys(suites), "generator": one_by_one(), "asynchronous": asynchronous()}[kind]
        async with buddy.harvest(source, concurrency=2) as harvest:
            await anext(harvest)
            await asyncio.sleep(1)
            assert taken <= 8  # the two that are being read, and those whose pages are in the queue
            assert 1 <= harvest.stats.suites < harvest.stats.requests <= 8
            assert len([pair async for pair in harvest]) == 119

    async def test_suite_listed_twice_is_read_twice_but_synced_once(
        self, fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path
    ) -> None:
        suite, other = keys(add_suites(fake, 2, 5))
        listed: list[SuiteRef] = [suite, str(suite), other, str(suite)]
        stats = await buddy.harvest(listed).run()
        assert (stats.suites, stats.sessions) == (4, 20)
        async with SessionStore(tmp_path / "sessions.db") as store:
            stats = await store.sync(buddy, listed).run()
        assert (stats.suites, stats.sessions) == (2, 10)

    async def test_branch_and_after_limit_each_suite(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 2, 10)
        for suite in suites:
            suite.create(branch="develop")
        first, second = keys(suites)
        async with buddy.harvest([first, second], after={first: 8}) as harvest:
            found = [(key, session.relative_id) async for key, session in harvest]
        assert sorted(found) == [(first, number) for number in (9, 10, 11)] + [
            (second, number) for number in range(1, 12)
        ]
        async with buddy.harvest([first, second], after=9) as harvest:
            found = [(key, session.relative_id) async for key, session in harvest]
        assert sorted(found) == [(first, 10), (first, 11), (second, 10), (second, 11)]
        async with buddy.harvest([first, second], branch="develop") as harvest:
            assert [session.relative_id async for _, session in harvest] == [11, 11]

    async def test_no_suites_are_an_empty_stream(self, buddy: BuddyClient) -> None:
        async with buddy.harvest([]) as harvest:
            assert [pair async for pair in harvest] == []
            assert [page async for page in harvest.pages()] == []

    @pytest.mark.parametrize(("concurrency", "expected"), [(None, 3), (2, 2)])
    async def test_concurrency_limits_the_suites_that_are_read_at_once(
        self, fake: FakeBuddy, concurrency: int | None, expected: int
    ) -> None:
        suites = add_suites(fake, 20, 1)
        fake.latency = 0.01
        async with BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=3) as buddy:
            assert buddy.max_concurrency == 3
            async with buddy.harvest(keys(suites), concurrency=concurrency) as harvest:
                assert len([pair async for pair in harvest]) == 20
        assert fake.max_in_flight == expected


@pytest.mark.parametrize("position", [0, 300])
async def test_giant_suite_costs_no_time_wherever_it_comes(fake: FakeBuddy, position: int) -> None:
    """It has 60 pages, and the small ones one page each."""
    giant = fake.add_suite("acme", "shop", "giant").populate(60 * 20)
    suites = add_suites(fake, 300, 2)
    suites.insert(position, giant)
    fake.latency = 0.05
    now = asyncio.get_running_loop().time
    started = now()
    async with (
        BuddyClient(fake.token, base_url=fake.base_url, per_page=20) as buddy,
        buddy.harvest(keys(suites)) as harvest,
    ):
        assert len([pair async for pair in harvest]) == 60 * 20 + 300 * 2
    assert now() - started <= 1.15 * 360 * 0.05 / 8
    assert len(fake.requests) == 360
    assert fake.max_in_flight == 8


class TestFailures:
    async def test_failed_suites_are_raised_after_all_others(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
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
        assert (harvest.stats.suites, harvest.stats.failed, harvest.stats.verified) == (20, 2, False)

    async def test_failures_can_be_collected(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 1, 150)
        fake.inject(Fault.stall(0), Fault.status(503))
        async with buddy.harvest(keys(suites), on_failure="collect") as harvest:
            assert len([pair async for pair in harvest]) == 100
        (error,) = harvest.failures.values()
        assert isinstance(error, ServerError)
        assert error.cursor is not None
        assert error.cursor.lowest_id == 51
        assert error.__traceback__ is None  # its frames would keep the previous page

    @pytest.mark.parametrize(
        ("suite", "kind", "message"),
        [
            *((suite, ConfigError, "not a suite") for suite in ("a/b", ("a", "b"), 7)),
            (Suite(key=SuiteKey("a", "b", "c"), id="c"), ConfigError, "^a Suite is not a SuiteKey: pass suite.key$"),
            (None, LookupError, "gone"),
        ],
    )
    async def test_invalid_suite_ends_the_harvest_after_the_suites_before_it(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: Any, kind: type[Exception], message: str
    ) -> None:
        first, *others = keys(add_suites(fake, 100, 1))

        async def source() -> AsyncIterator[Any]:
            yield first
            if suite is None:
                raise LookupError("the list of suites is gone")
            for each in (suite, *others):
                yield each

        async with buddy.harvest(source(), concurrency=2) as harvest:
            assert (await anext(harvest))[0] == first
            with pytest.raises(kind, match=message):
                await anext(harvest)
            assert [pair async for pair in harvest] == []
        assert len(fake.requests) == 1

    async def test_closed_client_ends_the_harvest(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = keys(add_suites(fake, 100, 1))
        await buddy.close()
        async with buddy.harvest(suites) as harvest:
            with pytest.raises(ClientClosedError):
                await anext(harvest)
        assert harvest.failures == {}

    async def test_any_other_error_is_raised_after_the_queued_pages(self, fake: FakeBuddy) -> None:
        calls = 0

        async def token() -> str:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise LookupError("the vault is closed")
            return fake.token

        suites = add_suites(fake, 4, 1)
        fake.inject(Fault.stall(0), Fault.stall(0), Fault.status(401))
        async with (
            BuddyClient(token, base_url=fake.base_url) as buddy,
            buddy.harvest(keys(suites), concurrency=1) as harvest,
        ):
            found = [await anext(harvest), await anext(harvest)]
            with pytest.raises(LookupError, match="the vault is closed"):
                await anext(harvest)
        assert [key for key, _ in found] == keys(suites)[:2]
        assert len(fake.requests) == 3


class TestEqualFailures:
    """20 suites in a row that fail with the same retryable error."""

    async def test_proxy_that_rejects_the_password_is_not_asked_for_each_suite(self) -> None:
        """A proxy may lock an account after wrong passwords."""
        suites = [SuiteKey("acme", "shop", f"s{number}") for number in range(200)]
        script = http_response(b"<html>", status="407 Proxy Authentication Required")
        async with (
            raw_server(script) as proxy,
            aiohttp.ClientSession(proxy=proxy.base_url) as session,
            BuddyClient("t", base_url="https://buddy.example.com", http_session=session) as buddy,
            buddy.harvest(suites, on_failure="collect") as harvest,
        ):
            with pytest.raises(
                TransportError, match=r"responded with 407 .*; 1[0-9]{2} suites were not tried$"
            ) as caught:
                await anext(harvest)
        assert not caught.value.retryable
        assert len(proxy.requests) <= 28

    @pytest.mark.parametrize("sequence", [[*[503] * 19, 500], [404], [403]], ids=str)
    async def test_other_failures_do_not_end_it(self, fake: FakeBuddy, buddy: BuddyClient, sequence: list[int]) -> None:
        fake.inject(*map(Fault.status, sequence), times=60)
        stats = await buddy.harvest(keys(add_suites(fake, 60, 1)), concurrency=1, on_failure="collect").run()
        assert stats.failed == 60

    async def test_page_of_another_suite_counts_as_success(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        giant = fake.add_suite("acme", "shop", "giant").populate(3000)
        small = add_suites(fake, 25, 1)
        fake.on_request = lambda request: None if "giant" in request.path else fake.inject(Fault.status(503))
        async with buddy.harvest(keys([giant, *small]), concurrency=2, on_failure="collect") as harvest:
            found = [pair async for pair in harvest]
        assert (len(found), len(harvest.failures)) == (3000, 25)


async def test_closing_ends_a_loop_that_waits(fake: FakeBuddy, buddy: BuddyClient) -> None:
    suites = add_suites(fake, 3, 20)
    fake.inject(Fault.stall(0), Fault.hang(), Fault.hang())
    harvest = buddy.harvest(keys(suites), concurrency=2)
    await anext(harvest)
    await harvest.aclose()
    assert [pair async for pair in harvest] == []  # not even the rest of a page
