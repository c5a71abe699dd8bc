"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import stamina
from hypothesis import HealthCheck, settings

from buddy_sessions.testing import FakeBuddy

settings.register_profile("default", deadline=None, report_multiple_bugs=False)
settings.register_profile(
    "long", deadline=None, max_examples=12_000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what the machine that it runs on is set up for."""
    for name in [name for name in os.environ if name.startswith("BUDDY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Retries come at once, as many as the code under test asks for."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy() as server:
        yield server
