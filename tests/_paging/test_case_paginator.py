"""`CasePlan` against lists of any length and cap, which may grow, or have hidden rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import TestCase, TestStatus, UnstableListingError
from buddy_sessions._paging.case_paginator import CasePlan
from buddy_sessions._paging.pacing import PageSize, ServerTraits


def make_cases(count: int) -> list[TestCase]:
    return [TestCase(id=f"c{number}", name=f"test {number}", status=TestStatus.PASSED) for number in range(count)]


def make_plan(expected: int | None = None, **options: Any) -> CasePlan:
    page_size = PageSize(options.pop("per_page", 100), options.pop("traits", None) or ServerTraits())
    plan = CasePlan(page_size, **{"read_ahead": 1, "status": None, "max_cases": None, **options})
    plan.expected = expected
    return plan


def read(plan: CasePlan, cases: Sequence[TestCase], cap: int = 10**9) -> tuple[list[TestCase], int]:
    """Return the cases that a read yields, and the number of requests, without those for pages that were dropped."""
    result: list[TestCase] = []
    requests = 0
    while not plan.is_complete:
        requests += 1
        window = plan.windows()[0]
        size = min(window.per_page, cap)
        result += plan.accept_page(window, cases[(window.page - 1) * size :][:size])
    return result, requests


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
    cases, traits = make_cases(count), ServerTraits()
    traits.longest_page = min(known_size, cap)
    plan = make_plan(per_page=per_page, traits=traits, read_ahead=read_ahead, expected=count if is_known else None)
    found, requests = read(plan, cases, cap)
    assert found == cases
    assert (plan.count, plan.is_verified) == (count, is_known)
    assert requests <= count // min(per_page, cap) + 2


def test_cases_that_are_added_after_a_cut_page() -> None:
    """Page 1 has all cases of a running session so far."""
    plan, cases = make_plan(), make_cases(130)
    found = plan.accept_page(plan.windows()[0], cases[:45])
    assert found + read(plan, cases)[0] == cases


def test_hidden_rows_make_no_early_end() -> None:
    """The server has hidden five rows after it had cut the page, so the page is short."""
    cases, plan = make_cases(45), make_plan(per_page=20, expected=45)
    found: list[TestCase] = []
    for rows in (cases[:15], cases[20:40], cases[40:], []):
        assert not plan.is_complete
        found += plan.accept_page(plan.windows()[0], rows)
    assert plan.is_complete
    assert found == cases[:15] + cases[20:]


def test_same_page_for_ever() -> None:
    plan, page = make_plan(), make_cases(100)
    for _ in range(101):
        plan.accept_page(plan.windows()[0], page)
    window = plan.windows()[0]
    with pytest.raises(UnstableListingError, match="100 pages of test cases in a row contained nothing new"):
        plan.accept_page(window, page)


@pytest.mark.slow
def test_new_cases_for_ever() -> None:
    plan = make_plan()
    with pytest.raises(UnstableListingError, match="more than 1,000,000 test cases"):
        plan.accept_page(plan.windows()[0], make_cases(1_000_001))
