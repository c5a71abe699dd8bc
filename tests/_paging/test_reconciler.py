"""The reconciler, by examples: orders and limits that the state machines of the guarantee hardly meet."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from buddy_sessions import Cursor, Session, UnstableListingError
from buddy_sessions._paging.pacing import ServerTraits
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import NewSessions, ReadSpec
from helpers.fake_list import FakeList, FaultyList, assert_exact, experienced, read_list, session


def accept(reconciler: Reconciler, page: Sequence[Session]) -> NewSessions:
    reconciler.windows()
    return reconciler.accept_page(page)


@pytest.mark.parametrize(
    ("offset", "page", "proven"),
    [
        pytest.param(40, range(220, 200, -1), (202, 202), id="overlaps"),
        pytest.param(40, range(202, 182, -1), (184, 202), id="touches"),
        pytest.param(40, range(201, 181, -1), None, id="session-202-may-exist"),
        pytest.param(0, range(201, 181, -1), (182, 201), id="page-1-may-lack-session-202"),
    ],
)
def test_page_proves_only_what_it_cannot_lack(offset: int, page: range, proven: tuple[int, int] | None) -> None:
    """After session 203. Page 1 may be outdated."""
    reconciler = Reconciler(ReadSpec(cursor=Cursor(203, offset)), per_page=20, traits=ServerTraits())
    size = reconciler.windows()[0].per_page
    assert accept(reconciler, [session(number) for number in page[:size]]).proven_range == proven


def test_only_stalled_pages_in_a_row_raise() -> None:
    listing = FakeList(range(1, 4001))
    found, requests, _ = read_list(listing, ServerTraits(), lambda requests: listing.delete(0) if requests else None)
    assert_exact(found, listing.stable)
    assert requests > 200 + 110


@pytest.mark.slow
def test_endless_list_in_no_order_raises() -> None:
    reconciler = Reconciler(ReadSpec(), per_page=100, traits=ServerTraits())
    with pytest.raises(UnstableListingError, match="more than 1,000,000 sessions, in no order"):
        accept(reconciler, [session(number) for number in range(1, 1_000_002)])


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        pytest.param(["2 2b"], "2 2b", id="same-relative-id-twice"),
        pytest.param(["9 7 5", "6 4"], "9 7 5 6 4", id="row-below-a-page-border"),
        pytest.param(["9 8 7", "8 7 5 6"], "9 8 7 5 6", id="rows-that-were-read"),
    ],
)
def test_unordered_rows_are_yielded_once(pages: list[str], found: str) -> None:
    rows = [[session(int(name[0]), name[1:]) for name in page.split()] for page in pages]
    reconciler = Reconciler(ReadSpec(), per_page=len(rows[0]), traits=ServerTraits())
    results = [accept(reconciler, page) for page in rows]
    assert [one.id for result in results for one in result.sessions] == [f"id{name}" for name in found.split()]
    assert (results[-1].proven_range, reconciler.verified) == (None, False)


@pytest.mark.parametrize("cursor", [None, Cursor(1000, 0)])
@pytest.mark.parametrize(
    ("ids", "per_page"),
    [
        pytest.param(range(1, 51), 1, id="rising"),
        pytest.param([*range(20, 0, -1), *range(50, 20, -1)], 20, id="two-blocks"),
        pytest.param([*range(30, 10, -1), *range(60, 30, -1)], 20, id="two-blocks-above-1"),
    ],
)
def test_first_page_alone_shows_no_order(ids: Sequence[int], per_page: int, cursor: Cursor | None) -> None:
    """Its last row may be number 1, and others follow."""
    listing = FaultyList(ids, moved={number: -index for index, number in enumerate(ids)})
    found, _, reconciler = read_list(listing, experienced(), per_page=per_page, cursor=cursor)
    assert (set(found), reconciler.verified) == (set(ids), False)
