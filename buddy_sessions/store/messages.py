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
    """What a sync saves: which sessions, and which of their test cases.

    Attributes:
        branch: Only sessions of this branch; None for all.
        after: Only sessions with a higher `relative_id`.
        since: Only sessions created at this time or later, and sessions without a date; None for all.
        cases: Which test cases of finished sessions; None for none.
        details: The number of failing cases of a session whose `data` is read.
    """

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

    Attributes:
        digest: The digest of the first page that it read.
        scope: What it saved.
        commit: The number of the last commit before that page was requested. Not saved.
        lowest: The lowest `relative_id` on that page; 0 if it was empty. Not saved.
    """

    digest: bytes
    scope: SyncScope
    commit: int = 0
    lowest: int = 0


@frozen(kw_only=True)
class SuiteState:
    """What the database knows of a suite, or of one of its branches.

    Attributes:
        commit: The number of the last commit.
        was_synced: Whether the suite was synced before.
        highest: The highest `relative_id` of a session (of the branch) that is not deleted; 0 if there is none.
        newest: The newest living session: neither missing nor deleted. None if there is none.
        covered: The ranges of `relative_id`s of which the database contains every existing session (of the branch).
        due_checks: The unfinished sessions (of the branch) that are due for a check: first those whose last check is
            the longest ago.
        older_than: The `since` of an earlier sync that stopped at sessions created before it; None if none did.
        older_id: The highest `relative_id` of those sessions: they were not saved.
        pruned_before: The sessions that were created before this time were pruned; None for none.
        complete: The last sync, if it was complete and nothing has changed since; None otherwise.
    """

    commit: int = 0
    was_synced: bool = False
    highest: int = 0
    newest: SessionId | None = None
    covered: Intervals = ()
    due_checks: Sequence[SessionId] = ()
    older_than: datetime | None = None
    older_id: int = 0
    pruned_before: datetime | None = None
    complete: CompleteSync | None = None


@frozen(kw_only=True)
class PageToSave:
    """A page to be saved, and what it proves.

    Attributes:
        branch: The branch whose list was read; None for the list of all. Its pages mark no session as missing.
        sessions: The sessions to save.
        listed: All sessions on the page of a list in order that this read has not yielded before, also those that are
            out of scope. Their ids are compared with those in the database. Empty for a session that was requested
            alone, and if the list is out of order.
        proven: The range of `relative_id`s whose existing sessions are all among `sessions`; None without a proof.
        claimed: The range to add to the coverage of the suite or of the branch; None for none.
        commit: The number of the last commit before the page was requested.
        sync: The sync that has read the page; None if it has not saved anything before.
        is_first: Whether this is the first page of the list.
        withdraws_claims: Whether the read has proved to be unverified, so that all claims of this sync are withdrawn.
        is_repair: Whether this sync has already dropped all coverage. It never does so twice, or it might not end.
        checked: The range of `relative_id`s whose unfinished sessions were requested; None for none.
        older: A time, and the highest `relative_id` of the sessions that were created before; None for none.
        returns_state: Whether to return the state of the suite, from which the next range is planned.
    """

    branch: str | None = None
    sessions: Sequence[Session]
    listed: Sequence[Session] = ()
    proven: Interval | None = None
    claimed: Interval | None = None
    commit: int
    sync: int | None = None
    is_first: bool = False
    withdraws_claims: bool = False
    is_repair: bool = False
    checked: Interval | None = None
    older: tuple[datetime, int] | None = None
    returns_state: bool = False

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
    """What has come of a page.

    Attributes:
        sync: The number of the sync, which is that of its first commit; None if it has not saved anything yet.
        changed: The sessions that are new or have changed.
        is_contradiction: Whether all coverage was dropped.
        is_stale: Whether the page is the first one of an older state of the list.
        is_held: Whether `claimed` was not added to the coverage, since no session on the page is saved below it.
        unsaved: The number of sessions that were not in the database, although it should have contained them.
        restored: The number of sessions whose mark, missing or deleted, was removed.
        state: The state of the suite after this page, if it was asked for.
    """

    sync: int | None
    changed: tuple[Session, ...] = ()
    is_contradiction: bool = False
    is_stale: bool = False
    is_held: bool = False
    unsaved: int = 0
    restored: int = 0
    state: SuiteState | None = None
