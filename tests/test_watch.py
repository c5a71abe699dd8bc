from __future__ import annotations

import asyncio
import gc
import logging
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from buddy_sessions import (
    AuthenticationError,
    BuddyClient,
    Change,
    ChangeKind,
    ClientClosedError,
    ConfigError,
    NotFoundError,
    ServerError,
    Session,
    StatusError,
    SuiteKey,
    SuiteRef,
    Watch,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from buddy_sessions.testing.faults import MakeResponse
from helpers.virtual_time import count_jumps

pytestmark = pytest.mark.virtual_time

NEW, CHANGED, FINISHED = ChangeKind.NEW, ChangeKind.CHANGED, ChangeKind.FINISHED
INTERVAL = 60.0
ONE_ROUND = INTERVAL * 1.2  # seconds in which every suite is due at least once


class Rounds:
    """Collects the changes of a watch while time passes."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._changes: list[Change] = []

    async def collect(self) -> None:
        async for change in self.watch:
            self._changes.append(change)

    async def next(self, seconds: float = ONE_ROUND) -> list[Change]:
        """Let time pass, and return the changes of the rounds that are due meanwhile."""
        await asyncio.sleep(seconds)
        changes, self._changes = self._changes, []
        return changes


@asynccontextmanager
async def watching(
    buddy: BuddyClient, *suites: FakeSuite | SuiteRef, branch: str | None = None
) -> AsyncIterator[Rounds]:
    """Watch suites, and yield after the first round."""
    references = [suite.key if isinstance(suite, FakeSuite) else suite for suite in suites]
    watch = buddy.watch(references, interval=INTERVAL, branch=branch, on_failure="retry")
    async with watch, asyncio.TaskGroup() as group:
        rounds = Rounds(watch)
        consumer = group.create_task(rounds.collect())
        assert await rounds.next(seconds=1) == []
        yield rounds
        consumer.cancel()


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1, max_concurrency=4) as client:
        yield client


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "unit")


def add_suites(fake: FakeBuddy, count: int) -> list[FakeSuite]:
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(count)]
    for suite in suites:
        suite.create()
    return suites


def keys(suites: Iterable[FakeSuite]) -> list[SuiteKey]:
    return [SuiteKey(*suite.key) for suite in suites]


def short(changes: Iterable[Change]) -> list[tuple[ChangeKind, int]]:
    return [(change.kind, change.session.relative_id) for change in changes]


def create_with_each_request(fake: FakeBuddy) -> None:
    """Create a session in a suite whenever it is requested."""
    fake.on_request = lambda request: fake.suites["acme", "shop", request.path.split("/")[-2]].create()


def record_times(fake: FakeBuddy) -> dict[str, list[float]]:
    """Return the times at which each suite is requested from now on, by the path of the request."""
    times: dict[str, list[float]] = {}
    now = asyncio.get_running_loop().time

    def record(request: Any) -> None:
        times.setdefault(request.path, []).append(now())

    fake.on_request = record
    return times


async def assert_one_request_a_round(fake: FakeBuddy, rounds: Rounds, count: int = 1) -> None:
    """Assert that nothing changes, and that each round costs one request: no two requests are at the same time."""
    times = record_times(fake)
    for _ in range(count):
        assert await rounds.next() == []
    (requested,) = times.values()
    assert len(requested) >= count
    assert all(later - earlier >= INTERVAL * 0.9 for earlier, later in pairwise(requested))
    fake.on_request = None


def churn(suite: FakeSuite, chance: random.Random) -> None:
    for _ in range(chance.randrange(4)):
        session = chance.choice([None, *suite.sessions[:8]])
        if session is None or chance.random() < 0.3:
            suite.create(status=chance.choice(["IN_PROGRESS", "ERROR"]))
        elif session["status"] != "IN_PROGRESS":
            suite.reopen(session["id"])
        elif chance.random() < 0.8:
            suite.finish(session["id"])
        else:
            suite.delete(session["id"])


@contextmanager
def traced_memory() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the number of bytes that were allocated since, and not released."""

    def traced() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        yield traced
    finally:
        tracemalloc.stop()


class TestChanges:
    async def test_sessions_that_exist_at_the_start_are_not_reported(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(150)
        async with watching(buddy, suite) as rounds:
            assert len(fake.requests) == 1
            assert await rounds.next() == []

    async def test_new_sessions_arrive_oldest_first_and_once(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(5)
        async with watching(buddy, suite) as rounds:
            suite.create()
            suite.create(status="SUCCESSFUL")
            suite.create()
            changes = await rounds.next()
            assert short(changes) == [(NEW, 6), (NEW, 7), (NEW, 8)]
            assert [change.session.is_finished for change in changes] == [False, True, False]
            assert {(change.suite, change.previous) for change in changes} == {(SuiteKey(*suite.key), None)}
            assert await rounds.next() == []

    async def test_finished_session_carries_its_previous_state(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        first = suite.create()["id"]
        async with watching(buddy, suite) as rounds:
            suite.finish(first, "ERROR")
            second = suite.create()["id"]
            changes = await rounds.next()
            assert short(changes) == [(FINISHED, 1), (NEW, 2)]
            assert changes[0].previous is not None
            assert (changes[0].previous.status, changes[0].session.status) == ("IN_PROGRESS", "ERROR")
            suite.finish(second)
            assert short(await rounds.next()) == [(FINISHED, 2)]
            assert await rounds.next() == []

    async def test_any_other_difference_is_a_change(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        first = suite.create()["id"]
        suite.finish(first, tests_count=1)
        second = suite.create(status="SUCCESSFUL")["id"]
        async with watching(buddy, suite) as rounds:
            suite.finish(first, tests_count=2)
            suite.reopen(second)
            changes = await rounds.next()
            assert short(changes) == [(CHANGED, 1), (CHANGED, 2)]
            assert changes[0].previous is not None
            assert (changes[0].previous.tests_count, changes[0].session.tests_count) == (1, 2)
            suite.finish(second)
            assert short(await rounds.next()) == [(FINISHED, 2)]

    async def test_unchanged_sessions_are_not_reported_with_a_changed_one(
        self, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        """Whatever values they have."""
        suite.populate(50)
        suite.create(status="PAUSED", ref_type="COMMIT", ref_name="\ud800", ci_provider="OTHER")
        suite.create(status="ERROR", duration=0.1, tests_count=None, error_message="\N{SNOWMAN}\0")
        async with watching(buddy, suite) as rounds:
            suite.create(status="SUCCESSFUL")
            assert short(await rounds.next()) == [(NEW, 53)]

    async def test_first_session_of_an_empty_suite(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        async with watching(buddy, suite) as rounds:
            suite.create()
            assert short(await rounds.next()) == [(NEW, 1)]

    async def test_suite_that_was_empty_fills_more_than_a_page(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        async with watching(buddy, suite) as rounds:
            suite.populate(101)
            assert [change.session.relative_id for change in await rounds.next()] == list(range(1, 102))

    async def test_more_new_sessions_than_a_page_holds(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(130)
        async with watching(buddy, suite) as rounds:
            for _ in range(250):
                suite.create(status="SUCCESSFUL")
            assert short(await rounds.next()) == [(NEW, number) for number in range(131, 381)]
            assert await rounds.next() == []

    async def test_session_that_appears_below_known_ones_is_new(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        newest = suite.create(relative_id=2, status="SUCCESSFUL")
        async with watching(buddy, suite) as rounds:
            suite.delete(newest["id"])
            suite.create(relative_id=1, status="SUCCESSFUL")
            suite.create(**newest)
            assert short(await rounds.next()) == [(NEW, 1)]

    async def test_branch_limits_the_watch(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create()
        async with watching(buddy, suite, branch="main") as rounds:
            suite.create(branch="develop")
            suite.create()
            assert short(await rounds.next()) == [(NEW, 3)]
        assert {request.query["branch"] for request in fake.requests} == {"main"}

    async def test_older_sessions_that_move_up_are_not_new(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(200)
        async with watching(buddy, suite) as rounds:
            for session in suite.sessions[:5]:
                suite.delete(session["id"])
            assert await rounds.next() == []
            suite.create()
            assert short(await rounds.next()) == [(NEW, 201)]

    @pytest.mark.parametrize("seed", range(4))
    async def test_changes_add_up_to_the_state_of_the_suite(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, seed: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The suite changes between rounds and while it is read, and some rounds fail."""
        chance = random.Random(seed)
        caplog.set_level(logging.ERROR)  # failures are expected here
        fake.largest_page = chance.choice([20, 50, None])
        suite.populate(chance.choice([0, 10, 70]))
        known = {session["id"]: session["status"] for session in suite.sessions}

        def disturb(_: object) -> None:
            churn(suite, chance)
            if chance.random() < 0.1:
                fake.inject(Fault.status(503))

        def apply(changes: list[Change]) -> None:
            for change in changes:
                session = change.session
                assert (change.kind is NEW) == (session.id not in known)
                assert (change.previous and change.previous.status) == known.get(session.id)
                if change.kind is FINISHED:
                    assert session.is_finished > (known[session.id] != "IN_PROGRESS")
                known[session.id] = session.status

        async with watching(buddy, suite) as rounds:
            fake.on_request = disturb
            for _ in range(60):
                apply(await rounds.next())
            fake.on_request = None
            fake.faults.clear()
            apply(await rounds.next(INTERVAL * 20))  # longer than the longest wait after a failure
            newest = {session["id"]: session["status"] for session in suite.sessions[:100]}
            assert newest
            assert newest.items() <= known.items()
            assert await rounds.next() == []


class TestRequests:
    @pytest.mark.parametrize("largest", [20, 50, None])
    @pytest.mark.parametrize("count", [0, 1, 30, 100, 101, 400])
    async def test_idle_suite_costs_one_request_a_round(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, count: int, largest: int | None
    ) -> None:
        for _ in range(count):
            suite.create(status="SUCCESSFUL")
        fake.largest_page = largest
        async with watching(buddy, suite) as rounds:
            await assert_one_request_a_round(fake, rounds, 5)

    @pytest.fixture
    async def buddy_with_small_pages(self, fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
        async with BuddyClient(fake.token, base_url=fake.base_url, per_page=20) as client:
            yield client

    async def test_unfinished_session_is_watched_farther_down(
        self, fake: FakeBuddy, buddy_with_small_pages: BuddyClient, suite: FakeSuite
    ) -> None:
        running = suite.create()["id"]
        for _ in range(79):
            suite.create(status="SUCCESSFUL")
        async with watching(buddy_with_small_pages, suite) as rounds:
            suite.finish(running)
            assert short(await rounds.next()) == [(FINISHED, 1)]
            await assert_one_request_a_round(fake, rounds)

    async def test_unfinished_session_at_the_end_of_a_page_costs_no_further_page(
        self, fake: FakeBuddy, buddy_with_small_pages: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create(status="SUCCESSFUL")
        suite.create()
        for _ in range(19):
            suite.create(status="SUCCESSFUL")
        async with watching(buddy_with_small_pages, suite) as rounds:
            await assert_one_request_a_round(fake, rounds)

    async def test_deleted_session_is_not_looked_for_again(
        self, fake: FakeBuddy, buddy_with_small_pages: BuddyClient, suite: FakeSuite
    ) -> None:
        running = suite.create()["id"]
        for _ in range(60):
            suite.create(status="SUCCESSFUL")
        async with watching(buddy_with_small_pages, suite) as rounds:
            suite.delete(running)
            assert await rounds.next(2 * ONE_ROUND) == []  # the second one looks again: one response may be wrong
            await assert_one_request_a_round(fake, rounds)

    async def test_session_that_one_round_does_not_list_is_still_watched(
        self, fake: FakeBuddy, buddy_with_small_pages: BuddyClient, suite: FakeSuite
    ) -> None:
        running = suite.create()["id"]
        for _ in range(30):
            suite.create(status="SUCCESSFUL")
        async with watching(buddy_with_small_pages, suite) as rounds:
            fake.on_request = lambda _: fake.inject(Fault.filtered(lambda session: session["id"] == running))
            assert await rounds.next() == []
            fake.on_request = None
            suite.finish(running)
            assert short(await rounds.next()) == [(FINISHED, 1)]

    async def test_known_page_that_moves_down_is_read(
        self, fake: FakeBuddy, buddy_with_small_pages: BuddyClient, suite: FakeSuite
    ) -> None:
        """The first page of the last round is the second one now, and still has an unfinished session."""
        running = suite.create()["id"]
        for _ in range(19):
            suite.create(status="SUCCESSFUL")
        async with watching(buddy_with_small_pages, suite) as rounds:
            for _ in range(20):
                suite.create(status="SUCCESSFUL")
            assert short(await rounds.next()) == [(NEW, number) for number in range(21, 41)]
            suite.finish(running)
            assert short(await rounds.next()) == [(FINISHED, 1)]

    @pytest.mark.slow
    async def test_memory_of_a_suite(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        """The bytes that more suites add, so that what the client and the server need in any case is not counted."""
        suites = [suite.populate(100) for suite in add_suites(fake, 80)]
        sizes: list[int] = []
        for count in (4, 10, 60):  # the first watch warms up
            with traced_memory() as traced:
                async with watching(buddy, *suites[:count]) as rounds:
                    assert await rounds.next() == []
                    fake.requests.clear()
                    sizes.append(traced())
        assert (sizes[2] - sizes[1]) / 50 <= 20_000

    async def test_session_behind_a_hundred_newer_ones_is_no_longer_watched(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "buddy_sessions")
        running = suite.create()["id"]
        async with watching(buddy, suite) as rounds:
            for _ in range(150):
                suite.create(status="SUCCESSFUL")
            assert len(await rounds.next()) == 150
            reported = [message for message in caplog.messages if "too old" in message]
            assert reported == ["acme/shop/unit: session 1 is unfinished, but too old to be watched"]
            suite.finish(running)
            await assert_one_request_a_round(fake, rounds)
            for session in suite.sessions[:60]:
                suite.delete(session["id"])
            assert await rounds.next() == []  # the older sessions that moved up are known to be old


class TestFailures:
    async def test_failing_suite_stops_no_other_and_is_logged_once(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        suite.create()
        missing = SuiteKey("acme", "shop", "late")
        async with watching(buddy, suite, missing) as rounds:
            assert list(rounds.watch.failures) == [missing]
            assert isinstance(rounds.watch.failures[missing], NotFoundError)
            suite.create()
            assert short(await rounds.next(INTERVAL * 3)) == [(NEW, 2)]
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert "cannot read acme/shop/late" in caplog.text
            late = fake.add_suite(*missing)
            late.create()
            assert await rounds.next(INTERVAL * 5) == []  # the watch of this suite starts here
            assert rounds.watch.failures == {}
            late.create()
            assert short(await rounds.next()) == [(NEW, 2)]
            fake.inject(Fault.status(503), times=2)
            await rounds.next()
            assert {type(error) for error in rounds.watch.failures.values()} == {ServerError}
            assert len(caplog.records) == 3

    async def test_changes_during_a_failure_are_not_lost(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        running = suite.create()["id"]
        async with watching(buddy, suite) as rounds:
            suite.finish(running)
            fake.inject(Fault.status(500))
            assert await rounds.next() == []
            suite.create()
            assert short(await rounds.next(INTERVAL * 3)) == [(FINISHED, 1), (NEW, 2)]

    async def test_changes_of_a_round_that_fails_later_are_not_lost(self, fake: FakeBuddy, suite: FakeSuite) -> None:
        """The first page of the round arrives, and is the same in the next round."""
        running = suite.create()["id"]
        for _ in range(30):
            suite.create(status="SUCCESSFUL")
        async with (
            BuddyClient(fake.token, base_url=fake.base_url, per_page=20, max_attempts=1) as buddy,
            watching(buddy, suite) as rounds,
        ):
            suite.finish(running)
            suite.create(status="SUCCESSFUL")
            fake.inject(Fault.stall(0), Fault.status(500))
            assert await rounds.next() == []
            assert short(await rounds.next(INTERVAL * 3)) == [(FINISHED, 1), (NEW, 32)]

    async def test_empty_suite_that_was_created_again(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        """Its list is empty before and after that, but its numbers start again."""
        suite.create(relative_id=150)
        async with watching(buddy, suite) as rounds:
            for _ in range(100):
                suite.create(status="SUCCESSFUL")
            await rounds.next()
            for session in list(suite.sessions):
                suite.delete(session["id"])
            assert await rounds.next() == []
            fake.inject(Fault.status(404))
            assert await rounds.next() == []
            assert await rounds.next(INTERVAL * 3) == []
            suite.create(relative_id=1)
            assert short(await rounds.next()) == [(NEW, 1)]

    @pytest.mark.parametrize("recreated", [True, False])
    async def test_suite_that_returns(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, recreated: bool
    ) -> None:
        """All sessions of a suite that was created again are new."""
        suite.populate(200)
        async with watching(buddy, suite) as rounds:
            del fake.suites[suite.key]
            assert await rounds.next() == []
            if recreated:
                other = fake.add_suite(*suite.key)
                for number in range(3):
                    other.create(id=f"other{number}", status="SUCCESSFUL")
                expected = [(NEW, 1), (NEW, 2), (NEW, 3)]
            else:
                fake.suites[suite.key] = suite
                suite.create()
                expected = [(NEW, 201)]
            assert short(await rounds.next(INTERVAL * 3)) == expected
            assert await rounds.next() == []
            for session in suite.sessions[:101]:  # all that are remembered, unless it was created again
                suite.delete(session["id"])
            assert await rounds.next() == []

    async def test_suite_that_is_created_again_between_two_rounds(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        """No round gets a 404. The numbers show it: they start again, with later sessions."""
        suite.populate(200, until=datetime(2026, 1, 1, tzinfo=UTC))
        async with watching(buddy, suite) as rounds:
            del fake.suites[suite.key]
            other = fake.add_suite(*suite.key)
            for number in range(3):
                other.create(id=f"other{number}", status="SUCCESSFUL")
            assert short(await rounds.next()) == [(NEW, 1), (NEW, 2), (NEW, 3)]
            other.create(id="other3")
            assert short(await rounds.next()) == [(NEW, 4)]

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_setup_error_in_the_first_round_is_raised(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, status: int
    ) -> None:
        fake.inject(Fault.status(status))
        async with buddy.watch([suite.key]) as watch:
            with pytest.raises(StatusError) as caught:
                await anext(watch)
            assert [change async for change in watch] == []
        assert caught.value.status == status
        assert len(fake.requests) == 1

    async def test_setup_error_in_a_later_round_is_retried(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        async with buddy.watch([suite.key], interval=INTERVAL) as watch:
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(1)
            fake.inject(Fault.status(401))
            await asyncio.sleep(ONE_ROUND)
            assert [type(error) for error in watch.failures.values()] == [AuthenticationError]
            suite.create()
            assert short([await waiting]) == [(NEW, 1)]

    async def test_other_failure_in_the_first_round_is_retried(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        fake.inject(Fault.status(500))
        async with buddy.watch([suite.key], interval=INTERVAL) as watch:
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(ONE_ROUND * 3)
            suite.create()
            assert short([await waiting]) == [(NEW, 1)]

    async def test_other_failure_does_not_hide_that_the_suite_was_missing(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(200)
        async with watching(buddy, suite) as rounds:
            del fake.suites[suite.key]
            assert await rounds.next() == []
            fake.inject(Fault.status(503))
            assert await rounds.next(INTERVAL * 3) == []
            assert {type(error) for error in rounds.watch.failures.values()} == {ServerError}
            fake.add_suite(*suite.key).create(id="other")
            assert short(await rounds.next(INTERVAL * 5)) == [(NEW, 1)]

    async def test_waiting_suite_does_not_delay_the_others(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        async with watching(buddy, SuiteKey("acme", "shop", "missing"), suite) as rounds:
            for number in range(1, 9):
                suite.create()
                assert short(await rounds.next()) == [(NEW, number)]

    async def test_suite_that_is_due_early_is_read_early(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        async with watching(buddy, SuiteKey("acme", "shop", "missing"), suite) as rounds:
            suite.create()
            # The second round of the second of two suites is due after half an interval.
            assert short(await rounds.next(INTERVAL * 0.62)) == [(NEW, 1)]

    async def test_failing_suite_is_tried_at_longer_intervals(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        times = list[float]()
        now = asyncio.get_running_loop().time

        def fail_eight_times(_: object) -> None:
            times.append(now())
            if len(times) < 9:
                fake.inject(Fault.status(500))
            else:
                suite.create()

        fake.on_request = fail_eight_times
        fake.latency = INTERVAL / 4  # an interval includes the time that reading takes
        async with buddy.watch([suite.key], interval=INTERVAL) as watch:
            assert short([await anext(watch)]) == [(NEW, 2)]
        waits = [(later - earlier) / INTERVAL for earlier, later in pairwise(times)]
        assert waits == pytest.approx([2, 4, 8, 16, 16, 16, 16, 16, 1], rel=0.101)
        assert len({round(wait, 6) for wait in waits[3:8]}) == 5  # each wait is a little different

    async def test_suite_whose_first_round_fails_waits_for_an_interval(
        self, fake: FakeBuddy, buddy: BuddyClient
    ) -> None:
        """The first rounds of all suites are at the same time, and the next ones are not."""
        suites = add_suites(fake, 10)
        times = record_times(fake)
        fake.inject(Fault.status(500), times=10)
        async with watching(buddy, *suites) as rounds:
            await rounds.next(INTERVAL * 2.2)
        waits = [(second - first) / INTERVAL for first, second, *_ in times.values()]
        assert len(waits) == 10
        assert min(waits) > 0.95
        assert max(waits) - min(waits) > 0.5

    async def test_closed_client_ends_the_watch(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = keys(add_suites(fake, 30))
        await buddy.close()
        async with buddy.watch(suites) as watch:
            with pytest.raises(ClientClosedError):
                await anext(watch)
            assert [change async for change in watch] == []
        assert watch.failures == {}

    async def test_any_other_error_ends_the_watch(self, fake: FakeBuddy) -> None:
        async def token() -> str:
            raise LookupError("the vault is closed")

        tasks = len(asyncio.all_tasks())
        async with (
            BuddyClient(token, base_url=fake.base_url) as buddy,
            buddy.watch(keys(add_suites(fake, 3))) as watch,
        ):
            with pytest.raises(LookupError, match="the vault is closed"):
                await anext(watch)
        assert len(asyncio.all_tasks()) == tasks

    async def test_queued_changes_arrive_before_the_error(self, fake: FakeBuddy, suite: FakeSuite) -> None:
        calls = 0

        async def token() -> str:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise LookupError("the vault is closed")
            return fake.token

        create_with_each_request(fake)
        async with (
            BuddyClient(token, base_url=fake.base_url) as buddy,
            buddy.watch([suite.key], interval=INTERVAL) as watch,
        ):
            assert short([await anext(watch)]) == [(NEW, 2)]
            await asyncio.sleep(ONE_ROUND)
            fake.inject(Fault.status(401))  # so the client asks for another token
            await asyncio.sleep(ONE_ROUND)
            assert short([await anext(watch)]) == [(NEW, 3)]
            with pytest.raises(LookupError, match="the vault is closed"):
                await anext(watch)

    async def test_cancelled_token_callable_fails_the_round(self, fake: FakeBuddy, suite: FakeSuite) -> None:
        """Like any failure, it is a failure of the suite, which is read again later."""
        calls = 0

        async def token() -> str:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise asyncio.CancelledError
            return fake.token

        suite.create()
        create_with_each_request(fake)
        async with (
            BuddyClient(token, base_url=fake.base_url) as buddy,
            buddy.watch([suite.key], interval=INTERVAL) as watch,
        ):
            assert short([await anext(watch)]) == [(NEW, 3)]
        assert calls == 2


class TestArguments:
    @pytest.mark.parametrize("suites", ["a/b/c", SuiteKey("a", "b", "c"), 7, None])
    def test_suites_must_be_an_iterable(self, suites: Any) -> None:
        with pytest.raises(ConfigError, match="suites must be an iterable of suites"):
            BuddyClient("token").watch(suites)

    @pytest.mark.parametrize("suite", ["a/b", ("a", "b"), None, 7])
    def test_each_must_be_a_suite(self, suite: Any) -> None:
        with pytest.raises(ConfigError, match="not a suite"):
            BuddyClient("token").watch([SuiteKey("a", "b", "c"), suite])

    @pytest.mark.parametrize("key", [("a", "..", "c"), ("a", ["b"], "c"), ("", "b", "c")])
    def test_names_must_be_valid(self, key: Any) -> None:
        with pytest.raises(ConfigError):
            BuddyClient("token").watch([key])

    @pytest.mark.parametrize(
        "arguments",
        [{"interval": 0}, {"interval": "1"}, {"interval": float("inf")}, {"branch": ""}, {"on_failure": "ignore"}],
        ids=str,
    )
    def test_other_arguments_must_be_valid(self, arguments: Any) -> None:
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            BuddyClient("token").watch([], **arguments)

    async def test_suite_that_is_listed_twice_is_watched_once(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create()
        async with watching(buddy, suite, "acme/shop/unit", suite.html_url) as rounds:
            assert len(fake.requests) == 1
            suite.create()
            assert short(await rounds.next()) == [(NEW, 2)]

    async def test_no_suites_are_an_empty_stream(self, buddy: BuddyClient) -> None:
        async with buddy.watch([]) as watch:
            assert [change async for change in watch] == []


class TestManySuites:
    async def test_rounds_are_spread_over_the_interval(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 200)
        tasks = len(asyncio.all_tasks())
        started = asyncio.get_running_loop().time()
        times = record_times(fake)
        async with watching(buddy, *suites) as rounds:
            assert [requested[0] for requested in times.values()] == [started] * 200
            assert len(asyncio.all_tasks()) - tasks <= 4 + 4 + 1  # workers, connections of the server, the consumer
            for suite in suites:
                suite.create()
            changes = await rounds.next()
            assert sorted(change.suite for change in changes) == sorted(keys(suites))
            await rounds.next()
        second = [(requested[1] - started) / INTERVAL for requested in times.values()]
        for number in range(10):
            assert 8 <= sum(number / 10 < when <= (number + 1) / 10 for when in second) <= 32
        assert max(second) <= 1.1
        assert all(0.9 <= (requested[2] - requested[1]) / INTERVAL <= 1.1 for requested in times.values())
        assert fake.max_in_flight <= 4

    async def test_slow_consumer_slows_the_watch_down(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 60)
        create_with_each_request(fake)
        async with buddy.watch(keys(suites), interval=INTERVAL) as watch:
            await anext(watch)
            await asyncio.sleep(INTERVAL * 10)
            before = len(fake.requests)
            await asyncio.sleep(INTERVAL * 10)
            assert len(fake.requests) == before <= 60 + 2 * 4 + 2
            for _ in range(10):
                await anext(watch)
            await asyncio.sleep(INTERVAL * 10)
            assert len(fake.requests) > before


class TestRefresh:
    async def test_refreshed_suite_is_checked_at_once(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 3)
        async with watching(buddy, *suites) as rounds:
            for suite in suites:
                suite.create()
            await rounds.watch.refresh(suites[1].html_url)
            assert [change.suite for change in await rounds.next(seconds=0.1)] == keys(suites[1:2])
            assert len(fake.requests) == 3 + 1

    async def test_without_arguments_all_suites_are_checked(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 30)
        async with watching(buddy, *suites) as rounds:
            for suite in suites:
                suite.create()
            await rounds.watch.refresh()
            assert [change.suite for change in await rounds.next(seconds=0.1)] == keys(suites)
            assert len(fake.requests) == 2 * 30

    async def test_interval_starts_again_with_a_refresh(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create()
        times = record_times(fake)
        async with watching(buddy, suite) as rounds:
            for _ in range(5):
                await rounds.next(INTERVAL / 2)
                await rounds.watch.refresh(suite.key)
            await rounds.next(INTERVAL * 1.1)
        (requested,) = times.values()
        waits = [(later - earlier) / INTERVAL for earlier, later in pairwise(requested)]
        assert waits == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5, 1], rel=0.101)

    async def test_suite_whose_wait_after_a_failure_is_ended(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        async with watching(buddy, suite) as rounds:
            fake.inject(Fault.status(500), times=4)
            await rounds.next(INTERVAL * 20)  # the next round is in 16 intervals
            assert rounds.watch.failures
            suite.create()
            await rounds.watch.refresh(suite.key)
            assert short(await rounds.next(seconds=0.1)) == [(NEW, 1)]
            assert not rounds.watch.failures
            suite.create()
            assert short(await rounds.next()) == [(NEW, 2)]

    async def test_suite_that_is_being_checked_is_checked_once_more(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create()
        async with watching(buddy, suite) as rounds:

            async def change_after_the_response(_request: object, make_response: MakeResponse) -> web.Response:
                response = make_response()
                suite.create()
                await rounds.watch.refresh(suite.key)
                await rounds.watch.refresh(suite.key)
                return response

            fake.inject(Fault("late change", change_after_the_response))
            await rounds.watch.refresh(suite.key)
            assert short(await rounds.next(seconds=0.1)) == [(NEW, 2)]
            assert len(fake.requests) == 1 + 2
            await assert_one_request_a_round(fake, rounds, 3)

    async def test_refreshed_suites_come_before_those_that_are_due(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 50)

        async def refresh(_: object) -> None:
            if len(fake.requests) >= 20:
                fake.on_request = None
                await watch.refresh(suites[45].key)  # was not checked yet
                await watch.refresh(suites[0].key)  # waits for its second round
                await watch.refresh(suites[45].key, suites[0].key)

        fake.on_request = refresh
        async with buddy.watch(keys(suites), interval=INTERVAL) as watch:
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(1)
            waiting.cancel()
        paths = [request.path.split("/")[-2] for request in fake.requests]
        assert len(paths) == 50 + 1
        assert {"s45", "s0"} <= set(paths[20 : 20 + 4 + 2])  # four requests at once

    async def test_loop_over_the_changes_can_refresh(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        """Although the queue of changes is full, and no other task takes one."""
        suites = add_suites(fake, 20)
        create_with_each_request(fake)
        changes = 0
        async with asyncio.timeout(INTERVAL * 3), buddy.watch(keys(suites), interval=INTERVAL) as watch:
            async for _ in watch:
                await watch.refresh()
                await asyncio.sleep(0.1)
                changes += 1
                if changes == 200:
                    break

    async def test_refresh_before_the_loop_has_started(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create()
        async with buddy.watch([suite.key], interval=INTERVAL) as watch:
            await watch.refresh(suite.key)
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(1)
            assert len(fake.requests) == 1
            suite.create()
            assert short([await waiting]) == [(NEW, 2)]

    @pytest.mark.parametrize("unknown", ["acme/shop/other", "acme/shop", 7, ["acme/shop/s0"]])
    async def test_unknown_suite_is_an_error(self, fake: FakeBuddy, buddy: BuddyClient, unknown: Any) -> None:
        (suite,) = add_suites(fake, 1)
        async with watching(buddy, suite) as rounds:
            with pytest.raises(ConfigError, match=r"not a suite|is not watched"):
                await rounds.watch.refresh(suite.key, unknown)
            assert await rounds.next(seconds=0.1) == []
            assert len(fake.requests) == 1

    async def test_closed_watch_cannot_be_refreshed(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        async with watching(buddy, suite) as rounds:
            pass
        with pytest.raises(RuntimeError, match="this watch has ended"):
            await rounds.watch.refresh(suite.key)

    async def test_failed_watch_cannot_be_refreshed(self, buddy: BuddyClient) -> None:
        async with buddy.watch(["acme/shop/missing"]) as watch:
            with pytest.raises(NotFoundError):
                await anext(watch)
            with pytest.raises(RuntimeError, match="this watch has ended"):
                await watch.refresh()

    async def test_watch_without_suites(self, buddy: BuddyClient) -> None:
        async with buddy.watch([]) as watch:
            await watch.refresh()


class TestOneConsumer:
    async def test_second_task_that_iterates_gets_an_error(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create_with_each_request(fake)
        async with buddy.watch([suite.key], interval=INTERVAL) as watch:
            first = asyncio.create_task(anext(watch))
            await asyncio.sleep(1)
            with pytest.raises(RuntimeError, match="another task is iterating over this watch"):
                await anext(watch)
            assert short([await first, await anext(watch)]) == [(NEW, 2), (NEW, 3)]

    async def test_second_task_does_not_acknowledge_a_change(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        """The first task is between two changes, and has not handled its change yet."""
        (suite,) = add_suites(fake, 1)
        create_with_each_request(fake)
        state = MemoryState()

        async with resumable_watch(buddy, suite, state) as watch:
            assert short([await anext(watch)]) == [(NEW, 3)]
            saved = state.numbers(suite)
            with pytest.raises(RuntimeError, match="another task is iterating over this watch"):
                await asyncio.create_task(anext(watch))
            assert state.numbers(suite) == saved
            assert short([await anext(watch)]) == [(NEW, 4)]
            assert state.numbers(suite) == [*saved, 3]

    async def test_task_continues_after_the_first_has_ended(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create_with_each_request(fake)
        async with buddy.watch([suite.key], interval=INTERVAL) as watch:
            changes = [await asyncio.create_task(anext(watch)) for _ in range(3)]
        assert short(changes) == [(NEW, number) for number in (2, 3, 4)]


async def leave_by_break(watch: Watch) -> None:
    async with watch:
        async for _ in watch:
            break


async def leave_by_cancelling(watch: Watch) -> None:
    async def consume() -> None:
        async with watch:
            async for _ in watch:
                await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    await asyncio.sleep(ONE_ROUND)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_by_cancelling_at_once(watch: Watch) -> None:
    async with watch:
        task = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def leave_unused(watch: Watch) -> None:
    async with watch:
        pass


class TestLeaving:
    @pytest.mark.parametrize("leave", [leave_by_break, leave_by_cancelling, leave_by_cancelling_at_once, leave_unused])
    async def test_leaving_a_watch_leaves_nothing_behind(
        self, fake: FakeBuddy, leave: Callable[[Watch], Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        suites = add_suites(fake, 50)
        create_with_each_request(fake)
        tasks = len(asyncio.all_tasks())
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            await leave(buddy.watch(keys(suites), interval=INTERVAL))
        await asyncio.sleep(1)  # the server notices later that connections are closed
        assert (len(asyncio.all_tasks()), fake.in_flight) == (tasks, 0)
        requests = len(fake.requests)
        jumps = count_jumps()
        await asyncio.sleep(INTERVAL * 2)
        assert len(fake.requests) == requests
        assert count_jumps() == jumps + 1  # no timer was left behind
        assert not caplog.records

    async def test_next_loop_continues_after_a_break(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        def create_after_the_first_round(_: object) -> None:
            if len(fake.requests) == 2:
                for _number in range(30):
                    suite.create()

        suite.create()
        fake.on_request = create_after_the_first_round
        found: list[Change] = []
        async with buddy.watch([suite.key], interval=INTERVAL) as watch:
            for _ in range(3):
                async for change in watch:
                    found.append(change)
                    if len(found) % 10 == 0:
                        break
        assert short(found) == [(NEW, number) for number in range(2, 32)]

    async def test_closing_ends_a_loop_that_waits(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        watch = buddy.watch([suite.key])

        async def consume() -> list[Change]:
            return [change async for change in watch]

        loop = asyncio.create_task(consume())
        await asyncio.sleep(1)
        await watch.aclose()
        assert await loop == []
        await watch.aclose()

    async def test_closing_drops_queued_changes(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        create_with_each_request(fake)
        watch = buddy.watch([suite.key], interval=INTERVAL)
        await anext(watch)
        await asyncio.sleep(INTERVAL * 3)
        await watch.aclose()
        assert [change async for change in watch] == []


class MemoryState:
    """Keeps the state of a watch in memory."""

    def __init__(self) -> None:
        self.sessions: dict[SuiteKey, dict[str, Session]] = {}

    async def load(self, key: SuiteKey) -> list[Session] | None:
        return list(self.sessions[key].values()) if key in self.sessions else None

    async def start(self, key: SuiteKey, sessions: Iterable[Session]) -> None:
        self.sessions[key] = {session.id: session for session in sessions}

    async def save(self, key: SuiteKey, session: Session) -> None:
        self.sessions[key][session.id] = session

    def numbers(self, suite: FakeSuite) -> list[int]:
        return sorted(session.relative_id for session in self.sessions[SuiteKey(*suite.key)].values())


def resumable_watch(buddy: BuddyClient, suite: FakeSuite, state: MemoryState) -> Watch:
    return buddy._new_watch(  # noqa: SLF001 - a state in memory, which runs in virtual time
        [suite.key], interval=INTERVAL, branch=None, on_failure="raise", state=state
    )


class TestState:
    @pytest.fixture
    def state(self) -> MemoryState:
        return MemoryState()

    @pytest.fixture
    def new_watch(self, buddy: BuddyClient, suite: FakeSuite, state: MemoryState) -> Callable[[], Watch]:
        return lambda: resumable_watch(buddy, suite, state)

    async def test_watch_continues_where_the_last_one_stopped(
        self, suite: FakeSuite, new_watch: Callable[[], Watch], state: MemoryState
    ) -> None:
        running = suite.create()["id"]
        suite.populate(30)
        async with new_watch() as watch:
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(1)
            assert state.numbers(suite) == list(range(1, 32))
        with pytest.raises(StopAsyncIteration):
            await waiting
        suite.finish(running)
        suite.create()
        async with new_watch() as watch:
            assert short([await anext(watch), await anext(watch)]) == [(FINISHED, 1), (NEW, 32)]

    async def test_change_is_acknowledged_when_the_next_one_is_requested(
        self, suite: FakeSuite, new_watch: Callable[[], Watch], state: MemoryState
    ) -> None:
        await state.start(SuiteKey(*suite.key), [])
        suite.populate(3)
        async with new_watch() as watch:
            assert short([await anext(watch)]) == [(NEW, 1)]
        assert state.numbers(suite) == []
        async with new_watch() as watch:
            assert short([await anext(watch), await anext(watch)]) == [(NEW, 1), (NEW, 2)]
        assert state.numbers(suite) == [1]
        async with new_watch() as watch:
            assert short([await anext(watch)]) == [(NEW, 2)]

    async def test_suite_that_was_created_again_replaces_the_state(
        self, fake: FakeBuddy, suite: FakeSuite, new_watch: Callable[[], Watch], state: MemoryState
    ) -> None:
        suite.populate(3)
        async with new_watch() as watch:
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(1)
            del fake.suites[suite.key]
            await asyncio.sleep(ONE_ROUND)
            fake.add_suite(*suite.key).create(id="other")
            assert short([await waiting]) == [(NEW, 1)]
            assert state.numbers(suite) == []
