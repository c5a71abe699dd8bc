"""Decides which part of a suite's list a sync reads next. Pure.

A sync reads the top of the list first. Then it moves down, and reads each gap in the coverage and each session that was
not finished when it was last read.
"""

from __future__ import annotations

from .intervals import Interval, Intervals, gaps


def plan_next(covered: Intervals, unfinished: int, *, after: int, below: int) -> Interval | None:
    """Return the numbers to read next; None if nothing remains to be read.

    Args:
        covered: The numbers of which the database contains every existing session.
        unfinished: The highest number between `after` and `below` of a session that was not finished when it was last
            read; 0 if there is none.
        after: Only higher numbers are wanted.
        below: The lowest number that this sync has covered so far.
    """
    candidates = list(gaps(covered, above=after, below=below))
    if unfinished:
        candidates.append((unfinished, unfinished))
    # If both end at the same number, `max` returns the gap, which is listed first and contains the session.
    return max(candidates, key=lambda interval: interval[1], default=None)
