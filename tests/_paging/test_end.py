"""Where a list ends: what a client trusts, what it requests, and what it never says of an end that is in doubt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from buddy_sessions._paging.pacing import ServerLimits
from buddy_sessions._paging.reconciler import PageResult, ReadSpec, Reconciler
from helpers.fake_list import FakeList, FaultyList, assert_exact, experienced, read_list, session
from helpers.read_machine import ReadMachine, read_aheads


@pytest.mark.parametrize(
    ("ids", "options", "requests"),
    [
        pytest.param(range(31, 41), {}, 1, id="short"),
        pytest.param(range(31, 41), {"limits": ServerLimits()}, 2, id="first-of-a-client"),
        pytest.param(range(31, 41), {"check_end": True}, 2, id="always-checked"),
        pytest.param([], {"limits": ServerLimits()}, 1, id="empty"),
        pytest.param(range(31, 41), {"check_end": True, "after": 30}, 1, id="down-to-after"),
        pytest.param([5, 3, 1], {"check_end": True}, 1, id="number-1"),
        pytest.param(range(31, 61), {"per_page": 100, "limits": ServerLimits()}, 3, id="perhaps-cut"),
        pytest.param(range(31, 71), {}, 4, id="after-a-full-page"),
        pytest.param(range(301, 381), {"read_ahead": 4}, 9, id="after-full-pages-read-ahead"),
    ],
)
def test_what_an_end_costs(ids: Sequence[int], options: dict[str, Any], requests: int) -> None:
    options = {"limits": experienced()} | options
    found, count, reconciler = read_list(FakeList(ids), **options)
    assert (found, count, reconciler.verified) == (sorted(ids, reverse=True), requests, True)


def test_row_after_a_short_page_ends_the_trust(caplog: pytest.LogCaptureFixture) -> None:
    """Later reads go on after short pages; there is one warning."""
    limits, hidden = ServerLimits(), range(41, 49)
    for _ in range(3):
        found, _, reconciler = read_list(FaultyList(range(11, 91), hidden=hidden), limits)
        assert (found, reconciler.verified) == ([n for n in range(90, 10, -1) if n not in hidden], True)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("limits", [ServerLimits, experienced])
def test_cap_that_drops_while_the_list_grows(limits: Callable[[], ServerLimits]) -> None:
    """The server counts pages by the new size: the next ones have only known rows."""
    listing = FakeList(range(1, 801))

    def change(requests: int) -> None:
        listing.create({1: 29, 2: 108}.get(requests, 0))
        listing.cap = 40 if requests else None

    found, _, reconciler = read_list(listing, limits(), change, per_page=100)
    assert (found, reconciler.verified) == (list(range(800, 0, -1)), True)


def test_list_that_shrinks_to_a_short_page_of_known_rows() -> None:
    """The read ahead stops there."""
    listing = FakeList(range(31, 191))

    def shrink(requests: int) -> None:
        if requests == 5:
            listing.create(30)
            del listing.numbers[101:]

    found, requests, reconciler = read_list(listing, ServerLimits(), shrink, read_ahead=4)
    assert (found, reconciler.verified) == (list(range(190, 90, -1)), True)
    assert requests <= 12


@pytest.mark.parametrize("page_4", [[], [78, 77]])
def test_page_requested_before_a_short_one_proves_no_end(page_4: list[int]) -> None:
    """Rows may have moved there since. They are requested again."""
    reconciler = Reconciler(ReadSpec(), per_page=20, limits=ServerLimits(), read_ahead=2)
    for numbers in (range(120, 100, -1), range(100, 80, -1), range(90, 75, -1), page_4):
        windows = reconciler.windows()
        reconciler.accept_page([session(number) for number in numbers])
    assert (reconciler.is_done, reconciler.windows()) == (False, windows)


class EndMachine(ReadMachine):
    """The ends of lists: hidden rows while sessions are created or deleted; or an honest cap, and deletions at the end.

    Rows that move down and up again, and hidden blocks of a page, cannot be noticed: rows are only created or only
    deleted, and at most four of five rows in succession are hidden.
    """

    @initialize(
        random=st.randoms(use_true_random=False),
        count=st.integers(0, 250),
        is_hiding=st.booleans(),
        change=st.sampled_from(["create", "delete"]),
        cap=st.sampled_from([20, 30, 60]),
        per_page=st.sampled_from([20, 30, 50, 100]),
        read_ahead=read_aheads,
        check_end=st.booleans(),
    )
    def begin(
        self,
        random: Random,
        count: int,
        is_hiding: bool,
        change: str,
        cap: int,
        per_page: int,
        read_ahead: int,
        check_end: bool,
    ) -> None:
        numbers = range(31, 31 + count)
        share = random.choice([0.02, 0.3, 0.7]) if is_hiding else 0
        self.hidden = {number for number in numbers if number % 5 and random.random() < share}
        self.listing = FaultyList(numbers, hidden=self.hidden)
        self.listing.cap = None if is_hiding else cap
        self.is_hiding, self.change = is_hiding, change
        self.found: list[int] = []
        self.limits = ServerLimits()
        self.reader = Reconciler(
            ReadSpec(check_end=check_end), per_page=per_page, limits=self.limits, read_ahead=read_ahead
        )

    @rule(count=st.integers(1, 30))
    def create(self, count: int) -> None:
        if self.change == "create" or not self.is_hiding:
            self.listing.create(count)

    @rule(offsets=st.lists(st.integers(0, 300), min_size=1, max_size=30))
    def delete(self, offsets: list[int]) -> None:
        if self.change == "delete" or not self.is_hiding:
            super().delete(offsets)

    @rule(count=st.integers(1, 60))
    def delete_tail(self, count: int) -> None:
        if self.change == "delete" or not self.is_hiding:
            for _ in range(count):
                self.listing.delete(-1)

    def take(self, result: PageResult) -> None:
        self.found += [session.relative_id for session in result.sessions]

    def teardown(self) -> None:
        if not hasattr(self, "reader"):
            return
        self.finish(max_reads=200)
        assert not self.is_unstable
        if not self.is_hiding:
            assert self.reader.verified
            assert not self.limits.rows_follow_short_pages
        if self.reader.verified:
            assert_exact(self.found, self.listing.stable - self.hidden)


def test_end_is_verified_only_if_nothing_is_missed() -> None:
    run_state_machine_as_test(EndMachine, settings=settings(stateful_step_count=30))
