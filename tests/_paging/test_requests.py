"""How many requests a read costs, for each kind of list and change: what the guarantee does not show."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Cursor, Session
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.scope import ReadSpec
from buddy_sessions._paging.window import ServerLimits, Window
from helpers.fake_list import FakeList, experienced

counts = st.integers(1, 1000)
sizes = st.sampled_from([20, 30, 50, 100])
read_aheads = st.sampled_from([1, 2, 4, 16])


def count_requests(
    listing: FakeList,
    limits: ServerLimits,
    change: Callable[[int, Reconciler], object] | None = None,
    *,
    cursor: Cursor | None = None,
    **options: Any,
) -> int:
    """Read a list; return the number of requests. `change` is called after the pages of each step were requested."""
    expected = listing.numbers if change is None else None
    reconciler = Reconciler(ReadSpec(cursor=cursor), limits=limits, **options)
    served: dict[Window, tuple[Session, ...]] = {}
    numbers_read: list[int] = []
    requests = steps = 0
    while not reconciler.is_done:
        windows = reconciler.windows()
        served = {window: served[window] for window in windows if window in served}
        for window in windows:
            if window not in served:
                served[window] = listing.read(window)
                requests += 1
        steps += 1
        if change is not None:
            change(steps, reconciler)
        numbers_read += [one.relative_id for one in reconciler.accept_page(served.pop(windows[0])).sessions]
    assert reconciler.verified
    assert numbers_read == sorted(numbers_read, reverse=True)
    assert set(numbers_read) >= {number for number in listing.stable if number < (cursor or TOP).lowest_id}
    assert expected is None or cursor is not None or numbers_read == listing.visible()
    return requests


TOP = Cursor(10**9, 0)


@given(count=counts, per_page=sizes, read_ahead=read_aheads)
def test_quiet_list_costs_its_pages(count: int, per_page: int, read_ahead: int) -> None:
    """Number 1 proves the end, also on a full page."""
    listing = FakeList(range(1, count + 1))
    assert count_requests(listing, ServerLimits(), per_page=per_page, read_ahead=read_ahead) == -(-count // per_page)


@given(count=st.integers(0, 960), per_page=sizes, read_ahead=read_aheads)
def test_list_as_long_as_the_last_truncated_one_costs_its_pages(count: int, per_page: int, read_ahead: int) -> None:
    """The first one costs two more to check its end, and one if its last page is full."""
    limits, listing = ServerLimits(), FakeList(range(5001, 5001 + count))
    limits.known_size = 100
    assert count_requests(listing, limits, per_page=per_page) <= count // per_page + 4
    assert count_requests(listing, limits, per_page=per_page, read_ahead=read_ahead) == count // per_page + 1


@given(counts=st.lists(st.integers(1, 900), min_size=2, max_size=4), per_page=sizes)
def test_truncated_list_of_another_length_wastes_few_requests(counts: list[int], per_page: int) -> None:
    """The read-ahead starts at one page, and grows by one, so that it is never longer than the pages before."""
    limits = experienced()
    count_requests(FakeList(range(5001, 5001 + counts[0])), limits, per_page=per_page)
    for count in counts[1:]:
        requests = count_requests(FakeList(range(5001, 5001 + count)), limits, per_page=per_page, read_ahead=16)
        assert requests <= 2 * (count // per_page + 1) + 2


@given(count=counts, cap=st.integers(20, 99), read_ahead=read_aheads)
def test_cap_costs_two_requests_once(count: int, cap: int, read_ahead: int) -> None:
    limits, listing = ServerLimits(), FakeList(range(1, count + 1), cap=cap)
    assert count_requests(listing, limits, per_page=100, read_ahead=read_ahead) <= -(-count // cap) + 2
    assert count_requests(listing, limits, per_page=100, read_ahead=read_ahead) == -(-count // cap)


def test_thousand_truncated_lists_cost_six_percent_more_than_their_pages() -> None:
    """One more for each page that is at least as long as all pages before it, and two for each of 20 checks."""
    limits, sizes = ServerLimits(), Random(7)
    lists = [FakeList(range(3, 3 + sizes.randrange(90))) for _ in range(1000)]
    assert sum(count_requests(listing, limits, per_page=100) for listing in lists) <= 1060


def test_one_end_in_fifty_is_checked() -> None:
    limits, listing = ServerLimits(), FakeList(range(11, 21))
    costs = [count_requests(listing, limits, per_page=100) for _ in range(101)]
    assert costs == [3, *[1] * 49, 3, *[1] * 49, 3]


@given(
    count=counts,
    per_page=sizes,
    read_ahead=st.sampled_from([1, 2, 4]),
    step=st.integers(1, 10),
    row=st.integers(0, 999),
)
def test_deleted_row_costs_two_requests(count: int, per_page: int, read_ahead: int, step: int, row: int) -> None:
    """The page that is rejected because of it is not requested again, nor are those that were requested in advance."""
    listing = FakeList(range(1, count + 1))

    def delete(steps: int, reconciler: Reconciler) -> None:
        if steps == step:
            listing.delete(row)

    requests = count_requests(listing, experienced(), delete, per_page=per_page, read_ahead=read_ahead)
    assert requests <= -(-count // per_page) + 2


@given(count=counts, per_page=sizes, created=st.integers(1, 10))
def test_created_sessions_cost_the_rows_by_which_they_shift_the_list(count: int, per_page: int, created: int) -> None:
    listing = FakeList(range(1, count + 1))
    requests = count_requests(listing, experienced(), lambda *_: listing.create(created), per_page=per_page)
    assert requests <= count // (per_page - created) + 3


@given(count=counts, per_page=st.integers(1, 100), step=st.integers(1, 10), created=st.integers(1, 5000))
def test_sudden_growth_costs_few_requests(count: int, per_page: int, step: int, created: int) -> None:
    """The page that shows it, the rows above it, and a search for the frontier. Short pages become pages of 20 rows."""
    listing = FakeList(range(1, count + 1))

    def create(steps: int, reconciler: Reconciler) -> None:
        if steps == step:
            listing.create(created)

    assert count_requests(listing, experienced(), create, per_page=per_page) <= -(-count // per_page) + 4


@given(numbers=st.sets(st.integers(2, 600), max_size=40), per_page=sizes)
def test_each_hole_costs_at_most_one_request(numbers: set[int], per_page: int) -> None:
    listing = FakeList([number for number in range(1, 601) if number not in numbers])
    assert count_requests(listing, experienced(), per_page=per_page) <= -(-600 // per_page) + len(numbers)


@pytest.mark.parametrize(
    ("listing", "cursor", "per_page", "requests"),
    [
        pytest.param(FakeList(range(1, 6001)), Cursor(901, 100), 50, 21, id="5000-created"),
        pytest.param(FakeList(range(10, 22001, 10)), Cursor(1901, 10), 50, 16, id="2000-created-of-a-branch"),
        pytest.param(FakeList([*range(181, 201), *range(1, 28)]), Cursor(98, 68), 5, 15, id="most-deleted"),
        pytest.param(FakeList(range(1, 301), cap=30), Cursor(71, 230), 100, 5, id="cap"),
        pytest.param(FakeList(range(1, 101)), Cursor(50, 10**17), 100, 20, id="wrong-offset"),
    ],
)
def test_resumed_read_finds_its_position(listing: FakeList, cursor: Cursor, per_page: int, requests: int) -> None:
    assert count_requests(listing, ServerLimits(), per_page=per_page, cursor=cursor) <= requests
