"""Harvests for a long time while lists change and responses fail: no resource may grow, and the database must be right.

The server has its own process, so that its memory is not taken for a leak of the client.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from buddy_sessions import BuddyClient, Harvest, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

KEYS = [SuiteKey("acme", "soak", f"s{number}") for number in range(20)]
LENGTH = 400  # sessions; retention deletes older ones
FAULT_RATE = 0.1  # the share of requests that fail
MAX_GROWTH = 8.0  # MiB from the first half to the second: allocators and caches need some

FAULTS: tuple[Callable[[], Fault], ...] = (
    lambda: Fault.status(500),
    lambda: Fault.status(503, body=b"<html>come back later</html>"),
    lambda: Fault.status(404),
    lambda: Fault.status(429, headers={"Retry-After": "0"}),
    lambda: Fault.status(302, headers={"Location": "http://127.0.0.1:9/"}),
    lambda: Fault.body(b"<html>a page of a proxy</html>"),
    lambda: Fault.body(b'{"sessions": [{"id": null}]}'),
    lambda: Fault.body(b"\xff\xfe"),
    Fault.disconnect,
    Fault.truncate,
    Fault.hang,
    lambda: Fault.stall(0.3),
)

Contents = dict[str, list[list[str]]]
"""The ID and the status of each session, by suite."""


class Resources(NamedTuple):
    """What this process uses."""

    mib: float
    descriptors: int
    tasks: int


def change(suite: FakeSuite, chance: random.Random) -> None:
    """Create a session, maybe finish, reopen or delete a recent one, and delete old ones."""
    session = chance.choice(suite.sessions[:20])
    suite.create(branch=chance.choice(["main", "develop"]))
    if session["status"] == "IN_PROGRESS":
        suite.finish(session["id"], status=chance.choice(["SUCCESSFUL", "ERROR"]))
    elif chance.random() < 0.1:
        suite.reopen(session["id"])
    if chance.random() < 0.1:
        suite.delete(session["id"])
    for old in suite.sessions[LENGTH:]:
        suite.delete(old["id"])


async def serve() -> None:
    """Serve changing suites with faults until standard input has a line; then stop changing, and print the contents."""
    chance = random.Random(3)
    fake = FakeBuddy(latency=0.002)
    suites = [fake.add_suite(*key).populate(LENGTH) for key in KEYS]

    def on_request(_: object) -> None:
        fake.requests.clear()
        if chance.random() < 0.2:
            change(chance.choice(suites), chance)
        if chance.random() < FAULT_RATE:
            fake.inject(chance.choice(FAULTS)())

    fake.on_request = on_request
    async with fake:
        print(fake.base_url, fake.token, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        fake.on_request = None
        fake.faults.clear()
        contents = {suite.key[2]: [[one["id"], one["status"]] for one in suite.sessions] for suite in suites}
        print(json.dumps(contents), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def measure_resources() -> Resources:
    """Return the resources that this process uses."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Resources(mib, len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))


async def exhaust(harvest: Harvest) -> None:
    """Iterate a harvest to its end."""
    async with harvest:
        async for _ in harvest:
            pass


async def harvest_until(end: float, base_url: str, token: str, path: Path) -> list[Resources]:
    """Harvest in rounds until a monotonic time; return the resources after each round."""
    rounds: list[Resources] = []
    async with SessionStore(path) as store:
        while time.monotonic() < end:
            async with BuddyClient(token, base_url=base_url, timeout=1.0, max_attempts=2, max_wait=5.0) as buddy:
                await exhaust(store.sync(buddy, KEYS, on_failure="collect"))
                await exhaust(buddy.harvest(KEYS, branch="main", on_failure="collect"))
            rounds.append(measure_resources())
    return rounds


async def sync_once(base_url: str, token: str, path: Path) -> Contents:
    """Sync the database once more, and return its contents."""
    async with BuddyClient(token, base_url=base_url) as buddy, SessionStore(path) as store:
        await exhaust(store.sync(buddy, KEYS))
        return {key.suite_id: [[one.id, one.status.value] for one in await store.sessions(key)] for key in KEYS}


def run(minutes: float) -> tuple[list[Resources], Contents, Contents]:
    """Return the resources after each round, and the final contents of the server and of the database."""
    command, pipe = [sys.executable, __file__, "--serve"], subprocess.PIPE
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server,
    ):
        assert server.stdin
        assert server.stdout
        base_url, token = server.stdout.readline().split()
        path = Path(folder, "soak.db")
        rounds = asyncio.run(harvest_until(time.monotonic() + minutes * 60, base_url, token, path))
        server.stdin.write("\n")
        server.stdin.flush()
        served: Contents = json.loads(server.stdout.readline())
        stored = asyncio.run(sync_once(base_url, token, path))
        server.stdin.close()
    return rounds, served, stored


def main() -> int:
    """Run the test, print its result, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    rounds, served, stored = run(options.minutes)
    warm = rounds[len(rounds) // 10 :]
    halves = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    first, second = (Resources(*map(median, zip(*half, strict=True))) for half in halves)
    missing = sum(one not in stored[suite] for suite, sessions in served.items() for one in sessions)
    # A sync does not read finished sessions again, so it does not notice that an old one was deleted.
    extra = sum(len(stored[suite]) - len(sessions) for suite, sessions in served.items()) + missing
    print(f"\nSoak: {len(rounds)} rounds of {2 * len(KEYS)} suites in {options.minutes:g} min, {FAULT_RATE:.0%} faults")
    print("                first half  second half   (medians)")
    print(f"  memory, MiB     {first.mib:8.1f}     {second.mib:8.1f}")
    print(f"  descriptors     {first.descriptors:8.0f}     {second.descriptors:8.0f}")
    print(f"  tasks           {first.tasks:8.0f}     {second.tasks:8.0f}")
    print(f"  sessions in the database: {missing} missing or outdated, {extra} deleted on the server and kept")
    passed = second.mib - first.mib < MAX_GROWTH and first[1:] == second[1:] and second.tasks == 1 and not missing
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
