"""The sessions of a report: the same values as in the store."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Member, Session, StoreError, SuiteKey
from buddy_sessions.cli.report.reading import read_sessions
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.messages import PageToSave
from buddy_sessions.store.pages import load_suite, save_page
from helpers.report_sessions import KEY, session
from helpers.session_strategies import sessions

FIELDS = (
    *("id", "relative_id", "status", "html_url", "create_date", "finish_date", "ref_type", "ref_name", "created_by"),
    *("error_message", "duration", "tests_count", "failed_count", "skipped_count", "error_count"),
)
VALID = {"id": "a", "relative_id": 1, "status": "ERROR"}
numbers = itertools.count()


class Saved:
    """A database, and a connection to it."""

    def __init__(self, path: Path) -> None:
        self.database = DatabaseFile(str(path))
        self.database.open()
        self.connection = sqlite3.connect(path)

    def close(self) -> None:
        self.connection.close()
        self.database.close()

    def save_and_read(self, saved: Sequence[Session]) -> list[Session]:
        key = SuiteKey("acme", "shop", f"suite-{next(numbers)}")
        commit = load_suite(self.database, key).commit
        save_page(self.database, key, PageToSave(sessions=saved, commit=commit))
        return read_sessions(self.connection, key)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    with closing(Saved(tmp_path_factory.mktemp("saved") / "sessions.db")) as saved:
        yield saved


@pytest.fixture
def table() -> Iterator[sqlite3.Connection]:
    """A table `sessions` without constraints, in which another program may have saved anything."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE sessions (workspace, project, suite_id, deleted_at, {', '.join(FIELDS)})")
        yield connection


def insert(table: sqlite3.Connection, **values: Any) -> None:
    row = {**KEY._asdict(), **VALID, **values}
    marks = ", ".join("?" * len(row))
    table.execute(f"INSERT INTO sessions ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def values_of(each: Session) -> list[object]:
    return [getattr(each, name) for name in (*FIELDS, "is_finished")]


@given(listed=st.lists(sessions, max_size=3, unique_by=(lambda it: it.id, lambda it: it.relative_id)))
def test_values_are_those_of_the_sessions_newest_first(saved: Saved, listed: list[Session]) -> None:
    newest_first = sorted(listed, key=lambda session: -session.relative_id)
    assert list(map(values_of, saved.save_and_read(listed))) == list(map(values_of, newest_first))


def test_lone_surrogates_are_kept(saved: Saved) -> None:
    odd = session(1, id="\ud800", error_message="\udfff é", created_by=Member(name="\ud800"))
    assert values_of(saved.save_and_read([odd])[0]) == values_of(odd)


def test_deleted_sessions_are_left_out(table: sqlite3.Connection) -> None:
    insert(table, deleted_at="2026-03-01T10:00:00Z")
    insert(table, relative_id=7)
    assert [row.relative_id for row in read_sessions(table, KEY)] == [7]


@pytest.mark.parametrize(
    "values",
    [{"create_date": "yesterday"}, {"duration": "1"}, {"status": None}, {"created_by": "{"}, {"created_by": "[]"}],
)
def test_invalid_row_is_an_error(table: sqlite3.Connection, values: dict[str, Any]) -> None:
    insert(table, **values)
    with pytest.raises(StoreError, match=r"^the saved sessions of acme/shop/MNbyVedg cannot be read: "):
        read_sessions(table, KEY)


def test_unreadable_table_is_an_error(table: sqlite3.Connection) -> None:
    table.execute("DROP TABLE sessions")
    with pytest.raises(StoreError, match="no such table"):
        read_sessions(table, KEY)
