"""What the rate-limit headers say, and how long to wait before asking again. Pure, but for the dice.

`X-Rate-Limit-Limit`, `-Remaining` and `-Reset` (Unix time in seconds) are seen in Buddy's Go SDK; `Retry-After` is
RFC 9110's. None of them is certain to come, or to be sane.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from attrs import frozen

_BACKOFF_BASE = 0.5  # seconds
_BACKOFF_CAP = 20.0  # seconds


@frozen(kw_only=True)
class RateLimit:
    """What an answer said of the rate limit. A number that it left out, or that makes no sense, is None.

    Attributes:
        limit: Requests allowed in a window.
        remaining: Requests still allowed in this window.
        reset_at: When the window ends, in UTC, by the server's clock.
        retry_after: Seconds to wait before the next request, from `Retry-After`, or from now to `reset_at` by the
            server's own clock.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_at: datetime | None = None
    retry_after: float | None = None

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
        now = _http_date(headers.get("Date")) or now or datetime.now(UTC)
        seconds = _count(after)
        until = _http_date(after) if seconds is None else None
        retry_after = float(seconds) if seconds is not None else _seconds(now, until or reset_at)
        return cls(limit=limit, remaining=remaining, reset_at=reset_at, retry_after=retry_after)


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
