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
    BuddyClient,
    Change,
    ChangeKind,
    ClientClosedError,
    ConfigError,
    NotFoundError,
    StatusError,
    SuiteKey,
    SuiteRef,
    Watch,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.collector import Collector, collecting

pytestmark = pytest.mark.virtual_time

NEW, CHANGED, FINISHED = ChangeKind.NEW, ChangeKind.CHANGED, ChangeKind.FINISHED
INTERVAL = 60.0
ONE_POLL = INTERVAL * 1.2  # seconds in which every suite is due at least once
DONE: dict[str, Any] = {"status": "SUCCESSFUL"}

Short = tuple[ChangeKind, int]
Changes = Collector[Change, Short]
Act = Callable[[FakeSuite], object]


@asynccontextmanager
async def watching(buddy: BuddyClient, *suites: FakeSuite | SuiteRef, **options: Any) -> AsyncIterator[Changes]:
    """Watch suites, and yield after the first poll."""
    references = [suite.key if isinstance(suite, FakeSuite) else suite for suite in suites]
    async with collecting(buddy.watch(references, interval=INTERVAL, **options), short) as collector:
        assert await collector.after(1) == []
        yield collector


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


async def assert_one_request_a_poll(fake: FakeBuddy, changes: Changes) -> None:
    """Assert that nothing changes, and that each poll costs one request: no two requests are at the same time."""
    times = record_times(fake)
    assert await changes.after(2 * ONE_POLL) == []
    (requested,) = times.values()
    assert len(requested) >= 2
    assert all(later - earlier >= INTERVAL * 0.9 for earlier, later in pairwise(requested))
    fake.on_request = None


NOTHING: Act = lambda _: None  # noqa: E731 - a short name for a table

CHANGES: dict[str, tuple[Act, list[tuple[Act, list[Short]]]]] = {
    "nothing in an empty suite": (NOTHING, []),
    "nothing in a suite of two pages": (lambda suite: suite.populate(101), []),
    "unfinished session on a later page": (
        lambda suite: [suite.create(id="1"), *create(suite, 79, **DONE)],
        [(lambda suite: suite.finish("1"), [(FINISHED, 1)])],
    ),
    "unfinished session that is deleted": (
        lambda suite: [suite.create(id="1"), *create(suite, 60, **DONE)],
        [(lambda suite: suite.delete("1"), [])],
    ),
    "finished sessions": (
        lambda suite: suite.create(id="1"),
        [
            (lambda suite: [suite.finish("1", "ERROR"), suite.create(id="2")], [(FINISHED, 1), (NEW, 2)]),
            (lambda suite: suite.finish("2"), [(FINISHED, 2)]),
        ],
    ),
    "more new sessions than a page holds": (
        lambda suite: suite.populate(130),
        [(lambda suite: create(suite, 250, **DONE), [(NEW, number) for number in range(131, 381)])],
    ),
    "older sessions that move up": (
        lambda suite: suite.populate(200),
        [(lambda suite: delete(suite, suite.sessions[:5]), []), (lambda suite: suite.create(), [(NEW, 201)])],
    ),
    "suite that is created again between two polls": (
        lambda suite: suite.populate(200, until=datetime(2026, 1, 1, tzinfo=UTC)),
        [
            (
                lambda suite: [delete(suite, suite.sessions), *(suite.create(relative_id=i, **DONE) for i in (1, 2))],
                [(NEW, 1), (NEW, 2)],
            ),
            (lambda suite: suite.create(relative_id=3, **DONE), [(NEW, 3)]),
            (
                lambda suite: [suite.create(relative_id=number, **DONE) for number in range(4, 154)],
                [(NEW, number) for number in range(4, 154)],
            ),
        ],
    ),
}


class TestChanges:
    @pytest.mark.parametrize("largest_page", [None, 20])
    @pytest.mark.parametrize("name", CHANGES)
    async def test_reported(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, largest_page: int | None, name: str
    ) -> None:
        """A suite that does not change costs one request a poll."""
        before, steps = CHANGES[name]
        before(suite)
        fake.largest_page = largest_page
        async with watching(buddy, suite) as changes:
            for change, expected in steps:
                change(suite)
                assert await changes.after(ONE_POLL) == expected
            await assert_one_request_a_poll(fake, changes)

    async def test_branch_limits_the_watch(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create()
        async with watching(buddy, suite, branch="main") as changes:
            suite.create(branch="develop")
            suite.create()
            assert await changes.after(ONE_POLL) == [(NEW, 3)]
        assert {request.query["branch"] for request in fake.requests} == {"main"}

    @pytest.mark.parametrize("seed", range(3))
    async def test_changes_add_up_to_the_state_of_the_suite(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, seed: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The suite changes between polls and while it is read, and some polls fail."""
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

        def apply(reported: list[Change]) -> None:
            for change in reported:
                session = change.session
                assert (change.kind is NEW) == (session.id not in known)
                assert (change.previous and change.previous.status) == known.get(session.id)
                if change.kind is FINISHED:
                    assert session.is_finished > (known[session.id] != "IN_PROGRESS")
                known[session.id] = session.status

        async with watching(buddy, suite) as changes:
            fake.on_request = disturb
            for _ in range(60):
                await asyncio.sleep(ONE_POLL)
                apply(changes.take())
            fake.on_request = None
            fake.faults.clear()
            await asyncio.sleep(INTERVAL * 20)  # longer than the longest wait after a failure
            apply(changes.take())
            newest = {session["id"]: session["status"] for session in suite.sessions[:100]}
            assert newest
            assert newest.items() <= known.items()
            assert await changes.after(ONE_POLL) == []


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


class TestFailures:
    async def test_failing_suite_stops_no_other_and_is_logged_once(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        missing = SuiteKey("acme", "shop", "late")
        async with watching(buddy, missing, suite, on_failure="retry") as changes:
            assert list(changes.watch.failures) == [missing]
            assert isinstance(changes.watch.failures[missing], NotFoundError)
            suite.create()
            assert await changes.after(5 * ONE_POLL) == [(NEW, 1)]
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert "cannot read acme/shop/late" in caplog.text
            late = fake.add_suite(*missing)
            late.create()
            assert await changes.after(INTERVAL * 16) == []  # the watch of this suite starts here
            assert changes.watch.failures == {}
            late.create()
            assert await changes.after(ONE_POLL) == [(NEW, 2)]

    @pytest.mark.parametrize("suites", [["acme/shop/unit"], "acme"], ids=["suite", "workspace"])
    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_setup_error_in_the_first_poll_is_raised(
        self, fake: FakeBuddy, buddy: BuddyClient, suites: list[str] | str, status: int
    ) -> None:
        """Also of the first look-up."""
        fake.inject(Fault.status(status))
        async with buddy.watch(suites) as watch:
            with pytest.raises(StatusError) as caught:
                await anext(watch)
            for action in (watch.refresh, watch.settled):
                with pytest.raises(RuntimeError, match="this watch has ended"):
                    await action()
        assert caught.value.status == status
        assert len(fake.requests) == 1

    async def test_failing_suite_is_tried_at_longer_intervals(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        """Each wait is a little different."""
        times = record_times(fake)
        suite.create()
        fake.inject(Fault.status(500), times=8)
        fake.latency = INTERVAL / 4  # an interval includes the time that reading takes
        async with watching(buddy, suite) as changes:
            await changes.after(INTERVAL * 120)
        (requested,) = times.values()
        waits = [(later - earlier) / INTERVAL for earlier, later in pairwise(requested[:10])]
        assert waits == pytest.approx([2, 4, 8, 16, 16, 16, 16, 16, 1], rel=0.101)
        assert len({round(wait, 6) for wait in waits[3:8]}) == 5

    async def test_closed_client_ends_the_watch(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        await buddy.close()
        async with buddy.watch([suite.key]) as watch:
            with pytest.raises(ClientClosedError):
                await anext(watch)


async def test_changes_of_a_suite_that_was_removed_are_dropped(fake: FakeBuddy, buddy: BuddyClient) -> None:
    """Also those that wait in the queue."""
    removed, kept = add_suites(fake, 2)
    async with buddy.watch([removed.key, kept.key], interval=INTERVAL) as watch:
        first = asyncio.create_task(anext(watch))
        await asyncio.sleep(1)
        create(removed, 3)
        await asyncio.sleep(ONE_POLL)
        assert (await first).suite == removed.key
        watch.remove(removed.key)
        kept.create()
        assert (await anext(watch)).suite == kept.key
        for change in (watch.add, watch.remove):
            with pytest.raises(ConfigError):
                change("acme/shop")
        with pytest.raises(ConfigError, match="is not watched"):
            await watch.refresh(kept.key, removed.key)
    with pytest.raises(RuntimeError, match="ended"):
        watch.add(removed.key)


@pytest.mark.parametrize("suites", [[], "", "acme/", "acme/shop/unit", "https://app.buddy.works/acme/shop"])
@pytest.mark.parametrize("kind", ["watch", "watch_status"])
async def test_nothing_to_watch_is_an_error(buddy: BuddyClient, kind: str, suites: Any) -> None:
    with pytest.raises(ConfigError):
        getattr(buddy, kind)(suites)


class TestRefresh:
    @pytest.mark.parametrize("is_all", [False, True])
    async def test_suites_are_checked_at_once(self, fake: FakeBuddy, buddy: BuddyClient, is_all: bool) -> None:
        suites = add_suites(fake, 30)
        async with watching(buddy, *suites) as changes:
            for suite in suites:
                suite.create()
            await (changes.watch.refresh() if is_all else changes.watch.refresh(suites[1].html_url))
            changed = suites if is_all else suites[1:2]
            await asyncio.sleep(0.1)
            assert [change.suite for change in changes.take()] == keys(changed)
            assert len(fake.requests) == 30 + len(changed)


async def test_settled_waits_until_every_change_was_handled(fake: FakeBuddy, buddy: BuddyClient) -> None:
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
        for suite in suites:
            suite.create()
        await watch.settled()
        assert (handled, len(fake.requests)) == ([2] * 20, 40)
        fake.latency = 10
        await watch.refresh(suites[0].key)
        await asyncio.sleep(9)
        asyncio.get_running_loop().call_later(2, suites[0].create)  # after the response that is in flight
        await watch.settled()
        assert handled[20:] == [3]


async def test_settled_inside_the_loop_is_an_error(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """It would wait for itself."""
    create_with_each_request(fake)
    async with buddy.watch([suite.key]) as watch:
        await anext(watch)
        with pytest.raises(RuntimeError, match="no other task is iterating over this watch"):
            await watch.settled()


async def test_watch_without_async_with_ends(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    create_with_each_request(fake)
    tasks = len(asyncio.all_tasks())

    async def watch_one_change() -> Change:
        async for change in buddy.watch([suite.key], interval=INTERVAL):
            return change
        raise AssertionError

    with pytest.warns(ResourceWarning, match="unclosed watch: use `async with`"):
        await watch_one_change()
    await buddy.close()
    await asyncio.sleep(1)
    assert (len(asyncio.all_tasks()), fake.in_flight) == (tasks, 0)
