"""Detects the changes of one suite from one poll of a watch to the next. No I/O."""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from attrs import define, field, frozen

from .._decoding.converter import session_from_dict, to_dict
from ..models import Session, SuiteKey, TestRun

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
    """The newest sessions of a suite, as a poll has read them.

    Attributes:
        is_complete: Whether these are all.
        digest: The digest of the page, if it was a single one; otherwise empty.
    """

    sessions: Sequence[Session]
    is_complete: bool
    digest: bytes


@define(eq=False)
class WatchedSuite:
    """The state of one suite, to detect changes. No I/O.

    Attributes:
        key: The key of the suite.
        index: The index of the suite in the list of suites.
        polls: The number of polls so far.
        failed_polls: The number of polls that failed since the last success.
        is_missing: Whether the suite was not found since the last success.
        status: The session that decides the status, with its failing tests. Only of a watch of statuses.
        repeats_event: Whether the event of this status is repeated, because an earlier watch did not acknowledge it.
        unread: The number of polls in which the tests of a session could not be read, by its ID.
    """

    key: SuiteKey
    index: int
    polls: int = 0
    failed_polls: int = 0
    is_missing: bool = False
    status: TestRun | None = None
    repeats_event: bool = False
    unread: Counter[str] = field(factory=Counter)
    _digest: bytes = b""  # of the first page, if the last poll needed no other page
    _snapshot: bytes = b""  # the known sessions, as compressed JSON: objects take ten times the memory
    _oldest_kept_id: int = 1  # sessions below it are older than those that are kept
    _read_down_to: int | None = None  # a poll reads down to this `relative_id`; None before the first one
    _unseen_ids: frozenset[str] = frozenset()  # the ids of the unfinished sessions that the last poll did not list

    @property
    def is_started(self) -> bool:
        """Whether there is anything to compare a poll with."""
        return self._read_down_to is not None

    @property
    def known_digest(self) -> bytes:
        """The digest of a first page that shows that nothing has changed; empty if every page must be compared."""
        return b"" if self.is_missing else self._digest

    def has_enough(self, sessions: Sequence[Session]) -> bool:
        """Return whether a poll needs no more sessions than these."""
        if self._read_down_to is None:
            return len(sessions) >= REMEMBERED_SESSIONS
        return bool(sessions) and _lowest_id(sessions) <= self._read_down_to

    def restore(self, sessions: Sequence[Session]) -> None:
        """Continue from the sessions that an earlier watch has seen."""
        self._oldest_kept_id = _lowest_id(sessions) if sessions else 1
        self.remember(Newest(sessions, False, b""), {session.id: session for session in sessions})

    def known_sessions(self) -> dict[str, Session]:
        """Return the newest sessions by ID, including deleted ones, so that one that returns is not reported as new."""
        rows = json.loads(zlib.decompress(self._snapshot)) if self._snapshot else []
        return {session.id: session for session in map(session_from_dict, rows)}

    def needs_baseline(self, newest: Newest, known: Mapping[str, Session]) -> bool:
        """Return whether the watch starts with this poll: the first one, or one after the suite was created again."""
        # Deleted, and created again under the same key: `relative_id`s start at 1 again, and all sessions are new.
        is_other = not any(session.id in known for session in newest.sessions)
        # After a 404, an empty or short response is not enough: it may only lack the known sessions.
        highest_id = max(map(_relative_id, known.values()), default=0)
        was_deleted = self.is_missing and any(each.relative_id <= highest_id for each in newest.sessions)
        is_recreated = is_other and (was_deleted or numbers_restart(newest.sessions, known.values()))
        return is_recreated or not self.is_started

    def start(self, newest: Newest) -> dict[str, Session]:
        """Start with the newest sessions; return those that are not new."""
        self._oldest_kept_id = 1 if newest.is_complete else _lowest_id(newest.sessions)
        return {} if self.is_started else {session.id: session for session in newest.sessions}

    def compare(self, sessions: Sequence[Session], known: Mapping[str, Session]) -> list[Change]:
        """Return the changes, oldest first."""
        changes: list[Change] = []
        for session in sessions:
            previous = known.get(session.id)
            if previous is None:
                if session.relative_id < self._oldest_kept_id:
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

    def remember(self, newest: Newest, known: Mapping[str, Session]) -> None:
        """Keep the newest of the known sessions, and decide how far down the next poll reads.

        Args:
            newest: What this poll has read. An unfinished session that two polls in a row do not list was deleted:
                a single response may be wrong.
            known: All sessions that were reported, or need not be.
        """
        oldest_first = sorted(known.values(), key=_relative_id)
        kept = oldest_first[-REMEMBERED_SESSIONS:]
        for session in oldest_first[:-REMEMBERED_SESSIONS]:
            self._oldest_kept_id = session.relative_id + 1
            if not session.is_finished:
                _log.debug("%s: session %d is unfinished, but too old to be watched", self.key, session.relative_id)
        newest_id = kept[-1].relative_id if kept else 0
        read_ids = {session.id for session in newest.sessions}
        unfinished = [each for each in kept if not each.is_finished]
        watched = [each for each in unfinished if each.id in read_ids or each.id not in self._unseen_ids]
        self._unseen_ids = frozenset(each.id for each in unfinished) - read_ids
        # New sessions are above `newest_id`, so a poll that reads down to `newest_id + 1` has read all of them.
        self._read_down_to = min([newest_id + 1, *map(_relative_id, watched)])
        rows = json.dumps(list(map(to_dict, kept)))
        self._snapshot = zlib.compress(rows.encode(), level=1)  # the fastest level, and hardly larger
        self._digest = newest.digest


def _relative_id(session: Session) -> int:
    return session.relative_id


def _lowest_id(sessions: Sequence[Session]) -> int:
    return min(map(_relative_id, sessions))


def numbers_restart(sessions: Iterable[Session], known: Collection[Session]) -> bool:
    """Return whether a session was created after all known ones, and has no higher `relative_id` than one of them.

    Older sessions that move up because the known ones were deleted have lower `relative_id`s, too.
    """
    highest_id = max(map(_relative_id, known), default=0)
    latest = max((each.create_date for each in known if each.create_date is not None), default=None)
    return latest is not None and any(
        each.relative_id <= highest_id and each.create_date is not None and each.create_date > latest
        for each in sessions
    )
