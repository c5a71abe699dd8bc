"""The reconciler, by examples: orders and limits that the state machines of the guarantee hardly meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from buddy_sessions import Cursor, Session
from buddy_sessions._paging.pacing import ServerLimits
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import PageResult, ReadSpec
from helpers.fake_list import FakeList, FaultyList, experienced, read_list, session

START = datetime(2026, 1, 1, tzinfo=UTC)


def ids_of(sessions: Sequence[Session]) -> list[int]:
    return [session.relative_id for session in sessions]


def accept(reconciler: Reconciler, page: Sequence[Session]) -> PageResult:
    reconciler.windows()
    return reconciler.accept_page(page)


def test_limit_adds_no_window_and_keeps_those_returned_before() -> None:
    listing = FakeList(range(1, 1001))
    reconciler = Reconciler(ReadSpec(), per_page=20, limits=ServerLimits(), read_ahead=8)
    ahead = []
    for _ in range(5):
        windows = reconciler.windows(1)
        ahead.append(len(windows))
        reconciler.accept_page(listing.read(windows[0]))
    assert ahead == [1] * 5
    assert [len(reconciler.windows(limit)) for limit in (1, 5, 2, 100)] == [1, 5, 5, 8]


def test_only_stalled_pages_in_a_row_raise() -> None:
    listing = FakeList(range(1, 4001))
    found, requests, _ = read_list(listing, ServerLimits(), lambda requests: listing.delete(0) if requests else None)
    assert requests > 200 + 110
    assert listing.stable <= set(found)


def test_joined_pages_prove_no_range_that_since_left_out() -> None:
    """A rejected page is taken together with the page that closes the gap, which has an old session."""

    def page(newest: int) -> list[Session]:
        relative_ids = range(newest, newest - 20, -1)
        return [attrs.evolve(session(each), create_date=START + timedelta(each != 79)) for each in relative_ids]

    for since, proven in (None, (59, 80)), (START + timedelta(0.5), (80, 80)):
        reconciler = Reconciler(ReadSpec(since=since), per_page=20, limits=ServerLimits())
        accept(reconciler, page(100))
        assert accept(reconciler, page(78)).sessions == ()
        result = accept(reconciler, page(81))
        assert ids_of(result.sessions) == [80, *([] if since else [79]), *range(78, 58, -1)]
        assert result.proven_range == proven


class TestOrder:
    @pytest.mark.parametrize(
        ("pages", "found"),
        [
            pytest.param(["2 3 2"], "2 3", id="repeated-row"),
            pytest.param(["2 2b"], "2 2b", id="same-relative-id-twice"),
            pytest.param(["8 7", "7b 6"], "8 7 7b 6", id="twice-at-a-page-border"),
            pytest.param(["9 7 5", "6 4"], "9 7 5 6 4", id="row-below-a-page-border"),
            pytest.param(["9 8 7", "8 7 5 6"], "9 8 7 5 6", id="known-rows"),
        ],
    )
    def test_unordered_rows_are_yielded_once(self, pages: list[str], found: str) -> None:
        rows = [[session(int(name[0]), name[1:]) for name in page.split()] for page in pages]
        reconciler = Reconciler(ReadSpec(), per_page=len(rows[0]), limits=ServerLimits())
        results = [accept(reconciler, page) for page in rows]
        assert [one.id for result in results for one in result.sessions] == [f"id{name}" for name in found.split()]
        assert sum(result.duplicates for result in results) == sum(map(len, rows)) - len(found.split())
        assert (results[-1].proven_range, reconciler.verified) == (None, False)

    @pytest.mark.parametrize("per_page", [1, 3, 20, 100])
    @pytest.mark.parametrize("read_ahead", [1, 4])
    def test_page_of_rows_farther_up_the_order_is_no_growth(self, per_page: int, read_ahead: int) -> None:
        """The first page is in order, and so is the second one, as if as many sessions had been created."""
        top = 3 * per_page + 11
        listing = FaultyList(range(1, top), moved={each: each + top for each in range(3, per_page + 3)})
        found, _, reconciler = read_list(listing, ServerLimits(), per_page=per_page, read_ahead=read_ahead)
        assert (set(found), reconciler.verified) == (set(listing.numbers), False)

    @pytest.mark.parametrize(("moved", "per_page"), [({1: 3.5}, 3), ({2: 0.5}, 4), ({4: 0.5}, 4)], ids=str)
    def test_list_that_goes_on_after_relative_id_1(self, moved: dict[int, float], per_page: int) -> None:
        listing = FaultyList(range(1, 6), moved=moved)
        found, _, reconciler = read_list(listing, ServerLimits(), per_page=per_page)
        assert (set(found), reconciler.verified) == (set(listing.numbers), False)

    def test_unordered_list_goes_on_after_a_page_of_hidden_rows(self) -> None:
        limits = ServerLimits()
        limits.distrust_short_pages()
        listing = FaultyList(range(1, 61), moved={60: 58.5}, hidden=[50, *range(21, 41)])
        found, *_ = read_list(listing, limits)
        assert set(found) == set(listing.numbers) - {50, *range(21, 41)}

    @pytest.mark.parametrize("cursor", [None, Cursor(1000, 0)])
    @pytest.mark.parametrize(
        ("ids", "per_page"),
        [
            pytest.param(range(1, 51), 1, id="rising"),
            pytest.param([*range(20, 0, -1), *range(50, 20, -1)], 20, id="two-blocks"),
            pytest.param([*range(30, 10, -1), *range(60, 30, -1)], 20, id="two-blocks-above-1"),
        ],
    )
    def test_first_page_alone_shows_no_order(self, ids: Sequence[int], per_page: int, cursor: Cursor | None) -> None:
        """Its last row may be number 1, and others follow."""
        listing = FaultyList(ids, moved={number: -index for index, number in enumerate(ids)})
        found, _, reconciler = read_list(listing, experienced(), per_page=per_page, cursor=cursor)
        assert (set(found), reconciler.verified) == (set(ids), False)
