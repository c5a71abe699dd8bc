"""Retries: which failures are retried, after how many seconds, and how many in total. stamina makes the attempts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..errors import BuddyError, RateLimitError, ResponseError

if TYPE_CHECKING:
    import stamina


_SHORTEST_BACKOFF = 0.5  # seconds
_LONGEST_BACKOFF = 20.0  # seconds
_JITTER = 0.5  # of the backoff
_LOGGING_HOOKS = {"stamina.instrumentation._logging", "stamina.instrumentation._structlog"}


def backoff(number: int) -> float:
    """Return the seconds to wait before a retry: 0.5, 1, 2, …, plus up to half as much again.

    Four attempts take at least 3.5 s, so that they outlast a short outage.

    Args:
        number: The number of the retry, from 1.
    """
    seconds = min(_SHORTEST_BACKOFF * 2.0 ** min(number - 1, 10), _LONGEST_BACKOFF / (1 + _JITTER))
    return seconds * random.uniform(1, 1 + _JITTER)  # noqa: S311 - not a secret


def is_worth_retrying(error: BaseException, failures: int) -> bool:
    """Return whether another attempt may succeed.

    Args:
        error: The failure of the last attempt.
        failures: The number of failed attempts.
    """
    if not isinstance(error, BuddyError) or isinstance(error, RateLimitError):
        return False  # no error of this package, or the rate limiter has waited as long as it may
    if isinstance(error, ResponseError) and failures > 1:
        return False  # twice not JSON: probably the page of a proxy, not a truncated body
    return error.retryable


def make_retrying_caller(max_attempts: int) -> stamina.AsyncRetryingCaller:
    """Return the object of stamina that calls a function again after a failure, at most `max_attempts` times in all."""
    import stamina  # noqa: PLC0415 - slow to import, and only clients need it

    return stamina.AsyncRetryingCaller(attempts=max_attempts, timeout=None)


class RetryQuota:
    """Limits the retries of all calls of a client together, so that a server that is down is not overloaded.

    The numbers are those of botocore: 500 credits; a retry costs 5, a retry that succeeds returns them, and any other
    success returns 1. With many requests at once, there are up to 2500 credits: a short outage fails all of them, each
    up to three times, and more requests while these wait.

    Args:
        max_concurrency: The maximum number of requests at once.
    """

    CAPACITY = 500
    MAX_CAPACITY = 2500
    COST = 5

    def __init__(self, max_concurrency: int) -> None:
        self._capacity = self._credits = max(self.CAPACITY, min(6 * self.COST * max_concurrency, self.MAX_CAPACITY))

    def acquire(self) -> bool:
        """Pay for one retry. Return whether there were enough credits."""
        if self._credits < self.COST:
            return False
        self._credits -= self.COST
        return True

    def record_success(self, *, retried: bool) -> None:
        """Return the credits that a successful call earns."""
        self._credits = min(self._capacity, self._credits + (self.COST if retried else 1))


def disable_logging_hooks() -> None:
    """Disable the log records of stamina itself: with structlog installed, they are printed to stdout.

    stamina has one list of hooks for the whole process, so this affects other users of stamina. Hooks of the
    application, and stamina's counter for Prometheus, stay.
    """
    from stamina.instrumentation import get_on_retry_hooks, set_on_retry_hooks  # noqa: PLC0415 - slow to import

    hooks = get_on_retry_hooks()
    others = [hook for hook in hooks if hook.__module__ not in _LOGGING_HOOKS]
    if len(others) < len(hooks):
        set_on_retry_hooks(others)
