"""Type-checked, never run: the public signatures, as users write against them.

Each ignored error is a mistake that type checkers must report.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
    Harvest,
    HarvestError,
    Project,
    RateLimit,
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
    BuddyClient(token, base_url=URL("https://h"), http_session=http_session, limiter=limiter)
    options: ClientOptions = {"region": "as", "timeout": 5}
    BuddyClient("token", **options)
    BuddyClient("token", perpage=50)  # type: ignore[call-arg]
    BuddyClient("token", timeout="5")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    async with BuddyClient.from_env(max_wait=0.5, region=Region.AS) as buddy:
        assert_type(buddy, BuddyClient)
        assert_type(buddy.rate_limit, RateLimit | None)
        assert_type(await buddy.projects("w"), list[Project])
        assert_type(await buddy.suites("w", "p"), list[Suite])
        assert_type(await buddy.status(["a/b/c"], branch=MAIN), list[SuiteStatus])
        assert_type(await buddy.latest("a/b/c", is_failing=False), TestedCommit | None)
        assert_type(await buddy.judge("a/b/c", "1f0c2d3", outcome="success", quarantine=[], after=7), Judgement)
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
    buddy.sessions(("w", "p", "s"))  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    async for session in paginator:
        assert_type(session, Session)
    async for page in paginator.pages():
        assert_type(page, SessionPage)
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
        assert_type(harvest.failures, Mapping[SuiteKey, BuddyError])


async def watches(buddy: BuddyClient, suite: Suite) -> None:
    async with buddy.watch([suite.key, "w/p/s"], interval=60, branch="main") as watch:
        assert_type(watch, Watch)
        async for change in watch:
            assert_type(change, Change)
        assert_type(watch.failures, Mapping[SuiteKey, BuddyError])
    async with buddy.watch_status([suite.key, "w/p/s"], on_failure="retry") as statuses:
        async for status in statuses:
            assert_type(status, StatusChange)


async def stores(buddy: BuddyClient, keys: list[SuiteKey]) -> None:
    async with SessionStore("sessions.db") as store:
        assert_type(store.sync(buddy, keys, cases_branch="main", concurrency=2, on_failure="collect"), Harvest)
        assert_type(store.watch(buddy, "acme/storefront"), Watch)
        assert_type(store.watch_status(buddy, keys, interval=60, branch=MAIN, on_failure="retry"), StatusWatch)
        assert_type(await store.recent_tests(keys[0], cases="failed", last=1), list[TestedSession])
        assert_type(await store.info(), list[SavedSuite])
        assert_type([change async for change in store.changes(after=7)], list[StoreChange])


def errors(error: BuddyError, harvest: HarvestError) -> None:
    assert_type(error.cursor, Cursor | None)
    if isinstance(error, StatusError):
        assert_type(error.messages, tuple[str, ...])
    assert_type(harvest.failures, Mapping[SuiteKey, BuddyError])
