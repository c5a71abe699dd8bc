"""`Stats`: counts of requests, waits and results. `Fetched`: the result or error of one call, with its `Stats`."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import fields, frozen

from ..errors import BuddyError

_T = TypeVar("_T")


@frozen(kw_only=True)
class Stats:
    """The requests, waits and results of a read, a harvest or a sync so far. `a + b` adds every field.

    Attributes:
        requests: HTTP requests that got a response or failed, including retries. Cancelled requests are not counted.
        retries: Requests that repeated a failed one.
        waited: Total seconds that requests have waited for the rate limit and before retries.
        pages: Pages read.
        sessions: Sessions read. A harvest also counts those that are not yielded yet. A sync counts only new and
            changed ones.
        cases: Test cases read.
        duplicates: Sessions or test cases that were received again, and dropped.
        rereads: Pages, except the last one, that contained nothing new.
        repaired: Sessions that a sync has corrected in the database: they were not saved although they should have
            been, or were marked as missing or deleted although they exist.
        suites: Suites read completely. Only a harvest or a sync counts them.
        failed: Suites that failed. Only a harvest or a sync counts them.
        verified: False if sessions may have been missed or repeated; the guide of a read lists what it cannot notice.
            For test cases: whether the session is finished, and as many cases were read as it reports. `a + b` is
            verified if both are.

    Example:
        >>> Stats(requests=2, sessions=150) + Stats(requests=1, sessions=3)
        Stats(requests=3, retries=0, waited=0.0, pages=0, sessions=153, ...)
    """

    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    pages: int = 0
    sessions: int = 0
    cases: int = 0
    duplicates: int = 0
    rereads: int = 0
    repaired: int = 0
    suites: int = 0
    failed: int = 0
    verified: bool = True

    def __add__(self, other: Stats) -> Stats:
        if not isinstance(other, Stats):
            return NotImplemented
        totals = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Stats(**totals, verified=self.verified and other.verified)


_COUNTS = [field.name for field in fields(Stats) if field.name != "verified"]


@frozen(kw_only=True)
class Fetched(Generic[_T]):
    """The decoded result or the error of one call to the API, with its requests, retries and waits."""

    stats: Stats
    value: _T | None = None
    error: BuddyError | None = None

    def result(self) -> _T:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error there is a value, which may itself be None
