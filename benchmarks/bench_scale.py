"""How the cost grows: from ten suites to ten thousand, and from a thousand sessions of one suite to a million.

The floor, aiohttp and orjson without any types, does the same work in turn.

Writes `results.json` beside this file; not with `--quick`, which stops a hundredfold earlier.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import report
from server import Server, running
from worker import Numbers, Worker

QUICK = "--quick" in sys.argv
ROUNDS = 1 if QUICK else 3
COUNTS = {10: 20, 100: 5} if QUICK else {10: 20, 100: 20, 1_000: 6, 10_000: 1}  # suites, and times in each round
SESSIONS, PER_PAGE = 25, 20  # of each suite: two pages
LATENCY = 20  # milliseconds
CONCURRENCY = 64
LENGTHS = (1_000, 10_000) if QUICK else (1_000, 10_000, 100_000, 1_000_000)  # sessions


def suites(server: Server) -> dict[str, Numbers]:
    """Measure more and more suites."""
    figures: dict[str, Numbers] = {}
    with Worker("ours") as ours, Worker("floor") as floor:
        if missing := ours.missing or floor.missing:
            sys.exit(f"  nothing to measure with: {missing}")
        for count, times in COUNTS.items():
            url, options = server.url(SESSIONS, LATENCY), {"concurrency": CONCURRENCY, "per_page": PER_PAGE}
            pairs = []
            for _ in range(ROUNDS):
                mine, least = (worker.read(url, suites=count, times=times, **options) for worker in (ours, floor))
                pairs.append((mine, least))
            # Few suites cannot keep all places busy: the two pages of one come one after the other.
            bound = max(2 * count / CONCURRENCY, 2) * LATENCY / 1000
            figures[f"{count:,}"] = {
                "seconds": statistics.median(mine["wall"] for mine, _ in pairs),
                "over_bound": statistics.median(mine["wall"] for mine, _ in pairs) / bound,
                "floor_over_bound": statistics.median(least["wall"] for _, least in pairs) / bound,
                "cpu_us_per_suite": statistics.median(mine["cpu"] for mine, _ in pairs) / count * 1e6,
                "cpu_of_floor": statistics.median(mine["cpu"] / least["cpu"] for mine, least in pairs),
                "tasks": ours.watch(server.url(SESSIONS), suites=count, **options)["tasks"],
            }
    report.table(
        f"Suites of two pages of {PER_PAGE}, {LATENCY} ms latency, {CONCURRENCY} at once: medians of {ROUNDS} rounds",
        ("seconds", "over the bound", "floor over it", "CPU us/suite", "CPU of floor's", "tasks"),
        {
            count: (
                f"{one['seconds']:.2f}",
                f"{one['over_bound']:.3f}",
                f"{one['floor_over_bound']:.3f}",
                f"{one['cpu_us_per_suite']:.0f}",
                f"{one['cpu_of_floor']:.2f}",
                f"{one['tasks']}",
            )
            for count, one in figures.items()
        },
    )
    return figures


def lengths(server: Server) -> dict[str, Numbers]:
    """Measure longer and longer suites."""
    figures: dict[str, Numbers] = {}
    with Worker("ours") as ours:
        before = ours.peak()
        for length in LENGTHS:
            cost = ours.read(server.url(length), times=max(1, 100_000 // length))
            figures[f"{length:,}"] = {
                "seconds": cost["wall"],
                "cpu_us_per_session": cost["cpu"] / length * 1e6,
                "mib": ours.peak() - before,
            }
    report.table(
        "One suite, streamed: memory above what the import takes",
        ("seconds", "CPU us/session", "peak MiB"),
        {
            length: (f"{one['seconds']:.2f}", f"{one['cpu_us_per_session']:.2f}", f"{one['mib']:.1f}")
            for length, one in figures.items()
        },
    )
    return figures


def promises(by_suites: dict[str, Numbers], by_length: dict[str, Numbers]) -> list[dict[str, Any]]:
    """Print whether the promises are kept, which speak of the most that was measured."""
    costs, ratios = (
        [by_suites[count][figure] for count in ("100", "1,000", "10,000")]
        for figure in ("cpu_us_per_suite", "cpu_of_floor")
    )
    hundred, thousand, most = costs
    # What comes once, such as opening the connections, is not what a further suite costs.
    further = (1_000 * thousand - 100 * hundred) / 900, (10_000 * most - 1_000 * thousand) / 9_000
    suites, length = by_suites["10,000"], by_length["1,000,000"]
    more = length["mib"] - by_length["10,000"]["mib"]
    print()
    return [
        report.promise("10,000 suites, time over the bound", suites["over_bound"], most=1.15),
        report.promise("CPU per suite from 100 to 10,000, dearest over cheapest", max(costs) / min(costs), most=1.1),
        report.promise("CPU per suite from 100 to 10,000, dearest over that of 100", max(costs) / hundred, most=1.1),
        report.promise(
            "CPU over the floor's, from 100 to 10,000, dearest over cheapest", max(ratios) / min(ratios), most=1.1
        ),
        report.promise("CPU per further suite, of 10,000 over of 1,000", further[1] / further[0], most=1.1),
        report.promise("10,000 suites, tasks over concurrency", suites["tasks"] / CONCURRENCY, most=2.0),
        report.promise("1,000,000 sessions, MiB more than for 10,000", more, most=15),
    ]


def main() -> None:
    """Measure, print it, and keep it."""
    machine = report.machine()
    with running() as server:
        by_suites, by_length = suites(server), lengths(server)
    if not QUICK:
        kept = promises(by_suites, by_length)
        report.save("scale", {"machine": machine, "suites": by_suites, "sessions": by_length, "promises": kept})


if __name__ == "__main__":
    main()
