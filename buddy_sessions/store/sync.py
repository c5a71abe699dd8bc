"""Reads what the database lacks of one suite into the database of a store.

All state is in the event loop. The thread of the database gets a page, saves it, and returns what has changed:

    plan → page → save_page → progress → plan → … → finish_sync
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from secrets import randbits

import attrs

from .._paging.paginator import PageReader
from .._paging.read_ahead import RequestSlots
from .._stats import Stats
from ..errors import BuddyError, ConfigError, NotFoundError, StoreError
from ..models import Cursor, Session, SessionPage, SuiteKey
from .case_sync import CaseSync
from .cases import load_pending
from .intervals import Interval
from .messages import CompleteSync, PageToSave, SavedPage, SuiteState, SyncScope
from .pages import count_above, finish_sync, load_suite, mark_suite_missing, save_page
from .plan import Progress, ReadRange, find_end, next_range, page_to_save, plan_top
from .prune import is_prunable, prune_suite, return_space
from .sync_run import SyncRun

_log = logging.getLogger("buddy_sessions")


class SuiteSync:
    """Reads what the database lacks of one suite into the database: the `SuiteReader` of a sync.

    A sync of a branch extends only the coverage of that branch, and marks no session as missing.
    """

    def __init__(
        self,
        run: SyncRun,
        key: SuiteKey,
        scope: SyncScope,
        *,
        full: bool = False,
        prune_before: datetime | None = None,
        slots: RequestSlots | None = None,
    ) -> None:
        self._run = run
        self._key = key
        self._scope = scope.limit(prune_before)
        self._full = full
        self._prune_before = prune_before
        self._slots = slots
        self._case_sync = None if scope.cases is None else CaseSync(run, key, scope.cases, details=scope.details)
        self._progress = Progress(sync=randbits(31))
        self._next: ReadRange | None = None  # planned once the range before was read to its end
        self._complete: CompleteSync | None = None  # to be saved if nothing remains to be read
        self._reader: PageReader | None = None  # of the current range
        self._cost = Stats()  # of the ranges before

    @property
    def stats(self) -> Stats:
        """The cost so far; of the sessions, only the new and the changed ones are counted."""
        stats = self._cost
        if self._reader is not None:
            stats += self._reader.stats
        if self._case_sync is not None:
            stats += self._case_sync.stats
        repaired = self._progress.unsaved + self._progress.restored
        return attrs.evolve(stats, sessions=self._progress.changed, repaired=repaired)

    async def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Read and save what the database lacks, and iterate over the pages that contain new or changed sessions.

        The last page is included even if it is empty.
        """
        if self._key in self._run.started:
            return
        self._run.started.add(self._key)
        if self._prune_before is not None:
            await self._prune(self._prune_before)
        state = await self._run.call(load_suite, self._key, self._scope.branch)
        self._scope = self._scope.limit(state.pruned_before)
        self._progress = attrs.evolve(self._progress, above=find_end(state, self._scope))
        self._next = plan_top(state, self._progress, self._scope, full=self._full)
        while (part := self._next) is not None:
            self._next = None
            reader = self._read_range(part) if part.session_id is None else self._check(part, part.session_id)
            async with aclosing(reader) as pages:
                async for page in pages:
                    if page.sessions or page.is_last:
                        yield page
        self._cost += await self._run.update_names(self._key)
        if self._case_sync is not None:
            await self._read_cases(self._case_sync)

    async def _prune(self, before: datetime) -> None:
        """Delete old sessions, if there are any, and return their space."""
        if await self._run.call(is_prunable, self._key, before):
            await self._run.call(prune_suite, self._key, before)
            while await self._run.call(return_space):
                pass

    async def _read_range(self, part: ReadRange) -> AsyncGenerator[SessionPage, None]:
        """Read and save a range. Iterate over its pages, each with the sessions that are new or have changed."""
        reader = self._reader = self._new_reader(part)
        is_first, lowest = part.high is None, 0
        failure: BuddyError | None = None
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    is_verified = self._progress.is_verified and reader.stats.verified
                    self._progress = attrs.evolve(self._progress, is_verified=is_verified)
                    to_save = page_to_save(page, part, self._progress, self._scope, is_first=is_first, lowest=lowest)
                    if is_first and reader.first_digest is not None:
                        lowest_on_page = min((session.relative_id for session in page.sessions), default=0)
                        self._complete = CompleteSync(reader.first_digest, self._scope, part.commit, lowest_on_page)
                    saved = await self._save(part, to_save, requests=reader.stats.requests)
                    is_first = False
                    lowest = min((session.relative_id for session in to_save.sessions), default=lowest)
                    is_last = to_save.is_last and self._next is None
                    yield attrs.evolve(page, sessions=saved.changed, is_last=is_last)
                    if to_save.is_last:
                        break
            if reader.is_not_modified:
                self._case_sync = None  # the last sync has read the cases, too
                yield SessionPage(suite=self._key, number=1, sessions=(), is_last=True)
        except BuddyError as error:
            failure = error
        finally:
            self._cost += reader.stats
            self._reader = None
        if failure is not None:  # not raised above: the frames of two errors would keep pages in memory
            raise await self._save_failure(part, failure)

    def _new_reader(self, part: ReadRange) -> PageReader:
        """Return a read of a range. It also yields the sessions below the range that are on its last page."""
        is_top = part.high is None and self._scope.branch is None
        return self._run.buddy._new_reader(  # noqa: SLF001 - options that are no part of the public API
            self._key,
            branch=self._scope.branch,
            after=part.low - 1,
            cursor=None if part.high is None else Cursor(part.high + 1, part.offset),
            min_id=1,
            check_end=part.check_end,
            slots=self._slots,
            known_digest=part.known_digest if is_top else None,
        )

    async def _check(self, part: ReadRange, session_id: str) -> AsyncGenerator[SessionPage, None]:
        """Request and save one session. Iterate over one page: with the session if it has changed, otherwise empty."""
        place = part.low, part.high or part.low
        sessions: tuple[Session, ...] = ()
        proven: Interval | None = None
        try:
            sessions = (await self._run.buddy.session(self._key, session_id),)
        except NotFoundError:
            proven = place  # so the sessions of this range are missing
        except ConfigError as error:
            _log.warning("%s: session %r is not checked: %s", self._key, session_id, error)
        self._cost += Stats(requests=1)
        to_save = PageToSave(
            branch=self._scope.branch,
            sessions=sessions,
            proven=proven,
            commit=part.commit,
            sync=self._progress.sync,
            is_repair=self._progress.is_repair,
            checked=place if part.is_check else None,
            is_last=True,
        )
        saved = await self._save(part, to_save, requests=1)
        yield SessionPage(suite=self._key, number=0, sessions=saved.changed, is_last=self._next is None)

    async def _save(self, part: ReadRange, to_save: PageToSave, *, requests: int) -> SavedPage:
        """Save a page, in one transaction. After the last page of a range, plan the next range."""
        saved = await self._run.call(save_page, self._key, to_save)
        self._progress = self._progress.after_page(part, to_save, saved, requests=requests)
        message = None
        if saved.is_contradiction and to_save.top == 0:
            message = "the list is empty: all sessions are marked as missing, and the next sync decides"
        elif saved.is_contradiction:
            reads_again = self._progress.is_verified and self._scope.branch is None
            message = "sessions have reappeared, or the suite was created again: " + (
                "it is read again" if reads_again else "the next sync of the whole suite reads it again"
            )
        elif saved.is_stale:
            message = "the list does not contain the newest saved session: it was deleted, or the response is outdated"
        if message is not None:
            _log.warning("%s: %s", self._key, message)
        if saved.state is not None:
            self._next = await self._plan_next(saved.state)
        return saved

    async def _save_failure(self, part: ReadRange, error: BuddyError) -> BuddyError:
        """Save what a failed read proves. Return its error, or the one of saving."""
        sync = self._progress.sync
        try:
            if isinstance(error, NotFoundError):
                await self._run.call(mark_suite_missing, self._key, sync, commit=part.commit)
            if not self.stats.verified:
                branch = self._scope.branch
                withdrawal = PageToSave(
                    branch=branch, sessions=(), commit=part.commit, sync=sync, withdraws_claims=True
                )
                await self._run.call(save_page, self._key, withdrawal)
        except StoreError as later:
            _log.warning("%s: %s", self._key, error)  # only the later error is raised
            return later
        return error

    async def _plan_next(self, state: SuiteState) -> ReadRange | None:
        """Return the range to read after one that has ended. If nothing remains to be read, confirm all claims."""
        self._scope = self._scope.limit(state.pruned_before)  # by another process, since the last range
        self._progress = attrs.evolve(self._progress, above=find_end(state, self._scope))
        if not self._progress.is_verified:
            return None
        next_part = next_range(state, self._progress, self._scope, full=self._full)
        if next_part is None:
            await self._finish()
        elif next_part.session_id is None and next_part.high is not None:
            offset = await self._run.call(count_above, self._key, next_part.high, self._scope.branch)
            next_part = next_part._replace(offset=offset)
        return next_part

    async def _finish(self) -> None:
        """Confirm the claims of this sync, and save its digest unless cases remain to be read."""
        progress, complete = self._progress, self._complete if self._case_sync is None else None
        branch = self._scope.branch
        await self._run.call(finish_sync, self._key, progress.sync, complete, progress.above, branch=branch)
        if self._full and (progress.unsaved or progress.restored):
            message = "%s: the full check found %d sessions that were not saved, and %d marked as missing or deleted"
            _log.warning(message, self._key, progress.unsaved, progress.restored)

    async def _read_cases(self, case_sync: CaseSync) -> None:
        """Read the cases that the database lacks. If none remain, the sync is complete, and its digest is saved."""
        pending = await self._run.call(load_pending, self._key, self._scope)
        if pending:
            await case_sync.read(pending)
            pending = await self._run.call(load_pending, self._key, self._scope)
        if not pending and self._complete is not None and self._progress.is_verified:
            await self._run.call(finish_sync, self._key, self._progress.sync, self._complete, self._progress.above)
