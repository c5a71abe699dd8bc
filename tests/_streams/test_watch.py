"""`Watch` over a real server, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from buddy_sessions import (
    AuthenticationError,
    BuddyClient,
    Change,
    ChangeKind,
    ClientClosedError,
    ConfigError,
    NotFoundError,
    ServerError,
    StatusError,
    SuiteKey,
    SuiteRef,
    Watch,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.virtual_time import count_jumps

pytestmark = pytest.mark.virtual_time

NEW, CHANGED, FINISHED = ChangeKind.NEW, ChangeKind.CHANGED, ChangeKind.FINISHED
INTERVAL = 60.0
ONE_ROUND = INTERVAL * 1.2  # seconds in which every suite is due at least once
DONE: dict[str, Any] = {"status": "SUCCESSFUL"}

Short = tuple[ChangeKind, int]
Act = Callable[[FakeSuite], object]


class Rounds:
    """Collects the changes of a watch while time passes."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._changes: list[Change] = []

    async def collect(self) -> None:
        async for change in self.watch:
            self._changes.append(change)

    async def changes(self, seconds: float = ONE_ROUND) -> list[Change]:
        """Let time pass, and return the changes of the rounds that are due meanwhile."""
        await asyncio.sleep(seconds)
        changes, self._changes = self._changes, []
        return changes

    async def next(self, seconds: float = ONE_ROUND) -> list[Short]:
        """Let time pass, and return the kinds of the changes, and the numbers of their sessions."""
        return short(await self.changes(seconds))


@asynccontextmanager
async def watching(buddy: BuddyClient, *suites: FakeSuite | SuiteRef, **options: Any) -> AsyncIterator[Rounds]:
    """Watch suites, and yield after the first round."""
    references = [suite.key if isinstance(suite, FakeSuite) else suite for suite in suites]
    watch = buddy.watch(references, interval=INTERVAL, **options)
    async with asyncio.TaskGroup() as group, watch:
        rounds = Rounds(watch)
        group.create_task(rounds.collect())
        assert await rounds.next(seconds=1) == []
        yield rounds


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1, max_concurrency=4) as client:
        yield client


def add_suites(fake: FakeBuddy, count: int) -> list[FakeSuite]:
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(count)]
    for suite in suites:
        suite.create()
    return suites


def create(suite: FakeSuite, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [suite.create(**fields) for _ in range(count)]


def delete(suite: FakeSuite, sessions: list[dict[str, Any]]) -> object:
    for session in sessions:
        suite.delete(session)
    return sessions


def keys(suites: Iterable[FakeSuite]) -> list[SuiteKey]:
    return [suite.key for suite in suites]


def short(changes: Iterable[Change]) -> list[Short]:
    return [(change.kind, change.session.relative_id) for change in changes]


def create_with_each_request(fake: FakeBuddy) -> None:
    """Create a session in a suite whenever it is requested."""
    fake.on_request = lambda request: fake.suites["acme", "shop", request.path.split("/")[-2]].create()


def record_times(fake: FakeBuddy) -> dict[str, list[float]]:
    """Return the times at which each suite is requested from now on, by the path of the request."""
    times: dict[str, list[float]] = {}
    now = asyncio.get_running_loop().time
    fake.on_request = lambda request: times.setdefault(request.path, []).append(now())
    return times


async def assert_one_request_a_round(fake: FakeBuddy, rounds: Rounds) -> None:
    """Assert that nothing changes, and that each round costs one request: no two requests are at the same time."""
    times = record_times(fake)
    assert await rounds.next(2 * ONE_ROUND) == []
    (requested,) = times.values()
    assert len(requested) >= 2
    assert all(later - earlier >= INTERVAL * 0.9 for earlier, later in pairwise(requested))
    fake.on_request = None


NOTHING: Act = lambda _: None  # noqa: E731 - a short name for a table

CHANGES: dict[str, tuple[Act, list[tuple[Act, list[Short]]]]] = {
    "nothing in an empty suite": (NOTHING, []),
    "nothing in a suite of one page": (lambda suite: suite.populate(100), []),
    "nothing in a suite of two pages": (lambda suite: suite.populate(101), []),
    "nothing, with an unfinished session at the end of the first page": (
        lambda suite: [suite.create(), *create(suite, 19, **DONE)],
        [],
    ),
    "unfinished session on a later page": (
        lambda suite: [suite.create(id="1"), *create(suite, 79, **DONE)],
        [(lambda suite: suite.finish("1"), [(FINISHED, 1)])],
    ),
    "unfinished session that is deleted": (
        lambda suite: [suite.create(id="1"), *create(suite, 60, **DONE)],
        [(lambda suite: suite.delete("1"), []), (NOTHING, [])],  # the second round looks again: one may be wrong
    ),
    "new sessions, oldest first": (
        lambda suite: suite.populate(5),
        [(lambda suite: [suite.create(), suite.create(**DONE)], [(NEW, 6), (NEW, 7)])],
    ),
    "finished sessions": (
        lambda suite: suite.create(id="1"),
        [
            (lambda suite: [suite.finish("1", "ERROR"), suite.create(id="2")], [(FINISHED, 1), (NEW, 2)]),
            (lambda suite: suite.finish("2"), [(FINISHED, 2)]),
        ],
    ),
    "other differences": (
        lambda suite: [suite.create(id="1", **DONE), suite.create(id="2", **DONE)],
        [
            (lambda suite: [suite.finish("1", tests_count=2), suite.reopen("2")], [(CHANGED, 1), (CHANGED, 2)]),
            (lambda suite: suite.finish("2"), [(FINISHED, 2)]),
        ],
    ),
    "more than a page in a suite that was empty": (
        NOTHING,
        [(lambda suite: suite.populate(101), [(NEW, number) for number in range(1, 102)])],
    ),
    "more new sessions than a page holds": (
        lambda suite: suite.populate(130),
        [(lambda suite: create(suite, 250, **DONE), [(NEW, number) for number in range(131, 381)])],
    ),
    "older sessions that move up": (
        lambda suite: suite.populate(200),
        [(lambda suite: delete(suite, suite.sessions[:5]), []), (lambda suite: suite.create(), [(NEW, 201)])],
    ),
    "suite that is created again between two rounds": (
        lambda suite: suite.populate(200, until=datetime(2026, 1, 1, tzinfo=UTC)),
        [
            (
                lambda suite: [delete(suite, suite.sessions), *(suite.create(relative_id=i, **DONE) for i in (1, 2))],
                [(NEW, 1), (NEW, 2)],
            ),
            (lambda suite: suite.create(relative_id=3), [(NEW, 3)]),
        ],
    ),
}


class TestChanges:
    @pytest.mark.parametrize("largest_page", [None, 20])
    @pytest.mark.parametrize("name", CHANGES)
    async def test_reported(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, largest_page: int | None, name: str
    ) -> None:
        """A suite that does not change costs one request a round."""
        before, steps = CHANGES[name]
        before(suite)
        fake.largest_page = largest_page
        async with watching(buddy, suite) as rounds:
            for change, expected in steps:
                change(suite)
                assert await rounds.next() == expected
            await assert_one_request_a_round(fake, rounds)

    async def test_branch_limits_the_watch(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create()
        async with watching(buddy, suite, branch="main") as rounds:
            suite.create(branch="develop")
            suite.create()
            assert await rounds.next() == [(NEW, 3)]
        assert {request.query["branch"] for request in fake.requests} == {"main"}

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
            for _ in range(chance.randrange(4)):
                change_at_random(suite, chance)
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
                apply(await rounds.changes())
            fake.on_request = None
            fake.faults.clear()
            apply(await rounds.changes(INTERVAL * 20))  # longer than the longest wait after a failure
            newest = {session["id"]: session["status"] for session in suite.sessions[:100]}
            assert newest
            assert newest.items() <= known.items()
            assert await rounds.next() == []


def change_at_random(suite: FakeSuite, chance: random.Random) -> None:
    session = chance.choice([None, *suite.sessions[:8]])
    if session is None or chance.random() < 0.3:
        suite.create(status=chance.choice(["IN_PROGRESS", "ERROR"]))
    elif session["status"] != "IN_PROGRESS":
        suite.reopen(session)
    elif chance.random() < 0.8:
        suite.finish(session)
    else:
        suite.delete(session)


class TestRequests:
    async def test_session_that_one_round_does_not_list_is_still_watched(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        running = suite.create()
        create(suite, 30, **DONE)
        fake.largest_page = 20
        async with watching(buddy, suite) as rounds:
            fake.on_request = lambda _: fake.inject(Fault.filtered(lambda session: session["id"] == running["id"]))
            assert await rounds.next() == []
            fake.on_request = None
            suite.finish(running)
            assert await rounds.next() == [(FINISHED, 1)]

    async def test_session_behind_a_hundred_newer_ones_is_no_longer_watched(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "buddy_sessions")
        running = suite.create()
        async with watching(buddy, suite) as rounds:
            create(suite, 150, **DONE)
            assert len(await rounds.next()) == 150
            reported = [message for message in caplog.messages if "too old" in message]
            assert reported == ["acme/shop/unit: session 1 is unfinished, but too old to be watched"]
            suite.finish(running)
            await assert_one_request_a_round(fake, rounds)
            delete(suite, suite.sessions[:60])
            assert await rounds.next() == []  # the older sessions that moved up are known to be old


class TestFailures:
    async def test_failing_suite_stops_no_other_and_is_logged_once(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        missing = SuiteKey("acme", "shop", "late")
        async with watching(buddy, missing, suite, on_failure="retry") as rounds:
            assert list(rounds.watch.failures) == [missing]
            assert isinstance(rounds.watch.failures[missing], NotFoundError)
            suite.create()
            # The second round of the second of two suites is due after half an interval.
            assert await rounds.next(INTERVAL * 0.62) == [(NEW, 1)]
            for number in range(2, 6):
                suite.create()
                assert await rounds.next() == [(NEW, number)]
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert "cannot read acme/shop/late" in caplog.text
            late = fake.add_suite(*missing)
            late.create()
            assert await rounds.next(INTERVAL * 16) == []  # the watch of this suite starts here
            assert rounds.watch.failures == {}
            late.create()
            assert await rounds.next() == [(NEW, 2)]
            fake.inject(Fault.status(503), times=2)
            await rounds.next()
            assert {type(error) for error in rounds.watch.failures.values()} == {ServerError}
            assert len(caplog.records) == 3

    @pytest.mark.parametrize("is_recreated", [True, False])
    async def test_suite_that_was_missing(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, is_recreated: bool
    ) -> None:
        """All sessions of a suite that was created again are new."""
        suite.populate(200)
        async with watching(buddy, suite) as rounds:
            fake.delete_suite(suite)
            assert await rounds.next() == []
            fake.inject(Fault.status(503))  # another failure in between
            assert await rounds.next(INTERVAL * 3) == []
            if is_recreated:
                suite = fake.add_suite(*suite.key)
                create(suite, 3, **DONE)
                expected = [(NEW, 1), (NEW, 2), (NEW, 3)]
            else:
                fake.suites[suite.key] = suite
                suite.create()
                expected = [(NEW, 201)]
            assert await rounds.next(INTERVAL * 5) == expected
            assert await rounds.next() == []
            delete(suite, suite.sessions[:101])  # all that are remembered, unless it was created again
            assert await rounds.next() == []

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_setup_error_in_the_first_round_is_raised(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, status: int
    ) -> None:
        fake.inject(Fault.status(status))
        async with buddy.watch([suite.key]) as watch:
            with pytest.raises(StatusError) as caught:
                await anext(watch)
            assert [change async for change in watch] == []
            for action in (watch.refresh, watch.settled):
                with pytest.raises(RuntimeError, match="this watch has ended"):
                    await action()
        assert caught.value.status == status
        assert len(fake.requests) == 1

    async def test_setup_error_in_a_later_round_is_retried(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        async with watching(buddy, suite) as rounds:
            fake.inject(Fault.status(401))
            assert await rounds.next() == []
            assert [type(error) for error in rounds.watch.failures.values()] == [AuthenticationError]
            suite.create()
            assert await rounds.next(ONE_ROUND * 2) == [(NEW, 1)]

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

    async def test_closed_client_ends_the_watch(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = keys(add_suites(fake, 30))
        await buddy.close()
        async with buddy.watch(suites) as watch:
            with pytest.raises(ClientClosedError):
                await anext(watch)
            assert [change async for change in watch] == []
        assert watch.failures == {}


class TestSuites:
    async def test_suite_that_is_listed_twice_is_watched_once(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create()
        async with watching(buddy, suite, "acme/shop/unit", suite.html_url) as rounds:
            assert len(fake.requests) == 1
            suite.create()
            assert await rounds.next() == [(NEW, 2)]

    async def test_no_suites_are_an_empty_stream(self, buddy: BuddyClient) -> None:
        async with buddy.watch([]) as watch:
            await watch.refresh()
            await watch.settled()
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
            assert sorted(change.suite for change in await rounds.changes()) == sorted(keys(suites))
            await rounds.next()
        second = [(requested[1] - started) / INTERVAL for requested in times.values()]
        for number in range(10):
            assert 8 <= sum(number / 10 < when <= (number + 1) / 10 for when in second) <= 32
        assert max(second) <= 1.1
        assert all(0.9 <= (requested[2] - requested[1]) / INTERVAL <= 1.1 for requested in times.values())
        assert fake.max_in_flight <= 4


class TestRefresh:
    @pytest.mark.parametrize("is_all", [False, True])
    async def test_suites_are_checked_at_once(self, fake: FakeBuddy, buddy: BuddyClient, is_all: bool) -> None:
        suites = add_suites(fake, 30)
        async with watching(buddy, *suites) as rounds:
            for suite in suites:
                suite.create()
            await (rounds.watch.refresh() if is_all else rounds.watch.refresh(suites[1].html_url))
            changed = suites if is_all else suites[1:2]
            assert [change.suite for change in await rounds.changes(seconds=0.1)] == keys(changed)
            assert len(fake.requests) == 30 + len(changed)

    @pytest.mark.parametrize("unknown", ["acme/shop/other", "acme/shop", 7, ["acme/shop/s0"]])
    async def test_unknown_suite_is_an_error(self, fake: FakeBuddy, buddy: BuddyClient, unknown: Any) -> None:
        (suite,) = add_suites(fake, 1)
        async with watching(buddy, suite) as rounds:
            with pytest.raises(ConfigError, match=r"not a suite|is not watched"):
                await rounds.watch.refresh(suite.key, unknown)
            assert await rounds.next(seconds=0.1) == []
            assert len(fake.requests) == 1


class TestSettled:
    async def test_every_change_was_handled(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = add_suites(fake, 20)
        fake.latency = 0.1
        handled: list[int] = []

        async def handle(watch: Watch) -> None:
            await asyncio.sleep(5)  # the loop starts later
            async for change in watch:
                await asyncio.sleep(1)
                handled.append(change.session.relative_id)

        async with asyncio.TaskGroup() as group, buddy.watch(keys(suites)) as watch:
            group.create_task(handle(watch))
            await watch.settled()
            assert (handled, len(fake.requests)) == ([], 20)
            for number in (2, 3):
                for suite in suites:
                    suite.create()
                await watch.settled()
                assert (handled, len(fake.requests)) == ([number] * 20, 20 * number)
                handled.clear()
            fake.inject(Fault.status(503))
            await watch.settled()
            assert len(watch.failures) == 1

    async def test_change_during_a_check_is_handled(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        """A check that began before the call is not enough."""
        suite.create()
        fake.latency = 10
        async with watching(buddy, suite) as rounds:
            await rounds.watch.settled()
            await rounds.watch.refresh()
            await asyncio.sleep(9)
            asyncio.get_running_loop().call_later(2, suite.create)  # after the response that is in flight
            await rounds.watch.settled()
            assert await rounds.next(0) == [(NEW, 2)]

    async def test_loop_that_has_ended_is_an_error(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        create_with_each_request(fake)

        async def fail(watch: Watch) -> None:
            async for _ in watch:
                raise LookupError

        async def settled_twice(watch: Watch) -> None:
            await watch.settled()
            await watch.settled()

        async with asyncio.timeout(INTERVAL * 5), buddy.watch([suite.key]) as watch:
            failing = asyncio.create_task(fail(watch))
            with pytest.raises(RuntimeError, match="no other task is iterating over this watch"):
                await settled_twice(watch)
            assert isinstance(failing.exception(), LookupError)
            await anext(watch)
            with pytest.raises(RuntimeError, match="no other task is iterating over this watch"):
                await watch.settled()
        with pytest.raises(RuntimeError, match="this watch has ended"):
            await watch.settled()


class TestLeaving:
    @pytest.mark.parametrize("is_waiting", [False, True])
    async def test_closing_a_watch_leaves_nothing_behind(
        self, fake: FakeBuddy, is_waiting: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A loop that waits ends, and queued changes are dropped."""
        suites = add_suites(fake, 50)
        create_with_each_request(fake)
        tasks = len(asyncio.all_tasks())
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            watch = buddy.watch(keys(suites), interval=INTERVAL)
            waiting = asyncio.create_task(anext(watch, None))
            await asyncio.sleep(0 if is_waiting else ONE_ROUND)
            await watch.aclose()
            assert (await waiting is None) == is_waiting
            assert [change async for change in watch] == []
        await asyncio.sleep(1)  # the server notices later that connections are closed
        assert (len(asyncio.all_tasks()), fake.in_flight) == (tasks, 0)
        requests, jumps = len(fake.requests), count_jumps()
        await asyncio.sleep(INTERVAL * 2)
        assert len(fake.requests) == requests
        assert count_jumps() == jumps + 1  # no timer was left behind
        assert not caplog.records
