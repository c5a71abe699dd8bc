"""What a response shows of a suite, if a fault changes it. No HTTP."""

from collections.abc import Callable
from typing import TypeAlias

import attrs

from .stored_sessions import Snapshot, StoredSession
from .wire import JsonObject

Cut: TypeAlias = Callable[[list[JsonObject], int, int], list[JsonObject]]
"""Returns a page of a list of sessions or test cases, for the number of the page, from 1, and its size."""


def cut_page(rows: list[JsonObject], number: int, size: int) -> list[JsonObject]:
    """Return one page of a list."""
    return rows[(number - 1) * size : number * size]


@attrs.frozen(kw_only=True)
class View:
    """What a response shows. The default is what the suite contains."""

    snapshot: Snapshot | None = None  # the sessions to show in place of those that exist now
    is_hidden: Callable[[JsonObject], bool] = lambda _: False  # a session that is left out
    hide_after_cut: bool = False  # sessions are left out after the page is cut, which makes the page shorter
    cut: Cut = cut_page

    def page(self, current: Snapshot, number: int, size: int, branch: str | None) -> list[JsonObject]:
        """Return a page of the sessions of a suite, or of one branch: neither tags nor pull requests."""
        shown = (session.fields for session in self._sessions(current))
        rows = [
            row.copy() for row in shown if branch is None or (row["ref_type"], row["ref_name"]) == ("BRANCH", branch)
        ]
        if self.hide_after_cut:
            return self._without_hidden(self.cut(rows, number, size))
        return self.cut(self._without_hidden(rows), number, size)

    def session(self, current: Snapshot, session_id: str) -> StoredSession | None:
        """Return the session with this ID, as text; None if there is none, or it is hidden."""
        session = next((each for each in self._sessions(current) if str(each.fields["id"]) == session_id), None)
        return None if session is None or self.is_hidden(session.fields.copy()) else session

    def _sessions(self, current: Snapshot) -> Snapshot:
        return current if self.snapshot is None else self.snapshot

    def _without_hidden(self, rows: list[JsonObject]) -> list[JsonObject]:
        return [row for row in rows if not self.is_hidden(row.copy())]
