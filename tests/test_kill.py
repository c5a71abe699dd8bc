"""Real processes that are really killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite

KILLS = 100 if os.environ.get("TESTS") == "long" else 12

WALK = """
import asyncio, os, sys
from buddy_sessions import BuddyClient, Cursor

async def main(key, start):
    async with BuddyClient.from_env() as buddy:
        walk = buddy.sessions(*key.split("/"), start=Cursor.parse(start) if start else None, per_page=20)
        async for session in walk:
            os.write(1, f"{session.relative_id} {walk.cursor}\\n".encode())
            await asyncio.sleep(0.001)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.fault(30)
async def test_a_walk_that_is_killed_twenty_times_resumes_with_nothing_lost_and_nothing_twice(fake: FakeBuddy) -> None:
    chance = random.Random(11)
    suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(1200)
    stable = {session["relative_id"] for session in suite.sessions}

    def churn(_: object) -> None:
        suite.create()
        if chance.random() < 0.5:
            gone = chance.choice(suite.sessions)
            suite.delete(gone["id"])
            stable.discard(gone["relative_id"])

    fake.on_request = churn
    environment = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    seen: list[int] = []
    start, kills, ended = "", 0, False
    while not ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WALK, "/".join(suite.key), start, stdout=asyncio.subprocess.PIPE, env=environment
        )
        assert process.stdout
        lines: list[bytes] = []
        if kills < 20:
            lines += [await process.stdout.readline() for _ in range(chance.randrange(1, 50))]
            process.kill()
            kills += 1
        lines += (await process.stdout.read()).splitlines(keepends=True)
        ended = await process.wait() == 0
        for line in lines:
            if line.endswith(b"\n"):
                number, start = line.decode().split()
                seen.append(int(number))
    assert kills == 20
    assert seen == sorted(set(seen), reverse=True)
    assert stable <= set(seen)


def something_happens(chance: random.Random, suite: FakeSuite) -> None:
    """Let a suite move where the next harvest can see it without reading everything again: near its top."""
    for _ in range(chance.choice([1, 1, 1, 150])):
        suite.create()
    newest = suite.page(1, 20)["sessions"]
    running = [session["id"] for session in newest if session["status"] == "IN_PROGRESS"]
    if running and chance.random() < 0.9:
        suite.finish(chance.choice(running))
    if chance.random() < 0.1:
        suite.delete(chance.choice(newest[:3])["id"])


async def test_a_harvest_that_is_killed_again_and_again_ends_with_the_truth_in_its_file(
    fake: FakeBuddy, tmp_path: Path
) -> None:
    """By the command line, at moments that chance picks, while sessions begin, end, are opened again and deleted."""
    chance = random.Random(7)
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(5)]
    for suite in suites:
        suite.populate(chance.randrange(100, 700))
    fake.latency = 0.03
    path = tmp_path / "sessions.db"
    command = [sys.executable, "-m", "buddy_sessions", "harvest", "acme/shop", "--db", str(path)]
    environment = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}

    begun = asyncio.Event()

    def on_request(_: object) -> None:
        begun.set()
        something_happens(chance, chance.choice(suites))

    async def harvest(*, killed_after: float | None = None) -> int:
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL, env=environment)
        if killed_after is not None:
            begun.clear()
            await begun.wait()
            await asyncio.sleep(killed_after)
            with suppress(ProcessLookupError):  # it was faster
                process.kill()
        return await process.wait()

    fake.on_request = on_request
    ends = [await harvest(killed_after=chance.uniform(0, 0.2)) for _ in range(KILLS)]
    assert set(ends) <= {0, -signal.SIGKILL}
    assert ends.count(-signal.SIGKILL) > KILLS / 2
    fake.on_request = None
    assert await harvest() == 0
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        held = connection.execute(
            "SELECT suite_id, id, status FROM sessions WHERE deleted_at IS NULL ORDER BY suite_id, relative_id DESC"
        ).fetchall()
    assert held == [(suite.key[2], one["id"], one["status"]) for suite in suites for one in suite.sessions]

    fake.requests.clear()
    for suite in suites:
        for session in suite.sessions:
            if session["status"] == "IN_PROGRESS":
                suite.finish(session["id"])
    assert await harvest() == 0
    fake.requests.clear()
    assert await harvest() == 0
    assert len(fake.requests) == 1 + len(suites)  # the project's list, and one for each suite
