"""The sync of one suite: reads what the database lacks, and saves it.

All state of the sync is in the event loop. The thread of the database gets a page, saves it, and returns what has
changed:

    plan → page → save_page → plan → … → finish_sync
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import attrs

from .._base.stats import Stats
from .._paging.paginator import PageReader, SessionPage
from .._paging.read_ahead import RequestSlots
from .._paging.scope import ReadSpec
from ..errors import BuddyError, ConfigError, NotFoundError, StoreError
from ..models import Cursor, Session, SuiteKey
from .case_sync import CaseSync
from .cases import load_pending
from .exchange import CompleteSync, Interval, PageToSave, SavedPage, SyncScope
from .file import DatabaseFile
from .lock import hold_suite
from .pages import count_above, find_missing, finish_sync, load_newest, load_start, save_page, withdraw_claims
from .plan import RangeReading, ReadRange, SyncPlan
from .prune import prune_suite, return_space
from .suites import mark_suite_missing, mark_suite_synced
from .sync_run import SyncRun

_log = logging.getLogger("buddy_sessions")


class SuiteSync:
    """Reads what the database lacks of one suite, and saves it: the `SuiteRead` of a sync."""

    def __init__(
        self,
        run: SyncRun,
        key: SuiteKey,
        scope: SyncScope,
        *,
        full: bool = False,
        keep: timedelta | None = None,
        slots: RequestSlots | None = None,
    ) -> None:
        self._run = run
        self._key = key
        self._scope = scope
        self._full = full
        self._keep = keep
        self._slots = slots
        self._case_sync = None if scope.cases is None else CaseSync(run, key, scope.cases, details=scope.details)
        self._reader: PageReader | None = None  # of the current range
        self._counts = Stats()  # the cost of the ranges that have ended, and what was saved

    @property
    def stats(self) -> Stats:
        """The cost so far. Only new and changed sessions are counted."""
        stats = self._counts
        if self._reader is not None:
            stats += attrs.evolve(self._reader.stats, sessions=0)
        if self._case_sync is not None:
            stats += self._case_sync.stats
        return stats

    async def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Read and save what the database lacks, and iterate over the pages that contain new or changed sessions.

        The last page is included even if it is empty.
        """
        run, key = self._run, self._key
        async with hold_suite(run.path, key):
            start = await run.call(load_start, key, run.now)
            oldest = None if self._keep is None else await run.time_before(self._keep)
            plan, part = SyncPlan.begin(start, self._scope.limit(oldest), full=self._full)
            following: ReadRange | None = part
            while following is not None:
                part, following = following, None
                reader = self._read_range(plan, part) if part.session_id is None else self._check(plan, part)
                async with aclosing(reader) as pages:
                    async for page in pages:
                        following = await self._plan_next(plan) if page.is_last else None
                        is_last = page.is_last and following is None
                        if page.sessions or is_last:
                            yield attrs.evolve(page, is_last=is_last)
            self._counts += await run.update_names(key)
            if await self._read_cases(plan) and plan.complete is not None and plan.is_verified:
                await run.call(finish_sync, key, plan.complete, top=plan.top)
            if self._full and self._counts.repaired:
                _log.warning("%s: the full check has corrected %d sessions", key, self._counts.repaired)
            if self._keep is not None:
                await run.call(prune_suite, key, await run.time_before(self._keep))
                while await run.call(return_space):
                    pass
            await run.call(mark_suite_synced, key, run.now)
            await run.call(DatabaseFile.check_same_file)

    async def _read_range(self, plan: SyncPlan, part: ReadRange) -> AsyncGenerator[SessionPage, None]:
        """Read and save a range. Iterate over its pages, each with the sessions that are new or have changed.

        `is_last` says that a page is the last one of this range; in `pages`, of the sync.
        """
        reader = self._reader = await self._new_reader(part)
        reading = RangeReading(plan, part, is_first=part.high is None)
        failure: BuddyError | None = None
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    if self._keep is not None:
                        plan.scope = self._scope.limit(await self._run.time_before(self._keep, page.sessions))
                    if reading.is_first and reader.first_digest is not None:
                        plan.complete = CompleteSync(reader.first_digest, plan.scope)
                    await self._withdraw_claims(plan, reader)
                    to_save, is_last = reading.take(page, reader.listed)
                    saved = await self._save(plan, to_save)
                    if not all(map(plan.scope.includes, saved.changed)):
                        message = "%s: also saved sessions that `after` or `since` leaves out, so that no gap remains"
                        _log.info(message, self._key)
                    is_last = is_last or plan.restarts
                    if is_last:
                        plan.checks += reader.stats.requests if part.is_check else 0
                    yield attrs.evolve(page, sessions=saved.changed, is_last=is_last)
                    if is_last:
                        break
            if reader.is_not_modified:
                plan.parts_left, plan.missing_below = [], 0
                self._case_sync = None  # the last sync has read the cases, too
                yield SessionPage(suite=self._key, number=1, sessions=(), is_last=True)
        except BuddyError as error:
            failure = error
        finally:
            self._counts += attrs.evolve(reader.stats, sessions=0)
            self._reader = None
        if failure is not None:  # not raised above: the frames of two errors would keep pages in memory
            raise await self._save_failure(plan, reader, failure)

    async def _new_reader(self, part: ReadRange) -> PageReader:
        """Return a read of a range. It also yields the sessions below the range that are on its last page."""
        cursor = None
        if part.high is not None:
            # If the offset is wrong, the read needs more requests, but misses no session.
            cursor = Cursor(part.high + 1, await self._run.call(count_above, self._key, part.high))
        spec = ReadSpec(
            after=part.low - 1,
            cursor=cursor,
            min_id=1,
            check_end=part.check_end,
            slots=self._slots,
            known_digest=None if cursor else part.known_digest,
        )
        return self._run.buddy.api.read(self._key, spec)

    async def _check(self, plan: SyncPlan, part: ReadRange) -> AsyncGenerator[SessionPage, None]:
        """Request and save one session. Iterate over one page: with the session if it has changed, otherwise empty.

        `is_last` is that of `_read_range`: this page is a range of its own.
        """
        place = part.low, part.high or part.low
        sessions: tuple[Session, ...] = ()
        proven: Interval | None = None
        session_id = part.session_id or ""
        try:
            sessions = (await self._run.buddy.session(self._key, session_id),)
        except NotFoundError:
            proven = place  # no session exists in this range: those in the database are absent
        except ConfigError as error:
            _log.warning("%s: session %r is not checked: %s", self._key, session_id, error)
        self._counts += Stats(requests=1)
        plan.checks += 1
        to_save = PageToSave(
            sessions=sessions,
            proven=proven,
            is_repair=plan.repair_above is not None,
            checked=place if part.is_check else None,
        )
        saved = await self._save(plan, to_save)
        yield SessionPage(suite=self._key, number=0, sessions=saved.changed, is_last=True)

    async def _save(self, plan: SyncPlan, to_save: PageToSave) -> SavedPage:
        """Save a page, in one transaction."""
        saved = await self._run.call(save_page, self._key, to_save, self._run.now)
        plan.after_page(to_save, saved)
        self._counts += Stats(sessions=len(saved.changed), repaired=saved.repaired)
        message = None
        if saved.is_contradiction and to_save.top == 0:
            message = "the list is empty: all sessions are marked as missing, and the next sync decides"
        elif saved.is_contradiction:
            message = "sessions have reappeared, or the suite was created again: it is read again"
        elif saved.is_stale:
            message = "the list does not contain the newest saved session: it was deleted, or the response is outdated"
        if message is not None:
            _log.warning("%s: %s", self._key, message)
        return saved

    async def _withdraw_claims(self, plan: SyncPlan, reader: PageReader) -> None:
        """Undo the marks of this sync, and its changes of the known range, if a read is not verified."""
        if plan.is_verified and not reader.stats.verified:
            plan.is_verified = False
            await self._run.call(withdraw_claims, self._key, plan.fallback, self._run.now)

    async def _save_failure(self, plan: SyncPlan, reader: PageReader, error: BuddyError) -> BuddyError:
        """Save what a failed read proves. Return its error, or the one of saving."""
        try:
            if isinstance(error, NotFoundError):
                await self._run.call(mark_suite_missing, self._key, self._run.now)
            await self._withdraw_claims(plan, reader)
        except StoreError as later:
            _log.warning("%s: %s", self._key, error)  # only the later error is raised
            return later
        return error

    async def _plan_next(self, plan: SyncPlan) -> ReadRange | None:
        """Return the range to read after one that has ended; None if nothing remains to be read."""
        if not plan.is_verified:
            return None
        if (next_part := plan.next_range()) is not None:
            return next_part
        if plan.is_stale:
            # If the newest session is a 404, the first page is up to date, and all sessions above its top are absent.
            plan.is_stale = False
            newest = await self._run.call(load_newest, self._key)
            if newest is not None and newest.relative_id > plan.top:
                return ReadRange(low=plan.top + 1, high=newest.relative_id, session_id=newest.id)
        if plan.missing_below > 0:
            below = min(plan.missing_below, plan.top + 1)
            missing = await self._run.call(find_missing, self._key, plan.scope, self._run.now, below=below)
            plan.missing_below = missing
            if missing:
                return ReadRange(low=missing, high=missing)
        return plan.next_check()

    async def _read_cases(self, plan: SyncPlan) -> bool:
        """Read the cases that the database lacks. Return whether none remain."""
        if self._case_sync is None:
            return True
        pending = await self._run.call(load_pending, self._key, plan.scope, full=self._full)
        if pending:
            await self._case_sync.read(pending)
            pending = await self._run.call(load_pending, self._key, plan.scope)
        return not pending
