"""An allowance of 60 requests in 3 seconds, and 300 requests: the time beside the least possible, and the refusals."""

from __future__ import annotations

import asyncio
import time

from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy

LIMIT, WINDOW, REQUESTS = 60, 3.0, 300
PROMISE = 1.1


async def main() -> None:
    """Walk a suite of 300 pages, and hold the time against that at which the last window opened."""
    async with FakeBuddy(rate_limit=LIMIT, rate_window=WINDOW) as fake:
        key = fake.add_suite("acme", "shop", "MNbyVedg").populate(REQUESTS).key
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            start = time.time()
            await buddy.sessions(*key, per_page=1, read_ahead=8).collect()
            seconds = time.time() - start
            assert buddy.rate_limit
            assert buddy.rate_limit.reset_at
            least = buddy.rate_limit.reset_at.timestamp() - WINDOW - start
    refused = sum(request.status == 429 for request in fake.requests)
    kept = seconds / least <= PROMISE and refused == 0 and len(fake.requests) == REQUESTS
    print(f"\nRate limit: {REQUESTS} requests, {LIMIT} allowed in {WINDOW:g} s")
    print(f"  {seconds:.2f} s, the last window opened after {least:.2f} s; {refused} answers of 429")
    print(f"  ratio {seconds / least:.3f}, promised {PROMISE}: {'kept' if kept else 'NOT KEPT'}")


if __name__ == "__main__":
    asyncio.run(main())
