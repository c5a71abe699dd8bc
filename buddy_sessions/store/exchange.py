"""What the database knows of a suite, and what a sync and the database's thread pass to each other: frozen data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from attrs import evolve, frozen

from ..models import CaseScope, Session, is_before

MAX_DETAILS = 100
"""The default number of failing cases of a session whose `data` is read: each one costs a request."""

_CASE_SCOPES: tuple[CaseScope | None, ...] = (None, "failed", "all")


class SessionId(NamedTuple):
    """The two ids of a session."""

    relative_id: int
    id: str


@frozen(kw_only=True)
class SyncScope:
    """What a sync saves: the arguments of `SessionStore.sync`. Sessions without a date count as new."""

    since: datetime | None = None
    cases: CaseScope | None = None
    cases_branch: str | None = None
    details: int = MAX_DETAILS

    def includes(self, session: Session) -> bool:
        """Return whether a session was created at `since` or later."""
        return not is_before(session, self.since)

    def limit(self, since: datetime | None) -> SyncScope:
        """Return this scope without the sessions created before a time, if there is one."""
        return self if since is None else evolve(self, since=max(since, self.since or since))

    def is_within(self, other: SyncScope) -> bool:
        """Return whether a sync with the other scope saves everything that is in this one."""
        return (
            (other.since is None or (self.since is not None and other.since <= self.since))
            and _CASE_SCOPES.index(self.cases) <= _CASE_SCOPES.index(other.cases)
            and (self.cases is None or other.cases_branch in {None, self.cases_branch})
            and (self.cases is None or self.details <= other.details)
        )


@frozen
class CompleteSync:
    """A sync that was complete, and left nothing to be checked: the digest of its first page, and its arguments."""

    digest: bytes
    scope: SyncScope


Interval = tuple[int, int]
"""The lowest and the highest of some `relative_id`s, both included."""

ALL_NUMBERS: Interval = (1, 2**63 - 1)


@frozen
class KnownEnd:
    """The end of a list above `relative_id` 1: Buddy has deleted what was older.

    Attributes:
        number: No lower `relative_id` is listed.
        found_at: The time of the sync that has found it.
        is_final: Whether a later sync has asked below it once more, and found nothing.
    """

    number: int
    found_at: datetime
    is_final: bool = False


Bottom = Literal["start", "retention", "prune", "since"]
"""What is below the known range: nothing, nothing that Buddy still has, what was pruned, or what `since` left out."""


@frozen(kw_only=True)
class SuiteState:
    """What the database knows of a suite. The defaults are those of a suite that was never synced.

    Attributes:
        known: The known range: the database has every existing session in it, except what was pruned.
        older_than: All sessions below the known range were created before this time; None if that is unknown.
        end: The end of the list, if it is above 1. Sessions below are not listed, but saved: they are not missing.
        unlisted: The id of the newest session, if the last sync could request it, but no page has listed it.
        pruned_before: A time. The sessions created before it were pruned: they are not saved again.
        complete: The last sync, if it was complete and nothing has changed since: then the same first page needs no
            comparison.
    """

    is_synced: bool = False
    known: Interval | None = None
    older_than: datetime | None = None
    end: KnownEnd | None = None
    unlisted: str | None = None
    pruned_before: datetime | None = None
    complete: CompleteSync | None = None

    @property
    def bottom(self) -> Bottom | None:
        """What is below the known range; None if no sync has read that far."""
        bottom: Bottom | None = None
        if self.known is None:
            return None
        if self.known[0] == 1:
            bottom = "start"
        elif self.end is not None:
            bottom = "retention"
        elif self.older_than is not None:
            bottom = "since"
        if bottom is not None and self.pruned_before is not None:
            bottom = "since" if self.older_than is not None and self.older_than > self.pruned_before else "prune"
        return bottom

    def knows(self, number: int) -> bool:
        """Return whether a `relative_id` is in the known range."""
        return self.known is not None and self.known[0] <= number <= self.known[1]

    def was_pruned(self, session: Session) -> bool:
        """Return whether a session was pruned, so that it is not saved again."""
        return is_before(session, self.pruned_before)

    def forget(self) -> SuiteState:
        """Return the state if nothing is known of the list any more."""
        return evolve(self, known=None, older_than=None, end=None, unlisted=None, complete=None)

    def extend(self, read: Interval, *, is_end: bool) -> SuiteState:
        """Return the state after a range was read without a gap.

        If it overlaps the known range, it extends that: a page was compared with both. If it does not, and the list
        ends there (`is_end`), it replaces it.
        """
        known = self.known
        if known is not None and known[0] <= read[1] and read[0] <= known[1] + is_end:
            return evolve(self, known=(min(known[0], read[0]), max(known[1], read[1])))
        return evolve(self, known=read, older_than=None) if known is None or is_end else self

    def end_at(self, number: int, now: datetime) -> SuiteState:
        """Return the state after a sync has found the end of the list. The second sync makes it final."""
        end = self.end
        if end is None or number < end.number or (end.is_final and number > end.number):
            end = KnownEnd(number, now)
        return evolve(self, end=evolve(end, is_final=end.is_final or end.found_at != now))

    def up_to(self, highest: int) -> SuiteState:
        """Return what is known up to a `relative_id`."""
        if self.known is None or highest < self.known[0]:
            return self.forget()
        end = None if self.end is not None and self.end.number > highest else self.end
        return evolve(self, known=(self.known[0], min(self.known[1], highest)), end=end)

    def continues_at(self, scope: SyncScope) -> int | None:
        """Return the `relative_id` at which a sync continues downwards; None if nothing below may be in scope."""
        if self.known is None:
            return None
        if self.end is not None:
            return None if self.end.is_final else self.end.number
        is_older = self.older_than is not None and scope.since is not None and self.older_than <= scope.since
        return None if self.known[0] == 1 or is_older else self.known[0]


@frozen(kw_only=True)
class PageToSave:
    """A page to be saved, and what it proves.

    Attributes:
        too_old: The `relative_id`s of sessions that are saved only if they were saved before.
        listed: All sessions that responses have listed since the page before, also those that were read before: they
            are compared with the database. Empty for a session that was requested alone, and for a list out of order.
        proven: The range of `relative_id`s whose existing sessions are all listed.
        read: The range of `relative_id`s that this read has saved completely, from its first page to this one.
        end: The lowest `relative_id` of the list, if it is above 1, and this page proves that the list ends there.
        is_first: Whether it is the first page of the list.
        is_repair: Whether this sync has already dropped the known range. It never does so twice, or it might not end.
        checked: The `relative_id` of an unfinished session that was requested to check it.
        unlisted: The id of the newest session, which could be requested, although the first page lacks it.
        older_than: A time before which all sessions below `read` were created.
    """

    sessions: Sequence[Session]
    too_old: Collection[int] = ()
    listed: Sequence[Session] = ()
    proven: Interval | None = None
    read: Interval | None = None
    end: int | None = None
    is_first: bool = False
    is_repair: bool = False
    checked: int | None = None
    unlisted: str | None = None
    older_than: datetime | None = None

    @property
    def top(self) -> int | None:
        """For the first page of the list, the highest `relative_id` on it, 0 if it is empty; None for another page."""
        return max((session.relative_id for session in self.listed), default=0) if self.is_first else None


@frozen(kw_only=True)
class SavedPage:
    """What saving a page has changed, and the state of the suite afterwards.

    `repaired` is the number of sessions that it has corrected: they should have been saved, but were not, or were
    marked as missing or deleted.
    """

    state: SuiteState
    changed: tuple[Session, ...] = ()
    is_contradiction: bool = False
    is_stale: bool = False
    repaired: int = 0
