"""Syncs over a long time, and wrong clocks: a server and a database whose time is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import attrs
import pytest

from buddy_sessions.store.exchange import SyncScope
from buddy_sessions.store.saved_source import load_sessions
from buddy_sessions.store.suites import load_saved_suites
from helpers.effort import repeats
from helpers.model_server import FIRST_DATE, ModelClient, ModelServer, ModelStore
from helpers.stores import KEY

DAY = timedelta(days=1)
PER_PAGE = 20
DAYS = repeats(quick=60, thorough=365)


@pytest.fixture
def server() -> ModelServer:
    return ModelServer(Random(1))


@pytest.fixture
def client(server: ModelServer) -> ModelClient:
    return ModelClient(server, per_page=PER_PAGE)


@pytest.fixture
def model(path: Path) -> Iterator[ModelStore]:
    store = ModelStore(path)
    yield store
    store.database.close()


def saved(model: ModelStore) -> list[int]:
    return [session.relative_id for session in load_sessions(model.database, KEY)]


def count(model: ModelStore) -> int:
    return sum(suite.sessions for suite in load_saved_suites(model.database))


def create_daily(server: ModelServer, days: int, *, count: int = 1) -> None:
    """Create some sessions at the end of each of the next days."""
    for _ in range(days):
        server.created = (server.created // 1440 + 1) * 1440 - count
        server.create(count)


def test_daily_syncs_of_a_day_save_all_days(model: ModelStore, client: ModelClient, server: ModelServer) -> None:
    """Some days have none. What is older than the first day is not read."""
    random = Random(2)
    create_daily(server, 10, count=20)
    for day in range(11, 11 + DAYS):
        create_daily(server, 1, count=random.choice([0, 1, 19, 20, 40]))
        if random.random() < 0.3:
            continue
        requests, unsaved = server.requests, len(server.rows) - 200 - count(model)
        now = FIRST_DATE + day * DAY
        model.sync(client, now=now, scope=SyncScope(since=now - DAY + timedelta(minutes=1)))
        assert server.requests - requests <= 2 + unsaved // (PER_PAGE - 1) + 10, "at most 10 are checks"
        assert count(model) == len(server.rows) - 200
    assert saved(model) == list(range(len(server.rows), 200, -1))
    assert load_saved_suites(model.database)[0].known_range == (201, len(server.rows))


@pytest.mark.parametrize("has_date", [True, False], ids=["date", "no-date"])
@pytest.mark.parametrize("was_synced", [True, False], ids=["full-file", "empty-file"])
def test_clock_that_is_ahead_loses_nothing(
    model: ModelStore, server: ModelServer, was_synced: bool, has_date: bool
) -> None:
    """What `keep` would delete with the right clock is deleted, and nothing more; then everything new arrives."""
    create_daily(server, 60)
    keep, now = 30 * DAY, server.time
    if has_date:  # a session from the future
        server.rows[0] = attrs.evolve(server.rows[0], create_date=now + 1000 * DAY)

    def sync(clock: datetime, time: datetime) -> None:
        client = ModelClient(server, per_page=PER_PAGE, server_time=time if has_date else None)
        model.sync(client, now=clock, keep=keep)

    if was_synced:
        sync(now, now)
    sync(now + 100 * DAY, now)
    assert saved(model) == list(range(60, 29, -1))
    create_daily(server, 3)
    sync(now + 3 * DAY, now + 3 * DAY)
    assert saved(model) == list(range(63, 32, -1))
    assert not model.sync(ModelClient(server, per_page=PER_PAGE), now=now + 4 * DAY, full=True)
