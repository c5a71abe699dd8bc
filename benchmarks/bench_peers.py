"""What sessions are read with, side by side, from one server and in one run: speed, requests, memory, start-up.

Each peer has a process of its own and takes its turn in every round, so that whatever else the machine does meets
them all. Rates are per second of the process's own CPU time.

Writes `results.json` and `speed.svg` beside this file; not with `--quick`, which measures less of each.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import report
from bench_startup import seconds
from peers import PEERS, generate
from server import Server, running
from svg import Bar, chart
from worker import Numbers, Worker

QUICK = "--quick" in sys.argv
ROUNDS = 2 if QUICK else 9
LONG = 19_950  # sessions: 200 pages of 100, the last one short, so that all peers need as many requests
SUITES = 30 if QUICK else 300
SMALL = 150  # sessions: two pages
FULL = 200  # sessions: two pages, the last one full
CONCURRENCY = 16
LATENCIES = {0: 3, 20: 3, 100: 1}  # milliseconds, and rounds
FEW, MANY = 10_000, 30_000 if QUICK else 300_000  # sessions to see the memory grow with

COLOURS = {"ours": "#1a7f37", "ours_plain": "#4ac26b"}

Results = dict[str, list[Numbers]]


def rounds(workers: dict[str, Worker], count: int, job: Callable[[Worker], Numbers]) -> Results:
    """Let all take turns, and return what each has measured in each round."""
    results: Results = {name: [] for name in workers}
    for _ in range(count):
        for name, worker in workers.items():
            results[name].append(job(worker))
    return results


def median(results: Results, name: str, figure: str) -> float:
    """Return the median of a peer's rounds."""
    return statistics.median(numbers[figure] for numbers in results[name])


def faster(results: Results, name: str, other: str) -> float:
    """Return how many times the rate of another one has: the median of the rounds' ratios; NaN if that is left out."""
    if other not in results:
        return math.nan
    pairs = zip(results[name], results[other], strict=True)
    return statistics.median(theirs["cpu"] / mine["cpu"] for mine, theirs in pairs)


def speed(workers: dict[str, Worker], server: Server) -> tuple[dict[str, Numbers], list[dict[str, Any]]]:
    """Measure one page, and one long suite."""
    pages = rounds(workers, ROUNDS, lambda worker: worker.decode(server.url(LONG)))
    rounds(workers, 1, lambda worker: worker.read(server.url(LONG)))  # warm
    suite = rounds(workers, ROUNDS, lambda worker: worker.read(server.url(LONG)))
    figures = {
        name: {
            "decode_us": median(pages, name, "seconds") * 1e6,
            "per_cpu_second": LONG / median(suite, name, "cpu"),
            "per_second": LONG / median(suite, name, "wall"),
            "of_floor": faster(suite, name, "floor"),
            "of_hand": faster(suite, name, "hand"),
        }
        for name in workers
    }
    report.table(
        f"One suite of {LONG:,} sessions in 200 pages of 100 kB, no latency: medians of {ROUNDS} rounds",
        ("decode us/page", "sessions/CPU s", "sessions/s", "rate of floor", "rate of by hand"),
        {
            PEERS[name]: (
                f"{one['decode_us']:.0f}",
                f"{one['per_cpu_second']:,.0f}",
                f"{one['per_second']:,.0f}",
                f"{one['of_floor']:.2f}",
                f"{one['of_hand']:.2f}",
            )
            for name, one in figures.items()
        },
    )
    promises = [
        report.promise(f"{PEERS[name]}, rate over that of {PEERS[other]}", figures[name][figure], least=least)
        for name, other, figure, least in (
            ("ours", "floor", "of_floor", 0.75),
            ("ours", "hand", "of_hand", 2.5),
            ("ours_plain", "floor", "of_floor", 0.35),
            ("ours_plain", "hand", "of_hand", 1.5),
        )
        if name in workers and other in workers
    ]
    return figures, promises


def many(workers: dict[str, Worker], server: Server) -> dict[str, Numbers]:
    """Measure many small suites, several at once."""

    def read(url: str) -> Callable[[Worker], Numbers]:
        return lambda worker: worker.read(url, suites=SUITES, concurrency=CONCURRENCY)

    figures: dict[str, Numbers] = {name: {} for name in workers}
    for sessions in (SMALL, FULL):
        for name, worker in workers.items():
            server.requests()
            read(server.url(sessions))(worker)
            figures[name][f"requests_of_{sessions}"] = server.requests()
    for latency, count in LATENCIES.items():
        results = rounds(workers, count, read(server.url(SMALL, latency)))
        for name in workers:
            figures[name][f"cpu_at_{latency}_ms"] = median(results, name, "cpu")
            figures[name][f"seconds_at_{latency}_ms"] = median(results, name, "wall")
    bounds = (f"{2 * SUITES * latency / 1000 / CONCURRENCY:.2f} s" for latency in LATENCIES)
    report.table(
        f"{SUITES} suites of {SMALL} sessions in two pages, {CONCURRENCY} at once: seconds at each latency",
        ("CPU at 0 ms", *(f"at {latency} ms" for latency in LATENCIES), "requests", f"requests of {FULL}"),
        {
            "the bound": ("", *bounds, f"{2 * SUITES}", f"{2 * SUITES}"),
            **{
                PEERS[name]: (
                    f"{one['cpu_at_0_ms']:.2f} s",
                    *(f"{one[f'seconds_at_{latency}_ms']:.2f} s" for latency in LATENCIES),
                    f"{one[f'requests_of_{SMALL}']}",
                    f"{one[f'requests_of_{FULL}']}",
                )
                for name, one in figures.items()
            },
        },
    )
    return figures


def footprint(workers: dict[str, Worker], server: Server) -> dict[str, Numbers]:
    """Measure what else a peer takes: memory, in a new process; the event loop; the time until it is imported."""
    figures: dict[str, Numbers] = {}
    for name, worker in workers.items():
        with Worker(name) as fresh:
            before = fresh.peak()
            fresh.read(server.url(FEW))
            few = fresh.peak() - before
            fresh.read(server.url(MANY))
            figures[name] = {"mib_few": few, "mib_many": fresh.peak() - before}
        if name != "dlt_rest":  # has no event loop
            seen = [worker.watch(server.url(LONG)) for _ in range(1 if QUICK else 3)]
            figures[name] |= {
                "step_ms": statistics.median(one["step"] for one in seen) * 1000,
                "turn_ms": statistics.median(one["turn"] for one in seen) * 1000,
                "tasks": max(one["tasks"] for one in seen),
            }
    for name in workers:
        seconds(f"peers.{name}")
    times = [{name: seconds(f"peers.{name}") for name in workers} for _ in range(ROUNDS)]
    for name, one in figures.items():
        one["import_ms"] = statistics.median(row[name] for row in times) * 1000
    report.table(
        "Beside that: import, memory above it, and the longest that the event loop was held while reading one suite",
        ("import", f"MiB, {FEW:,}", f"MiB, {MANY:,}", "longest step", "longest turn", "tasks"),
        {
            PEERS[name]: (
                f"{one['import_ms']:.0f} ms",
                f"{one['mib_few']:.1f}",
                f"{one['mib_many']:.1f}",
                *(
                    (f"{one['step_ms']:.2f} ms", f"{one['turn_ms']:.2f} ms", f"{one['tasks']}")
                    if "tasks" in one
                    else ("-", "-", "-")
                ),
            )
            for name, one in figures.items()
        },
    )
    return figures


def picture(long: dict[str, Numbers], small: dict[str, Numbers]) -> str:
    """Return a bar chart of the rates."""
    rates = {
        "one suite, per second of CPU": {name: one["per_cpu_second"] for name, one in long.items()},
        f"{SUITES} suites, 20 ms latency": {
            name: SUITES * SMALL / one["seconds_at_20_ms"] for name, one in small.items()
        },
    }
    groups = {}
    for group, row in rates.items():
        best = max(row.values())
        groups[group] = [
            Bar(COLOURS.get(name, "#8c959f"), f"{PEERS[name]}: {rate / 1000:.0f},000", rate / best)
            for name, rate in sorted(row.items(), key=lambda item: -item[1])
        ]
    return chart("Sessions read per second, each peer in its own process, one server", groups, beside=220)


def main() -> None:
    """Measure all that is installed, print it, and keep it."""
    machine = report.machine()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        generate(Path(folder))
        here = str(Path(__file__).parent)  # for `import peers.…` in the processes that only import
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (here, folder, os.environ.get("PYTHONPATH"))))
        server = stack.enter_context(running())
        workers = {name: stack.enter_context(Worker(name)) for name in PEERS}
        for name, worker in workers.items():
            if worker.missing:
                print(f"  {PEERS[name]} is left out: {worker.missing}")
        workers = {name: worker for name, worker in workers.items() if not worker.missing}
        long, promises = speed(workers, server)
        small, rest = many(workers, server), footprint(workers, server)
    if QUICK:
        return
    peers = {PEERS[name]: long[name] | small[name] | rest[name] for name in workers}
    report.save("peers", {"machine": machine, "peers": peers, "promises": promises})
    Path(__file__).with_name("speed.svg").write_text(picture(long, small))


if __name__ == "__main__":
    main()
