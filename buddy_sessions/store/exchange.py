"""What the loop of a sync and the database's thread pass to each other: plain, frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

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

    after: int = 0
    since: datetime | None = None
    cases: CaseScope | None = None
    cases_branch: str | None = None
    details: int = MAX_DETAILS

    def includes(self, session: Session) -> bool:
        """Return whether a session of the list is in scope."""
        return session.relative_id > self.after and not self.is_too_old(session)

    def is_too_old(self, session: Session) -> bool:
        """Return whether a session was created before `since`."""
        return is_before(session, self.since)

    def limit(self, since: datetime | None) -> SyncScope:
        """Return this scope without the sessions created before a time, if there is one."""
        return self if since is None else evolve(self, since=max(since, self.since or since))

    def is_within(self, other: SyncScope) -> bool:
        """Return whether a sync with the other scope saves everything that is in this one."""
        return (
            other.after <= self.after
            and (other.since is None or (self.since is not None and other.since <= self.since))
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


@frozen(kw_only=True)
class KnownRange:
    """The `relative_id`s of which the database has every existing session, except what was pruned.

    Attributes:
        main: The known range itself; None before the first sync.
        upper: The range above `main` that a catch-up had read when it was interrupted. The next sync continues there.
        older_than: All sessions below `main` were created before this time; None if that is unknown.
    """

    main: Interval | None = None
    upper: Interval | None = None
    older_than: datetime | None = None

    def contains(self, number: int) -> bool:
        """Return whether a `relative_id` is in one of the ranges."""
        return any(each is not None and each[0] <= number <= each[1] for each in (self.main, self.upper))

    def extend(self, read: Interval) -> KnownRange:
        """Return what is known after a range was read without a gap.

        If it overlaps a known range, it extends that: a page was compared with both. Otherwise it becomes `main` or,
        above `main`, `upper`, if there is none yet. A third range is not kept.
        """
        if self.main is None:
            return evolve(self, main=read)
        parts = [self.main] if self.upper is None else [self.main, self.upper]
        touched = [each for each in parts if each[0] <= read[1] and read[0] <= each[1]]
        joined = min(low for low, _ in (read, *touched)), max(high for _, high in (read, *touched))
        if self.main in touched:
            return evolve(self, main=joined, upper=None if self.upper in touched else self.upper)
        if touched or (self.upper is None and read[0] > self.main[1]):
            return evolve(self, upper=joined)
        return self

    def up_to(self, highest: int) -> KnownRange:
        """Return what is known up to a `relative_id`."""
        main, upper = (
            (each[0], min(each[1], highest)) if each is not None and each[0] <= highest else None
            for each in (self.main, self.upper)
        )
        return KnownRange(main=main, upper=upper, older_than=self.older_than) if main else NOTHING_KNOWN


NOTHING_KNOWN = KnownRange()
"""What is known before the first sync."""


@frozen(kw_only=True)
class SuiteState:
    """What the database knows of a suite. The defaults are those of a suite that was never synced.

    Attributes:
        complete: The last sync, if it was complete and nothing has changed since: then the same first page needs no
            comparison.
        pruned_before: A time. The sessions created before it were pruned: they are not saved again.
        cases_pruned_before: The same for test cases.
    """

    is_synced: bool = False
    known: KnownRange = NOTHING_KNOWN
    complete: CompleteSync | None = None
    pruned_before: datetime | None = None
    cases_pruned_before: datetime | None = None


class SyncStart(NamedTuple):
    """What the database knows of a suite when a sync begins.

    Attributes:
        highest: The highest `relative_id` of a session that is not deleted; 0 if there is none.
        due: The unfinished sessions that are due for a check: first those whose last check is the longest ago.
    """

    state: SuiteState
    highest: int
    due: Sequence[SessionId]


@frozen(kw_only=True)
class PageToSave:
    """A page to be saved, and what it proves.

    Attributes:
        listed: All sessions that responses have listed since the page before, also those that are out of scope or were
            read before: they are compared with the database. Empty for a session that was requested alone, and for a
            list out of order.
        proven: The range of `relative_id`s whose existing sessions are all listed.
        read: The range of `relative_id`s that this read has saved completely, from its first page to this one.
        is_whole_top: Whether `read` begins at the top of the list, and no session of it is out of scope.
        is_first: Whether it is the first page of the list.
        is_repair: Whether this sync has already dropped the known range. It never does so twice, or it might not end.
        checked: The range of `relative_id`s that was read to check its unfinished sessions.
        older_than: A time before which all sessions below `read` were created.
    """

    sessions: Sequence[Session]
    listed: Sequence[Session] = ()
    proven: Interval | None = None
    read: Interval | None = None
    is_whole_top: bool = False
    is_first: bool = False
    is_repair: bool = False
    checked: Interval | None = None
    older_than: datetime | None = None

    @property
    def top(self) -> int | None:
        """For the first page of the list, the highest `relative_id` on it, 0 if it is empty; None for another page."""
        return max((session.relative_id for session in self.listed), default=0) if self.is_first else None


@frozen(kw_only=True)
class SavedPage:
    """What saving a page has changed, and the known range afterwards.

    `repaired` is the number of sessions that it has corrected: they should have been saved, but were not, or were
    marked as missing or deleted.
    """

    known: KnownRange
    changed: tuple[Session, ...] = ()
    is_contradiction: bool = False
    is_recreated: bool = False
    is_stale: bool = False
    repaired: int = 0
