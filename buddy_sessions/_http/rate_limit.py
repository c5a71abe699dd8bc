"""The queue in which requests wait until `max_concurrency` and the rate limit permit them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from attrs import define

from ..errors import RateLimitError
from ..models import RateLimit
from .rate_window import RateWindow

_TOLERANCE = 0.001  # seconds; sums of waits are not exact

_call_numbers = itertools.count()


class RequestLimiter(Protocol):
    """A limiter that is shared with other clients, also on other machines."""

    async def acquire(self) -> object:
        """Return when one more request may be sent. The result is ignored."""


class WaitBudget:
    """The seconds that one call may wait, for the rate limit and between its attempts."""

    def __init__(self, seconds: float) -> None:
        self.remaining = seconds
        self.waited = 0.0
        self.number = next(_call_numbers)  # calls with lower numbers, which started earlier, are admitted first

    def spend(self, seconds: float) -> None:
        """Record a wait."""
        self.remaining -= seconds
        self.waited += seconds


@define(eq=False)
class _Waiter:
    """A request in the queue."""

    budget: WaitBudget
    turn: asyncio.Future[None]  # done when the request may be sent; fails if the wait would exceed the budget
    blocked_at_enqueue: float  # seconds for which the rate limit had blocked the queue before

    def __lt__(self, other: _Waiter) -> bool:
        return self.budget.number < other.budget.number


class RateLimiter:
    """Admits requests in order: no more at once than `max_concurrency`, and none that would exceed the rate limit.

    All requests wait in one queue. Each response, and one timer, admit the first ones. A waiter's `WaitBudget` is
    charged for the time in which the rate limit blocks the queue, not for the time in which only `max_concurrency`
    does. A report older than `max_wait` seconds is not believed: a wrong one blocks the queue no longer than one call
    may wait.
    """

    def __init__(self, *, max_concurrency: int, max_wait: float, limiter: RequestLimiter | None = None) -> None:
        self.rate_limit: RateLimit | None = None  # as reported by the last response that has reported one
        self._max_concurrency = max_concurrency
        self._max_wait = max_wait
        self._limiter = limiter  # awaited before each request; this wait is not charged
        self._window: RateWindow | None = None
        self._in_flight = 0
        self._waiters: list[_Waiter] = []  # a heap; one that was cancelled or has failed stays until it is the first
        self._timer: asyncio.TimerHandle | None = None
        self._blocked_since: float | None = None  # None while the rate limit does not block the queue
        self._blocked_total = 0.0  # seconds for which it had blocked the queue before `_blocked_since`

    async def acquire(self, budget: WaitBudget) -> None:
        """Wait until a request may be sent; RateLimitError if that would exceed the budget. `release` must follow."""
        loop = asyncio.get_running_loop()
        if self._limiter is not None:
            started = loop.time()
            await self._limiter.acquire()
            budget.waited += loop.time() - started
        now = loop.time()
        waiter = _Waiter(budget, loop.create_future(), self._blocked_seconds(now))
        heapq.heappush(self._waiters, waiter)
        self._fail_expired([waiter], now)
        self._admit_waiters()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.cancelled() or waiter.turn.exception():
                self._admit_waiters()
            else:
                self.release()  # its turn had come: admit another request in its place
            raise

    def release(self) -> None:
        """Record that a request has ended, and admit the next ones."""
        self._in_flight -= 1
        self._admit_waiters()

    def update(self, limit: RateLimit | None, *, throttled: bool, unauthorised: bool = False) -> float:
        """Record what a response reports. Return the seconds of the pause that it starts; 0 if it starts none.

        `throttled`: it asks the client to wait (see `is_throttled`). `unauthorised`: it rejects the token.
        """
        now = asyncio.get_running_loop().time()
        window = self._current_window(now)
        if limit is not None:
            self.rate_limit = limit
            window.update(limit, now)
        seconds = 0.0
        if throttled:
            retry_after = limit.retry_after if limit else None
            seconds = window.pause(now, retry_after or 0.0)
        elif unauthorised:
            window.probe()
        else:
            window.resume(now)
        self._fail_expired(self._waiters, now)
        self._admit_waiters()
        return seconds

    def _current_window(self, now: float) -> RateWindow:
        """Return the window. It is replaced by a new one when its reports are too old."""
        if self._window is None or now >= self._window.expires_at:
            self._window = RateWindow(self._max_wait, now, clock_offset=time.time() - now)
        return self._window

    def _admit_waiters(self) -> None:
        """Admit the first waiters, as many as are permitted. If the rate limit blocks the next one, set the timer."""
        if not self._waiters:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        window = self._current_window(now)
        self._blocked_total = self._blocked_seconds(now)
        self._blocked_since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters and self._in_flight < self._max_concurrency:
            waiter = self._waiters[0]
            if not waiter.turn.done():
                next_turn = window.next_turn(now, self._in_flight)
                if next_turn > now:
                    self._blocked_since = now
                    self._timer = loop.call_at(min(next_turn, window.expires_at), self._admit_waiters)
                    return
                self._in_flight += 1
                waiter.budget.spend(self._blocked_seconds(now) - waiter.blocked_at_enqueue)
                waiter.turn.set_result(None)
            heapq.heappop(self._waiters)

    def _fail_expired(self, waiters: list[_Waiter], now: float) -> None:
        """Fail the waiters whose budget does not last until the next turn."""
        # No turn is earlier than with no request in flight; the requests in flight may end before it.
        seconds = self._current_window(now).next_turn(now, in_flight=0) - now
        if seconds <= 0:
            return
        message = f"the server permits no request for {seconds:.1f} s"
        reset_at = self.rate_limit.reset_at if self.rate_limit else None
        blocked = self._blocked_seconds(now)
        for waiter in waiters:
            charge = blocked - waiter.blocked_at_enqueue
            if seconds > waiter.budget.remaining - charge + _TOLERANCE and not waiter.turn.done():
                waiter.budget.spend(charge)
                error = RateLimitError(messages=[message], reset_at=reset_at, retry_after=seconds)
                waiter.turn.set_exception(error)

    def _blocked_seconds(self, now: float) -> float:
        """Return the seconds for which the rate limit has blocked the queue so far."""
        return self._blocked_total + (0.0 if self._blocked_since is None else now - self._blocked_since)
