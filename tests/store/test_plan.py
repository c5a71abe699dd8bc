"""The plan of a sync: what is read next."""

from __future__ import annotations

import pytest

from buddy_sessions.store.intervals import Interval, Intervals
from buddy_sessions.store.plan import plan_next


@pytest.mark.parametrize(
    ("covered", "after", "below", "unfinished", "expected"),
    [
        (((1, 100),), 0, 81, 0, None),
        (((81, 100),), 0, 81, 0, (1, 80)),
        (((1, 20), (41, 60), (81, 100)), 0, 81, 0, (61, 80)),
        (((1, 20), (41, 60), (81, 100)), 0, 61, 0, (21, 40)),
        (((1, 20), (41, 60), (81, 100)), 0, 21, 0, None),
        (((1, 20), (41, 60), (81, 100)), 30, 61, 0, (31, 40)),
        (((1, 20), (41, 60), (81, 100)), 40, 61, 0, None),
        (((81, 100),), 0, 71, 0, (1, 70)),
        (((1, 100),), 0, 81, 50, (50, 50)),
        (((1, 100),), 0, 1, 0, None),
        (((1, 20), (41, 100)), 0, 81, 50, (50, 50)),
        (((1, 20), (41, 100)), 0, 50, 10, (21, 40)),
        (((1, 20), (41, 100)), 0, 81, 30, (21, 40)),
        (((1, 20), (41, 100)), 0, 81, 40, (21, 40)),
        ((), 0, 1, 0, None),
    ],
    ids=[
        "nothing-remains",
        "gap-at-the-bottom",
        "highest-gap",
        "next-gap",
        "all-gaps-read",
        "gap-cut-at-after",
        "gap-at-or-below-after",
        "gap-partly-read",
        "unfinished",
        "everything-read",
        "unfinished-above-gap",
        "unfinished-below-gap",
        "unfinished-in-gap",
        "unfinished-at-the-top-of-gap",
        "empty-suite",
    ],
)
def test_sync_continues_downwards(
    covered: Intervals, after: int, below: int, unfinished: int, expected: Interval | None
) -> None:
    assert plan_next(covered, unfinished, after=after, below=below) == expected
