"""What each stream does if a step is cancelled, fails or comes from another task; if it is left, closed or dropped."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import define

from buddy_sessions import BuddyClient, BuddyError, ServerError, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.effort import repeats
from helpers.faults import KEY, TOKEN, assert_nothing_left_open

pytestmark = pytest.mark.fault

OTHER = SuiteKey("acme", "shop", "other")
SESSION = "with-cases"
SIZES: Any = {"per_page": 20, "read_ahead": 3}


@define
class Case:
    """One kind of stream, with the number of its items; None if it never ends."""

    open: Callable[[BuddyClient, SessionStore], Any]
    count: int | None
    pages: bool = False


CASES = {
    "sessions": Case(lambda buddy, _: buddy.sessions(KEY, **SIZES), 63),
    "pages": Case(lambda buddy, _: buddy.sessions(KEY, **SIZES).pages(), 63, pages=True),
    "cases": Case(lambda buddy, _: buddy.cases(KEY, SESSION), 130),
    "harvest": Case(lambda buddy, _: buddy.harvest([KEY, OTHER]), 93),
    "harvest-pages": Case(lambda buddy, _: buddy.harvest([KEY, OTHER]).pages(), 93, pages=True),
    "sync": Case(lambda buddy, store: store.sync(buddy, [KEY, OTHER]), 93),
    "watch": Case(lambda buddy, _: buddy.watch([KEY], interval=0.002), None),
    "stored-watch": Case(lambda buddy, store: store.watch(buddy, [KEY], interval=0.002), None),
    "status-watch": Case(lambda buddy, _: buddy.watch_status([KEY], interval=0.002), None),
}
FINITE = {name: case for name, case in CASES.items() if case.count is not None}


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    suite = fake.suites[KEY]
    suite.populate(59)
    cases = [{"name": f"test {number}", "status": "PASSED"} for number in range(130)]
    suite.create(id=SESSION, cases=cases)
    fake.add_suite(*OTHER).populate(30)
    return fake


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    async with SessionStore(tmp_path / "sessions.db") as store:
        yield store


def name_of(item: Any) -> Any:
    """Return what distinguishes an item of any stream."""
    if isinstance(item, tuple):
        return item[0], item[1].id
    if hasattr(item, "commit"):
        return item.commit.session.id
    return getattr(item, "session", item).id


def names_of(case: Case, item: Any) -> list[Any]:
    return [(item.suite, session.id) for session in item.sessions] if case.pages else [name_of(item)]


def change_with_each_request(fake: FakeBuddy) -> None:
    """Create a session in turn red and green, so that a watch has something to report."""
    suite = fake.suites[KEY]

    def create(_: object) -> None:
        status = "ERROR" if len(suite.sessions) % 2 else "SUCCESSFUL"
        suite.create(branch="main", revision=f"{len(suite.sessions):040}", status=status, tests_count=5)

    fake.on_request = create


async def give_up_after(step: Awaitable[Any], how: str, seconds: float) -> Any:
    """Wait for a step; raise TimeoutError if it is given up."""
    if how == "wait_for":
        return await asyncio.wait_for(step, seconds)
    if how == "timeout":
        async with asyncio.timeout(seconds):
            return await step
    task = asyncio.ensure_future(step)
    if how == "wait":
        await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()  # with "before-start", it has not run yet
    await asyncio.wait({task})
    if task.cancelled():
        raise TimeoutError
    return task.result()


@pytest.mark.parametrize("how", ["wait_for", "timeout", "wait", "before-start"])
@pytest.mark.parametrize("kind", CASES)
async def test_cancelled_steps_lose_nothing(
    fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str, how: str
) -> None:
    """Also if the time of each step is shorter than a request takes."""
    case, fake.latency = CASES[kind], 0.01
    if case.count is None:
        change_with_each_request(fake)
    found: list[Any] = []
    given_up = 0
    async with case.open(buddy, store) as stream:
        while len(found) < (case.count or 3):
            is_given_up = how != "before-start" or given_up <= len(found)
            try:
                step = anext(stream)
                item = await (give_up_after(step, how, 0.004) if is_given_up else step)
            except TimeoutError:
                given_up += 1
            else:
                found += names_of(case, item)
        if case.count is not None:
            rest = [item async for item in stream]
            assert [name for item in rest for name in names_of(case, item)] == []
    assert len(found) == len(set(found)) == (case.count or len(found))
    assert given_up > 0


@pytest.mark.parametrize("kind", CASES)
async def test_each_step_after_an_error_raises_it(
    fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str
) -> None:
    fake.on_request = lambda _: fake.inject(Fault.status(401))
    async with CASES[kind].open(buddy, store) as stream:
        errors = []
        for _ in range(3):
            with pytest.raises(BuddyError) as caught:
                await anext(stream)
            errors.append(caught.value)
        assert errors[0] is errors[1] is errors[2]
        assert getattr(stream, "is_complete", False) is False
    with pytest.raises((BuddyError, StopAsyncIteration)):  # closing hides no error
        await anext(stream)


@pytest.mark.parametrize("kind", CASES)
async def test_second_task_that_waits_is_an_error(
    fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str
) -> None:
    """The first one loses nothing, and goes on."""
    case = CASES[kind]
    if case.count is None:
        change_with_each_request(fake)
    async with case.open(buddy, store) as stream:
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="another task is iterating over this"):
                await anext(stream)
        found = names_of(case, await first)
        while len(found) < (case.count or 3):
            found += names_of(case, await anext(stream))
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("kind", FINITE)
async def test_loop_that_is_left_goes_on(buddy: BuddyClient, store: SessionStore, kind: str) -> None:
    """In the next loop. One object is one read: after its end, a loop is empty."""
    case, found = FINITE[kind], []
    async with case.open(buddy, store) as stream:
        for _ in range(3):
            async for item in stream:
                found += names_of(case, item)
                break
        found += [name for item in [item async for item in stream] for name in names_of(case, item)]
        assert [item async for item in stream] == []
    assert len(set(found)) == len(found) == case.count


@pytest.mark.parametrize("kind", CASES)
async def test_closed_stream_is_over(fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str) -> None:
    """It holds no task, connection or lock; it is not complete."""
    if CASES[kind].count is None:
        change_with_each_request(fake)
    async with assert_nothing_left_open(), BuddyClient(TOKEN, base_url=fake.base_url) as client:
        stream = CASES[kind].open(client, store)
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await asyncio.gather(stream.aclose(), stream.aclose())
        await asyncio.wait({waiting})
        assert waiting.exception() is None or isinstance(waiting.exception(), StopAsyncIteration)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert not getattr(stream, "is_complete", False)


@pytest.mark.parametrize("kind", CASES)
async def test_dropped_stream_leaves_nothing(
    fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str
) -> None:
    """Only what has tasks of its own warns. The locks of a sync are free."""
    if CASES[kind].count is None:
        change_with_each_request(fake)
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with assert_nothing_left_open(), BuddyClient(TOKEN, base_url=fake.base_url) as client:
            async for _ in CASES[kind].open(client, store):
                fake.latency = 30
                break
            gc.collect()
    fake.latency = 0
    fake.on_request = None
    if kind in {"harvest", "harvest-pages", "sync", "watch", "stored-watch", "status-watch"}:
        assert {each.category for each in caught} <= {ResourceWarning}
    else:
        assert caught == []
    assert errors == []
    assert (await store.sync(buddy, [KEY, OTHER]).run()).verified


@pytest.mark.slow
@pytest.mark.parametrize("kind", FINITE)
async def test_random_steps_are_given_up(
    fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, tmp_path: Path, kind: str
) -> None:
    """Nothing is lost, repeated or ended falsely, whenever steps are cancelled and requests fail."""
    case, random = FINITE[kind], Random(kind)
    fake.latency = 0.002
    remaining, number = repeats(quick=100, thorough=300, long=3400), 0
    while remaining > 0:
        number += 1
        found: list[Any] = []
        async with SessionStore(tmp_path / f"{number}.db") as new_store, case.open(buddy, new_store) as stream:
            while True:
                how = random.choice(["wait_for", "timeout", "wait", "before-start"])
                try:
                    item = await give_up_after(anext(stream), how, random.uniform(0, 0.004))
                except TimeoutError:
                    remaining -= 1
                    continue
                except StopAsyncIteration:
                    break
                found += names_of(case, item)
        assert len(found) == len(set(found)) == case.count


async def test_failed_collect_loses_nothing(fake: FakeBuddy, buddy: BuddyClient) -> None:
    """The next loop begins with what it has read, and `error.cursor` is the position before it."""
    fake.on_request = lambda request: fake.inject(Fault.status(500)) if request.page > 2 else None
    sessions = buddy.sessions(KEY, per_page=20, read_ahead=1)
    first = await anext(sessions)
    position = sessions.cursor
    with pytest.raises(ServerError) as caught:
        await sessions.collect()
    assert caught.value.cursor == sessions.cursor == position
    for number in range(first.relative_id - 1, 23, -1):
        session = await anext(sessions)
        assert session.relative_id == number
        assert sessions.cursor is not None
        assert sessions.cursor.lowest_id == number
    with pytest.raises(ServerError) as caught:
        await anext(sessions)
    assert caught.value.cursor == sessions.cursor != position


async def test_cancelled_collect_loses_nothing(fake: FakeBuddy, buddy: BuddyClient) -> None:
    sessions = buddy.sessions(KEY, per_page=20, read_ahead=1)
    cases = buddy.cases(KEY, SESSION)
    for stream, count in ((sessions, 63), (cases, 130)):
        fake.on_request = lambda request: fake.inject(Fault.hang()) if request.page > 1 else None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stream.collect()
        fake.on_request = None
        assert not stream.is_complete
        assert len(await stream.collect()) == count
        assert stream.is_complete


@pytest.mark.parametrize("seconds", [0.003, 0.012, 0.025, 0.04])
@pytest.mark.parametrize("kind", ["sessions", "harvest"])
async def test_read_that_another_task_closes_can_be_continued(
    fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str, seconds: float
) -> None:
    """Its cursor is that of the last session that was yielded, whatever has arrived meanwhile."""
    fake.latency, found = 0.01, []
    stream = CASES[kind].open(buddy, store)
    closing = asyncio.get_running_loop().call_later(seconds, lambda: asyncio.ensure_future(stream.aclose()))
    async for item in stream:
        found.append(name_of(item))
        await asyncio.sleep(0.001)
    closing.cancel()
    if kind == "sessions":
        found += [name_of(item) async for item in buddy.sessions(KEY, cursor=stream.cursor)]
    else:
        found += [name_of(item) async for item in buddy.harvest([KEY, OTHER], cursors=stream.cursors)]
    assert len(found) == len(set(found)) == CASES[kind].count


async def test_part_is_no_whole(fake: FakeBuddy, buddy: BuddyClient) -> None:
    """A list or the figures of a read that was closed meanwhile."""
    fake.latency = 30
    sessions, cases, harvest = buddy.sessions(KEY), buddy.cases(KEY, SESSION), buddy.harvest([KEY])
    works: list[tuple[Any, Any]] = [(sessions, sessions.collect), (cases, cases.collect), (harvest, harvest.run)]
    for stream, read in works:
        work = asyncio.ensure_future(read())
        await asyncio.sleep(0.01)
        await stream.aclose()
        with pytest.raises(RuntimeError, match="was closed before its end: create another one to read again"):
            await work


@pytest.mark.parametrize("kind", ["harvest", "sync", "watch"])
async def test_dropped_after_a_cancelled_step(
    fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str
) -> None:
    """The error of the cancelled task keeps no stream alive until the garbage collector runs."""
    fake.latency = 60
    gc.collect()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            async with assert_nothing_left_open(), BuddyClient(TOKEN, base_url=fake.base_url) as client:
                stream = CASES[kind].open(client, store)
                with pytest.raises(TimeoutError):
                    await give_up_after(anext(stream), "wait", 0.005)
                del stream
                async with asyncio.timeout(5):
                    while [task for task in asyncio.all_tasks() if "buddy_sessions/_" in str(task)]:
                        await asyncio.sleep(0.01)
    finally:
        gc.enable()


async def test_pages_and_sessions_are_one_read(buddy: BuddyClient) -> None:
    for stream in (buddy.sessions(KEY, **SIZES), buddy.harvest([KEY])):
        item: Any = await anext(stream)
        found = [item[1] if isinstance(item, tuple) else item]
        async for page in stream.pages():
            found += page.sessions
            break
        async for item in stream:
            found.append(item[1] if isinstance(item, tuple) else item)
        assert [session.relative_id for session in found] == list(range(63, 0, -1))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
@pytest.mark.parametrize("kind", FINITE)
async def test_eager_tasks(fake: FakeBuddy, buddy: BuddyClient, store: SessionStore, kind: str) -> None:
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - not in 3.11
    await test_cancelled_steps_lose_nothing(fake, buddy, store, kind, "wait_for")


async def await_it(value: Any) -> None:
    await value


def enter(value: Any) -> None:
    with value:
        pass


@pytest.mark.parametrize(
    ("use", "make", "advice"),
    [
        (list, lambda buddy: buddy.sessions(KEY), "needs `async for`, or `await ….collect()`"),
        (list, lambda buddy: buddy.harvest([KEY]), "needs `async for`, or `await ….run()`"),
        (await_it, lambda buddy: buddy.cases(KEY, "1"), "needs `async for`, or `await ….collect()`"),
        (await_it, lambda buddy: buddy.watch_status([KEY]), "needs `async for`, or `await anext(…)`"),
        (enter, lambda buddy: buddy.harvest([KEY]), "needs `async with`"),
        (enter, lambda buddy: buddy, "needs `async with`"),
    ],
)
async def test_forgotten_async(
    buddy: BuddyClient, use: Callable[[Any], Any], make: Callable[[BuddyClient], Any], advice: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(advice)):
        await use(make(buddy))
