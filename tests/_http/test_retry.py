from __future__ import annotations

import subprocess
import sys

from buddy_sessions._http.retry import RetryQuota, backoff


def test_backoff_grows_with_jitter_up_to_a_limit() -> None:
    for retry, shortest in {1: 0.5, 2: 1.0, 3: 2.0}.items():
        waits = [backoff(retry) for _ in range(300)]
        assert shortest <= min(waits) < max(waits) <= 1.5 * shortest
        assert max(waits) - min(waits) > 0.25 * shortest
    assert all(10 < backoff(retry) <= 20 for retry in (9, 5000))


def test_four_attempts_outlast_three_seconds() -> None:
    assert all(sum(map(backoff, (1, 2, 3))) > 3 for _ in range(300))


def test_quota_is_used_up_and_earned_back() -> None:
    quota = RetryQuota(8)
    assert sum(quota.acquire() for _ in range(1000)) == 100
    quota.record_success(retried=True)
    assert quota.acquire()
    for _ in range(5):
        assert not quota.acquire()
        quota.record_success(retried=False)
    assert quota.acquire()
    for _ in range(2000):
        quota.record_success(retried=True)
    assert sum(quota.acquire() for _ in range(1000)) == 100


PROGRAM = """
import asyncio, sys
from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy, Fault

async def main():
    async with FakeBuddy() as fake, BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        fake.add_suite("acme", "shop", "s").populate(1)
        fake.inject(Fault.status(503))
        assert len(await buddy.sessions("acme/shop/s").collect()) == 1

asyncio.run(main())
print({"stamina", "structlog", "tenacity"} & set(sys.modules))
"""


def test_retry_leaves_other_libraries_alone() -> None:
    """Their settings are those of the whole process, so they belong to the application."""
    assert subprocess.check_output([sys.executable, "-c", PROGRAM], text=True) == "set()\n"
