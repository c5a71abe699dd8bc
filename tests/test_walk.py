"""The walk, step by step: what it asks for, what it accepts, what it makes of a surprise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Cursor, UnstableListingError
from buddy_sessions.walk import DOCUMENTED_SIZE, ServerTraits, Walk, Window
from listing import Listing, session


def walk_to_the_end(walk: Walk, listing: Listing) -> tuple[list[Window], list[int]]:
    """Feed the walk from a list at rest; return what it asked for, in the order of need, and what it found."""
    windows: list[Window] = []
    found: list[int] = []
    while not walk.done:
        windows.append(walk.wanted()[0])
        found += [one.relative_id for one in walk.feed(listing.read(windows[-1])).sessions]
    return windows, found


@given(st.integers(0, 500), st.integers(1, 60))
def test_of_the_pages_that_start_at_a_place_or_before_the_one_that_reaches_farthest_is_taken(
    place: int, largest: int
) -> None:
    window = Window.reaching(place, largest)
    candidates = [Window(place // size + 1, size) for size in range(1, largest + 1)]
    assert window in candidates
    assert window.start <= place < window.end
    assert window.end == max(candidate.end for candidate in candidates)


@pytest.mark.parametrize("count", [1, 19, 40, 50, 99, 100, 101, 1000])
@pytest.mark.parametrize("oldest", [1, 30])
def test_a_quiet_list_costs_what_the_plain_rule_costs(count: int, oldest: int) -> None:
    windows, found = walk_to_the_end(Walk(per_page=20, traits=ServerTraits()), Listing(range(oldest, oldest + count)))
    assert found == list(range(oldest + count - 1, oldest - 1, -1))
    plain = count // 20 + 1
    saved = oldest == 1 and count % 20 == 0  # a full last page that ends in number 1 is known to be the last
    searched = oldest > 1 and count % 20 == 0  # an empty page proves nothing: one more overlaps
    assert len(windows) == plain - saved + searched


def test_with_holes_a_page_is_accepted_once_it_overlaps() -> None:
    listing = Listing([number for number in range(1, 101) if number % 10])
    windows, found = walk_to_the_end(Walk(per_page=30, traits=ServerTraits()), listing)
    assert found == listing.numbers
    assert len(windows) <= 5


def test_a_page_without_proof_is_kept_and_taken_when_another_has_closed_the_gap() -> None:
    listing = Listing(range(1, 101))
    walk = Walk(per_page=20, traits=ServerTraits())
    walk.feed(listing.read(walk.wanted()[0]))
    for _ in range(3):
        listing.delete(0)
    (window,) = walk.wanted()
    assert window == Window(2, 20)
    kept = listing.read(window)
    assert kept[0].relative_id == 77
    assert not walk.feed(kept).sessions
    (first, *rest) = walk.wanted()
    assert first.start <= 19 < first.end
    assert not walk.feed(listing.read(first)).sessions  # one place back is not enough: three are gone
    assert not rest
    step = walk.feed(listing.read(walk.wanted()[0]))
    assert step.sessions[0].relative_id == 80
    assert step.covers is not None
    assert step.covers[1] == 80


def test_a_kept_page_comes_with_the_one_that_proves_it() -> None:
    listing = Listing(range(1, 101))
    walk = Walk(per_page=20, traits=ServerTraits())
    walk.feed(listing.read(walk.wanted()[0]))
    listing.delete(0)
    walk.feed(listing.read(walk.wanted()[0]))
    bridge = walk.wanted()[0]
    step = walk.feed(listing.read(bridge))
    numbers = [one.relative_id for one in step.sessions]
    assert numbers == list(range(80, numbers[-1] - 1, -1))
    assert numbers[-1] == 60  # as far as the kept page went
    assert step.covers == (60, 80)


def test_a_list_that_has_grown_is_leapt_over() -> None:
    listing = Listing(range(1, 1001))
    walk = Walk(per_page=50, traits=ServerTraits(), start=Cursor(below=901, place=100))
    listing.create(5000)
    windows, found = walk_to_the_end(walk, listing)
    assert found == list(range(900, 0, -1))
    assert len(windows) < 25


def test_reading_ahead_asks_for_no_more_than_is_left() -> None:
    listing = Listing(range(1, 91))
    walk = Walk(per_page=20, traits=ServerTraits(), read_ahead=16)
    assert walk.wanted() == [Window(1, 20)]
    walk.feed(listing.read(Window(1, 20)))
    assert walk.wanted() == [Window(2, 20), Window(3, 20), Window(4, 20), Window(5, 20)]


@pytest.mark.parametrize(
    ("since", "most", "pages"), [(0, 50, [2, 3]), (55, None, [2, 3]), (75, 1000, [2]), (0, None, [2, 3, 4, 5])]
)
def test_reading_ahead_asks_for_no_more_than_is_wanted(since: int, most: int | None, pages: list[int]) -> None:
    walk = Walk(per_page=20, traits=ServerTraits(), read_ahead=16, since=since, most=most)
    walk.feed(Listing(range(1, 101)).read(walk.wanted()[0]))
    assert [window.page for window in walk.wanted()] == pages


def test_where_lists_end_above_number_one_reading_ahead_starts_small() -> None:
    traits = ServerTraits()
    trimmed = Listing(range(1001, 1121))
    walk_to_the_end(Walk(per_page=50, traits=traits, read_ahead=4), trimmed)
    assert traits.trimmed
    walk = Walk(per_page=50, traits=traits, read_ahead=4)
    widths = []
    while not walk.done:
        widths.append(len(walk.wanted()))
        walk.feed(trimmed.read(walk.wanted()[0]))
    assert widths == [1, 2, 3]
    walk_to_the_end(Walk(per_page=50, traits=traits, read_ahead=4), Listing(range(1, 121)))
    assert not traits.trimmed


@pytest.mark.parametrize("largest", [20, 30, 99])
def test_the_size_that_the_server_honours_is_learnt_once_for_all_walks(largest: int) -> None:
    traits = ServerTraits()
    listing = Listing(range(1, 301), largest=largest)
    first, found = walk_to_the_end(Walk(per_page=100, traits=traits), listing)
    assert found == listing.numbers
    assert traits.limit == largest
    second, found = walk_to_the_end(Walk(per_page=100, traits=traits), listing)
    assert found == listing.numbers
    assert {window.per_page for window in second} == {largest}
    assert len(second) == -(-300 // largest) <= len(first) <= len(second) + 2


def test_a_short_page_is_the_end_where_longer_ones_were_seen() -> None:
    traits = ServerTraits()
    walk_to_the_end(Walk(per_page=100, traits=traits), Listing(range(501, 581)))
    assert traits.honoured == 80
    windows, _ = walk_to_the_end(Walk(per_page=100, traits=traits), Listing(range(501, 580)))
    assert len(windows) == 1
    assert traits.limit is None


def test_a_refused_size_is_taken_back_to_the_documented_one() -> None:
    traits = ServerTraits()
    walk = Walk(per_page=100, traits=traits)
    assert walk.wanted() == [Window(1, 100)]
    assert walk.refused()
    assert walk.wanted() == [Window(1, DOCUMENTED_SIZE)]
    assert traits.limit is None
    walk.feed(Listing(range(1, 101)).read(Window(1, DOCUMENTED_SIZE)))
    assert traits.limit == DOCUMENTED_SIZE
    walk.wanted()
    assert not walk.refused()


def test_pages_that_bring_nothing_new_end_in_an_error_and_the_walk_can_go_on() -> None:
    listing = Listing(range(1, 101))
    walk = Walk(per_page=20, traits=ServerTraits())
    page = listing.read(walk.wanted()[0])
    walk.feed(page)
    reads = 0

    def stare() -> None:
        nonlocal reads
        while True:
            reads += 1
            walk.wanted()
            walk.feed(page)

    with pytest.raises(UnstableListingError, match="changes faster than it can be read"):
        stare()
    assert reads == 101
    _, found = walk_to_the_end(walk, listing)
    assert found == list(range(80, 0, -1))


def test_the_same_session_twice_on_a_page_of_a_list_without_order_comes_once() -> None:
    walk = Walk(per_page=20, traits=ServerTraits())
    walk.wanted()
    step = walk.feed([session(2), session(3), session(2)])
    assert [one.relative_id for one in step.sessions] == [2, 3]
    assert step.duplicates == 1
    assert walk.complete
    assert not walk.certified


def test_everything_may_vanish_while_a_walk_is_under_way() -> None:
    listing = Listing(range(1, 101))
    walk = Walk(per_page=20, traits=ServerTraits())
    walk.feed(listing.read(walk.wanted()[0]))
    for _ in range(100):
        listing.delete(0)
    _, found = walk_to_the_end(walk, listing)
    assert found == []


def test_the_end_of_a_list_settles_all_numbers_below_it() -> None:
    walk = Walk(per_page=30, traits=ServerTraits())
    walk.wanted()
    assert walk.feed([session(number) for number in range(40, 30, -1)]).covers == (1, 40)
    assert walk.complete


def test_going_on_where_pages_are_cut_finds_its_place_at_once() -> None:
    listing = Listing(range(1, 301), largest=30)
    windows, found = walk_to_the_end(
        Walk(per_page=100, traits=ServerTraits(), start=Cursor(below=71, place=230)), listing
    )
    assert found == list(range(70, 0, -1))
    assert len(windows) <= 5


def test_a_leap_over_a_gap_that_nobody_could_foretell_is_halved_until_it_is_right() -> None:
    listing = Listing([*range(181, 201), *range(1, 28)])
    walk = Walk(per_page=5, traits=ServerTraits(), start=Cursor(below=98, place=68))
    windows, found = walk_to_the_end(walk, listing)
    assert found == list(range(27, 0, -1))
    assert len(windows) <= 15


def test_a_leap_takes_the_density_of_a_filtered_list_into_account() -> None:
    listing = Listing(range(1, 2001), shown=lambda number: number % 10 == 0)
    walk = Walk(per_page=50, traits=ServerTraits(), start=Cursor(below=1901, place=10))
    listing.create(20_000)
    windows, found = walk_to_the_end(walk, listing)
    assert found == list(range(1900, 0, -10))
    assert len(windows) <= 10


def test_a_filtered_list_is_read_with_pages_that_overlap() -> None:
    listing = Listing(range(1, 2001), shown=lambda number: number * 7 % 11 in {1, 4, 8})
    windows, found = walk_to_the_end(Walk(per_page=50, traits=ServerTraits()), listing)
    assert found == listing.shown()
    assert len(windows) <= len(found) // 50 + 5


def test_patience_is_for_pages_in_a_row() -> None:
    listing = Listing(range(1, 4001))
    walk = Walk(per_page=20, traits=ServerTraits())
    found: list[int] = []
    nothing_new = 0
    while not walk.done:
        step = walk.feed(listing.read(walk.wanted()[0]))
        nothing_new += not step.sessions
        found += [one.relative_id for one in step.sessions]
        listing.delete(0)
    assert nothing_new > 110
    assert listing.stable <= set(found)


def test_reading_ahead_narrows_where_pages_bring_little_and_widens_again() -> None:
    listing = Listing(range(1, 2001))
    walk = Walk(per_page=20, traits=ServerTraits(), read_ahead=4)

    def read() -> int:
        walk.feed(listing.read(walk.wanted()[0]))
        return len(walk.wanted())

    assert read() == 4
    widths = []
    for _ in range(8):
        listing.create(15)
        widths.append(read())
    assert widths[-1] == 1
    assert [read() for _ in range(5)][-1] == 4


def test_two_sessions_of_one_number_are_no_strict_order() -> None:
    walk = Walk(per_page=20, traits=ServerTraits())
    walk.wanted()
    walk.feed([session(2), session(2)])
    assert not walk.certified


def test_a_list_with_holes_says_nothing_of_where_lists_end() -> None:
    traits = ServerTraits()
    walk_to_the_end(Walk(per_page=50, traits=traits), Listing(range(10, 500, 3)))
    assert not traits.trimmed


def test_where_order_is_lost_what_was_covered_counts_as_seen() -> None:
    walk = Walk(per_page=20, traits=ServerTraits())
    walk.wanted()
    walk.feed([session(number) for number in range(100, 80, -1)])
    walk.wanted()
    step = walk.feed([session(number) for number in (82, 81, 79, 80)])
    assert [one.relative_id for one in step.sessions] == [79, 80]
    assert step.duplicates == 2
