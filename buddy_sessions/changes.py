"""What has changed in a suite from one round to the next: one suite's memory, without I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from enum import StrEnum

from attrs import frozen

from .models import Session, SuiteKey

_log = logging.getLogger("buddy_sessions")

REMEMBERED = 100
"""Sessions of a suite, its newest, that are remembered, so that memory stays flat."""


class ChangeKind(StrEnum):
    """What has happened to a session."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    FINISHED = "FINISHED"


@frozen(kw_only=True)
class Change:
    """What has happened to one session from one round to the next.

    Attributes:
        kind: NEW for a session not seen before, be it finished already or not; FINISHED for one that was not finished
            and is now; CHANGED for any other difference, such as a reopened session or counts that moved.
        suite: Whose session it is.
        session: What the session is now.
        previous: What it was when last seen; None for a new one.
    """

    kind: ChangeKind
    suite: SuiteKey
    session: Session
    previous: Session | None = None


class SuiteMemory:
    """What is known of one suite from its latest round."""

    def __init__(self, key: SuiteKey) -> None:
        self.key = key
        self.rounds = 0
        self.failed = 0
        """Rounds that failed since the last that did not."""
        self.missing = False
        """Whether the suite was not found since the last round that did not fail."""
        self.seen: dict[str, Session] = {}
        """The newest sessions by their IDs, deleted ones among them: what comes back is not new."""
        self._floor = 0  # sessions with no higher number are older than what is remembered
        self._goal: int | None = None  # the number down to which a round reads; None before the first

    def suffices(self, sessions: Sequence[Session]) -> bool:
        """Return whether a round needs no more sessions than these."""
        if self._goal is None:
            return len(sessions) >= REMEMBERED
        return _lowest(sessions) <= self._goal

    @property
    def begun(self) -> bool:
        """Whether there is anything to compare a round with."""
        return self._goal is not None

    def restore(self, seen: Iterable[Session]) -> None:
        """Go on where an earlier watch stood, which had seen these sessions."""
        sessions = list(seen)
        self.seen = {session.id: session for session in sessions}
        self._floor = _lowest(sessions) - 1 if sessions else 0
        self.forget(sessions)

    def begin(self, sessions: Sequence[Session], *, complete: bool) -> bool:
        """Return whether the watch of this suite begins with a round, and if so, forget what was before.

        Args:
            sessions: The suite's newest sessions.
            complete: Whether they are all that it has.
        """
        # Deleted, and created again: its numbers begin anew, and nothing that is there now has been there before.
        anew = self.missing and not any(session.id in self.seen for session in sessions)
        if anew or not self.begun:
            self._floor = 0 if complete else _lowest(sessions) - 1
            self.seen = {} if self.begun else {session.id: session for session in sessions}
            return True
        return False

    def compare(self, sessions: Sequence[Session]) -> list[Change]:
        """Return what has changed, oldest first. It stays so until `seen` has been brought up to date."""
        changes: list[Change] = []
        for session in sessions:
            previous = self.seen.get(session.id)
            if previous is None:
                if session.relative_id <= self._floor:
                    continue  # come up from below, where newer ones have been deleted
                kind = ChangeKind.NEW
            elif session == previous:
                continue
            else:
                kind = ChangeKind.FINISHED if session.finished and not previous.finished else ChangeKind.CHANGED
            changes.append(Change(kind=kind, suite=self.key, session=session, previous=previous))
        changes.sort(key=lambda change: change.session.relative_id)
        return changes

    def forget(self, sessions: Sequence[Session]) -> None:
        """Forget what is too old, and decide how far the next round reads.

        Args:
            sessions: What this round has read. What is unfinished and not among it is gone, and awaited no longer.
        """
        oldest_first = sorted(self.seen.values(), key=_number)
        for session in oldest_first[:-REMEMBERED]:
            del self.seen[session.id]
            self._floor = session.relative_id
            if not session.finished:
                _log.debug("%s: session %d is unfinished, but too old to be watched", self.key, session.relative_id)
        newest = oldest_first[-1].relative_id if oldest_first else 0
        awaited = [each.relative_id for each in sessions if not each.finished and each.id in self.seen]
        self._goal = min([newest + 1, *awaited])


def _number(session: Session) -> int:
    return session.relative_id


def _lowest(sessions: Sequence[Session]) -> int:
    return min(map(_number, sessions))
