"""Random wrong responses over real sockets: after one healthy sync, the database is right again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from buddy_sessions import BuddyClient, SessionStore
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.effort import repeats
from helpers.faults import lacking
from helpers.stores import KEY, create_finished, marked_numbers, sessions_of

pytestmark = pytest.mark.fault

SEEDS = repeats(quick=3, thorough=15, long=500)


def wrong_response(random: Random, suite: FakeSuite, older: Sequence[Any]) -> Fault:
    """Return a fault: what a replica, a proxy or a narrower token may respond."""
    hidden = random.randrange(2, 4)
    return random.choice(
        [
            Fault.short_page(0),
            Fault.short_page(random.randrange(1, 20)),
            Fault.stale(random.choice(older)),
            random.choice([Fault.filtered, lacking])(lambda session: session["relative_id"] % hidden == 0),
            Fault.page_size(random.randrange(5, 20)),
            Fault.swapped(random.choice([19, 39, random.randrange(100)])),
            Fault.missing_row(random.randrange(20)),
            Fault.status(404),
        ]
    )


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_healthy_sync_repairs_the_database(fake: FakeBuddy, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    suite = create_finished(fake.add_suite(*KEY), random.choice([5, 20, 45, 130]))
    path, older, is_bad = tmp_path / "sessions.db", [suite.snapshot()], False

    def respond(request: RecordedRequest) -> None:
        if random.random() < 0.1:
            change(random, suite)
        if is_bad and random.random() < 1 / 3 and "/sessions" in request.path:
            fake.inject(wrong_response(random, suite, older))

    fake.on_request = respond
    for _ in range(4):
        for is_bad in (False, True, False):
            for _ in range(random.randrange(8)):
                change(random, suite)
            older.append(suite.snapshot())
            existing = [session["id"] for session in suite.sessions]
            async with (
                BuddyClient(fake.token, base_url=fake.base_url, per_page=20, max_attempts=1) as buddy,
                SessionStore(path) as store,
            ):
                async with store.sync(buddy, [KEY], on_failure="collect") as harvest:
                    yielded = [session async for _, session in harvest]
                saved = {session.id for session in await store.sessions(KEY)}
            assert is_bad or not harvest.failures
            assert len(yielded) == len({*yielded}), "a state was yielded twice"
        living = {session.relative_id: session.id for session in sessions_of(suite) if session.id in existing}
        assert not living.keys() & {*marked_numbers(path), *marked_numbers(path, "missing_since")}
        # A session that was new during the bad sync is found on page 1 only.
        on_page_1 = {session.id for session in sessions_of(suite)[:20]}.intersection(existing[:20])
        assert on_page_1 <= saved


def change(random: Random, suite: FakeSuite) -> None:
    sessions = suite.sessions
    index = int(random.random() ** 2 * len(sessions))
    match random.choice(["create", "create", "delete", "reopen", "finish"]):
        case "create":
            create_finished(suite, random.randrange(1, 8))
        case "delete" if sessions:
            suite.delete(sessions[index]["id"])
        case "reopen" if sessions:
            suite.reopen(sessions[index]["id"])
        case "finish" if sessions and sessions[index]["status"] == "IN_PROGRESS":
            suite.finish(sessions[index]["id"])
        case _:
            pass
