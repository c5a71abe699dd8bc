"""Sessions for tests that need no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from buddy_sessions import RefType, Session, SessionStatus

PASSED, RUNNING = SessionStatus.SUCCESSFUL, SessionStatus.IN_PROGRESS
FIRST = datetime(2026, 3, 1, 10, tzinfo=UTC)


def session(
    number: int, status: SessionStatus = PASSED, *, day: float = 0, branch: str = "main", **fields: Any
) -> Session:
    """Return a session that was created this many days after `FIRST`."""
    return Session(
        **{
            "id": str(number),
            "relative_id": number,
            "status": status,
            "create_date": FIRST + timedelta(days=day),
            "ref_type": RefType.BRANCH,
            "ref_name": branch,
            **fields,
        }
    )
