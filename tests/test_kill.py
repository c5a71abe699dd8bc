"""Real processes that are really killed."""

from __future__ import annotations

import asyncio
import os
import random
import sys

from buddy_sessions.testing import FakeBuddy

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
