"""Runs one reader in a process of its own, which does one job after the other: a line of JSON in each direction."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from readers import Suite

Numbers = dict[str, float]


class ReaderProcess:
    """The process of one reader, seen from a benchmark.

    Attributes:
        import_error: The reason why the reader cannot be imported; empty if it can.

    Args:
        reader: The name of its module in `readers`.
    """

    def __init__(self, reader: str) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, __file__, reader], stdin=pipe, stdout=pipe, text=True)
        self.import_error: str = self._read_line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    def measure(self, job: str, **options: object) -> Numbers:
        """Run one of `JOBS` with these options in the process, and return its result."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([job, options]) + "\n")
        self._process.stdin.flush()
        numbers: Numbers = self._read_line()
        return numbers

    def _read_line(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def read(
    reader: ModuleType, *, base_url: str, suites: int = 1, concurrency: int = 16, per_page: int = 100, times: int = 1
) -> Numbers:
    """Read suites: `cpu` and `wall` seconds for all of them, as the mean of `times`. Fails if a session is missing."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(asyncio.run(reader.read(base_url, keys(suites), concurrency, per_page)) for _ in range(times))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert count == int(base_url.split("/")[-2]) * suites * times
    return {"wall": wall / times, "cpu": cpu / times}


def peak_memory(_: ModuleType) -> Numbers:
    """Return the maximum resident size in `mib`. `getrusage` would include the size of the parent process."""
    kib = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert kib
    return {"mib": int(kib[1]) / 1024}


def keys(count: int) -> list[Suite]:
    """Return the keys of `count` suites."""
    return [("acme", f"project-{number // 100}", f"suite{number:05}") for number in range(count)]


JOBS: dict[str, Callable[..., Numbers]] = {job.__name__: job for job in (read, peak_memory)}


def main() -> None:
    """Run the jobs that standard input names, until it ends."""
    try:
        reader = importlib.import_module(f"readers.{sys.argv[1]}")
    except ImportError as error:
        print(json.dumps(str(error)), flush=True)
        return
    print(json.dumps(""), flush=True)
    for line in sys.stdin:
        job, options = json.loads(line)
        print(json.dumps(JOBS[job](reader, **options)), flush=True)


if __name__ == "__main__":
    main()
