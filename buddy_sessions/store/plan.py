"""Decides which part of a suite's list a sync reads next. Pure.

A sync reads the top of the list first, then each gap in the coverage, from the highest to the lowest. At the end, it
checks unfinished sessions that it has not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from .intervals import Interval, Intervals, gaps, union

MAX_CHECKS = 10
"""Maximum number of parts (one session, or one range) that a sync of a suite reads to check unfinished sessions."""

_GROUP_SPAN = 80
"""Unfinished sessions whose numbers differ by less are read together: usually one page of the default size."""

_SHORTEST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(days=1)


def plan_next(covered: Intervals, done: Intervals, *, after: int, top: int) -> Interval | None:
    """Return the highest range of numbers that is still to be read; None if there is none.

    Args:
        covered: The numbers of which the database contains every existing session.
        done: The numbers that this sync has read.
        after: Only higher numbers are wanted.
        top: The highest number on the first page of this sync.
    """
    known = covered
    for interval in done:
        known = union(known, interval)
    return max(gaps(known, above=after, below=top + 1), default=None)


def plan_checks(numbers: Sequence[int]) -> list[Interval]:
    """Return the ranges of numbers to read. A range of one number is one session.

    Args:
        numbers: The numbers of the sessions to check, in descending order.
    """
    groups: list[Interval] = []
    for number in numbers:
        if groups and groups[-1][1] - number < _GROUP_SPAN:
            groups[-1] = number, groups[-1][1]
        else:
            groups.append((number, number))
    return groups[:MAX_CHECKS]


def is_check_due(created: str | None, checked: str | None, *, now: datetime) -> bool:
    """Return whether an unfinished session is to be requested again.

    The pause between two checks is a tenth of the session's age, at least a minute, at most a day.

    Args:
        created: The time at which the session was created, in ISO 8601; None if it is unknown.
        checked: The time of the last check; None if there was none.
        now: The current time.
    """
    if checked is None:
        return True
    age = now - datetime.fromisoformat(created) if created else timedelta()
    return now - datetime.fromisoformat(checked) >= min(max(age / 10, _SHORTEST_PAUSE), _LONGEST_PAUSE)
