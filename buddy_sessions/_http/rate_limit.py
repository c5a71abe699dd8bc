"""The rate limit: what responses report of it, and the queue in which requests wait for it.

`X-Rate-Limit-Limit`, `-Remaining` and `-Reset` (Unix time in seconds) are read by Buddy's Go SDK; `Retry-After` is
defined by RFC 9110. Any of them may be absent or invalid.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from attrs import define

from .._base.figures import format_duration
from ..errors import RateLimitError
from ..models import RateLimit

SHORTEST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 20.0  # seconds, unless the response names a longer one
_PROBE_TIMEOUT = 1.0  # seconds that other requests wait for the first response, which may report the rate limit


class RateLimitState:
    """The rate limit until its next reset, as responses have reported it. Pure: every method is given the time.

    The newest report counts: its `remaining`, minus the requests in flight, may still be sent. Which of two requests
    that were in flight together the server has counted first is not known: the later reset counts, then the lower
    `remaining`. A reset further ahead than `max_wait` may be wrong, and no call may wait for it: until then, one
    request at a time is sent even if nothing remains.

    A throttled request (see `is_throttled`) pauses all requests; after the pause, and after a 401, one request is sent,
    and the others wait for its response. The others also wait for the first response of all, but only for a second.

    Times are seconds of any monotonic clock; `clock_offset` leads to Unix time until a response reports the server's.
    """

    def __init__(self, max_wait: float, now: float, clock_offset: float) -> None:
        self.expires_at = math.inf  # the time at which the last report is too old to be believed
        self._max_age = max(max_wait, SHORTEST_PAUSE)  # so that no request is repeated at once
        self._clock_offset = clock_offset
        self._knows_server_time = False
        self._limit = math.inf
        self._remaining = math.inf
        self._reset_at = -math.inf  # Unix time, by the server's clock
        self._reported_at = -math.inf  # the time at which the report that counts was received
        self._pauses = 0  # in a row
        self._paused_until = -math.inf
        self._probe_until = now + _PROBE_TIMEOUT

    def update(self, limit: RateLimit, sent_at: float, now: float) -> None:
        """Record what the response to a request that was sent at `sent_at` reports."""
        if limit.responded_at is not None:
            # The server sends whole seconds, so each response proves a lower bound: the highest one is the closest,
            # unless it is above the upper bound that this response proves. Then an earlier `Date` was wrong.
            date = limit.responded_at.timestamp()
            lowest, highest = date - now, date + 1 - sent_at
            is_possible = self._knows_server_time and self._clock_offset <= highest
            self._clock_offset = max(self._clock_offset, lowest) if is_possible else lowest
            self._knows_server_time = True
        if limit.remaining is None or limit.reset_at is None:
            return
        reset_at = limit.reset_at.timestamp()
        if sent_at >= self._reported_at or reset_at > self._reset_at:
            self._reset_at, self._remaining, self._limit = reset_at, limit.remaining, limit.limit or math.inf
        elif reset_at == self._reset_at:
            self._remaining = min(self._remaining, limit.remaining)
        else:
            return  # a late response from before the reset
        self._reported_at = now
        self.expires_at = now + self._max_age

    def pause(self, now: float, seconds: float) -> float:
        """Pause after a throttled request, whose response names a wait or 0. Further ones can only extend the pause.

        Return the length of the pause in seconds; 0 if it had begun before.
        """
        started = now >= self._paused_until
        if started:
            shortest = min(SHORTEST_PAUSE * 2.0 ** min(self._pauses, 10), LONGEST_PAUSE)
            self._pauses += 1
            seconds = max(seconds, shortest)
        self._paused_until = max(self._paused_until, now + seconds)
        self.expires_at = now + self._max_age
        self._probe_until = math.inf
        return seconds if started else 0.0

    def resume(self, now: float) -> None:
        """Resume after a request that was not throttled, unless it was sent before the pause."""
        if now >= self._paused_until:
            self._pauses = 0
            self._probe_until = now

    def next_turn(self, now: float, in_flight: int) -> float:
        """Return the time at which one more request may be sent, if no response arrives before.

        It is `now` if the request may be sent at once, and infinity if only a response can permit it.
        """
        if now < self._paused_until:
            return self._paused_until
        if in_flight and now < self._probe_until:
            return self._probe_until
        reset = self._reset_at - self._clock_offset
        if now < reset:
            remaining = self._remaining if reset - now <= self._max_age else max(self._remaining, 1)
            return now if in_flight < remaining else reset
        return now if in_flight < self._limit else math.inf  # after the reset, nothing is reported yet


def is_throttled(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether the server throttles the client: a 429, or a 503 whose `Retry-After` names a wait."""
    return status == 429 or (status == 503 and bool(_parse_retry_after(headers)))


def wait_advice(seconds: float) -> str:
    return f"wait {format_duration(seconds)}, or allow a longer {{max_wait}}"


def parse_rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """Return the rate limit that headers report, or None. Without a `Date`, the time of this machine counts."""
    limit = _parse_count(headers.get("X-Rate-Limit-Limit"))
    remaining = _parse_count(headers.get("X-Rate-Limit-Remaining"))
    reset_at = _parse_unix_time(headers.get("X-Rate-Limit-Reset"))
    if limit is None and remaining is None and reset_at is None and "Retry-After" not in headers:
        return None
    seconds = _parse_retry_after(headers)
    if seconds is None and reset_at is not None:
        seconds = _seconds_until(reset_at, headers)
    responded_at = parse_http_date(headers.get("Date"))
    return RateLimit(
        limit=limit, remaining=remaining, reset_at=reset_at, retry_after=seconds, responded_at=responded_at
    )


def _parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` names; None if it is absent or invalid."""
    text = headers.get("Retry-After")
    count, date = _parse_count(text), parse_http_date(text)
    if count is not None:
        return float(count)
    return None if date is None else _seconds_until(date, headers)


def _seconds_until(date: datetime, headers: Mapping[str, str]) -> float:
    responded_at = parse_http_date(headers.get("Date")) or datetime.now(UTC)
    return max(0.0, (date - responded_at).total_seconds())


def _parse_count(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,15}", text) else None


def _parse_unix_time(text: str | None) -> datetime | None:
    seconds = _parse_count(text)
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time in a header; None if it is absent or invalid."""
    try:
        date = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    # The zone -0000 is parsed as no zone.
    return date.replace(tzinfo=UTC) if date and date.tzinfo is None else date


_TOLERANCE = 0.001  # seconds; sums of waits are not exact


class RequestLimiter(Protocol):
    """A limiter that is shared with other clients, also on other machines."""

    async def acquire(self) -> object:
        """Return when one more request may be sent. The result is ignored."""


@define
class WaitBudget:
    """The seconds that one call may wait, for the rate limit and between its attempts."""

    remaining: float
    waited: float = 0.0

    def spend(self, seconds: float) -> None:
        self.remaining -= seconds
        self.waited += seconds


class RateLimiter:
    """Admits requests in order: no more at once than `max_concurrency`, and none that would exceed the rate limit.

    All requests wait in one queue: for a lock, whose holder waits for its turn. A call is charged for the time in which
    the rate limit blocks the queue, not for the time in which only `max_concurrency` does. A report older than
    `max_wait` seconds is not believed: a wrong one blocks the queue no longer than one call may wait.
    """

    def __init__(self, *, max_concurrency: int, max_wait: float, limiter: RequestLimiter | None = None) -> None:
        self.rate_limit: RateLimit | None = None  # as reported by the last response that has reported one
        self._max_wait = max_wait
        self._limiter = limiter  # awaited before each request; this wait is not charged
        self._state: RateLimitState | None = None
        self._in_flight = 0
        self._slots = asyncio.Semaphore(max_concurrency)
        self._queue = asyncio.Lock()
        self._is_changed = asyncio.Event()  # a response may have changed the next turn
        self._blocked = 0.0  # seconds for which the rate limit has blocked the queue

    async def acquire(self, budget: WaitBudget) -> None:
        """Wait until a request may be sent; RateLimitError if that would exceed the budget. `release` must follow."""
        loop = asyncio.get_running_loop()
        if self._limiter is not None:
            started = loop.time()
            await self._limiter.acquire()
            budget.waited += loop.time() - started
        before = self._blocked
        async with self._queue:
            await self._slots.acquire()
            try:
                while (seconds := self._seconds_until_turn(budget, self._blocked - before)) > 0:
                    self._is_changed.clear()
                    started = loop.time()
                    try:
                        async with asyncio.timeout(seconds):
                            await self._is_changed.wait()
                    except TimeoutError:
                        pass
                    finally:
                        self._blocked += loop.time() - started
            except BaseException:
                self._slots.release()
                raise
            finally:
                budget.spend(self._blocked - before)
            self._in_flight += 1

    def release(self) -> None:
        """Record that a request has ended, and admit the next one."""
        self._in_flight -= 1
        self._slots.release()
        self._is_changed.set()

    def update(self, limit: RateLimit | None, *, sent_at: float, throttled: bool) -> float:
        """Record what a response reports. Return the seconds of the pause that it starts; 0 if it starts none.

        `sent_at`: the time of the event loop at which its request was sent. `throttled`: it asks the client to wait
        (see `is_throttled`).
        """
        now = asyncio.get_running_loop().time()
        state = self._current_state(now)
        if limit is not None:
            self.rate_limit = limit
            state.update(limit, sent_at, now)
        self._is_changed.set()
        if throttled:
            return state.pause(now, (limit.retry_after if limit else None) or 0.0)
        state.resume(now)
        return 0.0

    def _current_state(self, now: float) -> RateLimitState:
        """Return the state. It is replaced by a new one when its reports are too old."""
        if self._state is None or now >= self._state.expires_at:
            self._state = RateLimitState(self._max_wait, now, clock_offset=time.time() - now)
        return self._state

    def _seconds_until_turn(self, budget: WaitBudget, charge: float) -> float:
        """Return the seconds until the next turn, or until the reports are too old."""
        now = asyncio.get_running_loop().time()
        state = self._current_state(now)
        # No turn is earlier than with no request in flight; the requests in flight may end before it.
        seconds = state.next_turn(now, in_flight=0) - now
        if seconds > max(budget.remaining - charge + _TOLERANCE, 0):
            reset_at = self.rate_limit.reset_at if self.rate_limit else None
            message = "the server permits no request yet"
            advice = wait_advice(seconds)
            raise RateLimitError(messages=[message], reset_at=reset_at, retry_after=seconds, advice=advice)
        return min(state.next_turn(now, self._in_flight), state.expires_at) - now
