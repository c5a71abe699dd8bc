"""The database: its schema, and what is stored in it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buddy_sessions import CIProvider, Member, RefType, Session, SessionStatus, StoreError, SuiteKey
from buddy_sessions.store.database import Database
from buddy_sessions.store.schema import APPLICATION_ID, MIGRATIONS
from helpers.stores import KEY, OTHER_KEY, query

TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
COUNTS = st.none() | st.integers(0, 2**63 - 1)
TEXTS = st.none() | st.text() | st.just("half \ud83d a pair \0")
COUNT_FIELDS = ("tests_count", "failed_count", "skipped_count", "error_count")
TEXT_FIELDS = (
    *("url", "html_url", "ci_run_url", "revision", "ref_name", "execution_id", "action_execution_id", "error_message"),
)


def values_of(kind: type[StrEnum]) -> st.SearchStrategy[Any]:
    return st.sampled_from(list(kind)) | st.text(min_size=1).map(kind)


members = st.builds(
    Member,
    url=TEXTS,
    html_url=TEXTS,
    id=st.none() | st.integers(),
    name=TEXTS,
    avatar_url=TEXTS,
    email=TEXTS,
    admin=st.none() | st.booleans(),
    workspace_owner=st.none() | st.booleans(),
)
sessions = st.builds(
    Session,
    id=st.text() | st.just("\udfff"),
    relative_id=st.integers(1, 2**63 - 1),
    status=values_of(SessionStatus),
    create_date=TIMES,
    start_date=TIMES,
    finish_date=TIMES,
    created_by=st.none() | members,
    ci_provider=st.none() | values_of(CIProvider),
    ref_type=st.none() | values_of(RefType),
    duration=COUNTS | st.floats(allow_nan=False, allow_infinity=False),
    **dict.fromkeys(COUNT_FIELDS, COUNTS),
    **dict.fromkeys(TEXT_FIELDS, TEXTS),
)


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(str(path))
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database for the examples of a property: each uses a suite of its own."""
    opened = Database(str(tmp_path_factory.mktemp("shared") / "sessions.db"))
    opened.open()
    yield opened
    opened.close()


def new_session(number: int, status: SessionStatus = SessionStatus.SUCCESSFUL) -> Session:
    return Session(id=f"id{number}", relative_id=number, status=status)


class TestSessions:
    suite_ids = map(str, itertools.count())

    @settings(max_examples=200)
    @given(session=sessions)
    def test_session_is_loaded_as_it_was_saved(self, shared_database: Database, session: Session) -> None:
        key = SuiteKey("acmé", "shop", next(self.suite_ids))
        assert shared_database.save_page(key, [session], None) == (session,)
        (loaded,) = shared_database.sessions(key)
        assert loaded == session
        assert type(loaded.duration) is type(session.duration)
        assert shared_database.save_page(key, [session], None) == ()
        assert key in shared_database.suites()

    @settings(max_examples=200)
    @given(session=sessions)
    def test_unfinished_sessions_are_those_that_are_not_finished(
        self, shared_database: Database, session: Session
    ) -> None:
        key = SuiteKey("acme", "shop", next(self.suite_ids))
        session = attrs.evolve(session, relative_id=7)
        shared_database.save_page(key, [session], None)
        assert shared_database.newest_unfinished(key, above=6, below=8) == (0 if session.is_finished else 7)

    def test_unfinished_sessions_are_searched_in_a_range(self, database: Database) -> None:
        database.save_page(KEY, [new_session(number, SessionStatus.IN_PROGRESS) for number in (9, 6, 3)], None)
        found = [
            database.newest_unfinished(KEY, above=above, below=below)
            for above, below in ((0, 10), (0, 9), (5, 9), (6, 9), (3, 6), (0, 6), (0, 3))
        ]
        assert found == [9, 6, 6, 0, 0, 3, 0]

    def test_only_sessions_of_a_branch_can_be_asked_for(self, database: Database) -> None:
        refs = [(RefType.BRANCH, "main"), (RefType.BRANCH, "feature"), (RefType.TAG, "main")]
        page = [
            attrs.evolve(new_session(number), ref_type=ref_type, ref_name=ref_name)
            for number, (ref_type, ref_name) in enumerate(refs, 1)
        ]
        database.save_page(KEY, page, None)
        assert [session.relative_id for session in database.sessions(KEY, branch="main")] == [1]

    def test_failed_page_changes_nothing(self, database: Database) -> None:
        session = attrs.evolve(new_session(1), tests_count=2**63)
        with pytest.raises(StoreError, match="64 bits"), database.translate_errors():
            database.save_page(KEY, [new_session(2), session], (1, 2))
        assert (database.sessions(KEY), database.covered(KEY)) == ([], ())

    @pytest.mark.parametrize("change", ["tests_count = 'many'", "created_by = '{'"])
    def test_changed_row_is_reported(self, database: Database, path: Path, change: str) -> None:
        database.save_page(KEY, [new_session(1)], None)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"UPDATE sessions SET {change}")
        with pytest.raises(StoreError, match="was changed"), database.translate_errors():
            database.sessions(KEY)

    def test_missing_table_is_reported(self, database: Database, path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("DROP TABLE sessions")
        with pytest.raises(StoreError, match="no such table"), database.translate_errors():
            database.sessions(KEY)


class TestPages:
    def test_coverage_of_pages_adds_up(self, database: Database) -> None:
        for covers in ((81, 100), (41, 60), (61, 80), (1, 20), None):
            database.save_page(KEY, [], covers)
        assert database.covered(KEY) == ((1, 20), (41, 100))
        assert database.covered(OTHER_KEY) == ()

    def test_sessions_missing_in_the_covered_range_are_deleted(self, database: Database) -> None:
        database.save_page(KEY, [new_session(number) for number in range(9, 0, -1)], None)
        database.save_page(OTHER_KEY, [new_session(5)], None)
        assert database.save_page(KEY, [new_session(6), new_session(4)], (3, 6)) == ()
        assert [session.relative_id for session in database.sessions(KEY)] == [9, 8, 7, 6, 4, 2, 1]
        assert len(database.sessions(OTHER_KEY)) == 1
        assert database.count_sessions(KEY, 2, 8) == 5
        database.save_page(KEY, [], (7, 9))
        assert database.newest(KEY) == 6


class TestSchema:
    def test_columns_are_the_fields_of_the_api(self, database: Database, path: Path) -> None:
        names = [row[1] for row in query(path, "PRAGMA table_info(sessions)")]
        assert names == ["workspace", "project", "suite_id", *attrs.fields_dict(Session), "deleted_at"]

    def test_file_identifies_package_and_version(self, database: Database, path: Path) -> None:
        assert query(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
        assert query(path, "PRAGMA application_id") == [(0x42645365,)]
        assert query(path, "PRAGMA journal_mode") == [("wal",)]

    def test_queries_use_indexes(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        executed: list[str] = []
        connect = sqlite3.connect

        def connect_and_record(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **kwargs)
            connection.set_trace_callback(executed.append)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect_and_record)
        database = Database(str(path))
        database.open()
        executed.clear()
        database.save_page(KEY, [new_session(1)], (1, 1))
        database.newest(KEY)
        database.newest_unfinished(KEY, above=0, below=9)
        database.count_sessions(KEY, 1, 9)
        database.sessions(KEY)
        database.start_watch(KEY, "", [new_session(1)])
        database.save_watched(KEY, "", new_session(1))
        database.load_watch(KEY, "")
        database.close()
        selects = [sql for sql in executed if sql.strip().startswith("SELECT")]
        plans = [str(query(path, f"EXPLAIN QUERY PLAN {sql}")) for sql in selects]
        assert len(plans) >= 8
        assert all("SEARCH" in plan and "SCAN" not in plan and "TEMP B-TREE" not in plan for plan in plans)
        assert any("INDEX sessions_unfinished" in plan for plan in plans)
        assert any("INDEX sessions_newest" in plan for plan in plans)

    @pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
    def test_older_schema_is_migrated(self, path: Path, version: int) -> None:
        with closing(sqlite3.connect(path)) as connection:
            for statement in itertools.chain(*MIGRATIONS[:version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("INSERT INTO covered VALUES ('acme', 'shop', 'MNbyVedg', 1, 2)")
            connection.commit()
        database = Database(str(path))
        database.open()
        assert database.covered(KEY) == ((1, 2),)
        assert database.load_watch(KEY, "") is None
        database.close()
        assert query(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]

    def test_schema_created_by_another_process_is_used(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process creates the schema after this one has seen that there is none."""
        connect = sqlite3.connect

        def create_schema(sql: str) -> None:
            if sql.startswith("PRAGMA synchronous"):
                monkeypatch.undo()
                other = Database(str(path))
                other.open()
                other.save_page(KEY, [new_session(1)], None)
                other.close()

        def connect_and_create(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **kwargs)
            connection.set_trace_callback(create_schema)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect_and_create)
        database = Database(str(path))
        database.open()
        assert database.suites() == [KEY]
        database.close()

    def test_closed_database_is_reported(self, database: Database) -> None:
        database.close()
        with pytest.raises(StoreError, match="is closed"):
            database.suites()
