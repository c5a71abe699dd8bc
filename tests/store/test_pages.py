"""The database: what is stored, what pages change, and which indexes the queries use."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buddy_sessions import CIProvider, Member, RefType, Session, SessionStatus, StoreError, Suite, SuiteKey
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.intervals import Interval, Intervals, contains
from buddy_sessions.store.messages import PageToSave, SavedPage, SessionId, SuiteState
from buddy_sessions.store.pages import finish_sync, load_suite, locate, mark_suite_missing, save_page
from buddy_sessions.store.plan import ReadRange
from buddy_sessions.store.sessions import is_listed, load_covered, load_sessions, load_suites, save_names
from buddy_sessions.store.watches import load_watch, save_watched, start_watch
from helpers.stores import KEY, OTHER_KEY, execute, make_due, marked_numbers, query

SURROGATE = "half \ud83d a pair \0"

TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
COUNTS = st.none() | st.integers(0, 2**63 - 1)
TEXTS = st.none() | st.text() | st.just(SURROGATE)
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
    id=st.none() | st.integers(-(2**63), 2**63 - 1),
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
def database(path: Path) -> Iterator[DatabaseFile]:
    opened = DatabaseFile(str(path))
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseFile]:
    """A database for the examples of a property: each uses a suite of its own."""
    opened = DatabaseFile(str(tmp_path_factory.mktemp("shared") / "sessions.db"))
    opened.open()
    yield opened
    opened.close()


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
    sessions: Iterable[Session],
    covers: Interval | None = None,
    *,
    key: SuiteKey = KEY,
    commit: int | None = None,
    listed: list[Session] | None = None,
    **fields: Any,
) -> SavedPage:
    """Save a page that claims what it proves. It was requested just before, unless the number of a commit is given."""
    saved = list(sessions)
    page = PageToSave(
        sessions=saved,
        listed=saved if listed is None else listed,
        commit=commit_of(database) if commit is None else commit,
        **{"proven": covers, "claimed": covers, **fields},
    )
    return save_page(database, key, page)


def sync_once(database: DatabaseFile, numbers: Iterable[int], covers: Interval) -> int | None:
    """Save a page as a whole sync. Return the number of that sync."""
    sync = save(database, new_sessions(*numbers), covers).sync
    if sync is not None:
        finish_sync(database, KEY, sync, None, 0)
    return sync


def covered(database: DatabaseFile, key: SuiteKey) -> Intervals:
    return tuple(load_covered(database, key))


def numbers_in(database: DatabaseFile, key: SuiteKey = KEY) -> list[int]:
    return [session.relative_id for session in load_sessions(database, key)]


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

    def test_changed_session_is_saved(self, database: DatabaseFile) -> None:
        save(database, new_sessions(3, 2, 1))
        changed = [new_session(2, tests_count=7), new_session(1, created_by=Member(name="John"))]
        assert save(database, [new_session(3), *changed]).changed == tuple(changed)
        assert load_sessions(database, KEY) == [new_session(3), *changed]

    def test_only_sessions_of_a_branch_can_be_selected(self, database: DatabaseFile) -> None:
        refs = [
            (RefType.BRANCH, "main"),
            (RefType.BRANCH, "feature"),
            (RefType.TAG, "main"),
            (RefType.BRANCH, SURROGATE),
        ]
        save(
            database,
            [new_session(number, ref_type=kind, ref_name=name) for number, (kind, name) in enumerate(refs, 1)],
        )
        for branch, expected in (("main", 1), (SURROGATE, 4)):
            assert [session.relative_id for session in load_sessions(database, KEY, branch=branch)] == [expected]

    def test_sessions_up_to_a_number_can_be_selected(self, database: DatabaseFile) -> None:
        save(database, new_sessions(9, 7, 6, 1))
        assert [session.relative_id for session in load_sessions(database, KEY, up_to=7)] == [7, 6, 1]
        assert [session.relative_id for session in load_sessions(database, KEY, up_to=8, limit=2)] == [7, 6]

    def test_newest_and_count_ignore_missing_sessions(self, database: DatabaseFile) -> None:
        assert load_suite(database, KEY).newest is None
        sync_once(database, (9, 8, 7, 1), (1, 9))
        sync_once(database, (8, 1), (8, 9))
        assert load_suite(database, KEY).newest == SessionId(8, "id8")
        assert load_suite(database, KEY).highest == 9
        parts = [ReadRange(number, number, 0) for number in (8, 7, 0)]
        assert [locate(database, KEY, part).offset for part in parts] == [0, 1, 3]
        sync_once(database, (8, 1), (8, 9))
        assert load_suite(database, KEY).highest == 8

    @pytest.mark.parametrize("change", ["session_rows SET tests_count = 'many'", "members SET member = '{'"])
    def test_changed_row_is_reported(self, database: DatabaseFile, path: Path, change: str) -> None:
        save(database, [new_session(1, created_by=Member(name="John"))])
        execute(path, f"UPDATE {change}")
        with pytest.raises(StoreError, match="was changed"), database.translate_errors():
            load_sessions(database, KEY)

    def test_missing_table_is_reported(self, database: DatabaseFile, path: Path) -> None:
        execute(path, "DROP VIEW sessions")
        with pytest.raises(StoreError, match="no such table"), database.translate_errors():
            load_sessions(database, KEY)

    def test_closed_database_is_reported(self, database: DatabaseFile) -> None:
        database.close()
        with pytest.raises(StoreError, match="is closed"):
            load_suites(database)


class TestUnfinishedSessions:
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

    def test_next_check_depends_on_the_age(self, database: DatabaseFile, path: Path) -> None:
        """Counted from the creation or else from the start."""
        hours = datetime.now(UTC) - timedelta(hours=5)
        times: list[dict[str, Any]] = [{}, {"create_date": hours}, {"start_date": hours}]
        save(database, [new_session(9 - place, SessionStatus.IN_PROGRESS, **each) for place, each in enumerate(times)])
        for minutes, due in ((5, [9]), (35, [9, 8, 7])):
            time = f"strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-{minutes} minutes')"
            execute(path, f"UPDATE session_rows SET checked_at = {time}")
            assert [number for number, _ in load_suite(database, KEY).due_checks] == due


class TestPages:
    def test_coverage_of_pages_adds_up(self, database: DatabaseFile) -> None:
        for covers in ((81, 100), (41, 60), (61, 80), (1, 20), None):
            save(database, [], covers, sync=1)
        assert covered(database, KEY) == ((1, 20), (41, 100))
        assert covered(database, OTHER_KEY) == ()

    def test_absent_session_is_missing_then_deleted(self, database: DatabaseFile, path: Path) -> None:
        save(database, new_sessions(3), key=OTHER_KEY)
        sync_once(database, range(5, 0, -1), (1, 5))
        first = save(database, new_sessions(5, 4, 2, 1), (1, 5)).sync
        for _ in range(2):
            assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([3], [])
            assert covered(database, KEY) == ((1, 2), (4, 5))
            assert numbers_in(database) == [5, 4, 3, 2, 1]
            save(database, new_sessions(5, 4, 2, 1), (1, 5), sync=first)
        save(database, new_sessions(4, 2), (2, 4))
        assert marked_numbers(path) == [3]
        assert query(path, "SELECT 1 FROM sessions WHERE deleted_at = missing_since") == [(1,)]
        assert covered(database, KEY) == ((1, 5),)
        assert numbers_in(database) == [5, 4, 2, 1]
        assert numbers_in(database, OTHER_KEY) == [3]

    def test_time_of_a_mark_is_iso_8601(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, (1,), (1, 1))
        save(database, [], (1, 1))
        ((time,),) = query(path, "SELECT missing_since FROM sessions")
        assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(time) < timedelta(minutes=1)

    @pytest.mark.parametrize("fields", [{}, {"tests_count": 7}], ids=["unchanged", "changed"])
    def test_missing_session_is_restored(self, database: DatabaseFile, path: Path, fields: dict[str, Any]) -> None:
        sync_once(database, (2, 1), (1, 2))
        sync_once(database, (1,), (1, 2))
        saved = save(database, [new_session(2, **fields), new_session(1)], (1, 2))
        assert (saved.restored, len(saved.changed), saved.is_contradiction) == (1, len(fields), False)
        assert marked_numbers(path, "missing_since") == []
        assert covered(database, KEY) == ((1, 2),)

    def test_deleted_session_that_reappears_drops_the_coverage(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, range(9, 0, -1), (1, 9))
        for _ in range(2):
            sync_once(database, (), (5, 5))
        assert marked_numbers(path) == [5]
        saved = save(database, new_sessions(6, 5), (5, 6))
        assert (saved.restored, saved.changed, saved.is_contradiction) == (1, (), True)
        assert (marked_numbers(path), marked_numbers(path, "missing_since")) == ([], [])
        assert covered(database, KEY) == ((5, 6),)

    def test_repair_keeps_the_coverage(self, database: DatabaseFile) -> None:
        sync_once(database, range(9, 0, -1), (1, 9))
        for _ in range(2):
            sync_once(database, (4,), (4, 5))
        assert not save(database, new_sessions(5), (5, 5), is_repair=True).is_contradiction
        assert covered(database, KEY) == ((1, 9),)

    def test_sessions_in_the_covered_range_should_be_known(self, database: DatabaseFile) -> None:
        sync_once(database, (3, 1), (1, 3))
        assert save(database, new_sessions(4, 2), (2, 4)).unsaved == 1

    def test_range_that_is_claimed_with_the_next_page(self, database: DatabaseFile, path: Path) -> None:
        """Page 1 ends where the coverage begins. Page 2 shows that it is the same list, and claims both ranges."""
        sync_once(database, (3, 2, 1), (1, 3))
        save(database, new_sessions(5))
        first = save(database, new_sessions(7, 6, 4), (4, 7))
        assert first.is_held
        assert covered(database, KEY) == ((1, 3),)
        assert marked_numbers(path, "missing_since") == [5]
        assert not save(database, new_sessions(3, 2), (2, 3), claimed=(2, 7), sync=first.sync).is_held
        assert covered(database, KEY) == ((1, 4), (6, 7))

    def test_page_that_claims_nothing_marks_missing_sessions(self, database: DatabaseFile, path: Path) -> None:
        save(database, new_sessions(3, 2), (2, 3))
        save(database, [], (1, 2), claimed=None)
        assert marked_numbers(path, "missing_since") == [2]
        assert covered(database, KEY) == ((3, 3),)

    def test_outdated_first_page_drops_the_coverage_above_its_top(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, range(9, 0, -1), (1, 9))
        page = new_sessions(7, 6)
        saved = save(database, page, (6, 7), listed=page, is_first=True)
        assert saved.is_stale
        assert covered(database, KEY) == ((1, 7),)
        assert marked_numbers(path, "missing_since") == []

    def test_first_page_is_not_compared_with_newer_sessions(self, database: DatabaseFile) -> None:
        """Another sync has read the list after the page was requested."""
        sync_once(database, (2, 1), (1, 2))
        commit = commit_of(database)
        sync_once(database, (3, 2), (2, 3))
        page = new_sessions(2, 1)
        assert not save(database, page, (1, 2), commit=commit, listed=page, is_first=True).is_stale
        assert covered(database, KEY) == ((1, 3),)

    @pytest.mark.parametrize("is_empty", [False, True])
    def test_first_page_of_a_recreated_suite_drops_the_coverage(
        self, database: DatabaseFile, path: Path, is_empty: bool
    ) -> None:
        sync_once(database, (3, 2, 1), (1, 3))
        page = [] if is_empty else [attrs.evolve(new_session(1), id="another")]
        saved = save(database, page, None if is_empty else (1, 1), listed=page, is_first=True)
        assert (saved.is_contradiction, saved.changed) == (True, tuple(page))
        assert covered(database, KEY) == ()
        assert marked_numbers(path, "missing_since") == [1, 2, 3]

    def test_omitted_sessions_of_the_first_page_are_not_saved(self, database: DatabaseFile) -> None:
        """They are older than a time, or below a number, but show that the list is the known one."""
        sync_once(database, (2, 1), (1, 2))
        assert not save(database, [], listed=new_sessions(2), is_first=True).is_contradiction
        assert save(database, [], listed=new_sessions(1), is_first=True).is_stale
        assert save(database, [], listed=[attrs.evolve(new_session(1), id="another")], is_first=True).is_contradiction
        assert numbers_in(database) == [2, 1]

    def test_failed_page_changes_nothing(self, database: DatabaseFile) -> None:
        with pytest.raises(StoreError, match="64 bits"), database.translate_errors():
            save(database, [new_session(2), new_session(1, tests_count=2**63)], (1, 2))
        assert (numbers_in(database), covered(database, KEY), load_suites(database)) == ([], (), [])


class TestWrites:
    @pytest.fixture
    def versions(self, database: DatabaseFile, path: Path) -> Iterator[Any]:
        """Return a function that returns the version of the data, as another connection sees it."""
        with closing(sqlite3.connect(path)) as other:
            yield lambda: other.execute("PRAGMA data_version").fetchone()

    @pytest.mark.parametrize("sync", [None, 7])
    def test_unchanged_page_writes_nothing(self, database: DatabaseFile, versions: Any, sync: int | None) -> None:
        sync_once(database, (3, 2, 1), (1, 3))
        before = versions()
        page = new_sessions(3, 2)
        assert save(database, page, (2, 3), sync=sync, listed=page, is_first=True) == SavedPage(sync=sync)
        assert save(database, new_sessions(1), sync=sync) == SavedPage(sync=sync)
        assert versions() == before

    def test_empty_suite_is_saved_once(self, database: DatabaseFile, versions: Any) -> None:
        assert save(database, [], listed=[], is_first=True).sync == 1
        before = versions()
        assert save(database, [], listed=[], is_first=True).sync is None
        assert versions() == before
        assert [suite.key for suite in load_suites(database)] == [KEY]

    def test_each_change_has_a_commit(self, database: DatabaseFile) -> None:
        first = save(database, new_sessions(1))
        second = save(database, new_sessions(2), sync=first.sync)
        assert (first.sync, second.sync, commit_of(database)) == (1, 1, 2)
        assert save(database, new_sessions(3)).sync == 3


class TestOlderPages:
    """A page was requested before another sync saved something."""

    def test_newer_values_are_kept(self, database: DatabaseFile) -> None:
        save(database, new_sessions(1))
        commit = commit_of(database)
        save(database, [new_session(1, tests_count=2)])
        assert save(database, [new_session(1, tests_count=1)], commit=commit) == SavedPage(sync=None)
        assert load_sessions(database, KEY) == [new_session(1, tests_count=2)]

    def test_newer_marks_are_kept(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, (2, 1), (1, 2))
        commit = commit_of(database)
        sync_once(database, (2,), (1, 2))
        assert save(database, new_sessions(2, 1), (1, 2), commit=commit) == SavedPage(sync=None)
        assert marked_numbers(path, "missing_since") == [1]

    def test_newer_sessions_are_not_missing(self, database: DatabaseFile, path: Path) -> None:
        sync = save(database, new_sessions(3, 1), (1, 3)).sync
        save(database, new_sessions(2), commit=0)
        save(database, new_sessions(3, 1), (1, 3), commit=0, sync=sync)
        assert marked_numbers(path, "missing_since") == []

    def test_own_values_are_changed(self, database: DatabaseFile) -> None:
        first = save(database, [new_session(1, tests_count=1)], commit=0)
        changed = new_session(1, tests_count=2)
        assert save(database, [changed], commit=0, sync=first.sync).changed == (changed,)

    def test_coverage_that_another_sync_has_dropped_is_not_claimed(self, database: DatabaseFile) -> None:
        sync_once(database, (3, 2, 1), (1, 3))
        commit = commit_of(database)
        dropping = sync_once(database, (3, 1), (1, 3))
        saved = save(database, new_sessions(4, 3, 2), (2, 4), commit=commit)
        assert [session.relative_id for session in saved.changed] == [4]
        assert covered(database, KEY) == ((1, 1), (3, 3))
        save(database, new_sessions(4, 3), (3, 4), commit=commit, sync=dropping)
        assert covered(database, KEY) == ((1, 1), (3, 4))
        save(database, new_sessions(4, 3, 2, 1), (1, 4))
        assert covered(database, KEY) == ((1, 4),)

    def test_two_syncs_that_drop_coverage_do_not_overrule_themselves(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, range(9, 0, -1), (1, 9))
        commit = commit_of(database)
        first = save(database, new_sessions(9, 7), (7, 9)).sync
        first_commit = commit_of(database)
        save(database, new_sessions(3, 1), (1, 3), commit=commit)
        save(database, new_sessions(3, 2, 1), (1, 3), commit=first_commit, sync=first)
        missing = marked_numbers(path, "missing_since")
        assert [number for number in missing if contains(covered(database, KEY), number)] == []


class TestEndOfSync:
    def test_unverified_sync_withdraws_its_own_claims(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, (9, 8, 5, 4, 3, 2, 1), (1, 5))
        other = save(database, new_sessions(5, 4, 2, 1), (1, 6))
        sync = save(database, new_sessions(9, 8), (8, 9)).sync
        save(database, new_sessions(5, 4, 2), (1, 5), sync=sync)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([1, 3], [3])
        save(database, new_sessions(10), sync=sync, withdraws_claims=True)
        assert (marked_numbers(path, "missing_since"), marked_numbers(path)) == ([3], [])
        assert query(path, "SELECT missing_by FROM session_rows WHERE missing_since IS NOT NULL") == [(other.sync,)]
        assert covered(database, KEY) == ((2, 2), (4, 6))
        assert numbers_in(database)[:2] == [10, 9]

    def test_ended_sync_keeps_its_claims(self, database: DatabaseFile) -> None:
        sync = sync_once(database, (1,), (1, 5))
        save(database, new_sessions(6), (6, 6), sync=sync, withdraws_claims=True)
        assert covered(database, KEY) == ((1, 5),)

    def test_end_of_a_sync_changes_no_other_claims(self, database: DatabaseFile, path: Path) -> None:
        other = save(database, [], (1, 5)).sync
        sync = save(database, [], (7, 9)).sync
        assert sync is not None
        finish_sync(database, KEY, sync, None, 0)
        assert query(path, "SELECT sync, low, high FROM covered ORDER BY low") == [(other, 1, 5), (None, 7, 9)]

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
            numbers, covers, is_first = step
            low, high = min(covers), max(covers)
            page = new_sessions(*(number for number in numbers if low <= number <= high))
            syncs[writer] = save(
                shared_database,
                page,
                (low, high),
                key=key,
                commit=commits[writer],
                sync=syncs[writer],
                is_first=is_first,
            ).sync
            missing = "missing_since IS NOT NULL AND deleted_at IS NULL"
            rows = query(path, f"SELECT relative_id FROM sessions WHERE suite_id = '{key.suite_id}' AND {missing}")
            assert [number for (number,) in rows if contains(covered(shared_database, key), number)] == []


class TestSuites:
    def test_unknown_suite(self, database: DatabaseFile) -> None:
        state = SuiteState()
        assert load_suite(database, KEY) == state
        assert mark_suite_missing(database, KEY, None, commit=commit_of(database)) is None
        assert load_suites(database) == []

    def test_missing_suite_is_deleted_by_another_sync(self, database: DatabaseFile, path: Path) -> None:
        sync_once(database, (2, 1), (1, 2))
        sql = "SELECT missing_since IS NULL, deleted_at IS NULL, deleted_at = missing_since FROM suites"
        first = mark_suite_missing(database, KEY, None, commit=commit_of(database))
        assert first == commit_of(database) == 2
        assert mark_suite_missing(database, KEY, first, commit=commit_of(database)) == first
        assert query(path, sql) == [(0, 1, None)]
        second = mark_suite_missing(database, KEY, None, commit=commit_of(database))
        assert second == commit_of(database) == 3
        assert query(path, sql) == [(0, 0, 1)]
        assert mark_suite_missing(database, KEY, None, commit=commit_of(database)) is None
        assert (numbers_in(database), covered(database, KEY)) == ([2, 1], ((1, 2),))

    @pytest.mark.parametrize("times", [1, 2], ids=["missing", "deleted"])
    def test_suite_is_found_again(self, database: DatabaseFile, path: Path, times: int) -> None:
        sync_once(database, (2, 1), (1, 2))
        for _ in range(times):
            mark_suite_missing(database, KEY, None, commit=commit_of(database))
        assert save(database, new_sessions(2)).changed == ()
        assert query(path, "SELECT missing_since, missing_by, deleted_at FROM suites") == [(None, None, None)]

    def test_names_are_those_of_the_last_listing(self, database: DatabaseFile) -> None:
        listed = [Suite(key=key, id=key.suite_id, name="Old", html_url="https://x") for key in (KEY, OTHER_KEY)]
        save_names(database, "acme", "shop", listed)
        assert load_suites(database) == []
        save(database, [])
        assert load_suites(database) == [listed[0]]
        renamed = attrs.evolve(listed[0], name=SURROGATE, identifier="new", html_url=None)
        save_names(database, "acme", "shop", [renamed])
        assert load_suites(database) == [renamed]
        save(database, [], key=OTHER_KEY)
        assert load_suites(database) == [renamed, listed[1]]

    def test_listing_is_valid_for_a_day(self, database: DatabaseFile, path: Path) -> None:
        assert not is_listed(database, "acme", "shop")
        for _ in range(2):
            save_names(database, "acme", "shop", [])
            assert is_listed(database, "acme", "shop")
            assert not is_listed(database, "acme", "other")
            execute(path, "UPDATE projects SET listed_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-25 hours')")
            assert not is_listed(database, "acme", "shop")

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            ({}, (datetime(2026, 1, 1, tzinfo=UTC), 7)),
            ({"withdraws_claims": True}, (None, 0)),
            ({"sessions": [attrs.evolve(new_session(9), id="another")]}, (None, 0)),
        ],
        ids=["next-page", "list-out-of-order", "another-list"],
    )
    def test_older_sessions_are_remembered(
        self, database: DatabaseFile, event: dict[str, Any], expected: tuple[datetime | None, int]
    ) -> None:
        time = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
        sync = save(database, new_sessions(9), (9, 9), older=(time, 7)).sync
        save(database, **{"sessions": new_sessions(10, 9), "covers": (9, 10), "sync": sync, **event})
        state = load_suite(database, KEY)
        assert (state.older_than, state.older_id) == expected

    def test_older_sessions_of_an_overruled_page_are_forgotten(self, database: DatabaseFile) -> None:
        sync_once(database, (3, 2, 1), (1, 3))
        commit = commit_of(database)
        sync_once(database, (3, 1), (1, 3))
        save(database, [], older=(datetime.now(UTC), 1), commit=commit)
        assert load_suite(database, KEY).older_than is None


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
        save(database, new_sessions(2), (1, 2), listed=new_sessions(2), is_first=True, withdraws_claims=True)
        save(database, new_sessions(2), (1, 2))
        save(database, [], (1, 2))
        load_suite(database, KEY)
        locate(database, KEY, ReadRange(1, 1, 0, ends_at_living=True))
        load_sessions(database, KEY)
        load_sessions(database, KEY, up_to=1, limit=1)
        save(database, [], checked=(1, 2))
        save(database, [], older=(datetime.now(UTC), 1))
        for _ in range(2):
            mark_suite_missing(database, KEY, None, commit=commit_of(database))
        is_listed(database, "acme", "shop")
        start_watch(database, KEY, "", new_sessions(1))
        save_watched(database, KEY, "", new_session(1))
        load_watch(database, KEY, "")
        database.close()
        statements = {sql.strip() for sql in executed if sql.strip().startswith(("SELECT", "UPDATE", "DELETE"))}
        plans = {sql: str(query(path, f"EXPLAIN QUERY PLAN {sql}")) for sql in statements if "commits" not in sql}
        assert len(plans) >= 25
        assert [sql for sql, plan in plans.items() if "SEARCH" not in plan or "SCAN" in plan] == []
        assert [sql for sql, plan in plans.items() if "TEMP B-TREE" in plan and "FROM covered" not in sql] == []
        assert any("INDEX sessions_unfinished" in plan for plan in plans.values())
        assert any("INDEX sessions_newest" in plan for plan in plans.values())
