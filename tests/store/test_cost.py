"""What a page costs: statements, which are counted, not timed, and bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from buddy_sessions import Session
from buddy_sessions.store.database import Database, ReadPage
from buddy_sessions.testing import FakeSuite
from helpers.stores import KEY, query, sessions_of

WRITES = ("INSERT", "UPDATE", "DELETE")


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that are executed; a statement for many rows counts once for each row."""
    statements: list[str] = []
    connect = sqlite3.connect

    def connect_and_record(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(lambda sql: statements.append(sql.strip()))
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_record)
    return statements


@pytest.fixture
def database(executed: list[str], path: Path) -> Iterator[Database]:
    opened = Database(str(path))
    opened.open()
    executed.clear()
    yield opened
    opened.close()


def save_pages(database: Database, sessions: list[Session]) -> None:
    """Save the sessions of a suite, 100 on each page."""
    commit, sync = database.load_suite(KEY).commit, None
    for start in range(0, len(sessions), 100):
        page = sessions[start : start + 100]
        covers = page[-1].relative_id, page[0].relative_id
        first_page = None if start else page
        read = ReadPage(sessions=page, covers=covers, commit=commit, sync=sync, first_page=first_page)
        sync = database.save_page(KEY, read).sync


@pytest.mark.parametrize(("changed", "limit"), [(0, 10), (1, 18), (100, 30)])
def test_statements_of_a_page(database: Database, executed: list[str], changed: int, limit: int) -> None:
    """Apart from one statement for each new or changed session, a page costs the same, however many sessions it has."""
    sessions = sessions_of(FakeSuite(*KEY).populate(100))
    save_pages(database, sessions[changed:])
    executed.clear()
    save_pages(database, sessions)
    assert sum(sql.startswith("INSERT INTO session_rows") for sql in executed) == changed
    assert len(executed) - changed <= limit


def test_unchanged_page_writes_nothing(database: Database, executed: list[str]) -> None:
    sessions = sessions_of(FakeSuite(*KEY).populate(100))
    save_pages(database, sessions)
    executed.clear()
    save_pages(database, sessions)
    assert [sql for sql in executed if sql.startswith(WRITES)] == []


def test_changed_session_is_the_only_one_that_is_written(database: Database, executed: list[str]) -> None:
    sessions = sessions_of(FakeSuite(*KEY).populate(100))
    save_pages(database, sessions)
    executed.clear()
    sessions[50] = attrs.evolve(sessions[50], tests_count=7)
    save_pages(database, sessions)
    assert [sql.split()[2] for sql in executed if sql.startswith("INSERT")] == ["session_rows"]


def test_bytes_of_a_session(database: Database, path: Path) -> None:
    """A realistic session, whose member is stored only once."""
    save_pages(database, sessions_of(FakeSuite(*KEY).populate(5_000)))
    ((size,),) = query(path, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    assert size / 5_000 <= 500
    assert query(path, "SELECT count(*) FROM members") == [(5,)]
