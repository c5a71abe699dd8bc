"""One peer in a process of its own, which does one job after the other: a line of JSON each way."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self
from unittest import mock

from peers import Suite

DECODED = 20  # pages at a time

Numbers = dict[str, float]


class Worker:
    """The process of a peer, seen from outside.

    Attributes:
        missing: What could not be imported; empty if the peer is ready.
    """

    def __init__(self, peer: str) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, __file__, peer], stdin=pipe, stdout=pipe, text=True)
        self.missing: str = self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    def decode(self, base_url: str) -> Numbers:
        """Decode one page many times: `seconds` of CPU that one takes."""
        return self._do("decode", base_url=base_url)

    def read(
        self, base_url: str, *, suites: int = 1, concurrency: int = 16, per_page: int = 100, times: int = 1
    ) -> Numbers:
        """Read suites: `cpu` and `wall` seconds of one time. No session is missing, or the worker fails."""
        return self._do(
            "read", base_url=base_url, suites=suites, concurrency=concurrency, per_page=per_page, times=times
        )

    def watch(self, base_url: str, *, suites: int = 1, concurrency: int = 16, per_page: int = 100) -> Numbers:
        """Read suites, and watch: the longest `step` and `turn` of the event loop, seconds of CPU; `tasks` at once."""
        return self._do("watch", base_url=base_url, suites=suites, concurrency=concurrency, per_page=per_page)

    def peak(self) -> float:
        """Return the most memory that the process has held until now, in MiB."""
        return self._do("peak")["mib"]

    def _do(self, job: str, **options: object) -> Numbers:
        assert self._process.stdin
        self._process.stdin.write(json.dumps([job, options]) + "\n")
        self._process.stdin.flush()
        numbers: Numbers = self._line()
        return numbers

    def _line(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def decode(peer: ModuleType, *, base_url: str) -> Numbers:
    """Decode the newest page of a suite."""
    with urllib.request.urlopen(f"{base_url}/sessions?page=1&per_page=100") as response:
        body = response.read()
    peer.decode(body)  # what is made when it is first needed
    start = time.process_time()
    for _ in range(DECODED):
        assert len(peer.decode(body)) == 100
    return {"seconds": (time.process_time() - start) / DECODED}


def read(peer: ModuleType, *, base_url: str, suites: int, concurrency: int, per_page: int, times: int) -> Numbers:
    """Read suites some times."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = 0
    for _ in range(times):
        count += asyncio.run(peer.read(base_url, keys(suites), concurrency, per_page))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert count == int(base_url.split("/")[-2]) * suites * times
    return {"wall": wall / times, "cpu": cpu / times}


def watch(peer: ModuleType, *, base_url: str, suites: int, concurrency: int, per_page: int) -> Numbers:
    """Read suites with each step of the event loop timed, each turn (all steps that are ready), and the tasks counted.

    In CPU time: what other processes take does not count.
    """
    step, turn, alive, most = 0.0, 0.0, 0, 0
    run = asyncio.Handle._run  # noqa: SLF001 - there is no other way

    def timed(handle: asyncio.Handle) -> None:
        nonlocal step
        start = time.thread_time()
        run(handle)
        step = max(step, time.thread_time() - start)

    def ended(_: object) -> None:
        nonlocal alive
        alive -= 1

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        nonlocal alive, most
        task = asyncio.Task(coroutine, loop=loop, **options)
        task.add_done_callback(ended)
        alive += 1
        most = max(most, alive)
        return task

    async def tick() -> None:
        nonlocal turn
        while True:
            start = time.thread_time()
            await asyncio.sleep(0)
            turn = max(turn, time.thread_time() - start)

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        asyncio.get_running_loop().set_task_factory(factory)
        await peer.read(base_url, keys(suites), concurrency, per_page)
        ticking.cancel()

    gc.collect()
    gc.freeze()  # what was made before is not for the collector to look through meanwhile
    with mock.patch.object(asyncio.Handle, "_run", timed):
        asyncio.run(main())
    return {"step": step, "turn": turn, "tasks": most}


def peak(_: ModuleType) -> Numbers:
    """Return the greatest resident size. `getrusage` would count what the parent held, too."""
    kib = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert kib
    return {"mib": int(kib[1]) / 1024}


def keys(count: int) -> list[Suite]:
    """Return so many suites."""
    return [("acme", f"project-{number // 100}", f"suite{number:05}") for number in range(count)]


JOBS: dict[str, Callable[..., Numbers]] = {"decode": decode, "read": read, "watch": watch, "peak": peak}


def main() -> None:
    """Do what standard input asks for, until it ends."""
    try:
        peer = importlib.import_module(f"peers.{sys.argv[1]}")
    except ImportError as error:
        print(json.dumps(str(error)), flush=True)
        return
    print(json.dumps(""), flush=True)
    for line in sys.stdin:
        job, options = json.loads(line)
        print(json.dumps(JOBS[job](peer, **options)), flush=True)


if __name__ == "__main__":
    main()
