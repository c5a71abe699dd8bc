"""`CasePlan` against lists of a model server: capped pages, refused sizes, repeated and hidden rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import TestCase, TestStatus, UnstableListingError
from buddy_sessions._paging.case_plan import CasePlan
from buddy_sessions._paging.server_limits import ServerLimits
from buddy_sessions._paging.window import Window


def make_cases(count: int, status: TestStatus = TestStatus.PASSED) -> list[TestCase]:
    return [TestCase(id=f"c{number}", name=f"test {number}", status=status) for number in range(count)]


def make_plan(**options: Any) -> CasePlan:
    defaults: dict[str, Any] = {
        "per_page": 100,
        "limits": ServerLimits(),
        "read_ahead": 1,
        "status": None,
        "max_cases": None,
        "expected": None,
    }
    return CasePlan(**defaults | options)


def page(cases: Sequence[TestCase], window: Window, cap: int = 10**9) -> Sequence[TestCase]:
    size = min(window.per_page, cap)
    return cases[(window.page - 1) * size :][:size]


def read(plan: CasePlan, cases: Sequence[TestCase], cap: int = 10**9) -> tuple[list[TestCase], int]:
    """Return the cases that a read yields, and the number of requests, without those for pages that were dropped."""
    result: list[TestCase] = []
    requests = 0
    while not plan.is_complete:
        requests += 1
        window = plan.windows()[0]
        result += plan.accept_page(window, page(cases, window, cap))
    return result, requests


@pytest.mark.parametrize(
    ("count", "expected", "requests"),
    [
        (0, None, 1),
        (7, None, 1),
        (100, None, 2),
        (250, None, 3),
        (0, 0, 1),
        (7, 7, 1),
        (100, 100, 2),
        (9_999, 9_999, 100),
    ],
)
def test_number_of_requests(count: int, expected: int | None, requests: int) -> None:
    cases = make_cases(count)
    plan = make_plan(expected=expected)
    assert read(plan, cases) == (cases, requests)
    assert (plan.count, plan.duplicates) == (count, 0)


@pytest.mark.parametrize("expected", [10, 30])
def test_list_with_another_number_than_the_session_counts(expected: int) -> None:
    cases = make_cases(20)
    plan = make_plan(expected=expected)
    assert read(plan, cases) == (cases, 2)
    assert plan.count == 20


def test_hidden_rows_make_no_early_end() -> None:
    """The server has hidden five rows after it had cut the page, so the page is short."""
    cases = make_cases(45)
    plan = make_plan(per_page=20, expected=45)
    pages = [[*cases[:15]], cases[20:40], cases[40:], []]
    found: list[TestCase] = []
    for rows in pages:
        assert not plan.is_complete
        found += plan.accept_page(plan.windows()[0], rows)
    assert plan.is_complete
    assert found == cases[:15] + cases[20:]


@pytest.mark.parametrize(("expected", "sizes"), [(None, [1, 1]), (350, [4, 4]), (150, [2, 2]), (200, [3, 3])])
def test_pages_are_requested_in_advance_if_their_number_is_known(expected: int | None, sizes: list[int]) -> None:
    cases = make_cases(350)
    plan = make_plan(read_ahead=4, expected=expected)
    assert [window.page for window in plan.windows()] == list(range(1, sizes[0] + 1))
    plan.accept_page(Window(1, 100), cases[:100])
    assert plan.windows()[0] == Window(2, 100)


def test_refused_size() -> None:
    plan = make_plan(per_page=100, read_ahead=2, expected=45)
    assert plan.on_bad_request(Window(1, 100))
    assert plan.windows() == [Window(1, 20), Window(2, 20)]
    assert not plan.on_bad_request(Window(1, 20))
    assert read(plan, make_cases(45))[0] == make_cases(45)


def test_size_of_the_server_is_learned() -> None:
    limits, cases = ServerLimits(), make_cases(130)
    assert read(make_plan(limits=limits, expected=130), cases, cap=50) == (cases, 3)
    assert limits.cap == 50
    plan = make_plan(limits=limits, expected=130, read_ahead=3)
    assert [window.per_page for window in plan.windows()] == [50] * 3
    assert read(plan, cases, cap=50) == (cases, 3)


def test_growing_list_does_not_look_like_a_cap() -> None:
    """The session is still running: the cases that follow a short page may be new."""
    limits, cases = ServerLimits(), make_cases(130)
    plan = make_plan(limits=limits)
    assert plan.accept_page(plan.windows()[0], cases[:45]) == cases[:45]
    assert read(plan, cases)[0] == cases[45:]
    assert limits.cap is None


def test_last_page_does_not_lower_the_size() -> None:
    limits, cases = ServerLimits(), make_cases(150)
    assert read(make_plan(limits=limits, expected=150), cases) == (cases, 2)
    assert limits.cap is None


def test_status_is_checked() -> None:
    """A server may ignore the filter, or the status may have changed."""
    failed, passed = make_cases(3, TestStatus.FAILED), make_cases(6)[3:]
    plan = make_plan(status=TestStatus.FAILED, expected=3)
    assert read(plan, passed + failed)[0] == failed
    assert plan.count == 3


def test_same_page_for_ever() -> None:
    cases = make_cases(100)
    plan = make_plan()
    requests = 0

    def read_for_ever() -> None:
        nonlocal requests
        while True:
            requests += 1
            plan.accept_page(plan.windows()[0], cases)

    with pytest.raises(UnstableListingError, match="100 pages of test cases in a row contained nothing new"):
        read_for_ever()
    assert requests == 102


def test_list_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buddy_sessions._paging.stability.MAX_ROWS_BY_ID", 1000)
    with pytest.raises(UnstableListingError, match="more than 1,000 test cases"):
        read(make_plan(expected=10**9), make_cases(5000))


@given(
    count=st.integers(0, 300),
    per_page=st.integers(1, 120),
    cap=st.integers(20, 150),
    read_ahead=st.integers(1, 5),
    is_known=st.booleans(),
    known_size=st.integers(20, 150),
)
def test_every_case_is_read_once(
    count: int, per_page: int, cap: int, read_ahead: int, is_known: bool, known_size: int
) -> None:
    cases, limits = make_cases(count), ServerLimits()
    limits.known_size = min(known_size, cap)
    plan = make_plan(per_page=per_page, limits=limits, read_ahead=read_ahead, expected=count if is_known else None)
    found, requests = read(plan, cases, cap)
    assert found == cases
    assert plan.count == count
    assert requests <= count // min(per_page, cap) + 2
