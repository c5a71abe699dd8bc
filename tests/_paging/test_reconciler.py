"""The reconciler, step by step: what it asks for, what it accepts, what it makes of a surprise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Cursor, Session, UnstableListingError
from buddy_sessions._paging.reconciler import DOCUMENTED_SIZE, Reconciler, ServerTraits, Window
from helpers.fake_list import FakeList, session


def read_all(reconciler: Reconciler, listing: FakeList) -> tuple[list[Window], list[int]]:
    """Read a list that does not change; return the windows that were fed, and the numbers that were new."""
    windows: list[Window] = []
    numbers_read: list[int] = []
    while not reconciler.is_done:
        windows.append(reconciler.windows()[0])
        numbers_read += [one.relative_id for one in reconciler.feed(listing.read(windows[-1])).sessions]
    return windows, numbers_read


@given(st.integers(0, 500), st.integers(1, 60))
def test_window_reaching_picks_the_farthest_page(offset: int, cap: int) -> None:
    window = Window.reaching(offset, cap)
    candidates = [Window(offset // size + 1, size) for size in range(1, cap + 1)]
    assert window in candidates
    assert window.start <= offset < window.end
    assert window.end == max(candidate.end for candidate in candidates)


@pytest.mark.parametrize("count", [1, 19, 40, 50, 99, 100, 101, 1000])
@pytest.mark.parametrize("oldest", [1, 30])
def test_quiet_list_costs_as_many_requests_as_the_usual_loop(count: int, oldest: int) -> None:
    windows, numbers_read = read_all(
        Reconciler(per_page=20, traits=ServerTraits()), FakeList(range(oldest, oldest + count))
    )
    assert numbers_read == list(range(oldest + count - 1, oldest - 1, -1))
    usual_loop = count // 20 + 1
    saved = oldest == 1 and count % 20 == 0  # number 1 on a full last page proves the end
    searched = oldest > 1 and count % 20 == 0  # an empty page proves nothing: one more page overlaps
    assert len(windows) == usual_loop - saved + searched


def test_list_with_holes_is_read_completely() -> None:
    listing = FakeList([number for number in range(1, 101) if number % 10])
    windows, numbers_read = read_all(Reconciler(per_page=30, traits=ServerTraits()), listing)
    assert numbers_read == listing.numbers
    assert len(windows) <= 5


def test_rejected_page_makes_it_step_back() -> None:
    listing = FakeList(range(1, 101))
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    reconciler.feed(listing.read(reconciler.windows()[0]))
    for _ in range(3):
        listing.delete(0)
    (window,) = reconciler.windows()
    assert window == Window(2, 20)
    rejected = listing.read(window)
    assert rejected[0].relative_id == 77
    assert not reconciler.feed(rejected).sessions
    (first, *rest) = reconciler.windows()
    assert first.start <= 19 < first.end
    assert not reconciler.feed(listing.read(first)).sessions  # one row back is not enough: three were deleted
    assert not rest
    step = reconciler.feed(listing.read(reconciler.windows()[0]))
    assert step.sessions[0].relative_id == 80
    assert step.covers is not None
    assert step.covers[1] == 80


def test_rejected_page_is_taken_with_the_page_that_closes_the_gap() -> None:
    listing = FakeList(range(1, 101))
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    reconciler.feed(listing.read(reconciler.windows()[0]))
    listing.delete(0)
    reconciler.feed(listing.read(reconciler.windows()[0]))
    bridge = reconciler.windows()[0]
    step = reconciler.feed(listing.read(bridge))
    numbers = [one.relative_id for one in step.sessions]
    assert numbers == list(range(80, numbers[-1] - 1, -1))
    assert numbers[-1] == 60  # the last row of the rejected page
    assert step.covers == (60, 80)


def test_rows_added_before_a_resume_are_skipped() -> None:
    listing = FakeList(range(1, 1001))
    reconciler = Reconciler(per_page=50, traits=ServerTraits(), cursor=Cursor(lowest_id=901, offset=100))
    listing.create(5000)
    windows, numbers_read = read_all(reconciler, listing)
    assert numbers_read == list(range(900, 0, -1))
    assert len(windows) < 25


def test_read_ahead_requests_no_more_than_remains() -> None:
    listing = FakeList(range(1, 91))
    reconciler = Reconciler(per_page=20, traits=ServerTraits(), read_ahead=16)
    assert list(reconciler.windows()) == [Window(1, 20)]
    reconciler.feed(listing.read(Window(1, 20)))
    assert list(reconciler.windows()) == [Window(2, 20), Window(3, 20), Window(4, 20), Window(5, 20)]


@pytest.mark.parametrize(
    ("after", "max_sessions", "pages"), [(0, 50, [2, 3]), (55, None, [2, 3]), (75, 1000, [2]), (0, None, [2, 3, 4, 5])]
)
def test_read_ahead_requests_no_more_than_wanted(after: int, max_sessions: int | None, pages: list[int]) -> None:
    reconciler = Reconciler(per_page=20, traits=ServerTraits(), read_ahead=16, after=after, max_sessions=max_sessions)
    reconciler.feed(FakeList(range(1, 101)).read(reconciler.windows()[0]))
    assert [window.page for window in reconciler.windows()] == pages


def test_read_ahead_starts_small_after_a_truncated_list() -> None:
    traits = ServerTraits()
    truncated = FakeList(range(1001, 1121))
    read_all(Reconciler(per_page=50, traits=traits, read_ahead=4), truncated)
    assert traits.ends_above_one
    reconciler = Reconciler(per_page=50, traits=traits, read_ahead=4)
    sizes = []
    while not reconciler.is_done:
        sizes.append(len(reconciler.windows()))
        reconciler.feed(truncated.read(reconciler.windows()[0]))
    assert sizes == [1, 2, 3]
    read_all(Reconciler(per_page=50, traits=traits, read_ahead=4), FakeList(range(1, 121)))
    assert not traits.ends_above_one


@pytest.mark.parametrize("cap", [20, 30, 99])
def test_cap_is_learned_once_for_all_reads(cap: int) -> None:
    traits = ServerTraits()
    listing = FakeList(range(1, 301), cap=cap)
    first, numbers_read = read_all(Reconciler(per_page=100, traits=traits), listing)
    assert numbers_read == listing.numbers
    assert traits.cap == cap
    second, numbers_read = read_all(Reconciler(per_page=100, traits=traits), listing)
    assert numbers_read == listing.numbers
    assert {window.per_page for window in second} == {cap}
    assert len(second) == -(-300 // cap) <= len(first) <= len(second) + 2


def test_short_page_ends_the_list_once_a_longer_one_was_seen() -> None:
    traits = ServerTraits()
    read_all(Reconciler(per_page=100, traits=traits), FakeList(range(501, 581)))
    assert traits.known_size == 80
    windows, _ = read_all(Reconciler(per_page=100, traits=traits), FakeList(range(501, 580)))
    assert len(windows) == 1
    assert traits.cap is None


def test_bad_request_falls_back_to_the_documented_size() -> None:
    traits = ServerTraits()
    reconciler = Reconciler(per_page=100, traits=traits)
    assert list(reconciler.windows()) == [Window(1, 100)]
    assert reconciler.on_bad_request()
    assert list(reconciler.windows()) == [Window(1, DOCUMENTED_SIZE)]
    assert traits.cap is None
    reconciler.feed(FakeList(range(1, 101)).read(Window(1, DOCUMENTED_SIZE)))
    assert traits.cap == DOCUMENTED_SIZE
    reconciler.windows()
    assert not reconciler.on_bad_request()


def test_stalled_pages_raise_and_reading_can_continue() -> None:
    listing = FakeList(range(1, 101))
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    page = listing.read(reconciler.windows()[0])
    reconciler.feed(page)
    reads = 0

    def read_the_same_page() -> None:
        nonlocal reads
        while True:
            reads += 1
            reconciler.windows()
            reconciler.feed(page)

    with pytest.raises(UnstableListingError, match="changes faster than it can be read"):
        read_the_same_page()
    assert reads == 101
    _, numbers_read = read_all(reconciler, listing)
    assert numbers_read == list(range(80, 0, -1))


def test_unordered_page_yields_a_repeated_session_once() -> None:
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    reconciler.windows()
    step = reconciler.feed([session(2), session(3), session(2)])
    assert [one.relative_id for one in step.sessions] == [2, 3]
    assert step.duplicates == 1
    assert reconciler.is_complete
    assert not reconciler.verified


def test_all_rows_may_be_deleted_during_a_read() -> None:
    listing = FakeList(range(1, 101))
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    reconciler.feed(listing.read(reconciler.windows()[0]))
    for _ in range(100):
        listing.delete(0)
    _, numbers_read = read_all(reconciler, listing)
    assert numbers_read == []


def test_end_of_list_covers_all_numbers_below() -> None:
    reconciler = Reconciler(per_page=30, traits=ServerTraits())
    reconciler.windows()
    assert reconciler.feed([session(number) for number in range(40, 30, -1)]).covers == (1, 40)
    assert reconciler.is_complete


def test_resume_finds_its_offset_under_a_cap() -> None:
    listing = FakeList(range(1, 301), cap=30)
    windows, numbers_read = read_all(
        Reconciler(per_page=100, traits=ServerTraits(), cursor=Cursor(lowest_id=71, offset=230)), listing
    )
    assert numbers_read == list(range(70, 0, -1))
    assert len(windows) <= 5


def test_too_long_a_jump_is_halved() -> None:
    listing = FakeList([*range(181, 201), *range(1, 28)])
    reconciler = Reconciler(per_page=5, traits=ServerTraits(), cursor=Cursor(lowest_id=98, offset=68))
    windows, numbers_read = read_all(reconciler, listing)
    assert numbers_read == list(range(27, 0, -1))
    assert len(windows) <= 15


def test_jump_uses_the_density_of_a_filtered_list() -> None:
    listing = FakeList(range(1, 2001), visible=lambda number: number % 10 == 0)
    reconciler = Reconciler(per_page=50, traits=ServerTraits(), cursor=Cursor(lowest_id=1901, offset=10))
    listing.create(20_000)
    windows, numbers_read = read_all(reconciler, listing)
    assert numbers_read == list(range(1900, 0, -10))
    assert len(windows) <= 10


def test_filtered_list_is_read_with_overlapping_pages() -> None:
    listing = FakeList(range(1, 2001), visible=lambda number: number * 7 % 11 in {1, 4, 8})
    windows, numbers_read = read_all(Reconciler(per_page=50, traits=ServerTraits()), listing)
    assert numbers_read == listing.visible()
    assert len(windows) <= len(numbers_read) // 50 + 5


def test_only_stalled_pages_in_a_row_raise() -> None:
    listing = FakeList(range(1, 4001))
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    numbers_read: list[int] = []
    nothing_new = 0
    while not reconciler.is_done:
        step = reconciler.feed(listing.read(reconciler.windows()[0]))
        nothing_new += not step.sessions
        numbers_read += [one.relative_id for one in step.sessions]
        listing.delete(0)
    assert nothing_new > 110
    assert listing.stable <= set(numbers_read)


def test_read_ahead_shrinks_with_known_rows_and_grows_again() -> None:
    listing = FakeList(range(1, 2001))
    reconciler = Reconciler(per_page=20, traits=ServerTraits(), read_ahead=4)

    def read() -> int:
        reconciler.feed(listing.read(reconciler.windows()[0]))
        return len(reconciler.windows())

    assert read() == 4
    sizes = []
    for _ in range(8):
        listing.create(15)
        sizes.append(read())
    assert sizes[-1] == 1
    assert [read() for _ in range(5)][-1] == 4


def test_two_sessions_with_one_number_are_out_of_order() -> None:
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    reconciler.windows()
    reconciler.feed([session(2), session(2)])
    assert not reconciler.verified


def test_list_with_holes_does_not_count_as_truncated() -> None:
    traits = ServerTraits()
    read_all(Reconciler(per_page=50, traits=traits), FakeList(range(10, 500, 3)))
    assert not traits.ends_above_one


def test_after_losing_order_covered_numbers_are_duplicates() -> None:
    reconciler = Reconciler(per_page=20, traits=ServerTraits())
    reconciler.windows()
    reconciler.feed([session(number) for number in range(100, 80, -1)])
    reconciler.windows()
    step = reconciler.feed([session(number) for number in (82, 81, 79, 80)])
    assert [one.relative_id for one in step.sessions] == [79, 80]
    assert step.duplicates == 2


def test_joined_pages_cover_no_number_that_since_left_out() -> None:
    """A rejected page is taken together with the page that closes the gap, which has an old session."""
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def dated(number: int) -> Session:
        return attrs.evolve(session(number), create_date=start if number == 79 else start + timedelta(days=1))

    reconciler = Reconciler(per_page=20, traits=ServerTraits(), since=start + timedelta(hours=1))
    reconciler.windows()
    reconciler.feed([dated(number) for number in range(100, 80, -1)])
    reconciler.windows()
    reconciler.feed([dated(number) for number in range(78, 58, -1)])
    reconciler.windows()
    step = reconciler.feed([dated(number) for number in range(81, 61, -1)])
    numbers = [one.relative_id for one in step.sessions]
    assert numbers == [80, *range(78, 58, -1)]
    assert step.covers == (80, 80)
