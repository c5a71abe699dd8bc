from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import RateLimit, RateLimitError, WalkStats
from buddy_sessions.pacing import Gate, Patience, RetryQuota, backoff

NOW = datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)
DATE = "Tue, 21 Oct 2025 06:42:16 GMT"


def parse(**headers: str) -> RateLimit | None:
    return RateLimit.from_headers({name.replace("_", "-"): value for name, value in headers.items()}, now=NOW)


def test_the_headers_of_buddy_are_read() -> None:
    limit = parse(
        X_Rate_Limit_Limit="100", X_Rate_Limit_Remaining="7", X_Rate_Limit_Reset=str(int(NOW.timestamp()) + 30)
    )
    assert limit == RateLimit(limit=100, remaining=7, reset_at=NOW + timedelta(seconds=30), retry_after=30.0)
    assert limit is not None
    assert limit.answered_at is None


def test_an_answer_that_says_nothing_gives_nothing() -> None:
    assert parse(Content_Type="application/json") is None


def test_what_is_left_is_read_though_nothing_else_is_told() -> None:
    assert parse(X_Rate_Limit_Remaining="7") == RateLimit(remaining=7)


def test_the_wait_counts_from_the_servers_own_clock() -> None:
    limit = RateLimit.from_headers({"X-Rate-Limit-Reset": str(int(NOW.timestamp()) + 30), "Date": DATE})
    assert limit is not None
    assert limit.retry_after == 30.0
    assert limit.answered_at == NOW


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
        ("9" * 400, None),
        ("soon", None),
        ("Tue, 99 Oct 2025 06:42:16 GMT", None),
        ("Tue, 21 Oct 99999999999999999999 06:42:16 GMT", None),
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


class Clock:
    """A clock that stands still but for those who sleep by it. The server's is an hour ahead."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)

    def server_time(self) -> datetime:
        return NOW + timedelta(seconds=self.now - 1000)

    def limit(self, limit: int | None, remaining: int, reset: float) -> RateLimit:
        """Return what a server says whose window ends `reset` seconds after the clock's start."""
        told = self.server_time().replace(microsecond=0)
        return RateLimit(
            limit=limit, remaining=remaining, reset_at=NOW + timedelta(seconds=reset), retry_after=0, answered_at=told
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(max_concurrency=4, max_wait=300.0, clock=clock, sleep=clock.sleep)


async def enter(gate: Gate, seconds: float = 300.0) -> WalkStats:
    stats = WalkStats()
    await gate.enter(Patience(seconds, stats))
    return stats


class TestGate:
    async def test_it_lets_so_many_through_at_once(self, gate: Gate) -> None:
        for _ in range(4):
            await enter(gate)
        fifth = asyncio.create_task(enter(gate))
        await asyncio.sleep(0)
        assert not fifth.done()
        gate.leave()
        await fifth

    async def test_what_is_left_of_the_window_is_spent_and_no_more(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(10, 2, reset=30), refused=False)
        assert (await enter(gate)).waited == 0
        assert (await enter(gate)).waited == 0
        assert (await enter(gate)).waited == pytest.approx(30)
        assert clock.now == pytest.approx(1030)

    async def test_in_the_next_window_all_of_it_is_there(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(3, 0, reset=30), refused=False)
        for _ in range(3):
            await enter(gate)
        assert clock.now == pytest.approx(1030)
        fourth = asyncio.create_task(enter(gate))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not fourth.done()
        gate.learn(clock.limit(3, 2, reset=60), refused=False)
        gate.leave()
        await asyncio.wait_for(fourth, 5)
        assert clock.now < 1060

    async def test_the_lowest_remaining_counts_whatever_the_order_of_the_answers(
        self, gate: Gate, clock: Clock
    ) -> None:
        for remaining in (5, 1, 4):
            gate.learn(clock.limit(10, remaining, reset=30), refused=False)
        await enter(gate)
        assert (await enter(gate)).waited == pytest.approx(30)

    async def test_an_answer_of_the_last_window_says_nothing_of_this_one(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(10, 9, reset=60), refused=False)
        gate.learn(clock.limit(10, 0, reset=30), refused=False)
        assert (await enter(gate)).waited == 0

    async def test_a_failed_request_gives_its_place_back(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(10, 1, reset=200), refused=False)
        await enter(gate)
        second = asyncio.create_task(enter(gate))
        await asyncio.sleep(0)
        gate.leave()
        await second
        assert clock.now < 1002

    async def test_headers_without_a_reset_hold_nobody(self, gate: Gate) -> None:
        gate.learn(RateLimit(limit=10, remaining=0), refused=False)
        gate.learn(RateLimit(limit=10, reset_at=NOW), refused=False)
        gate.learn(None, refused=False)
        assert (await enter(gate)).waited == 0
        assert gate.rate_limit == RateLimit(limit=10, reset_at=NOW)

    async def test_a_window_that_does_not_tell_what_is_left_of_it_holds_nobody(self, gate: Gate) -> None:
        gate.learn(RateLimit(limit=10, reset_at=datetime.now(UTC) + timedelta(hours=1)), refused=False)
        assert (await enter(gate)).waited == 0

    async def test_a_limit_that_is_not_told_is_found_out_in_each_window(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(None, 0, reset=10), refused=False)
        await enter(gate)
        assert clock.now == pytest.approx(1010)
        assert (await enter(gate)).waited == 0

    async def test_the_servers_clock_is_known_the_better_the_more_it_answers(self, gate: Gate, clock: Clock) -> None:
        clock.now += 0.9
        gate.learn(clock.limit(10, 9, reset=5), refused=False)
        clock.now += 0.2
        gate.learn(clock.limit(10, 0, reset=5), refused=False)
        await enter(gate)
        assert 1005 <= clock.now <= 1005.2

    async def test_a_refusal_pauses_everyone_and_all_set_off_a_little_apart(self, gate: Gate, clock: Clock) -> None:
        gate.learn(RateLimit(retry_after=20.0), refused=True)
        waits = [stats.waited for stats in await asyncio.gather(*(enter(gate) for _ in range(4)))]
        assert all(20 <= wait < 20.6 for wait in waits)
        assert len(set(waits)) == 4

    async def test_refusals_of_one_pause_count_once_and_the_next_is_longer(self, gate: Gate, clock: Clock) -> None:
        pauses = []
        for _ in range(3):
            for _ in range(5):
                gate.learn(RateLimit(retry_after=0.0), refused=True)
            pauses.append(gate.pause())
            clock.now += gate.pause()
        assert pauses == [0.5, 1.0, 2.0]
        gate.learn(None, refused=False)
        gate.learn(None, refused=True)
        assert gate.pause() == 0.5

    async def test_a_longer_wait_than_is_allowed_is_an_error_at_once(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(10, 0, reset=100), refused=False)
        with pytest.raises(RateLimitError, match="no allowance for 100 s") as caught:
            await enter(gate, seconds=60)
        assert caught.value.reset_at == NOW + timedelta(seconds=100)
        assert caught.value.retry_after == pytest.approx(100)
        assert clock.now == 1000
        for _ in range(4):  # nobody has kept a place
            await enter(gate)

    async def test_without_a_date_a_window_ends_by_this_machines_clock(self, gate: Gate) -> None:
        reset = datetime.now(UTC) + timedelta(hours=1)
        gate.learn(RateLimit(limit=10, remaining=0, reset_at=reset), refused=False)
        assert 3500 < gate.delay() < 3700

    async def test_a_wait_of_just_what_is_allowed_is_waited(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(10, 0, reset=0.05), refused=False)
        assert (await enter(gate, seconds=0.1)).waited == 0.1  # a tenth of a second is the shortest wait

    async def test_what_a_request_has_waited_counts_against_what_it_may_still_wait(
        self, gate: Gate, clock: Clock
    ) -> None:
        stats = WalkStats()
        patience = Patience(50, stats)
        gate.learn(clock.limit(10, 0, reset=30), refused=False)
        await gate.enter(patience)
        gate.leave()
        gate.learn(clock.limit(10, 0, reset=60), refused=False)
        with pytest.raises(RateLimitError):
            await gate.enter(patience)
        assert stats.waited == pytest.approx(30)

    async def test_what_headers_say_is_believed_for_max_wait_at_most(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(10, 0, reset=1e9), refused=False)
        gate.learn(RateLimit(retry_after=1e9), refused=True)
        with pytest.raises(RateLimitError):
            await enter(gate)
        clock.now += 300
        assert (await enter(gate)).waited < 1

    async def test_cancelling_one_who_waits_gives_its_place_back(self, gate: Gate, clock: Clock) -> None:
        gate.learn(clock.limit(10, 0, reset=250), refused=False)
        waiting = [asyncio.create_task(enter(gate)) for _ in range(4)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _ in range(4):
            await asyncio.wait_for(enter(gate), 5)

    async def test_a_budget_is_asked_before_each_request_and_its_wait_is_told(self, clock: Clock) -> None:
        asked = 0

        class Shared:
            async def acquire(self) -> None:
                nonlocal asked
                asked += 1
                await clock.sleep(7)

        gate = Gate(max_concurrency=4, max_wait=0, budget=Shared(), clock=clock, sleep=clock.sleep)
        assert (await enter(gate)).waited == 7
        assert (await enter(gate)).waited == 7
        assert asked == 2


def test_the_retry_quota_runs_dry_and_is_earned_back() -> None:
    quota = RetryQuota()
    assert sum(quota.take() for _ in range(1000)) == 100
    quota.succeeded(retried=True)
    assert quota.take()
    for _ in range(5):
        assert not quota.take()
        quota.succeeded(retried=False)
    assert quota.take()
    for _ in range(2000):
        quota.succeeded(retried=True)
    assert sum(quota.take() for _ in range(1000)) == 100
