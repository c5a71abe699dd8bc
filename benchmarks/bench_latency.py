"""Fifty pages at fifty milliseconds each: how much time reading ahead saves, and that it wastes no request."""

from __future__ import annotations

import asyncio
import math
import statistics
import time

import report
from buddy_sessions import BuddyClient
from server import run_server

PAGES = 50
LATENCY = 0.05  # seconds
ROUNDS = 3
LIMIT = 1.15
SUITE = "acme/shop/MNbyVedg"


async def measure(base_url: str) -> None:
    """Read the same suite with several values of `read_ahead`, and compare each with one page at a time."""
    times: dict[int, list[float]] = {1: [], 4: [], 16: []}
    async with BuddyClient("token", base_url=base_url, max_concurrency=16) as buddy:
        await buddy.sessions(SUITE).collect()
        for read_ahead in list(times) * ROUNDS:
            paginator = buddy.sessions(SUITE, read_ahead=read_ahead)
            start = time.perf_counter()
            count = len(await paginator.collect())
            times[read_ahead].append(time.perf_counter() - start)
            assert (count, paginator.stats.requests) == (PAGES * 100, PAGES)
    print(f"\nLatency: {PAGES} pages of 100 sessions at {LATENCY * 1000:.0f} ms each, always {PAGES} requests")
    for read_ahead, seconds in times.items():
        ratio = statistics.median(one / sequential for one, sequential in zip(seconds, times[1], strict=True))
        bound = (1 + math.ceil((PAGES - 1) / read_ahead)) / PAGES
        name = f"read_ahead={read_ahead}: {statistics.median(seconds):.2f} s, time over the lower bound"
        report.check_limit(name, ratio / bound, "at most", LIMIT)


def main() -> None:
    """Measure."""
    with run_server() as server:
        asyncio.run(measure(server.url(PAGES * 100, round(LATENCY * 1000))))


if __name__ == "__main__":
    main()
