"""Type-checked, never run: the public signatures, as users write against them.

Each ignored error is a mistake that type checkers must report.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import assert_type

import aiohttp
from yarl import URL

from buddy_sessions import (
    MAIN,
    BuddyClient,
    BuddyError,
    Change,
    ClientOptions,
    Cursor,
    DecodeError,
    Harvest,
    HarvestError,
    Project,
    RateLimit,
    RateLimitError,
    Region,
    SavedSuite,
    Session,
    SessionPage,
    SessionPaginator,
    SessionStore,
    Stats,
    StatusChange,
    StatusError,
    StatusWatch,
    StoreChange,
    Suite,
    SuiteKey,
    Watch,
)
from buddy_sessions.analysis import (
    Comparison,
    FlakyTests,
    Judgement,
    SlowTest,
    SuiteStatus,
    TestedCommit,
    TestedSession,
    TestHistory,
)


async def clients(http_session: aiohttp.ClientSession, token: Callable[[], Awaitable[str]], limiter: Limiter) -> None:
    BuddyClient("token", trust_env=True)
    BuddyClient(token, base_url=URL("https://h"), http_session=http_session, limiter=limiter)
    BuddyClient("token", region=Region.AS, per_page=50, read_ahead=1, max_concurrency=2, timeout=1, max_attempts=1)
    options: ClientOptions = {"region": "as", "timeout": 5}
    BuddyClient("token", **options)
    BuddyClient("token", perpage=50)  # type: ignore[call-arg]
    BuddyClient("token", timeout="5")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    async with BuddyClient.from_env(max_wait=0.5, limiter=limiter, trust_env=True) as buddy:
        assert_type(buddy, BuddyClient)
        assert_type(buddy.rate_limit, RateLimit | None)
        assert_type(await buddy.projects("w"), list[Project])
        assert_type(await buddy.suites("w", "p"), list[Suite])
        (status,) = await buddy.status(["a/b/c"], branch=MAIN)
        assert_type(status, SuiteStatus)
        assert_type(await buddy.latest("a/b/c", is_failing=False), TestedCommit | None)
        judgement = await buddy.judge("a/b/c", "1f0c2d3", baseline="main", outcome="success", quarantine=[], after=7)
        assert_type(judgement, Judgement)
        assert_type([test.session for test in judgement.tests], list[Session])
        await buddy.judge("a/b/c", outcome="cancelled")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
        assert_type(await buddy.history("a/b/c", "pays"), TestHistory)
        assert_type(await buddy.compare("a/b/c", None, 7), Comparison)
        assert_type(await buddy.flaky("a/b/c", flips=2), FlakyTests)
        assert_type(await buddy.slowest("a/b/c", threshold=1), list[SlowTest])
    assert_type(await buddy.close(), None)


class Limiter:
    async def acquire(self) -> None: ...


async def reads(buddy: BuddyClient, suite: Suite) -> None:
    paginator = buddy.sessions(suite.key)
    assert_type(paginator, SessionPaginator)
    assert_type(buddy.sessions("w/p/s", branch="main", after=1), SessionPaginator)
    buddy.sessions(("w", "p", "s"))  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    buddy.sessions(suite.key, cursor=Cursor.parse("1@2"), since=datetime.now(UTC), max_sessions=1, per_page=1)
    async for session in paginator:
        assert_type(session, Session)
    async for page in paginator.pages():
        assert_type(page, SessionPage)
        assert_type(page.sessions, tuple[Session, ...])
        assert_type(page.proven_range, tuple[int, int] | None)
    assert_type(await paginator.collect(), list[Session])
    assert_type(paginator.cursor, Cursor | None)
    assert_type(paginator.stats + paginator.stats, Stats)
    assert_type(await buddy.session("w/p/s", "YDnagwGk"), Session)
    assert_type(await buddy.wait("w/p/s", run_url="https://ci/7", count=2, appear_timeout=60), list[Session])


async def harvests(buddy: BuddyClient, keys: AsyncIterator[SuiteKey]) -> None:
    async with buddy.harvest(keys, after=7, on_failure="collect") as harvest:
        assert_type(harvest, Harvest)
        async for key, session in harvest:
            assert_type(key, SuiteKey)
            assert_type(session, Session)
        async for page in harvest.pages():
            assert_type(page, SessionPage)
        assert_type(harvest.stats, Stats)
        assert_type(harvest.failures, Mapping[SuiteKey, BuddyError])
    buddy.harvest([SuiteKey("w", "p", "s"), "w/p/s"], branch="main", after=7, concurrency=2)


async def watches(buddy: BuddyClient, suite: Suite) -> None:
    async with buddy.watch([suite.key, "w/p/s"], interval=60, branch="main") as watch:
        assert_type(watch, Watch)
        async for change in watch:
            assert_type(change, Change)
            assert_type(change.previous, Session | None)
        for key, failure in watch.failures.items():
            assert_type(key, SuiteKey)
            assert_type(failure, BuddyError)
        assert_type(await watch.refresh(suite.key, "w/p/s"), None)
        assert_type(await watch.settled(), None)
    assert_type(await watch.aclose(), None)


async def statuses(buddy: BuddyClient, suite: Suite) -> None:
    async with buddy.watch_status([suite.key, "w/p/s"], branch="main", interval=60, on_failure="retry") as watch:
        assert_type(watch, StatusWatch)
        async for change in watch:
            assert_type(change, StatusChange)
            watch.add(change.suite)
            watch.remove("a/b/c")


async def stores(buddy: BuddyClient, keys: list[SuiteKey]) -> None:
    async with SessionStore("sessions.db") as store:
        assert_type(store.sync(buddy, keys, cases_branch="main", concurrency=2, on_failure="collect"), Harvest)
        assert_type(store.sync(buddy, ["w/p/s"], wait=7), Harvest)
        assert_type(store.watch(buddy, keys, interval=60, branch="main"), Watch)
        assert_type(store.watch(buddy, "acme/storefront"), Watch)
        assert_type(store.watch_status(buddy, keys, interval=60, branch=MAIN, on_failure="retry"), StatusWatch)
        assert_type(await store.sessions(keys[0], branch="main"), list[Session])
        assert_type(await store.recent_tests(keys[0], cases="failed", last=1), list[TestedSession])
        assert_type(await store.status(), list[SuiteStatus])
        assert_type(await store.suites(), list[Suite])
        assert_type(await store.info(), list[SavedSuite])
        assert_type([change async for change in store.changes(after=7)], list[StoreChange])


def errors(error: BuddyError, harvest: HarvestError) -> None:
    assert_type(error.cursor, Cursor | None)
    assert_type(error.retryable, bool)
    if isinstance(error, StatusError):
        assert_type(error.status, int)
        assert_type(error.messages, tuple[str, ...])
    if isinstance(error, RateLimitError):
        assert_type(error.reset_at, datetime | None)
        assert_type(error.retry_after, float | None)
    if isinstance(error, DecodeError):
        assert_type(error.item, int | None)
    for key, failure in harvest.failures.items():
        assert_type(key, SuiteKey)
        assert_type(failure, BuddyError)
