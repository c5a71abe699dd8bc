"""What a page changes in the database: values, marks and coverage of several syncs. And which indexes are used."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buddy_sessions import Member, RefType, Session, SessionStatus, Suite, SuiteKey
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.intervals import Interval, contains
from buddy_sessions.store.messages import PageToSave, SavedPage
from buddy_sessions.store.pages import count_above, finish_sync, load_suite, mark_suite_missing, save_page
from buddy_sessions.store.sessions import is_listed, load_covered, load_sessions, load_suites, save_names
from buddy_sessions.store.watches import load_watch, save_watch
from helpers import session_strategies
from helpers.stores import KEY, OTHER_KEY, execute, make_due, marked_numbers, query

SURROGATE = "half \ud83d a pair \0"


def with_surrogates(session: Session) -> Session:
    return attrs.evolve(session, id="\udfff", ref_name=SURROGATE, created_by=Member(name=SURROGATE))


sessions = session_strategies.sessions | session_strategies.sessions.map(with_surrogates)


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


suite_ids = map(str, itertools.count())


def new_key() -> SuiteKey:
    return SuiteKey("acmé", "shop", next(suite_ids))


def new_session(number: int, status: SessionStatus = SessionStatus.SUCCESSFUL, **fields: Any) -> Session:
    return Session(id=f"id{number}", relative_id=number, status=status, **fields)


def new_sessions(*numbers: int) -> list[Session]:
    return [new_session(number) for number in numbers]


def commit_of(database: DatabaseFile) -> int:
    """Return the number of the last commit."""
    return load_suite(database, KEY).commit


def save(
    database: DatabaseFile,
    sessions: Sequence[Session],
    proven: Interval | None = None,
    *,
    key: SuiteKey = KEY,
    commit: int | None = None,
    **fields: Any,
) -> SavedPage:
    """Save a page that claims what it proves. It was requested just before, unless the number of a commit is given."""
    commit = commit_of(database) if commit is None else commit
    given = {"sessions": sessions, "listed": sessions, "proven": proven, "claimed": proven, "commit": commit, **fields}
    return save_page(database, key, PageToSave(**given))


def sync_once(database: DatabaseFile, numbers: Iterable[int], proven: Interval) -> int | None:
    """Save a page as a whole sync. Return the number of that sync."""
    sync = save(database, new_sessions(*numbers), proven).sync
    if sync is not None:
        finish_sync(database, KEY, sync, None, 0)
    return sync


class TestSessions:
    @settings(max_examples=2 * settings().max_examples)
    @given(session=sessions)
    def test_session_is_loaded_as_it_was_saved(self, shared_database: DatabaseFile, session: Session) -> None:
        key = new_key()
        assert save(shared_database, [session], key=key).changed == (session,)
        (loaded,) = load_sessions(shared_database, key)
        assert loaded == session
        assert type(loaded.duration) is type(session.duration)
        assert save(shared_database, [session], key=key) == SavedPage(sync=None)

    @settings(max_examples=2 * settings().max_examples)
    @given(session=sessions)
    def test_unfinished_sessions_are_those_that_are_not_finished(
        self, shared_database: DatabaseFile, session: Session
    ) -> None:
        key = new_key()
        save(shared_database, [session], key=key)
        assert load_suite(shared_database, key).due_checks == ()
        make_due(Path(shared_database.path))
        expected = () if session.is_finished else ((session.relative_id, session.id),)
        assert load_suite(shared_database, key).due_checks == expected

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
        self, database: DatabaseFile, path: Path, field: str, age: timedelta | None, pause: timedelta
    ) -> None:
        created = None if age is None else datetime.now(UTC) - age
        save(database, [new_session(1, SessionStatus.IN_PROGRESS, **{field: created})])
        for seconds, due in ((20, ((1, "id1"),)), (-20, ())):
            checked = datetime.now(UTC) - pause - timedelta(seconds=seconds)
            execute(path, f"UPDATE session_rows SET checked_at = '{checked.isoformat()}'")
            assert load_suite(database, KEY).due_checks == due

    def test_only_sessions_of_a_branch_can_be_selected(self, database: DatabaseFile) -> None:
        refs = ((RefType.BRANCH, "main"), (RefType.BRANCH, "dev"), (RefType.TAG, "main"), (RefType.BRANCH, SURROGATE))
        save(
            database, [new_session(number, ref_type=kind, ref_name=name) for number, (kind, name) in enumerate(refs, 1)]
        )
        for branch, expected in (("main", 1), (SURROGATE, 4)):
            assert [session.relative_id for session in load_sessions(database, KEY, branch=branch)] == [expected]

    def test_unchanged_page_writes_nothing(self, database: DatabaseFile, path: Path) -> None:
        save(database, [], key=OTHER_KEY, is_first=True)
        sync_once(database, (3, 2, 1), (1, 3))
        with closing(sqlite3.connect(path)) as other:
            before = other.execute("PRAGMA data_version").fetchone()
            assert save(database, [], key=OTHER_KEY, is_first=True).sync is None
            for sync in (None, 7):
                assert save(database, new_sessions(3, 2), (2, 3), sync=sync, is_first=True) == SavedPage(sync=sync)
                assert save(database, new_sessions(1), sync=sync) == SavedPage(sync=sync)
            assert other.execute("PRAGMA data_version").fetchone() == before


class TestCoverage:
    def test_coverage_that_another_sync_has_dropped_is_not_claimed(self, database: DatabaseFile) -> None:
        sync_once(database, (5, 4, 3, 2, 1), (1, 5))
        commit = commit_of(database)
        dropping = sync_once(database, (5, 4, 2, 1), (1, 5))
        saved = save(database, new_sessions(6, 5, 4, 3, 2), (2, 6), commit=commit)
        assert [session.relative_id for session in saved.changed] == [6]
        assert load_covered(database, KEY) == [(1, 2), (4, 5)]
        save(database, new_sessions(6, 5, 4), (4, 6), commit=commit, sync=dropping)
        assert load_covered(database, KEY) == [(1, 2), (4, 6)]

    def test_unverified_sync_withdraws_its_own_claims(self, database: DatabaseFile, path: Path) -> None:
        """Not those of other syncs, nor those of an earlier sync that has ended."""
        sync_once(database, (9, 8, 5, 4, 3, 2, 1), (1, 5))
        other = save(database, new_sessions(5, 4, 2, 1), (1, 6))
        sync = save(database, new_sessions(9, 8), (8, 9)).sync
        save(database, new_sessions(5, 4, 2), (1, 5), sync=sync)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([1, 3], [3])
        save(database, new_sessions(10), sync=sync, withdraws_claims=True)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([3], [])
        assert query(path, "SELECT missing_by FROM session_rows WHERE missing_since IS NOT NULL") == [(other.sync,)]
        assert load_covered(database, KEY) == [(2, 2), (4, 6)]

    def test_deletion_because_of_a_withdrawn_mark_is_withdrawn_too(self, database: DatabaseFile, path: Path) -> None:
        """Only the other sync has proved that the session is missing."""
        sync_once(database, (3, 2, 1), (1, 3))
        sync = save(database, new_sessions(3, 1), (1, 3)).sync
        other = save(database, new_sessions(3, 1), (1, 3)).sync
        assert marked_numbers(path) == [2]
        save(database, new_sessions(4), sync=sync, withdraws_claims=True)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([2], [])
        assert query(path, "SELECT missing_by FROM session_rows WHERE missing_since IS NOT NULL") == [(other,)]
        assert load_covered(database, KEY) == [(1, 1), (3, 3)]

    writers = st.integers(0, 2)
    pages = st.tuples(
        writers, st.sets(st.integers(1, 6)), st.tuples(st.integers(1, 6), st.integers(1, 6)), st.booleans()
    )
    steps = st.lists(pages | st.tuples(writers, st.sampled_from(["request", "end"])), max_size=15)

    @given(steps=steps)
    def test_numbers_of_missing_sessions_are_not_covered(self, shared_database: DatabaseFile, steps: list[Any]) -> None:
        """Whatever three syncs read at the same time: so the next sync reads these numbers again."""
        key, path = new_key(), Path(shared_database.path)
        syncs: list[int | None] = [None, None, None]
        commits = [commit_of(shared_database)] * 3
        for writer, *step in steps:
            if step == ["end"] and syncs[writer] is not None:
                finish_sync(shared_database, key, syncs[writer], None, 0)
                syncs[writer] = None
            if len(step) == 1:
                commits[writer] = commit_of(shared_database)
                continue
            numbers, proven, is_first = step
            low, high = min(proven), max(proven)
            page = new_sessions(*(number for number in numbers if low <= number <= high))
            options = {"key": key, "commit": commits[writer], "sync": syncs[writer], "is_first": is_first}
            syncs[writer] = save(shared_database, page, (low, high), **options).sync
            missing = "missing_since IS NOT NULL AND deleted_at IS NULL"
            rows = query(path, f"SELECT relative_id FROM sessions WHERE suite_id = '{key.suite_id}' AND {missing}")
            assert [number for (number,) in rows if contains(load_covered(shared_database, key), number)] == []


class TestSuites:
    def test_same_sync_does_not_mark_a_suite_as_deleted(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, (2, 1), (1, 2))
        first = mark_suite_missing(database, KEY, None, commit=commit_of(database))
        assert mark_suite_missing(database, KEY, first, commit=commit_of(database)) == first
        assert query(path, "SELECT missing_since IS NULL, deleted_at FROM suites") == [(0, None)]

    def test_names_are_those_of_the_last_listing(self, database: DatabaseFile) -> None:
        listed = [Suite(key=key, id=key.suite_id, name="Old", html_url="https://x") for key in (KEY, OTHER_KEY)]
        save_names(database, "acme", "shop", listed)
        assert load_suites(database) == []
        save(database, [])
        renamed = attrs.evolve(listed[0], name=SURROGATE, identifier="new", html_url=None)
        save_names(database, "acme", "shop", [renamed])
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
        sync_once(database, (2, 1), (1, 2))
        save(database, new_sessions(2), (1, 2), is_first=True, withdraws_claims=True)
        save(database, new_sessions(2), (1, 2))
        save(database, [], (1, 2))
        count_above(database, KEY, 1)
        load_sessions(database, KEY)
        load_sessions(database, KEY, up_to=1, limit=1)
        save(database, [], checked=(1, 2), older=(datetime.now(UTC), 1))
        for _ in range(2):
            mark_suite_missing(database, KEY, None, commit=commit_of(database))
        is_listed(database, "acme", "shop")
        save_watch(database, KEY, "", new_sessions(1), is_start=True)
        load_watch(database, KEY, "")
        database.close()
        statements = {sql.strip() for sql in executed if sql.strip().startswith(("SELECT", "UPDATE", "DELETE"))}
        plans = {sql: str(query(path, f"EXPLAIN QUERY PLAN {sql}")) for sql in statements if "commits" not in sql}
        assert len(plans) >= 25
        assert [sql for sql, plan in plans.items() if "SEARCH" not in plan or "SCAN" in plan] == []
        assert [sql for sql, plan in plans.items() if "TEMP B-TREE" in plan and "FROM covered" not in sql] == []
        assert any("INDEX sessions_unfinished" in plan for plan in plans.values())
        assert any("INDEX sessions_newest" in plan for plan in plans.values())
