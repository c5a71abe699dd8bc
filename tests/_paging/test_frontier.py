"""The proof: which pages a frontier accepts, and which kind of doubt it names otherwise."""

from __future__ import annotations

import pytest

from buddy_sessions._paging.frontier import Accepted, Frontier, Gap, PageCheck, Skipped, Unordered
from buddy_sessions._paging.pacing import Window
from helpers.fake_list import session


def frontier_after(*relative_ids: int) -> Frontier:
    frontier = Frontier(None)
    frontier.move([session(each) for each in relative_ids], 0)
    return frontier


def check(frontier: Frontier, *relative_ids: int, page: int = 2, is_early: bool = False) -> PageCheck:
    sessions = [session(each) for each in relative_ids]
    return frontier.check(Window(page, 3), sessions, requested_before_last_accept=is_early)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param((202, 201), Accepted(0), id="touches"),
        pytest.param((204, 203, 202), Accepted(2), id="overlaps"),
        pytest.param((204, 203), Accepted(2), id="known"),
        pytest.param((201, 200), Gap(), id="202-may-exist"),
        pytest.param((), Gap(), id="empty"),
        pytest.param((205, 202, 201), Accepted(1), id="two-were-deleted"),
        pytest.param((207, 206), Skipped(), id="all-are-newer"),
        pytest.param((206, 202, 201), Skipped(), id="all-were-deleted"),
        pytest.param((202, 202), Unordered(), id="twice"),
        pytest.param((201, 202), Unordered(), id="rising"),
    ],
)
def test_which_pages_leave_no_gap(page: tuple[int, ...], expected: PageCheck) -> None:
    assert check(frontier_after(205, 204, 203), *page) == expected


def test_rows_above_are_requested_once_until_the_next_new_row() -> None:
    frontier = frontier_after(205, 204, 203)
    frontier.mark_reread_above()
    assert check(frontier, 207, 206) == Accepted(2)
    frontier.move([session(202)], 0)
    assert check(frontier, 207, 206) == Skipped()
