from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from buddy_sessions import (
    BuddyClient,
    Change,
    ChangeKind,
    ClientClosedError,
    ConfigError,
    NotFoundError,
    ServerError,
    SessionPage,
    SuiteKey,
    Watch,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

NEW, CHANGED, FINISHED = ChangeKind.NEW, ChangeKind.CHANGED, ChangeKind.FINISHED
EVERY = 60.0
A_ROUND = EVERY * 1.2  # seconds in which every suite becomes due once: the interval, its jitter, and a last nap


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await asyncio.sleep(0.0005)


class HurryingClock(Clock):
    """Moves on by what is slept."""

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Rounds:
    """A watch whose rounds a test calls for, one by one; what changes is collected."""

    def __init__(self, buddy: BuddyClient, suites: list[SuiteKey], branch: str | None = None) -> None:
        def read(key: SuiteKey) -> AsyncIterator[SessionPage]:
            return buddy.sessions(*key, branch=branch, read_ahead=1).pages()

        self.clock = Clock()
        self.watch = Watch(suites, read, every=EVERY, concurrency=4, clock=self.clock, sleep=self.clock.sleep)
        self._changes: list[Change] = []

    async def collect(self) -> None:
        async for change in self.watch:
            self._changes.append(change)

    async def next(self, seconds: float = A_ROUND) -> list[Change]:
        """Let time pass, and return what the rounds that fall due bring."""
        self.clock.now += seconds
        crew = self.watch._crew
        async with asyncio.timeout(5):
            while len(crew._due) < crew._count or crew._due[0][0] <= self.clock.now or not crew.found.empty():
                await asyncio.sleep(0.0005)
        changes, self._changes = self._changes, []
        return changes


@asynccontextmanager
async def watching(
    buddy: BuddyClient, *suites: FakeSuite | SuiteKey, branch: str | None = None
) -> AsyncIterator[Rounds]:
    """A watch whose first round is over."""
    rounds = Rounds(buddy, [SuiteKey(*(s.key if isinstance(s, FakeSuite) else s)) for s in suites], branch)
    async with rounds.watch, asyncio.TaskGroup() as group:
        consumer = group.create_task(rounds.collect())
        assert await rounds.next() == []
        yield rounds
        consumer.cancel()


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, attempts=1) as client:
        yield client


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "unit")


def add_suites(fake: FakeBuddy, count: int) -> list[FakeSuite]:
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(count)]
    for suite in suites:
        suite.create()
    return suites


def keys(suites: list[FakeSuite]) -> list[SuiteKey]:
    return [SuiteKey(*suite.key) for suite in suites]


def short(changes: list[Change]) -> list[tuple[ChangeKind, int]]:
    return [(change.kind, change.session.relative_id) for change in changes]


def tasks() -> list[asyncio.Task[Any]]:
    """What is under way of a watch: its workers."""
    return [task for task in asyncio.all_tasks() if "buddy_sessions" in repr(task) and "test_" not in repr(task)]


async def settle(fake: FakeBuddy) -> None:
    async with asyncio.timeout(5):
        while fake.in_flight or tasks():
            await asyncio.sleep(0.001)


async def next_change(watch: Watch) -> Change:
    async with asyncio.timeout(5):
        return await anext(watch)


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


class TestWhatIsReported:
    async def test_what_is_there_already_is_not(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(150)
        async with watching(buddy, suite) as rounds:
            assert await rounds.next() == []

    async def test_where_it_begins_costs_one_request(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(150)
        async with watching(buddy, suite):
            assert len(fake.requests) == 1

    async def test_new_sessions_come_oldest_first_and_once(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(5)
        async with watching(buddy, suite) as rounds:
            suite.create()
            suite.create(status="SUCCESSFUL")
            suite.create()
            changes = await rounds.next()
            assert short(changes) == [(NEW, 6), (NEW, 7), (NEW, 8)]
            assert [change.session.finished for change in changes] == [False, True, False]
            assert {(change.suite, change.previous) for change in changes} == {(SuiteKey(*suite.key), None)}
            assert await rounds.next() == []

    async def test_a_session_that_finishes_with_what_it_was(self, buddy: BuddyClient, suite: FakeSuite) -> None:
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

    async def test_any_other_difference(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        finished = suite.create(status="SUCCESSFUL")["id"]
        running = suite.create(tests_count=1)["id"]
        async with watching(buddy, suite) as rounds:
            suite.reopen(finished)
            suite._store({**suite._find(running), "tests_count": 2})
            changes = await rounds.next()
            assert short(changes) == [(CHANGED, 1), (CHANGED, 2)]
            assert [change.previous and change.previous.tests_count for change in changes][1] == 1
            suite.finish(finished)
            assert short(await rounds.next()) == [(FINISHED, 1)]

    async def test_a_first_session_of_an_empty_suite(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        async with watching(buddy, suite) as rounds:
            suite.create()
            assert short(await rounds.next()) == [(NEW, 1)]

    async def test_all_sessions_of_a_suite_that_was_empty_be_it_one_more_than_a_page_holds(
        self, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
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

    async def test_a_session_that_shows_late(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create(relative_id=2)
        async with watching(buddy, suite) as rounds:
            suite.create(relative_id=1, status="SUCCESSFUL")
            suite._ids.reverse()
            assert short(await rounds.next()) == [(NEW, 1)]

    async def test_only_those_of_a_branch(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create()
        async with watching(buddy, suite, branch="main") as rounds:
            suite.create(branch="develop")
            suite.create()
            assert short(await rounds.next()) == [(NEW, 3)]
        assert {request.query["branch"] for request in fake.requests} == {"main"}

    async def test_no_older_sessions_that_come_up_when_newer_ones_are_deleted(
        self, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(200)
        async with watching(buddy, suite) as rounds:
            for session in suite.sessions[:5]:
                suite.delete(session["id"])
            assert await rounds.next() == []
            suite.create()
            assert short(await rounds.next()) == [(NEW, 201)]

    @pytest.mark.parametrize("seed", range(4))
    async def test_who_follows_the_changes_knows_the_suite(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, seed: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever happens in the suite, from round to round or while it is read, and though some rounds fail."""
        chance = random.Random(seed)
        caplog.set_level(logging.ERROR)  # failures are ordinary here
        fake.largest_page = chance.choice([20, 50, None])
        suite.populate(chance.choice([0, 10, 70]))
        known = {session["id"]: session["status"] for session in suite.sessions}

        def stir(_: object) -> None:
            churn(suite, chance)
            if chance.random() < 0.1:
                fake.inject(Fault.status(503))

        async with watching(buddy, suite) as rounds:
            for quiet in [False] * 60 + [True] * 2:
                fake.on_request = None if quiet else stir
                if quiet:
                    fake.faults.clear()
                for change in await rounds.next(EVERY * 20):
                    session = change.session
                    assert (change.kind is NEW) == (session.id not in known)
                    assert (change.previous and change.previous.status) == known.get(session.id)
                    if change.kind is FINISHED:
                        assert session.finished > (known[session.id] != "IN_PROGRESS")
                    known[session.id] = session.status
            newest = {session["id"]: session["status"] for session in suite.sessions[:100]}
            assert newest
            assert newest.items() <= known.items()
            assert await rounds.next(EVERY * 20) == []


class TestWhatIsRead:
    @pytest.mark.parametrize("largest", [20, 50, None])
    @pytest.mark.parametrize("count", [0, 1, 30, 100, 101, 400])
    async def test_one_request_for_an_idle_suite_and_round(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, count: int, largest: int | None
    ) -> None:
        for _ in range(count):
            suite.create(status="SUCCESSFUL")
        fake.largest_page = largest
        async with watching(buddy, suite) as rounds:
            begun = len(fake.requests)
            for _ in range(5):
                assert await rounds.next() == []
            assert len(fake.requests) - begun == 5

    async def test_an_unfinished_session_is_watched_further_down(self, fake: FakeBuddy, suite: FakeSuite) -> None:
        running = suite.create()["id"]
        suite.create(status="SUCCESSFUL")
        for _ in range(78):
            suite.create(status="SUCCESSFUL")
        async with (
            BuddyClient(fake.token, base_url=fake.base_url, per_page=20) as buddy,
            watching(buddy, suite) as rounds,
        ):
            suite.finish(running)
            assert short(await rounds.next()) == [(FINISHED, 1)]
            begun = len(fake.requests)
            assert await rounds.next() == []
            assert len(fake.requests) - begun == 1

    async def test_an_unfinished_session_at_the_end_of_a_page_takes_no_further_one(
        self, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.create(status="SUCCESSFUL")
        suite.create()
        for _ in range(19):
            suite.create(status="SUCCESSFUL")
        async with (
            BuddyClient(fake.token, base_url=fake.base_url, per_page=20) as buddy,
            watching(buddy, suite) as rounds,
        ):
            begun = len(fake.requests)
            assert await rounds.next() == []
            assert len(fake.requests) - begun == 1

    async def test_one_that_was_deleted_is_not_looked_for_again(self, fake: FakeBuddy, suite: FakeSuite) -> None:
        running = suite.create()["id"]
        for _ in range(60):
            suite.create(status="SUCCESSFUL")
        async with (
            BuddyClient(fake.token, base_url=fake.base_url, per_page=20) as buddy,
            watching(buddy, suite) as rounds,
        ):
            suite.delete(running)
            assert await rounds.next() == []
            begun = len(fake.requests)
            assert await rounds.next() == []
            assert len(fake.requests) - begun == 1

    async def test_one_behind_a_hundred_newer_ones_is_given_up(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "buddy_sessions")
        running = suite.create()["id"]
        async with watching(buddy, suite) as rounds:
            for _ in range(150):
                suite.create(status="SUCCESSFUL")
            assert len(await rounds.next()) == 150
            told = [message for message in caplog.messages if "too old" in message]
            assert told == ["acme/shop/unit: session 1 is unfinished, but too old to be watched"]
            begun = len(fake.requests)
            suite.finish(running)
            assert await rounds.next() == []
            assert len(fake.requests) - begun == 1
            ((_, _, memory),) = rounds.watch._crew._due
            assert len(memory.seen) == 100
            for session in suite.sessions[:60]:
                suite.delete(session["id"])
            assert await rounds.next() == []  # older ones have come up, and are known to be old


class TestFailures:
    async def test_a_failing_suite_stops_no_other_and_is_logged_once_until_it_recovers(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        suite.create()
        missing = SuiteKey("acme", "shop", "late")
        async with watching(buddy, suite, missing) as rounds:
            assert list(rounds.watch.failures) == [missing]
            assert isinstance(rounds.watch.failures[missing], NotFoundError)
            suite.create()
            assert short(await rounds.next(EVERY * 3)) == [(NEW, 2)]
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert "acme/shop/late cannot be read" in caplog.text
            late = fake.add_suite(*missing)
            late.create()
            assert await rounds.next(EVERY * 5) == []  # this is where its watch begins
            assert rounds.watch.failures == {}
            late.create()
            assert short(await rounds.next()) == [(NEW, 2)]
            fake.inject(Fault.status(503), times=2)
            await rounds.next()
            assert {type(error) for error in rounds.watch.failures.values()} == {ServerError}
            assert len(caplog.records) == 3

    async def test_what_changed_while_it_failed_is_not_lost(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        running = suite.create()["id"]
        async with watching(buddy, suite) as rounds:
            suite.finish(running)
            fake.inject(Fault.status(500))
            assert await rounds.next() == []
            suite.create()
            assert short(await rounds.next(EVERY * 3)) == [(FINISHED, 1), (NEW, 2)]

    @pytest.mark.parametrize("again", [True, False], ids=["created again", "back"])
    async def test_a_suite_that_was_missing(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, again: bool
    ) -> None:
        suite.populate(200)
        async with watching(buddy, suite) as rounds:
            del fake.suites[suite.key]
            assert await rounds.next() == []
            if again:
                other = fake.add_suite(*suite.key)
                for number in range(3):
                    other.create(id=f"other{number}", status="SUCCESSFUL")
                expected = [(NEW, 1), (NEW, 2), (NEW, 3)]
            else:
                fake.suites[suite.key] = suite
                suite.create()
                expected = [(NEW, 201)]
            assert short(await rounds.next(EVERY * 3)) == expected
            assert await rounds.next() == []
            for session in suite.sessions[:101]:  # all that is remembered, if it is this one
                suite.delete(session["id"])
            assert await rounds.next() == []

    async def test_one_that_was_missing_is_known_to_have_been_though_it_failed_otherwise_since(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.populate(200)
        async with watching(buddy, suite) as rounds:
            del fake.suites[suite.key]
            assert await rounds.next() == []
            fake.inject(Fault.status(503))
            assert await rounds.next(EVERY * 3) == []
            assert {type(error) for error in rounds.watch.failures.values()} == {ServerError}
            fake.add_suite(*suite.key).create(id="other")
            assert short(await rounds.next(EVERY * 5)) == [(NEW, 1)]

    async def test_one_that_waits_long_does_not_hold_up_the_others(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        async with watching(buddy, SuiteKey("acme", "shop", "missing"), suite) as rounds:
            for number in range(1, 9):
                suite.create()
                assert short(await rounds.next()) == [(NEW, number)]

    async def test_one_that_falls_due_early_does_not_wait_until_who_waits_has_slept_an_interval(
        self, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        async with watching(buddy, SuiteKey("acme", "shop", "missing"), suite) as rounds:
            suite.create()
            # The second round comes after half an interval, since there are two suites.
            assert short(await rounds.next(EVERY * 0.62)) == [(NEW, 1)]

    async def test_it_is_tried_less_and_less_often(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        clock, times = HurryingClock(), list[float]()

        def note(_: object) -> None:
            times.append(clock.now)
            clock.now += EVERY / 2  # what reading takes is part of the interval
            if len(times) < 9:
                fake.inject(Fault.status(500))
            else:
                suite.create()

        def read(key: SuiteKey) -> AsyncIterator[SessionPage]:
            return buddy.sessions(*key).pages()

        fake.on_request = note
        async with Watch(keys([suite]), read, every=EVERY, concurrency=1, clock=clock, sleep=clock.sleep) as watch:
            assert short([await next_change(watch)]) == [(NEW, 2)]
        waits = [(later - earlier) / EVERY for earlier, later in pairwise(times)]
        assert waits[:9] == pytest.approx([2, 4, 8, 16, 16, 16, 16, 16, 1], rel=0.101)
        assert len({round(wait, 6) for wait in waits[3:8]}) == 5  # no two alike

    async def test_a_closed_client_ends_it(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = keys(add_suites(fake, 30))
        await buddy.close()
        async with buddy.watch(suites) as watch:
            with pytest.raises(ClientClosedError):
                await next_change(watch)
            assert [change async for change in watch] == []
        assert watch.failures == {}

    async def test_any_other_error_comes_out_as_it_is(self, fake: FakeBuddy) -> None:
        async def token() -> str:
            raise LookupError("the vault is shut")

        async with (
            BuddyClient(token, base_url=fake.base_url) as buddy,
            buddy.watch(keys(add_suites(fake, 3))) as watch,
        ):
            with pytest.raises(LookupError, match="the vault is shut"):
                await next_change(watch)
        assert not tasks()

    async def test_what_waits_comes_before_the_error_that_ends_it(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        reads = 0

        def read(key: SuiteKey) -> AsyncIterator[SessionPage]:
            nonlocal reads
            reads += 1
            if reads == 5:  # after the check, the round that begins, and two with a change
                raise LookupError("the list is gone")
            return buddy.sessions(*key).pages()

        fake.on_request = lambda _: suite.create()
        async with Watch(keys([suite]), read, every=0.001, concurrency=1) as watch:
            changes = [await next_change(watch)]
            async with asyncio.timeout(5):
                while tasks():
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.001)  # its end has been told, too
            changes.append(await next_change(watch))
            assert short(changes) == [(NEW, 2), (NEW, 3)]
            with pytest.raises(LookupError, match="the list is gone"):
                await next_change(watch)


class TestArguments:
    @pytest.mark.parametrize("suites", ["a/b/c", SuiteKey("a", "b", "c"), 7, None])
    def test_what_are_no_suites_is_refused_at_once(self, suites: Any) -> None:
        with pytest.raises(ConfigError, match="iterable of SuiteKey"):
            BuddyClient("token").watch(suites)

    @pytest.mark.parametrize("key", ["a/b/c", ("a", "b"), None])
    def test_what_is_no_key_is_refused_at_once(self, key: Any) -> None:
        with pytest.raises(ConfigError, match="a suite is named by a SuiteKey"):
            BuddyClient("token").watch([SuiteKey("a", "b", "c"), key])

    @pytest.mark.parametrize("key", [("a", "..", "c"), ("a", ["b"], "c"), ("", "b", "c")])
    def test_names_that_cannot_work_are_refused_at_once(self, key: Any) -> None:
        with pytest.raises(ConfigError):
            BuddyClient("token").watch([key])

    @pytest.mark.parametrize(
        "arguments", [{"every": 0}, {"every": "1"}, {"every": float("inf")}, {"branch": ""}], ids=str
    )
    def test_other_arguments_are_refused_at_once(self, arguments: Any) -> None:
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            BuddyClient("token").watch([], **arguments)

    async def test_a_suite_that_comes_twice_counts_once(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create()
        async with watching(buddy, suite, suite):
            assert len(fake.requests) == 1

    async def test_no_suites_are_an_empty_stream(self, buddy: BuddyClient) -> None:
        async with buddy.watch([]) as watch:
            assert [change async for change in watch] == []


class TestManySuites:
    async def test_the_first_rounds_come_at_once_the_others_spread(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 200)
        async with watching(buddy, *suites) as rounds:
            assert len(fake.requests) == 200
            assert len(tasks()) == 4
            due = sorted((entry[0] - rounds.clock.now) / EVERY for entry in rounds.watch._crew._due)
            for number in range(10):
                tenth = sum(number / 10 < when <= (number + 1) / 10 for when in due)
                assert 8 <= tenth <= 32
            assert due[-1] <= 1.1
            for suite in suites:
                suite.create()
            changes = await rounds.next()
            assert sorted(change.suite for change in changes) == sorted(keys(suites))
            assert all(0.9 <= (entry[0] - rounds.clock.now) / EVERY <= 1.1 for entry in rounds.watch._crew._due)
        assert fake.max_in_flight <= 4

    async def test_a_real_clock_will_do(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 20)
        async with buddy.watch(keys(suites), every=0.02, branch="main") as watch:
            reader = asyncio.ensure_future(next_change(watch))
            async with asyncio.timeout(5):
                while len(fake.requests) < 60:
                    await asyncio.sleep(0.001)
            suites[7].create()
            change = await reader
            assert (change.kind, change.suite) == (NEW, SuiteKey(*suites[7].key))
            assert len(tasks()) == 8

    async def test_a_slow_reader_stops_the_reading(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 60)
        by_id = {suite.key[2]: suite for suite in suites}
        fake.on_request = lambda request: by_id[request.path.split("/")[-2]].create()
        async with buddy.watch(keys(suites), every=0.001) as watch:
            await next_change(watch)
            await asyncio.sleep(0.05)
            before = len(fake.requests)
            await asyncio.sleep(0.05)
            assert len(fake.requests) == before <= 60 + 2 * 8 + 2
            await next_change(watch)


async def break_off(watch: Watch, _: FakeBuddy) -> None:
    async with watch:
        async for _change in watch:
            break
    assert not tasks()


async def drop(watch: Watch, _: FakeBuddy) -> None:
    await next_change(watch)


async def cancel(watch: Watch, fake: FakeBuddy) -> None:
    async def consume() -> None:
        async with watch:
            async for _change in watch:
                await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    async with asyncio.timeout(5):
        while len(fake.requests) < 60:
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not tasks()


async def cancel_at_once(watch: Watch, _: FakeBuddy) -> None:
    task = asyncio.create_task(next_change(watch))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def never_begin(watch: Watch, _: FakeBuddy) -> None:
    async with watch:
        pass


class TestLeaving:
    @pytest.mark.parametrize("leave", [break_off, drop, cancel, cancel_at_once, never_begin])
    async def test_however_it_ends_nothing_of_it_goes_on(
        self, fake: FakeBuddy, leave: Callable[[Watch, FakeBuddy], Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        suites = add_suites(fake, 50)
        by_id = {suite.key[2]: suite for suite in suites}
        fake.on_request = lambda request: by_id[request.path.split("/")[-2]].create()
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            await leave(buddy.watch(keys(suites), every=0.02), fake)
            gc.collect()
            await settle(fake)
        assert not caplog.records

    async def test_after_a_break_the_next_loop_goes_on(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        def create_after_the_first_round(_: object) -> None:
            if len(fake.requests) == 2:
                for _number in range(30):
                    suite.create()

        fake.on_request = create_after_the_first_round
        found: list[Change] = []
        async with asyncio.timeout(5), buddy.watch(keys([suite]), every=0.01) as watch:
            for _ in range(3):
                async for change in watch:
                    found.append(change)
                    if len(found) % 10 == 0:
                        break
        assert short(found) == [(NEW, number) for number in range(1, 31)]

    async def test_closing_ends_the_loops_that_wait(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        watch = buddy.watch(keys([suite]))

        async def consume() -> list[Change]:
            return [change async for change in watch]

        loops = [asyncio.create_task(consume()) for _ in range(2)]
        await asyncio.sleep(0.02)
        await watch.aclose()
        async with asyncio.timeout(5):
            assert await asyncio.gather(*loops) == [[], []]
        await watch.aclose()

    async def test_closing_drops_what_waits(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        fake.on_request = lambda _: suite.create()
        watch = buddy.watch(keys([suite]), every=0.001)
        await next_change(watch)
        async with asyncio.timeout(5):
            while watch._crew.found.empty():
                await asyncio.sleep(0.001)
        await watch.aclose()
        assert [change async for change in watch] == []


async def test_a_token_callable_that_is_cancelled_cancels_the_loop(fake: FakeBuddy) -> None:
    keys = [SuiteKey(*fake.add_suite("acme", "shop", f"s{number}").key) for number in range(3)]

    async def token() -> str:
        raise asyncio.CancelledError

    async with BuddyClient(token, base_url=fake.base_url) as buddy, buddy.watch(keys, every=60) as watch:
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await anext(watch)
