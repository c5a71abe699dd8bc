"""Processes that are killed with SIGKILL while they sync and watch."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from buddy_sessions import SessionStore
from buddy_sessions.testing import FakeBuddy
from helpers.effort import repeats
from helpers.stores import (
    ABSENCES,
    KEY,
    SyncedSuite,
    marked_numbers,
    pass_two_days,
    sessions_of,
    sync,
)

pytestmark = pytest.mark.fault

WATCH_KILLS = repeats(quick=3, thorough=13)

SYNC = """
import asyncio, sys
from datetime import datetime, timedelta
from buddy_sessions import BuddyClient, SessionStore

async def main(path, suite, since):
    async with BuddyClient.from_env(per_page=20, read_ahead=1) as buddy, SessionStore(path) as store:
        since = datetime.fromisoformat(since)
        await store.sync(buddy, [suite], since=since, cases="failed", keep=timedelta(days=365)).run()

asyncio.run(main(*sys.argv[1:]))
"""

WATCH = """
import asyncio, json, os, sys
from buddy_sessions import BuddyClient, SessionStore

async def main(path, suite):
    async with BuddyClient.from_env() as buddy, SessionStore(path) as store:
        async with store.watch(buddy, [suite], interval=0.01) as watch:
            async for change in watch:
                event = [change.session.relative_id, change.session.status]
                os.write(1, json.dumps(event).encode() + b"\\n")

asyncio.run(main(*sys.argv[1:]))
"""

FORK = """
import json, os, sys
import buddy_sessions.cli, buddy_sessions.store

for line in sys.stdin:
    program, *sys.argv[1:] = json.loads(line)
    if os.fork() == 0:
        os.write(1, f"{os.getpid()}\\n".encode())
        exec(program, {"__name__": "__main__"})
        sys.exit()
    _, status = os.wait()
    os.write(1, f"exit {os.waitstatus_to_exitcode(status)}\\n".encode())
"""
"""Runs programs, one after the other, each in a fork of this process: importing the package takes long."""


@define
class Forks:
    """Runs programs that read from the fake server, one after the other, each in a process of its own."""

    parent: Process
    pid: int = 0

    async def start(self, program: str, *arguments: str | Path) -> None:
        """Start a program. The previous one must have ended."""
        assert self.parent.stdin
        self.parent.stdin.write(json.dumps([program, *map(str, arguments)]).encode() + b"\n")
        self.pid = int(await self.readline())

    async def readline(self) -> bytes:
        """Return the next line of the output of the program."""
        assert self.parent.stdout
        async with asyncio.timeout(120):
            return await self.parent.stdout.readline()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> tuple[list[bytes], int]:
        """Wait until the program has ended; return the remaining lines of its output, and its exit code."""
        lines: list[bytes] = []
        while not (line := await self.readline()).startswith(b"exit "):
            lines.append(line)
        return lines, int(line.split()[1])


@pytest.fixture
async def forks(fake: FakeBuddy) -> AsyncIterator[Forks]:
    environment = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORK), stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True
    )
    yield Forks(parent)
    os.killpg(parent.pid, signal.SIGKILL)  # also the program that a failed test has not ended
    await parent.communicate()


async def test_next_sync_completes_one_killed_at_any_request(db: SyncedSuite, forks: Forks, tmp_path: Path) -> None:
    """Each part of it is interrupted: top, below, around a missing session, check, names, test cases, details."""
    suite = db.suite
    since = datetime.now(UTC)
    begin = since - timedelta(hours=1)  # an earlier limit: the rest is read below

    def create(count: int, **fields: Any) -> None:
        for _ in range(count):
            minutes = len(suite.sessions) - 20
            suite.create(
                **{"status": "SUCCESSFUL", "create_date": (since + timedelta(minutes=minutes)).isoformat(), **fields}
            )

    create(60)
    await db.sync(since=since)
    suite.delete(suite.sessions[10]["id"])  # number 50
    suite.reopen(suite.sessions[29]["id"])  # number 30
    for _ in range(1, ABSENCES):
        await db.sync(since=since, full=True)
    create(80)
    create(1, status="ERROR", cases=[{"name": "a", "status": "FAILED"}])
    async with db.store.sync(db.buddy, [KEY], concurrency=1) as harvest:
        async for _ in harvest.pages():
            break
    await db.store.close()
    pass_two_days(db.path)
    suite.finish(suite.sessions[-30]["id"])
    requests = 0
    while True:
        requests += 1
        path = tmp_path / f"{requests}.db"
        shutil.copy(db.path, path)
        db.fake.requests.clear()

        def kill(_: object, number: int = requests) -> None:
            if len(db.fake.requests) == number:
                forks.kill()

        db.fake.on_request = kill
        await forks.start(SYNC, path, str(KEY), begin.isoformat())
        _, exit_code = await forks.wait()
        db.fake.on_request = None
        if exit_code == 0:
            break
        assert exit_code == -signal.SIGKILL
        async with SessionStore(path) as store:
            await sync(store, db.buddy, since=begin, cases="failed")
            assert await store.sessions(KEY) == sessions_of(suite)
            assert [saved.covered for saved in await store.info()] == [(1, 141)]
            (run,) = await store.recent_tests(KEY, cases="failed", last=1)
            assert [case.has_details for case in run.cases] == [True]
        assert marked_numbers(path) == [50]
    paths = [request.path for request in db.fake.requests]
    assert paths.count(f"/workspaces/acme/projects/shop/unit-tests/suites/{KEY.suite_id}/sessions") == 7
    assert [path.split("/")[-2] for path in paths[7:]] == ["sessions", "unit-tests", suite.sessions[0]["id"], "cases"]


async def watch(forks: Forks, path: Path, is_enough: Callable[[list[Any]], bool]) -> list[list[Any]]:
    """Watch in a process that is killed once it has reported enough; return all its events."""
    await forks.start(WATCH, path, str(KEY))
    lines = [await forks.readline()]
    while not is_enough(json.loads(lines[-1])):
        lines.append(await forks.readline())
    forks.kill()
    remaining, _ = await forks.wait()
    return [json.loads(line) for line in lines + remaining]


async def test_watch_killed_many_times_misses_no_change(fake: FakeBuddy, forks: Forks, tmp_path: Path) -> None:
    chance = random.Random(5)
    path = tmp_path / "watch.db"
    suite = fake.add_suite(*KEY)
    await forks.start(WATCH, path, str(KEY))
    # The first watch starts with an empty suite. Its first poll takes three requests, which check the end of the list.
    while len(fake.requests) < 4:
        await asyncio.sleep(0.005)
    forks.kill()
    await forks.wait()

    def on_request(_: object) -> None:
        running = [session["id"] for session in suite.sessions[:20] if session["status"] == "IN_PROGRESS"]
        if running and chance.random() < 0.5:
            suite.finish(chance.choice(running))
        suite.create()

    def is_newest(event: list[Any]) -> bool:
        return bool(event[0] == suite.sessions[0]["relative_id"])

    fake.on_request = on_request
    events: list[list[Any]] = []
    for _ in range(WATCH_KILLS - 1):
        events += await watch(forks, path, lambda event: is_newest(event) or chance.random() < 0.2)
    fake.on_request = None
    suite.create(status="SKIPPED")
    events += await watch(forks, path, is_newest)  # everything that remains, up to this session
    latest = dict(events)
    assert latest == {session["relative_id"]: session["status"] for session in suite.sessions}
