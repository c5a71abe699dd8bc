"""Fixtures of all tests, and the profiles of Hypothesis."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.effort import EFFORT, LONG, QUICK, THOROUGH
from helpers.faults import CheckedReader

pytest_plugins = ["helpers.virtual_time"]

TIME_LIMIT = 300
"""Seconds for one test; the slowest takes a tenth of that on a quiet machine."""

# To shrink a long history takes longer than the time limit, which would then hide what has failed.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
settings.register_profile(QUICK, deadline=None, report_multiple_bugs=False, max_examples=20, phases=WITHOUT_SHRINKING)
settings.register_profile(THOROUGH, deadline=None, report_multiple_bugs=False, phases=WITHOUT_SHRINKING)
settings.register_profile(
    LONG, deadline=None, max_examples=12_000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(EFFORT)

# In UTC, a rule about times without a zone cannot fail.
if hasattr(time, "tzset"):
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def pytest_configure(config: pytest.Config) -> None:
    """Leave out the slow tests of a quick run, unless the option `-m` selects tests."""
    if EFFORT == QUICK and not config.option.markexpr:
        config.option.markexpr = "not slow"


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """Let a test that does not end fail, also in an endless loop or in a wait for a thread."""
    if EFFORT == LONG or not hasattr(signal, "SIGALRM"):
        yield
        return

    def fail(*_: object) -> None:
        pytest.fail(f"the test did not end within {TIME_LIMIT} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TIME_LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove this machine's settings for Buddy, proxies and Prefect, and of coverage, which would slow processes."""
    for name in [name for name in os.environ if re.match("BUDDY_|COVERAGE_|PREFECT_|(?i:.*_proxy$)", name)]:
        monkeypatch.delenv(name)


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy() as server:
        yield server


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    """A client that does not retry."""
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1) as client:
        yield client


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "unit")


@pytest.fixture
def reader(caplog: pytest.LogCaptureFixture) -> Iterator[CheckedReader]:
    with caplog.at_level(logging.DEBUG):
        yield CheckedReader(caplog)
