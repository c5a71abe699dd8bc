from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions._http.rate_window import RateWindow, is_throttled, parse_rate_limit
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
                    ("Tue, 21 Oct 2025 06:42:16 -0000", 0.0),
                    ("Tue, 21 Oct 2020 06:42:16 GMT", 0.0),
                    ("-5", None),
                    ("9" * 400, None),
                    ("Tue, 99 Oct 2025 06:42:16 GMT", None),
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

    def test_without_date_this_machines_clock_counts(self) -> None:
        reset = datetime.now(UTC) + timedelta(seconds=100)
        limit = parse_rate_limit({"X-Rate-Limit-Reset": str(int(reset.timestamp()))})
        assert limit is not None
        assert limit.retry_after is not None
        assert 90 < limit.retry_after <= 100

    @pytest.mark.parametrize(
        ("status", "retry_after", "expected"),
        [
            (429, "", True),
            (503, "0", True),
            (503, DATE, True),
            (503, "soon", False),
            (503, "", False),
            (500, "3", False),
        ],
    )
    def test_429_and_503_with_retry_after_throttle_the_client(
        self, status: int, retry_after: str, expected: bool
    ) -> None:
        assert is_throttled(status, {"X-Rate-Limit-Reset": IN_30_SECONDS, "Retry-After": retry_after}) is expected

    @given(st.dictionaries(st.sampled_from(["X-Rate-Limit-Reset", "Retry-After", "Date"]), st.text()))
    def test_no_header_raises(self, headers: dict[str, str]) -> None:
        limit = parse_rate_limit(headers)
        assert limit is None or limit.retry_after is None or limit.retry_after >= 0


def report(limit: int | None, remaining: int, reset: float, at: float = 0.0) -> RateLimit:
    """Return the report of a response at the time `at`, of a window that ends at `reset`. The server's `NOW` is 0."""
    responded_at = (NOW + timedelta(seconds=at)).replace(microsecond=0)
    return RateLimit(
        limit=limit, remaining=remaining, reset_at=NOW + timedelta(seconds=reset), responded_at=responded_at
    )


@pytest.fixture
def window() -> RateWindow:
    """A window at the time 0, after a first response that has reported nothing."""
    window = RateWindow(max_wait=300.0, now=0.0, clock_offset=NOW.timestamp())
    window.resume(0.0)
    return window


class TestRateWindow:
    def test_first_request_is_sent_alone_for_a_second(self) -> None:
        window = RateWindow(max_wait=300.0, now=0.0, clock_offset=0.0)
        assert [window.next_turn(0.5, in_flight) for in_flight in (0, 1)] == [0.5, 1.0]
        assert window.next_turn(1.0, in_flight=1) == 1.0
        window.resume(0.1)
        assert window.next_turn(0.1, in_flight=5) == 0.1

    def test_remaining_requests_minus_those_in_flight_may_be_sent(self, window: RateWindow) -> None:
        window.update(report(3, 2, reset=30), now=0.0)
        assert [window.next_turn(1.0, in_flight) for in_flight in range(4)] == [1.0, 1.0, 30.0, 30.0]
        # The next window has the whole limit, until a response reports it.
        assert [window.next_turn(30.0, in_flight) for in_flight in range(4)] == [30.0, 30.0, 30.0, math.inf]
        window.update(report(3, 2, reset=60, at=30), now=30.1)
        assert [window.next_turn(30.1, in_flight) for in_flight in range(3)] == [30.1, 30.1, 60.0]

    def test_unknown_limit_permits_any_number_in_the_next_window(self, window: RateWindow) -> None:
        window.update(report(None, 0, reset=10), now=0.0)
        assert window.next_turn(10.0, in_flight=1000) == 10.0

    def test_lowest_remaining_counts_in_any_order(self, window: RateWindow) -> None:
        for remaining, reset in ((5, 60), (1, 60), (4, 60), (0, 30)):  # the last one is late, of the window before
            window.update(report(10, remaining, reset=reset), now=0.0)
        assert [window.next_turn(0.0, in_flight) for in_flight in (0, 1)] == [0.0, 60.0]

    @pytest.mark.parametrize(
        "limit",
        [
            RateLimit(limit=10, remaining=0),
            RateLimit(limit=10, reset_at=NOW + timedelta(hours=1)),
            RateLimit(limit=10, remaining=0, reset_at=NOW - timedelta(hours=1)),
        ],
        ids=["no reset", "no remaining", "reset in the past"],
    )
    def test_incomplete_report_blocks_nothing(self, window: RateWindow, limit: RateLimit) -> None:
        window.update(limit, now=0.0)
        assert window.next_turn(0.0, in_flight=9) == 0.0

    def test_latest_date_is_the_most_exact(self, window: RateWindow) -> None:
        """`Date` has whole seconds: just after a full second it is exact, before the next one a second late."""
        for moment in (0.9, 1.1, 1.9):
            window.update(report(10, 0, reset=5, at=moment), now=moment)
        assert window.next_turn(2.0, in_flight=0) == pytest.approx(5.1)

    def test_429_pauses_and_then_one_request_is_sent_alone(self, window: RateWindow) -> None:
        assert window.pause(0.0, 20.0) == 20.0
        window.resume(19.0)  # the response to a request from before the pause
        assert [window.next_turn(now, in_flight=0) for now in (0.0, 19.0, 20.0)] == [20.0] * 3
        assert window.next_turn(20.0, in_flight=1) == math.inf
        window.resume(21.0)
        assert window.next_turn(21.0, in_flight=7) == 21.0

    def test_429s_during_a_pause_can_only_extend_it(self, window: RateWindow) -> None:
        assert [window.pause(0.1 * number, 0.0) for number in range(4)] == [0.5, 0.0, 0.0, 0.0]
        assert window.next_turn(0.3, in_flight=0) == 0.5
        window.pause(0.4, 10.0)
        assert window.next_turn(0.4, in_flight=0) == 10.4

    def test_each_pause_in_a_row_is_longer(self, window: RateWindow) -> None:
        now, pauses = 0.0, []
        for _ in range(8):
            pauses.append(window.pause(now, 0.0))
            now += pauses[-1]
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
        window.resume(now)
        assert window.pause(now, 0.0) == 0.5

    def test_pause_outlasts_a_max_wait_of_zero(self) -> None:
        """Otherwise a throttled request would be repeated at once, for ever."""
        window = RateWindow(max_wait=0.0, now=0.0, clock_offset=0.0)
        window.pause(0.0, 0.0)
        assert window.expires_at == window.next_turn(0.4, in_flight=0) == 0.5
