"""Reads what is missing of one suite into the database of a store."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple

import attrs

from .._paging.read_ahead import RequestSlots
from .._stats import Stats
from ..client import BuddyClient
from ..errors import BuddyError, NotFoundError, StoreError
from ..models import CaseScope, Cursor, Session, SessionPage, Suite, SuiteKey
from .case_sync import CaseSync
from .database import ReadPage
from .intervals import Interval, Intervals, contains, union
from .plan import MAX_CHECKS, plan_checks, plan_next
from .thread import SyncThread

_log = logging.getLogger("buddy_sessions")


class SyncRun:
    """State that the syncs of all suites in one `SessionStore.sync` share.

    Attributes:
        buddy: The client to read with.
        thread: The thread of the database.
        started: The suites whose sync has started. A suite that is listed twice is read once.
    """

    def __init__(self, buddy: BuddyClient, thread: SyncThread) -> None:
        self.buddy = buddy
        self.thread = thread
        self.started: set[SuiteKey] = set()
        self._listed_projects: set[tuple[str, str]] = set()

    async def save_names(self, key: SuiteKey) -> Stats:
        """Save the names of the suites of a project, at most once per project and day. Return the cost."""
        workspace, project, _ = key
        if (workspace, project) in self._listed_projects:
            return Stats()
        self._listed_projects.add((workspace, project))
        database = self.thread.database
        if await self.thread.run(database.is_listed, workspace, project):
            return Stats()
        suites: list[Suite] = []
        is_final = True
        try:
            suites = await self.buddy.suites(workspace, project)
        except BuddyError as error:
            is_final = not error.retryable  # otherwise the next sync tries again
            _log.warning("cannot read the names of the suites of %s/%s: %s", workspace, project, error)
        if is_final:
            await self.thread.run(database.save_suites, workspace, project, suites)
        return Stats(requests=1)


class _Part(NamedTuple):
    """A part of the list to read next.

    Attributes:
        low: The lowest number to read.
        high: The highest number to read; None for the newest one.
        commit: The number of the last commit before the first request.
        offset: An estimate of the number of sessions above `high`. If it is wrong, the sync makes more requests, but
            misses no session.
        check_end: Whether to check the end of the list.
        is_check: Whether the part is read only to check unfinished sessions.
        session_id: The id of the session to request in place of a page; None for pages.
    """

    low: int
    high: int | None
    commit: int
    offset: int = 0
    check_end: bool = True
    is_check: bool = False
    session_id: str | None = None


class _UnsavedPage(NamedTuple):
    """A page that was read, and not saved yet.

    Attributes:
        page: The page.
        is_first: Whether it is the first page of the list.
        is_verified: Whether the client had verified, when it was read, that no session was missed or repeated.
    """

    page: SessionPage
    is_first: bool
    is_verified: bool


class SuiteSync:
    """Reads what is missing of one suite into the database: the `SuiteReader` of a sync.

    Args:
        run: The sync to which this one belongs.
        key: The suite.
        branch: Only sessions of this branch. Such a sync neither uses nor extends the coverage, and marks no session as
            missing.
        after: Only sessions with a higher `relative_id` are saved.
        since: Only sessions created at this time or later are saved, and sessions without a date.
        full: Whether to read the whole list, whatever the database contains.
        cases: Which test cases of finished sessions to read, too; None for none.
        slots: The request slots of the harvest that this sync belongs to.
    """

    def __init__(
        self,
        run: SyncRun,
        key: SuiteKey,
        *,
        branch: str | None,
        after: int,
        since: datetime | None,
        full: bool,
        cases: CaseScope | None = None,
        slots: RequestSlots | None = None,
    ) -> None:
        self._run = run
        self._slots = slots
        self._thread = run.thread
        self._database = run.thread.database
        self._key = key
        self._branch = branch
        self._after = after
        self._since = since
        self._full = full
        self._case_sync = None if cases is None else CaseSync(run.buddy, run.thread, key, cases)
        self._lower_limit = after  # only higher numbers are read
        self._top = 0  # the highest number on the first page
        self._done: Intervals = ()  # the numbers that this sync has read
        self._sync: int | None = None  # its number in the database, once it has saved something
        self._is_verified = True
        self._is_outdated = False  # whether the first page lacks the newest known session
        self._is_repair = False  # whether all coverage was dropped, so that the whole suite is read again
        self._was_repair = False  # the same when the current part was begun
        self._oldest_wanted = 0  # the lowest number of a wanted session in the current part; 0 if there is none
        self._next_part: _Part | None = None  # None while a part is read, and when nothing remains to be read
        self._unsaved: deque[_UnsavedPage] = deque()
        self._saved: deque[SessionPage] = deque()  # and not yielded yet
        self._checks: deque[_Part] | None = None  # None before they were planned
        self._unknown = self._restored = self._changed = 0
        self._ended_parts = Stats()
        self._part_stats = Stats()

    @property
    def stats(self) -> Stats:
        """The cost so far; of the sessions, only the new and the changed ones are counted."""
        repaired = self._unknown + self._restored
        stats = self._ended_parts + self._part_stats
        if self._case_sync is not None:
            stats += self._case_sync.stats
        return attrs.evolve(stats, sessions=self._changed, repaired=repaired)

    async def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Read and save what is missing, and iterate over the pages that contain new or changed sessions.

        The last page is included even if it is empty.

        Raises:
            StoreError: A page cannot be saved.
            BuddyError: A page cannot be read.
        """
        if self._key in self._run.started:
            return
        self._run.started.add(self._key)
        self._next_part = await self._thread.run(self._plan_top)
        while (part := self._next_part) is not None:
            self._next_part = None
            reader = self._read_pages(part) if part.session_id is None else self._read_session(part, part.session_id)
            async with aclosing(reader) as pages:
                async for page in pages:
                    if page.sessions or page.is_last:
                        yield page
            self._ended_parts += self._part_stats
            self._part_stats = Stats()
        self._ended_parts += await self._run.save_names(self._key)
        if self._case_sync is not None:
            find = self._database.pending_sessions
            scope = self._case_sync.scope
            pending = await self._thread.run(find, self._key, scope, branch=self._branch, after=self._after)
            await self._case_sync.read([each for each in pending if self._is_wanted(each.session)])

    async def _read_pages(self, part: _Part) -> AsyncGenerator[SessionPage, None]:
        """Read and save a part. Iterate over its pages, each with the sessions that are new or have changed.

        The last page of the part is the last one of the sync if no part is planned after it.
        """
        cursor = None if part.high is None else Cursor(part.high + 1, part.offset)
        # trim=False also yields the sessions at or below `after` on the last page, since they may have changed.
        reader = self._run.buddy._new_reader(  # noqa: SLF001 - options that are no part of the public API
            self._key,
            branch=self._branch,
            after=part.low - 1,
            cursor=cursor,
            trim=False,
            check_end=part.check_end,
            slots=self._slots,
        )
        self._was_repair, self._oldest_wanted = self._is_repair, 0
        failure: BuddyError | None = None
        is_first = cursor is None
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    self._part_stats = reader.stats
                    self._unsaved.append(_UnsavedPage(page, is_first, reader.stats.verified))
                    is_first = False
                    is_last = page.is_last or self._is_all_older(page)
                    await self._thread.run(self._save_pages, part)
                    while self._saved:
                        yield self._saved.popleft()
                    if is_last:
                        break
        except BuddyError as error:
            failure = await self._end_failed_part(part, error, is_verified=reader.stats.verified)
        finally:
            self._part_stats = reader.stats
        while self._saved:
            yield self._saved.popleft()
        if failure is not None:
            raise failure

    async def _end_failed_part(self, part: _Part, error: BuddyError, *, is_verified: bool) -> BuddyError:
        """Save the pages before a failure, and what it proves. Return it, or the error if they cannot be saved."""
        if isinstance(error, StoreError):
            self._unsaved.clear()
        if self._unsaved or not is_verified or isinstance(error, NotFoundError):
            try:
                await self._thread.run(self._save_failure, part, error, is_verified=is_verified)
            except StoreError as later:
                return later
        return error

    async def _read_session(self, part: _Part, session_id: str) -> AsyncGenerator[SessionPage, None]:
        """Request and save one session. Iterate over one page: with the session if it has changed, otherwise empty."""
        sessions: tuple[Session, ...] = ()
        covers: Interval | None = (part.low, part.high or part.low)
        try:
            sessions = (await self._run.buddy.session(self._key, session_id),)
            covers = None
        except NotFoundError:
            pass  # a page without sessions is saved, so the sessions of this part are missing
        self._part_stats = Stats(requests=1)
        page = SessionPage(suite=self._key, number=0, sessions=sessions, covers=covers, is_last=True)
        yield await self._thread.run(self._save_session, part, page)

    def _save_pages(self, part: _Part) -> None:
        """Save the unsaved pages, in order, until one cannot be saved. Called in the database's thread."""
        while self._unsaved:
            page, is_first, is_verified = self._unsaved.popleft()
            self._is_verified = self._is_verified and is_verified
            self._saved.append(self._save_page(part, page, is_first=is_first))

    def _save_failure(self, part: _Part, error: BuddyError, *, is_verified: bool) -> None:
        """Save the pages before a failed request, and what the failure proves. Called in the database's thread.

        Args:
            part: The part.
            error: The failure.
            is_verified: Whether the read was verified. If not, all claims of this sync are withdrawn.
        """
        try:
            self._save_pages(part)
        finally:
            if isinstance(error, NotFoundError):
                self._sync = self._database.mark_suite_missing(self._key, self._sync)
            if not is_verified and self._branch is None and self._sync is not None:
                withdrawal = ReadPage(sessions=(), covers=None, commit=part.commit, sync=self._sync, is_verified=False)
                self._database.save_page(self._key, withdrawal)

    def _save_page(self, part: _Part, page: SessionPage, *, is_first: bool) -> SessionPage:
        """Save a page of a part, and plan the next part after the last one. Called in the database's thread.

        Returns:
            The page with the sessions that are new or have changed.
        """
        wanted = [session for session in page.sessions if self._is_wanted(session)]
        changed = self._save(part, page, wanted, is_first=is_first)
        self._oldest_wanted = min(map(_number, wanted), default=self._oldest_wanted)
        is_older = self._is_all_older(page)
        is_last = page.is_last or is_older
        if is_last and self._is_repair == self._was_repair:
            self._done = union(self._done, (part.low, max(part.low, part.high or self._top)))
        if is_older and self._since is not None and self._can_prove_absence:
            oldest = self._oldest_wanted
            self._lower_limit = oldest - 1 if oldest else max(map(_number, page.sessions))
            self._database.save_older(self._key, self._since, self._lower_limit)
        if is_last:
            self._end_part(part)
        return attrs.evolve(page, sessions=changed, is_last=is_last and self._next_part is None)

    def _save_session(self, part: _Part, page: SessionPage) -> SessionPage:
        """Save a session that was requested alone, and plan the next part. Called in the database's thread."""
        changed = self._save(part, page, page.sessions)
        self._end_part(part)
        return attrs.evolve(page, sessions=changed, is_last=self._next_part is None)

    def _end_part(self, part: _Part) -> None:
        """Plan the next part. Called in the database's thread."""
        if part.is_check:
            self._database.mark_checked(self._key, part.low, part.high or part.low)
        self._next_part = self._plan_next()

    def _save(
        self, part: _Part, page: SessionPage, wanted: Sequence[Session], *, is_first: bool = False
    ) -> tuple[Session, ...]:
        """Save the wanted sessions of a page, and what the page proves. Called in the database's thread.

        Returns:
            The sessions that are new or have changed.
        """
        is_top = is_first and self._can_prove_absence
        if is_top:
            self._top = max(map(_number, page.sessions), default=self._top)
        saved = self._database.save_page(
            self._key,
            ReadPage(
                sessions=wanted,
                covers=self._provable(page),
                commit=part.commit,
                extends_coverage=part.session_id is None,
                sync=self._sync,
                first_page=page.sessions if is_top else None,
                is_verified=self._is_verified or self._branch is not None,
                is_repair=self._is_repair,
            ),
        )
        self._sync = saved.sync
        self._changed += len(saved.changed)
        self._unknown += saved.unknown
        self._restored += saved.restored
        if saved.is_outdated:
            self._is_outdated = True
            message = (
                "%s: the list does not contain its newest known session: it was deleted, or the response is outdated"
            )
            _log.warning(message, self._key)
        if saved.is_contradiction:
            self._is_repair = True
            self._done = ()
            self._lower_limit = self._after
            if page.sessions:
                message = "%s: sessions have reappeared, or the suite was created again: it is read again"
            else:
                message = "%s: the list is empty: all sessions are marked as missing, and the next sync decides"
            _log.warning(message, self._key)
        if page.covers is not None:
            self._done = union(self._done, page.covers)
        return saved.changed

    def _provable(self, page: SessionPage) -> Interval | None:
        """Return the range of numbers whose existing sessions are all among the wanted ones of a page."""
        if page.covers is None or not self._can_prove_absence:
            return None
        low, high = page.covers
        omitted = [session.relative_id for session in page.sessions if not self._is_wanted(session)]
        low = max(low, self._after + 1, *(number + 1 for number in omitted))
        if page.number == 1 and page.sessions:  # a newer session may be absent from an outdated response
            high = min(high, max(map(_number, page.sessions)))
        return (low, high) if low <= high else None

    @property
    def _can_prove_absence(self) -> bool:
        """Whether the pages prove anything about sessions that are not on them."""
        return self._branch is None and self._is_verified

    def _is_older(self, session: Session) -> bool:
        return self._since is not None and session.create_date is not None and session.create_date < self._since

    def _is_all_older(self, page: SessionPage) -> bool:
        return bool(page.sessions) and all(map(self._is_older, page.sessions))

    def _is_wanted(self, session: Session) -> bool:
        return session.relative_id > self._after and not self._is_older(session)

    def _plan_top(self) -> _Part:
        """Return the first part: from the top down to the highest covered number. Called in the database's thread."""
        state = self._database.load_suite(self._key)
        if self._since is not None and state.older_than is not None and state.older_than <= self._since:
            self._lower_limit = max(self._after, state.older_id)
        if self._branch is not None:
            return _Part(self._lower_limit + 1, None, state.commit, check_end=False)
        # Includes the highest covered number: if it now belongs to another session, the suite was created again.
        highest = 0 if self._full else max((high for _, high in state.covered), default=0)
        check_end = self._full or state.newest > 0 or not state.is_known
        return _Part(max(self._lower_limit + 1, highest), None, state.commit, check_end=check_end)

    def _plan_next(self) -> _Part | None:
        """Return the next part; None if nothing remains to be read. Called in the database's thread."""
        if not self._can_prove_absence:
            return None
        state = self._database.load_suite(self._key)
        covered = () if self._full else state.covered
        gap = plan_next(covered, self._done, after=self._lower_limit, top=self._top)
        if gap is not None:
            low, high = gap
            if high == self._top:
                return _Part(low, None, state.commit)
            return _Part(low, high, state.commit, offset=self._database.count_above(self._key, high))
        if self._checks is None:
            self._checks = deque(self._plan_checks(state.commit))
        if self._checks:
            return self._checks.popleft()
        self._end()
        return None

    def _plan_checks(self, commit: int) -> list[_Part]:
        """Return the parts for unfinished sessions that were not read. Called in the database's thread."""
        parts: list[_Part] = []
        newest = self._database.newest(self._key)
        if self._is_outdated and newest is not None and newest.relative_id > self._top:
            # A 404 shows that the first page was up to date: then all sessions above its top are marked as missing.
            parts.append(_Part(self._top + 1, newest.relative_id, commit, session_id=newest.id))
        unfinished = dict(self._database.unfinished(self._key, above=self._lower_limit))
        numbers = [number for number in unfinished if not contains(self._done, number)]
        for low, high in plan_checks(numbers):
            if low == high:
                parts.append(_Part(low, high, commit, is_check=True, session_id=unfinished[low]))
            else:
                offset = self._database.count_above(self._key, high)
                parts.append(_Part(low, high, commit, offset=offset, is_check=True))
        return parts[:MAX_CHECKS]

    def _end(self) -> None:
        """Settle the claims of this sync. Called in the database's thread."""
        if self._sync is not None:
            self._database.finish_sync(self._key, self._sync)
        if self._full and (self._unknown or self._restored):
            message = "%s: the full check found %d sessions that were not saved, and %d marked as missing or deleted"
            _log.warning(message, self._key, self._unknown, self._restored)


def _number(session: Session) -> int:
    return session.relative_id
