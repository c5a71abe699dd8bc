"""Reads, waits, harvests, watches and syncs that are cancelled at each await of all tasks, or left at any session."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

import buddy_sessions
from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy
from helpers.effort import repeats
from helpers.faults import KEY, TOKEN, assert_nothing_left_open

pytestmark = pytest.mark.fault

KEYS = [KEY, SuiteKey("acme", "shop", "other"), SuiteKey("acme", "shop", "third")]
PACKAGE = str(Path(buddy_sessions.__file__).parent)


@define
class Trigger:
    """Counts the awaits of all tasks of the package, and calls a function once, at one of them.

    It is called when the task starts to wait, or, if `late`, when the awaited future is done, but the task has not
    continued yet.
    """

    remaining: int  # awaits up to the chosen one
    action: Callable[[], object] = bool  # returns whether it had an effect
    late: bool = False
    had_effect: bool = False

    def count(self, awaited: asyncio.Future[Any] | None) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            if not self.late:
                self._call()
            elif awaited is None:  # one iteration of the loop
                asyncio.get_running_loop().call_soon(self._call)
            else:
                awaited.add_done_callback(self._call)

    def _call(self, _: object = None) -> None:
        self.had_effect = bool(self.action())

    def create_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        """Create a task. It is the task factory of the event loop."""
        is_counted = work.cr_code.co_filename.startswith((PACKAGE, __file__))
        return asyncio.Task(_CountedAwaits(work, self) if is_counted else work, loop=loop, **options)


@define(eq=False)
class _CountedAwaits(Coroutine[Any, Any, Any]):
    work: Coroutine[Any, Any, Any]
    trigger: Trigger

    def send(self, value: Any) -> Any:
        return self._count(self.work.send(value))

    def throw(self, *error: Any) -> Any:
        return self._count(self.work.throw(*error))

    def close(self) -> None:
        self.work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.work.__await__()

    def _count(self, awaited: Any) -> Any:
        self.trigger.count(awaited)
        return awaited


@define
class Setup:
    """What the work uses."""

    fake: FakeBuddy
    buddy: BuddyClient
    path: Path


def new_client(fake: FakeBuddy) -> BuddyClient:
    return BuddyClient(TOKEN, base_url=fake.base_url, max_concurrency=1, per_page=20, read_ahead=3)


async def use_client(setup: Setup) -> None:
    async with new_client(setup.fake) as buddy:
        await buddy.sessions(KEY).collect()


async def read_suite(setup: Setup) -> None:
    async with setup.buddy.sessions(KEY).pages() as pages:
        assert sum([len(page.sessions) async for page in pages]) == 70


async def read_failures(setup: Setup) -> None:
    session = setup.fake.suites[KEY].sessions[0]["id"]
    assert len(await setup.buddy.failures(KEY, session, details=True)) == 3


async def ask_questions(setup: Setup) -> None:
    assert len(await setup.buddy.status(KEYS)) == 3
    judgement = await setup.buddy.judge(KEY, setup.fake.suites[KEY].sessions[0]["revision"], details=2)
    assert len(judgement.tests) == 3
    watch = setup.buddy.watch_status(KEYS[:2], interval=3600)
    async with watch:
        assert (await anext(watch)).kind == "CURRENT"


async def wait_for_session(setup: Setup) -> None:
    suite, last = setup.fake.suites[KEYS[1]], len(setup.fake.requests) + 5
    session = suite.create()
    setup.fake.on_request = lambda _: len(setup.fake.requests) == last and suite.finish(session)
    await setup.buddy.wait(KEYS[1], after=session["relative_id"] - 1, interval=0.001)
    setup.fake.on_request = None


async def harvest_suites(setup: Setup) -> None:
    await setup.buddy.harvest(KEYS, concurrency=2).run()


async def watch_suites(setup: Setup) -> None:
    suite = setup.fake.suites[KEYS[1]]

    def change(_: object) -> None:
        suite.create()
        suite.delete(suite.sessions[-1]["id"])

    setup.fake.on_request = change
    async with setup.buddy.watch(KEYS[1:], interval=0.001) as watch:
        async for _ in watch:
            break
    setup.fake.on_request = None


async def sync_suites(setup: Setup) -> None:
    async with SessionStore(setup.path) as store:
        await store.sync(setup.buddy, KEYS, concurrency=2).run()


async def check_store(setup: Setup) -> None:
    """Assert that the saved sessions are consistent, and that the next sync completes them."""
    if setup.path.exists():
        with contextlib.closing(sqlite3.connect(setup.path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    async with SessionStore(setup.path) as store:
        ranges = {saved.suite: saved.covered for saved in await store.info()}
        for key in KEYS:
            known = {session.relative_id for session in await store.sessions(key)}
            low, high = ranges.get(key) or (1, 0)
            assert known == set(range(low, high + 1))
        await store.sync(setup.buddy, KEYS).run()
        for key in KEYS:
            alive = [session["relative_id"] for session in setup.fake.suites[key].sessions]
            assert [session.relative_id for session in await store.sessions(key)] == alive


Work = Callable[[Setup], Coroutine[Any, Any, None]]


async def cancel_at(number: int, work: Work, fake: FakeBuddy, path: Path, *, late: bool) -> bool:
    """Cancel the work at one of its awaits, and check what is left; return whether there was such an await."""
    trigger = Trigger(number, late=late)
    loop = asyncio.get_running_loop()
    async with assert_nothing_left_open(), new_client(fake) as buddy:
        setup = Setup(fake, buddy, path)
        loop.set_task_factory(trigger.create_task)
        try:
            task = asyncio.create_task(work(setup))
            trigger.action = task.cancel
            await asyncio.wait({task})
        finally:
            loop.set_task_factory(None)
        assert task.cancelled() or (not trigger.had_effect and task.exception() is None)
        fake.on_request = None
        before = len(fake.requests)
        async with asyncio.timeout(120):
            sessions = buddy.sessions(KEY)
            assert len(await sessions.collect()) == 70
            assert len(fake.requests) - before <= sessions.stats.requests + 1  # one was sent before the work ended
            if work is sync_suites:
                await check_store(setup)
    return trigger.remaining <= 0


def add_suites(fake: FakeBuddy) -> None:
    for key, count in zip(KEYS, (70, 30, 0), strict=True):
        suite = fake.add_suite(*key)
        for _ in range(count):
            suite.create(status="ERROR", tests_count=5, failed_count=3)


async def cancel_everywhere(work: Work, folder: Path, *, late: bool) -> None:
    """Cancel the work at each of its awaits in turn; quick tests leave out two of three of the long works."""
    step = repeats(quick=3, thorough=1) if work in {ask_questions, sync_suites} else 1
    async with FakeBuddy(token=TOKEN) as fake:
        add_suites(fake)
        number = 1
        while await cancel_at(number, work, fake, folder / f"{number}.db", late=late):
            number += step
        assert number > 9


WORKS = [
    use_client,
    read_suite,
    read_failures,
    ask_questions,
    wait_for_session,
    harvest_suites,
    watch_suites,
    sync_suites,
]


@pytest.mark.parametrize(
    ("loop", "late"),
    [
        ("asyncio", False),
        pytest.param("asyncio", True, marks=pytest.mark.slow),
        pytest.param("uvloop", False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("work", WORKS)
def test_cancelling_at_any_await_leaves_nothing_behind(work: Work, loop: str, late: bool, tmp_path: Path) -> None:
    new_loop = pytest.importorskip(loop).new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(cancel_everywhere(work, tmp_path, late=late))
