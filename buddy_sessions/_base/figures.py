"""The figures of reads: `Stats`, and durations and counts in texts: `4m08s`, `1,300 requests`."""

from __future__ import annotations

from operator import add, attrgetter
from typing import Generic, TypeVar

from attrs import fields, frozen

from ..errors import BuddyError

_T = TypeVar("_T")

_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


def format_duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `40ms`, `1.5s`, `42s`, `3m05s`, `2h`, `3d04h`; `-` for None."""
    if seconds is None:
        return "-"
    if 0 < seconds < 0.9995:
        return f"{max(1, round(1000 * seconds))}ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller_unit in _UNITS:
        if whole >= size:
            smaller = whole % size // smaller_size
            return f"{whole // size}{unit}" + (f"{smaller:02}{smaller_unit}" if smaller else "")
    return f"{whole}s"


def format_count(number: int, noun: str) -> str:
    """Return a number and its noun in singular or plural: `1 request`, `1,300 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
        repaired: Sessions that a sync has corrected in the database: they were not saved although they should have
            been, or were marked as missing or deleted although they exist.
        suites: Suites read completely. Only a harvest or a sync counts them.
        failed: Suites that failed. Only a harvest or a sync counts them.
        invalid_fields: Values that do not fit their field, such as a text in place of a number. They are None.
        verified: False if sessions may have been missed or repeated; the guide of a read lists what it cannot notice.
            For test cases: whether the session is finished, and as many cases were read as it reports. `a + b` is
            verified if both are.
    """

    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    pages: int = 0
    sessions: int = 0
    cases: int = 0
    repaired: int = 0
    suites: int = 0
    failed: int = 0
    invalid_fields: int = 0
    verified: bool = True

    def __add__(self, other: Stats) -> Stats:
        if not isinstance(other, Stats):
            return NotImplemented
        totals = map(add, _get_counts(self), _get_counts(other))
        return Stats(**dict(zip(_COUNTS, totals, strict=True)), verified=self.verified and other.verified)


_COUNTS = [field.name for field in fields(Stats) if field.name != "verified"]
_get_counts = attrgetter(*_COUNTS)


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
