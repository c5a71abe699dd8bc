"""The reconciler, by examples: ends, orders and limits that the state machines of the guarantee hardly meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from buddy_sessions import Session
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.scope import PageResult, ReadSpec
from buddy_sessions._paging.window import ServerLimits, Window
from helpers.fake_list import FakeList, FaultyList, experienced, session

START = datetime(2026, 1, 1, tzinfo=UTC)


def ids_of(sessions: Sequence[Session]) -> list[int]:
    return [session.relative_id for session in sessions]


def read_all(reconciler: Reconciler, listing: FakeList) -> tuple[list[Window], list[int]]:
    """Read a list that does not change; return the windows that were read, and the `relative_id`s that were new."""
    windows: list[Window] = []
    relative_ids: list[int] = []
    while not reconciler.is_done:
        windows.append(reconciler.windows()[0])
        relative_ids += ids_of(reconciler.accept_page(listing.read(windows[-1])).sessions)
    return windows, relative_ids


def accept(reconciler: Reconciler, page: Sequence[Session]) -> PageResult:
    reconciler.windows()
    return reconciler.accept_page(page)


def test_limit_adds_no_window_and_keeps_those_returned_before() -> None:
    reconciler = Reconciler(ReadSpec(), per_page=20, limits=ServerLimits(), read_ahead=8)
    accept(reconciler, FakeList(range(1, 1001)).read(Window(1, 20)))
    assert [len(reconciler.windows(limit)) for limit in (1, 5, 2, 100)] == [1, 5, 5, 8]


def test_only_stalled_pages_in_a_row_raise() -> None:
    listing = FakeList(range(1, 4001))
    reconciler = Reconciler(ReadSpec(), per_page=20, limits=ServerLimits())
    found: set[int] = set()
    stalled = 0
    while not reconciler.is_done:
        result = reconciler.accept_page(listing.read(reconciler.windows()[0]))
        stalled += not result.sessions
        found.update(ids_of(result.sessions))
        listing.delete(0)
    assert stalled > 110
    assert listing.stable <= found


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


class TestEnd:
    @pytest.mark.parametrize(
        ("relative_ids", "options", "requests"),
        [
            pytest.param(range(31, 41), {}, 1, id="one-in-fifty"),
            pytest.param(range(31, 41), {"limits": ServerLimits()}, 3, id="first-of-a-client"),
            pytest.param(range(31, 41), {"check_end": True}, 3, id="requested"),
            pytest.param([], {"check_end": True}, 3, id="empty-list"),
            pytest.param(range(31, 41), {"check_end": True, "after": 29}, 3, id="above-after"),
            pytest.param(range(31, 41), {"check_end": True, "after": 30}, 1, id="down-to-after"),
            pytest.param(range(31, 41), {"check_end": True, "max_sessions": 10}, 1, id="down-to-max-sessions"),
            pytest.param([5, 3, 1], {"check_end": True}, 1, id="relative-id-1"),
            pytest.param(range(11, 990), {}, 49, id="49-pages"),
            pytest.param(range(11, 992), {}, 52, id="50-pages"),
        ],
    )
    def test_which_ends_are_checked(self, relative_ids: Sequence[int], options: Any, requests: int) -> None:
        limits = options.pop("limits", None) or experienced()
        reconciler = Reconciler(ReadSpec(**options), per_page=20, limits=limits)
        windows, found = read_all(reconciler, FakeList(relative_ids))
        assert found == sorted(relative_ids, reverse=True)
        assert len(windows) == requests

    def test_page_before_since_ends_a_read(self) -> None:
        old = [attrs.evolve(session(each), create_date=START) for each in (12, 11)]
        reconciler = Reconciler(
            ReadSpec(since=START + timedelta(1), check_end=True), per_page=20, limits=ServerLimits()
        )
        assert accept(reconciler, old).proven_range is None
        assert reconciler.is_complete

    @pytest.mark.parametrize("ahead", [1, 4])
    def test_page_cut_by_one_server_is_not_the_end(self, ahead: int) -> None:
        limits = ServerLimits()
        read_all(Reconciler(ReadSpec(), per_page=100, limits=limits), FakeList(range(1, 201)))
        listing = FakeList(range(1, 201), cap=30)
        reconciler = Reconciler(ReadSpec(), per_page=100, limits=limits, read_ahead=ahead)
        windows, found = read_all(reconciler, listing)
        assert (found, reconciler.verified) == (listing.numbers, True)
        assert all(window.per_page <= 30 for window in windows if window.page > 2)
        assert len(windows) <= 12
        windows, _ = read_all(Reconciler(ReadSpec(), per_page=100, limits=limits), FakeList(range(11, 21)))
        assert len(windows) == 3  # every end is checked from now on

    @pytest.mark.parametrize("hidden", [range(start, start + 8) for start in (97, 81, 41, 6)], ids=str)
    def test_page_with_hidden_rows_is_not_the_end(self, hidden: range) -> None:
        """A filter hides the last rows of a page after it was cut."""
        listing = FaultyList(range(1, 121), hidden=hidden)
        reconciler = Reconciler(ReadSpec(), per_page=20, limits=ServerLimits())
        _, found = read_all(reconciler, listing)
        assert found == [each for each in listing.numbers if each not in hidden]
        assert reconciler.verified

    def test_page_cut_by_another_server_farther_down_is_checked(self) -> None:
        """The server counts offsets by its own size, so the page has only known rows."""
        listing = FakeList(range(1, 301))
        reconciler = Reconciler(ReadSpec(), per_page=100, limits=experienced())
        found = [*ids_of(accept(reconciler, listing.read(Window(1, 100))).sessions)]
        found += ids_of(accept(reconciler, listing.read(Window(2, 100))).sessions)
        listing.cap = 30
        found += read_all(reconciler, listing)[1]
        assert found == listing.numbers

    @pytest.mark.parametrize("late", [1, 2])
    def test_end_of_a_list_that_was_empty_is_checked(self, late: int) -> None:
        """Rows appear during the check of the empty page: it read no end, so that this one is checked instead."""
        listing, limits = FakeList([]), ServerLimits()
        reconciler = Reconciler(ReadSpec(), per_page=20, limits=limits)
        for _ in range(late):
            accept(reconciler, listing.read(reconciler.windows()[0]))
        listing.create(50)
        for _ in range(5):
            listing.delete(-1)
        results: list[PageResult] = []
        while not reconciler.is_done:
            results.append(accept(reconciler, listing.read(reconciler.windows()[0])))
        assert [number for result in results for number in ids_of(result.sessions)] == listing.numbers
        assert results[-1].proven_range == (1, 5)
        assert limits.trusts_short_pages

    def test_end_of_a_list_that_outgrew_a_cap_is_checked(self) -> None:
        """Page 1 was too short to show the cap, by which the server counts the offset of page 2."""
        listing = FakeList([2], cap=20)
        reconciler = Reconciler(ReadSpec(), per_page=27, limits=ServerLimits())
        accept(reconciler, listing.read(reconciler.windows()[0]))
        listing.create(27)
        assert read_all(reconciler, listing)[1] == []
        assert reconciler.verified

    @pytest.mark.parametrize("limits", [ServerLimits, experienced])
    def test_end_after_an_inconclusive_check_is_checked(self, limits: Callable[[], ServerLimits]) -> None:
        """The server begins to cut pages, and many sessions are created during the first check."""
        listing = FakeList(range(1, 801))
        reconciler = Reconciler(ReadSpec(), per_page=100, limits=limits())
        found: list[int] = []
        for created in (0, 29, 108):
            listing.create(created)
            found += ids_of(accept(reconciler, listing.read(reconciler.windows()[0])).sessions)
            listing.cap = 60
        found += read_all(reconciler, listing)[1]
        assert (found, reconciler.verified) == (list(range(800, 0, -1)), True)

    @pytest.mark.parametrize(("changes", "verified"), [(2, True), (3, False)])
    def test_end_that_many_changes_keep_from_being_checked_is_not_verified(self, changes: int, verified: bool) -> None:
        listing = FakeList(range(101, 111))
        reconciler = Reconciler(ReadSpec(), per_page=50, limits=ServerLimits())
        proven = []
        while not reconciler.is_done:
            windows = reconciler.windows()
            if len(windows) == 2 and changes:  # the end is being checked
                changes -= 1
                listing.create(25)
            proven.append(reconciler.accept_page(listing.read(windows[0])).proven_range)
        assert [each for each in proven if each] == [(101, 110), (1, 100)][: 1 + verified]
        assert len(proven) < 20
        assert reconciler.verified == verified


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
        reconciler = Reconciler(ReadSpec(), per_page=per_page, limits=ServerLimits(), read_ahead=read_ahead)
        _, found = read_all(reconciler, listing)
        assert (set(found), reconciler.verified) == (set(listing.numbers), False)

    @pytest.mark.parametrize(("moved", "per_page"), [({1: 3.5}, 3), ({2: 0.5}, 4), ({4: 0.5}, 4)], ids=str)
    def test_list_that_goes_on_after_relative_id_1(self, moved: dict[int, float], per_page: int) -> None:
        listing = FaultyList(range(1, 6), moved=moved)
        reconciler = Reconciler(ReadSpec(), per_page=per_page, limits=ServerLimits())
        _, found = read_all(reconciler, listing)
        assert (set(found), reconciler.verified) == (set(listing.numbers), False)

    def test_unordered_list_is_read_to_an_empty_page_if_short_pages_are_not_trusted(self) -> None:
        limits = ServerLimits()
        limits.trusts_short_pages = False
        listing = FaultyList(range(1, 61), moved={60: 58.5}, hidden=[50, 30])
        _, found = read_all(Reconciler(ReadSpec(), per_page=20, limits=limits), listing)
        assert set(found) == set(listing.numbers) - {50, 30}
