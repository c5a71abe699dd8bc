"""The work that each page, session and suite costs: calls are counted, not timed, so that the tests are stable."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import pytest

from buddy_sessions import BuddyClient, SessionPaginator, SuiteKey, Watch
from buddy_sessions.testing import FakeBuddy

_NOT_COUNTED = ("buddy_sessions.testing", "buddy_sessions._decoding")  # the cost of decoding depends on the decoder


async def count_calls(work: Callable[[], Awaitable[object]]) -> int:
    """Return how often functions of this package are entered, or resumed, while `work` runs."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        name = frame.f_globals.get("__name__", "")
        calls += event == "call" and name.startswith("buddy_sessions.") and not name.startswith(_NOT_COUNTED)

    before = sys.getprofile()
    gc.collect()
    gc.disable()  # finalizers of objects of other tests would be counted, too
    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls


@pytest.mark.parametrize("read_ahead", [1, 4])
async def test_calls_per_page(fake: FakeBuddy, read_ahead: int) -> None:
    costs: list[int] = []
    for pages in (2, 12):
        fake.add_suite("acme", "shop", f"s{pages}").populate(20 * pages)
        async with BuddyClient(fake.token, base_url=fake.base_url, per_page=20, read_ahead=read_ahead) as buddy:
            paginator = buddy.sessions(f"acme/shop/s{pages}")
            await paginator.collect()  # the client learns the limits of the server
            costs.append(await count_calls(paginator.collect))
            assert paginator.stats.requests == pages
    assert (costs[1] - costs[0]) / 10 <= 95


async def test_calls_per_session(fake: FakeBuddy) -> None:
    """A session is yielded by one call, and costs no other."""
    costs: list[int] = []
    for count in (30, 90):
        fake.add_suite("acme", "shop", f"s{count}").populate(count)
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            paginator = buddy.sessions(f"acme/shop/s{count}")

            async def iterate(paginator: SessionPaginator = paginator) -> None:
                async for _ in paginator:
                    pass

            await iterate()
            costs.append(await count_calls(iterate))
    assert (costs[1] - costs[0]) / 60 <= 1.05


async def test_calls_per_suite_of_a_harvest(fake: FakeBuddy) -> None:
    keys = [SuiteKey(*fake.add_suite("acme", "shop", f"s{number}").populate(5).key) for number in range(60)]
    costs: list[int] = []
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        for suites in (keys, keys[:20], keys):

            async def harvest(suites: list[SuiteKey] = suites) -> None:
                async with buddy.harvest(suites) as stream:
                    async for _ in stream:
                        pass

            costs.append(await count_calls(harvest))
    assert (costs[2] - costs[1]) / 40 <= 150


@pytest.mark.virtual_time
async def test_calls_per_suite_of_an_idle_round(fake: FakeBuddy) -> None:
    """The sessions of an unchanged page are neither decoded nor compared."""
    costs: list[float] = []
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        for count in (10, 100):
            keys = [fake.add_suite("acme", f"p{count}", f"s{n}").populate(count).key for n in range(20)]
            async with buddy.watch([SuiteKey(*key) for key in keys], interval=3600) as watch:
                consumer = asyncio.create_task(anext(watch))
                await asyncio.sleep(1)
                requests = len(fake.requests)

                async def do_round(watch: Watch = watch) -> None:
                    await watch.refresh()
                    await asyncio.sleep(1)

                costs.append(await count_calls(do_round) / 20)
                assert len(fake.requests) == requests + 20
            with pytest.raises(StopAsyncIteration):
                await consumer
    assert costs[0] <= 115
    assert costs[1] - costs[0] <= 10  # a larger body arrives in more parts
