"""Whether a request is sent once more: the attempts of one call, and the quota of retries of all calls of a client."""

from __future__ import annotations

import logging
import random

from attrs import define
from yarl import URL

from .._base.figures import Stats
from ..errors import BuddyError, ResponseError
from .credentials import Credentials, Secret
from .rate_limit import WaitBudget
from .responses import Response, response_error, strip_traceback

_LONGEST_BACKOFF = 20.0  # seconds
_JITTER = 0.5  # of the backoff

_log = logging.getLogger("buddy_sessions")


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
        self._credits = min(self._capacity, self._credits + (self.COST if retried else 1))


@define
class Attempts:
    """The attempts of one call so far, and the decision whether to send its request once more."""

    max_attempts: int
    first_pause: float  # seconds
    quota: RetryQuota
    budget: WaitBudget
    requests: int = 0
    failures: int = 0
    throttled: BuddyError | None = None  # the error of the last response, if it asked the client to wait
    _has_new_token: bool = False
    _is_not_json: bool = False  # the last response

    def take_repeat(self, response: Response, url: URL, header: Secret, credentials: Credentials) -> bool:
        """Return True, and note it, if a response is no failed attempt: it asks to wait or, once, for a new token."""
        self.throttled = response_error(response, url, header) if response.is_throttled else None
        needs_token = response.status == 401 and not self._has_new_token and credentials.is_outdated(header)
        self._has_new_token |= needs_token
        is_repeated = self.throttled is not None or needs_token
        if is_repeated:
            self._is_not_json = False
        return is_repeated

    def pause_after(self, error: BuddyError) -> float:
        """Return the seconds to wait before the next attempt. An error that is final is raised.

        The first pause is doubled for each further one, plus up to half of it. By default, four attempts take at least
        3.5 s, so that they outlast a short outage.
        """
        self.failures += 1
        was_not_json, self._is_not_json = self._is_not_json, isinstance(error, ResponseError)
        pause = min(self.first_pause * 2.0 ** min(self.failures - 1, 10), _LONGEST_BACKOFF / (1 + _JITTER))
        pause *= random.uniform(1, 1 + _JITTER)  # noqa: S311 - not a secret
        # Two responses in a row that are not JSON are probably the page of a proxy, not truncated bodies.
        is_final = not error.retryable or self.failures >= self.max_attempts or (was_not_json and self._is_not_json)
        if is_final or pause > self.budget.remaining or not self.quota.acquire():
            raise error
        # The kind says which warnings a program may hide: the error follows, if no later attempt succeeds.
        kind = "retry" if getattr(error, "is_connected", True) else "no connection"
        arguments = strip_traceback(error), self.failures, self.max_attempts - 1, pause
        _log.warning("%s; retry %d of %d in %.1f s", *arguments, extra={"kind": kind})
        self.budget.spend(pause)
        return pause

    def record_success(self) -> None:
        self.quota.record_success(retried=self.failures > 0)

    def stats(self, *, invalid_fields: int) -> Stats:
        """Return the cost of the call."""
        retries, waited = max(0, self.requests - 1), self.budget.waited
        return Stats(requests=self.requests, retries=retries, waited=waited, invalid_fields=invalid_fields)
