"""Views of a suite: the rows in one response, where a fault changes them. No HTTP."""

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from .data import Session, is_on_branch
from .stored import Snapshot, StoredSession

Row: TypeAlias = dict[str, Any]
"""A session, a test case or a test group in the API's JSON."""


@attrs.frozen(kw_only=True)
class View:
    """The changes that a fault makes to the rows in one response. The default changes nothing.

    Attributes:
        snapshot: The sessions to show in place of those that exist now; None for no replacement.
        is_hidden: Returns whether a session is left out.
        hide_after_cut: Whether sessions are left out after the page is cut, which makes the page shorter.
        change_list: Changes the list, of the suite or of the requested branch, before the page is cut.
        page_size: The page size in place of the requested one; None for no replacement.
        change_page: Changes the page after it is cut.
    """

    snapshot: Snapshot | None = None
    is_hidden: Callable[[Session], bool] = lambda _: False
    hide_after_cut: bool = False
    change_list: Callable[[list[Row]], list[Row]] = lambda rows: rows
    page_size: int | None = None
    change_page: Callable[[list[Row]], list[Row]] = lambda rows: rows

    def page(self, current: Snapshot, number: int, size: int, branch: str | None) -> list[Session]:
        """Return the sessions on a page.

        Args:
            current: The sessions that exist now.
            number: The page number, from 1.
            size: The requested page size.
            branch: Only sessions of this branch.
        """
        sessions = [row.copy() for row in self._rows(current) if branch is None or is_on_branch(row, branch)]
        if not self.hide_after_cut:
            sessions = self._without_hidden(sessions)
        page = self._cut(sessions, number, size)
        if self.hide_after_cut:
            page = self._without_hidden(page)
        return self.change_page(page)

    def rows(self, rows: list[Row], number: int, size: int) -> list[Row]:
        """Return the test cases or test groups on a page.

        Args:
            rows: All rows of the list.
            number: The page number, from 1.
            size: The requested page size.
        """
        return self.change_page(self._cut(rows, number, size))

    def session(self, current: Snapshot, session_id: str) -> StoredSession | None:
        """Return the session with this ID; None if there is none, or it is hidden.

        Args:
            current: The sessions that exist now.
            session_id: The ID as text, also if it is a number in the API's JSON.
        """
        session = next((row for row in self._rows(current) if str(row["id"]) == session_id), None)
        return None if session is None or self.is_hidden(session.copy()) else session

    def _cut(self, rows: list[Row], number: int, size: int) -> list[Row]:
        size = size if self.page_size is None else self.page_size
        return self.change_list(rows)[(number - 1) * size : number * size]

    def _rows(self, current: Snapshot) -> Snapshot:
        return current if self.snapshot is None else self.snapshot

    def _without_hidden(self, sessions: list[Session]) -> list[Session]:
        return [session for session in sessions if not self.is_hidden(session)]
