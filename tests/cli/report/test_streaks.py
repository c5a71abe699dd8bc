"""Since when a suite or a test has been failing, in a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from buddy_sessions import RefType, SessionStatus, TestKey
from buddy_sessions.cli.report.streaks import Streak, find_test_streak, suite_streak
from helpers.report_sessions import FAILED, PASSED, SKIPPED, sessions

TEST, OTHER_TEST = TestKey("tests", "Cart", "adds"), TestKey("tests", "Cart", "removes")
FAILS, OTHER_FAILS, NOTHING_FAILS = frozenset({TEST}), frozenset({OTHER_TEST}), frozenset[TestKey]()
Numbers = tuple[int, int, bool]


def numbers(streak: Streak | None) -> Numbers | None:
    """Return the number of the first session, the length, and whether the streak is complete."""
    return streak and (streak.first.relative_id, streak.length, streak.is_complete)


def case_streak(
    statuses: Iterable[SessionStatus], failing: Sequence[frozenset[TestKey] | None], **columns: Any
) -> Numbers | None:
    """Return the streak of `TEST`. `failing` lists the failing tests of each session, None if they were not saved."""
    finished = sessions(statuses, **columns)
    saved = {it.id: keys for it, keys in zip(reversed(finished), failing, strict=True) if keys is not None}
    return numbers(find_test_streak(finished, saved, TEST))


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], None),
        ([FAILED, PASSED], None),
        ([FAILED, SKIPPED], None),
        ([FAILED], (1, 1, True)),
        ([FAILED, PASSED, FAILED, FAILED], (3, 2, True)),
        ([PASSED, FAILED, SKIPPED, SessionStatus("NEW"), FAILED], (2, 2, True)),
    ],
)
def test_suite_fails_since_the_first_session_after_one_that_passed(
    statuses: list[SessionStatus], expected: Numbers | None
) -> None:
    finished = sessions(statuses) if statuses else []
    assert numbers(suite_streak(finished)) == expected


def test_suite_fails_on_the_branch_of_its_newest_session() -> None:
    """Sessions of other branches, and of a tag with the same name, neither end the streak nor count."""
    finished = sessions(
        [PASSED, FAILED, FAILED, PASSED, PASSED, FAILED],
        branch=["main", "main", "a", "a", "main", "main"],
        ref_type=[*[RefType.BRANCH] * 4, RefType.TAG, RefType.BRANCH],
    )
    assert numbers(suite_streak(finished)) == (2, 2, True)


def test_test_fails_since_the_first_session_after_one_in_which_it_did_not() -> None:
    assert case_streak([FAILED] * 4, [FAILS, OTHER_FAILS, FAILS, FAILS | OTHER_FAILS]) == (3, 2, True)


def test_session_that_passed_ends_the_streak_of_a_test_whether_its_cases_were_saved_or_not() -> None:
    assert case_streak([FAILED, PASSED, FAILED], [FAILS, NOTHING_FAILS, FAILS]) == (3, 1, True)
    assert case_streak([FAILED, PASSED, FAILED], [FAILS, None, FAILS]) == (3, 1, True)


def test_sessions_without_tests_are_passed_over() -> None:
    assert case_streak(
        [FAILED, FAILED, SKIPPED, SKIPPED, FAILED], [FAILS, NOTHING_FAILS, NOTHING_FAILS, None, FAILS]
    ) == (
        1,
        2,
        True,
    )


def test_streak_of_a_test_is_not_complete_if_the_cases_before_were_not_saved() -> None:
    assert case_streak([FAILED, FAILED, FAILED], [FAILS, None, FAILS]) == (3, 1, False)


def test_test_fails_on_the_branch_of_the_newest_session() -> None:
    branch = ["main", "a", "main"]
    assert case_streak([FAILED, PASSED, FAILED], [FAILS, NOTHING_FAILS, FAILS], branch=branch) == (1, 2, True)
