"""The server of these tests."""

from __future__ import annotations

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.faults import KEY, TOKEN


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    """A fake Buddy with the token and the suite of `CheckedReader`, which has three sessions."""
    fake.token = TOKEN
    fake.add_suite(*KEY).populate(3)
    return fake
