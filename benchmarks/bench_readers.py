"""Compares how fast readers are, with one server and in one run.

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
from reader_process import Numbers, ReaderProcess
from readers import READERS, generate_client
from server import Server, run_server
from svg import Bar, chart

ROUNDS = 2 if report.QUICK else 9
LONG = 19_950  # sessions: 200 pages of 100, the last one short, so that all readers need the same number of requests
SUITES = 30 if report.QUICK else 300
SMALL = 150  # sessions: two pages
CONCURRENCY = 16
LATENCY = 20  # milliseconds

LIMITS = (
    ("buddy", "bare_dicts", 0.5),
    ("buddy", "hand_written", 2.5),
    ("buddy_plain", "httpx_pydantic", 0.8),
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
    """Measure one long suite."""
    url = server.url(LONG)
    run_rounds(processes, 1, "read", base_url=url)  # warms up
    suite = run_rounds(processes, ROUNDS, "read", base_url=url)
    numbers = {
        name: {
            "per_cpu_second": LONG / median(suite, name, "cpu"),
            "per_second": LONG / median(suite, name, "wall"),
            **{f"rate_over_{other}": relative_rate(suite, name, other) for _, other, _ in LIMITS if other in suite},
        }
        for name in processes
    }
    print_table(
        f"One suite of {LONG:,} sessions in 200 pages of 100 kB, no latency: medians of {ROUNDS} rounds",
        {
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
            noise=report.TIME_NOISE,
        )
        for name, other, limit in LIMITS
        if name in processes and other in processes
    ]
    return numbers, checks


def measure_many_suites(processes: Processes, server: Server) -> dict[str, Numbers]:
    """Measure many small suites, several at once."""
    url = server.url(SMALL, LATENCY)
    results = run_rounds(processes, 3, "read", base_url=url, suites=SUITES, concurrency=CONCURRENCY)
    numbers = {name: {"per_second_of_many": SUITES * SMALL / median(results, name, "wall")} for name in processes}
    print_table(
        f"{SUITES} suites of {SMALL} sessions in two pages, {CONCURRENCY} at once, {LATENCY} ms latency",
        {"sessions/s": "{per_second_of_many:,.0f}"},
        numbers,
    )
    return numbers


def draw(long_suite: dict[str, Numbers], many_suites: dict[str, Numbers]) -> str:
    """Return a bar chart of the rates."""
    rates = {
        "one suite, per second of CPU": {name: row["per_cpu_second"] for name, row in long_suite.items()},
        f"{SUITES} suites, {LATENCY} ms latency": {
            name: row["per_second_of_many"] for name, row in many_suites.items()
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
        many_suites = measure_many_suites(processes, server)
    if report.QUICK:
        return
    readers = {READERS[name]: long_suite[name] | many_suites[name] for name in processes}
    report.save("readers", {"machine": machine, "readers": readers, "limits": checks})
    Path(__file__).with_name("speed.svg").write_text(draw(long_suite, many_suites))


if __name__ == "__main__":
    main()
