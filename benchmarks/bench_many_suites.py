"""Many suites under a rate limit: 20,000 at 200 requests a second, read by one process, and by four that share a token.

Reports the time over that of the quota, the CPU and memory of a process, the share of responses with status 429, and
whether all sessions were read. The server has a process of its own.

Writes `results.json` next to this file; not with `--quick`, which reads a twentieth of the suites.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import report
from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy

SUITES = 1_000 if report.QUICK else 20_000
SESSIONS = 2  # of each suite, in one page
RATE, WINDOW = 200, 5  # requests a second; seconds
PROCESSES = 4
COMMAND = [sys.executable, __file__, *(["--quick"] if report.QUICK else [])]

Numbers = dict[str, float]


def keys(part: int, parts: int) -> list[SuiteKey]:
    """Return the suites that one of several processes reads."""
    return [SuiteKey("acme", f"project-{number // 100}", f"suite{number:05}") for number in range(part, SUITES, parts)]


async def serve() -> None:
    """Serve the suites. For each line of standard input, print the numbers of requests and of 429s since the last."""
    async with FakeBuddy(rate_limit=RATE * WINDOW, rate_window=WINDOW) as fake:
        for key in keys(0, 1):
            suite = fake.add_suite(*key)
            for _ in range(SESSIONS):
                suite.create(status="SUCCESSFUL", cases=[])
        print(json.dumps([str(fake.base_url), fake.token]), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps([len(fake.requests), sum(one.status == 429 for one in fake.requests)]), flush=True)
            fake.requests.clear()


def peak_memory() -> float:
    """Return the maximum resident size in MiB. `getrusage` would include the size of the parent process."""
    kib = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert kib
    return int(kib[1]) / 1024


async def read(base_url: str, token: str, part: int, parts: int, database: str) -> None:
    """Read one of several parts of the suites, or sync it into a database, and print the cost."""
    start, cpu = time.perf_counter(), time.process_time()
    async with BuddyClient(token, base_url=base_url) as buddy:
        if database:
            async with SessionStore(database) as store:
                stats = await store.sync(buddy, keys(part, parts)).run()
        else:
            stats = await buddy.harvest(keys(part, parts)).run()
    numbers = {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "mib": peak_memory(),
        "sessions": stats.sessions,
        "verified": stats.verified,
    }
    print(json.dumps(numbers))


class Server:
    """The running server, seen from the benchmark."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self._address: list[str] = json.loads(self._stdout.readline())

    def measure(self, parts: int = 1, database: str = "") -> Numbers:
        """Read all suites in so many processes, and return their cost."""
        processes = [
            subprocess.Popen(
                [*COMMAND, "--read", *self._address, str(part), str(parts), database], stdout=subprocess.PIPE, text=True
            )
            for part in range(parts)
        ]
        costs = [json.loads(process.communicate()[0]) for process in processes]
        assert all(cost["verified"] for cost in costs)
        self._stdin.write("\n")
        self._stdin.flush()
        requests, rejected = json.loads(self._stdout.readline())
        return {
            "seconds": max(cost["seconds"] for cost in costs),
            "over_quota": max(cost["seconds"] for cost in costs) / (SUITES / RATE),
            "cpu": sum(cost["cpu"] for cost in costs),
            "mib": max(cost["mib"] for cost in costs),
            "sessions": sum(cost["sessions"] for cost in costs),
            "requests": requests,
            "rejected_percent": 100 * rejected / requests,
        }


@contextmanager
def run_server() -> Iterator[Server]:
    """Run the server until the block ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, "--serve"], stdin=pipe, stdout=pipe, text=True) as process:
        yield Server(process)


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    with run_server() as server, tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder, "sessions.db"))
        numbers = {
            "harvest": server.measure(),
            "first sync": server.measure(database=database),
            "sync without changes": server.measure(database=database),
            f"harvest, {PROCESSES} processes": server.measure(PROCESSES),
        }
    report.table(
        f"{SUITES:,} suites of {SESSIONS} sessions, {RATE} requests a second",
        {
            "seconds": "{seconds:.1f}",
            "over quota": "{over_quota:.2f}",
            "CPU s": "{cpu:.1f}",
            "MiB": "{mib:.0f}",
            "sessions": "{sessions:,}",
            "429s": "{rejected_percent:.1f} %",
        },
        numbers,
    )
    print()
    names = ("harvest", "first sync")
    checks = [
        *(
            report.check_limit(
                f"{name}, time over that of the quota",
                numbers[name]["over_quota"],
                "at most",
                1.5,
                noise=report.TIME_NOISE,
            )
            for name in names
        ),
        *(report.check_limit(f"{name}, MiB", numbers[name]["mib"], "at most", 100) for name in names),
        report.check_limit("harvest, sessions", numbers["harvest"]["sessions"], "at least", SUITES * SESSIONS),
        report.check_limit("first sync, sessions", numbers["first sync"]["sessions"], "at least", SUITES * SESSIONS),
    ]
    report.save("many_suites", {"machine": machine, "suites": numbers, "limits": checks})


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(serve())
    elif "--read" in sys.argv:
        base_url, token, part, parts, database = sys.argv[-5:]
        asyncio.run(read(base_url, token, int(part), int(parts), database))
    else:
        main()
