"""A watch that goes on where the one before it stood: real files, a real server, processes that are really killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, Change, ConfigError, SessionStore, StoreError, SuiteKey, database
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

KEY = SuiteKey("acme", "shop", "unit")
EVERY = 0.005  # seconds

Summary = tuple[str, int, str | None]


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY)


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, attempts=1, per_page=20) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watch.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SessionStore]:
    async with SessionStore(path) as opened:
        yield opened


def summary(change: Change) -> Summary:
    """Return what has happened to which session, and the status that it had before."""
    return change.kind, change.session.relative_id, None if change.previous is None else change.previous.status


async def told(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, *, rounds: int = 2, branch: str | None = None
) -> list[Summary]:
    """Watch for some rounds, and return what was told."""
    changes: list[Summary] = []
    before = len(fake.requests)
    async with store.watch(buddy, [KEY], every=EVERY, branch=branch) as watch:

        async def collect() -> None:
            changes.extend([summary(change) async for change in watch])

        collecting = asyncio.create_task(collect())
        crew = watch._crew
        while len(fake.requests) < before + rounds or len(crew._due) < crew._count or not crew.found.empty():
            await asyncio.sleep(EVERY)
    await collecting
    return changes


async def test_what_happened_while_nobody_watched_is_told_first_and_once(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
) -> None:
    running, other = suite.create(), suite.create(status="SUCCESSFUL")
    assert await told(store, buddy, fake) == []
    suite.finish(running["id"], status="ERROR")
    suite.reopen(other["id"])
    suite.create(status="SUCCESSFUL")
    expected = [("FINISHED", 1, "IN_PROGRESS"), ("CHANGED", 2, "SUCCESSFUL"), ("NEW", 3, None)]
    assert await told(store, buddy, fake) == expected
    assert await told(store, buddy, fake) == []


async def test_an_empty_suite_has_been_watched_too(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
) -> None:
    assert await told(store, buddy, fake) == []
    suite.create()
    assert await told(store, buddy, fake) == [("NEW", 1, None)]


async def test_many_that_came_while_nobody_watched_are_all_told(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
) -> None:
    suite.create()
    await told(store, buddy, fake)
    for _ in range(250):
        suite.create()
    assert await told(store, buddy, fake, rounds=15) == [("NEW", number, None) for number in range(2, 252)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT min(relative_id), count(*) FROM watched").fetchone() == (152, 100)
    assert await told(store, buddy, fake) == []


async def test_a_change_that_was_not_dealt_with_comes_again(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
) -> None:
    await told(store, buddy, fake)
    for _ in range(3):
        suite.create()
    numbers = []
    for _ in range(2):
        async with store.watch(buddy, [KEY], every=EVERY) as watch:
            async for change in watch:
                numbers.append(change.session.relative_id)
                if change.session.relative_id == 2:
                    break
    assert numbers == [1, 2, 2]
    assert await told(store, buddy, fake) == [("NEW", 2, None), ("NEW", 3, None)]


async def test_branches_are_watched_apart(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
) -> None:
    suite.create(branch="main")
    assert await told(store, buddy, fake, branch="main") == []
    suite.create(branch="main")
    suite.create(branch="dev")
    assert await told(store, buddy, fake) == []  # begins here
    assert await told(store, buddy, fake, branch="main") == [("NEW", 2, None)]


async def test_a_harvest_into_the_same_file_takes_nothing_from_a_watch_and_a_watch_nothing_from_it(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
) -> None:
    await told(store, buddy, fake)
    suite.create(status="SUCCESSFUL")
    for expected in ([1], []):
        async with store.harvest(buddy, [KEY]) as harvest:
            assert [session.relative_id async for _, session in harvest] == expected
        assert await told(store, buddy, fake) == [("NEW", number, None) for number in expected]


async def test_a_suite_that_was_created_again_begins_anew(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
) -> None:
    for _ in range(3):
        suite.create()
    await told(store, buddy, fake)
    for session in suite.sessions:
        suite.delete(session["id"])
    del fake.suites[KEY]
    again = fake.add_suite(*KEY)
    again.create(id="another")
    fake.inject(Fault.status(404))
    assert await told(store, buddy, fake, rounds=3) == [("NEW", 1, None)]
    again.create(id="one more")
    assert await told(store, buddy, fake) == [("NEW", 2, None)]


async def test_a_file_that_is_locked_is_told_and_nothing_is_lost(
    store: SessionStore,
    buddy: BuddyClient,
    fake: FakeBuddy,
    suite: FakeSuite,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await told(store, buddy, fake)
    await store.close()
    monkeypatch.setattr(database, "_BUSY_TIMEOUT", 0.01)
    await store.open()
    suite.create()
    async with store.watch(buddy, [KEY], every=EVERY) as watch:
        first = await anext(watch)
        suite.create()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                with pytest.raises(StoreError, match="another program holds it"):
                    await anext(watch)
            other.execute("ROLLBACK")
        second = await anext(watch)
    assert [summary(first), summary(second)] == [("NEW", 1, None), ("NEW", 2, None)]
    assert await told(store, buddy, fake) == [("NEW", 2, None)]


async def test_notes_that_cannot_be_read_are_a_failure_of_the_suite_that_passes(
    store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
) -> None:
    suite.create()
    await told(store, buddy, fake)
    suite.create()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        (text,) = other.execute("SELECT session FROM watched").fetchone()
        other.execute("UPDATE watched SET session = '{'")
        async with store.watch(buddy, [KEY], every=EVERY) as watch:
            waiting = asyncio.create_task(anext(watch))
            while not watch.failures:
                await asyncio.sleep(EVERY)
            assert "was changed" in str(watch.failures[KEY])
            other.execute("UPDATE watched SET session = ?", [text])
            assert summary(await waiting) == ("NEW", 2, None)
            assert not watch.failures


async def test_arguments_are_checked_at_once(store: SessionStore, buddy: BuddyClient, path: Path) -> None:
    with pytest.raises(ConfigError):
        store.watch(buddy, [KEY], every=0)
    with pytest.raises(ConfigError):
        store.watch(buddy, [KEY], branch="")
    with pytest.raises(StoreError, match="not open"):
        SessionStore(path).watch(buddy, [KEY])


WATCH = """
import asyncio, json, os, sys
from buddy_sessions import BuddyClient, SessionStore, SuiteKey

async def main(path):
    async with BuddyClient.from_env() as buddy, SessionStore(path) as store:
        async with store.watch(buddy, [SuiteKey("acme", "shop", "unit")], every=0.01) as watch:
            async for change in watch:
                os.write(1, json.dumps([change.session.relative_id, change.session.status]).encode() + b"\\n")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_watch_that_is_killed_again_and_again_misses_nothing(
    fake: FakeBuddy, suite: FakeSuite, store: SessionStore, buddy: BuddyClient, path: Path
) -> None:
    await told(store, buddy, fake)  # begins with nothing
    chance = random.Random(5)

    def on_request(_: object) -> None:
        running = [session["id"] for session in suite.page(1, 20)["sessions"] if session["status"] == "IN_PROGRESS"]
        if running and chance.random() < 0.5:
            suite.finish(chance.choice(running))
        suite.create()

    environment = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    lines = b""
    for kill in range(13):
        fake.on_request = on_request if kill < 12 else None
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WATCH, str(path), stdout=asyncio.subprocess.PIPE, env=environment
        )
        assert process.stdout
        if kill == 12:  # the last one is left to see the rest, at whose end is this
            suite.create(status="SKIPPED")
        while True:
            line = await process.stdout.readline()
            lines += line
            if (kill < 12 and chance.random() < 0.2) or json.loads(line)[0] == suite.sessions[0]["relative_id"]:
                break
        process.kill()
        lines += await process.stdout.read()
        await process.wait()
    latest = dict(json.loads(line) for line in lines.splitlines(keepends=True) if line.endswith(b"\n"))
    assert latest == {session["relative_id"]: session["status"] for session in suite.sessions}
