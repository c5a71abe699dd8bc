"""Fifty milliseconds for each response: how much time reading ahead saves, and that it wastes no request.

First one suite of fifty pages, then a giant suite among hundreds of small ones, read by a harvest and by a sync. Last
a sync of one session whose hundred test cases have all failed, with the details of each.

Writes `results.json` next to this file; not with `--quick`, which reads everything once.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import report
from buddy_sessions import BuddyClient, Harvest, SessionStore, SuiteKey
from server import Server, run_server

PAGES = 50
LATENCY = 0.05  # seconds
ROUNDS = 1 if report.QUICK else 3
LIMITS = {1: 1.15, 4: 1.15, 16: 1.4}  # more pages at once take longer to be reached
GIANT_LIMIT = 1.3
SUITE = "acme/shop/MNbyVedg"

GIANT_PAGES, SMALL_SUITES = 100, 500
PER_PAGE = 20
CONCURRENCY = 8
FAILING = 100  # test cases of one session
REQUESTS = GIANT_PAGES + SMALL_SUITES


async def measure_read_ahead(base_url: str) -> list[dict[str, Any]]:
    """Read the same suite with several values of `read_ahead`, and compare each with one page at a time."""
    times: dict[int, list[float]] = {read_ahead: [] for read_ahead in LIMITS}
    async with BuddyClient("token", base_url=base_url, max_concurrency=16) as buddy:
        await buddy.sessions(SUITE).collect()
        for read_ahead in list(times) * ROUNDS:
            paginator = buddy.sessions(SUITE, read_ahead=read_ahead)
            start = time.perf_counter()
            count = len(await paginator.collect())
            times[read_ahead].append(time.perf_counter() - start)
            assert (count, paginator.stats.requests) == (PAGES * 100, PAGES)
    print(f"\nLatency: {PAGES} pages of 100 sessions at {LATENCY * 1000:.0f} ms each, always {PAGES} requests")
    checks: list[dict[str, Any]] = []
    for read_ahead, seconds in times.items():
        ratio = statistics.median(one / sequential for one, sequential in zip(seconds, times[1], strict=True))
        bound = (1 + math.ceil((PAGES - 1) / read_ahead)) / PAGES
        print(f"  read_ahead={read_ahead}: {statistics.median(seconds):.2f} s")
        name = f"{PAGES} pages, read_ahead={read_ahead}, time over the lower bound"
        checks.append(report.check_limit(name, ratio / bound, "at most", LIMITS[read_ahead], noise=report.TIME_NOISE))
    return checks


async def time_all(harvest: Harvest) -> float:
    """Return the seconds that a harvest takes."""
    start = time.perf_counter()
    async with harvest:
        async for _ in harvest:
            pass
    seconds = time.perf_counter() - start
    assert (harvest.stats.pages, harvest.stats.verified) == (REQUESTS, True)
    return seconds


async def measure_giant(server: Server) -> list[dict[str, Any]]:
    """Read a giant suite among small ones, wherever it comes in the order, and as many small ones without it."""
    base_url = server.giant_url(PER_PAGE - 1, GIANT_PAGES * PER_PAGE, round(LATENCY * 1000))
    small = [SuiteKey("acme", "shop", f"suite{number:05}") for number in range(REQUESTS)]
    others, giant = small[:SMALL_SUITES], [SuiteKey("acme", "shop", "giant")]
    middle = SMALL_SUITES // 2
    orders = {
        "no giant": small,
        "giant first": giant + others,
        "giant in the middle": others[:middle] + giant + others[middle:],
        "giant last": others + giant,
    }
    bound = max(REQUESTS / CONCURRENCY, 1 + math.ceil((GIANT_PAGES - 1) / CONCURRENCY)) * LATENCY
    rows: dict[str, dict[str, float]] = {}
    for name, suites in orders.items():
        async with BuddyClient("token", base_url=base_url, max_concurrency=CONCURRENCY, per_page=PER_PAGE) as buddy:
            server.count_requests()
            harvest = await time_all(buddy.harvest(suites))
            requests = [server.count_requests()]
            with tempfile.TemporaryDirectory() as folder:
                async with SessionStore(Path(folder) / "sessions.db") as store:
                    sync = await time_all(store.sync(buddy, suites))
            requests.append(server.count_requests() - 1)  # without the one for the names of the suites
        rows[name] = {"harvest": harvest / bound, "sync": sync / bound, "requests": max(requests)}
    report.table(
        f"{REQUESTS} pages, {CONCURRENCY} requests at once: {SMALL_SUITES} suites of one page, one of {GIANT_PAGES}",
        {
            "harvest, over lower bound": "{harvest:.3f}",
            "sync, over lower bound": "{sync:.3f}",
            "most requests": "{requests:.0f}",
        },
        rows,
    )
    harvest_time = max(row["harvest"] for name, row in rows.items() if name != "no giant")
    sync_time = max(row["sync"] for name, row in rows.items() if name != "no giant")
    most_requests = max(row["requests"] for row in rows.values())
    name = "with a giant suite at the worst position, time over the lower bound"
    return [
        report.check_limit(f"harvest {name}", harvest_time, "at most", GIANT_LIMIT, noise=report.TIME_NOISE),
        report.check_limit(f"sync {name}", sync_time, "at most", GIANT_LIMIT, noise=report.TIME_NOISE),
        report.check_limit("requests over pages", most_requests / REQUESTS, "at most", 1),
    ]


async def measure_failing(server: Server) -> list[dict[str, Any]]:
    """Sync the many failing test cases of a session, which was synced before: each one costs a request."""
    base_url = server.cases_url(1, FAILING, "failed", round(LATENCY * 1000))
    ratios: list[float] = []
    for _ in range(ROUNDS):
        async with BuddyClient("token", base_url=base_url, max_concurrency=CONCURRENCY) as buddy:
            with tempfile.TemporaryDirectory() as folder:
                async with SessionStore(Path(folder) / "sessions.db") as store:
                    await store.sync(buddy, [SUITE]).run()
                    server.count_requests()
                    start = time.perf_counter()
                    await store.sync(buddy, [SUITE], cases="failed").run()
                    seconds = time.perf_counter() - start
                    saved = await store.recent_tests(SUITE, cases="failed")
        assert [case.has_details for run in saved for case in run.cases] == [True] * FAILING
        ratios.append(seconds / (server.count_requests() * LATENCY / CONCURRENCY))
    name = f"sync of {FAILING} failing tests of one session, time over requests x latency / concurrency"
    print()
    return [report.check_limit(name, statistics.median(ratios), "at most", GIANT_LIMIT, noise=report.TIME_NOISE)]


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    with run_server() as server:
        checks = asyncio.run(measure_read_ahead(server.url(PAGES * 100, round(LATENCY * 1000))))
        checks += asyncio.run(measure_giant(server))
        checks += asyncio.run(measure_failing(server))
    report.save("latency", {"machine": machine, "limits": checks})


if __name__ == "__main__":
    main()
