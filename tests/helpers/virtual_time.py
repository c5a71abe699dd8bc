"""An event loop with virtual time: when nothing is ready to run, its clock jumps to the next timer.

Tests with the marker `virtual_time` run in it, and so do their fixtures. So do tests with the fixture `reader`: a retry
costs them no time.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

import pytest

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_DELIVERY = 0.0 if sys.platform == "linux" else 0.005
"""Seconds that the loopback may take to deliver data. On Linux it has arrived when the call that sends it returns."""

_DEADLOCK = 10.0
"""Seconds to wait for sockets if no timer is set."""


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait: if no socket is ready, it adds to `now` the time that it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.jumps = 0
        self.calls = 0  # that threads of the loop's executor have not finished

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.calls and timeout != 0:
            return super().select(_DEADLOCK)
        ready = super().select(_DEADLOCK if timeout is None else min(timeout, _DELIVERY))
        if not ready and timeout is None:
            raise RuntimeError("deadlock: no timer is set, and nothing is ready to run")
        if not ready and timeout:
            self.now += timeout
            self.jumps += 1
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that waits only for calls in its executor. Both ends of a connection must be in this loop.

    So `asyncio.sleep(60)` returns at once, but after everything that other tasks do in 60 seconds.
    """

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        future = super().run_in_executor(executor, func, *args)
        self._clock.calls += 1
        future.add_done_callback(self._finish_call)
        return future

    def _finish_call(self, _: object) -> None:
        self._clock.calls -= 1

    @property
    def jumps(self) -> int:
        """The number of times that the clock has jumped."""
        return self._clock.jumps


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: run the test and its fixtures in a VirtualTimeLoop")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Choose the event loop of a test. This is a hook of pytest-asyncio."""
    if item.get_closest_marker("virtual_time") is not None or "reader" in getattr(item, "fixturenames", ()):
        return {"virtual time": VirtualTimeLoop}
    return {"real time": asyncio.new_event_loop}


def count_jumps() -> int:
    """Return the number of times that the clock of the running loop has jumped."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.jumps
