"""What is asked: a client, or a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, SessionStore
from buddy_sessions.questions.questions import Questions
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.list_source import Ask


@pytest.fixture(params=["api", "all", "failed"])
async def ask(
    request: pytest.FixtureRequest, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, tmp_path: Path
) -> AsyncIterator[Ask]:
    """A function that returns the client, or a database that has just saved all, or only the failing test cases."""
    async with SessionStore(tmp_path / "sessions.db") as store:

        async def start() -> Questions:
            if request.param == "api":
                return buddy
            await store.sync(buddy, [suite.key], cases=request.param).run()
            return store

        yield start
