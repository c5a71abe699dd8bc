"""Processes that are killed with SIGKILL while they sync and watch."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import SessionStore
from buddy_sessions.testing import FakeBuddy
from helpers.effort import repeats
from helpers.recipe_programs import running
from helpers.stores import ABSENCES, KEY, SyncedSuite, marked_numbers, pass_two_days, sessions_of, sync

pytestmark = pytest.mark.fault

WATCH_KILLS = repeats(quick=3, thorough=6, long=50)

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


async def test_next_sync_completes_one_killed_at_any_request(db: SyncedSuite, tmp_path: Path) -> None:
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
        requests += repeats(quick=3, thorough=1)
        path = tmp_path / f"{requests}.db"
        shutil.copy(db.path, path)
        db.fake.requests.clear()

        async with running(db.fake, tmp_path, "-c", SYNC, path, str(KEY), begin.isoformat()) as process:

            def kill(_: object, number: int = requests, process: Process = process) -> None:
                if len(db.fake.requests) == number:
                    process.kill()

            db.fake.on_request = kill
            exit_code = await process.wait()
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


async def test_watch_killed_many_times_misses_no_change(fake: FakeBuddy, tmp_path: Path) -> None:
    chance = random.Random(5)
    suite = fake.add_suite(*KEY)

    async def watch(is_enough: Callable[[list[Any]], bool]) -> list[list[Any]]:
        """Watch in a process that is killed once it has reported enough; return all its events."""
        async with running(fake, tmp_path, "-c", WATCH, tmp_path / "watch.db", str(KEY)) as process:
            assert process.stdout
            lines = [await process.stdout.readline()]
            while not is_enough(json.loads(lines[-1])):
                lines.append(await process.stdout.readline())
            process.kill()
            remaining, _ = await process.communicate()
        return [json.loads(line) for line in lines + remaining.splitlines()]

    async with running(fake, tmp_path, "-c", WATCH, tmp_path / "watch.db", str(KEY)):
        # It starts with an empty suite. Its first poll takes three requests, which check the end of the list.
        while len(fake.requests) < 4:
            await asyncio.sleep(0.005)

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
        events += await watch(lambda event: is_newest(event) or chance.random() < 0.2)
    fake.on_request = None
    suite.create(status="SKIPPED")
    events += await watch(is_newest)  # everything that remains, up to this session
    latest = dict(events)
    assert latest == {session["relative_id"]: session["status"] for session in suite.sessions}
