"""Which suite a watch polls next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from .changes import WatchedSuite


class Schedule:
    """The suites that are due, or will be. All are due at the start. A suite that waits needs no task."""

    def __init__(self, suites: Iterable[WatchedSuite]) -> None:
        self._due = OrderedDict.fromkeys(suites)
        self._refreshed: OrderedDict[WatchedSuite, None] = OrderedDict()  # these come first
        self._timers: dict[WatchedSuite, asyncio.TimerHandle] = {}  # of the suites that are not due
        self._repeated: set[WatchedSuite] = set()  # were refreshed while they were checked
        self._available = asyncio.Semaphore(len(self._due))

    def add(self, due: float, suite: WatchedSuite) -> None:
        """Add a suite that was checked, and is due at `due`, in seconds of the event loop's clock."""
        if suite in self._repeated:
            self._repeated.discard(suite)
            self._make_due(suite, self._refreshed)
        else:
            self._timers[suite] = asyncio.get_running_loop().call_at(due, self._on_timer, suite)

    def add_due(self, suite: WatchedSuite) -> None:
        """Add a suite that is due now, and is not in the schedule."""
        self._repeated.discard(suite)
        self._make_due(suite, self._due)

    def remove(self, suite: WatchedSuite) -> None:
        """Stop to wait for a suite. If it is due already, `next` still returns it."""
        self._repeated.discard(suite)
        if suite in self._timers:
            self._timers.pop(suite).cancel()

    def refresh(self, suite: WatchedSuite) -> None:
        """Make a suite due now. If it is being checked, it is due again at the end of this check."""
        if suite in self._timers:
            self._timers.pop(suite).cancel()
            self._make_due(suite, self._refreshed)
        elif suite in self._due:
            del self._due[suite]
            self._refreshed[suite] = None
        elif suite not in self._refreshed:
            self._repeated.add(suite)

    async def next(self) -> WatchedSuite:
        """Wait until a suite is due, and take it out of the schedule."""
        await self._available.acquire()
        suite, _ = (self._refreshed or self._due).popitem(last=False)
        return suite

    def are_waiting(self, count: int) -> bool:
        """Return whether this number of suites, or more, are neither due nor being checked."""
        return len(self._timers) >= count

    def clear(self) -> None:
        """Cancel the timers of all suites that wait."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _on_timer(self, suite: WatchedSuite) -> None:
        del self._timers[suite]
        self._make_due(suite, self._due)

    def _make_due(self, suite: WatchedSuite, queue: OrderedDict[WatchedSuite, None]) -> None:
        queue[suite] = None
        self._available.release()
