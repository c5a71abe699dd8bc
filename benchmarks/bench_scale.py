"""Measures how the cost grows: from ten suites to ten thousand, and from a thousand sessions of a suite to a million.

The baseline, aiohttp and orjson without types, does the same work in turn.

Writes `results.json` next to this file; not with `--quick`, which stops at a hundredth of the sizes.
"""

from __future__ import annotations

import statistics
import sys

import report
from reader_process import Numbers, ReaderProcess
from server import Server, run_server

ROUNDS = 1 if report.QUICK else 3
COUNTS = {10: 20, 100: 5} if report.QUICK else {10: 20, 100: 20, 1_000: 6, 10_000: 1}  # suites: reads in each round
SESSIONS, PER_PAGE = 25, 20  # of each suite: two pages
LATENCY = 20  # milliseconds
CONCURRENCY = 64
LENGTHS = (1_000, 10_000) if report.QUICK else (1_000, 10_000, 100_000, 1_000_000)  # sessions


def measure_suites(server: Server, buddy: ReaderProcess, baseline: ReaderProcess) -> dict[str, Numbers]:
    """Measure increasing numbers of suites."""
    numbers: dict[str, Numbers] = {}
    for count, times in COUNTS.items():
        options = {
            "base_url": server.url(SESSIONS, LATENCY),
            "suites": count,
            "concurrency": CONCURRENCY,
            "per_page": PER_PAGE,
            "times": times,
        }
        pairs = [(buddy.measure("read", **options), baseline.measure("read", **options)) for _ in range(ROUNDS)]
        # The two pages of a suite are read one after the other, so few suites cannot use all slots.
        bound = max(2 * count / CONCURRENCY, 2) * LATENCY / 1000
        seconds = statistics.median(mine["wall"] for mine, _ in pairs)
        numbers[f"{count:,}"] = {
            "seconds": seconds,
            "over_bound": seconds / bound,
            "baseline_over_bound": statistics.median(theirs["wall"] for _, theirs in pairs) / bound,
            "cpu_us_per_suite": statistics.median(mine["cpu"] for mine, _ in pairs) / count * 1e6,
            "cpu_over_baseline": statistics.median(mine["cpu"] / theirs["cpu"] for mine, theirs in pairs),
        }
    report.table(
        f"Suites of two pages of {PER_PAGE}, {LATENCY} ms latency, {CONCURRENCY} at once: medians of {ROUNDS} rounds",
        {
            "seconds": "{seconds:.2f}",
            "over lower bound": "{over_bound:.3f}",
            "baseline over it": "{baseline_over_bound:.3f}",
            "CPU us/suite": "{cpu_us_per_suite:.0f}",
            "CPU over baseline": "{cpu_over_baseline:.2f}",
        },
        numbers,
    )
    return numbers


def measure_lengths(server: Server) -> dict[str, Numbers]:
    """Measure suites of increasing length."""
    numbers: dict[str, Numbers] = {}
    with ReaderProcess("buddy") as buddy:
        before = buddy.measure("peak_memory")["mib"]
        for length in LENGTHS:
            cost = buddy.measure("read", base_url=server.url(length), times=max(1, 100_000 // length))
            numbers[f"{length:,}"] = {
                "seconds": cost["wall"],
                "cpu_us_per_session": cost["cpu"] / length * 1e6,
                "mib": buddy.measure("peak_memory")["mib"] - before,
            }
    report.table(
        "One suite as a stream: memory added to that of the import",
        {"seconds": "{seconds:.2f}", "CPU us/session": "{cpu_us_per_session:.2f}", "peak MiB": "{mib:.1f}"},
        numbers,
    )
    return numbers


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    with run_server() as server, ReaderProcess("buddy") as buddy, ReaderProcess("bare_dicts") as baseline:
        if error := buddy.import_error or baseline.import_error:
            sys.exit(f"  nothing to measure: {error}")
        suites, lengths = measure_suites(server, buddy, baseline), measure_lengths(server)
    largest, smaller, longest = list(suites)[-1], f"{LENGTHS[1]:,}", f"{LENGTHS[-1]:,}"
    print()
    checks = [
        report.check_limit(
            f"{largest} suites, time over the lower bound", suites[largest]["over_bound"], "at most", 1.3
        ),
        report.check_limit(
            f"{longest} sessions, MiB more than for {smaller}",
            lengths[longest]["mib"] - lengths[smaller]["mib"],
            "at most",
            15,
        ),
    ]
    report.save("scale", {"machine": machine, "suites": suites, "sessions": lengths, "limits": checks})


if __name__ == "__main__":
    main()
