"""300 requests under a rate limit of 60 in 3 seconds: the share of the quota that is used, and the number of 429s.

Writes `results.json` next to this file; not with `--quick`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter

import report
from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy

QUOTA, WINDOW, REQUESTS = 60, 3.0, 300
LIMIT = 0.95


async def main() -> None:
    """Read a suite of 300 pages, and count the requests in each window of the rate limit."""
    times: list[float] = []
    async with FakeBuddy(rate_limit=QUOTA, rate_window=WINDOW) as fake:
        fake.on_request = lambda _: times.append(time.time())
        suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(REQUESTS)
        async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
            start = time.perf_counter()
            await buddy.sessions(suite.key, per_page=1, read_ahead=8).collect()
            seconds = time.perf_counter() - start
    # The windows of the server end on whole seconds. The first one starts with the first request.
    first = math.ceil(times[0])
    windows = Counter(max(0, int((moment - first) // WINDOW)) for moment in times)
    rejected = sum(request.status == 429 for request in fake.requests)
    print(f"\nRate limit: {windows.total()} requests in {seconds:.2f} s, a quota of {QUOTA} in {WINDOW:g} s")
    # The read starts in the first window and ends in the last one: it cannot use all of these.
    complete = [windows[window] for window in range(min(windows) + 1, max(windows))]
    checks = [
        report.check_limit("share of the quota used, worst window", min(complete) / QUOTA, "at least", LIMIT),
        report.check_limit("responses with status 429", rejected, "at most", 0),
        report.check_limit("requests", windows.total(), "at most", REQUESTS),
    ]
    report.save("rate_limit", {"machine": report.machine(), "limits": checks})


if __name__ == "__main__":
    asyncio.run(main())
