"""The gate over real HTTP: allowances that are spent and not overdrawn."""

from __future__ import annotations

import asyncio

from buddy_sessions import BuddyClient, SuiteKey
from buddy_sessions.testing import FakeBuddy, Fault

KEY = SuiteKey("acme", "shop", "MNbyVedg")


def statuses(fake: FakeBuddy) -> dict[int | None, int]:
    return {status: [request.status for request in fake.requests].count(status) for status in (200, 429)}


async def test_several_windows_are_spent_to_the_last_request_without_a_429(fake: FakeBuddy) -> None:
    fake.rate_limit, fake.rate_window = 20, 1.0
    fake.add_suite(*KEY).populate(70)
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        paginator = buddy.sessions(*KEY, per_page=1, read_ahead=8)
        assert len(await paginator.collect()) == 70
    assert statuses(fake) == {200: 70, 429: 0}
    assert paginator.stats.waited > 2.0
    assert paginator.stats.retries == 0


async def test_where_others_spend_too_a_refusal_is_waited_out_together(fake: FakeBuddy) -> None:
    fake.rate_limit, fake.rate_window = 20, 1.0
    fake.add_suite(*KEY).populate(30)
    async with (
        BuddyClient(fake.token, base_url=fake.base_url) as one,
        BuddyClient(fake.token, base_url=fake.base_url) as other,
    ):
        walks = [client.sessions(*KEY, per_page=1, read_ahead=8) for client in (one, other)]
        lists = await asyncio.gather(*(walk.collect() for walk in walks))
    assert [len(sessions) for sessions in lists] == [30, 30]
    assert statuses(fake)[429] <= 16  # what both may have in flight when the allowance ends
    assert sum(walk.stats.retries for walk in walks) == statuses(fake)[429]


async def test_one_refusal_pauses_every_request_of_the_client(fake: FakeBuddy) -> None:
    fake.add_suite(*KEY)
    fake.inject(Fault.status(429, headers={"Retry-After": "1"}))
    async with BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=1) as buddy:
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(buddy.sessions(*KEY).collect() for _ in range(10)))
        assert 1 <= asyncio.get_running_loop().time() - started < 2.5
    assert statuses(fake) == {200: 10, 429: 1}
