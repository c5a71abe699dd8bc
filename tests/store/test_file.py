"""The file of a store: which files are opened, which are rejected, and what the errors advise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from buddy_sessions import SessionStore, StoreError
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.schema import APPLICATION_ID, VERSION
from helpers.stores import (
    KEY,
    OTHER_KEY,
    SyncedSuite,
    collect_numbers,
    create_finished,
    list_requests,
    query,
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

    @pytest.mark.fault
    @pytest.mark.parametrize(
        ("is_ours", "sql", "message"),
        [
            (False, "CREATE TABLE sessions (x)", FOREIGN),
            (False, "PRAGMA application_id = 7", FOREIGN),
            (False, "PRAGMA user_version = 1", FOREIGN),
            (True, f"PRAGMA application_id = {APPLICATION_ID ^ 1}", "another version of buddy_sessions, and was not"),
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
    def test_damaged_file(self, file: DatabaseFile, path: Path) -> None:
        create_file(path)
        content = path.read_bytes()
        path.write_bytes(content[:100] + bytes(1000) + content[1100:])
        check_rejected_unchanged(file, "it is damaged: move it away, and sync into a new file")

    def test_path_where_no_file_can_be(self, tmp_path: Path) -> None:
        for path, message in (
            (tmp_path / "missing" / "sessions.db", "its folder does not exist: create it, or choose another path"),
            (tmp_path, "it is a folder: name a file in it"),
        ):
            with closing(DatabaseFile(str(path))) as file, pytest.raises(StoreError, match=message):
                open_file(file)


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
