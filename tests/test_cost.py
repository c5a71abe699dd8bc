"""Work is counted, not timed, so that speed cannot rot unseen: the calls that each page, session and suite cost."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import pytest

from buddy_sessions import BuddyClient, SessionPaginator, SuiteKey
from buddy_sessions.testing import FakeBuddy


async def own_calls(work: Callable[[], Awaitable[object]]) -> int:
    """Return how many functions of this package are entered, or resumed, until some work is done."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        name = frame.f_globals.get("__name__", "")
        calls += event == "call" and name.startswith("buddy_sessions.") and ".testing" not in name

    before = sys.getprofile()
    gc.collect()
    gc.disable()  # what other tests have left would be counted, too
    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls


@pytest.mark.parametrize(("read_ahead", "most"), [(1, 80), (4, 80)])
async def test_a_page_costs_so_many_calls_and_no_more(fake: FakeBuddy, read_ahead: int, most: int) -> None:
    costs: list[int] = []
    for pages in (2, 12):
        fake.add_suite("acme", "shop", f"s{pages}").populate(20 * pages)
        async with BuddyClient(fake.token, base_url=fake.base_url, per_page=20, read_ahead=read_ahead) as buddy:
            walk = buddy.sessions("acme", "shop", f"s{pages}")
            await walk.collect()  # the server's traits are learnt
            costs.append(await own_calls(walk.collect))
            assert walk.stats.requests == pages
    assert (costs[1] - costs[0]) / 10 <= most


async def test_a_session_costs_two_calls(fake: FakeBuddy) -> None:
    """It is made, and it is handed out."""
    costs: list[int] = []
    for count in (30, 90):
        fake.add_suite("acme", "shop", f"s{count}").populate(count)
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            walk = buddy.sessions("acme", "shop", f"s{count}")

            async def every_one(walk: SessionPaginator = walk) -> None:
                async for _ in walk:
                    pass

            await every_one()
            costs.append(await own_calls(every_one))
    assert (costs[1] - costs[0]) / 60 <= 2.05


async def test_a_suite_of_a_harvest_costs_so_many_calls_and_no_more(fake: FakeBuddy) -> None:
    keys = [SuiteKey(*fake.add_suite("acme", "shop", f"s{number}").populate(5).key) for number in range(60)]
    costs: list[int] = []
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        for some in (keys, keys[:20], keys):

            async def harvest(some: list[SuiteKey] = some) -> None:
                async with buddy.harvest(some) as stream:
                    async for _ in stream:
                        pass

            costs.append(await own_calls(harvest))
    assert (costs[2] - costs[1]) / 40 <= 110
