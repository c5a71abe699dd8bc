"""What the rate-limit headers say, and the one gate that every request of a client passes.

`X-Rate-Limit-Limit`, `-Remaining` and `-Reset` (Unix time in seconds) are seen in Buddy's Go SDK; `Retry-After` is
RFC 9110's. None of them is certain to come, or to be sane.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from attrs import frozen

from .errors import RateLimitError
from .models import WalkStats

_BACKOFF_BASE = 0.5  # seconds
_BACKOFF_CAP = 20.0  # seconds
_LOOK_AGAIN = 0.1  # seconds after which one who waits looks whether something has changed


@frozen(kw_only=True)
class RateLimit:
    """What an answer said of the rate limit. A number that it left out, or that makes no sense, is None.

    Attributes:
        limit: Requests allowed in a window.
        remaining: Requests still allowed in this window.
        reset_at: When the window ends, in UTC, by the server's clock.
        retry_after: Seconds to wait before the next request, from `Retry-After`, or from now to `reset_at` by the
            server's own clock.
        answered_at: When the server answered, in UTC, by its own clock and in whole seconds.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_at: datetime | None = None
    retry_after: float | None = None
    answered_at: datetime | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], *, now: datetime | None = None) -> RateLimit | None:
        """Return what the headers of an answer say; None where they say nothing.

        Args:
            headers: The answer's headers; the names in any case where the mapping takes them so.
            now: The time to count from where the answer has no `Date`; this machine's if left out.
        """
        limit = _count(headers.get("X-Rate-Limit-Limit"))
        remaining = _count(headers.get("X-Rate-Limit-Remaining"))
        reset_at = _unix_time(headers.get("X-Rate-Limit-Reset"))
        after = headers.get("Retry-After")
        if limit is None and remaining is None and reset_at is None and after is None:
            return None
        answered_at = _http_date(headers.get("Date"))
        now = answered_at or now or datetime.now(UTC)
        seconds = _count(after)
        until = _http_date(after) if seconds is None else None
        retry_after = float(seconds) if seconds is not None else _seconds(now, until or reset_at)
        return cls(
            limit=limit, remaining=remaining, reset_at=reset_at, retry_after=retry_after, answered_at=answered_at
        )


class Budget(Protocol):
    """An allowance that this client shares with others, on other machines too."""

    async def acquire(self) -> object:
        """Return once one more request may be sent. What it returns is not looked at."""


class Patience:
    """How long one request may still wait, through all its attempts. What it waits is added to the walk's stats.

    Args:
        seconds: What is allowed, in seconds.
        stats: What is added to.
    """

    def __init__(self, seconds: float, stats: WalkStats) -> None:
        self.left = seconds
        self._stats = stats

    def spend(self, seconds: float) -> None:
        """Take note of a wait."""
        self.left -= seconds
        self._stats.waited += seconds


class RetryQuota:
    """A quota of retries that all requests of a client share, so that a server that is down is not stormed.

    As botocore has it: 500 tokens, 5 for a retry; a retry that succeeds gives them back, any other success gives one.
    """

    CAPACITY = 500
    COST = 5

    def __init__(self) -> None:
        self._tokens = self.CAPACITY

    def take(self) -> bool:
        """Return whether one more retry is allowed, and take what it costs."""
        allowed = self._tokens >= self.COST
        self._tokens -= self.COST * allowed
        return allowed

    def succeeded(self, *, retried: bool) -> None:
        """Give back what a success gives back."""
        self._tokens = min(self.CAPACITY, self._tokens + (self.COST if retried else 1))


class Gate:
    """Lets requests through: no more at once than allowed, and none that the rate limit would refuse.

    What may still be sent is the lowest `Remaining` seen in this window less the requests in flight, computed afresh
    each time; when it is nothing, all wait for the window's end. A 429 pauses everyone at once. What headers say is
    believed for `max_wait` at most: then a request may find out whether it still holds.

    Args:
        max_concurrency: Requests in flight at once, at most.
        max_wait: Seconds that a request may wait, at most.
        budget: An allowance shared with others, asked before each request.
        clock: Tells monotonic seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        *,
        max_concurrency: int,
        max_wait: float,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.rate_limit: RateLimit | None = None
        """What the last answer said."""
        self._slots = asyncio.Semaphore(max_concurrency)
        self._max_wait = max_wait
        self._budget = budget
        self._clock = clock
        self._sleep = sleep
        self._in_flight = 0
        self._offset = time.time() - clock()  # from the clock to the server's, until the server has told
        self._offset_told = False
        self._reset = 0.0  # when this window ends, by the server's clock
        self._remaining: float = float("inf")
        self._believed_until = 0.0
        self._paused_until = 0.0
        self._pauses = 0  # in a row

    async def enter(self, patience: Patience) -> None:
        """Return once a request may be sent; `leave` must follow.

        Raises:
            RateLimitError: The wait would be longer than `patience` allows.
        """
        if self._budget is not None:
            started = self._clock()
            await self._budget.acquire()
            patience.spend(self._clock() - started)
        await self._slots.acquire()
        try:
            await self._wait(patience)
        except BaseException:
            self._slots.release()
            raise
        self._in_flight += 1

    def leave(self) -> None:
        """Take note that a request has been answered, or has failed."""
        self._in_flight -= 1
        self._slots.release()

    def learn(self, limit: RateLimit | None, *, refused: bool) -> None:
        """Take note of what an answer said.

        Args:
            limit: What its headers said; None if nothing.
            refused: Whether it was a 429.
        """
        now = self._clock()
        if limit is not None:
            self.rate_limit = limit
            self._learn_window(limit, now)
        if refused:
            told = (limit and limit.retry_after) or 0.0
            if now >= self._paused_until:
                self._pauses += 1
                told = max(told, min(_BACKOFF_BASE * 2.0 ** min(self._pauses - 1, 10), _BACKOFF_CAP))
            self._paused_until = max(self._paused_until, now + told)
            self._believed_until = now + self._max_wait
        else:
            self._pauses = 0

    def delay(self) -> float:
        """Return for how many seconds no request may be sent, as far as is known."""
        now = self._clock()
        if now >= self._believed_until:
            return 0.0
        if pause := self.pause():
            return pause
        left = self._reset - (now + self._offset)
        if left <= 0:  # a new window: all of it is there, but for what is in flight
            self._remaining = (self.rate_limit and self.rate_limit.limit) or float("inf")
        return max(left, _LOOK_AGAIN) if self._remaining <= self._in_flight else 0.0

    def pause(self) -> float:
        """Return how many seconds are left of the pause that a 429 has brought."""
        return max(0.0, self._paused_until - self._clock())

    async def _wait(self, patience: Patience) -> None:
        # All who wait for the end of a pause would set off at once.
        jitter = random.uniform(0, _LOOK_AGAIN) if self.pause() else 0.0  # noqa: S311 - dice, not a secret
        while (seconds := self.delay() or jitter) > 0:
            if seconds > patience.left:
                limit = self.rate_limit or RateLimit()
                raise RateLimitError(
                    messages=[f"not sent: there is no allowance for {seconds:.0f} s"],
                    reset_at=limit.reset_at,
                    retry_after=seconds,
                )
            if seconds == jitter:
                jitter = 0.0
            seconds = min(seconds, _LOOK_AGAIN)
            patience.spend(seconds)
            await self._sleep(seconds)

    def _learn_window(self, limit: RateLimit, now: float) -> None:
        if limit.answered_at is not None:
            # The server's clock is told in whole seconds: the latest that any answer proves comes nearest.
            told = limit.answered_at.timestamp() - now
            self._offset = max(self._offset, told) if self._offset_told else told
            self._offset_told = True
        if limit.remaining is None or limit.reset_at is None:
            return
        reset = limit.reset_at.timestamp()
        if reset > self._reset:
            self._reset, self._remaining = reset, limit.remaining
        elif reset == self._reset:
            self._remaining = min(self._remaining, limit.remaining)
        self._believed_until = now + self._max_wait


def backoff(retry: int) -> float:
    """Return how many seconds to wait before retry number `retry`, from 1: exponential, with full jitter.

    Full jitter spreads the callers of a server that has just recovered better than any narrower one (AWS Architecture
    Blog, "Exponential Backoff And Jitter").
    """
    return random.uniform(0, min(_BACKOFF_CAP, _BACKOFF_BASE * 2.0 ** min(retry, 10)))  # noqa: S311 - dice, not a secret


def _count(text: str | None) -> int | None:
    return int(text) if text and len(text) < 16 and text.isascii() and text.isdigit() else None


def _unix_time(text: str | None) -> datetime | None:
    seconds = _count(text)
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def _http_date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _seconds(now: datetime, then: datetime | None) -> float | None:
    return None if then is None else max(0.0, (then - now).total_seconds())
