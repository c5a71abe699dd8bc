from __future__ import annotations

import pytest

from buddy_sessions._http.retry import RetryQuota, backoff


def test_backoff_grows_with_jitter_up_to_a_limit() -> None:
    for retry, shortest in {1: 0.5, 2: 1.0, 3: 2.0}.items():
        waits = [backoff(retry) for _ in range(300)]
        assert shortest <= min(waits) < max(waits) <= 1.5 * shortest
        assert max(waits) - min(waits) > 0.25 * shortest
    assert all(10 < backoff(retry) <= 20 for retry in (9, 5000))


def test_four_attempts_outlast_three_seconds() -> None:
    assert all(sum(map(backoff, (1, 2, 3))) > 3 for _ in range(300))


def test_quota_is_used_up_and_earned_back() -> None:
    quota = RetryQuota(8)
    assert sum(quota.acquire() for _ in range(1000)) == 100
    quota.record_success(retried=True)
    assert quota.acquire()
    for _ in range(5):
        assert not quota.acquire()
        quota.record_success(retried=False)
    assert quota.acquire()
    for _ in range(2000):
        quota.record_success(retried=True)
    assert sum(quota.acquire() for _ in range(1000)) == 100


@pytest.mark.parametrize(("max_concurrency", "retries"), [(1, 100), (16, 100), (32, 192), (1000, 500)])
def test_quota_lets_many_requests_outlast_a_short_outage(max_concurrency: int, retries: int) -> None:
    quota = RetryQuota(max_concurrency)
    assert sum(quota.acquire() for _ in range(1000)) == retries
