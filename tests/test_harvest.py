from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions import (
    AuthenticationError,
    BuddyClient,
    BuddyError,
    ClientClosedError,
    ConfigError,
    Harvest,
    HarvestError,
    NotFoundError,
    RateLimitError,
    ServerError,
    Session,
    SessionPaginator,
    SessionStore,
    SuiteKey,
    SuiteRef,
    TransportError,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.overlaps import overlapping_requests
from helpers.raw_server import http_response, raw_server

pytestmark = pytest.mark.virtual_time  # so a sleep returns when nothing more happens


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1) as client:
        yield client


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

    async def test_slow_consumer_gets_the_queued_pages_and_then_the_end(
        self, fake: FakeBuddy, buddy: BuddyClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        suites = add_suites(fake, 2, 1)
        async with buddy.harvest(keys(suites), concurrency=1) as harvest:
            first = await anext(harvest)
            await asyncio.sleep(1)
            assert harvest.stats.suites == 2
            assert [key for key, _ in [first, *[found async for found in harvest]]] == keys(suites)
        assert not caplog.records

    async def test_finished_suites_are_not_kept(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = [*keys(add_suites(fake, 20, 1)), SuiteKey("acme", "shop", "missing")]
        async with buddy.harvest(suites, on_failure="collect") as harvest:
            assert len([pair async for pair in harvest]) == 20
        gc.collect()
        assert not [each for each in gc.get_objects() if type(each) is SessionPaginator]

    async def test_pages_name_their_suite(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 3, 2)
        async with buddy.harvest(keys(suites)) as harvest:
            pages = [(page.suite, len(page.sessions), page.is_last) async for page in harvest.pages()]
        assert sorted(pages) == [(key, 2, True) for key in keys(suites)]

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

    async def test_any_reference_to_a_suite_is_accepted(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 4, 1)
        references: tuple[SuiteRef, ...] = (suites[0].key, "acme/shop/s1", suites[2].html_url, suites[3].url)
        assert sorted([key async for key, _ in buddy.harvest(references)]) == keys(suites)

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

    async def test_giant_suite_does_not_starve_the_small_ones(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        giant = fake.add_suite("acme", "shop", "giant").populate(2000)
        small = add_suites(fake, 50, 2)
        fake.latency = 0.002
        async with buddy.harvest(keys([giant, *small])) as harvest:
            order = [page.suite async for page in harvest.pages()]
        assert max(order.index(key) for key in keys(small)) < len(order) - 2


class TestReadAhead:
    """The giant suite has 60 pages, and the small ones one page each. Latency: 50 ms."""

    GIANT = SuiteKey("acme", "shop", "giant")

    @pytest.fixture
    def small(self, fake: FakeBuddy) -> list[SuiteKey]:
        fake.latency = 0.05
        fake.add_suite(*self.GIANT).populate(60 * 20)
        return keys(add_suites(fake, 300, 2))

    @pytest.fixture
    async def buddy(self, fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
        async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1, per_page=20) as client:
            yield client

    @pytest.mark.parametrize("position", [0, 150, 300])
    async def test_giant_suite_costs_no_time_wherever_it_comes(
        self, fake: FakeBuddy, buddy: BuddyClient, small: list[SuiteKey], position: int
    ) -> None:
        now = asyncio.get_running_loop().time
        started = now()
        async with buddy.harvest([*small[:position], self.GIANT, *small[position:]]) as harvest:
            assert len([pair async for pair in harvest]) == 60 * 20 + 300 * 2
        assert now() - started <= 1.15 * 360 * 0.05 / 8
        assert len(fake.requests) == 360
        assert fake.max_in_flight == 8

    async def test_no_page_is_requested_in_advance_while_suites_wait(
        self, fake: FakeBuddy, buddy: BuddyClient, small: list[SuiteKey]
    ) -> None:
        overlaps = overlapping_requests(fake, latency=0.05)
        async with buddy.harvest([self.GIANT, *small]) as harvest:
            async for _ in harvest:
                pass
        assert overlaps
        assert overlaps[0] >= 300

    async def test_idle_slots_are_used_while_fewer_suites_are_read_at_once(
        self, fake: FakeBuddy, buddy: BuddyClient, small: list[SuiteKey]
    ) -> None:
        async with buddy.harvest([self.GIANT, *small], concurrency=2) as harvest:
            async for _ in harvest:
                pass
        assert fake.max_in_flight == 8

    async def test_suites_share_the_pages_in_advance(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = [fake.add_suite("acme", "shop", f"s{number}").populate(60 * 20) for number in range(3)]
        async with buddy.harvest(keys(suites)) as harvest:
            await anext(harvest)
            await asyncio.sleep(1)
            # One page was taken, the queue has 8, each worker holds one, and 8 slots are there.
            assert len(fake.requests) <= 1 + 8 + 3 + 8

    async def test_slots_of_a_failed_suite_are_used_by_the_others(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        fake.latency = 0.05
        suites = [fake.add_suite("acme", "shop", f"s{number}").populate(60 * 20) for number in range(8)]

        def fail(request: RecordedRequest) -> None:
            if request.page == 3 and "/s7/" not in request.path:
                fake.inject(Fault.status(500))

        fake.on_request = fail
        async with buddy.harvest(keys(suites), concurrency=4, on_failure="collect") as harvest:
            async for key, session in harvest:
                if key == SuiteKey(*suites[7].key) and session.relative_id < 60 * 20 - 100:
                    break
            fake.max_in_flight = 0
            async for _ in harvest:
                pass
        assert len(harvest.failures) == 7
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
        ("arguments", "message"),
        [
            *(
                ({"suites": suites}, "suites must be an iterable of suites")
                for suites in ("a/b/c", SuiteKey("a", "b", "c"), 7)
            ),
            ({"concurrency": 0}, "concurrency"),
            ({"on_failure": "ignore"}, "on_failure"),
            ({"branch": ""}, "branch"),
            ({"branch": "\ud800"}, "branch"),
            ({"after": -1}, "after"),
            ({"since": 7}, "since"),
        ],
        ids=ascii,
    )
    def test_arguments_must_be_valid(self, arguments: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            BuddyClient("token").harvest(**{"suites": [], **arguments})

    @pytest.mark.parametrize("suite", ["a/b", ("a", "b"), 7, None])
    async def test_invalid_suite_ends_the_harvest_after_the_suites_before_it(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: Any
    ) -> None:
        first, *others = keys(add_suites(fake, 100, 1))
        async with buddy.harvest([first, suite, *others], concurrency=2) as harvest:
            assert (await anext(harvest))[0] == first
            with pytest.raises(ConfigError, match="not a suite"):
                await anext(harvest)
            assert [pair async for pair in harvest] == []
        assert len(fake.requests) == 1

    async def test_error_of_the_iterable_is_raised_after_the_suites_before_it(
        self, fake: FakeBuddy, buddy: BuddyClient
    ) -> None:
        (first,) = keys(add_suites(fake, 1, 1))

        async def source() -> AsyncIterator[SuiteKey]:
            yield first
            raise LookupError("the list of suites is gone")

        async with buddy.harvest(source()) as harvest:
            await anext(harvest)
            with pytest.raises(LookupError, match="gone"):
                await anext(harvest)

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
        tasks = len(asyncio.all_tasks())
        async with (
            BuddyClient(token, base_url=fake.base_url) as buddy,
            buddy.harvest(keys(suites), concurrency=1) as harvest,
        ):
            found = [await anext(harvest), await anext(harvest)]
            with pytest.raises(LookupError, match="the vault is closed"):
                await anext(harvest)
        assert [key for key, _ in found] == keys(suites)[:2]
        assert len(fake.requests) == 3
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == tasks

    async def test_cancelled_token_callable_fails_each_suite(self, fake: FakeBuddy) -> None:
        async def token() -> str:
            raise asyncio.CancelledError

        suites = keys(add_suites(fake, 3, 1))
        async with BuddyClient(token, base_url=fake.base_url) as buddy, buddy.harvest(suites) as harvest:
            with pytest.raises(HarvestError) as caught:
                await anext(harvest)
        assert [type(error) for error in caught.value.failures.values()] == [TransportError] * 3


class TestRejectedToken:
    @pytest.mark.parametrize("on_failure", ["raise", "collect"])
    @pytest.mark.parametrize("concurrency", [None, 1, 50])
    async def test_harvest_ends_at_once(self, fake: FakeBuddy, on_failure: Any, concurrency: int | None) -> None:
        suites = keys(add_suites(fake, 1200, 0))
        fake.latency = 0.01
        async with (
            BuddyClient("another", base_url=fake.base_url) as buddy,
            buddy.harvest(suites, on_failure=on_failure, concurrency=concurrency) as harvest,
        ):
            with pytest.raises(AuthenticationError) as caught:
                await anext(harvest)
            assert [pair async for pair in harvest] == []
            await asyncio.sleep(1)
        started = concurrency or 8
        assert len(fake.requests) <= 8 + 2
        assert caught.value.not_tried == 1200 - started
        assert str(caught.value).endswith(f"; {1200 - started:,} suites were not tried")
        assert set(harvest.failures) <= set(suites[:started])
        assert caught.value in harvest.failures.values()
        assert not harvest.stats.verified

    async def test_sync_ends_at_once(self, fake: FakeBuddy, tmp_path: Path) -> None:
        suites = keys(add_suites(fake, 1200, 0))
        async with (
            BuddyClient("another", base_url=fake.base_url) as buddy,
            SessionStore(tmp_path / "s.db") as store,
            store.sync(buddy, suites, on_failure="collect") as sync,
        ):
            with pytest.raises(AuthenticationError, match="; 1,184 suites were not tried") as caught:
                await anext(sync)
        assert caught.value in sync.failures.values()
        assert len(fake.requests) <= 8 + 2

    async def test_queued_pages_come_first(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = keys(add_suites(fake, 4, 1))
        fake.inject(Fault.stall(0), Fault.stall(0), Fault.status(401))
        async with buddy.harvest(suites, concurrency=1) as harvest:
            await anext(harvest)
            await asyncio.sleep(1)
            found = await anext(harvest)
            with pytest.raises(AuthenticationError, match=r"; 1 suite was not tried$"):
                await anext(harvest)
        assert found[0] == suites[1]
        assert [*harvest.failures] == [suites[2]]

    @pytest.mark.slow
    @pytest.mark.parametrize("is_callable", [False, True])
    async def test_token_rejected_in_the_middle(self, fake: FakeBuddy, is_callable: bool) -> None:
        first_token, calls = fake.token, 0

        async def token() -> str:
            nonlocal calls
            calls += 1
            return f"{first_token}-{calls}" if calls > 1 else first_token

        suites = keys(add_suites(fake, 500, 250))
        fake.latency = 0.01
        rejected = 0

        def reject(request: RecordedRequest) -> None:
            nonlocal rejected
            if len(fake.requests) > 100:
                fake.token = "another"
                rejected += 1

        fake.on_request = reject
        async with (
            BuddyClient(token if is_callable else first_token, base_url=fake.base_url) as buddy,
            buddy.harvest(suites) as harvest,
        ):
            with pytest.raises(AuthenticationError):
                _ = [pair async for pair in harvest]
        assert rejected <= 8 + 2  # those in flight are rejected, too
        assert calls == 2 * is_callable

    @pytest.mark.parametrize(("source", "not_tried"), [(iter, None), (lambda suites: suites[:1], 0)])
    async def test_no_suite_is_known_to_be_left(
        self, fake: FakeBuddy, source: Callable[[list[SuiteKey]], Any], not_tried: int | None
    ) -> None:
        suites = source(keys(add_suites(fake, 100, 0)))
        async with BuddyClient("another", base_url=fake.base_url) as buddy, buddy.harvest(suites) as harvest:
            with pytest.raises(AuthenticationError) as caught:
                await anext(harvest)
        assert caught.value.not_tried == not_tried
        assert "not tried" not in str(caught.value)


class TestEqualFailures:
    """20 suites in a row that fail with the same retryable error."""

    @pytest.mark.parametrize("on_failure", ["raise", "collect"])
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (Fault.status(503), ServerError),
            (Fault.disconnect(), TransportError),
            (Fault.status(429, headers={"Retry-After": "900"}), RateLimitError),
        ],
        ids=["503", "disconnect", "429"],
    )
    async def test_harvest_ends(
        self, fake: FakeBuddy, buddy: BuddyClient, fault: Fault, kind: type[BuddyError], on_failure: Any
    ) -> None:
        suites = keys(add_suites(fake, 1300, 0))
        fake.on_request = lambda _: fake.inject(fault)
        async with buddy.harvest(suites, on_failure=on_failure) as harvest:
            with pytest.raises(kind, match=r"; 1,27[0-9] suites were not tried$") as caught:
                await anext(harvest)
        assert caught.value.retryable
        assert 20 <= len(harvest.failures) <= 27
        assert caught.value in harvest.failures.values()
        assert len(fake.requests) <= 2 * 28  # aiohttp sends a request again if a reused connection was closed

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

    async def test_sync_ends(self, fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path) -> None:
        suites = keys(add_suites(fake, 100, 0))
        fake.on_request = lambda _: fake.inject(Fault.status(503))
        async with SessionStore(tmp_path / "s.db") as store, store.sync(buddy, suites, concurrency=1) as sync:
            with pytest.raises(ServerError, match=r"; 80 suites were not tried$"):
                await anext(sync)
        assert len(fake.requests) == len(sync.failures) == 20

    @pytest.mark.parametrize(
        "sequence",
        [
            [*[503] * 19, 200],
            [*[503] * 19, 500],
            [503, 500],
            [*[503] * 19, 404],
            [404],
            [501],
            [403],
        ],
        ids=["success", "status", "alternating", "interrupted", "404", "501", "403"],
    )
    async def test_other_failures_do_not_end_it(self, fake: FakeBuddy, buddy: BuddyClient, sequence: list[int]) -> None:
        suites = keys(add_suites(fake, 60, 1))
        faults = {200: Fault.stall(0)}
        fake.inject(*[faults.get(status) or Fault.status(status) for status in sequence], times=60)
        async with buddy.harvest(suites, concurrency=1, on_failure="collect") as harvest:
            found = [pair async for pair in harvest]
        assert len(found) + len(harvest.failures) == 60
        assert len(found) == (3 if 200 in sequence else 0)

    async def test_page_of_another_suite_counts_as_success(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        giant = fake.add_suite("acme", "shop", "giant").populate(3000)
        small = add_suites(fake, 25, 1)
        fake.on_request = lambda request: None if "giant" in request.path else fake.inject(Fault.status(503))
        async with buddy.harvest(keys([giant, *small]), concurrency=2, on_failure="collect") as harvest:
            found = [pair async for pair in harvest]
        assert (len(found), len(harvest.failures)) == (3000, 25)


@pytest.mark.parametrize("by_pages", [False, True])
async def test_second_task_gets_an_error_while_the_first_is_between_two_items(
    fake: FakeBuddy, buddy: BuddyClient, by_pages: bool
) -> None:
    suites = add_suites(fake, 20, 0)
    expected = {session["id"] for suite in suites for session in suite.populate(100).sessions}
    found: list[str] = []
    intruded = 0

    async def intrude(harvest: Harvest) -> None:
        nonlocal intruded
        with pytest.raises(RuntimeError, match="another task is iterating over this harvest"):
            await (anext(harvest.pages()) if by_pages else anext(harvest))
        intruded += 1

    async with buddy.harvest(keys(suites)) as harvest:
        async for _, session in harvest:
            found.append(session.id)
            if session.relative_id % 25 == 0:
                await asyncio.create_task(intrude(harvest))
    assert intruded == 20 * 4
    assert len(found) == len(expected) == 2000
    assert set(found) == expected


async def test_task_continues_after_the_first_has_ended(fake: FakeBuddy, buddy: BuddyClient) -> None:
    suites = add_suites(fake, 1, 3)
    async with buddy.harvest(keys(suites)) as harvest:
        found = [(await asyncio.create_task(anext(harvest)))[1].relative_id for _ in range(3)]
    assert found == [3, 2, 1]


async def leave_by_break(harvest: Harvest) -> None:
    async with harvest:
        async for _ in harvest:
            break


async def leave_by_cancelling(harvest: Harvest) -> None:
    async def consume() -> None:
        async with harvest:
            async for _ in harvest:
                await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_unused(harvest: Harvest) -> None:
    async with harvest:
        pass


class TestLeaving:
    @pytest.mark.parametrize("leave", [leave_by_break, leave_by_cancelling, leave_unused])
    async def test_leaving_a_harvest_leaves_nothing_behind(
        self, fake: FakeBuddy, leave: Callable[[Harvest], Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        suites = add_suites(fake, 50, 150)
        fake.latency = 0.005
        tasks = len(asyncio.all_tasks())
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            await leave(buddy.harvest(keys(suites)))
        await asyncio.sleep(1)  # the server notices later that connections are closed
        assert (len(asyncio.all_tasks()), fake.in_flight) == (tasks, 0)
        assert len(fake.requests) < 90
        assert not caplog.records

    async def test_slow_consumer_slows_the_harvest_down(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 200, 1)
        async with buddy.harvest(keys(suites), concurrency=4) as harvest:
            await anext(harvest)
            await asyncio.sleep(60)
            assert len(fake.requests) <= 10

    async def test_closing_ends_a_loop_that_waits(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 3, 20)
        fake.inject(Fault.stall(0), Fault.hang(), Fault.hang())
        harvest = buddy.harvest(keys(suites), concurrency=2)
        await anext(harvest)
        waiting = asyncio.create_task(harvest.aclose())
        await waiting
        assert [pair async for pair in harvest] == []  # not even the rest of a page


@pytest.mark.slow
async def test_thousand_changing_suites_a_giant_one_and_five_missing_ones(fake: FakeBuddy) -> None:
    chance = random.Random(5)
    suites = add_suites(fake, 1000, 3)
    giant = fake.add_suite("acme", "shop", "giant").populate(3000)
    missing = [SuiteKey("acme", "shop", f"missing-{number}") for number in range(5)]
    stable = {session["id"] for suite in [*suites, giant] for session in suite.sessions}

    def churn(request: Any) -> None:
        suite = fake.suites.get(("acme", "shop", request.path.split("/")[-2]))
        if suite is None:
            return
        suite.create()
        if chance.random() < 0.3:
            deleted = chance.choice(suite.sessions)
            suite.delete(deleted["id"])
            stable.discard(deleted["id"])

    fake.on_request = churn
    order = keys([*suites, giant]) + missing
    chance.shuffle(order)
    found: list[str] = []
    tasks = len(asyncio.all_tasks())
    max_tasks = 0

    async def read(harvest: Harvest) -> None:
        nonlocal max_tasks
        async for _, session in harvest:
            found.append(session.id)
            max_tasks = max(max_tasks, len(asyncio.all_tasks()) - tasks)

    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy, buddy.harvest(order) as harvest:
        with pytest.raises(HarvestError) as caught:
            await read(harvest)
    assert len(found) == len(set(found))
    assert stable <= set(found)
    assert set(caught.value.failures) == set(missing)
    assert max_tasks <= 8 + 8 * 4 + 8  # workers, pages that are read ahead, connections of the server
