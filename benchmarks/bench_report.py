"""Measures what a report costs: CPU time, peak memory and size of the page, for increasing numbers of suites.

A number as an argument is the largest number of sessions (default: 100,000).

Writes `results.json` next to this file; not with `--quick`, which stops at a tenth of the sizes, or with a number.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import reader_process
import report
from buddy_sessions.cli import run
from helpers.large_database import create_large_database

LARGEST = next((int(argument) for argument in sys.argv[1:] if argument.isdecimal()), None)
PER_SUITE = 1_000  # sessions
SIZES = [
    size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= (LARGEST or (10_000 if report.QUICK else 100_000))
]
CPU_LIMIT, MEMORY_LIMIT = 20, 200  # microseconds per session, MiB


def measure(path: Path) -> None:
    """Write the report of a database, and print CPU seconds, MiB of peak memory, and bytes of the page."""
    page = path.with_suffix(".html")
    start = time.process_time()
    assert run(["report", "--db", str(path), "--out", str(page)]) == 0
    seconds = time.process_time() - start
    print(json.dumps([seconds, reader_process.peak_memory(reader_process)["mib"], page.stat().st_size]))


def measure_in_process(sessions: int) -> dict[str, float]:
    """Create a database, run `measure` in a new process, and return its numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sessions.db")
        create_large_database(path, sessions // PER_SUITE, PER_SUITE)
        command = [sys.executable, __file__, "measure", str(path)]
        seconds, mib, size = json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))
    return {"seconds": seconds, "cpu_us_per_session": seconds / sessions * 1e6, "mib": mib, "kb": size / 1000}


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    numbers = {f"{size:,}": measure_in_process(size) for size in SIZES}
    report.table(
        f"Report over suites of {PER_SUITE:,} sessions, in a new process",
        {
            "CPU s": "{seconds:.2f}",
            "CPU us/session": "{cpu_us_per_session:.2f}",
            "peak MiB": "{mib:.0f}",
            "page, kB": "{kb:.0f}",
        },
        numbers,
    )
    largest = list(numbers)[-1]
    cpu, mib = numbers[largest]["cpu_us_per_session"], numbers[largest]["mib"]
    print()
    checks = [
        report.check_limit(
            f"report over {largest} sessions, CPU us per session", cpu, "at most", CPU_LIMIT, first_version=23
        ),
        report.check_limit(f"report over {largest} sessions, peak MiB", mib, "at most", MEMORY_LIMIT),
    ]
    if LARGEST is None:
        report.save("report", {"machine": machine, "report": numbers, "limits": checks})


if __name__ == "__main__":
    if "measure" in sys.argv:
        measure(Path(sys.argv[-1]))
    else:
        main()
