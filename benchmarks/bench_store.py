"""Compares a store with a hand-written loop: aiohttp, orjson, and an `executemany` upsert of each page.

Both save the same sessions in a SQLite file with the same settings, in turn, in one process. Measured are a first sync,
the size of the file and reading it back, for increasing numbers of sessions; a sync whose list is suddenly empty; and
syncs of many suites, new and unchanged. Then what the passed test cases of sessions add to a sync and to its file, also
with other kinds of ids.

Writes `results.json` next to this file; not with `--quick`, which stops at 10,000 sessions. `--million` goes further.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import aiohttp
import attrs
import orjson

import report
from buddy_sessions import BuddyClient, Session, SessionStore, SuiteKey
from readers import HEADERS, sessions_path
from server import KINDS, run_server

LENGTHS = (1_000, 10_000) if report.QUICK else (1_000, 10_000, 100_000)  # sessions of one suite
if "--million" in sys.argv:
    LENGTHS = (*LENGTHS, 1_000_000)
ROUNDS = 3 if report.QUICK else 5
SUITES = 200 if report.QUICK else 1_000
SMALL = (25, 100)  # sessions of each of them: a short first page, and a full one
CASES = (
    [(50, 20), (60, 400), (100, 400)] if report.QUICK else [(50, 20), (60, 400), (250, 400), (2_500, 400)]
)  # sessions, cases
OF_KINDS = (60, 400)  # sessions and cases for each kind of ids
LIMITS = {KINDS["mixed"]: 150}  # bytes of a case; 70 for other kinds
MANY = 20_000 if report.QUICK else 200_000  # sessions in a file whose list is suddenly empty
CONCURRENCY = 16
PER_PAGE = 100
KEY = SuiteKey("acme", "shop", "MNbyVedg")
KEYS = [SuiteKey("acme", "shop", f"suite{number:04}") for number in range(SUITES)]

FIELDS = [field.name for field in attrs.fields(Session)]
COLUMNS = ["workspace", "project", "suite_id", *FIELDS]
TABLE = f"CREATE TABLE sessions ({', '.join(COLUMNS)}, PRIMARY KEY (workspace, project, suite_id, id))"
UPSERT = f"""
    INSERT INTO sessions VALUES ({", ".join("?" * len(COLUMNS))})
    ON CONFLICT DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in FIELDS)}
"""
SELECT = f"SELECT {', '.join(FIELDS)} FROM sessions WHERE workspace = ? AND project = ? AND suite_id = ?"


def to_row(key: SuiteKey, session: dict[str, Any]) -> list[Any]:
    """Return the row of a session's JSON."""
    member = session.get("created_by")
    values = {**session, "created_by": None if member is None else json.dumps(member)}
    return [*key, *map(values.get, FIELDS)]


async def sync_by_hand(path: Path, base_url: str, keys: Iterable[SuiteKey]) -> None:
    """Save all sessions of suites, as people write it by hand."""
    remaining = iter(keys)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(TABLE.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as http:

            async def work() -> None:
                for key in remaining:
                    page, is_full = 1, True
                    while is_full:
                        query = {"page": page, "per_page": PER_PAGE}
                        async with http.get(base_url + sessions_path(key), params=query) as response:
                            sessions = orjson.loads(await response.read())["sessions"]
                        with database:
                            database.executemany(UPSERT, [to_row(key, session) for session in sessions])
                        page, is_full = page + 1, len(sessions) == PER_PAGE

            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def sync_store(path: Path, base_url: str, keys: Iterable[SuiteKey], cases: Literal["all"] | None = None) -> None:
    """Save all sessions of suites with a store, and maybe their test cases."""
    async with (
        BuddyClient("token", base_url=base_url, max_concurrency=CONCURRENCY, per_page=PER_PAGE) as buddy,
        SessionStore(path) as store,
        store.sync(buddy, keys, cases=cases) as sync,
    ):
        async for _ in sync:
            pass


def measure_cpu(function: Callable[..., Awaitable[None]], *args: object) -> float:
    """Return the seconds of CPU time of a run, of all threads."""

    async def run() -> None:
        await function(*args)

    start = time.process_time()
    asyncio.run(run())
    return time.process_time() - start


def read_by_hand(path: Path) -> float:
    """Return the seconds of CPU time of reading all rows of the hand-written file."""
    with closing(sqlite3.connect(path)) as database:
        start = time.process_time()
        rows = database.execute(f"{SELECT} ORDER BY relative_id DESC", KEY).fetchall()
        seconds = time.process_time() - start
    assert rows
    return seconds


def read_store(path: Path) -> float:
    """Return the seconds of CPU time of reading all sessions of a store."""

    async def read() -> float:
        async with SessionStore(path) as store:
            start = time.process_time()
            sessions = await store.sessions(KEY)
            seconds = time.process_time() - start
        assert sessions
        return seconds

    return asyncio.run(read())


def measure_length(folder: Path, base_url: str, length: int) -> dict[str, float]:
    """Measure a suite of this length in new files."""
    rounds: list[tuple[float, float, float, float, int, int]] = []
    for number in range(min(ROUNDS, max(1, 200_000 // length))):
        mine, theirs = folder / f"{length}-{number}-store.db", folder / f"{length}-{number}-hand.db"
        rounds.append(
            (
                measure_cpu(sync_store, mine, base_url, [KEY]),
                measure_cpu(sync_by_hand, theirs, base_url, [KEY]),
                read_store(mine),
                read_by_hand(theirs),
                mine.stat().st_size,
                theirs.stat().st_size,
            )
        )
        for path in (mine, theirs):
            path.unlink()
    synced, by_hand, read, selected, size, size_by_hand = map(statistics.median, zip(*rounds, strict=True))
    return {
        "sync_us": synced / length * 1e6,
        "sync_by_hand_us": by_hand / length * 1e6,
        "sync_ratio": statistics.median(row[0] / row[1] for row in rounds),
        "read_us": read / length * 1e6,
        "select_us": selected / length * 1e6,
        "read_ratio": statistics.median(row[2] / row[3] for row in rounds),
        "bytes": size / length,
        "bytes_by_hand": size_by_hand / length,
    }


def measure_suites(folder: Path, base_url: str, size: int) -> dict[str, float]:
    """Measure first syncs of many suites of this size, also on one core, and syncs of the unchanged ones."""
    path = folder / f"suites-{size}.db"
    rounds: list[tuple[float, float, float]] = []
    for _ in range(ROUNDS):
        with on_one_core():
            synced = measure_cpu(sync_store, new_file(path), base_url, KEYS)
            by_hand = measure_cpu(sync_by_hand, new_file(path.with_suffix(".hand")), base_url, KEYS)
        rounds.append((synced, by_hand, measure_cpu(sync_store, new_file(path), base_url, KEYS)))
    unchanged = statistics.median(measure_cpu(sync_store, path, base_url, KEYS) for _ in range(ROUNDS))
    return {
        "sync_ms": statistics.median(synced for synced, _, _ in rounds) / SUITES * 1e3,
        "sync_ratio": statistics.median(synced / by_hand for synced, by_hand, _ in rounds),
        "all_cores_ratio": statistics.median(synced / by_hand for _, by_hand, synced in rounds),
        "unchanged_ms": unchanged / SUITES * 1e3,
    }


@contextmanager
def on_one_core() -> Iterator[None]:
    """Let the threads of a block run on one core, where the system can do that.

    On several cores, CPython hands its lock from the event loop to the thread of the database and back about 24 times
    for each suite, which costs a quarter more CPU time, or none: it depends on the machine.
    """
    if sys.platform != "linux":
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def new_file(path: Path) -> Path:
    """Delete a file, and return its path."""
    path.unlink(missing_ok=True)
    return path


def measure_cases(folder: Path, base_url: str, sessions: int, cases: int) -> dict[str, float]:
    """Measure what the passed test cases of the sessions of a suite add to a first sync, and reading them back."""
    without, path = folder / "without.db", folder / "cases.db"
    total = sessions * cases
    seconds: list[float] = []
    for _ in range(min(ROUNDS, max(1, 200_000 // total))):
        for file in (without, path):
            file.unlink(missing_ok=True)
        before = measure_cpu(sync_store, without, base_url, [KEY])
        seconds.append(measure_cpu(sync_store, path, base_url, [KEY], "all") - before)

    async def read() -> float:
        async with SessionStore(path) as store:
            start = time.process_time()
            runs = await store.recent_tests(KEY, last=60)
            return (time.process_time() - start) / sum(len(run.cases) for run in runs)

    return {
        "us": statistics.median(seconds) / total * 1e6,
        "bytes": (path.stat().st_size - without.stat().st_size) / total,
        "read_us": asyncio.run(read()) * 1e6,
    }


def measure_empty_list(path: Path, base_url: str, empty_url: str) -> dict[str, float]:
    """Measure a sync whose list is empty, although the file has many sessions: all are marked as missing."""
    asyncio.run(sync_store(path, base_url, [KEY]))
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    seconds = measure_cpu(sync_store, copy, empty_url, [KEY])
    tracemalloc.start()
    asyncio.run(sync_store(path, empty_url, [KEY]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"seconds": seconds, "mib": peak / 2**20}


def main() -> None:
    """Measure, print the results, and save them."""
    machine = report.machine()
    with run_server() as server, TemporaryDirectory() as name:
        folder = Path(name)
        measure_length(folder, server.url(1_000), 1_000)  # what is created on first use is not measured
        lengths = {f"{length:,}": measure_length(folder, server.url(length), length) for length in LENGTHS}
        empty = {
            f"{MANY:,} sessions": measure_empty_list(folder / "empty.db", server.url(MANY), server.url(0)),
        }
        suites = {f"{size} sessions": measure_suites(folder, server.url(size), size) for size in SMALL}
        cases = {
            f"{sessions * count:,}": measure_cases(folder, server.cases_url(sessions, count), sessions, count)
            for sessions, count in CASES
        }
        kinds = {
            name: measure_cases(folder, server.cases_url(*OF_KINDS, kind), *OF_KINDS) for kind, name in KINDS.items()
        }
    report.table(
        f"One suite: CPU and bytes per session, medians of up to {ROUNDS} rounds",
        {
            "first sync": "{sync_us:.1f} us",
            "by hand": "{sync_by_hand_us:.1f} us",
            "ratio": "{sync_ratio:.2f}",
            "read back": "{read_us:.1f} us",
            "SELECT": "{select_us:.1f} us",
            " ratio": "{read_ratio:.2f}",
            "bytes": "{bytes:.0f}",
            "bytes by hand": "{bytes_by_hand:.0f}",
        },
        lengths,
    )
    report.table("The list is suddenly empty", {"CPU": "{seconds:.2f} s", "memory": "{mib:.1f} MiB"}, empty)
    columns = {
        "first sync": "{us:.1f} us",
        "bytes": "{bytes:.1f}",
        "read back": "{read_us:.1f} us",
    }
    report.table("Passed test cases: CPU and bytes per case, in addition to those of their sessions", columns, cases)
    report.table(f"The same with other ids, for {OF_KINDS[0] * OF_KINDS[1]:,} cases", columns, kinds)
    report.table(
        f"{SUITES:,} suites: CPU per suite, {CONCURRENCY} at once",
        {
            "first sync, one core": "{sync_ms:.2f} ms",
            "over by hand": "{sync_ratio:.2f}",
            "on all cores": "{all_cores_ratio:.2f}",
            "unchanged": "{unchanged_ms:.2f} ms",
        },
        suites,
    )
    print()
    shortest, longest = lengths[f"{LENGTHS[0]:,}"], lengths[f"{LENGTHS[-1]:,}"]
    checks = [
        report.check_limit(
            "first sync, CPU over the hand-written loop", longest["sync_ratio"], "at most", 2.2, noise=report.TIME_NOISE
        ),
        report.check_limit(
            f"first sync of suites of {SMALL[-1]} sessions on one core, CPU over the hand-written loop",
            suites[f"{SMALL[-1]} sessions"]["sync_ratio"],
            "at most",
            2.2,
            noise=report.TIME_NOISE,
        ),
        report.check_limit(
            "an unchanged suite, ms of CPU",
            max(numbers["unchanged_ms"] for numbers in suites.values()),
            "at most",
            1.2,
            noise=report.TIME_NOISE,
        ),
        report.check_limit("bytes a session", longest["bytes"], "at most", 500),
        report.check_limit(
            "reading back, CPU over a SELECT", longest["read_ratio"], "at most", 3, noise=report.TIME_NOISE
        ),
        report.check_limit(
            f"first sync of {LENGTHS[-1]:,} sessions, CPU per session over that of {LENGTHS[0]:,}",
            longest["sync_us"] / shortest["sync_us"],
            "at most",
            1.2,
            noise=report.TIME_NOISE,
        ),
    ]
    (suddenly_empty,) = empty.values()
    checks += [
        report.check_limit(
            f"an empty list, {MANY:,} saved sessions, s of CPU", suddenly_empty["seconds"], "at most", 2
        ),
        report.check_limit(f"an empty list, {MANY:,} saved sessions, MiB", suddenly_empty["mib"], "at most", 5),
    ]
    _, few, *_, many = cases.items()  # not the first: opening the file has a part in it
    checks += [
        report.check_limit("bytes a passed test case", max(each["bytes"] for each in cases.values()), "at most", 70),
        *(
            report.check_limit(f"bytes a passed test case, ids: {name}", each["bytes"], "at most", LIMITS.get(name, 70))
            for name, each in kinds.items()
        ),
        report.check_limit("a sync of 10,000 passed test cases, s of CPU", many[1]["us"] / 100, "at most", 0.4),
        report.check_limit(
            f"first sync of {many[0]} test cases, CPU per case over that of {few[0]}",
            many[1]["us"] / few[1]["us"],
            "at most",
            1.2,
            noise=report.TIME_NOISE,
        ),
    ]
    results = {
        "machine": machine,
        "sessions": lengths,
        "empty": empty,
        "suites": suites,
        "cases": cases,
        "kinds": kinds,
        "limits": checks,
    }
    report.save("store", results)


if __name__ == "__main__":
    main()
