"""Measures what writing files costs: the CPU time of `harvest --out` per session, and the peak memory.

The same suites are also read without writing anything, and by the usual loop: aiohttp, orjson, bare dicts, written by
`json`, `csv` or DuckDB. Each combination runs in a process of its own. A number as an argument is the largest number of
sessions (default: 100,000).

Writes `results.json` next to this file; not with `--quick`, which stops at a tenth of the sizes, or with a number.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import reader_process
import report
from readers import HEADERS, Suite, read_suites, sessions_path
from server import run_server

LARGEST = next((int(argument) for argument in sys.argv[1:] if argument.isdecimal()), None)
PER_SUITE, PER_PAGE = 1_000, 100  # sessions
CONCURRENCY = 8
SIZES = [
    size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= (LARGEST or (10_000 if report.QUICK else 100_000))
]
TARGETS = {"nothing": "read only", "jsonl": ".jsonl", "csv": ".csv", "parquet": ".parquet"}
LIMITS = {"jsonl": 20, "csv": 40, "parquet": 60}  # microseconds of CPU per session
FIRST_VERSION = {"jsonl": 28, "csv": 47}
PARQUET_LIMIT = 300  # MiB

Rows = list[dict[str, Any]]


async def read_pages(base_url: str, suites: list[Suite]) -> None:
    """Read with this package, and write nothing."""
    from buddy_sessions import BuddyClient, SuiteKey  # noqa: PLC0415 - not in the processes of the usual loop

    async with (
        BuddyClient("token", base_url=base_url, max_concurrency=CONCURRENCY) as buddy,
        buddy.harvest(SuiteKey(*suite) for suite in suites) as harvest,
    ):
        async for _ in harvest.pages():
            pass


def harvest(base_url: str, suites: list[Suite], path: Path | None) -> None:
    """Run `harvest --out`."""
    if path is None:
        asyncio.run(read_pages(base_url, suites))
        return
    from buddy_sessions.cli import run  # noqa: PLC0415 - not in the processes of the usual loop

    os.environ.update(BUDDY_TOKEN="token", BUDDY_BASE_URL=base_url)
    assert run(["harvest", *map("/".join, suites), "--out", str(path)]) == 0


def loop(base_url: str, suites: list[Suite], path: Path | None) -> None:
    """Read with the usual loop, and write rows that begin with the names of the suite."""
    if path is None:
        asyncio.run(loop_pages(base_url, suites, lambda _: None))
        return
    with (path.with_suffix(".jsonl") if path.suffix == ".parquet" else path).open("w", newline="") as stream:
        table = csv.writer(stream)

        def write(rows: Rows) -> None:
            if path.suffix == ".csv":
                table.writerows(row.values() for row in rows)
            else:
                stream.writelines(json.dumps(row) + "\n" for row in rows)

        asyncio.run(loop_pages(base_url, suites, write))
    if path.suffix == ".parquet":
        import duckdb  # noqa: PLC0415 - optional

        duckdb.read_json(stream.name).write_parquet(str(path))


async def loop_pages(base_url: str, suites: list[Suite], write: Callable[[Rows], None]) -> None:
    """Read with the usual loop, and call `write` with the rows of each page."""
    import aiohttp  # noqa: PLC0415 - the processes of this package import it themselves
    import orjson  # noqa: PLC0415 - optional

    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as http:

        async def fetch(suite: Suite, page: int) -> Rows:
            query = {"page": page, "per_page": PER_PAGE}
            async with http.get(base_url + sessions_path(suite), params=query) as response:
                sessions: Rows = orjson.loads(await response.read())["sessions"]
            names = dict(zip(("workspace", "project", "suite_id"), suite, strict=True))
            write([{**names, **session} for session in sessions])
            return sessions

        await read_suites(suites, CONCURRENCY, PER_PAGE, fetch)


READERS = {"harvest": harvest, "loop": loop}


def measure(reader: str, target: str, base_url: str) -> None:
    """Read each number of sessions, and print a line with CPU seconds, MiB of peak memory, and bytes of the file."""
    read, path = READERS[reader], None
    with tempfile.TemporaryDirectory() as folder:
        if target != "nothing":
            path = Path(folder, f"sessions.{target}")
        read(base_url, reader_process.keys(1), path)  # what is imported or created on first use is not measured
        for size in SIZES:
            start = time.process_time()
            read(base_url, reader_process.keys(size // PER_SUITE), path)
            seconds = time.process_time() - start
            mib = reader_process.peak_memory(reader_process)["mib"]
            print(json.dumps([seconds, mib, path.stat().st_size if path else 0]), flush=True)


def run_measurement(reader: str, target: str, base_url: str) -> list[dict[str, float]]:
    """Run `measure` in a new process, and return the numbers for each size."""
    arguments = [argument for argument in sys.argv[1:] if argument == "--quick" or argument.isdecimal()]
    command = [sys.executable, __file__, *arguments, "measure", reader, target, base_url]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.splitlines()
    return [
        {"cpu_us_per_session": seconds / size * 1e6, "mib": mib, "bytes_per_session": count / size}
        for size, (seconds, mib, count) in zip(SIZES, map(json.loads, lines), strict=True)
    ]


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    targets = [target for target in TARGETS if target != "parquet" or find_spec("duckdb")]
    numbers: dict[str, dict[str, Any]] = {}
    with run_server() as server:
        for target in targets:
            harvested, looped = (run_measurement(reader, target, server.url(PER_SUITE)) for reader in READERS)
            for size, mine, theirs in zip(SIZES, harvested, looped, strict=True):
                numbers[f"{TARGETS[target]}, {size:,}"] = {
                    **mine,
                    "over_reading": mine["cpu_us_per_session"]
                    / numbers.get(f"{TARGETS['nothing']}, {size:,}", mine)["cpu_us_per_session"],
                    "loop_cpu_us_per_session": theirs["cpu_us_per_session"],
                    "over_loop": mine["cpu_us_per_session"] / theirs["cpu_us_per_session"],
                    "loop_mib": theirs["mib"],
                }
    report.table(
        f"harvest --out FILE, suites of {PER_SUITE:,} sessions, {CONCURRENCY} at once; the usual loop for comparison",
        {
            "CPU us/session": "{cpu_us_per_session:.2f}",
            "over reading": "{over_reading:.2f}",
            "usual loop": "{loop_cpu_us_per_session:.2f}",
            "over it": "{over_loop:.2f}",
            "peak MiB": "{mib:.0f}",
            "usual loop, MiB": "{loop_mib:.0f}",
            "bytes/session": "{bytes_per_session:.0f}",
        },
        numbers,
    )
    largest = f"{SIZES[-1]:,}"
    print()
    checks = [
        report.check_limit(
            f"{largest} sessions as .{target}, CPU us per session",
            numbers[f"{TARGETS[target]}, {largest}"]["cpu_us_per_session"],
            "at most",
            limit,
            first_version=FIRST_VERSION.get(target),
        )
        for target, limit in LIMITS.items()
        if target in targets
    ]
    if "parquet" in targets:
        mib = numbers[f"{TARGETS['parquet']}, {largest}"]["mib"]
        checks.append(report.check_limit(f"{largest} sessions as .parquet, peak MiB", mib, "at most", PARQUET_LIMIT))
    if LARGEST is None:
        report.save("files", {"machine": machine, "files": numbers, "limits": checks})


if __name__ == "__main__":
    if "measure" in sys.argv:
        measure(*sys.argv[-3:])
    else:
        main()
