"""Pages that are requested in advance: those of one read in flight, and how many several reads may have together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import define

from .._base.stats import Fetched
from .window import Window

_T = TypeVar("_T")

FetchPage: TypeAlias = Callable[[Window], Coroutine[Any, Any, Fetched[_T]]]
"""Fetches one page. An error is part of the result: the error of a page requested in advance must wait for its turn."""


class PendingPages(Generic[_T]):
    """The pages of one read that are being fetched."""

    def __init__(self, fetch: FetchPage[_T]) -> None:
        self._fetch = fetch
        self._tasks: dict[Window, asyncio.Task[Fetched[_T]]] = {}
        self._cancelled: set[asyncio.Task[Fetched[_T]]] = set()

    async def get(self, windows: Sequence[Window]) -> Fetched[_T]:
        """Return the page of the first window. Start to fetch the other windows, and cancel any that is not listed."""
        if len(windows) == 1 and not self._tasks:
            return await self._fetch(windows[0])  # no task is needed
        for outdated in self._tasks.keys() - set(windows):
            self._cancel(outdated)
        for window in windows:
            if window not in self._tasks:
                self._tasks[window] = asyncio.create_task(self._fetch(window))
        first = windows[0]
        fetched = await self._tasks[first]
        del self._tasks[first]
        return fetched

    async def cancel(self) -> None:
        """Cancel every fetch, and wait until it has ended."""
        for window in list(self._tasks):
            self._cancel(window)
        if self._cancelled:
            await asyncio.wait(self._cancelled)

    def _cancel(self, window: Window) -> None:
        task = self._tasks.pop(window)
        task.cancel()
        self._cancelled.add(task)
        task.add_done_callback(self._on_cancelled)

    def _on_cancelled(self, task: asyncio.Task[Fetched[_T]]) -> None:
        self._cancelled.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it


@define(eq=False)
class RequestSlots:
    """The requests that several reads may send at once, shared between them.

    Each read has a slot for the page that it needs next, whether it uses it or not. A page is requested in advance only
    if a slot is idle, so it delays no other read.
    """

    total: int  # the maximum number of requests at once
    reads: int = 0
    pages_ahead: int = 0  # that the reads have requested in advance, and not used yet

    @property
    def idle(self) -> int:
        """The number of slots for more pages in advance. Negative if more reads were started than there are slots."""
        return self.total - self.reads - self.pages_ahead
