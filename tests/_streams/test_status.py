"""`StatusWatch` over a real server, in virtual time: of a client, and of a store that is restarted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from buddy_sessions import (
    MAIN,
    BuddyClient,
    ConfigError,
    SessionStore,
    StatusChange,
    StatusKind,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from buddy_sessions.testing.faults import MakeResponse
from helpers.collector import Collector, collecting

pytestmark = pytest.mark.virtual_time

CURRENT, FAILING, STILL_FAILING, RECOVERED = StatusKind
INTERVAL = 60.0

Short = tuple[StatusKind, int, str, str]
Events = Collector[StatusChange, Short]
Act = Callable[[FakeSuite], object]


def short(events: list[StatusChange]) -> list[Short]:
    """Return the kind, the relative_id, and the tests that newly fail and that no longer fail."""

    def names(cases: Any) -> str:
        return " ".join(case.name for case in cases)

    return [
        (event.kind, event.session.relative_id, names(event.newly_failing), names(event.no_longer_failing))
        for event in events
    ]


@asynccontextmanager
async def watching(
    buddy: BuddyClient, *suites: FakeSuite, store: SessionStore | None = None, **options: Any
) -> AsyncIterator[Events]:
    """Watch suites; with a store, continue from where the last watch stopped."""
    keys = [suite.key for suite in suites]
    new_watch = buddy.watch_status if store is None else partial(store.watch_status, buddy)
    async with collecting(new_watch(keys, interval=INTERVAL, **options), short) as events:
        yield events


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    async with SessionStore(tmp_path / "watch.db") as store:
        yield store


@pytest.fixture(params=["one watch", "restarts"])
def restarted(request: pytest.FixtureRequest, store: SessionStore) -> SessionStore | None:
    """A store whose watch is restarted all the time; None for the one watch of a client."""
    return store if request.param == "restarts" else None


@asynccontextmanager
async def checking(
    buddy: BuddyClient, suite: FakeSuite, restarted: SessionStore | None, **options: Any
) -> AsyncIterator[Callable[[], Awaitable[list[Short]]]]:
    """Yield a function that checks the suite, and returns the new events. With a store, it starts a watch each time."""

    async def settled() -> list[Short]:
        async with watching(buddy, suite, store=restarted, **options) as events:
            return await events.settled()

    if restarted is not None:
        yield settled
    else:
        async with watching(buddy, suite, **options) as events:
            yield events.settled


def cases_of(names: str) -> list[dict[str, Any]]:
    """Return test cases of which those with these names fail."""
    return [{"name": "passes"}, *({"name": name, "status": "FAILED"} for name in names.split())]


def red(suite: FakeSuite, names: str, **fields: Any) -> dict[str, Any]:
    return suite.create(cases=cases_of(names), **fields)


def green(suite: FakeSuite, **fields: Any) -> dict[str, Any]:
    return suite.create(cases=cases_of(""), **fields)


def crash(suite: FakeSuite, count: int | None = 0) -> dict[str, Any]:
    counts = dict.fromkeys(("tests_count", "failed_count", "error_count", "skipped_count"), count)
    return suite.create(status="ERROR", cases=[], error_message="out of memory", **counts)


def reopen_and_finish(suite: FakeSuite, names: str) -> None:
    """Reopen the newest session, and run it again. Its tests with other names are passed then."""
    session = suite.sessions[0]
    suite.reopen(session)
    ran = [{"name": case["name"], "status": "PASSED"} for case in suite.cases(session)]
    suite.add_cases(session, ran)
    suite.finish(session, "ERROR" if names else "SUCCESSFUL", cases=cases_of(names))


def delete_newest(suite: FakeSuite) -> object:
    session = suite.sessions[0]
    suite.delete(session)
    return session


def finish_running(suite: FakeSuite, status: str) -> object:
    """Finish the newest session that runs, without test cases."""
    running = next(session for session in suite.sessions if session["status"] == "IN_PROGRESS")
    return suite.finish(running, status, cases=[])


def at(second: int) -> str:
    return f"2030-01-01T00:00:{second:02}Z"


def matrix(suite: FakeSuite, run: int, *jobs: str | None) -> list[dict[str, Any]]:
    """Run jobs in one CI run, in each of which these tests fail; None for one that still runs."""
    of_run: dict[str, Any] = {"ci_run_url": f"https://ci.example/{run}", "tests_count": 4}
    return [suite.create(cases=None if names is None else cases_of(names), **of_run) for names in jobs]


STEPS: dict[str, list[tuple[Act, list[Short]]]] = {
    "red, then green": [
        (lambda suite: red(suite, "a b"), [(FAILING, 2, "a b", "")]),
        (green, [(RECOVERED, 3, "", "a b")]),
    ],
    "red and green in one poll": [
        (lambda suite: [red(suite, "a"), green(suite)], [(FAILING, 2, "a", ""), (RECOVERED, 3, "", "a")]),
    ],
    "other tests fail": [
        (lambda suite: red(suite, "a b"), [(FAILING, 2, "a b", "")]),
        (lambda suite: red(suite, "b a"), []),
        (lambda suite: red(suite, "b c"), [(STILL_FAILING, 4, "c", "a")]),
        (lambda suite: red(suite, "b"), [(STILL_FAILING, 5, "", "c")]),
        (green, [(RECOVERED, 6, "", "b")]),
    ],
    "green stays green": [(green, []), (green, [])],
    "more new sessions than a watch remembers": [
        (
            lambda suite: [red(suite, "a"), *(green(suite) for _ in range(120))],
            [(FAILING, 2, "a", ""), (RECOVERED, 3, "", "a")],
        ),
    ],
    "statuses that are no verdict": [
        (lambda suite: [suite.create(status="SKIPPED"), suite.create(status="PAUSED"), suite.create()], []),
        (lambda suite: finish_running(suite, "ERROR"), [(FAILING, 4, "", "")]),
    ],
    "session that finishes after a newer one": [
        (lambda suite: [suite.create(), suite.create(), green(suite)], []),
        (lambda suite: finish_running(suite, "ERROR"), []),
        (lambda suite: [finish_running(suite, "ERROR"), red(suite, "a")], [(FAILING, 5, "a", "")]),
    ],
    "reopened session": [
        (lambda suite: red(suite, "a"), [(FAILING, 2, "a", "")]),
        (lambda suite: suite.reopen(suite.sessions[0]), []),
        (lambda suite: reopen_and_finish(suite, "b"), [(STILL_FAILING, 2, "b", "a")]),
        (lambda suite: reopen_and_finish(suite, ""), [(RECOVERED, 2, "", "b")]),
        (lambda suite: reopen_and_finish(suite, "c"), [(FAILING, 2, "c", "")]),
    ],
    "deleted session": [
        (lambda suite: red(suite, "a"), [(FAILING, 2, "a", "")]),
        (delete_newest, []),
        (lambda suite: red(suite, "a"), []),
        (lambda suite: [delete_newest(suite), green(suite)], [(RECOVERED, 4, "", "a")]),
    ],
    "another run of the same commit": [
        (lambda suite: red(suite, "a"), [(FAILING, 2, "a", "")]),
        (lambda suite: suite.rerun(suite.sessions[0], cases=cases_of("")), [(RECOVERED, 3, "", "a")]),
    ],
    "matrix": [
        (lambda suite: [matrix(suite, run, "", "", "") for run in range(3)], []),
        (lambda suite: matrix(suite, 3, "", "a", ""), [(FAILING, 12, "a", "")]),
        (lambda suite: matrix(suite, 4, "a", "b", ""), [(STILL_FAILING, 15, "b", "")]),
        (lambda suite: matrix(suite, 5, "b", None, ""), []),
        (lambda suite: finish_running(suite, "SUCCESSFUL"), [(STILL_FAILING, 17, "", "a")]),
        (lambda suite: matrix(suite, 6, "", "", None), []),
        (lambda suite: matrix(suite, 7, "", "", ""), [(RECOVERED, 25, "", "b")]),
        (lambda suite: finish_running(suite, "ERROR"), []),
        (lambda suite: matrix(suite, 8, "a", "", ""), [(FAILING, 26, "a", "")]),
        (lambda suite: matrix(suite, 8, "", None), []),
        (lambda suite: [finish_running(suite, "SUCCESSFUL"), matrix(suite, 8, "")], [(RECOVERED, 31, "", "a")]),
    ],
    "matrix whose jobs start above 100 other sessions": [
        (lambda suite: [matrix(suite, run, "", "", "") for run in range(3)], []),
        (lambda suite: matrix(suite, 3, "", "a", ""), [(FAILING, 12, "a", "")]),
        (lambda suite: [*(green(suite, branch="fix") for _ in range(98)), matrix(suite, 4, "")], []),
        (lambda suite: matrix(suite, 4, "", ""), [(RECOVERED, 114, "", "a")]),
    ],
    "matrix whose jobs start one after the other": [
        (lambda suite: [matrix(suite, run, "", "", "") for run in range(3)], []),
        (lambda suite: matrix(suite, 3, ""), []),
        (lambda suite: matrix(suite, 3, "a"), [(FAILING, 12, "a", "")]),
        (lambda suite: matrix(suite, 3, "b"), [(STILL_FAILING, 13, "b", "")]),
        (lambda suite: matrix(suite, 4, ""), []),
        (lambda suite: matrix(suite, 4, "a"), []),
        (lambda suite: matrix(suite, 4, "c"), [(STILL_FAILING, 16, "c", "b")]),
        (lambda suite: matrix(suite, 5, ""), []),
        (lambda suite: matrix(suite, 5, ""), []),
        (lambda suite: matrix(suite, 5, ""), [(RECOVERED, 19, "", "a c")]),
    ],
    "jobs of two CI runs start in turn": [
        (
            lambda suite: [matrix(suite, 1, ""), matrix(suite, 2, "a"), matrix(suite, 1, "")],
            [(FAILING, 3, "a", ""), (RECOVERED, 4, "", "a")],
        ),
        (lambda suite: green(suite, branch="fix"), []),
    ],
    "clock that is one second off": [
        (lambda suite: [suite.create(create_date=at(9)), green(suite, create_date=at(8))], []),
        (lambda suite: finish_running(suite, "ERROR"), []),
        (lambda suite: red(suite, "a", create_date=at(7)), [(FAILING, 4, "a", "")]),
    ],
    "crash without tests": [
        (crash, [(FAILING, 2, "", "")]),
        (lambda suite: red(suite, "a"), [(STILL_FAILING, 3, "a", "")]),
        (crash, []),
        (lambda suite: crash(suite, None), []),
        (lambda suite: red(suite, "a"), []),
        (lambda suite: suite.create(status="SUCCESSFUL", cases=[]), [(RECOVERED, 7, "", "")]),
    ],
    "another branch": [
        (lambda suite: red(suite, "a", branch="fix"), []),
        (lambda suite: green(suite, branch="fix"), []),
    ],
    "a tag and a pull request with the name of the branch": [
        (lambda suite: [red(suite, "a", ref_type=kind) for kind in ("TAG", "PULL_REQUEST")], [])
    ],
}


class TestChanges:
    @pytest.mark.parametrize("name", STEPS)
    async def test_reported(
        self, buddy: BuddyClient, suite: FakeSuite, restarted: SessionStore | None, name: str
    ) -> None:
        green(suite)
        async with checking(buddy, suite, restarted) as settled:
            assert await settled() == [(CURRENT, 1, "", "")]
            for act, expected in STEPS[name]:
                act(suite)
                assert await settled() == expected
            assert await settled() == []

    async def test_event_says_that_tests_did_not_run(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        """They may include those that failed before: a suite that turns green is not repaired."""
        tests = [{"name": f"t{number}"} for number in range(8)]
        for _ in range(3):
            suite.create(cases=tests)
        async with watching(buddy, suite) as events:
            suite.create(cases=[*tests[1:], {"name": "t0", "status": "FAILED"}])
            await events.watch.settled()
            suite.create(cases=tests[5:])
            await events.watch.settled()
            found = [(event.kind, event.remark) for event in events.take()]
        assert found == [(CURRENT, None), (RECOVERED, "3 tests ran, usually 8: 5 did not run")]

    @pytest.mark.parametrize("is_noticed", [False, True])
    async def test_suite_that_is_created_again(
        self,
        fake: FakeBuddy,
        buddy: BuddyClient,
        suite: FakeSuite,
        restarted: SessionStore | None,
        is_noticed: bool,
    ) -> None:
        """Between two polls, or while it is missing: its numbers start again."""
        suite.populate(30, until=datetime(2026, 1, 1, tzinfo=UTC))
        async with checking(buddy, suite, restarted, on_failure="retry") as settled:
            ((kind, *_),) = await settled()
            fake.suites.clear()
            if is_noticed:
                assert await settled() == []
            other = fake.add_suite(*suite.key)
            red(other, "a", id="new-1")
            green(other, id="new-2")
            assert kind is CURRENT
            assert await settled() == [(CURRENT, 2, "", "")]


class TestStart:
    async def test_each_suite_begins_with_its_latest_session(self, fake: FakeBuddy, buddy: BuddyClient) -> None:
        suites = [fake.add_suite("acme", "shop", name) for name in ("red", "green", "running", "empty")]
        red(suites[0], "a b")
        suites[0].create()
        red(suites[1], "a")
        green(suites[1])
        suites[1].create(status="SKIPPED")
        suites[2].create()
        async with watching(buddy, *suites) as events:
            assert sorted(await events.settled()) == [(CURRENT, 1, "a b", ""), (CURRENT, 2, "", "")]
            finish_running(suites[2], "SUCCESSFUL")
            red(suites[3], "c")
            assert sorted(await events.settled()) == [(CURRENT, 1, "", ""), (CURRENT, 1, "c", "")]

    @pytest.mark.parametrize("path", ["/sessions", "/cases"])
    async def test_session_that_finishes_during_the_first_poll(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, path: str
    ) -> None:
        red(suite, "a")
        running = suite.create()

        async def finish_after_the_response(_: web.BaseRequest, make_response: MakeResponse) -> web.Response:
            response = make_response()
            suite.finish(running, cases=cases_of(""))
            return response

        def on_request(request: RecordedRequest) -> None:
            if request.path.endswith(path) and suite.sessions[0]["status"] == "IN_PROGRESS":
                fake.inject(Fault("finish", finish_after_the_response))

        fake.on_request = on_request
        async with watching(buddy, suite) as events:
            assert await events.after(1) == [(CURRENT, 1, "a", "")]
            assert await events.settled() == [(RECOVERED, 2, "", "a")]

    async def test_branch(self, buddy: BuddyClient, suite: FakeSuite, restarted: SessionStore | None) -> None:
        """Each one has its own state."""
        green(suite, branch="master")
        red(suite, "b", branch="master")
        green(suite, branch="fix")
        red(suite, "d", ref_type="TAG", ref_name="v1")
        main, fix, newest = (CURRENT, 2, "b", ""), (CURRENT, 3, "", ""), (CURRENT, 4, "d", "")
        expected = {MAIN: [main], "master": [main], "fix": [fix], None: [newest], "other": []}
        for branch, events in expected.items():
            async with checking(buddy, suite, restarted, branch=branch) as settled:
                assert await settled() == events
                assert await settled() == []

    @pytest.mark.parametrize("per_page", [100, 20])
    async def test_main_branch_is_determined_again(
        self, suite: FakeSuite, fake: FakeBuddy, restarted: SessionStore | None, per_page: int
    ) -> None:
        """It is kept while it is tested; `main` or `master` replaces it, and a branch that is renamed goes."""
        steps: list[tuple[str, int, list[Short]]] = [
            ("trunk", 1, [(CURRENT, 1, "a", "")]),
            ("fix", 98, []),
            ("fix", 1, []),
            ("fix", 1, [(CURRENT, 101, "a", "")]),
            ("master", 1, [(CURRENT, 102, "a", "")]),
            ("fix", 110, []),
            ("main", 1, [(CURRENT, 213, "a", "")]),
            ("master", 1, []),
        ]
        async with (
            BuddyClient(fake.token, base_url=fake.base_url, per_page=per_page) as buddy,
            checking(buddy, suite, restarted) as settled,
        ):
            for branch, count, expected in steps:
                for _ in range(count):
                    red(suite, "a", branch=branch)
                assert await settled() == expected, branch

    async def test_short_responses_rename_no_branch(
        self, buddy: BuddyClient, suite: FakeSuite, fake: FakeBuddy, restarted: SessionStore | None
    ) -> None:
        """A client checks the end of a short list only from time to time."""
        green(suite)
        async with checking(buddy, suite, restarted) as settled:
            assert await settled() == [(CURRENT, 1, "", "")]
            for _ in range(8):
                green(suite, branch="fix")
                assert await settled() == []
            for _ in range(4):
                green(suite, branch="fix")
                fake.inject(Fault.short_page(2))
                assert await settled() == []

    @pytest.mark.parametrize("rows", [0, 2])
    async def test_short_responses_after_a_404_do_not_begin_again(
        self, buddy: BuddyClient, suite: FakeSuite, fake: FakeBuddy, rows: int
    ) -> None:
        green(suite)
        async with watching(buddy, suite) as events:
            assert await events.settled() == [(CURRENT, 1, "", "")]
            red(suite, "a")
            green(suite)
            fake.inject(Fault.status(404))
            assert await events.settled() == []
            fake.inject(Fault.short_page(rows), times=2)
            short_list = await events.settled()
            assert short_list + await events.settled() == [(FAILING, 2, "a", ""), (RECOVERED, 3, "", "a")]

    async def test_tests_that_cannot_be_read_do_not_silence_a_suite(
        self, buddy: BuddyClient, suite: FakeSuite, fake: FakeBuddy
    ) -> None:
        """The event comes without them, and says so; later sessions are reported as ever."""
        async with watching(buddy, suite, on_failure="retry") as events:
            green(suite)
            assert await events.settled() == [(CURRENT, 1, "", "")]
            red(suite, "a", id="lost")
            fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/lost/" in request.path else None
            for _ in range(3):
                await events.watch.settled()
            (event,) = events.take()
            assert (event.kind, event.session.id, event.newly_failing, event.has_tests) == (FAILING, "lost", (), False)
            red(suite, "b")
            assert await events.settled() == [(STILL_FAILING, 3, "b", "")]

    async def test_suite_without_a_branch_has_no_status(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        """Until a branch is tested."""
        async with watching(buddy, suite) as events:
            red(suite, "a", ref_type="TAG", ref_name="v1")
            red(suite, "a", branch="7/merge")
            assert await events.settled() == []
            red(suite, "a", branch="main")
            assert await events.settled() == [(CURRENT, 3, "a", "")]

    async def test_first_event_is_repeated_until_it_is_acknowledged(
        self, buddy: BuddyClient, suite: FakeSuite, store: SessionStore
    ) -> None:
        green(suite)
        async with store.watch_status(buddy, [suite.key], interval=INTERVAL) as watch:
            assert short([await anext(watch)]) == [(CURRENT, 1, "", "")]
        red(suite, "a")
        async with watching(buddy, suite, store=store) as events:
            assert await events.settled() == [(CURRENT, 1, "", ""), (FAILING, 2, "a", "")]
            green(suite)
            assert await events.settled() == [(RECOVERED, 3, "", "a")]


class TestOutage:
    @pytest.mark.parametrize("path", ["/sessions", "/cases"])
    async def test_first_event_is_not_lost(
        self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, path: str
    ) -> None:
        red(suite, "a")
        fake.on_request = lambda request: fake.inject(Fault.status(503)) if request.path.endswith(path) else None
        async with watching(buddy, suite) as events:
            assert await events.settled() == []
            assert set(events.watch.failures) == {suite.key}
            fake.on_request = None
            assert await events.settled() == [(CURRENT, 1, "a", "")]
            assert not events.watch.failures

    @pytest.mark.parametrize("seed", range(3))
    async def test_events_add_up_to_the_status(
        self,
        fake: FakeBuddy,
        buddy: BuddyClient,
        suite: FakeSuite,
        restarted: SessionStore | None,
        seed: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Sessions of two branches finish in any order, while requests fail."""
        chance = random.Random(seed)
        caplog.set_level("ERROR")  # failures are expected here
        green(suite)
        failing: set[str] = set()
        latest = 0

        def disturb(_: object) -> None:
            for session in [*suite.sessions[:5], None, None]:
                names = " ".join(chance.sample("abc", chance.randrange(3)))
                if chance.random() < 0.1:
                    fake.inject(Fault.status(503))
                elif session is None and chance.random() < 0.3:
                    suite.create(branch=chance.choice(["main", "fix"]))
                elif session is not None and session["status"] == "IN_PROGRESS" and chance.random() < 0.3:
                    suite.finish(session, cases=cases_of(names))

        async with checking(buddy, suite, restarted) as settled:
            assert await settled() == [(CURRENT, 1, "", "")]
            fake.on_request = disturb
            for step in range(40):
                if step == 39:
                    fake.on_request = None
                    fake.faults.clear()
                for kind, number, newly_failing, fixed in await settled():
                    was_red, latest = bool(failing), max(latest, number)
                    assert latest == number
                    assert failing.isdisjoint(newly_failing.split())
                    assert failing.issuperset(fixed.split())
                    failing = (failing | set(newly_failing.split())) - set(fixed.split())
                    assert (kind in (FAILING, STILL_FAILING), was_red) == (
                        bool(failing),
                        kind in (STILL_FAILING, RECOVERED),
                    )
        finished = [each for each in suite.sessions if each["ref_name"] == "main" and each["status"] != "IN_PROGRESS"]
        assert len(finished) > 5
        assert failing == {case["name"] for case in suite.cases(finished[0], status="FAILED")}


class TestStream:
    async def test_requests(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        """One for a poll, and two for the failing tests of a session that fails."""
        suite.populate(100)
        green(suite)
        async with watching(buddy, suite) as events:
            for act, count in ((lambda _: None, 1), (green, 1), (lambda suite: red(suite, "a"), 3), (green, 1)):
                fake.requests.clear()
                act(suite)
                await events.settled()
                assert len(fake.requests) == count

    async def test_loop_continues_after_a_break(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        red(suite, "a")
        async with buddy.watch_status([suite.key], interval=INTERVAL) as watch:
            async for event in watch:
                assert event.kind is CURRENT
                break
            green(suite)
            await watch.refresh(suite.key)
            assert (await anext(watch)).kind is RECOVERED
        assert [event async for event in watch] == []


async def test_since_is_the_first_session_of_the_streak(
    buddy: BuddyClient, suite: FakeSuite, store: SessionStore
) -> None:
    """Of CURRENT, too, also after a restart that repeats it."""
    green(suite)
    red(suite, "a")
    red(suite, "a")
    for _ in range(2):
        async with store.watch_status(buddy, [suite.key]) as watch:
            first = await anext(watch)
            assert (first.kind, first.session.relative_id, first.since.relative_id) == (CURRENT, 3, 2)
    async with watching(buddy, suite) as events:
        await events.watch.settled()
        for act in (partial(red, names="b"), green, green, partial(red, names="a")):
            act(suite)
            await events.watch.settled()
        found = events.take()
    assert [(each.kind, each.session.relative_id, each.since.relative_id) for each in found] == [
        (CURRENT, 3, 2),
        (STILL_FAILING, 4, 2),
        (RECOVERED, 5, 5),
        (FAILING, 7, 7),
    ]
    assert [each.previous and each.previous.relative_id for each in found] == [None, 3, 4, 6]


@pytest.mark.parametrize("branch", [MAIN, "main"])
async def test_current_is_found_below_the_newest_100(branch: Any, buddy: BuddyClient, suite: FakeSuite) -> None:
    """And a matrix with one red job is red."""
    for make, run in ((green, 1), (green, 1), (partial(red, names="a"), 2), (green, 2)):
        make(suite, ci_run_url=f"https://ci.example/{run}")
    for name in ["fix"] * 120 + ["main"]:
        suite.create(name)
    async with watching(buddy, suite, branch=branch) as events:
        assert await events.settled() == [(CURRENT, 3, "a", "")]


async def test_suites_come_and_go(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    other = fake.add_suite("acme", "shop", "other")
    green(suite)
    red(other, "a")
    async with watching(buddy, suite) as events:
        assert await events.settled() == [(CURRENT, 1, "", "")]
        events.watch.add(other.key)
        events.watch.add(str(other.key))
        assert await events.after(1) == [(CURRENT, 1, "a", "")]
        events.watch.remove(suite.key)
        events.watch.remove(suite.key)
        red(suite, "b")
        green(other)
        fake.requests.clear()
        assert await events.settled() == [(RECOVERED, 2, "", "a")]
        assert not [request for request in fake.requests if "/unit/" in request.path]
        with pytest.raises(ConfigError, match="not watched"):
            await events.watch.refresh(suite.key)
        events.watch.remove(other.key)
        fake.requests.clear()
        assert await events.after(3 * INTERVAL) == []
        assert fake.requests == []
        events.watch.add(suite.key)
        assert await events.after(1) == [(CURRENT, 2, "b", "")]
        green(suite)
        assert await events.after(2 * INTERVAL) == [(RECOVERED, 3, "", "b")]
        for wrong in ("acme/shop", "acme/shop/.."):
            for change in (events.watch.add, events.watch.remove):
                with pytest.raises(ConfigError):
                    change(wrong)
    with pytest.raises(RuntimeError, match="ended"):
        events.watch.add(other.key)


@pytest.mark.parametrize("added_again", [False, True])
async def test_suite_that_is_removed_while_it_is_checked(
    added_again: bool, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """Also if the check fails: it ends no watch."""
    other = fake.add_suite("acme", "shop", "other")
    red(other, "a")

    def on_request(request: RecordedRequest) -> None:
        if "/other/" in request.path:
            fake.on_request = None
            events.watch.remove(other.key)
            if added_again:
                events.watch.add(other.key)
            fake.inject(Fault.status(404))

    async with watching(buddy, suite) as events:
        await events.settled()
        fake.on_request = on_request
        events.watch.add(other.key)
        assert await events.after(1) == ([(CURRENT, 1, "a", "")] if added_again else [])
        assert not events.watch.failures


async def test_events_of_a_removed_suite_are_dropped(fake: FakeBuddy, buddy: BuddyClient) -> None:
    suites = [fake.add_suite("acme", "shop", name) for name in "abc"]
    for each in suites:
        green(each)
    async with buddy.watch_status([each.key for each in suites]) as changes:
        first = await anext(changes)
        await asyncio.sleep(1)  # the others wait in the queue
        others = [each.key for each in suites if each.key != first.suite]
        changes.remove(others[0])
        assert (await anext(changes)).suite == others[1]


async def test_store_continues_when_a_suite_is_added_again(
    buddy: BuddyClient, suite: FakeSuite, store: SessionStore
) -> None:
    green(suite)
    async with watching(buddy, suite, store=store) as events:
        assert await events.settled() == [(CURRENT, 1, "", "")]
        events.watch.remove(suite.key)
        red(suite, "a")
        events.watch.add(suite.key)
        assert await events.settled() == [(FAILING, 2, "a", "")]
