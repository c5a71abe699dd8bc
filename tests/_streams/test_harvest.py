from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions import (
    BuddyClient,
    ClientClosedError,
    ConfigError,
    Cursor,
    Harvest,
    HarvestError,
    NotFoundError,
    Session,
    SessionStore,
    SuiteKey,
    SuiteRef,
    TransportError,
)
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.virtual_time  # so a sleep returns when nothing more happens


def add_suites(fake: FakeBuddy, count: int, sessions: int) -> list[SuiteKey]:
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(count)]
    for suite in suites:
        for _ in range(sessions):
            suite.create()
    return [suite.key for suite in suites]


class TestStream:
    async def test_sessions_of_a_suite_arrive_newest_first(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 30, 25)
        found: dict[SuiteKey, list[int]] = {}
        async with buddy.harvest(suites) as harvest:
            async for key, session in harvest:
                found.setdefault(key, []).append(session.relative_id)
        assert list(found.values()) == [list(range(25, 0, -1))] * 30
        assert set(found) == set(suites)
        assert harvest.failures == {}
        stats = harvest.stats
        assert (stats.suites, stats.failed, stats.sessions, stats.verified) == (30, 0, 750, True)
        assert stats.requests == stats.pages == len(fake.requests)

    async def test_suites_are_taken_as_they_are_needed(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 40, 3)
        taken: list[SuiteKey] = []

        async def source() -> AsyncIterator[SuiteKey]:
            for key in suites:
                taken.append(key)
                await asyncio.sleep(0)  # while one worker waits for a suite, another asks for one
                yield key

        async with buddy.harvest(source(), concurrency=2) as harvest:
            await anext(harvest)
            await asyncio.sleep(1)
            assert len(taken) <= 8  # the two that are being read, and those whose pages are in the queue
            assert len([pair async for pair in harvest]) == 119

    async def test_suite_listed_twice_is_read_twice_but_synced_once(
        self, fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path
    ) -> None:
        suite, other = add_suites(fake, 2, 5)
        listed: list[SuiteRef] = [suite, str(suite), other, str(suite)]
        stats = await buddy.harvest(listed).run()
        assert (stats.suites, stats.sessions) == (4, 20)
        async with SessionStore(tmp_path / "sessions.db") as store:
            stats = await store.sync(buddy, listed).run()
        assert (stats.suites, stats.sessions) == (2, 10)

    async def test_branch_and_after_limit_each_suite(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 2, 10)
        for key in suites:
            fake.suites[key].create(branch="develop")
        first, second = suites
        async with buddy.harvest([first, second], after=8) as harvest:
            found = [(key, session.relative_id) async for key, session in harvest]
        assert sorted(found) == [(key, number) for key in (first, second) for number in (9, 10, 11)]
        async with buddy.harvest([first, second], branch="develop") as harvest:
            assert [session.relative_id async for _, session in harvest] == [11, 11]

    async def test_each_suite_can_have_its_own_start(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        first, second, third = add_suites(fake, 3, 10)
        after, cursors = {first: 8, second: 3}, {str(second): Cursor(6, 5)}
        async with buddy.harvest([first, second, third], after=after, cursors=cursors) as harvest:
            found = [(key, session.relative_id) async for key, session in harvest]
        assert sorted(found) == [
            *((first, number) for number in (9, 10)),
            *((second, number) for number in (4, 5)),
            *((third, number) for number in range(1, 11)),
        ]

    async def test_harvest_goes_on_from_its_cursors(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        """A suite that was read to number 1 costs no request."""
        suites = add_suites(fake, 5, 50)
        found: list[tuple[SuiteKey, int]] = []
        cursors: dict[SuiteKey, Cursor] = {}
        for limit in (1, 78, 128, 200, 300):
            async with buddy.harvest(suites, cursors=cursors) as harvest:
                async for key, session in harvest:
                    found.append((key, session.relative_id))
                    if len(found) == limit:
                        break
            cursors = harvest.cursors
        assert sorted(found) == [(key, number) for key in suites for number in range(1, 51)]
        assert cursors == {key: Cursor(1, 50) for key in suites}
        fake.requests.clear()
        assert (await buddy.harvest(suites, cursors=cursors).run()).sessions == 0
        assert fake.requests == []

    @pytest.mark.parametrize("is_lazy", [False, True])
    async def test_start_of_a_suite_that_is_not_harvested_is_an_error(
        self, fake: FakeBuddy, buddy: BuddyClient, is_lazy: bool
    ) -> None:
        """At once, unless the suites are taken as they are needed."""
        suites = add_suites(fake, 2, 1)
        message = "after or cursors names acme/shop/typo, which is not harvested: leave it out"
        with pytest.raises(ConfigError, match=message):
            await buddy.harvest(iter(suites) if is_lazy else suites, after={"acme/shop/typo": 5}).run()
        assert len(fake.requests) == (2 if is_lazy else 0)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"after": {"acme/shop/s0": -1}}, "after of acme/shop/s0 must be a whole number of at least 0, not -1"),
            ({"cursors": {"acme/shop/s0": Cursor(0, 8)}}, "cursors of acme/shop/s0.lowest_id must be a whole number"),
            ({"cursors": {"acme/shop/s0": "3@8"}}, "cursors of acme/shop/s0 must be a Cursor, not '3@8'"),
            (
                {"after": {"acme/shop/s0": 1, SuiteKey("acme", "shop", "s0"): 2}},
                "after names acme/shop/s0 twice: leave one out",
            ),
        ],
        ids=str,
    )
    def test_invalid_starts(self, buddy: BuddyClient, options: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(message)):
            buddy.harvest(["acme/shop/s0"], **options)

    async def test_last_suite_uses_the_slots_of_the_others(self, fake: FakeBuddy) -> None:
        fake.latency = 0.01
        suites = [*add_suites(fake, 8, 1), fake.add_suite("acme", "shop", "giant").populate(2000).key]
        in_flight: list[int] = []
        fake.on_request = lambda request: in_flight.append(fake.in_flight) if request.page > 10 else None
        async with BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=4, per_page=50) as buddy:
            await buddy.harvest(suites, concurrency=9).run()
        assert max(in_flight) == 4

    @pytest.mark.parametrize(("concurrency", "expected"), [(None, 3), (2, 2)])
    async def test_concurrency_limits_the_suites_that_are_read_at_once(
        self, fake: FakeBuddy, concurrency: int | None, expected: int
    ) -> None:
        suites = add_suites(fake, 20, 1)
        fake.latency = 0.01
        async with BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=3) as buddy:
            await buddy.harvest(suites, concurrency=concurrency).run()
        assert fake.max_in_flight == expected


class TestFailures:
    async def test_failed_suites_are_raised_after_all_others(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 20, 3)
        missing = [SuiteKey("acme", "shop", "nope"), SuiteKey("acme", "..", "x")]
        found: list[Session] = []

        async def read(harvest: Harvest) -> None:
            async for _, session in harvest:
                found.append(session)

        async with buddy.harvest([missing[0], *suites, missing[1]]) as harvest:
            with pytest.raises(HarvestError) as caught:
                await read(harvest)
        assert len(found) == 60
        assert {key: type(error) for key, error in caught.value.failures.items()} == {
            missing[0]: NotFoundError,
            missing[1]: ConfigError,
        }
        assert (harvest.stats.suites, harvest.stats.failed, harvest.stats.verified) == (20, 2, False)

    @pytest.mark.parametrize(
        ("suite", "kind", "message"),
        [
            *((suite, ConfigError, "not a suite") for suite in (("a", "b"), 7)),
            ("a/b", ConfigError, r"^a project, not a suite: 'a/b'; pass those of buddy.suites\('a', 'b'\)$"),
            (None, LookupError, "gone"),
        ],
    )
    async def test_invalid_suite_ends_the_harvest_after_the_suites_before_it(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: Any, kind: type[Exception], message: str
    ) -> None:
        first, *others = add_suites(fake, 100, 1)

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
        assert len(fake.requests) == 1

    async def test_closed_client_ends_the_harvest(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        await buddy.close()
        with pytest.raises(ClientClosedError, match="the client is closed: keep it open until your loops have ended"):
            await buddy.harvest(add_suites(fake, 2, 1)).run()


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
            buddy.harvest(suites, concurrency=1, on_failure="collect") as harvest,
        ):
            with pytest.raises(TransportError, match=r"responded with 407 .*; 180 suites were not tried$") as caught:
                await anext(harvest)
        assert not caught.value.retryable
        assert len(proxy.requests) == 20

    @pytest.mark.parametrize("sequence", [[*[503] * 19, 500], [404], [403]], ids=str)
    async def test_other_failures_do_not_end_it(self, fake: FakeBuddy, buddy: BuddyClient, sequence: list[int]) -> None:
        fake.inject(*map(Fault.status, sequence), times=60)
        stats = await buddy.harvest(add_suites(fake, 60, 1), concurrency=1, on_failure="collect").run()
        assert stats.failed == 60
