"""Fixtures for the tests of stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, SessionStore
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.stores import KEY, SyncedSuite


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY)


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1, per_page=20, read_ahead=1) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SessionStore]:
    async with SessionStore(path) as opened:
        yield opened


@pytest.fixture
def db(fake: FakeBuddy, suite: FakeSuite, path: Path, buddy: BuddyClient, store: SessionStore) -> SyncedSuite:
    return SyncedSuite(fake, suite, path, buddy, store)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseFile]:
    """A database for the examples of a property: each uses a suite of its own."""
    with closing(DatabaseFile(str(tmp_path_factory.mktemp("shared") / "sessions.db"))) as opened:
        opened.open()
        yield opened
