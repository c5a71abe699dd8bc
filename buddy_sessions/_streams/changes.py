"""Detects the changes of one suite from one poll of a watch to the next. No I/O."""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from attrs import define, field, frozen

from .._decoding.converter import session_from_dict, to_dict
from ..models import Session, SuiteKey, is_before
from .polled import Polled
from .status import KnownStatus

_log = logging.getLogger("buddy_sessions")

REMEMBERED_SESSIONS = 100
"""How many of the newest sessions of a suite are kept to detect changes. This bounds the memory."""


class ChangeKind(StrEnum):
    """The kind of a change."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    FINISHED = "FINISHED"


@frozen(kw_only=True)
class Change:
    """A change of one session.

    Attributes:
        kind: NEW for a session that was not seen before, whether it is finished or not; FINISHED if it was unfinished
            and is finished now; CHANGED for any other difference, such as a reopened session or other counts.
        suite: The suite of the session.
        session: The session as it is now.
        previous: The session as it was when last seen; None for a new one.
    """

    kind: ChangeKind
    suite: SuiteKey
    session: Session
    previous: Session | None = None


class Newest(NamedTuple):
    """The newest sessions of a suite, as a poll has read them: 100 or more, or all.

    Attributes:
        is_complete: Whether these are all.
        is_verified: Whether it is proved that none is missing.
        first_page: The number of sessions on the first page.
        digest: The digest of the first page.
    """

    sessions: Sequence[Session]
    is_complete: bool
    is_verified: bool
    first_page: int
    digest: bytes


@define(eq=False, kw_only=True)
class WatchedSuite(Polled):
    """The state of one suite. No I/O.

    Attributes:
        phase: From 0 to 1: when it is polled within an interval.
        new_since: In the first poll, sessions that were created later are new; None for none.
        is_missing: Whether the suite was not found since the last success.
        highest_id: The highest `relative_id` of the last poll; None before the first success.
        digest: That of a first page which shows that nothing has changed; empty if every page must be compared.
        status: What is known of its status. Only of a watch of statuses.
        is_held: Whether its status may have changed, but more sessions may follow. Of statuses, too.
        unread: The number of polls in which the tests of a session could not be read, by its ID. Of statuses, too.
    """

    phase: float = 0.0
    new_since: datetime | None = None
    is_missing: bool = False
    highest_id: int | None = None
    digest: bytes = b""
    status: KnownStatus | None = None
    is_held: bool = False
    unread: Counter[str] = field(factory=Counter)
    _unfinished: frozenset[str] = frozenset()  # ids, in the last poll
    _snapshot: bytes = b""  # the known sessions, as compressed JSON: objects take ten times the memory

    def has_enough(self, sessions: Sequence[Session]) -> bool:
        """Return whether a poll needs no more sessions than these."""
        is_enough = len(sessions) >= REMEMBERED_SESSIONS
        return is_enough and (self.highest_id is None or min(map(_relative_id, sessions)) <= self.highest_id + 1)

    def remember_poll(self, newest: Newest) -> None:
        """Decide whether the next poll can skip an equal first page.

        It cannot if an unfinished session is below it, or was not listed by this poll, as opposed to the one before: a
        single response may be wrong.
        """
        self.highest_id = max(map(_relative_id, newest.sessions), default=self.highest_id or 0)
        watched = newest.sessions[:REMEMBERED_SESSIONS]
        is_running_below = any(not each.is_finished for each in watched[newest.first_page :])
        is_one_unlisted = not self._unfinished.issubset(each.id for each in newest.sessions)
        self.digest = b"" if is_running_below or is_one_unlisted or self.is_held else newest.digest
        self._unfinished = frozenset(each.id for each in watched if not each.is_finished)

    def is_recreated(self, newest: Newest, known: Collection[Session]) -> bool:
        """Return whether the suite was deleted and created again: its `relative_id`s start at 1 again."""
        ids, highest_id = {session.id for session in known}, max(map(_relative_id, known), default=0)
        latest = max((each.create_date for each in known if each.create_date is not None), default=None)
        # After a 404, an empty or short response is not enough: it may only lack the known sessions. Without one, older
        # sessions may have moved up, because the known ones were deleted.
        low = [session for session in newest.sessions if session.relative_id <= highest_id]
        is_later = any(latest and each.create_date and each.create_date > latest for each in low)
        is_other = not any(session.id in ids for session in newest.sessions)
        return is_other and (is_later or (self.is_missing and bool(low)))

    def known_sessions(self) -> dict[str, Session]:
        """Return the newest sessions by ID, including deleted ones, so that one that returns is not reported as new."""
        rows = json.loads(zlib.decompress(self._snapshot)) if self._snapshot else []
        return {session.id: session for session in map(session_from_dict, rows)}

    def old_sessions(self, newest: Newest) -> dict[str, Session]:
        """Return the sessions of the first poll that are not new, by ID."""
        since = self.new_since
        return {each.id: each for each in newest.sessions if since is None or is_before(each, since)}

    def compare(self, sessions: Sequence[Session], known: Mapping[str, Session]) -> list[Change]:
        """Return the changes, oldest first."""
        changes: list[Change] = []
        lowest_id = min(map(_relative_id, known.values())) if len(known) >= REMEMBERED_SESSIONS else 1
        for session in sessions:
            previous = known.get(session.id)
            if previous is None:
                if session.relative_id < lowest_id:
                    continue  # an old session that moved up because newer ones were deleted
                kind = ChangeKind.NEW
            elif session == previous:
                continue
            else:
                is_now_finished = session.is_finished and not previous.is_finished
                kind = ChangeKind.FINISHED if is_now_finished else ChangeKind.CHANGED
            changes.append(Change(kind=kind, suite=self.key, session=session, previous=previous))
        changes.sort(key=lambda change: change.session.relative_id)
        return changes

    def keep(self, known: Mapping[str, Session]) -> None:
        """Keep the newest of the sessions that were reported, or need not be."""
        oldest_first = sorted(known.values(), key=_relative_id)
        kept = oldest_first[-REMEMBERED_SESSIONS:]
        for session in oldest_first[:-REMEMBERED_SESSIONS]:
            if not session.is_finished:
                _log.debug("%s: session %d is unfinished, but too old to be watched", self.key, session.relative_id)
        rows = json.dumps(list(map(to_dict, kept)))
        self._snapshot = zlib.compress(rows.encode(), level=1)  # the fastest level, and hardly larger

    def restore(self, sessions: Sequence[Session]) -> None:
        """Continue from the sessions that an earlier watch has seen."""
        self.highest_id = max(map(_relative_id, sessions), default=0)
        self.keep({session.id: session for session in sessions})


def _relative_id(session: Session) -> int:
    return session.relative_id
