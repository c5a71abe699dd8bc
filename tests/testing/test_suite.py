"""`FakeSuite`: changes to its sessions, and the pages that show them."""

import json
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.testing import FakeSuite

FIELDS = [
    *("url", "html_url", "id", "relative_id", "create_date", "start_date", "created_by", "ci_provider", "revision"),
    *("ref_type", "ref_name", "execution_id", "action_execution_id", "status", "duration", "tests_count"),
    *("failed_count", "skipped_count", "error_count"),
]
"""The fields that every session has, in the documented order."""
UNTIL = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)


@pytest.fixture
def suite() -> FakeSuite:
    return FakeSuite("acme", "shop", "MNbyVedg")


def relative_ids(page: dict[str, Any]) -> list[int]:
    return [session["relative_id"] for session in page["sessions"]]


def test_created_session_has_the_documented_fields(suite: FakeSuite) -> None:
    assert list(suite.create()) == FIELDS


def test_created_session_has_realistic_values(suite: FakeSuite) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    session = suite.create(branch="develop")
    assert session["html_url"] == f"https://app.buddy.works/acme/shop/unit-tests/MNbyVedg/{session['id']}"
    assert session["url"] == (
        f"https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions/{session['id']}"
    )
    assert (session["ref_type"], session["ref_name"]) == ("BRANCH", "develop")
    assert session["status"] == "IN_PROGRESS"
    assert len(session["revision"]) == 40
    assert before <= datetime.fromisoformat(session["create_date"]) <= datetime.now(UTC)
    assert session["tests_count"] == 0


def test_session_created_as_finished_has_counts(suite: FakeSuite) -> None:
    assert suite.create(status="SUCCESSFUL")["tests_count"] > 0
    assert suite.create(status="ERROR")["failed_count"] == 1
    skipped = suite.create(status="SKIPPED")
    assert skipped["skipped_count"] == skipped["tests_count"] > 0


def test_optional_fields_keep_the_documented_order(suite: FakeSuite) -> None:
    session = suite.create(
        error_message="boom", status="ERROR", ci_run_url="https://ci/1", finish_date=None, is_new="yes"
    )
    names = list(session)
    assert names.index("finish_date") == names.index("start_date") + 1
    assert names.index("ci_run_url") == names.index("ci_provider") + 1
    assert names.index("error_message") == names.index("status") + 1
    assert names[-1] == "is_new"
    assert session["finish_date"] is None


def test_relative_ids_are_never_reused(suite: FakeSuite) -> None:
    first, second = suite.create(), suite.create()
    suite.delete(second["id"])
    assert [first["relative_id"], suite.create()["relative_id"]] == [1, 3]
    assert suite.create(relative_id=41)["relative_id"] == 41
    assert suite.create(relative_id=7)["relative_id"] == 7
    assert suite.create(relative_id=None)["relative_id"] is None
    assert suite.create()["relative_id"] == 42


def test_duplicate_id_is_rejected(suite: FakeSuite) -> None:
    suite.create(id="YDnagwGk")
    with pytest.raises(ValueError, match="acme/shop/MNbyVedg already has a session 'YDnagwGk'"):
        suite.create(id="YDnagwGk")
    assert len(suite.sessions) == 1


def test_sessions_are_newest_first(suite: FakeSuite) -> None:
    created = [suite.create() for _ in range(3)]
    assert list(suite.sessions) == created[::-1]


def test_returned_sessions_are_copies(suite: FakeSuite) -> None:
    created = suite.create()
    listed, paged = suite.sessions[0], suite.page(1, 1)["sessions"][0]
    finished = suite.finish(created["id"])
    assert created["status"] == listed["status"] == paged["status"] == "IN_PROGRESS"
    for copy in (created, listed, paged, finished, suite.sessions[0], suite.page(1, 1)["sessions"][0]):
        copy["status"] = "nonsense"
    assert suite.sessions[0]["status"] == "SUCCESSFUL"


def test_snapshot_does_not_change(suite: FakeSuite) -> None:
    suite.populate(3)
    before, snapshot = suite.sessions, suite.snapshot()
    suite.create()
    suite.finish(before[0]["id"], "ERROR", error_message="boom")
    suite.delete(before[1]["id"])
    assert list(snapshot) == list(before)
    assert suite.snapshot()[1]["error_message"] == "boom"
    newest: Any = snapshot[0]
    with pytest.raises(TypeError):
        newest["status"] = "nonsense"


def test_finish_sets_date_duration_and_counts(suite: FakeSuite) -> None:
    started = (datetime.now(UTC) - timedelta(seconds=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    session = suite.create(start_date=started)
    finished = suite.finish(session["id"], "ERROR", error_message="boom")
    assert finished["status"] == "ERROR"
    assert finished["error_message"] == "boom"
    assert 89 <= finished["duration"] <= 100
    assert finished["finish_date"] > started
    assert finished["tests_count"] > 0
    assert finished["failed_count"] == 1
    assert list(finished).index("finish_date") == list(finished).index("start_date") + 1


def test_finish_keeps_the_given_fields(suite: FakeSuite) -> None:
    session = suite.create(start_date=None, tests_count=5)
    finished = suite.finish(session["id"], duration=12, finish_date="2030-01-01T00:00:00Z")
    assert (finished["duration"], finished["finish_date"]) == (12, "2030-01-01T00:00:00Z")
    assert (finished["tests_count"], finished["status"]) == (5, "SUCCESSFUL")


def test_reopen_removes_what_finish_set(suite: FakeSuite) -> None:
    session = suite.create()
    suite.finish(session["id"], "ERROR", error_message="boom")
    reopened = suite.reopen(session["id"])
    assert reopened["status"] == "IN_PROGRESS"
    assert "finish_date" not in reopened
    assert "error_message" not in reopened
    assert suite.reopen(session["id"]) == reopened


def test_delete(suite: FakeSuite) -> None:
    created = [suite.create() for _ in range(3)]
    suite.delete(created[1]["id"])
    assert list(suite.sessions) == [created[2], created[0]]


@pytest.mark.parametrize("method", ["finish", "reopen", "delete"])
def test_unknown_session_is_rejected(suite: FakeSuite, method: str) -> None:
    with pytest.raises(KeyError, match="acme/shop/MNbyVedg has no session 'nope'"):
        getattr(suite, method)("nope")


def test_names_are_percent_encoded_in_urls() -> None:
    suite = FakeSuite("a b", "c/d", "é?")
    assert suite.url == "https://api.buddy.works/workspaces/a%20b/projects/c%2Fd/unit-tests/suites/%C3%A9%3F"
    assert suite.html_url == "https://app.buddy.works/a%20b/c%2Fd/unit-tests/%C3%A9%3F"


def test_repr(suite: FakeSuite) -> None:
    assert repr(suite.populate(3)) == "<FakeSuite acme/shop/MNbyVedg with 3 sessions>"


def test_summary_has_the_documented_shape() -> None:
    suite = FakeSuite("acme", "shop", "65OmRb8v", name="Jest", identifier="jest", app_url="https://app.eu")
    assert list(suite.summary().items()) == [
        ("url", "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/65OmRb8v"),
        ("html_url", "https://app.eu/acme/shop/unit-tests/65OmRb8v"),
        ("id", "65OmRb8v"),
        ("name", "Jest"),
        ("identifier", "jest"),
    ]


def test_populate_continues_the_history(suite: FakeSuite) -> None:
    suite.populate(50, until=UNTIL - timedelta(days=30))
    suite.populate(50, until=UNTIL)
    oldest_first = list(reversed(suite.sessions))
    assert [session["relative_id"] for session in oldest_first] == list(range(1, 101))
    dates = [session["create_date"] for session in oldest_first]
    assert dates == sorted(dates)
    assert abs(oldest_first[50]["tests_count"] - oldest_first[48]["tests_count"]) < 30


def test_populate_fits_sessions_into_a_short_interval(suite: FakeSuite) -> None:
    oldest_first = list(
        reversed(suite.populate(1, until=UNTIL).populate(50, until=UNTIL + timedelta(minutes=1)).sessions)
    )
    dates = [datetime.fromisoformat(session["create_date"]) for session in oldest_first]
    assert dates == sorted(dates)
    assert len(set(dates)) > 20
    assert not any(session["status"] == "IN_PROGRESS" for session in oldest_first[:-1])
    for created, session in zip(dates, oldest_first[:-1], strict=False):
        assert created + timedelta(seconds=session["duration"]) <= UNTIL + timedelta(minutes=1)


def test_created_session_is_never_older_than_the_newest(suite: FakeSuite) -> None:
    newest = suite.populate(3, until=datetime.now(UTC) + timedelta(days=9)).sessions[0]
    created = suite.create()
    assert created["create_date"] >= newest["create_date"]
    assert suite.finish(created["id"])["duration"] == 0


def test_populate_ends_now(suite: FakeSuite) -> None:
    sessions = suite.populate(20).populate(20).sessions
    newest = datetime.fromisoformat(sessions[0]["create_date"])
    assert timedelta(0) <= datetime.now(UTC) - newest < timedelta(days=4)
    assert sessions[0]["create_date"] >= sessions[-1]["create_date"]
    assert suite.create()["create_date"] >= sessions[0]["create_date"]


def test_populate_rejects_a_time_without_zone(suite: FakeSuite) -> None:
    with pytest.raises(ValueError, match="time zone"):
        suite.populate(1, until=UNTIL.replace(tzinfo=None))


def test_populate_rejects_a_time_before_the_newest_session(suite: FakeSuite) -> None:
    suite.populate(1, until=UNTIL)
    with pytest.raises(ValueError, match="sessions up to 2026-01-30"):
        suite.populate(1, until=UNTIL - timedelta(days=30))


def test_pages_are_newest_first_and_empty_past_the_end(suite: FakeSuite) -> None:
    suite.populate(7)
    assert [relative_ids(suite.page(number, 3)) for number in (1, 2, 3, 4)] == [[7, 6, 5], [4, 3, 2], [1], []]
    assert suite.page(10**8, 10**8)["sessions"] == []


def test_branch_filter_excludes_tags_and_pull_requests(suite: FakeSuite) -> None:
    refs = [("main", "BRANCH"), ("dev", "BRANCH"), ("main", "TAG"), ("main", "PULL_REQUEST")]
    for branch, ref_type in refs * 2:
        suite.create(branch=branch, ref_type=ref_type)
    assert relative_ids(suite.page(1, 20, branch="main")) == [5, 1]
    assert relative_ids(suite.page(2, 1, branch="main")) == [1]
    assert relative_ids(suite.page(1, 20, branch="none")) == []


@given(st.lists(st.tuples(st.sampled_from(["create", "finish", "reopen", "delete"]), st.integers(0)), max_size=40))
def test_concatenated_pages_equal_the_sessions(steps: list[tuple[str, int]]) -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    expected_ids: list[str] = []
    for step, position in steps:
        if step == "create" or not expected_ids:
            expected_ids.insert(0, suite.create()["id"])
            continue
        session_id = expected_ids[position % len(expected_ids)]
        getattr(suite, step)(session_id)
        if step == "delete":
            expected_ids.remove(session_id)
    pages = [suite.page(number, 3)["sessions"] for number in range(1, 16)]
    assert [session for page in pages for session in page] == list(suite.sessions)
    assert [session["id"] for session in suite.sessions] == expected_ids
    page = suite.page(1, 100)
    assert relative_ids(page) == sorted(set(relative_ids(page)), reverse=True)
    assert json.loads(json.dumps(page)) == page


@pytest.fixture
def frequent_thread_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_thread_switches")
class TestThreads:
    @pytest.mark.parametrize("branch", [None, "main"])
    def test_reader_sees_each_change_as_a_whole(self, suite: FakeSuite, branch: str | None) -> None:
        session_ids = deque(suite.create()["id"] for _ in range(100))

        def replace_sessions() -> None:
            for _ in range(10_000):
                session_ids.append(suite.create()["id"])
                suite.delete(session_ids.popleft())

        with ThreadPoolExecutor(1) as thread:
            writing = thread.submit(replace_sessions)
            while not writing.done():
                listed = [session["relative_id"] for session in suite.sessions]
                for numbers in (relative_ids(suite.page(1, 200, branch=branch)), listed):
                    assert len(numbers) in {100, 101}
                    assert numbers == list(range(numbers[0], numbers[0] - len(numbers), -1))
            writing.result()

    def test_no_change_is_lost(self, suite: FakeSuite) -> None:
        session_id = suite.create()["id"]

        def change_session(thread: int) -> None:
            field = f"field_{thread}"  # written by this thread only
            for number in range(3000):
                assert suite.finish(session_id, "ERROR", **{field: number})[field] == number
                assert suite.reopen(session_id)[field] == number
                assert suite.sessions[0][field] == number

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(change_session, range(4)))

    def test_no_number_is_used_twice(self, suite: FakeSuite) -> None:
        def add_sessions(_: int) -> None:
            for _ in range(500):
                suite.populate(1)
                suite.create()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add_sessions, range(4)))
        assert relative_ids(suite.page(1, 5000)) == list(range(4000, 0, -1))
