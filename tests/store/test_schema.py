"""What is in the file: sessions as they were saved, the columns of the views, and values that others have changed."""

from __future__ import annotations

import hashlib
import itertools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given

from buddy_sessions import BuddyClient, RefType, Session, SessionStatus, SessionStore, StoreError, SuiteKey
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.pages import load_start, save_page
from buddy_sessions.store.saved_source import load_sessions
from buddy_sessions.store.schema import SCHEMA, VERSION
from buddy_sessions.store.suites import SuiteState
from buddy_sessions.store.sync_rules import ListEvidence
from buddy_sessions.testing import FakeSuite
from helpers import session_strategies
from helpers.stores import KEY, OTHER_KEY, SyncedSuite, query, sync

NOW = datetime(2026, 1, 1, tzinfo=UTC)

numbers = itertools.count(1)
"""Of suites."""

FINGERPRINTS = {2: "297704d2380575a1"}
"""Of `SCHEMA`, by its `VERSION`. That of a released version does not change."""


def test_changed_schema_is_a_new_version() -> None:
    """Files with the old one exist: see *a rule of the store* in `CONTRIBUTING.md`."""
    text = re.sub(r"--.*|\s", "", "\n".join(SCHEMA))  # without comments and white space
    assert FINGERPRINTS.get(VERSION) == hashlib.sha256(text.encode()).hexdigest()[:16]


@given(session=session_strategies.sessions)
def test_session_is_loaded_as_it_was_saved(database: DatabaseFile, session: Session) -> None:
    """And it is due for a check if it is not finished."""
    key = SuiteKey("acmé", "shop", f"{next(numbers)}")
    page = ListEvidence(claimed=SuiteState(), sessions=[session], listed=[session])
    assert save_page(database, key, page, NOW).sessions == (session,)
    (loaded,) = load_sessions(database, key)
    assert loaded == session
    assert type(loaded.duration) is type(session.duration)
    assert not save_page(database, key, page, NOW).sessions
    for later, is_due in ((timedelta(0), False), (timedelta(days=1), not session.is_finished)):
        due = load_start(database, key, NOW + later, None).due
        assert [*due.items()] == [(session.relative_id, session.id)] * is_due


def test_only_sessions_of_a_branch_are_selected(database: DatabaseFile) -> None:
    refs = ((RefType.BRANCH, "main"), (RefType.BRANCH, "dev"), (RefType.TAG, "main"), (RefType.BRANCH, "a\0b"))
    sessions = [
        Session(id=f"{number}", relative_id=number, status=SessionStatus.ERROR, ref_type=kind, ref_name=name)
        for number, (kind, name) in enumerate(refs, 1)
    ]
    save_page(database, KEY, ListEvidence(claimed=SuiteState(), sessions=sessions), NOW)
    for branch, expected in (("main", 1), ("a\0b", 4)):
        assert [session.relative_id for session in load_sessions(database, KEY, branch=branch)] == [expected]


def test_columns_are_the_fields_of_the_api(database: DatabaseFile) -> None:
    key = ["workspace", "project", "suite_id"]
    names = [row[1] for row in query(Path(database.path), "PRAGMA table_info(sessions)")]
    assert names == [*key, *attrs.fields_dict(Session), "missing_since", "deleted_at"]
    names = [row[1] for row in query(Path(database.path), "PRAGMA table_info(suites)")]
    assert names == [*key, "name", "identifier", "html_url", "missing_since", "deleted_at"]


@pytest.mark.parametrize(
    "change", ["session_rows SET tests_count = 'many'", "session_rows SET id = X'FF'", "members SET member = '{'"]
)
async def test_saved_value_that_was_changed_is_reported(
    path: Path, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, change: str
) -> None:
    suite.create(created_by={"name": "Ada"})
    await sync(store, buddy)
    query(path, f"UPDATE {change}")
    with pytest.raises(StoreError, match="a saved value was changed, and is not valid any more"):
        await store.sessions(KEY)


async def test_names_of_tests_without_a_case_are_deleted(db: SyncedSuite) -> None:
    """With the sessions that had them; those of another suite stay."""
    date = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    db.suite.create(cases=[{"name": "old"}], create_date=date)
    db.suite.create(branch="main", cases=[{"name": "test"}])
    db.fake.add_suite(*OTHER_KEY).create(cases=[{"name": "other"}])
    await db.sync(KEY, OTHER_KEY, cases="all")
    assert await db.store.prune(older_than=timedelta(days=30)) == 1
    assert query(db.path, "SELECT name FROM tests ORDER BY name") == [("other",), ("test",)]
    assert query(db.path, "SELECT count(*) FROM case_rows") == [(2,)]
