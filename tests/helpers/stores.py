"""Helpers for the tests of stores: suites on a fake server, and the databases that they are synced into."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from buddy_sessions import BuddyClient, Harvest, Session, SessionStore, StoreChange, SuiteKey, SuiteRef
from buddy_sessions._decoding.converter import session_from_dict
from buddy_sessions.models import is_before
from buddy_sessions.testing import FakeBuddy, FakeSuite, RecordedRequest

KEY = SuiteKey("acme", "shop", "MNbyVedg")
OTHER_KEY = SuiteKey("acme", "shop", "other")

ABSENCES = 2
"""The number of syncs that must not find a session, or a suite, until it is deleted."""


async def sync(store: SessionStore, buddy: BuddyClient, *suites: SuiteRef, **options: Any) -> list[int]:
    """Sync suites, by default `KEY`; return the numbers of the sessions that were yielded."""
    async with store.sync(buddy, list(suites) or [KEY], **options) as harvest:
        return await collect_numbers(harvest)


async def collect_numbers(harvest: Harvest) -> list[int]:
    """Return the numbers of the sessions that a harvest or a sync yields."""
    return [session.relative_id async for _, session in harvest]


def create_finished(suite: FakeSuite, count: int) -> FakeSuite:
    """Create finished sessions."""
    for _ in range(count):
        suite.create(status="SUCCESSFUL")
    return suite


def create_daily(suite: FakeSuite, count: int, **fields: Any) -> None:
    """Create one session a day, or a little less: the newest one a minute ago."""
    for age in reversed(range(count)):
        created = datetime.now(UTC) - timedelta(days=age, minutes=age + 1)
        suite.create(**{"status": "SUCCESSFUL", "create_date": created.isoformat(), "branch": "main", **fields})


def sessions_of(suite: FakeSuite) -> list[Session]:
    """Return the sessions that exist on the server, newest first."""
    return [session_from_dict(session) for session in suite.sessions]


CopiedSessions = dict[tuple[SuiteKey, str], tuple[Any, ...]]
"""By suite and id: the session, `missing_since`, `deleted_at`, and its failing tests."""


class DatabaseCopy:
    """A copy of a database, and the position up to which it has applied the changes."""

    def __init__(self) -> None:
        self.sessions: CopiedSessions = {}
        self.position = 0

    def apply(self, change: StoreChange) -> None:
        session, before = change.session, change.pruned_before
        if session is not None:
            values = session, change.missing_since, change.deleted_at, change.failures
            self.sessions[change.suite, session.id] = values
        for key, (saved, *_) in list(self.sessions.items()):
            if session is None and key[0] == change.suite and (before is None or is_before(saved, before)):
                del self.sessions[key]
        assert change.position > self.position
        self.position = change.position


def query(path: Path, sql: str) -> list[Any]:
    """Return the rows of a query to a database file, or change it, as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def pass_two_days(path: Path) -> None:
    """Move what a database has noted about the syncs so far two days back: no public call moves their clock.

    So unfinished sessions are due for a check, and the suites of all projects for being listed.
    """
    for table, column in (("session_rows", "checked_at"), ("projects", "listed_at")):
        query(path, f"UPDATE {table} SET {column} = strftime('%Y-%m-%dT%H:%M:%SZ', {column}, '-2 days')")


def marked_numbers(path: Path, column: str = "deleted_at") -> list[int]:
    """Return the numbers of the sessions that are marked as deleted (or missing), in ascending order."""
    sql = f"SELECT relative_id FROM sessions WHERE {column} IS NOT NULL ORDER BY relative_id"
    return [number for (number,) in query(path, sql)]


def list_requests(fake: FakeBuddy) -> list[RecordedRequest]:
    """Return the requests for sessions. A sync also requests the names of the suites, once per project and day."""
    return [request for request in fake.requests if "/sessions" in request.path]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let this process write only the first bytes of a file, as if the disk were full then."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let this process write nothing in a folder, even if it is root's."""
    user = os.geteuid()
    files = [*folder.iterdir()]
    for file in files:
        file.chmod(0o444)
    folder.chmod(0o555)
    if not user:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        for file in files:
            file.chmod(0o644)


@frozen
class SyncedSuite:
    """A suite on a fake server, and the store into which it is synced."""

    fake: FakeBuddy
    suite: FakeSuite
    path: Path
    buddy: BuddyClient
    store: SessionStore

    async def sync(self, *suites: SuiteRef, **options: Any) -> list[int]:
        """Sync suites, by default this one; return the numbers of the sessions that were yielded."""
        return await sync(self.store, self.buddy, *suites, **options)

    async def count_requests(self, *suites: SuiteRef, **options: Any) -> int:
        """Sync suites; return the number of requests for sessions."""
        self.fake.requests.clear()
        await self.sync(*suites, **options)
        return len(list_requests(self.fake))

    async def covered_range(self) -> tuple[int, int] | None:
        return next((each.covered for each in await self.store.info() if each.suite == KEY), None)

    async def is_complete(self) -> bool:
        """Return whether the store has exactly the sessions that exist on the server."""
        return await self.store.sessions(KEY) == sessions_of(self.fake.suites[KEY])

    def marked(self, column: str = "deleted_at") -> list[int]:
        return marked_numbers(self.path, column)

    def recreate(self, count: int) -> FakeSuite:
        """Delete the suite, and create another one of the same name, whose sessions have other ids."""
        self.fake.delete_suite(self.fake.suites[KEY])
        return create_finished(self.fake.add_suite(*KEY), count)
