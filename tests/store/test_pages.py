"""What a page changes in the database: values and marks. And which indexes are used."""

from __future__ import annotations

import itertools
import re
import sqlite3
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from buddy_sessions import RefType, Session, SessionStatus, Suite, SuiteKey
from buddy_sessions.store.columns import to_time
from buddy_sessions.store.exchange import CompleteSync, Interval, PageToSave, SavedPage, SuiteState, SyncScope
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.pages import (
    count_above,
    find_missing,
    finish_sync,
    load_newest,
    load_start,
    save_page,
    withdraw_claims,
)
from buddy_sessions.store.prune import prune_suite
from buddy_sessions.store.saved_source import load_deciding_sessions, load_sessions
from buddy_sessions.store.suites import (
    is_listed,
    load_state,
    load_suites,
    mark_suite_found,
    mark_suite_missing,
    save_names,
)
from buddy_sessions.store.watches import update_watch
from helpers import session_strategies
from helpers.stores import KEY, OTHER_KEY, marked_numbers, query


@pytest.fixture
def database(path: Path) -> Iterator[DatabaseFile]:
    with closing(DatabaseFile(str(path))) as opened:
        opened.open()
        yield opened


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseFile]:
    """A database for the examples of a property: each uses a suite of its own."""
    with closing(DatabaseFile(str(tmp_path_factory.mktemp("shared") / "sessions.db"))) as opened:
        opened.open()
        yield opened


numbers = itertools.count(1)
"""Of suites."""

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPLETE = CompleteSync(b"digest", SyncScope())


def new_session(number: int, status: SessionStatus = SessionStatus.SUCCESSFUL, **fields: Any) -> Session:
    return Session(**{"id": f"id{number}", "relative_id": number, "status": status, **fields})


def new_sessions(*numbers: int) -> list[Session]:
    return [new_session(number) for number in numbers]


def save(
    database: DatabaseFile,
    sessions: Sequence[Session],
    proven: Interval | None = None,
    *,
    key: SuiteKey = KEY,
    now: datetime = NOW,
    **fields: Any,
) -> SavedPage:
    """Save a page that extends the known range by what it proves."""
    given: dict[str, Any] = {"sessions": sessions, "listed": sessions, "proven": proven, "read": proven, **fields}
    return save_page(database, key, PageToSave(**given), now)


class TestSessions:
    @settings(max_examples=2 * settings().max_examples)
    @given(session=session_strategies.sessions)
    def test_session_is_loaded_as_it_was_saved(self, shared_database: DatabaseFile, session: Session) -> None:
        """And it is due for a check if it is not finished."""
        key = SuiteKey("acmé", "shop", f"{next(numbers)}")
        assert save(shared_database, [session], key=key).changed == (session,)
        (loaded,) = load_sessions(shared_database, key)
        assert loaded == session
        assert type(loaded.duration) is type(session.duration)
        assert save(shared_database, [session], key=key) == SavedPage(state=SuiteState(is_synced=True))
        assert load_start(shared_database, key, NOW).due == []
        expected = [] if session.is_finished else [(session.relative_id, session.id)]
        assert load_start(shared_database, key, NOW + timedelta(days=1)).due == expected

    @pytest.mark.parametrize("field", ["create_date", "start_date"])
    @pytest.mark.parametrize(
        ("age", "pause"),
        [
            (timedelta(minutes=10), timedelta(minutes=1)),
            (timedelta(hours=5), timedelta(minutes=30)),
            (timedelta(days=10), timedelta(days=1)),
            (timedelta(days=1000), timedelta(days=1)),
            (timedelta(hours=-3), timedelta(minutes=1)),
            (None, timedelta(minutes=1)),
        ],
        ids=["ten-minutes", "hours", "ten-days", "years", "in-the-future", "unknown"],
    )
    def test_unfinished_session_is_due_after_a_tenth_of_its_age(
        self, database: DatabaseFile, field: str, age: timedelta | None, pause: timedelta
    ) -> None:
        created = None if age is None else NOW - age
        save(database, [new_session(1, SessionStatus.IN_PROGRESS, **{field: created})], now=NOW - pause)
        assert load_start(database, KEY, NOW).due == [(1, "id1")]
        assert load_start(database, KEY, NOW - timedelta(seconds=20)).due == []

    def test_only_sessions_of_a_branch_can_be_selected(self, database: DatabaseFile) -> None:
        refs = ((RefType.BRANCH, "main"), (RefType.BRANCH, "dev"), (RefType.TAG, "main"), (RefType.BRANCH, "a\0b"))
        save(
            database, [new_session(number, ref_type=kind, ref_name=name) for number, (kind, name) in enumerate(refs, 1)]
        )
        for branch, expected in (("main", 1), ("a\0b", 4)):
            assert [session.relative_id for session in load_sessions(database, KEY, branch=branch)] == [expected]

    def test_unchanged_page_writes_nothing(self, database: DatabaseFile, path: Path) -> None:
        save(database, [], key=OTHER_KEY, is_first=True)
        save(database, new_sessions(3, 2, 1), (1, 3))
        finish_sync(database, KEY, COMPLETE, top=3)
        with closing(sqlite3.connect(path)) as other:
            before = other.execute("PRAGMA data_version").fetchone()
            save(database, [], key=OTHER_KEY, is_first=True)
            unchanged = SavedPage(state=SuiteState(is_synced=True, known=(1, 3), complete=COMPLETE))
            assert save(database, new_sessions(3, 2), (2, 3), is_first=True) == unchanged
            assert save(database, new_sessions(1)) == unchanged
            finish_sync(database, KEY, COMPLETE, top=3)
            assert other.execute("PRAGMA data_version").fetchone() == before

    def test_digest_is_kept_only_if_nothing_above_its_page_is_saved(self, database: DatabaseFile) -> None:
        save(database, new_sessions(3, 2, 1), (1, 3), is_first=True)
        save(database, new_sessions(5))  # requested by itself
        finish_sync(database, KEY, COMPLETE, top=3)
        assert load_state(database, KEY).complete is None
        finish_sync(database, KEY, COMPLETE, top=5)
        assert load_state(database, KEY).complete == COMPLETE

    def test_another_list_is_compared_in_little_memory(self, database: DatabaseFile, path: Path) -> None:
        """All sessions of the list before are marked."""
        count = 5_000
        save(database, new_sessions(*range(count, 0, -1)), (1, count))
        tracemalloc.start()
        try:
            save(database, [new_session(1, id="another")], is_first=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(marked_numbers(path, "missing_since")) == count
        assert peak < 5_000_000


class TestMarks:
    @pytest.mark.parametrize("view", ["sessions WHERE relative_id = 1", "suites"])
    @pytest.mark.parametrize("ahead", [timedelta(hours=-1), timedelta(days=9)], ids=str)
    def test_absence_is_believed_in_the_second_sync(
        self, database: DatabaseFile, path: Path, view: str, ahead: timedelta
    ) -> None:
        """A mark has the time of the first sync, unless its clock was ahead."""
        save(database, new_sessions(2, 1), (1, 2))
        first, time = NOW + ahead, min(NOW, NOW + ahead)
        for now, missing, deleted in ((first, first, None), (first, first, None), (NOW, time, time), (NOW, time, time)):
            if view == "suites":
                mark_suite_missing(database, KEY, now)
            else:
                save(database, new_sessions(2), (1, 2), now=now)
            ((*marks,),) = query(path, f"SELECT missing_since, deleted_at FROM {view}")
            assert list(map(to_time, marks)) == [missing, deleted]
        if view == "suites":
            mark_suite_found(database, KEY)
            assert query(path, f"SELECT missing_since, deleted_at FROM {view}") == [(None, None)]

    def test_unverified_sync_withdraws_its_own_claims(self, database: DatabaseFile, path: Path) -> None:
        """Not those of an earlier sync."""
        save(database, new_sessions(9, 8, 5, 4, 3, 2, 1), (1, 9))
        known, later = SuiteState(known=(1, 9)), NOW + timedelta(hours=1)
        save(database, new_sessions(9, 8, 5, 4, 2, 1), (1, 9))
        save(database, new_sessions(12, 11, 10, 9, 8, 5, 4, 2), (1, 12), now=later)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([1, 3], [3])
        withdraw_claims(database, KEY, known, later)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([3], [])
        assert load_state(database, KEY).known == known.known
        assert len(load_sessions(database, KEY)) == 10


class TestSuites:
    def test_names_are_those_of_the_last_listing(self, database: DatabaseFile) -> None:
        listed = [Suite(key=key, id=key.suite_id, name="Old", html_url="https://x") for key in (KEY, OTHER_KEY)]
        save_names(database, "acme", "shop", listed, NOW)
        assert load_suites(database) == []
        save(database, [])
        renamed = attrs.evolve(listed[0], name="a\0b", identifier="new", html_url=None)
        save_names(database, "acme", "shop", [renamed], NOW)
        save(database, [], key=OTHER_KEY)
        assert load_suites(database) == [renamed, listed[1]]


class TestSchema:
    def test_columns_are_the_fields_of_the_api(self, database: DatabaseFile, path: Path) -> None:
        names = [row[1] for row in query(path, "PRAGMA table_info(sessions)")]
        key = ["workspace", "project", "suite_id"]
        assert names == [*key, *attrs.fields_dict(Session), "missing_since", "deleted_at"]
        names = [row[1] for row in query(path, "PRAGMA table_info(suites)")]
        assert names[:8] == [*key, "name", "identifier", "html_url", "missing_since", "deleted_at"]

    def test_statements_use_indexes(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        executed: list[str] = []
        connect = sqlite3.connect

        def connect_and_record(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **kwargs)
            connection.set_trace_callback(executed.append)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect_and_record)
        database = DatabaseFile(str(path))
        database.open()
        executed.clear()
        save(database, new_sessions(2, 1), (1, 2))
        save(database, new_sessions(2), (1, 2), is_first=True)
        save(database, new_sessions(2), (1, 2), checked=1)
        withdraw_claims(database, KEY, SuiteState(), NOW)
        load_start(database, KEY, NOW)
        load_newest(database, KEY)
        find_missing(database, KEY, NOW, below=9)
        count_above(database, KEY, 1)
        finish_sync(database, KEY, COMPLETE, top=2)
        load_sessions(database, KEY)
        load_sessions(database, KEY, up_to=1, limit=1)
        load_deciding_sessions(database, KEY)
        prune_suite(database, KEY, NOW)
        for now in (NOW, NOW + timedelta(hours=1)):
            mark_suite_missing(database, KEY, now)
        is_listed(database, "acme", "shop", NOW)
        update_watch(database, ("changes", "default", ""), KEY, lambda _: [])
        statements = {sql.strip() for sql in executed if sql.strip().startswith(("SELECT", "UPDATE", "DELETE"))}
        plans = {
            sql: re.sub(
                "SCAN (json_each|CONSTANT ROW)",
                "",
                " ".join(step["detail"] for step in database.execute(f"EXPLAIN QUERY PLAN {sql}")),
            )
            for sql in statements
        }
        database.close()
        assert len(plans) >= 22
        assert [sql for sql, plan in plans.items() if "SEARCH" not in plan or "SCAN" in plan] == []
        assert [sql for sql, plan in plans.items() if "TEMP B-TREE" in plan] == []
        assert any("INDEX sessions_unfinished" in plan for plan in plans.values())
        assert any("INDEX sessions_newest" in plan for plan in plans.values())
