"""`PageRequests`: the requests of one read, each in a task, so that they outlive a step that is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import evolve

from .._base.figures import Fetched, Stats
from ..errors import NotFoundError
from .pacing import RequestSlots, Window

_T = TypeVar("_T")

FetchPage: TypeAlias = Callable[[Window], Coroutine[Any, Any, Fetched[_T]]]
"""Fetches one page. An error is part of the result: the error of a page requested in advance must wait for its turn."""


def take_404_as_end(fetched: Fetched[_T], page: int, empty: _T) -> Fetched[_T]:
    """Return an empty page in place of a 404 after page 1: so do some servers respond beyond the end of a list.

    If the list itself is missing, page 1 is a 404, too, which stays an error.
    """
    is_beyond = page > 1 and isinstance(fetched.error, NotFoundError)
    return evolve(fetched, value=empty, error=None) if is_beyond else fetched


class PageRequests(Generic[_T]):
    """The pages of one read that are being fetched, by their windows, and what all of them have cost.

    Dropping this object cancels its tasks, so these must not refer to it.
    """

    def __init__(
        self, fetch: FetchPage[_T], slots: RequestSlots, check_event_loop: Callable[[], object] = lambda: None
    ) -> None:
        self._costs = costs = [Stats()]

        async def count(window: Window) -> Fetched[_T]:
            fetched = await fetch(window)
            costs[0] += fetched.stats
            return fetched

        self._fetch = count
        self._check_event_loop = check_event_loop
        self._slots = slots
        self._pages_ahead = 0
        self._tasks: dict[Window, asyncio.Task[Fetched[_T]]] = {}
        self._cancelled: list[asyncio.Task[Fetched[_T]]] = []  # and perhaps not ended yet

    def __del__(self) -> None:
        for task in (*self._tasks.values(), *self._cancelled):
            if not task.done():
                with suppress(RuntimeError):  # the event loop is closed
                    task.get_loop().call_soon_threadsafe(task.cancel)
            elif not task.cancelled():
                task.exception()  # otherwise asyncio would log it

    @property
    def cost(self) -> Stats:
        return self._costs[0]

    @property
    def max_pages(self) -> int:
        """How many pages may be requested at once."""
        return 1 + max(self._pages_ahead + self._slots.idle, 0)

    async def get(self, windows: Sequence[Window]) -> _T | None:
        """Return the page of the first window; None if `cancel` is called meanwhile.

        Start to fetch the other windows, and cancel any that is not listed. If this is cancelled, call it again.
        """
        self._check_event_loop()
        self._take_slots(len(windows) - 1)
        self._cancel(self._tasks.keys() - set(windows))
        for window in windows:
            if window not in self._tasks:
                self._tasks[window] = asyncio.create_task(self._fetch(window))
        task = self._tasks[windows[0]]
        if not task.done():
            await asyncio.wait((task,))  # in contrast to `await task`, this never cancels it
        if self._tasks.get(windows[0]) is not task:
            return None
        del self._tasks[windows[0]]
        return task.result().result()

    async def cancel(self) -> None:
        """Cancel all requests, and wait until they have ended."""
        self._take_slots(0)
        self._cancel(list(self._tasks))
        if self._cancelled:
            await asyncio.gather(*self._cancelled, return_exceptions=True)

    def _cancel(self, windows: Iterable[Window]) -> None:
        self._cancelled = [task for task in self._cancelled if not task.done()]
        for window in windows:
            task = self._tasks.pop(window)
            task.cancel()
            self._cancelled.append(task)

    def _take_slots(self, pages_ahead: int) -> None:
        self._slots.pages_ahead += pages_ahead - self._pages_ahead
        self._pages_ahead = pages_ahead
