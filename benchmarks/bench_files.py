"""Measures what writing files costs: the CPU time of `harvest --out` per session, and the peak memory.

Writes `results.json` next to this file; not with `--quick`, which writes a tenth of the sessions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import reader_process
import report
from buddy_sessions.cli import run
from server import run_server

SESSIONS = 10_000 if report.QUICK else 100_000
PER_SUITE = 1_000
LIMITS = {"jsonl": 20, "csv": 40, "parquet": 60}  # microseconds of CPU per session
PARQUET_LIMIT = 300  # MiB


def measure(kind: str, base_url: str) -> None:
    """Harvest into a file, and print seconds of CPU and MiB of peak memory of this process."""
    os.environ.update(BUDDY_TOKEN="token", BUDDY_BASE_URL=base_url)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"sessions.{kind}")
        for count in (1, SESSIONS // PER_SUITE):  # what is imported or created on first use is not measured
            start = time.process_time()
            assert run(["harvest", *map("/".join, reader_process.keys(count)), "--out", str(path)]) == 0
            seconds = time.process_time() - start
    print(json.dumps([seconds, reader_process.peak_memory(reader_process)["mib"]]))


def main() -> None:
    """Measure each kind of file in a process of its own, print the results, and save them."""
    machine = report.machine()
    numbers: dict[str, dict[str, float]] = {}
    with run_server() as server:
        for kind in LIMITS:
            command = [sys.executable, __file__, *sys.argv[1:], "measure", kind, server.url(PER_SUITE)]
            output = subprocess.check_output(command, stderr=subprocess.DEVNULL)
            seconds, mib = json.loads(output.splitlines()[-1])
            numbers[f".{kind}"] = {"cpu_us_per_session": seconds / SESSIONS * 1e6, "mib": mib}
    columns = {"CPU us/session": "{cpu_us_per_session:.2f}", "peak MiB": "{mib:.0f}"}
    report.table(f"harvest --out FILE, {SESSIONS:,} sessions in suites of {PER_SUITE:,}", columns, numbers)
    print()
    name = f"{SESSIONS:,} sessions as"
    checks = [
        report.check_limit(
            f"{name} .{kind}, CPU us per session",
            numbers[f".{kind}"]["cpu_us_per_session"],
            "at most",
            limit,
            noise=report.TIME_NOISE,
        )
        for kind, limit in LIMITS.items()
    ]
    checks.append(
        report.check_limit(f"{name} .parquet, peak MiB", numbers[".parquet"]["mib"], "at most", PARQUET_LIMIT)
    )
    report.save("files", {"machine": machine, "files": numbers, "limits": checks})


if __name__ == "__main__":
    if "measure" in sys.argv:
        measure(*sys.argv[-2:])
    else:
        main()
