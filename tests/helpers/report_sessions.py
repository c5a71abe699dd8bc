"""Sessions for the tests of a report, and their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from buddy_sessions import RefType, Session, SessionStatus, Suite, SuiteKey
from buddy_sessions.cli.report.suite_statistics import SuiteStatistics, compute_statistics

KEY = SuiteKey("acme", "shop", "MNbyVedg")
SUITE = Suite(key=KEY, id=KEY.suite_id, name="Unit tests")
PASSED, FAILED = SessionStatus.SUCCESSFUL, SessionStatus.ERROR
SKIPPED, RUNNING = SessionStatus.SKIPPED, SessionStatus.IN_PROGRESS
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


def sessions(statuses: Iterable[SessionStatus] = (), **columns: Sequence[Any]) -> list[Session]:
    """Return sessions with these statuses and fields, which are listed oldest first; the sessions are newest first."""
    all_statuses = list(statuses) or [PASSED] * max(map(len, columns.values()))
    return [
        session(index + 1, status, **{name: column[index] for name, column in columns.items()})
        for index, status in enumerate(all_statuses)
    ][::-1]


def statistics(
    statuses: Iterable[SessionStatus] = (), *, since: datetime | None = None, **columns: Sequence[Any]
) -> SuiteStatistics:
    """Return the statistics of sessions with these statuses and fields, which are listed oldest first."""
    return compute_statistics(SUITE, sessions(statuses, **columns), since=since)
