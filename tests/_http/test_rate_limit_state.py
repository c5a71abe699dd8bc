from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions._http.rate_limit import RateLimitState, parse_rate_limit
from buddy_sessions.models import RateLimit

NOW = datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)
DATE = "Tue, 21 Oct 2025 06:42:16 GMT"
IN_30_SECONDS = str(int(NOW.timestamp()) + 30)


def parse(**headers: str) -> RateLimit | None:
    """Parse the headers of a response that was sent at `NOW`."""
    return parse_rate_limit({"Date": DATE} | {name.replace("_", "-"): value for name, value in headers.items()})


class TestHeaders:
    @pytest.mark.parametrize(
        ("headers", "limit"),
        [
            pytest.param({"Content_Type": "application/json"}, None, id="none"),
            pytest.param(
                {"X_Rate_Limit_Limit": "100", "X_Rate_Limit_Remaining": "7", "X_Rate_Limit_Reset": IN_30_SECONDS},
                RateLimit(limit=100, remaining=7, reset_at=NOW + timedelta(seconds=30), retry_after=30.0),
                id="all",
            ),
            pytest.param({"X_Rate_Limit_Remaining": "7"}, RateLimit(remaining=7), id="remaining-alone"),
            pytest.param(
                {"Retry_After": "3", "X_Rate_Limit_Reset": IN_30_SECONDS},
                RateLimit(reset_at=NOW + timedelta(seconds=30), retry_after=3.0),
                id="retry-after-overrides-reset",
            ),
            *(
                pytest.param({"Retry_After": text}, RateLimit(retry_after=seconds), id=f"retry-after-{text[:40]}")
                for text, seconds in [
                    ("12", 12.0),
                    ("Tue, 21 Oct 2025 06:43:16 GMT", 60.0),
                    ("Tue, 21 Oct 2020 06:42:16 GMT", 0.0),
                    ("-5", None),
                    ("9" * 400, None),
                    ("Tue, 21 Oct 99999999999999999999 06:42:16 GMT", None),
                ]
            ),
            *(
                pytest.param({"X_Rate_Limit_Limit": "1", "X_Rate_Limit_Reset": text}, RateLimit(limit=1), id=text[:20])
                for text in ["", "0", "-1", "soon", "1e9", "٣", "9" * 15, "9" * 40]
            ),
        ],
    )
    def test_reported_rate_limit(self, headers: dict[str, str], limit: RateLimit | None) -> None:
        assert parse(**headers) == (limit and attrs.evolve(limit, responded_at=NOW))

    @given(st.dictionaries(st.sampled_from(["X-Rate-Limit-Reset", "Retry-After", "Date"]), st.text()))
    def test_no_header_raises(self, headers: dict[str, str]) -> None:
        limit = parse_rate_limit(headers)
        assert limit is None or limit.retry_after is None or limit.retry_after >= 0


@pytest.mark.parametrize(
    ("limit", "now"),
    [
        pytest.param(RateLimit(limit=10, remaining=0), 0.0, id="no-reset"),
        pytest.param(RateLimit(limit=10, remaining=0, reset_at=NOW - timedelta(hours=1)), 0.0, id="reset-in-the-past"),
        pytest.param(RateLimit(remaining=0, reset_at=NOW + timedelta(seconds=10)), 10.0, id="no-limit-after-the-reset"),
    ],
)
def test_incomplete_report_blocks_nothing(limit: RateLimit, now: float) -> None:
    state = RateLimitState(max_wait=300.0, now=0.0, clock_offset=NOW.timestamp())
    state.update(limit, now=0.0)
    state.resume(0.0)
    assert state.next_turn(now, in_flight=9) == now


def test_pause_outlasts_a_max_wait_of_zero() -> None:
    """Otherwise a throttled request would be repeated at once, for ever."""
    state = RateLimitState(max_wait=0.0, now=0.0, clock_offset=0.0)
    state.pause(0.0, 0.0)
    assert state.expires_at == state.next_turn(0.4, in_flight=0) == 0.5
