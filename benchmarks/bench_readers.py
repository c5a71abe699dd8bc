"""Compares ways to read sessions, with one server and in one run: speed, requests, memory, import time.

Each reader has its own process and takes its turn in every round, so that other work on the machine affects all of
them. Rates are per second of the process's CPU time.

Writes `results.json` and `speed.svg` next to this file; not with `--quick`, which measures less of everything.
"""

from __future__ import annotations

import os
import statistics
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import report
from bench_startup import import_seconds
from reader_process import Numbers, ReaderProcess
from readers import READERS, generate_client
from server import Server, run_server
from svg import Bar, chart

ROUNDS = 2 if report.QUICK else 9
LONG = 19_950  # sessions: 200 pages of 100, the last one short, so that all readers need the same number of requests
SUITES = 30 if report.QUICK else 300
SMALL = 150  # sessions: two pages
FULL = 200  # sessions: two full pages
CONCURRENCY = 16
LATENCIES = {0: 3, 20: 3, 100: 1}  # milliseconds: rounds
FEW, MANY = 10_000, 30_000 if report.QUICK else 300_000  # sessions between which memory must not grow

LIMITS = (
    ("buddy", "bare_dicts", 0.5),
    ("buddy", "hand_written", 2.5),
    ("buddy_plain", "httpx_pydantic", 0.9),
    ("buddy_plain", "generated_client", 1.0),
)
"""The rate of the first reader is at least so many times that of the second one."""

COLOURS = {"buddy": "#1a7f37", "buddy_plain": "#4ac26b"}

Processes = dict[str, ReaderProcess]
Rounds = dict[str, list[Numbers]]


def run_rounds(processes: Processes, rounds: int, job: str, **options: object) -> Rounds:
    """Let all readers do a job in turn, and return the numbers of each round."""
    results: Rounds = {name: [] for name in processes}
    for _ in range(rounds):
        for name, process in processes.items():
            results[name].append(process.measure(job, **options))
    return results


def median(rounds: Rounds, name: str, number: str) -> float:
    """Return the median of a reader's rounds."""
    return statistics.median(numbers[number] for numbers in rounds[name])


def relative_rate(rounds: Rounds, name: str, other: str) -> float:
    """Return the rate of a reader divided by that of another: the median of the rounds' ratios."""
    pairs = zip(rounds[name], rounds[other], strict=True)
    return statistics.median(theirs["cpu"] / mine["cpu"] for mine, theirs in pairs)


def print_table(title: str, columns: dict[str, str], rows: dict[str, Numbers]) -> None:
    """Print a table with one row per reader."""
    report.table(title, columns, {READERS[name]: numbers for name, numbers in rows.items()})


def measure_long_suite(processes: Processes, server: Server) -> tuple[dict[str, Numbers], list[dict[str, Any]]]:
    """Measure one page and one long suite."""
    url = server.url(LONG)
    pages = run_rounds(processes, ROUNDS, "decode", base_url=url)
    run_rounds(processes, 1, "read", base_url=url)  # warms up
    suite = run_rounds(processes, ROUNDS, "read", base_url=url)
    numbers = {
        name: {
            "decode_us": median(pages, name, "cpu") * 1e6,
            "per_cpu_second": LONG / median(suite, name, "cpu"),
            "per_second": LONG / median(suite, name, "wall"),
            **{f"rate_over_{other}": relative_rate(suite, name, other) for _, other, _ in LIMITS if other in suite},
        }
        for name in processes
    }
    print_table(
        f"One suite of {LONG:,} sessions in 200 pages of 100 kB, no latency: medians of {ROUNDS} rounds",
        {
            "decode us/page": "{decode_us:.0f}",
            "sessions/CPU s": "{per_cpu_second:,.0f}",
            "sessions/s": "{per_second:,.0f}",
            "vs bare dicts": "{rate_over_bare_dicts:.2f}",
            "vs hand-written": "{rate_over_hand_written:.2f}",
        },
        numbers,
    )
    checks = [
        report.check_limit(
            f"{READERS[name]}, rate over that of {READERS[other]}",
            numbers[name][f"rate_over_{other}"],
            "at least",
            limit,
        )
        for name, other, limit in LIMITS
        if name in processes and other in processes
    ]
    return numbers, checks


def measure_many_suites(processes: Processes, server: Server) -> dict[str, Numbers]:
    """Measure many small suites, several at once."""
    options = {"suites": SUITES, "concurrency": CONCURRENCY}
    numbers: dict[str, Numbers] = {name: {} for name in processes}
    for sessions in (SMALL, FULL):
        for name, process in processes.items():
            server.count_requests()
            process.measure("read", base_url=server.url(sessions), **options)
            numbers[name][f"requests_of_{sessions}"] = server.count_requests()
    for latency, rounds in LATENCIES.items():
        results = run_rounds(processes, rounds, "read", base_url=server.url(SMALL, latency), **options)
        for name in processes:
            numbers[name][f"cpu_at_{latency}_ms"] = median(results, name, "cpu")
            numbers[name][f"seconds_at_{latency}_ms"] = median(results, name, "wall")
    bounds = ", ".join(f"{2 * SUITES * latency / 1000 / CONCURRENCY:.2f} s" for latency in LATENCIES)
    print_table(
        f"{SUITES} suites of {SMALL} sessions in two pages, {CONCURRENCY} at once (lower bounds: {bounds})",
        {
            "CPU at 0 ms": "{cpu_at_0_ms:.2f} s",
            **{f"at {latency} ms": f"{{seconds_at_{latency}_ms:.2f}} s" for latency in LATENCIES},
            **{f"requests of {size}": f"{{requests_of_{size}}}" for size in (SMALL, FULL)},
        },
        numbers,
    )
    return numbers


def measure_footprint(processes: Processes, server: Server) -> dict[str, Numbers]:
    """Measure the import time, the memory in a new process, and how long the event loop is blocked."""
    numbers: dict[str, Numbers] = {}
    for name, process in processes.items():
        with ReaderProcess(name) as fresh:
            before = fresh.measure("peak_memory")["mib"]
            fresh.measure("read", base_url=server.url(FEW))
            few = fresh.measure("peak_memory")["mib"] - before
            fresh.measure("read", base_url=server.url(MANY))
            numbers[name] = {"mib_few": few, "mib_many": fresh.measure("peak_memory")["mib"] - before}
        if name != "dlt_rest":  # it has no event loop
            observed = run_rounds({name: process}, 1 if report.QUICK else 3, "observe_loop", base_url=server.url(LONG))
            numbers[name]["iteration_ms"] = median(observed, name, "iteration") * 1000
    imports = [{name: import_seconds(f"readers.{name}") for name in processes} for _ in range(ROUNDS)]
    for name, row in numbers.items():
        row["import_ms"] = statistics.median(times[name] for times in imports) * 1000
    print_table(
        "Import time, memory added to it, and the longest iteration of the event loop while one suite is read",
        {
            "import": "{import_ms:.0f} ms",
            f"MiB, {FEW:,}": "{mib_few:.1f}",
            f"MiB, {MANY:,}": "{mib_many:.1f}",
            "iteration": "{iteration_ms:.2f} ms",
        },
        numbers,
    )
    return numbers


def draw(long_suite: dict[str, Numbers], many_suites: dict[str, Numbers]) -> str:
    """Return a bar chart of the rates."""
    rates = {
        "one suite, per second of CPU": {name: row["per_cpu_second"] for name, row in long_suite.items()},
        f"{SUITES} suites, 20 ms latency": {
            name: SUITES * SMALL / row["seconds_at_20_ms"] for name, row in many_suites.items()
        },
    }
    groups = {}
    for group, row in rates.items():
        best = max(row.values())
        groups[group] = [
            Bar(COLOURS.get(name, "#8c959f"), f"{READERS[name]}: {rate / 1000:.0f},000", rate / best)
            for name, rate in sorted(row.items(), key=lambda item: -item[1])
        ]
    return chart("Sessions read per second, each reader in its own process, one server", groups, label_width=220)


def main() -> None:
    """Measure all readers that are installed, print the results, and save them."""
    machine = report.machine()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        generate_client(Path(folder))
        here = str(Path(__file__).parent)  # for `import readers.…` in new interpreters
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (here, folder, os.environ.get("PYTHONPATH"))))
        server = stack.enter_context(run_server())
        processes = {name: stack.enter_context(ReaderProcess(name)) for name in READERS}
        for name, process in list(processes.items()):
            if process.import_error:
                print(f"  {READERS[name]} is not measured: {process.import_error}")
                del processes[name]
        long_suite, checks = measure_long_suite(processes, server)
        many_suites, footprint = measure_many_suites(processes, server), measure_footprint(processes, server)
    if report.QUICK:
        return
    readers = {READERS[name]: long_suite[name] | many_suites[name] | footprint[name] for name in processes}
    report.save("readers", {"machine": machine, "readers": readers, "limits": checks})
    Path(__file__).with_name("speed.svg").write_text(draw(long_suite, many_suites))


if __name__ == "__main__":
    main()
