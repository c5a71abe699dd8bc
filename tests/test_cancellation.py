"""A walk, a harvest, a watch and a harvest into a store: ended at each await of all their tasks, or left by a loop."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from bench import KEY, TOKEN, case, leaving_nothing
from buddy_sessions import BuddyClient, Harvest, SessionStore, SuiteKey, harvest
from buddy_sessions.testing import FakeBuddy

KEYS = [KEY, SuiteKey("acme", "shop", "other"), SuiteKey("acme", "shop", "third")]
PACKAGE = str(Path(harvest.__file__).parent)


@define
class Strike:
    """Counts the awaits of all tasks of the package, and strikes once at one of them."""

    left: int
    strike: Callable[[], object] = bool
    late: bool = False
    """Whether to strike when what is awaited has come, but the task has not yet been told; else when it begins."""
    struck: bool = False

    def awaits(self, awaited: asyncio.Future[Any] | None) -> None:
        self.left -= 1
        if self.left == 0:
            if not self.late:
                self._now()
            elif awaited is None:  # a turn of the loop
                asyncio.get_running_loop().call_soon(self._now)
            else:
                awaited.add_done_callback(self._now)

    def _now(self, _: object = None) -> None:
        self.struck = bool(self.strike()) or self.struck

    def factory(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task, as an event loop does it."""
        ours = work.cr_code.co_filename.startswith((PACKAGE, __file__))
        return asyncio.Task(_Counted(work, self) if ours else work, loop=loop, **options)


@define(eq=False)
class _Counted(Coroutine[Any, Any, Any]):
    work: Coroutine[Any, Any, Any]
    strike: Strike

    def send(self, value: Any) -> Any:
        return self._awaits(self.work.send(value))

    def throw(self, *error: Any) -> Any:
        return self._awaits(self.work.throw(*error))

    def close(self) -> None:
        self.work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.work.__await__()

    def _awaits(self, awaited: Any) -> Any:
        self.strike.awaits(awaited)
        return awaited


@define
class Place:
    """What work is done with."""

    fake: FakeBuddy
    buddy: BuddyClient
    path: Path
    kept: object = None
    """What its owner still holds when the work has ended."""


def new_client(fake: FakeBuddy) -> BuddyClient:
    return BuddyClient(TOKEN, base_url=fake.base_url, max_concurrency=1, per_page=20, read_ahead=3)


async def a_client(place: Place) -> None:
    async with new_client(place.fake) as buddy:
        await buddy.sessions(*KEY).collect()


async def a_walk(place: Place) -> None:
    place.kept = pages = place.buddy.sessions(*KEY).pages()
    assert sum([len(page.sessions) async for page in pages]) == 70


async def read_all(harvest: Harvest) -> None:
    async with harvest:
        async for _ in harvest:
            pass


async def a_harvest(place: Place) -> None:
    await read_all(place.buddy.harvest(KEYS, concurrency=2))


async def a_watch(place: Place) -> None:
    suite = place.fake.suites[KEYS[1]]

    def change(_: object) -> None:
        suite.create()
        suite.delete(suite.sessions[-1]["id"])

    place.fake.on_request = change
    async with place.buddy.watch(KEYS[1:], every=0.001) as changes:
        async for _ in changes:
            break
    place.fake.on_request = None


async def a_store(place: Place) -> None:
    async with SessionStore(place.path) as store:
        await read_all(store.harvest(place.buddy, KEYS, concurrency=2))


async def check_store(place: Place) -> None:
    """What was saved is consistent, and the next harvest comes to the truth."""
    if place.path.exists():
        with contextlib.closing(sqlite3.connect(place.path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    async with SessionStore(place.path) as store:
        for key in KEYS:
            known = {session.relative_id for session in await store.sessions(key)}
            assert known == {number for low, high in await store.covered(key) for number in range(low, high + 1)}
        await read_all(store.harvest(place.buddy, KEYS))
        for key in KEYS:
            alive = [session["relative_id"] for session in place.fake.suites[key].sessions]
            assert [session.relative_id for session in await store.sessions(key)] == alive


Work = Callable[[Place], Coroutine[Any, Any, None]]
Ending = Callable[[Coroutine[Any, Any, None], Strike], Coroutine[Any, Any, None]]


async def cancelled(work: Coroutine[Any, Any, None], strike: Strike) -> None:
    """Be cancelled from outside."""
    task = asyncio.create_task(work)
    strike.strike = task.cancel
    await asyncio.wait({task})
    assert task.cancelled() or (not strike.struck and task.exception() is None)


async def cancelled_late(work: Coroutine[Any, Any, None], strike: Strike) -> None:
    """Be cancelled from outside just when what was awaited has come."""
    strike.late = True
    await cancelled(work, strike)


async def timed_out(work: Coroutine[Any, Any, None], strike: Strike) -> None:
    """Run out of time."""
    ended = False

    async def limited() -> None:
        nonlocal ended
        async with asyncio.timeout(None) as scope:

            def run_out() -> None:
                if not ended:
                    scope.reschedule(0)

            strike.strike = run_out
            await work
            ended = True

    task = asyncio.create_task(limited())
    await asyncio.wait({task})
    assert isinstance(task.exception(), TimeoutError | None)
    assert (task.exception() is None) == ended


async def let_down(work: Coroutine[Any, Any, None], strike: Strike) -> None:
    """Be in a group in which another task fails."""
    failing = asyncio.Event()
    strike.strike = failing.set

    async def fail() -> None:
        await failing.wait()
        raise LookupError

    async def end(task: asyncio.Task[None]) -> None:
        await work
        task.cancel()

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(end(group.create_task(fail())))

    task = asyncio.create_task(grouped())
    await asyncio.wait({task})
    if (error := task.exception()) is not None:
        assert isinstance(error, ExceptionGroup)
        assert list(map(type, error.exceptions)) == [LookupError]


async def ended_at(number: int, work: Work, ending: Ending, fake: FakeBuddy, path: Path) -> bool:
    """Do the work, end it at that await, and look at what is left; return whether there was such an await."""
    strike = Strike(number)
    loop = asyncio.get_running_loop()
    async with leaving_nothing(), new_client(fake) as buddy:
        place = Place(fake, buddy, path)
        loop.set_task_factory(strike.factory)
        try:
            await ending(work(place), strike)
        finally:
            loop.set_task_factory(None)
        fake.on_request = None
        before = len(fake.requests)
        async with asyncio.timeout(10):
            walk = buddy.sessions(*KEY)
            assert len(await walk.collect()) == 70
            assert len(fake.requests) - before <= walk.stats.requests + 1  # which was on its way when the work ended
            if work is a_store:
                await check_store(place)
    return strike.left <= 0


def add_suites(fake: FakeBuddy) -> None:
    for key, count in zip(KEYS, (70, 30, 0), strict=True):
        suite = fake.add_suite(*key)
        for _ in range(count):
            suite.create(status="SUCCESSFUL")


async def end_everywhere(work: Work, ending: Ending, folder: Path) -> str:
    """End the work at each of its awaits in turn; return how many there were."""
    async with FakeBuddy(token=TOKEN) as fake:
        add_suites(fake)
        number = 1
        while await ended_at(number, work, ending, fake, folder / f"{number}.db"):
            number += 1
        assert number > 9
        return f"ended at each of {number - 1} awaits"


Record = Callable[[str, object], None]


def works(*some: Work) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("work", [case(f"27-{work.__name__.replace('_', '-')}", work) for work in some])


@pytest.mark.parametrize("ending", [cancelled, cancelled_late])
@works(a_client, a_walk, a_harvest, a_watch, a_store)
def test_what_is_cancelled_at_any_await_leaves_nothing_behind(
    work: Work, ending: Ending, tmp_path: Path, record_property: Record
) -> None:
    with asyncio.Runner() as runner:
        record_property("outcome", runner.run(end_everywhere(work, ending, tmp_path)))


@pytest.mark.parametrize("ending", [timed_out, let_down])
@works(a_client, a_walk, a_harvest, a_watch)
def test_what_is_ended_otherwise_at_any_await_leaves_nothing_behind(
    work: Work, ending: Ending, tmp_path: Path, record_property: Record
) -> None:
    with asyncio.Runner() as runner:
        record_property("outcome", runner.run(end_everywhere(work, ending, tmp_path)))


@works(a_client, a_walk, a_harvest, a_watch, a_store)
def test_it_is_the_same_on_uvloop(work: Work, tmp_path: Path, record_property: Record) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        record_property("outcome", runner.run(end_everywhere(work, cancelled, tmp_path)))


@pytest.mark.parametrize("number", [1, 19, 20, 21, 70])
@pytest.mark.parametrize("how", [case("27-break", None), case("27-exception", LookupError)])
async def test_a_loop_that_is_left_at_any_session_leaves_nothing_behind(
    how: type[Exception] | None, number: int
) -> None:
    async def take(stream: AsyncIterator[object]) -> None:
        taken = 0
        async for _ in stream:
            taken += 1
            if taken == number and how is not None:
                raise how
            if taken == number:
                break

    async with FakeBuddy(token=TOKEN) as fake:
        add_suites(fake)
        async with leaving_nothing(), new_client(fake) as buddy, asyncio.timeout(10):
            with contextlib.suppress(LookupError):
                await take(aiter(buddy.sessions(*KEY)))
            with contextlib.suppress(LookupError):
                async with buddy.harvest(KEYS) as harvest:
                    await take(harvest)
            assert len(await buddy.sessions(*KEY).collect()) == 70
