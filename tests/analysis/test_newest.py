"""When the newest sessions are enough for a question, a poll or a wait."""

from __future__ import annotations

import pytest

from buddy_sessions import Session, SessionStatus
from buddy_sessions.analysis.newest import NEWEST, are_enough


@pytest.mark.parametrize(
    ("count", "stop_at", "expected"),
    [
        (NEWEST - 1, None, False),
        (NEWEST, None, True),
        (NEWEST, 900, True),
        (NEWEST, 899, False),
        (NEWEST + 1, 899, True),
    ],
)
def test_newest_sessions_are_enough(count: int, stop_at: int | None, expected: bool) -> None:
    """100, and down to the newest one that was known: #1000 to #901, with #900 or above known."""
    sessions = [
        Session(id=str(number), relative_id=1000 - number, status=SessionStatus.ERROR) for number in range(count)
    ]
    assert are_enough(sessions, stop_at=stop_at) is expected
