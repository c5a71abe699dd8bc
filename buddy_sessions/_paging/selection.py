"""`ReadSpec`: the arguments of a read. `Selection`: picks the sessions of a page that were asked for. No I/O."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from attrs import frozen

from ..models import Cursor, Session, is_before
from .pacing import RequestSlots, ServerTraits

_log = logging.getLogger("buddy_sessions")


@frozen(kw_only=True)
class ReadSpec:
    """The arguments of one read of a suite. The attributes up to `read_ahead` are arguments of `BuddyClient.sessions`.

    Attributes:
        min_id: The lowest `relative_id` to yield, if it is on the same page as a session above `after` (default:
            `after + 1`).
        slots: Shared by the reads of a harvest: pages are requested in advance only while slots are idle. Without, or
            with a `read_ahead` of 1, the read has slots of its own.
        last_digest: The digest of page 1 in an earlier read, or empty: the read ends if page 1 has the same one.
    """

    branch: str | None = None
    after: int = 0
    since: datetime | None = None
    cursor: Cursor | None = None
    max_sessions: int | None = None
    per_page: int | None = None
    read_ahead: int | None = None
    min_id: int | None = None
    slots: RequestSlots | None = None
    last_digest: bytes | None = None


class NewSessions(NamedTuple):
    """The sessions that one page has added to a read.

    `proven_range` is `(low, high)`: every existing session with a `relative_id` from `low` to `high` was read. None
    without a proof. `low` is below the last row only if the end of the list was checked.
    """

    sessions: tuple[Session, ...] = ()  # the new ones, newest first
    offset: int = 0  # the number of rows above them
    proven_range: tuple[int, int] | None = None

    def joined(self, lower: NewSessions) -> NewSessions:
        """Return this result and that of the page below it as one."""
        proven_range, below = self.proven_range, lower.proven_range
        if proven_range and below and below[1] + 1 >= proven_range[0]:
            proven_range = below[0], proven_range[1]
        offset = self.offset if self.sessions else lower.offset
        return NewSessions(self.sessions + lower.sessions, offset, proven_range or below)


class Selection:
    """The sessions that a read is asked for."""

    def __init__(self, spec: ReadSpec, traits: ServerTraits) -> None:
        self.after = spec.after
        self.remaining = math.inf if spec.max_sessions is None else spec.max_sessions  # still to be yielded
        self.is_filtered = spec.branch is not None  # so `relative_id`s are missing
        self.left_out: set[str] = set()  # ids of sessions that are of no branch
        self.is_exceeded = False  # more of them were read than `max_sessions`
        self._min_id = spec.after + 1 if spec.min_id is None else spec.min_id
        self._since = spec.since
        self._branch = spec.branch
        self._traits = traits

    def is_enough(self, sessions: Sequence[Session], already_read: int) -> bool:
        """Return whether nothing below an accepted page is selected."""
        if self.selects_nothing_below(sessions[-1].relative_id if sessions else None, sessions):
            return True
        return len(self._selected(sessions[already_read:])) >= self.remaining

    def selects_nothing_below(self, lowest_id: int | None, sessions: Sequence[Session]) -> bool:
        """Return whether nothing below is selected: `lowest_id` is the lowest, or a page is entirely before `since`."""
        if lowest_id is not None and lowest_id <= self.after + 1:
            return True
        return bool(sessions) and all(is_before(session, self._since) for session in sessions)

    def select(self, new: Sequence[Session], offset: int, proven_range: tuple[int, int] | None) -> NewSessions:
        """Return the selected ones of the new sessions, at most `remaining`, and the range without those left out.

        The range is that of the branch, if there is one.
        """
        selected, lowest_proven = self._selected(new), self._min_id
        if self._since is not None:
            old = [session.relative_id for session in new if is_before(session, self._since)]
            lowest_proven = max(lowest_proven, max(old, default=0) + 1)
        if len(selected) > self.remaining:
            self.is_exceeded = True
            selected = selected[: int(self.remaining)]
            lowest_proven = max(lowest_proven, selected[-1].relative_id)
        self.remaining -= len(selected)
        if proven_range:
            low, high = max(proven_range[0], lowest_proven), proven_range[1]
            proven_range = (low, high) if low <= high else None
        return NewSessions(tuple(selected), offset, proven_range)

    def _selected(self, sessions: Sequence[Session]) -> list[Session]:
        selected = [session for session in sessions if session.relative_id >= self._min_id]
        if self.left_out:
            selected = [session for session in selected if session.id not in self.left_out]
        if self._branch is not None:  # one that does not say what it has tested may be one of the branch
            of_branch = [session for session in selected if session.ref_name in {None, self._branch}]
            if len(of_branch) < len(selected) and not self._traits.ignores_branch:
                self._traits.ignores_branch = True
                _log.warning("the server lists sessions of other branches than %r: they are left out", self._branch)
            selected = of_branch
        if self._since is not None:
            selected = [session for session in selected if not is_before(session, self._since)]
        return selected
