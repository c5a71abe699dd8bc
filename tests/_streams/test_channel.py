"""The laws of `Channel` that a harvest or a watch shows only by leaking or by losing an item."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from buddy_sessions._streams.channel import Channel

Work = Callable[[Channel[int]], Coroutine[Any, Any, None]]


def make_channel(work: Work) -> Channel[int]:
    async def run() -> None:
        await work(channel)

    channel = Channel[int](run, size=1, name="test")
    return channel


async def put_two(channel: Channel[int]) -> None:
    for number in (1, 2):
        await asyncio.sleep(0)
        await channel.put(number)


async def test_work_that_is_cancelled_cancels_the_consumer() -> None:
    async def work(channel: Channel[int]) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await make_channel(work).get()


async def test_cancelled_consumer_loses_nothing_and_is_not_kept() -> None:
    channel = make_channel(put_two)
    waiting = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    reference = weakref.ref(waiting)
    del waiting
    await asyncio.sleep(0)  # the event loop releases it, too
    gc.collect()
    assert reference() is None
    assert [await channel.get() for _ in range(3)] == [1, 2, None]


async def test_unclosed_channel_warns() -> None:
    channel = make_channel(put_two)
    assert await channel.get() == 1
    with pytest.warns(ResourceWarning, match="unclosed test"):
        channel.abandon(channel)
    await channel.close()
