"""One process harvests over and over, while lists move and answers break: does anything grow, is it true at the end?

The server has a process of its own, so that what it remembers is not taken for what the client leaks.
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

from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

SUITES = 20
LENGTH = 400  # sessions that a suite is kept at, about
QUIET = 0.9  # the share of answers that no fault hits
ROOM = 8.0  # MiB that the second half may need more than the first: what allocators and caches do by themselves

FAULTS: tuple[Callable[[], Fault], ...] = (
    lambda: Fault.status(500),
    lambda: Fault.status(503, body=b"<html>come back later</html>"),
    lambda: Fault.status(404),
    lambda: Fault.status(429, headers={"Retry-After": "0"}),
    lambda: Fault.status(302, headers={"Location": "http://127.0.0.1:9/"}),
    lambda: Fault.body(b"<html>a proxy's page</html>"),
    lambda: Fault.body(b'{"sessions": [{"id": null}]}'),
    lambda: Fault.body(b"\xff\xfe"),
    Fault.disconnect,
    Fault.truncate,
    Fault.hang,
    lambda: Fault.stall(0.3),
)


def something_happens(chance: random.Random, suite: FakeSuite) -> None:
    """Let a session begin, run on, end, be opened again or be deleted, by a retention too."""
    newest = suite.page(1, 20)["sessions"]
    session = chance.choice(newest)
    suite.create(branch=chance.choice(["main", "develop"]))
    if session["status"] == "IN_PROGRESS":
        suite.finish(session["id"], status=chance.choice(["SUCCESSFUL", "ERROR"]))
    elif chance.random() < 0.1:
        suite.reopen(session["id"])
    if chance.random() < 0.1:
        suite.delete(session["id"])
    sessions = suite.sessions
    for old in sessions[LENGTH:]:
        suite.delete(old["id"])


async def serve() -> None:
    """Serve a moving Buddy with faults until a line comes on stdin; then stand still, and tell what is there."""
    chance = random.Random(3)
    fake = FakeBuddy(latency=0.002)
    suites = [fake.add_suite("acme", "soak", f"s{number}").populate(LENGTH) for number in range(SUITES)]

    def on_request(_: object) -> None:
        fake.requests.clear()
        if chance.random() < 0.2:
            something_happens(chance, chance.choice(suites))
        if chance.random() > QUIET:
            fake.inject(chance.choice(FAULTS)())

    fake.on_request = on_request
    async with fake:
        print(fake.base_url, fake.token, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        fake.on_request = None
        fake.faults.clear()
        alive = {suite.key[2]: [[one["id"], one["status"]] for one in suite.sessions] for suite in suites}
        print(json.dumps(alive), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def measured() -> tuple[float, int, int]:
    """Return the memory of this process in MiB, its descriptors, and its tasks."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return mib, len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())


async def harvest(base_url: str, token: str, path: Path, until: float) -> list[tuple[float, int, int]]:
    """Harvest until a time; return what was measured after each round."""
    keys = [SuiteKey("acme", "soak", f"s{number}") for number in range(SUITES)]
    rounds: list[tuple[float, int, int]] = []
    async with SessionStore(path) as store:
        while time.monotonic() < until:
            async with BuddyClient(token, base_url=base_url, timeout=1.0, attempts=2, max_wait=5.0) as buddy:
                for harvest in (
                    store.harvest(buddy, keys, on_failure="collect"),
                    buddy.harvest(keys, branch="main", on_failure="collect"),
                ):
                    async with harvest:
                        async for _ in harvest:
                            pass
            rounds.append(measured())
    return rounds


async def last(base_url: str, token: str, path: Path) -> dict[str, list[list[str]]]:
    """Harvest once more, and return what the file holds."""
    keys = [SuiteKey("acme", "soak", f"s{number}") for number in range(SUITES)]
    async with BuddyClient(token, base_url=base_url) as buddy, SessionStore(path) as store:
        async with store.harvest(buddy, keys) as harvest:
            async for _ in harvest:
                pass
        return {key.suite_id: [[one.id, one.status.value] for one in await store.sessions(key)] for key in keys}


def main() -> int:
    """Run it, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    command = [sys.executable, __file__, "--serve"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdin
        assert server.stdout
        base_url, token = server.stdout.readline().split()
        path = Path(folder, "soak.db")
        rounds = asyncio.run(harvest(base_url, token, path, time.monotonic() + options.minutes * 60))
        server.stdin.write("\n")
        server.stdin.flush()
        alive = json.loads(server.stdout.readline())
        held = asyncio.run(last(base_url, token, path))
        server.stdin.close()
    warm = rounds[len(rounds) // 10 :]
    halves = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    memory, descriptors, tasks = ([median(one[column] for one in half) for half in halves] for column in range(3))
    missing = sum(one not in held[suite] for suite, sessions in alive.items() for one in sessions)
    # A deletion further down than what a harvest reads again cannot be seen; nothing else may be too many.
    extra = sum(len(held[suite]) - len(sessions) for suite, sessions in alive.items()) + missing
    print(f"\nSoak: {len(rounds)} rounds of {2 * SUITES} suites in {options.minutes:g} min, faults in 1 of 10 answers")
    print(f"  memory, MiB        {memory[0]:8.1f} {memory[1]:8.1f}   first half, second half (medians)")
    print(f"  descriptors        {descriptors[0]:8.0f} {descriptors[1]:8.0f}")
    print(f"  tasks              {tasks[0]:8.0f} {tasks[1]:8.0f}")
    print(f"  sessions missing or stale in the file {missing}, kept though deleted further down {extra}")
    kept = memory[1] - memory[0] < ROOM and descriptors[0] == descriptors[1] and tasks == [1, 1] and not missing
    print("kept" if kept else "NOT KEPT")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
