"""What a harvest or a watch cannot show: a task that is cancelled from outside."""

from __future__ import annotations

import asyncio

import pytest

from buddy_sessions._streams.channel import Channel


async def test_work_that_is_cancelled_cancels_the_consumer() -> None:
    """It is not the end of the stream."""

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Channel[int](work, size=1, name="test").get()
