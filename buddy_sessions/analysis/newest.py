"""How many of the newest sessions of a suite are read: for most questions, a poll, and a search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..models import Session

NEWEST = 100
"""The number of newest sessions of a suite that most questions need."""
MAX_SEARCHED = 1000
"""The maximum number of sessions that are searched: for a wrong name or commit, not the whole suite is read."""


def are_enough(sessions: Sequence[Session], *, stop_at: int | None = None, count: int = NEWEST) -> bool:
    """Return whether no older sessions need be read than these, the newest ones, newest first.

    They are enough if there are `count`, and no session is missing between them and what was read before, down from
    the `relative_id` `stop_at`; None if nothing was read before.
    """
    return len(sessions) >= count and (stop_at is None or sessions[-1].relative_id <= stop_at + 1)


def may_lack_sessions(sessions: Iterable[Session], *, lowest: int | None) -> bool:
    """Return whether a `relative_id` is missing in a list: the session was deleted, or one response lacked it.

    `lowest` is the `relative_id` with which the list should end; None if that is not known.
    """
    numbers = {session.relative_id for session in sessions}
    return bool(numbers) and len(numbers) <= max(numbers) - (min(numbers) if lowest is None else lowest)
