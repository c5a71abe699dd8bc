from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
from stamina.instrumentation import set_on_retry_hooks

from buddy_sessions import BuddyClient
from buddy_sessions._http.retry import RetryQuota, backoff, is_worth_retrying
from buddy_sessions.errors import NotFoundError, RateLimitError, ResponseError, ServerError, TransportError
from buddy_sessions.testing import FakeBuddy, Fault


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


@pytest.mark.parametrize(
    ("error", "failures", "expected"),
    [
        (TransportError("connection lost"), 3, True),
        (ServerError(status=503, retryable=True), 3, True),
        (ResponseError("not JSON", retryable=True), 1, True),
        (ResponseError("not JSON", retryable=True), 2, False),
        (ResponseError("a redirect"), 1, False),
        (NotFoundError(status=404), 1, False),
        (RateLimitError(), 1, False),
        (LookupError(), 1, False),
        (asyncio.CancelledError(), 1, False),
    ],
)
def test_is_worth_retrying(error: BaseException, failures: int, expected: bool) -> None:
    assert is_worth_retrying(error, failures) is expected


PROGRAM = """
import asyncio, stamina
from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy, Fault

async def main():
    async with FakeBuddy() as fake, BuddyClient(fake.token, base_url=fake.base_url, max_attempts=2) as buddy:
        fake.add_suite("acme", "shop", "s").populate(1)
        fake.inject(Fault.status(503))
        print(len(await buddy.sessions("acme/shop/s").collect()))

stamina.set_testing(True, attempts=2)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("configuration", "printed"),
    [
        ("", ""),
        (
            "import logging; logging.basicConfig()",
            r"WARNING:buddy_sessions:HTTP 503.* \(503\); GET http://\S+; retry 1 of 1 in 0\.\d s\n",
        ),
    ],
    ids=["logging is not configured", "logging is configured"],
)
def test_retry_prints_only_what_logging_is_configured_for(configuration: str, printed: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", configuration + PROGRAM], capture_output=True, text=True, check=True
    )
    assert process.stdout == "1\n"
    assert re.fullmatch(printed, process.stderr)


@pytest.fixture
def default_hooks() -> Iterator[None]:
    set_on_retry_hooks(None)
    yield
    set_on_retry_hooks(None)


@pytest.mark.usefixtures("no_waiting", "default_hooks")
async def test_structlog_prints_nothing_to_stdout(
    fake: FakeBuddy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog = ModuleType("structlog")
    printing = SimpleNamespace(warning=lambda event, **_: sys.stdout.write(event))
    monkeypatch.setattr(structlog, "get_logger", lambda name: printing, raising=False)
    monkeypatch.setitem(sys.modules, "structlog", structlog)
    fake.add_suite("acme", "shop", "s")
    fake.inject(Fault.status(503))
    async with BuddyClient(fake.token, base_url=fake.base_url) as buddy:
        assert await buddy.sessions("acme/shop/s").collect() == []
    assert capsys.readouterr() == ("", "")
