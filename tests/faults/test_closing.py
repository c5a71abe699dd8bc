"""Clients and aiohttp sessions that are closed too early; nested reads with a single connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from buddy_sessions import BuddyClient, ClientClosedError, Session
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import KEY, TOKEN, CheckedReader

pytestmark = pytest.mark.fault


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy(token=TOKEN) as server:
        server.add_suite(*KEY).populate(3)
        yield server


async def test_session_closed_before(reader: CheckedReader, fake: FakeBuddy) -> None:
    session = aiohttp.ClientSession()
    await session.close()
    error = await reader.fail(fake, ClientClosedError, requests=0, http_session=session)
    assert "borrowed" in str(error)
    assert reader.stats.requests == 0


@pytest.mark.parametrize("is_borrowed", [False, True], ids=["client", "session"])
async def test_closed_in_flight(reader: CheckedReader, fake: FakeBuddy, is_borrowed: bool) -> None:
    async with aiohttp.ClientSession() as session:

        async def close_while_reading(buddy: BuddyClient) -> list[Session]:
            fake.on_request = lambda _: asyncio.create_task(session.close() if is_borrowed else buddy.close())
            return await buddy.sessions(KEY).collect()

        fake.inject(Fault.hang())
        options = {"function": close_while_reading, "http_session": session if is_borrowed else None}
        error = await reader.fail(fake, ClientClosedError, requests=1, **options)
    assert "in flight" in str(error)


async def test_nested_read_with_one_connection(reader: CheckedReader, fake: FakeBuddy) -> None:
    async def read_nested(buddy: BuddyClient) -> list[Session]:
        return [inner async for _ in buddy.sessions(KEY, per_page=1) async for inner in buddy.sessions(KEY, per_page=1)]

    assert len(await reader.read(fake, requests=12, function=read_nested, max_concurrency=1)) == 9
