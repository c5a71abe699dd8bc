"""Fifty pages at fifty milliseconds each: what reading ahead saves, and whether it wastes a request.

The server runs in a process of its own and has its pages ready, so that its work is not counted as the client's.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import subprocess
import sys
import time

from yarl import URL

from buddy_sessions import BuddyClient, SuiteKey

PAGES = 50
LATENCY = 0.05  # seconds
ROUNDS = 3
PROMISE = 1.15
KEY = SuiteKey("acme", "shop", "MNbyVedg")

SERVER = f"""
import asyncio, json
from aiohttp import web
from buddy_sessions.testing import FakeSuite

suite = FakeSuite(*{tuple(KEY)}).populate({PAGES * 100})
pages = {{str(page): json.dumps(suite.page(page, 100)).encode() for page in range(1, {PAGES + 2})}}

async def answer(request):
    assert request.query["per_page"] == "100"
    await asyncio.sleep({LATENCY})
    return web.Response(body=pages[request.query["page"]], content_type="application/json")

async def main():
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("http://%s:%s" % runner.addresses[0], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def measure(base_url: URL) -> None:
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
    """Start the server, measure, and stop it."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        base_url = URL(server.stdout.readline().strip())
        try:
            asyncio.run(measure(base_url))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
