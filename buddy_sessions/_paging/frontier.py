"""The proof that a read misses no session: the frontier, and the one rule that accepts a page (README.md, One rule).

A page has no gaps: it contains every session between its first and its last row that existed when it was requested.

The proof needs a list that is sorted newest first. If it is not, a page contradicts itself or the recent rows, or the
rows above it do (`SKIPPED`). The recent rows are the last 200 at or above the frontier, of one page or more. They
have no gaps either, and no row can appear between them later: a `relative_id` follows the order of creation.

An accepted page that is not full is held (`HeldPage`) until what follows explains it (README.md, The end of a list).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from enum import Enum, auto
from operator import le, neg

from attrs import evolve, frozen

from ..models import Cursor, Session
from .pacing import Window

_MAX_RECENT_ROWS = 200


class Problem(Enum):
    """Why a page is not accepted."""

    GAP = auto()
    """Sessions may be missing between the frontier and the page: a row above was deleted, or there is a hole."""
    SKIPPED = auto()
    """The page begins above the recent rows, and lists none of them: the rows above the page tell why.

    The list has grown, or the recent rows were deleted: then the page can be accepted. Or the list is out of order:

        read: 3, then 13   list: … 14 13 12 … 4 3 2 1    grown: go on after the 3
                           list:  3 13 12 … 4 2 1        out of order: to go on after the 3 would lose 13 to 4
    """
    UNORDERED = auto()
    """The page contradicts itself or the recent rows: the list is not sorted newest first. If the page was requested
    before those rows, one may have been deleted in between."""


class Frontier:
    """How far a read has come: it has every session at or above `lowest_id` that has existed all the time."""

    def __init__(self, cursor: Cursor | None) -> None:
        self.lowest_id = cursor.lowest_id if cursor else None  # None before the first row
        self.has_holes = False  # a `relative_id` was missing between two rows
        self.has_reread_above = False  # the rows above a page are requested: it cannot be `SKIPPED` before a new row
        # The `relative_id` and `id` of the recent rows, newest first; a whole session may be large.
        self._recent: tuple[tuple[int, str], ...] = ()

    @property
    def recent_ids(self) -> set[str]:
        return {session_id for _, session_id in self._recent}

    def find_problem(self, window: Window, sessions: Sequence[Session]) -> Problem | None:
        """Return why a page does not prove that no session is missed down to its last row; None if it does."""
        relative_ids = [session.relative_id for session in sessions]
        is_descending = not any(map(le, relative_ids, relative_ids[1:]))
        if not is_descending or self._contradicts_recent_rows(sessions):
            return Problem.UNORDERED
        if window.page > 1:
            # An empty page proves nothing: the list may have shrunk above it.
            if self.lowest_id is None or not relative_ids or relative_ids[0] < self.lowest_id - 1:
                return Problem.GAP
            if not self.has_reread_above and self._skips_recent_rows(relative_ids):
                return Problem.SKIPPED
        return None

    def count_read(self, sessions: Sequence[Session]) -> int:
        """Return how many rows of a page are at or above the frontier."""
        relative_ids = [session.relative_id for session in sessions]
        return 0 if self.lowest_id is None else bisect_right(relative_ids, -self.lowest_id, key=neg)

    def has_hole(self, sessions: Sequence[Session], *, above: int) -> bool:
        """Return whether a page lacks a `relative_id` between the frontier and its last row, or `above`."""
        if not sessions:
            return False
        highest = sessions[0].relative_id if self.lowest_id is None else self.lowest_id - 1
        lowest = max(sessions[-1].relative_id, above + 1)
        return highest - lowest + 1 > sum(lowest <= session.relative_id <= highest for session in sessions)

    def move(self, sessions: Sequence[Session], already_read: int) -> tuple[int, int] | None:
        """Move down over an accepted page; return the range that it proves, as in `NewSessions`.

        A page that begins below the frontier proves nothing above its first row: page 1 may be outdated.
        """
        first_id = sessions[0].relative_id if sessions else 0
        highest = self.lowest_id - 1 if already_read and self.lowest_id is not None else first_id
        if already_read < len(sessions):
            above = first_id + 1 if self.lowest_id is None else self.lowest_id
            self.lowest_id = sessions[-1].relative_id
            self.has_holes |= above - self.lowest_id > len(sessions) - already_read
            self.has_reread_above = False
            rows = [(session.relative_id, session.id) for session in sessions[already_read:]]
            self._recent = (*self._recent, *rows)[-_MAX_RECENT_ROWS:]
        return None if self.lowest_id is None else (self.lowest_id, highest)

    def _contradicts_recent_rows(self, sessions: Sequence[Session]) -> bool:
        """Return whether a page lists a row between the recent rows that is not one of them, or has another id."""
        if not sessions or not self._recent or sessions[0].relative_id < self._recent[-1][0]:
            return False
        ids = dict(self._recent)
        highest, lowest = self._recent[0][0], self._recent[-1][0]
        return any(
            lowest <= session.relative_id <= highest and ids.get(session.relative_id) != session.id
            for session in sessions
        )

    def _skips_recent_rows(self, relative_ids: Sequence[int]) -> bool:
        """Return whether a page begins above the recent rows, and lists none of them."""
        if not self._recent or relative_ids[0] <= self._recent[0][0]:
            return False
        return dict(self._recent).keys().isdisjoint(relative_ids)


@frozen(kw_only=True)
class HeldPage:
    """An accepted page that is not full, with what was requested to explain it."""

    window: Window
    sessions: Sequence[Session]  # of both responses, if it was requested again
    rows: int  # of the last response
    has_hole: bool  # a `relative_id` above its last row is missing
    following: Sequence[Session] | None = None  # the sessions of the next page

    @property
    def next_window(self) -> Window:
        """The page to request next. An empty page 1 is requested again."""
        return Window(self.window.page + bool(self.sessions), self.window.per_page)

    @property
    def rows_follow(self) -> bool:
        """Whether the next page shows that this is not the last one."""
        return self.following is not None and self.is_above(self.following)

    @property
    def is_followed_closely(self) -> bool:
        """Whether no `relative_id` is missing between this page and the next one."""
        if not self.following:
            return False
        return self.following[0].relative_id >= self.sessions[-1].relative_id - 1

    def is_above(self, sessions: Sequence[Session]) -> bool:
        """Return whether a page has rows below the last row of this one."""
        return bool(sessions) and (not self.sessions or sessions[-1].relative_id < self.sessions[-1].relative_id)

    def merge(self, sessions: Sequence[Session]) -> HeldPage | None:
        """Return this page with the rows of another response; None if it ends farther up."""
        if not sessions or sessions[-1].relative_id > self.sessions[-1].relative_id:
            return None
        rows = {session.relative_id: session for session in (*self.sessions, *sessions)}
        merged = [rows[number] for number in sorted(rows, reverse=True)]
        return evolve(self, sessions=merged, rows=len(sessions))
