"""`Scope`: which sessions a read is asked for. `PageResult`: what a page has added to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ..models import Session, is_before, may_be_of_branch


class PageResult(NamedTuple):
    """What one page has added to the read.

    `proven_range` is `(low, high)`: every existing session with a `relative_id` from `low` to `high` is known now. None
    without a proof. `low` is below the last row only if the end of the list was checked.
    """

    sessions: tuple[Session, ...] = ()  # the new ones, newest first
    offset: int = 0  # the number of rows above them
    duplicates: int = 0  # sessions that were dropped because they had been read before
    proven_range: tuple[int, int] | None = None


class Scope:
    """Which sessions a read is asked for."""

    def __init__(
        self,
        *,
        branch: str | None,
        after: int,
        min_id: int | None,
        since: datetime | None,
        max_sessions: int | None,
    ) -> None:
        self.after = after
        self.remaining = math.inf if max_sessions is None else max_sessions  # still to be emitted
        self.is_exceeded = False  # more sessions in scope were read than `max_sessions`
        self._min_id = after + 1 if min_id is None else min_id
        self._since = since
        self._branch = branch  # the server filters, too, but may ignore the parameter

    def ends_at(self, lowest_id: int | None, sessions: Sequence[Session]) -> bool:
        """Return whether nothing below is in scope: `lowest_id` is the lowest, or a page is entirely before `since`."""
        if lowest_id is not None and lowest_id <= self.after + 1:
            return True
        return bool(sessions) and all(is_before(session, self._since) for session in sessions)

    def select(
        self, new: Sequence[Session], offset: int, duplicates: int, proven_range: tuple[int, int] | None
    ) -> PageResult:
        """Return the new sessions in scope, at most `remaining`. The proven range has none that was left out.

        It is that of the branch, if there is one.
        """
        in_scope = [
            session
            for session in new
            if session.relative_id >= self._min_id and may_be_of_branch(session, self._branch)
        ]
        lowest_proven = self._min_id
        if self._since is not None:
            old = [session.relative_id for session in in_scope if is_before(session, self._since)]
            lowest_proven = max(lowest_proven, max(old, default=0) + 1)
            in_scope = [session for session in in_scope if not is_before(session, self._since)]
        if len(in_scope) > self.remaining:
            self.is_exceeded = True
            in_scope = in_scope[: int(self.remaining)]
            lowest_proven = max(lowest_proven, in_scope[-1].relative_id)
        self.remaining -= len(in_scope)
        if proven_range:
            low, high = max(proven_range[0], lowest_proven), proven_range[1]
            proven_range = (low, high) if low <= high else None
        return PageResult(tuple(in_scope), offset, duplicates, proven_range)
