"""A suite of the fake Buddy: what tests may do to its sessions, and what its pages show then."""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.testing import FakeSuite
from buddy_sessions.testing.data import Session

ALWAYS = [
    *(
        "url",
        "html_url",
        "id",
        "relative_id",
        "create_date",
        "start_date",
        "created_by",
        "ci_provider",
        "revision",
    ),
    *("ref_type", "ref_name", "execution_id", "action_execution_id", "status", "duration", "tests_count"),
    *("failed_count", "skipped_count", "error_count"),
]
UNTIL = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)


@pytest.fixture
def suite() -> FakeSuite:
    return FakeSuite("acme", "shop", "MNbyVedg")


def ids(page: dict[str, Any]) -> list[int]:
    return [session["relative_id"] for session in page["sessions"]]


def test_a_created_session_has_the_fields_that_are_always_shown_in_their_order(suite: FakeSuite) -> None:
    assert list(suite.create()) == ALWAYS


def test_a_created_session_has_sensible_values(suite: FakeSuite) -> None:
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


def test_a_session_created_finished_has_run_tests(suite: FakeSuite) -> None:
    assert suite.create(status="SUCCESSFUL")["tests_count"] > 0
    assert suite.create(status="ERROR")["failed_count"] == 1
    skipped = suite.create(status="SKIPPED")
    assert skipped["skipped_count"] == skipped["tests_count"] > 0


def test_any_field_can_be_given_and_optional_ones_stand_where_the_api_puts_them(suite: FakeSuite) -> None:
    session = suite.create(
        error_message="boom", status="ERROR", ci_run_url="https://ci/1", finish_date=None, is_new="yes"
    )
    names = list(session)
    assert names.index("finish_date") == names.index("start_date") + 1
    assert names.index("ci_run_url") == names.index("ci_provider") + 1
    assert names.index("error_message") == names.index("status") + 1
    assert names[-1] == "is_new"
    assert session["finish_date"] is None


def test_relative_ids_count_up_and_are_never_used_again(suite: FakeSuite) -> None:
    first, second = suite.create(), suite.create()
    suite.delete(second["id"])
    assert [first["relative_id"], suite.create()["relative_id"]] == [1, 3]
    assert suite.create(relative_id=41)["relative_id"] == 41
    assert suite.create(relative_id=7)["relative_id"] == 7
    assert suite.create(relative_id=None)["relative_id"] is None
    assert suite.create()["relative_id"] == 42


def test_an_id_is_taken_once(suite: FakeSuite) -> None:
    suite.create(id="YDnagwGk")
    with pytest.raises(ValueError, match="acme/shop/MNbyVedg has a session 'YDnagwGk' already"):
        suite.create(id="YDnagwGk")
    assert len(suite.sessions) == 1


def test_sessions_are_newest_first(suite: FakeSuite) -> None:
    created = [suite.create() for _ in range(3)]
    assert list(suite.sessions) == created[::-1]


def test_what_was_handed_out_stays_as_it_was(suite: FakeSuite) -> None:
    created = suite.create()
    listed, paged = suite.sessions[0], suite.page(1, 1)["sessions"][0]
    finished = suite.finish(created["id"])
    assert created["status"] == listed["status"] == paged["status"] == "IN_PROGRESS"
    for copy in (created, listed, paged, finished, suite.sessions[0], suite.page(1, 1)["sessions"][0]):
        copy["status"] = "nonsense"
    assert suite.sessions[0]["status"] == "SUCCESSFUL"


def test_finishing_sets_the_end_the_duration_and_the_counts(suite: FakeSuite) -> None:
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


def test_what_is_given_to_finish_wins(suite: FakeSuite) -> None:
    session = suite.create(start_date=None, tests_count=5)
    finished = suite.finish(session["id"], duration=12, finish_date="2030-01-01T00:00:00Z")
    assert (finished["duration"], finished["finish_date"]) == (12, "2030-01-01T00:00:00Z")
    assert (finished["tests_count"], finished["status"]) == (5, "SUCCESSFUL")


def test_reopening_takes_the_end_back(suite: FakeSuite) -> None:
    session = suite.create()
    suite.finish(session["id"], "ERROR", error_message="boom")
    reopened = suite.reopen(session["id"])
    assert reopened["status"] == "IN_PROGRESS"
    assert "finish_date" not in reopened
    assert "error_message" not in reopened
    assert suite.reopen(session["id"]) == reopened


def test_deleting_removes_a_session(suite: FakeSuite) -> None:
    created = [suite.create() for _ in range(3)]
    suite.delete(created[1]["id"])
    assert list(suite.sessions) == [created[2], created[0]]


@pytest.mark.parametrize("method", ["finish", "reopen", "delete"])
def test_an_unknown_session_is_named(suite: FakeSuite, method: str) -> None:
    with pytest.raises(KeyError, match="acme/shop/MNbyVedg has no session 'nope'"):
        getattr(suite, method)("nope")


def test_names_are_quoted_in_urls() -> None:
    suite = FakeSuite("a b", "c/d", "é?")
    assert suite.url == "https://api.buddy.works/workspaces/a%20b/projects/c%2Fd/unit-tests/suites/%C3%A9%3F"
    assert suite.html_url == "https://app.buddy.works/a%20b/c%2Fd/unit-tests/%C3%A9%3F"


def test_repr_tells_the_suite_and_its_size(suite: FakeSuite) -> None:
    assert repr(suite.populate(3)) == "<FakeSuite acme/shop/MNbyVedg with 3 sessions>"


def test_the_summary_has_the_documented_shape() -> None:
    suite = FakeSuite("acme", "shop", "65OmRb8v", name="Jest", identifier="jest", app_url="https://app.eu")
    assert list(suite.summary().items()) == [
        ("url", "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/65OmRb8v"),
        ("html_url", "https://app.eu/acme/shop/unit-tests/65OmRb8v"),
        ("id", "65OmRb8v"),
        ("identifier", "jest"),
        ("name", "Jest"),
    ]


def test_populate_goes_on_where_it_stopped(suite: FakeSuite) -> None:
    suite.populate(50, until=UNTIL - timedelta(days=30))
    suite.populate(50, until=UNTIL)
    oldest_first = list(reversed(suite.sessions))
    assert [session["relative_id"] for session in oldest_first] == list(range(1, 101))
    dates = [session["create_date"] for session in oldest_first]
    assert dates == sorted(dates)
    assert abs(oldest_first[50]["tests_count"] - oldest_first[48]["tests_count"]) < 30


def test_populate_packs_sessions_where_there_is_little_room(suite: FakeSuite) -> None:
    oldest_first = list(
        reversed(suite.populate(1, until=UNTIL).populate(50, until=UNTIL + timedelta(minutes=1)).sessions)
    )
    dates = [datetime.fromisoformat(session["create_date"]) for session in oldest_first]
    assert dates == sorted(dates)
    assert len(set(dates)) > 20
    assert not any(session["status"] == "IN_PROGRESS" for session in oldest_first[:-1])
    for created, session in zip(dates, oldest_first[:-1], strict=False):
        assert created + timedelta(seconds=session["duration"]) <= UNTIL + timedelta(minutes=1)


def test_a_session_created_now_is_no_older_than_the_newest(suite: FakeSuite) -> None:
    newest = suite.populate(3, until=datetime.now(UTC) + timedelta(days=9)).sessions[0]
    created = suite.create()
    assert created["create_date"] >= newest["create_date"]
    assert suite.finish(created["id"])["duration"] == 0


def test_populate_ends_now_and_can_be_called_twice_in_a_row(suite: FakeSuite) -> None:
    sessions = suite.populate(20).populate(20).sessions
    newest = datetime.fromisoformat(sessions[0]["create_date"])
    assert timedelta(0) <= datetime.now(UTC) - newest < timedelta(days=4)
    assert sessions[0]["create_date"] >= sessions[-1]["create_date"]
    assert suite.create()["create_date"] >= sessions[0]["create_date"]


def test_populate_refuses_a_time_without_zone(suite: FakeSuite) -> None:
    with pytest.raises(ValueError, match="time zone"):
        suite.populate(1, until=UNTIL.replace(tzinfo=None))


def test_populate_refuses_to_go_back_in_time(suite: FakeSuite) -> None:
    suite.populate(1, until=UNTIL)
    with pytest.raises(ValueError, match="sessions up to 2026-01-30"):
        suite.populate(1, until=UNTIL - timedelta(days=30))


def test_pages_are_cut_newest_first_and_end_empty(suite: FakeSuite) -> None:
    suite.populate(7)
    assert [ids(suite.page(number, 3)) for number in (1, 2, 3, 4)] == [[7, 6, 5], [4, 3, 2], [1], []]
    assert suite.page(10**8, 10**8)["sessions"] == []


def test_a_page_names_its_suite(suite: FakeSuite) -> None:
    page = suite.page(1, 20)
    assert list(page) == ["url", "html_url", "sessions"]
    assert page["url"] == "https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/MNbyVedg/sessions"
    assert page["html_url"] == "https://app.buddy.works/acme/shop/unit-tests/MNbyVedg"


def test_a_filter_shows_that_branch_and_neither_tags_nor_pull_requests_of_its_name(suite: FakeSuite) -> None:
    for branch, kind in [
        ("main", "BRANCH"),
        ("dev", "BRANCH"),
        ("main", "TAG"),
        ("main", "PULL_REQUEST"),
    ] * 2:
        suite.create(branch=branch, ref_type=kind)
    assert ids(suite.page(1, 20, branch="main")) == [5, 1]
    assert ids(suite.page(2, 1, branch="main")) == [1]
    assert ids(suite.page(1, 20, branch="none")) == []


@given(st.lists(st.tuples(st.sampled_from(["create", "finish", "reopen", "delete"]), st.integers(0)), max_size=40))
def test_pages_put_together_are_the_sessions_whatever_happened(steps: list[tuple[str, int]]) -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    alive: list[str] = []
    for step, which in steps:
        if step == "create" or not alive:
            alive.insert(0, suite.create()["id"])
            continue
        session_id = alive[which % len(alive)]
        getattr(suite, step)(session_id)
        if step == "delete":
            alive.remove(session_id)
    pages = [suite.page(number, 3)["sessions"] for number in range(1, 16)]
    assert [session for page in pages for session in page] == list(suite.sessions)
    assert [session["id"] for session in suite.sessions] == alive
    relative_ids = [session["relative_id"] for session in suite.sessions]
    assert relative_ids == sorted(set(relative_ids), reverse=True)
    assert json.loads(json.dumps(suite.page(1, 100))) == suite.page(1, 100)


@pytest.fixture
def threads_take_turns_all_the_time() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("branch", [None, "main"])
@pytest.mark.usefixtures("threads_take_turns_all_the_time")
def test_what_another_thread_reads_is_the_suite_at_one_moment(suite: FakeSuite, branch: str | None) -> None:
    alive = deque(suite.create()["id"] for _ in range(100))

    def change() -> None:
        for _ in range(3000):
            alive.append(suite.create()["id"])
            suite.delete(alive.popleft())

    with ThreadPoolExecutor(1) as other:
        changing = other.submit(change)
        while not changing.done():
            for seen in (ids(suite.page(1, 200, branch=branch)), [each["relative_id"] for each in suite.sessions]):
                assert len(seen) in {100, 101}
                assert seen == list(range(seen[0], seen[0] - len(seen), -1))
        changing.result()


class Guarded(dict[str, Session]):
    """Sessions by ID that nobody touches without the suite's lock."""

    def __init__(self, suite: FakeSuite) -> None:
        super().__init__(suite._by_id)
        self.is_locked: Callable[[], bool] = suite._lock._is_owned  # type: ignore[attr-defined] # not in its stubs

    def __getitem__(self, key: str) -> Session:
        assert self.is_locked()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Session) -> None:
        assert self.is_locked()
        super().__setitem__(key, value)


@pytest.mark.parametrize(
    "use",
    [
        lambda suite, _: suite.sessions,
        lambda suite, _: suite.create(),
        lambda suite, newest: suite.finish(newest),
        lambda suite, newest: suite.reopen(newest),
        lambda suite, newest: suite.delete(newest),
        lambda suite, _: suite.populate(1),
        lambda suite, _: suite.page(1, 20),
    ],
)
def test_sessions_are_touched_under_the_lock_alone(suite: FakeSuite, use: Callable[[FakeSuite, str], object]) -> None:
    newest = suite.populate(3).sessions[0]["id"]
    suite._by_id = Guarded(suite)
    use(suite, newest)
    assert not suite._by_id.is_locked()
