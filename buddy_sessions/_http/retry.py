"""Retries: the backoff before a retry, and the quota of retries that all calls of a client share."""

from __future__ import annotations

import random

SHORTEST_BACKOFF = 0.5  # seconds
_LONGEST_BACKOFF = 20.0  # seconds
_JITTER = 0.5  # of the backoff


def backoff(number: int) -> float:
    """Return the seconds to wait before the n-th retry, from 1: 0.5, 1, 2, …, plus up to half as much again.

    Four attempts take at least 3.5 s, so that they outlast a short outage.
    """
    seconds = min(SHORTEST_BACKOFF * 2.0 ** min(number - 1, 10), _LONGEST_BACKOFF / (1 + _JITTER))
    return seconds * random.uniform(1, 1 + _JITTER)  # noqa: S311 - not a secret


class RetryQuota:
    """Limits the retries of all calls of a client together, so that a server that is down is not overloaded.

    The numbers are those of botocore: 500 credits; a retry costs 5, a retry that succeeds returns them, and any other
    success returns 1. With many requests at once, there are up to 2500 credits: a short outage fails all of them, each
    up to three times, and more requests while these wait.
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
