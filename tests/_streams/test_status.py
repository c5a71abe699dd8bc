"""`StatusWatch` over a real server, in virtual time: of a client, and of a store that is restarted."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import MAIN, BuddyClient, SessionStore, StatusChange, StatusKind
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
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
        (event.kind, event.commit.session.relative_id, names(event.newly_failing), names(event.no_longer_failing))
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
    """Return five test cases, of which those with these names fail."""
    failing = names.split()
    passing = [{"name": f"passes {number}"} for number in range(5 - len(failing))]
    return [*passing, *({"name": name, "status": "FAILED"} for name in failing)]


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


def matrix(suite: FakeSuite, commit: int, *jobs: str | None, **fields: Any) -> list[dict[str, Any]]:
    """Run jobs of a commit, in each of which these tests fail; None for one that still runs."""
    running: dict[str, Any] = {"revision": f"{commit:040x}", "tests_count": 5, **fields}
    ended = {"finish_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), **running}
    return [
        suite.create(**running) if names is None else suite.create(cases=cases_of(names), **ended) for names in jobs
    ]


STEPS: dict[str, list[tuple[Act, list[Short]]]] = {
    "other tests fail": [
        (lambda suite: red(suite, "a b"), [(FAILING, 2, "a b", "")]),
        (lambda suite: red(suite, "b a"), []),
        (lambda suite: red(suite, "b c"), [(STILL_FAILING, 4, "c", "a")]),
        (lambda suite: red(suite, "b"), [(STILL_FAILING, 5, "", "c")]),
        (green, [(RECOVERED, 6, "", "b")]),
    ],
    "random ids in names": [
        (lambda suite: red(suite, "a-3f2a9c1b"), [(FAILING, 2, "a-3f2a9c1b", "")]),
        (lambda suite: red(suite, "a-77d0e4f2"), []),
        (lambda suite: red(suite, "a-88d0e4f2 b"), [(STILL_FAILING, 4, "b", "")]),
    ],
    "more new sessions than a watch remembers": [
        (lambda suite: red(suite, "a"), [(FAILING, 2, "a", "")]),
        (lambda suite: [green(suite) for _ in range(120)], [(RECOVERED, 122, "", "a")]),
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
    "crash without tests": [
        (crash, [(FAILING, 2, "", "")]),
        (lambda suite: red(suite, "a"), [(STILL_FAILING, 3, "a", "")]),
        (crash, []),
        (lambda suite: crash(suite, None), []),
        (lambda suite: red(suite, "a"), []),
        (lambda suite: suite.create(status="SUCCESSFUL", cases=[]), []),
        (green, [(RECOVERED, 8, "", "a")]),
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

    async def test_green_commit_with_few_sessions_is_held(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        """For five minutes after its last session: other jobs may follow. Its number of tests is enough."""
        for commit in range(3):
            matrix(suite, commit, "", "")
        matrix(suite, 3, "a", "")
        async with watching(buddy, suite) as events:
            assert await events.settled() == [(CURRENT, 7, "a", "")]
            just_now = datetime.now(UTC) - timedelta(minutes=4)
            matrix(suite, 4, "", tests_count=10, create_date=just_now.isoformat(), finish_date=just_now.isoformat())
            assert await events.settled() == []
            ended = datetime.now(UTC) - timedelta(minutes=5, seconds=-1)
            matrix(suite, 5, "", tests_count=10, create_date=ended.isoformat(), finish_date=ended.isoformat())
            found = await events.settled()
            while datetime.now(UTC) - ended < timedelta(minutes=5, seconds=1):  # `Date` has whole seconds
                time.sleep(0.05)  # noqa: ASYNC251 - the time of the loop is virtual
            found += await events.settled()  # although every page is the same as in the poll before
            assert found == [(RECOVERED, 10, "", "a")]

    async def test_older_list_without_the_red_job(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        """It is read once more: the suite has not recovered. A deleted session is missing twice."""
        matrix(suite, 0, "", "")
        async with watching(buddy, suite) as events:
            await events.settled()
            matrix(suite, 1, "", "")
            older = suite.snapshot()
            (bad,) = matrix(suite, 1, "a")
            assert await events.settled() == [(FAILING, 5, "a", "")]
            fake.inject(Fault.stale(older))
            assert await events.settled() == []
            green(suite, branch="fix")
            suite.delete(bad)
            assert await events.settled() == [(RECOVERED, 4, "", "a")]

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
    async def test_branch(self, buddy: BuddyClient, suite: FakeSuite, restarted: SessionStore | None) -> None:
        """Each one has its own state."""
        green(suite, branch="master")
        red(suite, "b", branch="master")
        green(suite, branch="fix")
        red(suite, "d", ref_type="TAG", ref_name="v1")
        main, fix, tag = (CURRENT, 2, "b", ""), (CURRENT, 3, "", ""), (CURRENT, 4, "d", "")
        expected: dict[Any, list[Short]] = {MAIN: [main], "master": [main], "fix": [fix], "v1": [tag], "other": []}
        for branch, events in expected.items():
            async with checking(buddy, suite, restarted, branch=branch) as settled:
                assert await settled() == events
                assert await settled() == []

    async def test_main_branch_is_determined_again(
        self, buddy: BuddyClient, suite: FakeSuite, restarted: SessionStore | None
    ) -> None:
        """Without one among the newest 100, the status stays as it is; another one begins with CURRENT."""
        steps: list[tuple[str, int, list[Short]]] = [
            ("trunk", 1, [(CURRENT, 1, "a", "")]),
            ("fix", 98, []),
            ("fix", 1, []),
            ("fix", 1, []),
            ("master", 1, [(CURRENT, 102, "a", "")]),
            ("fix", 110, []),
            ("main", 1, [(CURRENT, 213, "a", "")]),
            ("master", 1, []),
        ]
        async with checking(buddy, suite, restarted) as settled:
            for branch, count, expected in steps:
                for _ in range(count):
                    red(suite, "a", branch=branch)
                assert await settled() == expected, branch

    @pytest.mark.parametrize("fault", [Fault.status(404), Fault.short_page(0)], ids=str)
    @pytest.mark.parametrize(("names", "kind"), [("", FAILING), ("c", STILL_FAILING)])
    async def test_tests_that_cannot_be_read_do_not_silence_a_suite(
        self, buddy: BuddyClient, suite: FakeSuite, fake: FakeBuddy, names: str, kind: StatusKind, fault: Fault
    ) -> None:
        """The event comes without them, and says so; later sessions are reported as ever. Or too few are listed."""
        async with watching(buddy, suite, on_failure="retry") as events:
            red(suite, names)
            assert await events.settled() == [(CURRENT, 1, names, "")]
            red(suite, "a", id="lost")
            fake.on_request = lambda request: fake.inject(fault) if "/lost/" in request.path else None
            for _ in range(2):
                await events.watch.settled()
                assert events.watch.failures[suite.key].retryable
            await events.watch.settled()
            (event,) = events.take()
            assert (event.kind, event.commit.session.id) == (kind, "lost")
            assert (event.newly_failing, event.has_tests) == ((), False)
            red(suite, "b")
            assert await events.settled() == [(STILL_FAILING, 3, "b", names)]


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


def numbers(event: StatusChange) -> tuple[int, int]:
    return event.commit.session.relative_id, event.since.session.relative_id


async def test_since_is_the_first_commit_of_the_streak(buddy: BuddyClient, suite: FakeSuite) -> None:
    """Of CURRENT, too."""
    green(suite)
    red(suite, "a")
    red(suite, "a")
    async with watching(buddy, suite) as events:
        await events.watch.settled()
        for act in (partial(red, names="b"), green, green, partial(red, names="a")):
            act(suite)
            await events.watch.settled()
        found = events.take()
    assert [(each.kind, numbers(each)) for each in found] == [
        (CURRENT, (3, 2)),
        (STILL_FAILING, (4, 2)),
        (RECOVERED, (5, 5)),
        (FAILING, (7, 7)),
    ]
    assert [each.previous and each.previous.session.relative_id for each in found] == [None, 3, 4, 6]


async def test_own_list_is_read_only_for_new_sessions_of_the_branch(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """Main has few sessions among the newest 100: those of pull requests cost one request for each poll."""
    for _ in range(12):
        green(suite)
    for _ in range(120):
        suite.create("fix", "SUCCESSFUL")
    async with watching(buddy, suite) as events:
        assert [kind for kind, *_ in await events.settled()] == [CURRENT]
        for branch, requests, kinds in (
            ("fix", 1, []),
            ("fix", 1, []),
            ("main", 3, [FAILING]),  # also one for the failing tests
            ("fix", 1, []),
        ):
            fake.requests.clear()
            red(suite, "a", branch=branch)
            found = await events.settled()
            assert ([kind for kind, *_ in found], len(fake.requests)) == (kinds, requests)


async def test_branch_without_verdict_is_read_once(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    suite.create(status="SKIPPED")
    for _ in range(100):
        suite.create("fix", "SUCCESSFUL")
    async with watching(buddy, suite) as events:
        assert await events.settled() == []
        fake.requests.clear()
        suite.create("fix", "SUCCESSFUL")
        assert (await events.settled(), len(fake.requests)) == ([], 1)


async def test_list_that_may_lack_sessions_is_judged_again(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    for _ in range(10):
        green(suite)
    fake.on_request = lambda _: fake.inject(Fault.swapped(1))
    async with watching(buddy, suite) as events:
        assert await events.settled() == []
        fake.on_request = None
        assert await events.settled() == [(CURRENT, 10, "", "")]


async def test_status_is_judged_again_after_an_hour(buddy: BuddyClient, suite: FakeSuite) -> None:
    """Then also a change of a session below the newest 100 is noticed."""
    green(suite)
    for _ in range(100):
        suite.create("fix", "SUCCESSFUL")
    async with watching(buddy, suite) as events:
        assert await events.settled() == [(CURRENT, 1, "", "")]
        suite.finish(suite.sessions[-1], "ERROR", cases=cases_of("a"))
        for minutes, expected in ((50, []), (15, [(FAILING, 1, "a", "")])):
            await events.after(60 * minutes)
            suite.create("fix", "SUCCESSFUL")
            assert await events.settled() == expected
