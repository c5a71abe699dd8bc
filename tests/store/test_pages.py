"""What a page changes in the database: values, marks and coverage of several syncs. And which indexes are used."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

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


numbers = itertools.count(1)
"""Of suites and of syncs."""


def new_session(number: int, status: SessionStatus = SessionStatus.SUCCESSFUL, **fields: Any) -> Session:
    return Session(**{"id": f"id{number}", "relative_id": number, "status": status, **fields})


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
    **fields: Any,
) -> SavedPage:
    """Save a page that claims what it proves: by default one of another sync, requested just before."""
    given: dict[str, Any] = {"sessions": sessions, "listed": sessions, "proven": proven, "claimed": proven, **fields}
    given.setdefault("sync", next(numbers))
    given.setdefault("commit", commit_of(database))
    return save_page(database, key, PageToSave(**given))


def sync_once(database: DatabaseFile, *relative_ids: int, proven: Interval) -> int:
    """Save a page as a whole sync. Return the number of that sync."""
    sync = next(numbers)
    save(database, new_sessions(*relative_ids), proven, sync=sync)
    finish_sync(database, KEY, sync)
    return sync


class TestSessions:
    @settings(max_examples=2 * settings().max_examples)
    @given(session=sessions)
    def test_session_is_loaded_as_it_was_saved(self, shared_database: DatabaseFile, session: Session) -> None:
        """And it is due for a check if it is not finished."""
        key = SuiteKey("acmé", "shop", f"{next(numbers)}")
        assert save(shared_database, [session], key=key).changed == (session,)
        (loaded,) = load_sessions(shared_database, key)
        assert loaded == session
        assert type(loaded.duration) is type(session.duration)
        assert save(shared_database, [session], key=key) == SavedPage()
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
        sync_once(database, 3, 2, 1, proven=(1, 3))
        with closing(sqlite3.connect(path)) as other:
            before = other.execute("PRAGMA data_version").fetchone()
            save(database, [], key=OTHER_KEY, is_first=True)
            assert save(database, new_sessions(3, 2), (2, 3), is_first=True) == SavedPage()
            assert save(database, new_sessions(1)) == SavedPage()
            finish_sync(database, KEY, next(numbers))
            assert other.execute("PRAGMA data_version").fetchone() == before


class TestCoverage:
    def test_coverage_that_another_sync_has_dropped_is_not_claimed(self, database: DatabaseFile) -> None:
        sync_once(database, 5, 4, 3, 2, 1, proven=(1, 5))
        commit = commit_of(database)
        dropping = sync_once(database, 5, 4, 2, 1, proven=(1, 5))
        saved = save(database, new_sessions(6, 5, 4, 3, 2), (2, 6), commit=commit)
        assert [session.relative_id for session in saved.changed] == [6]
        assert load_covered(database, KEY) == [(1, 2), (4, 5)]
        save(database, new_sessions(6, 5, 4), (4, 6), commit=commit, sync=dropping)
        assert load_covered(database, KEY) == [(1, 2), (4, 6)]
        for relative_ids in ((2,), (5, 4, 3, 2)):  # not even if the same sync has also dropped some
            save(database, new_sessions(*relative_ids), (1, 5), commit=commit, sync=-1)
        assert not contains(load_covered(database, KEY), 3)

    def test_contradiction_drops_what_is_known_of_every_branch(self, database: DatabaseFile) -> None:
        older = datetime(2025, 1, 1, tzinfo=UTC), 5
        for branch in ("main", "feature", None):
            save(database, new_sessions(9), (6, 9), branch=branch, older=older)
        save(database, [new_session(9, id="another")], (6, 9))
        states = [load_suite(database, KEY, branch) for branch in ("main", "feature", None)]
        assert [(state.covered, state.older) for state in states] == [(((6, 8),), None)] * 3

    def test_unverified_sync_withdraws_its_own_claims(self, database: DatabaseFile, path: Path) -> None:
        """Not those of other syncs, nor those of an earlier sync that has ended."""
        sync_once(database, 9, 8, 5, 4, 3, 2, 1, proven=(1, 5))
        save(database, new_sessions(5, 4, 2, 1), (1, 6), sync=-1)
        save(database, new_sessions(9, 8), (8, 9), sync=-2)
        save(database, new_sessions(5, 4, 2), (1, 5), sync=-2)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([1, 3], [3])
        save(database, new_sessions(10), sync=-2, withdraws_claims=True)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([3], [])
        assert query(path, "SELECT missing_by FROM session_rows WHERE missing_since IS NOT NULL") == [(-1,)]
        assert load_covered(database, KEY) == [(2, 2), (4, 6)]

    def test_deletion_because_of_a_withdrawn_mark_is_withdrawn_too(self, database: DatabaseFile, path: Path) -> None:
        """Only the other sync has proved that the session is missing."""
        sync_once(database, 3, 2, 1, proven=(1, 3))
        for sync in (-1, -2):
            save(database, new_sessions(3, 1), (1, 3), sync=sync)
        assert marked_numbers(path) == [2]
        save(database, new_sessions(4), sync=-1, withdraws_claims=True)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([2], [])
        assert query(path, "SELECT missing_by FROM session_rows WHERE missing_since IS NOT NULL") == [(-2,)]
        assert load_covered(database, KEY) == [(1, 1), (3, 3)]


class TestSuites:
    def test_same_sync_does_not_mark_a_suite_as_deleted(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, 2, 1, proven=(1, 2))
        for _ in range(2):
            mark_suite_missing(database, KEY, -1, commit=commit_of(database))
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
        sync_once(database, 2, 1, proven=(1, 2))
        save(database, new_sessions(2), (1, 2), is_first=True, withdraws_claims=True)
        save(database, new_sessions(2), (1, 2))
        save(database, [], (1, 2))
        count_above(database, KEY, 1)
        load_sessions(database, KEY)
        load_sessions(database, KEY, up_to=1, limit=1)
        save(database, [], checked=(1, 2), older=(datetime.now(UTC), 1))
        for _ in range(2):
            mark_suite_missing(database, KEY, next(numbers), commit=commit_of(database))
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
