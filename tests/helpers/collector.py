"""Collects what a watch reports, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from buddy_sessions._streams.watch import SuiteWatch

_Event = TypeVar("_Event")
_Short = TypeVar("_Short")


class Collector(Generic[_Event, _Short]):
    """Collects the events of a watch. `shorten` returns what a test compares."""

    def __init__(self, watch: SuiteWatch[_Event], shorten: Callable[[list[_Event]], list[_Short]]) -> None:
        self.watch = watch
        self._shorten = shorten
        self._events: list[_Event] = []

    async def run(self) -> None:
        async for event in self.watch:
            self._events.append(event)

    def take(self) -> list[_Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    async def settled(self) -> list[_Short]:
        """Poll all suites, and return the new events."""
        await self.watch.settled()
        return self._shorten(self.take())

    async def after(self, seconds: float) -> list[_Short]:
        """Let time pass, and return the new events."""
        await asyncio.sleep(seconds)
        return self._shorten(self.take())


@asynccontextmanager
async def collecting(
    watch: SuiteWatch[_Event], shorten: Callable[[list[_Event]], list[_Short]]
) -> AsyncIterator[Collector[_Event, _Short]]:
    """Run a watch."""
    async with asyncio.TaskGroup() as group, watch:
        collector = Collector(watch, shorten)
        group.create_task(collector.run())
        yield collector
