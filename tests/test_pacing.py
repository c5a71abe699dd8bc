from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import RateLimit
from buddy_sessions.pacing import backoff

NOW = datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)
DATE = "Tue, 21 Oct 2025 06:42:16 GMT"


def parse(**headers: str) -> RateLimit | None:
    return RateLimit.from_headers({name.replace("_", "-"): value for name, value in headers.items()}, now=NOW)


def test_the_headers_of_buddy_are_read() -> None:
    limit = parse(
        X_Rate_Limit_Limit="100", X_Rate_Limit_Remaining="7", X_Rate_Limit_Reset=str(int(NOW.timestamp()) + 30)
    )
    assert limit == RateLimit(limit=100, remaining=7, reset_at=NOW + timedelta(seconds=30), retry_after=30.0)


def test_an_answer_that_says_nothing_gives_nothing() -> None:
    assert parse(Content_Type="application/json") is None


def test_the_wait_counts_from_the_servers_own_clock() -> None:
    limit = RateLimit.from_headers({"X-Rate-Limit-Reset": str(int(NOW.timestamp()) + 30), "Date": DATE})
    assert limit is not None
    assert limit.retry_after == 30.0


def test_without_a_date_the_wait_counts_from_this_machines_clock() -> None:
    reset = datetime.now(UTC) + timedelta(seconds=100)
    limit = RateLimit.from_headers({"X-Rate-Limit-Reset": str(int(reset.timestamp()))})
    assert limit is not None
    assert limit.retry_after is not None
    assert 90 < limit.retry_after <= 100


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        ("12", 12.0),
        ("0", 0.0),
        ("Tue, 21 Oct 2025 06:43:16 GMT", 60.0),
        ("Tue, 21 Oct 2025 06:42:16 -0000", 0.0),
        ("Tue, 21 Oct 2020 06:42:16 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("Tue, 99 Oct 2025 06:42:16 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(after: str, seconds: float | None) -> None:
    limit = parse(Retry_After=after, Date=DATE)
    assert limit is not None
    assert limit.retry_after == seconds


def test_retry_after_beats_the_reset() -> None:
    limit = parse(Retry_After="3", X_Rate_Limit_Reset=str(int(NOW.timestamp()) + 30))
    assert limit is not None
    assert limit.retry_after == 3.0


@pytest.mark.parametrize("reset", ["", "0", "-1", "soon", "1e9", "٣", "9" * 15, "9" * 40])
def test_a_reset_that_makes_no_sense_is_no_reset(reset: str) -> None:
    limit = parse(X_Rate_Limit_Reset=reset, X_Rate_Limit_Limit="1")
    assert limit == RateLimit(limit=1)


@given(st.dictionaries(st.sampled_from(["X-Rate-Limit-Reset", "Retry-After", "Date"]), st.text()))
def test_no_header_can_break_it(headers: dict[str, str]) -> None:
    limit = RateLimit.from_headers(headers)
    assert limit is None or limit.retry_after is None or limit.retry_after >= 0


def test_backoff_grows_is_jittered_and_bounded() -> None:
    waits = {retry: [backoff(retry) for _ in range(300)] for retry in (1, 3, 5000)}
    assert max(waits[1]) <= 1.0 < max(waits[3]) <= 4.0 < max(waits[5000]) <= 20.0
    assert min(waits[5000]) < 1.0
