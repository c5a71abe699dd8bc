"""The rate limiter over real HTTP."""

from __future__ import annotations

import asyncio

import pytest

from buddy_sessions import BuddyClient, SuiteKey
from buddy_sessions.testing import FakeBuddy
from helpers.faults import CostRecorder

pytestmark = pytest.mark.fault

KEY = SuiteKey("acme", "shop", "MNbyVedg")


def count(fake: FakeBuddy, status: int) -> int:
    return [request.status for request in fake.requests].count(status)


async def test_several_windows_are_used_up_without_a_429(fake: FakeBuddy, cost: CostRecorder) -> None:
    fake.rate_limit, fake.rate_window = 20, 1.0
    fake.add_suite(*KEY).populate(50)
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        paginator = buddy.sessions(KEY, per_page=1, read_ahead=8)
        with cost.measure(fake):
            assert len(await paginator.collect()) == 50
    assert (count(fake, 200), count(fake, 429)) == (50, 0)
    assert paginator.stats.waited > 1.0
    assert paginator.stats.retries == 0


async def test_many_calls_per_window_cause_no_429(fake: FakeBuddy, cost: CostRecorder) -> None:
    fake.rate_limit, fake.rate_window = 3, 1.0
    fake.add_suite(*KEY).populate(1)
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        with cost.measure(fake):
            await asyncio.gather(*(buddy.sessions(KEY).collect() for _ in range(6)))
    assert (count(fake, 200), count(fake, 429)) == (6, 0)


async def test_two_clients_wait_out_429s(fake: FakeBuddy, cost: CostRecorder) -> None:
    fake.rate_limit, fake.rate_window = 20, 1.0
    fake.add_suite(*KEY).populate(20)
    async with (
        BuddyClient(fake.token, base_url=fake.base_url) as one,
        BuddyClient(fake.token, base_url=fake.base_url) as other,
    ):
        paginators = [client.sessions(KEY, per_page=1, read_ahead=8) for client in (one, other)]
        with cost.measure(fake):
            lists = await asyncio.gather(*(paginator.collect() for paginator in paginators))
    assert [len(sessions) for sessions in lists] == [20, 20]
    assert count(fake, 429) <= 16, "what both have in flight when the quota is used up"
    assert sum(paginator.stats.retries for paginator in paginators) == count(fake, 429)
