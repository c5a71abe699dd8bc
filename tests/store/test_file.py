"""The file of a store: which files are opened, which are rejected, and what the errors advise."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, ConfigError, SessionStore, StoreError
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.migrations import MIGRATIONS
from buddy_sessions.store.schema import APPLICATION_ID, VERSION
from buddy_sessions.testing import FakeBuddy
from helpers.stores import (
    KEY,
    OTHER_KEY,
    SyncedSuite,
    collect_numbers,
    create_finished,
    list_requests,
    query,
    read_only,
    sync,
)


@pytest.fixture
def file(path: Path) -> Iterator[DatabaseFile]:
    """A file that is not opened yet."""
    with closing(DatabaseFile(str(path))) as new:
        yield new


def open_file(file: DatabaseFile) -> None:
    with file.translate_errors():
        file.open()


def create_file(path: Path) -> None:
    with closing(DatabaseFile(str(path))) as file:
        file.open()


def check_rejected_unchanged(file: DatabaseFile, message: str) -> None:
    """Check that a file cannot be opened, is not changed, and that no other file remains in its folder."""
    path = Path(file.path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        open_file(file)
    file.close()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


class TestOpen:
    @pytest.mark.parametrize("sql", ["SELECT 1", "PRAGMA journal_mode = WAL"], ids=["empty", "header-only"])
    def test_file_without_content_is_treated_as_new(self, file: DatabaseFile, path: Path, sql: str) -> None:
        query(path, sql)
        file.open()
        assert query(path, "SELECT count(*) FROM sessions") == [(0,)]

    async def test_file_that_several_stores_create(self, path: Path) -> None:
        stores = [SessionStore(path) for _ in range(8)]
        await asyncio.gather(*(store.open() for store in stores))
        assert [await store.suites() for store in stores] == [[]] * 8
        await asyncio.gather(*(store.close() for store in stores))


FOREIGN = "another program, and was not changed: choose another path"
NEWER = rf"newer buddy_sessions \(schema {VERSION + 1}, .* was not changed: upgrade buddy_sessions"


class TestRejectedFiles:
    @pytest.mark.fault
    @pytest.mark.parametrize("content", [b"x", b"SQLite format 3", b"this is a diary\n" * 1000])
    def test_file_of_another_format(self, file: DatabaseFile, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        check_rejected_unchanged(file, "not a SQLite file, and was not changed: choose another path")
        with pytest.raises(ConfigError):
            open_file(file)

    @pytest.mark.fault
    @pytest.mark.parametrize(
        ("is_ours", "sql", "message"),
        [
            (False, "CREATE TABLE sessions (x)", FOREIGN),
            (False, "PRAGMA application_id = 7", FOREIGN),
            (False, "PRAGMA user_version = 1", FOREIGN),
            (True, f"PRAGMA application_id = {APPLICATION_ID ^ 1}", FOREIGN),
            (True, f"PRAGMA user_version = {VERSION + 1}", NEWER),
        ],
        ids=str,
    )
    def test_file_of_another_program_or_version(
        self, file: DatabaseFile, path: Path, is_ours: bool, sql: str, message: str
    ) -> None:
        if is_ours:
            create_file(path)
        query(path, sql)
        check_rejected_unchanged(file, message)

    @pytest.mark.fault
    @pytest.mark.parametrize(
        "name", [bytes(1000), b"CREATE TABLE m\xfembers"[:20]], ids=["zeros", "name-in-the-schema"]
    )
    def test_damaged_file(self, file: DatabaseFile, path: Path, name: bytes) -> None:
        create_file(path)
        content = path.read_bytes()
        start = content.index(b"CREATE TABLE members") if len(name) == 20 else 100
        path.write_bytes(content[:start] + name + content[start + len(name) :])
        check_rejected_unchanged(file, "it is damaged: move it away, and sync into a new file")

    def test_path_where_no_file_can_be(self, tmp_path: Path) -> None:
        for path, message in (
            (tmp_path / "missing" / "sessions.db", "its folder does not exist: create it, or choose another path"),
            (tmp_path, "it is a folder: name a file in it"),
            (
                tmp_path / "sessions.CSV",
                "is the name of an export, not of a database: sync into a .db file, then export",
            ),
        ):
            with closing(DatabaseFile(str(path))) as file, pytest.raises(StoreError, match=message):
                open_file(file)


OLDER = {path.stem: path for path in sorted((Path(__file__).parents[1] / "fixtures" / "databases").iterdir())}
"""The tables of a file of each older version, with what syncs of version 1 have left of four suites."""


def test_each_older_version_has_a_migration_and_a_file() -> None:
    assert [*MIGRATIONS] == [*range(1, VERSION)]
    assert {*OLDER} == {f"version-{version}" for version in MIGRATIONS}


class TestFileOfAnOlderVersion:
    @pytest.fixture(params=OLDER.values(), ids=[*OLDER])
    def old(self, request: pytest.FixtureRequest, path: Path) -> Path:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(request.param.read_text())
            # The recipe of these files migrates one, so they have lost it.
            connection.execute("UPDATE suite_rows SET state = json_set(state, '$.clean', json('null'))")
            connection.commit()
        return path

    async def test_it_is_migrated(self, old: Path, tmp_path: Path) -> None:
        async with SessionStore(old) as store:
            await store.info()
        async with SessionStore(old) as store:  # it was migrated
            found = {each.suite.suite_id: each for each in await store.info()}
            cases = await store.cases("acme/shop/whole", (await store.sessions("acme/shop/whole"))[0])
        assert {name: (each.covered, each.below, each.sessions, each.deleted) for name, each in found.items()} == {
            "whole": ((1, 6), "nothing", 5, 1),
            "pruned": ((1, 6), "limit", 3, 0),
            "since": ((4, 6), "more", 3, 0),
            "retained": ((4, 8), "more", 5, 0),
        }
        assert found["whole"].missing == len(cases) == 1
        assert query(old, "SELECT count(*) FROM suite_rows WHERE json_type(state, '$.clean') IS NOT NULL") == [(0,)]
        create_file(tmp_path / "new.db")
        columns = "SELECT m.name, c.name, c.type FROM sqlite_master AS m, pragma_table_info(m.name) AS c ORDER BY 1, 2"
        pragmas = "SELECT * FROM pragma_application_id, pragma_user_version"
        for sql in (columns, pragmas):
            assert query(old, sql) == query(tmp_path / "new.db", sql)

    async def test_limits_are_kept(self, old: Path, fake: FakeBuddy, buddy: BuddyClient) -> None:
        """A later sync reads only what is younger, and an earlier `since` what is older."""
        dates = query(old, "SELECT create_date FROM sessions WHERE suite_id = 'whole' ORDER BY relative_id")
        for name in ("pruned", "since"):
            suite = fake.add_suite("acme", "shop", name)
            for (date,) in dates:
                suite.create(status="SUCCESSFUL", create_date=date)
            async with SessionStore(old) as store:
                assert min(await sync(store, buddy, suite.key)) == 4
                before = datetime.fromisoformat(dates[1][0]) - timedelta(hours=1)
                assert await sync(store, buddy, suite.key, since=before) == ([3, 2] if name == "since" else [])

    @pytest.mark.fault
    async def test_it_waits_for_no_other_process(self, old: Path) -> None:
        """And says what to do; so does a file that cannot be written."""
        with closing(sqlite3.connect(f"{old}-lock", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreError, match=r"is of an older version: run a sync") as caught:
                await SessionStore(old).open()
        assert caught.value.retryable
        with read_only(old.parent), pytest.raises(StoreError):
            await SessionStore(old).open()


class TestSameFile:
    @pytest.mark.fault
    @pytest.mark.parametrize("replaced", [False, True])
    async def test_file_that_was_deleted_or_replaced_is_reported(self, path: Path, replaced: bool) -> None:
        async with SessionStore(path) as store:
            os.remove(path)
            if replaced:
                create_file(path)
            for call in (
                lambda: store.prune(older_than=timedelta(days=1)),
                lambda: store.forget("acme/shop/a"),
                store.suites,
                store.status,
                lambda: anext(aiter(store.changes())),
            ):
                with pytest.raises(StoreError, match="was deleted or replaced while it was open: open the store again"):
                    await call()
            await store.close()
            await store.open()
            await store.prune(older_than=timedelta(days=1))

    @pytest.mark.fault
    @pytest.mark.parametrize("replaced", [False, True])
    async def test_sync_into_a_deleted_file_is_no_success(self, db: SyncedSuite, replaced: bool) -> None:
        """The next suites are not even requested."""
        create_finished(db.suite, 30)
        db.fake.add_suite(*OTHER_KEY)

        def remove(_: object) -> None:
            db.fake.on_request = None
            os.remove(db.path)
            if replaced:
                create_file(db.path)

        db.fake.on_request = remove
        async with db.store.sync(db.buddy, [KEY, OTHER_KEY], concurrency=1, on_failure="collect") as harvest:
            with pytest.raises(StoreError, match="was deleted or replaced while it was open") as caught:
                await collect_numbers(harvest)
        assert caught.value.not_tried == 1
        assert not [request for request in list_requests(db.fake) if OTHER_KEY.suite_id in request.path]
