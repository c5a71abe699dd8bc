"""Measures a watch of up to 10,000 suites: memory and CPU of a suite, and how soon a change is seen.

A hand-written polling loop, aiohttp and orjson without types, does the same work in turn. Each measurement has a
process of its own, so that its memory is its own. That of ten suites is mostly noise.

Writes `results.json` next to this file; not with `--quick`, which stops at a tenth of the suites.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson

import report
from buddy_sessions import BuddyClient, SuiteKey
from buddy_sessions.testing import FakeBuddy
from reader_process import keys
from readers import HEADERS, Suite, sessions_path
from server import Server, run_server

COUNTS = {10: 200, 1_000: 4} if report.QUICK else {10: 200, 1_000: 4, 10_000: 1}  # suites: idle rounds
SESSIONS = 1_000  # of each suite; a round reads a page of 100
CONCURRENCY = 16
INTERVAL = 2.0  # seconds, for the delays
DELAY_SUITES = 20
MAX_KB, MAX_CPU_MS = 60, 0.5  # of a suite

Numbers = dict[str, float]
Round = Callable[[], Awaitable[None]]


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
async def run_watch(base_url: str, suites: list[Suite]) -> AsyncIterator[Round]:
    """Watch suites with this package. Yields a function that does one round."""
    limiter = CountingLimiter()
    async with (
        BuddyClient("token", base_url=base_url, max_concurrency=CONCURRENCY, limiter=limiter) as buddy,
        buddy.watch([SuiteKey(*suite) for suite in suites], interval=86_400) as watch,
    ):

        async def consume() -> None:
            async for change in watch:
                sys.exit(f"nothing has changed, but {change} was reported")

        async def do_round() -> None:
            await watch.refresh()
            await limiter.wait(len(suites))

        consumer = asyncio.create_task(consume())
        yield do_round
        consumer.cancel()
        with suppress(asyncio.CancelledError):
            await consumer


@asynccontextmanager
async def run_polling_loop(base_url: str, suites: list[Suite]) -> AsyncIterator[Round]:
    """Watch suites with the usual loop. Yields a function that does one round."""
    known: dict[Suite, dict[str, Any]] = {}
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as http:

        async def check(suite: Suite) -> None:
            query = {"page": 1, "per_page": 100}
            async with http.get(base_url + sessions_path(suite), params=query) as response:
                page = orjson.loads(await response.read())
            sessions = {session["id"]: session for session in page["sessions"]}
            previous = known.get(suite, sessions)
            if any(previous.get(name) != session for name, session in sessions.items()):
                sys.exit("nothing has changed, but a change was found")
            known[suite] = sessions

        async def do_round() -> None:
            remaining = iter(suites)

            async def work() -> None:
                for suite in remaining:
                    await check(suite)

            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

        yield do_round


WATCHERS = {"watch": run_watch, "polling loop": run_polling_loop}


async def measure_rounds(watcher: str, base_url: str, count: int, rounds: int) -> Numbers:
    """Measure a watch in this process: `kb`, and the milliseconds of the first round and of an idle one, of a suite."""
    async with WATCHERS[watcher](base_url, keys(10)) as do_round:  # what is created on first use is not measured
        await do_round()
    gc.collect()
    before = resident_kb()
    async with WATCHERS[watcher](base_url, keys(count)) as do_round:
        times = [time.process_time()]
        for _ in range(1 + rounds):
            await do_round()
            times.append(time.process_time())
        gc.collect()
        return {
            "kb": (resident_kb() - before) / count,
            "first_cpu_ms": (times[1] - times[0]) / count * 1000,
            "cpu_ms": (times[-1] - times[1]) / rounds / count * 1000,
        }


def resident_kb() -> float:
    """Return the resident size of this process, in units of 1,000 bytes."""
    kib = re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert kib
    return int(kib[1]) * 1.024


def measure_in_turn(server: Server) -> dict[str, Numbers]:
    """Let both watch increasing numbers of suites, each time in a new process."""
    numbers: dict[str, Numbers] = {}
    for count, rounds in COUNTS.items():
        mine, theirs = (
            json.loads(
                subprocess.run(
                    [sys.executable, __file__, watcher, server.url(SESSIONS), str(count), str(rounds)],
                    stdout=subprocess.PIPE,
                    check=True,
                ).stdout
            )
            for watcher in WATCHERS
        )
        numbers[f"{count:,}"] = {
            **mine,
            **{f"polling_{name}": value for name, value in theirs.items()},
            "memory_over_polling": mine["kb"] / theirs["kb"],
            "cpu_over_polling": mine["cpu_ms"] / theirs["cpu_ms"],
        }
    report.table(
        f"Suites that are watched, per suite: memory after the rounds, CPU of the first round and of an idle one, "
        f"over a polling loop ({CONCURRENCY} requests at once)",
        {
            "kB": "{kb:.1f}",
            "polling kB": "{polling_kb:.1f}",
            "ratio": "{memory_over_polling:.2f}",
            "first ms": "{first_cpu_ms:.2f}",
            "polling first ms": "{polling_first_cpu_ms:.2f}",
            "idle ms": "{cpu_ms:.2f}",
            "polling idle ms": "{polling_cpu_ms:.2f}",
            "idle ratio": "{cpu_over_polling:.2f}",
        },
        numbers,
    )
    return numbers


async def measure_delays(*, with_refresh: bool) -> Numbers:
    """Measure the seconds from a change in a suite until the watch reports it, with and without a refresh."""
    delays: list[float] = []
    created: dict[SuiteKey, float] = {}
    async with FakeBuddy() as fake, BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        suites = {key: fake.add_suite(*key).populate(100) for key in map(SuiteKey._make, keys(DELAY_SUITES))}
        async with buddy.watch(suites, interval=INTERVAL) as watch:

            async def create() -> None:
                await asyncio.sleep(INTERVAL * 2)  # until the rounds of the suites are spread over the interval
                for key, suite in suites.items():
                    created[key] = time.perf_counter()
                    suite.create()
                    if with_refresh:
                        await watch.refresh(key)
                        await asyncio.sleep(0.05)

            creating = asyncio.create_task(create())
            async for change in watch:
                delays.append(time.perf_counter() - created[change.suite])
                if len(delays) == DELAY_SUITES:
                    break
            await creating
    return {"median": statistics.median(delays), "longest": max(delays)}


def measure_both_delays() -> dict[str, Numbers]:
    """Measure the delays with and without a refresh."""
    numbers = {
        f"every {INTERVAL:g} s": asyncio.run(measure_delays(with_refresh=False)),
        "with refresh": asyncio.run(measure_delays(with_refresh=True)),
    }
    report.table(
        f"Seconds until a change is seen, {DELAY_SUITES} changes",
        {"median": "{median:.3f}", "longest": "{longest:.3f}"},
        numbers,
    )
    return numbers


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    delays = measure_both_delays()
    with run_server() as server:
        suites = measure_in_turn(server)
    largest = list(suites)[-1]
    print()
    checks = [
        report.check_limit(
            f"{largest} suites, kB per suite", suites[largest]["kb"], "at most", MAX_KB, first_version=106
        ),
        report.check_limit(
            f"{largest} suites, ms of CPU per suite in an idle round",
            suites[largest]["cpu_ms"],
            "at most",
            MAX_CPU_MS,
            first_version=1.2,
        ),
        report.check_limit(
            "seconds until a change is seen after a refresh, longest",
            delays["with refresh"]["longest"],
            "at most",
            1,
            first_version=34,
        ),
    ]
    report.save("watch", {"machine": machine, "suites": suites, "delays": delays, "limits": checks})


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in WATCHERS:
        measured = measure_rounds(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        print(json.dumps(asyncio.run(measured)))
    else:
        main()
