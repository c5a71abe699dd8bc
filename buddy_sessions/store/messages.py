"""What the loop of a sync and the database's thread pass to each other: plain, frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from attrs import evolve, frozen

from ..models import CaseScope, Session, is_before
from .intervals import Interval, Intervals

MAX_DETAILS = 100
"""The default number of failing cases of a session whose JUnit XML is read: each one costs a request."""

_CASE_SCOPES: tuple[CaseScope | None, ...] = (None, "failed", "all")


class SessionId(NamedTuple):
    """The two ids of a session."""

    relative_id: int
    id: str


@frozen(kw_only=True)
class SyncScope:
    """What a sync saves: the arguments of `SessionStore.sync`. Sessions without a date count as new."""

    branch: str | None = None
    after: int = 0
    since: datetime | None = None
    cases: CaseScope | None = None
    details: int = MAX_DETAILS

    def includes(self, session: Session) -> bool:
        """Whether a session of the list is in scope; its branch is not checked."""
        return session.relative_id > self.after and not self.is_too_old(session)

    def is_too_old(self, session: Session) -> bool:
        """Whether a session was created before `since`."""
        return is_before(session, self.since)

    def limit(self, since: datetime | None) -> SyncScope:
        """Return this scope without the sessions created before a time, if there is one."""
        return self if since is None else evolve(self, since=max(since, self.since or since))

    def is_within(self, other: SyncScope) -> bool:
        """Whether a sync with the other scope saves everything that is in this one. Branches are not compared."""
        return (
            other.after <= self.after
            and (other.since is None or (self.since is not None and other.since <= self.since))
            and _CASE_SCOPES.index(self.cases) <= _CASE_SCOPES.index(other.cases)
        )


@frozen
class CompleteSync:
    """A sync of a whole suite that was complete, and left nothing to be checked.

    It has the digest and the lowest `relative_id` of its first page, and the last commit before that was requested.
    """

    digest: bytes
    scope: SyncScope
    commit: int = 0
    lowest: int = 0


@frozen(kw_only=True)
class SuiteState:
    """What the database knows of a suite, or of one of its branches.

    Attributes:
        highest: The highest `relative_id` of a session that is not deleted; 0 if there is none.
        newest: The newest session of the suite that is neither missing nor deleted.
        covered: The ranges of `relative_id`s of which the database contains every existing session.
        due_checks: The unfinished sessions that are due: first those whose last check is the longest ago.
        older: The `since` of an earlier sync, and the highest `relative_id` of the sessions created before, which it
            has not saved.
        complete: The last sync, if it was complete and nothing has changed since.
    """

    commit: int = 0
    was_synced: bool = False
    highest: int = 0
    newest: SessionId | None = None
    covered: Intervals = ()
    due_checks: Sequence[SessionId] = ()
    older: tuple[datetime, int] | None = None
    pruned_before: datetime | None = None
    complete: CompleteSync | None = None


@frozen(kw_only=True)
class PageToSave:
    """A page to be saved, and what it proves.

    Attributes:
        listed: All sessions on the page that this read has not yielded before, also those that are out of scope: their
            ids are compared with the database. Empty for a session that was requested alone, and for a list out of
            order.
        proven: The range of `relative_id`s whose existing sessions are all among `sessions`.
        joined: The range of `relative_id`s that are not read again, also those that are out of scope.
        claimed: The range to add to the coverage of the suite or of the branch.
        commit: The number of the last commit before the page was requested.
        sync: A random number that identifies the sync.
        withdraws_claims: Whether the read has proved to be unverified, so that all claims of this sync are withdrawn.
        is_repair: Whether this sync has already dropped all coverage. It never does so twice, or it might not end.
        checked: The range of `relative_id`s whose unfinished sessions were requested.
        older: A time, and the highest `relative_id` of the sessions that were created before.
        is_last: Whether it is the last page of a range, so that the next range is planned.
    """

    branch: str | None = None
    sessions: Sequence[Session]
    listed: Sequence[Session] = ()
    proven: Interval | None = None
    joined: Interval | None = None
    claimed: Interval | None = None
    commit: int
    sync: int
    is_first: bool = False
    withdraws_claims: bool = False
    is_repair: bool = False
    checked: Interval | None = None
    older: tuple[datetime, int] | None = None
    is_last: bool = False

    @property
    def top(self) -> int | None:
        """For the first page of the list, the highest `relative_id` on it, 0 if it is empty; None for another page."""
        return max((session.relative_id for session in self.listed), default=0) if self.is_first else None

    def without_pruned(self, before: datetime | None) -> PageToSave:
        """Return the page without the sessions created before a time: they were pruned, maybe after the request."""
        if before is None:
            return self
        return evolve(self, sessions=[session for session in self.sessions if not is_before(session, before)])


@frozen(kw_only=True)
class SavedPage:
    """What saving a page has changed, and the state of the suite after the last page of a range.

    `unsaved` is the number of sessions that were not in the database, although they were covered.
    """

    changed: tuple[Session, ...] = ()
    is_contradiction: bool = False
    is_stale: bool = False
    unsaved: int = 0
    restored: int = 0
    state: SuiteState | None = None
