"""A million sessions in a thousand suites: the time and the peak memory of each command, and the size of its file.

`sync` runs twice: all sessions are new, then none. `report` and `export` read the database, and `prune` deletes half of
it. Each command is a process of its own.

Writes `results.json` next to this file; not with `--quick`, which reads a hundredth.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import report
from reader_process import keys
from server import run_server

SUITES, PER_SUITE = (10 if report.QUICK else 1_000), 1_000  # sessions
COMMAND = [sys.executable, "-m", "buddy_sessions"]


def measure(*arguments: str | Path, file: Path) -> dict[str, float]:
    """Run a command. Return its seconds, CPU seconds and MiB of peak memory, and the MB of its file."""
    start = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return {
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "mib": usage.ru_maxrss / 1024,
        "mb": file.stat().st_size / 1e6,
    }


def prune_half(database: Path) -> dict[str, float]:
    """Date the first half of each suite back to 2020, and delete it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        old = "UPDATE session_rows SET create_date = '2020-01-01T00:00:00Z' WHERE relative_id <= ?"
        connection.execute(old, (PER_SUITE // 2,))
    days = (datetime.now(UTC) - datetime(2023, 1, 1, tzinfo=UTC)).days
    return measure("prune", "--db", database, "--keep", f"{days}d", file=database)


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    with run_server() as server, tempfile.TemporaryDirectory() as name:
        os.environ.update(BUDDY_TOKEN="token", BUDDY_BASE_URL=server.url(PER_SUITE))
        folder = Path(name)
        suites, database, html = folder / "suites.txt", folder / "sessions.db", folder / "report.html"
        suites.write_text("\n".join(map("/".join, keys(SUITES))))
        numbers = {
            "first sync": measure("sync", "--from", suites, "--db", database, file=database),
            "unchanged sync": measure("sync", "--from", suites, "--db", database, file=database),
            "report": measure("report", "--db", database, "--out", html, file=html),
        }
        for suffix in (".jsonl", ".csv", ".parquet"):
            path = folder / f"sessions{suffix}"
            numbers[f"export {suffix}"] = measure("export", "--db", database, "--out", path, file=path)
        numbers["prune of half"] = prune_half(database)
    sessions = f"{SUITES * PER_SUITE:,} sessions"
    report.table(
        f"{sessions} in {SUITES:,} suites",
        {"seconds": "{seconds:.1f}", "CPU s": "{cpu:.1f}", "peak MiB": "{mib:.0f}", "file, MB": "{mb:.1f}"},
        numbers,
    )
    print()
    parquet, page = numbers["export .parquet"], numbers["report"]
    checks = [
        report.check_limit(f"report over {sessions}, seconds", page["seconds"], "at most", 25, noise=report.TIME_NOISE),
        report.check_limit(f"report over {sessions}, peak MiB", page["mib"], "at most", 200),
        report.check_limit(
            f"half of {sessions} pruned, bytes of the file over those before",
            numbers["prune of half"]["mb"] / numbers["first sync"]["mb"],
            "at most",
            0.6,
        ),
        report.check_limit(f"{sessions} as .parquet, peak MiB", parquet["mib"], "at most", 300),
        report.check_limit(
            f"{sessions} as .parquet, seconds", parquet["seconds"], "at most", 60, noise=report.TIME_NOISE
        ),
    ]
    report.save("million", {"machine": machine, "commands": numbers, "limits": checks})


if __name__ == "__main__":
    main()
