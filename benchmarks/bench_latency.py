"""Fifty pages at fifty milliseconds each: what reading ahead saves, and whether it wastes a request."""

from __future__ import annotations

import asyncio
import math
import statistics
import time

from buddy_sessions import BuddyClient, SuiteKey
from server import running

PAGES = 50
LATENCY = 0.05  # seconds
ROUNDS = 3
PROMISE = 1.15
KEY = SuiteKey("acme", "shop", "MNbyVedg")


async def measure(base_url: str) -> None:
    """Walk the same suite at several depths in one run, and print each time over that of one page at a time."""
    times: dict[int, list[float]] = {1: [], 4: [], 16: []}
    async with BuddyClient("token", base_url=base_url, max_concurrency=16) as buddy:
        await buddy.sessions(*KEY).collect()
        for depth in list(times) * ROUNDS:
            paginator = buddy.sessions(*KEY, read_ahead=depth)
            start = time.perf_counter()
            count = len(await paginator.collect())
            times[depth].append(time.perf_counter() - start)
            assert (count, paginator.stats.requests) == (PAGES * 100, PAGES)
    print(f"\nLatency: {PAGES} pages of 100 sessions at {LATENCY * 1000:.0f} ms each, {PAGES} requests at each depth")
    print("  read_ahead   seconds   of one at a time   bound   over the bound")
    for depth, seconds in times.items():
        ratio = statistics.median(one / sequential for one, sequential in zip(seconds, times[1], strict=True))
        bound = (1 + math.ceil((PAGES - 1) / depth)) / PAGES
        verdict = "kept" if ratio / bound <= PROMISE else "NOT KEPT"
        median = statistics.median(seconds)
        print(f"  {depth:10}   {median:7.2f}   {ratio:16.3f}   {bound:5.2f}   {ratio / bound:6.3f} {verdict}")


def main() -> None:
    """Measure."""
    with running() as server:
        asyncio.run(measure(server.url(PAGES * 100, round(LATENCY * 1000))))


if __name__ == "__main__":
    main()
