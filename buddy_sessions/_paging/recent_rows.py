"""The rows that a read has listed last: a later page that contradicts them shows that the list is out of order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..models import Session

_MAX_ROWS = 200


class RecentRows:
    """The lowest rows above the frontier, at most 200: the last page or two.

    They have no gaps: no other row existed between the highest and the lowest when their pages were requested.
    A session's `relative_id` follows the order of creation, so none can appear between them later.
    """

    def __init__(self) -> None:
        self._rows: tuple[tuple[int, str], ...] = ()  # relative_id and id, newest first; a whole session may be large

    @property
    def ids(self) -> Iterator[str]:
        """The ids of the rows."""
        return (session_id for _, session_id in self._rows)

    def add(self, sessions: Sequence[Session]) -> None:
        """Add the new rows of an accepted page: all are lower than the rows before."""
        rows = [(session.relative_id, session.id) for session in sessions]
        self._rows = (*self._rows, *rows)[-_MAX_ROWS:]

    def are_contradicted_by(self, sessions: Sequence[Session]) -> bool:
        """Return whether a page lists a row between these rows that is not one of them, or has another id."""
        if not sessions or not self._rows or sessions[0].relative_id < self._rows[-1][0]:
            return False
        known = dict(self._rows)
        highest, lowest = self._rows[0][0], self._rows[-1][0]
        return any(
            lowest <= session.relative_id <= highest and known.get(session.relative_id) != session.id
            for session in sessions
        )

    def has_gap(self, relative_ids: Sequence[int]) -> bool:
        """Return whether a page begins above these rows, and lists none of them: it went past them, or ends above."""
        if not relative_ids or not self._rows or relative_ids[0] <= self._rows[0][0]:
            return False
        return dict(self._rows).keys().isdisjoint(relative_ids)
