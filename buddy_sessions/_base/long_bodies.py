"""Bounds the memory of long bodies, such as the details of failing tests with their logs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

_MAX_ARRIVED = 32 * 2**20
"""The bytes of long bodies that may have arrived at once."""


class LongBodies:
    """Bounds the memory of long bodies that are read side by side. The one that began first always goes on."""

    def __init__(self) -> None:
        self._sizes: dict[object, int] = {}
        self._has_ended = asyncio.Event()

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], Awaitable[None]]]:
        """Count a body until the block ends. The function records what has arrived, and waits until it may go on."""
        body = object()
        self._sizes[body] = 0

        async def wait(size: int) -> None:
            self._sizes[body] = size
            while sum(self._sizes.values()) > _MAX_ARRIVED and next(iter(self._sizes)) is not body:
                self._has_ended.clear()
                await self._has_ended.wait()

        try:
            yield wait
        finally:
            del self._sizes[body]
            self._has_ended.set()
