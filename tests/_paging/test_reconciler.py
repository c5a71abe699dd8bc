"""The reconciler, by examples: ends, orders and limits that the state machines of the guarantee hardly meet."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddy_sessions import Session, UnstableListingError
from buddy_sessions._paging import stability
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.scope import PageResult
from buddy_sessions._paging.server_limits import ServerLimits
from buddy_sessions._paging.window import DOCUMENTED_SIZE, Window
from helpers.fake_list import FakeList, FaultyList, session


def read_all(reconciler: Reconciler, listing: FakeList) -> tuple[list[Window], list[int]]:
    """Read a list that does not change; return the windows that were fed, and the numbers that were new."""
    windows: list[Window] = []
    numbers_read: list[int] = []
    while not reconciler.is_done:
        windows.append(reconciler.windows()[0])
        numbers_read += [one.relative_id for one in reconciler.accept_page(listing.read(windows[-1])).sessions]
    return windows, numbers_read


@given(st.integers(0, 500), st.integers(1, 60))
def test_window_covering_picks_the_farthest_page(offset: int, cap: int) -> None:
    window = Window.covering(offset, cap)
    candidates = [Window(offset // size + 1, size) for size in range(1, cap + 1)]
    assert window in candidates
    assert window.start <= offset < window.end
    assert window.end == max(candidate.end for candidate in candidates)


@given(st.integers(0, 500))
def test_window_around_contains_both_rows(offset: int) -> None:
    window = Window.around(offset, 20)
    assert window.per_page <= 20
    assert window.start <= max(offset - 1, 0)
    assert window.end > offset


def test_rejected_page_is_taken_with_the_page_that_closes_the_gap() -> None:
    listing = FakeList(range(1, 101))
    reconciler = Reconciler(per_page=20, limits=ServerLimits())
    reconciler.accept_page(listing.read(reconciler.windows()[0]))
    listing.delete(0)
    reconciler.accept_page(listing.read(reconciler.windows()[0]))
    bridge = reconciler.windows()[0]
    result = reconciler.accept_page(listing.read(bridge))
    numbers = [one.relative_id for one in result.sessions]
    assert numbers == list(range(80, numbers[-1] - 1, -1))
    assert numbers[-1] == 60  # the last row of the rejected page
    assert result.proven_range == (60, 80)


@pytest.mark.parametrize(
    ("after", "max_sessions", "pages"), [(0, 50, [2, 3]), (55, None, [2, 3]), (75, 1000, [2]), (0, None, [2, 3, 4, 5])]
)
def test_read_ahead_requests_no_more_than_wanted(after: int, max_sessions: int | None, pages: list[int]) -> None:
    reconciler = Reconciler(per_page=20, limits=ServerLimits(), read_ahead=16, after=after, max_sessions=max_sessions)
    reconciler.accept_page(FakeList(range(1, 101)).read(reconciler.windows()[0]))
    assert [window.page for window in reconciler.windows()] == pages


def test_limit_adds_no_window_and_keeps_those_returned_before() -> None:
    reconciler = Reconciler(per_page=20, limits=ServerLimits(), read_ahead=8)
    reconciler.accept_page(FakeList(range(1, 1001)).read(reconciler.windows()[0]))
    assert [len(reconciler.windows(limit)) for limit in (1, 5, 2, 100)] == [1, 5, 5, 8]


def test_short_page_ends_the_list_once_a_longer_one_was_seen() -> None:
    limits = ServerLimits()
    read_all(Reconciler(per_page=100, limits=limits), FakeList(range(501, 581)))
    assert limits.known_size == 80
    windows, _ = read_all(Reconciler(per_page=100, limits=limits), FakeList(range(501, 580)))
    assert len(windows) == 1
    assert limits.cap is None


def test_bad_request_falls_back_to_the_documented_size() -> None:
    limits = ServerLimits()
    reconciler = Reconciler(per_page=100, limits=limits)
    assert list(reconciler.windows()) == [Window(1, 100)]
    assert reconciler.on_bad_request()
    assert list(reconciler.windows()) == [Window(1, DOCUMENTED_SIZE)]
    assert limits.cap is None
    reconciler.accept_page(FakeList(range(1, 101)).read(Window(1, DOCUMENTED_SIZE)))
    assert limits.cap == DOCUMENTED_SIZE
    reconciler.windows()
    assert not reconciler.on_bad_request()


def test_stalled_pages_raise() -> None:
    listing = FakeList(range(1, 101))
    reconciler = Reconciler(per_page=20, limits=ServerLimits())
    page = listing.read(reconciler.windows()[0])
    reconciler.accept_page(page)
    reads = 0

    def read_the_same_page() -> None:
        nonlocal reads
        while True:
            reads += 1
            reconciler.windows()
            reconciler.accept_page(page)

    with pytest.raises(UnstableListingError, match="changes faster than it can be read"):
        read_the_same_page()
    assert reads == 101


def test_unordered_page_yields_a_repeated_session_once() -> None:
    reconciler = Reconciler(per_page=20, limits=ServerLimits())
    reconciler.windows()
    result = reconciler.accept_page([session(2), session(3), session(2)])
    assert [one.relative_id for one in result.sessions] == [2, 3]
    assert result.duplicates == 1
    assert reconciler.is_complete
    assert not reconciler.verified


def test_only_stalled_pages_in_a_row_raise() -> None:
    listing = FakeList(range(1, 4001))
    reconciler = Reconciler(per_page=20, limits=ServerLimits())
    numbers_read: list[int] = []
    nothing_new = 0
    while not reconciler.is_done:
        result = reconciler.accept_page(listing.read(reconciler.windows()[0]))
        nothing_new += not result.sessions
        numbers_read += [one.relative_id for one in result.sessions]
        listing.delete(0)
    assert nothing_new > 110
    assert listing.stable <= set(numbers_read)


def test_two_sessions_with_one_number_are_out_of_order() -> None:
    reconciler = Reconciler(per_page=20, limits=ServerLimits())
    reconciler.windows()
    reconciler.accept_page([session(2), session(2)])
    assert not reconciler.verified


def test_list_with_holes_does_not_count_as_truncated() -> None:
    limits = ServerLimits()
    read_all(Reconciler(per_page=50, limits=limits), FakeList(range(10, 500, 3)))
    assert limits.retained_rows is None


def test_after_losing_order_covered_numbers_are_duplicates() -> None:
    reconciler = Reconciler(per_page=20, limits=ServerLimits())
    reconciler.windows()
    reconciler.accept_page([session(number) for number in range(100, 80, -1)])
    reconciler.windows()
    result = reconciler.accept_page([session(number) for number in (82, 81, 79, 80)])
    assert [one.relative_id for one in result.sessions] == [79, 80]
    assert result.duplicates == 2


def test_joined_pages_cover_no_number_that_since_left_out() -> None:
    """A rejected page is taken together with the page that closes the gap, which has an old session."""
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def dated(number: int) -> Session:
        return attrs.evolve(session(number), create_date=start if number == 79 else start + timedelta(days=1))

    reconciler = Reconciler(per_page=20, limits=ServerLimits(), since=start + timedelta(hours=1))
    reconciler.windows()
    reconciler.accept_page([dated(number) for number in range(100, 80, -1)])
    reconciler.windows()
    reconciler.accept_page([dated(number) for number in range(78, 58, -1)])
    reconciler.windows()
    result = reconciler.accept_page([dated(number) for number in range(81, 61, -1)])
    numbers = [one.relative_id for one in result.sessions]
    assert numbers == [80, *range(78, 58, -1)]
    assert result.proven_range == (80, 80)


def experienced() -> ServerLimits:
    """Return the limits of a client that has read a list to its end before, and knows that the server honours 100."""
    limits = ServerLimits()
    limits.count_short_end()
    limits.known_size = 100
    return limits


def rows(*numbers: int) -> list[Session]:
    return [session(number) for number in numbers]


def numbers_of(result: PageResult) -> list[int]:
    return [one.relative_id for one in result.sessions]


class TestEnd:
    def test_checked_end_covers_all_numbers_below(self) -> None:
        reconciler = Reconciler(per_page=30, limits=ServerLimits())
        reconciler.windows()
        page = rows(*range(40, 30, -1))
        assert reconciler.accept_page(page).proven_range == (31, 40)
        assert not reconciler.is_complete
        around, following = reconciler.windows()
        assert (around.start, around.end, following) == (0, 20, Window(2, 30))
        result = reconciler.accept_page(page)
        assert (result.sessions, result.proven_range, result.duplicates) == ((), None, 10)
        assert list(reconciler.windows()) == [following]
        result = reconciler.accept_page([])
        assert (result.sessions, result.proven_range) == ((), (1, 30))
        assert reconciler.is_complete
        assert reconciler.verified

    def test_unchecked_end_covers_no_number_below(self) -> None:
        reconciler = Reconciler(per_page=30, limits=experienced())
        reconciler.windows()
        assert reconciler.accept_page(rows(*range(40, 30, -1))).proven_range == (31, 40)
        assert reconciler.is_complete

    @pytest.mark.parametrize(("count", "requests"), [(979, 49), (981, 52)])
    def test_end_of_a_long_list_is_checked(self, count: int, requests: int) -> None:
        windows, _ = read_all(Reconciler(per_page=20, limits=experienced()), FakeList(range(11, 11 + count)))
        assert len(windows) == requests

    def test_number_one_needs_no_check(self) -> None:
        windows, _ = read_all(Reconciler(per_page=20, limits=ServerLimits(), check_end=True), FakeList([5, 3, 1]))
        assert len(windows) == 1

    @pytest.mark.parametrize(
        ("options", "requests"), [({}, 3), ({"after": 30}, 1), ({"after": 29}, 3), ({"max_sessions": 10}, 1)], ids=str
    )
    def test_end_is_checked_if_requested(self, options: dict[str, Any], requests: int) -> None:
        reconciler = Reconciler(per_page=20, limits=experienced(), check_end=True, **options)
        windows, _ = read_all(reconciler, FakeList(range(31, 41)))
        assert len(windows) == requests

    def test_since_needs_no_check(self) -> None:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        old = [attrs.evolve(one, create_date=start) for one in rows(12, 11)]
        reconciler = Reconciler(per_page=20, limits=ServerLimits(), since=start + timedelta(1), check_end=True)
        reconciler.windows()
        assert reconciler.accept_page(old).proven_range is None
        assert reconciler.is_complete

    @pytest.mark.parametrize("ahead", [1, 4])
    def test_page_cut_by_one_server_is_not_the_end(self, ahead: int) -> None:
        limits = ServerLimits()
        read_all(Reconciler(per_page=100, limits=limits), FakeList(range(1, 201)))
        listing = FakeList(range(1, 201), cap=30)
        reconciler = Reconciler(per_page=100, limits=limits, read_ahead=ahead)
        windows, numbers_read = read_all(reconciler, listing)
        assert numbers_read == listing.numbers
        assert reconciler.verified
        assert not limits.trusts_short_pages
        assert all(window.per_page <= 30 for window in windows if window.page > 2)
        assert len(windows) <= 12
        windows, _ = read_all(Reconciler(per_page=100, limits=limits), FakeList(range(11, 21)))
        assert len(windows) == 3  # every end is checked from now on

    def test_page_cut_by_another_server_farther_down_is_checked(self) -> None:
        """The server counts offsets by its own size, so the page has only known rows."""
        listing = FakeList(range(1, 301))
        reconciler = Reconciler(per_page=100, limits=experienced())
        numbers_read = []
        for _ in range(2):
            numbers_read += numbers_of(reconciler.accept_page(listing.read(reconciler.windows()[0])))
        listing.cap = 30
        numbers_read += read_all(reconciler, listing)[1]
        assert numbers_read == listing.numbers

    @example(cap=5, rows=120, per_page=100)
    @example(cap=4, rows=42, per_page=50)
    @given(cap=st.integers(1, 19), rows=st.integers(1, 250), per_page=st.integers(1, 100))
    def test_list_cut_below_the_documented_size_is_complete_or_not_verified(
        self, cap: int, rows: int, per_page: int
    ) -> None:
        listing = FakeList(range(1, 1 + rows), cap=cap)
        reconciler = Reconciler(per_page=per_page, limits=ServerLimits(), read_ahead=4)
        with suppress(UnstableListingError):
            _, numbers_read = read_all(reconciler, listing)
            assert numbers_read == listing.numbers or not reconciler.verified

    def test_list_with_too_many_hidden_rows_in_a_row_raises(self) -> None:
        """No page contains the rows before and after them."""
        reconciler = Reconciler(per_page=20, limits=ServerLimits())
        with pytest.raises(UnstableListingError):
            read_all(reconciler, FaultyList(range(1, 121), hidden=range(81, 90)))

    @pytest.mark.parametrize("start", [97, 81, 41, 6])
    def test_page_with_hidden_rows_is_not_the_end(self, start: int) -> None:
        """A filter hides the last rows of a page after it was cut."""
        listing = FaultyList(range(1, 121), hidden=range(start, start + 8))
        limits = ServerLimits()
        reconciler = Reconciler(per_page=20, limits=limits)
        _, numbers_read = read_all(reconciler, listing)
        assert numbers_read == [number for number in listing.numbers if number not in range(start, start + 8)]
        assert reconciler.verified

    def test_end_that_many_changes_keep_from_being_checked_is_not_verified(self) -> None:
        listing = FakeList(range(101, 111))
        reconciler = Reconciler(per_page=50, limits=ServerLimits())
        proven = []
        requests = 0
        while not reconciler.is_done:
            windows = reconciler.windows()
            if len(windows) == 2:  # the end is being checked
                listing.create(25)
            proven.append(reconciler.accept_page(listing.read(windows[0])).proven_range)
            requests += 1
        assert [each for each in proven if each] == [(101, 110)]
        assert requests < 20
        assert not reconciler.verified

    def test_empty_list_is_checked(self) -> None:
        reconciler = Reconciler(per_page=100, limits=ServerLimits())
        windows, _ = read_all(reconciler, FakeList([]))
        assert windows == [Window(1, 100), Window(1, 20), Window(2, 100)]

    @pytest.mark.parametrize("late", [1, 2])
    def test_list_that_was_empty_is_read_from_the_top(self, late: int) -> None:
        """No window but page 1 is accepted as the first one."""
        listing = FakeList([])
        limits = ServerLimits()
        reconciler = Reconciler(per_page=20, limits=limits)
        for _ in range(late):
            reconciler.accept_page(listing.read(reconciler.windows()[0]))
        listing.create(50)
        for _ in range(5):
            listing.delete(-1)
        results = []
        while not reconciler.is_done:
            results.append(reconciler.accept_page(listing.read(reconciler.windows()[0])))
        assert [number for result in results for number in numbers_of(result)] == listing.numbers
        assert results[-1].proven_range == (1, 5)  # this end is checked instead
        assert limits.trusts_short_pages

    def test_new_rows_allow_as_many_attempts_again(self) -> None:
        listing = FakeList(range(101, 301), cap=30)
        reconciler = Reconciler(per_page=100, limits=experienced(), check_end=True)

        def fail_to_check() -> None:
            while len(reconciler.windows()) == 1:
                reconciler.accept_page(listing.read(reconciler.windows()[0]))
            listing.create(25)
            reconciler.accept_page(listing.read(reconciler.windows()[0]))

        fail_to_check()
        listing.cap = None
        fail_to_check()
        fail_to_check()
        proven = []
        while not reconciler.is_done:
            proven.append(reconciler.accept_page(listing.read(reconciler.windows()[0])).proven_range)
        assert proven[-1] == (1, 100)

    def test_row_that_is_deleted_during_the_check_starts_it_again(self) -> None:
        listing = FakeList(range(101, 126))
        reconciler = Reconciler(per_page=20, limits=ServerLimits())
        while len(reconciler.windows()) == 1:
            reconciler.accept_page(listing.read(reconciler.windows()[0]))
        for _ in range(15):
            listing.delete(0)
        windows, _ = read_all(reconciler, listing)
        assert len(windows) > 2
        assert reconciler.verified


class TestOrder:
    def test_row_out_of_order_at_a_page_border_is_yielded(self) -> None:
        reconciler = Reconciler(per_page=3, limits=ServerLimits())
        reconciler.windows()
        reconciler.accept_page(rows(204, 202, 200))
        reconciler.windows()
        result = reconciler.accept_page(rows(201, 199, 198))
        assert numbers_of(result) == [201, 199, 198]
        assert result.proven_range is None
        assert not reconciler.verified

    def test_same_number_with_two_ids_at_a_page_border(self) -> None:
        reconciler = Reconciler(per_page=2, limits=ServerLimits())
        reconciler.windows()
        reconciler.accept_page(rows(8, 7))
        reconciler.windows()
        result = reconciler.accept_page([session(7, "-2"), session(6)])
        assert [one.id for one in result.sessions] == ["id7-2", "id6"]
        assert not reconciler.verified

    @pytest.mark.parametrize("per_page", [1, 3, 20, 100])
    @pytest.mark.parametrize("read_ahead", [1, 4])
    def test_page_of_rows_farther_up_the_order_is_no_growth(self, per_page: int, read_ahead: int) -> None:
        """The first page is in order, and so is the second one, as if as many sessions had been created."""
        top = 3 * per_page + 11
        first = range(3, per_page + 3)
        listing = FaultyList(range(1, top), moved={number: number + top for number in first})
        reconciler = Reconciler(per_page=per_page, limits=ServerLimits(), read_ahead=read_ahead)
        _, numbers_read = read_all(reconciler, listing)
        assert set(numbers_read) == set(listing.numbers)
        assert not reconciler.verified

    @pytest.mark.parametrize("moved", [{1: 3.5}, {2: 0.5}, {4: 0.5}], ids=str)
    def test_list_that_goes_on_after_number_one(self, moved: dict[int, float]) -> None:
        listing = FaultyList(range(1, 6), moved=moved)
        reconciler = Reconciler(per_page=4 if moved != {1: 3.5} else 3, limits=ServerLimits())
        _, numbers_read = read_all(reconciler, listing)
        assert set(numbers_read) == set(listing.numbers)
        assert not reconciler.verified

    def test_hole_above_number_one_at_a_page_border_costs_one_request(self) -> None:
        reconciler = Reconciler(per_page=5, limits=ServerLimits())
        windows, numbers_read = read_all(reconciler, FakeList([6, 5, 4, 3, 1]))
        assert (numbers_read, len(windows)) == ([6, 5, 4, 3, 1], 2)
        assert reconciler.verified

    def test_only_the_recent_rows_are_remembered(self) -> None:
        """A list that is out of order may repeat a session that was read long before."""
        listing = FakeList(range(1, 401))
        reconciler = Reconciler(per_page=100, limits=ServerLimits())
        for _ in range(3):
            reconciler.accept_page(listing.read(reconciler.windows()[0]))
        reconciler.windows()
        result = reconciler.accept_page(rows(400, 250, 100, 99, 98, 350, 97))
        assert numbers_of(result) == [400, 100, 99, 98, 350, 97]
        assert result.duplicates == 1

    def test_unordered_list_is_read_to_an_empty_page_if_short_pages_are_not_trusted(self) -> None:
        limits = ServerLimits()
        limits.trusts_short_pages = False
        listing = FaultyList(range(1, 61), moved={60: 58.5}, hidden=[50, 30])
        reconciler = Reconciler(per_page=20, limits=limits)
        _, numbers_read = read_all(reconciler, listing)
        assert set(numbers_read) == set(listing.numbers) - {50, 30}

    def test_unordered_list_that_never_ends_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stability, "MAX_ROWS_BY_ID", 1000)
        reconciler = Reconciler(per_page=20, limits=ServerLimits())
        numbers = iter(range(1, 10_000))

        def read_for_ever() -> None:
            while True:
                reconciler.windows()
                reconciler.accept_page(rows(*[next(numbers) for _ in range(20)]))

        with pytest.raises(UnstableListingError, match=r"more than 1,000 sessions"):
            read_for_ever()
        assert next(numbers) == 1021

    def test_page_that_was_served_before_a_row_was_deleted_is_requested_again(self) -> None:
        listing = FakeList(range(1, 101))
        reconciler = Reconciler(per_page=20, limits=ServerLimits(), read_ahead=4)
        numbers_read = numbers_of(reconciler.accept_page(listing.read(reconciler.windows()[0])))
        early = listing.read(reconciler.windows()[1])
        assert early[0].relative_id == 60
        for number in (*range(70, 80), 60):
            listing.delete(listing.numbers.index(number))
        numbers_read += numbers_of(reconciler.accept_page(listing.read(reconciler.windows()[0])))
        assert numbers_read[-1] == 50
        reconciler.windows()
        assert reconciler.accept_page(early).sessions == ()  # 60 was not on the page before
        assert len(reconciler.windows()) == 1
        numbers_read += read_all(reconciler, listing)[1]
        assert numbers_read == listing.numbers
        assert reconciler.verified

    def test_rejected_page_is_dropped_if_a_row_was_deleted_meanwhile(self) -> None:
        listing = FakeList(range(1, 101))
        reconciler = Reconciler(per_page=20, limits=ServerLimits())
        reconciler.accept_page(listing.read(reconciler.windows()[0]))
        listing.delete(0)
        reconciler.accept_page(listing.read(reconciler.windows()[0]))  # 79 to 60: rejected
        listing.delete(listing.numbers.index(70))
        result = reconciler.accept_page(listing.read(reconciler.windows()[0]))
        assert numbers_of(result) == [*range(80, 70, -1), *range(69, 60, -1)]
        assert reconciler.verified
        assert read_all(reconciler, listing)[1] == list(range(60, 0, -1))
