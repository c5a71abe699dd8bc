"""How many requests a read costs, for each kind of list and change: what the guarantee does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Cursor, Session
from buddy_sessions._paging.pacing import ServerTraits, Window
from helpers.fake_list import FakeList, FaultyList, assert_exact, read_list

counts = st.integers(1, 1000)
sizes = st.sampled_from([20, 30, 50, 100])
read_aheads = st.sampled_from([1, 2, 4, 16])


def count_requests(listing: FakeList, traits: ServerTraits, *change: Callable[[int], object], **options: Any) -> int:
    """Read a list, which must be exact; return the number of requests."""
    found, requests, reconciler = read_list(listing, traits, *change, **options)
    cursor = options.get("cursor")
    assert_exact(found, {number for number in listing.stable if cursor is None or number < cursor.lowest_id})
    assert reconciler.verified
    return requests


@given(count=counts, per_page=sizes, read_ahead=read_aheads)
def test_quiet_list_costs_its_pages(count: int, per_page: int, read_ahead: int) -> None:
    """Number 1 proves the end, also on a full page, unless it is the first one: then no order was seen."""
    listing, pages = FakeList(range(1, count + 1)), -(-count // per_page) + (count == per_page)
    assert count_requests(listing, ServerTraits(), per_page=per_page, read_ahead=read_ahead) == pages


def is_hidden(number: int, share: float) -> bool:
    return number * 2654435761 % 1000003 < share * 1000003


@pytest.mark.parametrize("read_ahead", [1, 4, 16])
def test_holes_cost_an_eighth_more(read_ahead: int) -> None:
    """A page below a gap is kept, and accepted once another one has closed the gap."""
    listing = FakeList([number for number in range(1, 5001) if not is_hidden(number, 0.1)])
    assert count_requests(listing, ServerTraits(), per_page=100, read_ahead=read_ahead) <= 45 * 9 / 8


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_hidden_rows_cost_a_tenth_more(share: float) -> None:
    """A filter removes them from each page after it was cut. The list is read to an empty page, and not verified."""
    hidden = {number for number in range(11, 10_011) if is_hidden(number, share)}
    listing = FaultyList(range(11, 10_011), hidden=hidden)
    found, requests, reconciler = read_list(listing, ServerTraits(), per_page=100, read_ahead=4)
    assert (len(found), reconciler.verified) == (10_000 - len(hidden), False)
    assert requests <= 110


@pytest.mark.parametrize("page", [1, 31])
def test_page_that_lacks_its_first_row_costs_two_requests(page: int) -> None:
    """It is read again, and perhaps the one after it. Later reads of the client cost no more."""
    listing, traits = FakeList(range(1, 10_001)), ServerTraits()
    read = listing.read

    def read_without_a_row(window: Window) -> tuple[Session, ...]:
        listing.read = read  # type: ignore[method-assign]  # only one response is wrong
        return read(window)[1:]

    def change(requests: int) -> None:
        if requests == page - 1:
            listing.read = read_without_a_row  # type: ignore[method-assign]

    assert count_requests(listing, traits, change, per_page=100) <= 102
    assert count_requests(listing, traits, per_page=100) == 100


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_branch_costs_a_quarter_more(share: float) -> None:
    listing, traits = FakeList(range(1, 10_001), visible=lambda number: is_hidden(number, share)), ServerTraits()
    for _ in range(2):
        requests = count_requests(listing, traits, per_page=100, branch="main")
        assert requests <= 1.25 * 100 * share + 2


@given(count=counts, cap=st.integers(20, 99), read_ahead=read_aheads)
def test_cap_costs_two_requests(count: int, cap: int, read_ahead: int) -> None:
    """In each read: a page that is shorter than requested may be the last one of another list."""
    traits, listing = ServerTraits(), FakeList(range(1, count + 1), cap=cap)
    for _ in range(2):
        assert count_requests(listing, traits, per_page=100, read_ahead=read_ahead) <= -(-count // cap) + 2


@pytest.mark.parametrize(
    ("listing", "cursor", "per_page", "requests"),
    [
        pytest.param(FakeList(range(1, 6001)), Cursor(901, 100), 50, 21, id="5000-created"),
        pytest.param(FakeList(range(10, 22001, 10)), Cursor(1901, 10), 50, 16, id="2000-created-of-a-branch"),
        pytest.param(FakeList([*range(181, 201), *range(1, 28)]), Cursor(98, 68), 5, 15, id="most-deleted"),
        pytest.param(FakeList(range(1, 301), cap=30), Cursor(71, 230), 100, 5, id="cap"),
        pytest.param(FakeList(range(1, 101)), Cursor(50, 10**17), 100, 20, id="wrong-offset"),
        pytest.param(FakeList([]), Cursor(50, 10**17), 100, 20, id="wrong-offset-in-an-empty-list"),
    ],
)
def test_resumed_read_finds_its_position(listing: FakeList, cursor: Cursor, per_page: int, requests: int) -> None:
    assert count_requests(listing, ServerTraits(), per_page=per_page, cursor=cursor) <= requests
