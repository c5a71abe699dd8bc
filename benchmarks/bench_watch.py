"""Measures a watch of 10,000 suites: memory and CPU of a suite, and how soon a change is seen after a refresh.

Writes `results.json` next to this file; not with `--quick`, which watches a tenth of the suites.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import report
from buddy_sessions import BuddyClient, SuiteKey
from buddy_sessions.testing import FakeBuddy
from reader_process import keys
from server import run_server

SUITES, ROUNDS = (1_000, 4) if report.QUICK else (10_000, 2)  # idle rounds
SESSIONS = 1_000  # of each suite; a round reads a page of 100
CONCURRENCY = 16
CHANGES = 20  # after each of which a suite is refreshed


class CountingLimiter:
    """Lets all requests pass, and tells when a number of them was sent."""

    def __init__(self) -> None:
        self._remaining = 0
        self._is_reached = asyncio.Event()

    async def acquire(self) -> None:
        """Count a request."""
        self._remaining -= 1
        if self._remaining == 0:
            self._is_reached.set()

    async def wait(self, count: int) -> None:
        """Wait until `count` requests were sent from now on, and the last of them were processed."""
        self._remaining = count
        self._is_reached.clear()
        await self._is_reached.wait()
        await asyncio.sleep(0.1)


@asynccontextmanager
async def run_watch(base_url: str, count: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Watch suites. Yields a function that does one round."""
    limiter = CountingLimiter()
    suites = map(SuiteKey._make, keys(count))
    async with (
        BuddyClient("token", base_url=base_url, max_concurrency=CONCURRENCY, limiter=limiter) as buddy,
        buddy.watch(suites, interval=86_400) as watch,
    ):

        async def consume() -> None:
            async for change in watch:
                sys.exit(f"nothing has changed, but {change} was reported")

        async def do_round() -> None:
            await watch.refresh()
            await limiter.wait(count)

        consumer = asyncio.create_task(consume())
        yield do_round
        consumer.cancel()
        with suppress(asyncio.CancelledError):
            await consumer


async def measure_rounds(base_url: str) -> tuple[float, float]:
    """Return the kB of a suite in this process, and its milliseconds of CPU in an idle round."""
    async with run_watch(base_url, 10) as do_round:  # what is created on first use is not measured
        await do_round()
    gc.collect()
    before = resident_kb()
    async with run_watch(base_url, SUITES) as do_round:
        await do_round()
        start = time.process_time()
        for _ in range(ROUNDS):
            await do_round()
        seconds = (time.process_time() - start) / ROUNDS
        gc.collect()
        return (resident_kb() - before) / SUITES, seconds / SUITES * 1000


def resident_kb() -> float:
    """Return the resident size of this process, in units of 1,000 bytes."""
    kib = re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert kib
    return int(kib[1]) * 1.024


async def longest_delay() -> float:
    """Return the most seconds from a change in a suite until the watch reports it, after a refresh."""
    delays: list[float] = []
    created: dict[SuiteKey, float] = {}
    async with FakeBuddy() as fake, BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        suites = {key: fake.add_suite(*key).populate(100) for key in map(SuiteKey._make, keys(CHANGES))}
        async with buddy.watch(suites) as watch:

            async def create() -> None:
                await asyncio.sleep(2)  # until all suites were read
                for key, suite in suites.items():
                    created[key] = time.perf_counter()
                    suite.create()
                    await watch.refresh(key)
                    await asyncio.sleep(0.05)

            creating = asyncio.create_task(create())
            async for change in watch:
                delays.append(time.perf_counter() - created[change.suite])
                if len(delays) == CHANGES:
                    break
            await creating
    return max(delays)


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    delay = asyncio.run(longest_delay())
    with run_server() as server:  # the watch has a process of its own, so that its memory is its own
        command = [sys.executable, __file__, *sys.argv[1:], "measure", server.url(SESSIONS)]
        kb, idle_ms = json.loads(subprocess.check_output(command))
    checks = [
        report.check_limit(f"{SUITES:,} suites, kB per suite", kb, "at most", 60),
        report.check_limit(
            f"{SUITES:,} suites, ms of CPU per suite in an idle round", idle_ms, "at most", 0.5, noise=report.TIME_NOISE
        ),
        report.check_limit("seconds until a change is seen after a refresh, longest", delay, "at most", 1),
    ]
    report.save("watch", {"machine": machine, "limits": checks})


if __name__ == "__main__":
    if "measure" in sys.argv:
        print(json.dumps(asyncio.run(measure_rounds(sys.argv[-1]))))
    else:
        main()
