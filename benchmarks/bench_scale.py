"""Measures ten thousand suites, and a suite of a million sessions: the time of the first, the memory of the second.

Writes `results.json` next to this file; not with `--quick`, which stops at a hundredth of the sizes.
"""

from __future__ import annotations

import report
from reader_process import ReaderProcess
from server import Server, run_server

SUITES = 100 if report.QUICK else 10_000
SESSIONS, PER_PAGE = 25, 20  # of each suite: two pages
LATENCY = 20  # milliseconds
CONCURRENCY = 64
SHORT, LONG = (1_000, 10_000) if report.QUICK else (10_000, 1_000_000)  # sessions of one suite


def time_over_bound(server: Server, buddy: ReaderProcess) -> float:
    """Return the time of reading many suites, over requests times latency over concurrency."""
    url = server.url(SESSIONS, LATENCY)
    cost = buddy.measure("read", base_url=url, suites=SUITES, concurrency=CONCURRENCY, per_page=PER_PAGE)
    return cost["wall"] / (2 * SUITES * LATENCY / 1000 / CONCURRENCY)


def added_memory(server: Server, buddy: ReaderProcess) -> float:
    """Return the MiB that reading a long suite needs in addition to those of a shorter one."""
    peaks: list[float] = []
    for length in (SHORT, LONG):
        buddy.measure("read", base_url=server.url(length))
        peaks.append(buddy.measure("peak_memory")["mib"])
    return peaks[1] - peaks[0]


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    with run_server() as server, ReaderProcess("buddy") as buddy, ReaderProcess("buddy") as fresh:
        time, memory = time_over_bound(server, buddy), added_memory(server, fresh)
    checks = [
        report.check_limit(
            f"{SUITES:,} suites, time over the lower bound", time, "at most", 1.3, noise=report.TIME_NOISE
        ),
        report.check_limit(f"{LONG:,} sessions, MiB more than for {SHORT:,}", memory, "at most", 15),
    ]
    report.save("scale", {"machine": machine, "limits": checks})


if __name__ == "__main__":
    main()
