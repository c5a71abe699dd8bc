"""The formats of numbers and durations in a report."""

from __future__ import annotations

import pytest

from buddy_sessions.cli.report import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0 %"),
        (0.04, "<1 %"),
        (0.5, "<1 %"),
        (0.51, "1 %"),
        (66.67, "67 %"),
        (99.49, "99 %"),
        (99.5, ">99 %"),
        (99.96, ">99 %"),
        (100, "100 %"),
    ],
)
def test_only_all_is_100_percent_and_only_none_is_0_percent(value: float | None, text: str) -> None:
    assert formats.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(10, "+10 %"), (12.6, "+13 %"), (-49.6, "\N{MINUS SIGN}50 %"), (12345, "+12,345 %"), (1e14, "+1e+14 %")],
)
def test_change_has_a_sign(value: float, text: str) -> None:
    assert formats.signed_percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (0.0004, "<1ms"),
        (0.0005, "<1ms"),
        (0.0126, "13ms"),
        (0.0994, "99ms"),
        (0.0996, "0.1s"),
        (0.44, "0.4s"),
        (90, "1m30s"),
        (99_999_999, "1157d09h"),
        (10**8, ">3y"),
        (1e300, ">3y"),
    ],
)
def test_duration_above_zero_is_not_shown_as_zero(value: float | None, text: str) -> None:
    assert formats.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (1300, "1,300"), (0.5, "0.5"), (99_999_999, "99,999,999"), (10**8, "1e+08"), (2**62, "5e+18")],
)
def test_huge_number_is_short(value: float | None, text: str) -> None:
    assert formats.number(value) == text
    assert len(text) < 12


def test_count_has_a_noun() -> None:
    assert [formats.count(value, "test") for value in (0, 1, 1300)] == ["0 tests", "1 test", "1,300 tests"]
