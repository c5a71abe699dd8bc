"""`HeldPage`: a page that is not full is not believed before what follows explains it (README.md, The end of a list).

It is the last page, the server caps pages, or the response lacks rows. No I/O, clock or asyncio.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from ..models import Session
from .pacing import Window


@frozen
class FollowingPage:
    """The page that was requested after a held page. `in_advance`: it was requested before that one was received."""

    window: Window
    sessions: Sequence[Session]
    in_advance: bool


@frozen(kw_only=True)
class HeldPage:
    """An accepted page that is not full, with what was requested to explain it."""

    window: Window
    sessions: Sequence[Session]  # of both responses, if it was requested again
    rows: int  # of the last response
    has_hole: bool  # a `relative_id` above its last row is missing
    following: FollowingPage | None = None
    is_reread: bool = False  # it was requested again

    @property
    def next_window(self) -> Window:
        """The page to request next. An empty page 1 is requested again."""
        return Window(self.window.page + bool(self.sessions), self.window.per_page)

    @property
    def rows_follow(self) -> bool:
        """Whether the next page shows that this is not the last one."""
        return self.following is not None and self.is_above(self.following.sessions)

    @property
    def is_followed_closely(self) -> bool:
        """Whether no `relative_id` is missing between this page and the next one."""
        sessions = self.following.sessions if self.following else ()
        return bool(sessions) and sessions[0].relative_id >= self.sessions[-1].relative_id - 1

    def is_above(self, sessions: Sequence[Session]) -> bool:
        """Return whether a page has rows below the last row of this one."""
        return bool(sessions) and (not self.sessions or sessions[-1].relative_id < self.sessions[-1].relative_id)

    def merge(self, sessions: Sequence[Session]) -> HeldPage | None:
        """Return this page with the rows of another response; None if it ends farther up, or contradicts this one."""
        rows = {session.relative_id: session for session in (*self.sessions, *sessions)}
        ids = {session.id for session in (*self.sessions, *sessions)}
        if not sessions or sessions[-1].relative_id > self.sessions[-1].relative_id or len(ids) != len(rows):
            return None
        merged = [rows[number] for number in sorted(rows, reverse=True)]
        return evolve(self, sessions=merged, rows=len(sessions), is_reread=True)
