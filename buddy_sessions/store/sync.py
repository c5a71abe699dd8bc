"""The sync of one suite: reads what the database lacks, and saves it.

All state of the sync is in the event loop. The thread of the database gets a page, saves it, and returns what has
changed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta

import attrs

from .._base.figures import Stats
from .._paging.pacing import RequestSlots
from .._paging.paginator import PageReader, SessionPage
from .._paging.reconciler import ReadSpec
from ..errors import BuddyError, ConfigError, NotFoundError
from ..models import Cursor, Session, SuiteKey
from .case_sync import CaseSync
from .cases import load_pending
from .lock import hold_suite
from .page_rules import PageToSave, ReadRange, SavedPage, SessionId
from .pages import count_above, find_missing, finish_sync, load_newest, load_start, save_page, withdraw_claims
from .prune import prune_suite, return_space
from .suites import (
    ALL_NUMBERS,
    CompleteSync,
    Interval,
    SuiteState,
    SyncScope,
    mark_suite_missing,
)
from .sync_run import SyncRun

_log = logging.getLogger("buddy_sessions")

MAX_CHECKS = 10
"""The number of unfinished sessions that the sync of a suite requests by themselves."""


@attrs.define(kw_only=True)
class _Progress:
    """What a sync has found so far."""

    scope: SyncScope  # what to save, with the limit of `keep`
    state: SuiteState  # what the database knows now
    before: SuiteState  # the state to restore if the list is out of order
    due: dict[int, SessionId]  # the unfinished sessions to check that no page has shown
    top: int = 0  # the highest `relative_id` on the first page
    is_outdated: bool = False  # whether the first page is older than what is saved
    is_unchanged: bool = False  # whether the first page is that of the last complete sync
    is_verified: bool = True  # whether the list was in order so far
    is_contradicted: bool = False  # whether the known range was dropped: the list is read once more
    all_above: int = ALL_NUMBERS[1]  # above this `relative_id`, it is read completely then, whatever `since` is
    complete: CompleteSync | None = None  # what to save if nothing remains to be read, or is in doubt


@attrs.define(eq=False, repr=False)
class SuiteSync:
    """Reads what the database lacks of one suite, and saves it: the `SuitePages` of a sync."""

    run: SyncRun
    key: SuiteKey
    scope: SyncScope
    full: bool = False
    keep: timedelta | None = None
    slots: RequestSlots | None = None
    _case_sync: CaseSync | None = None
    _reader: PageReader | None = None  # of the current range
    _counts: Stats = attrs.Factory(Stats)  # the cost of the ranges that have ended, and what was saved

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

        The last page is empty.
        """
        run, key = self.run, self.key
        async with hold_suite(run.thread.path, key, wait=run.wait):
            before, due = await run.call(load_start, key, run.now)
            progress = _Progress(scope=await self._limit_scope(), state=before, before=before, due=due)
            async with aclosing(self._read(progress)) as pages:
                async for page in pages:
                    if page.sessions:
                        yield attrs.evolve(page, is_last=False)
            self._counts += await run.update_names(key)
            has_cases = progress.is_unchanged or await self._read_cases(progress.scope)
            complete = progress.complete if has_cases else None
            await run.call(finish_sync, key, run.now, complete, top=progress.top, unlisted=before.unlisted)
            if self.full and self._counts.repaired:
                _log.warning("%s: the full check has corrected %d sessions", key, self._counts.repaired)
            if self.keep is not None:
                await prune_suite(run.thread, key, await run.time_before(self.keep))
                while await run.call(return_space):
                    pass
        yield SessionPage(suite=key, number=0, sessions=(), is_last=True)

    async def _limit_scope(self, sessions: Sequence[Session] = ()) -> SyncScope:
        """Return the scope without what `keep` would delete. A session with a later date may raise that limit."""
        return self.scope.limit(None if self.keep is None else await self.run.time_before(self.keep, sessions))

    async def _read(self, progress: _Progress) -> AsyncGenerator[SessionPage, None]:
        """Read what the database lacks; once more from the top after a contradiction. Iterate over the pages."""
        while True:
            is_repair = progress.is_contradicted
            async with aclosing(self._parts(progress)) as parts:
                async for part in parts:
                    if isinstance(part, ReadRange):
                        reading = self._read_range(progress, part)
                    else:
                        reading = self._request(progress, part)
                    async with aclosing(reading) as pages:
                        async for page in pages:
                            yield page
                    if progress.is_unchanged or not progress.is_verified:
                        return
                    if progress.is_contradicted != is_repair:
                        break
                else:
                    return

    async def _parts(self, progress: _Progress) -> AsyncGenerator[ReadRange | SessionId, None]:
        """Iterate over what to read: ranges of the list, and single sessions. What was found decides what follows."""
        run, key, known = self.run, self.key, progress.state.known
        if known is None:
            yield ReadRange(all_above=progress.all_above)
        else:
            yield ReadRange(low=1 if self.full else known[1], all_above=known[1])
        end = progress.state.end
        was_found_now = end is not None and end.found_at == run.now
        if not was_found_now and (number := progress.state.continues_at(progress.scope)) is not None:
            yield ReadRange(high=number, all_above=progress.all_above)
        number = progress.top + 1
        while number := await run.call(find_missing, key, run.now, below=number):
            yield ReadRange(low=number, high=number, extends=False)
        if progress.is_outdated and (newest := await run.call(load_newest, key)) and newest.relative_id > progress.top:
            yield newest
        progress.is_outdated = False
        for _ in range(MAX_CHECKS):
            if not progress.due:
                return
            session = next(iter(progress.due.values()))
            yield session
            if progress.due.pop(session.relative_id, None) is not None:  # not found: does the list go on below?
                yield ReadRange(low=session.relative_id, high=session.relative_id, extends=False)

    async def _read_range(self, progress: _Progress, part: ReadRange) -> AsyncGenerator[SessionPage, None]:
        """Read and save a range. Iterate over its pages, each with the sessions that are new or have changed."""
        reader = self._reader = await self._new_reader(progress, part)
        failure: BuddyError | None = None
        is_first = part.high is None
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    progress.scope = await self._limit_scope(page.sessions)
                    if is_first and reader.first_digest is not None:
                        progress.complete = CompleteSync(reader.first_digest, progress.scope)
                    await self._withdraw_claims(progress, reader, page)
                    is_verified = progress.is_verified
                    to_save = part.take(page, reader.listed, progress.state, progress.scope, is_verified=is_verified)
                    saved = await self._save(progress, attrs.evolve(to_save, is_first=is_first and is_verified))
                    is_first = False
                    yield attrs.evolve(page, sessions=saved.changed)
                    if part.is_done or saved.is_contradiction:
                        break
        except BuddyError as error:
            failure = error
        finally:
            progress.is_unchanged = reader.is_not_modified
            self._counts += attrs.evolve(reader.stats, sessions=0)
            self._reader = None
        if failure is not None:  # not raised above: the frames of two errors would keep pages in memory
            if isinstance(failure, NotFoundError):
                await self.run.call(mark_suite_missing, self.key, self.run.now)
            await self._withdraw_claims(progress, reader)
            raise failure

    async def _new_reader(self, progress: _Progress, part: ReadRange) -> PageReader:
        """Return a read of a range. It also yields the sessions below the range that are on its last page."""
        cursor, known_digest, complete = None, None, progress.state.complete
        if part.high is not None:
            # If the offset is wrong, the read needs more requests, but misses no session.
            cursor = Cursor(part.high + 1, await self.run.call(count_above, self.key, part.high))
        elif complete is None or self.full or progress.due or not progress.scope.is_within(complete.scope):
            known_digest = b""
        else:
            known_digest = complete.digest
        spec = ReadSpec(
            after=part.low - 1,
            cursor=cursor,
            min_id=1,
            check_end=True,
            slots=self.slots,
            known_digest=known_digest,
        )
        return self.run.buddy.api.read(self.key, spec)

    async def _request(self, progress: _Progress, session: SessionId) -> AsyncGenerator[SessionPage, None]:
        """Request and save one session. Iterate over one page, with the session if it has changed.

        If the newest one, which the first page lacks, does not exist, that page was right.
        """
        is_newest, is_known = progress.is_outdated, session.id == progress.state.unlisted
        found: tuple[Session, ...] = ()
        proven: Interval | None = None
        self._counts += Stats(requests=1)
        try:
            found = (await self.run.buddy.session(self.key, session.id),)
        except NotFoundError:
            if not is_newest:
                return
            proven = progress.top + 1, session.relative_id
        except ConfigError as error:
            _log.warning("%s: session %r is not checked: %s", self.key, session.id, error)
            progress.due.pop(session.relative_id, None)
        if is_newest and found and not is_known:
            message = "%s: the list is outdated: it does not contain the newest saved session, %d, which exists"
            _log.warning(message, self.key, session.relative_id)
        to_save = PageToSave(
            sessions=found,
            proven=proven,
            checked=session.relative_id,
            unlisted=session.id if is_newest and found else None,
        )
        saved = await self._save(progress, to_save)
        yield SessionPage(suite=self.key, number=0, sessions=saved.changed)

    async def _save(self, progress: _Progress, page: PageToSave) -> SavedPage:
        """Save a page, in one transaction."""
        page = attrs.evolve(page, is_repair=progress.is_contradicted)
        saved = await self.run.call(save_page, self.key, page, self.run.now)
        self._counts += Stats(sessions=len(saved.changed), repaired=saved.repaired)
        progress.state = saved.state
        for session in (*page.listed, *page.sessions):
            progress.due.pop(session.relative_id, None)
        for number in [each for each in progress.due if page.proven and page.proven[0] <= each <= page.proven[1]]:
            del progress.due[number]
        if page.top is not None:
            progress.top, progress.is_outdated = page.top, saved.is_outdated
        if saved.is_contradiction:
            _log.warning("%s: sessions have reappeared, or the suite was created again: it is read again", self.key)
            progress.is_contradicted = True
            progress.all_above = progress.before.known[0] - 1 if progress.before.known else ALL_NUMBERS[1]
            progress.before = progress.before.forget()
        elif saved.is_outdated:
            progress.before = progress.before.up_to(progress.top)
        elif page.top == 0 and saved.state.known is not None:
            _log.warning("%s: the list is empty, but sessions are saved: they stay as they are", self.key)
        return saved

    async def _withdraw_claims(self, progress: _Progress, reader: PageReader, page: SessionPage | None = None) -> None:
        """Undo the marks of this sync, and its changes of the known range, if the list is out of order.

        If only its end is in doubt, which the last page shows, what the pages prove stays.
        """
        if progress.is_verified and not reader.stats.verified:
            progress.complete = None
            if page is None or page.proven_range is None:
                progress.is_verified = False
                await self.run.call(withdraw_claims, self.key, progress.before, self.run.now)

    async def _read_cases(self, scope: SyncScope) -> bool:
        """Read the cases that the database lacks. Return whether none remain."""
        if scope.cases is None:
            return True
        self._case_sync = CaseSync(self.run, self.key, scope.cases, scope.details)
        pending = await self.run.call(load_pending, self.key, scope, full=self.full)
        if pending:
            await self._case_sync.read(pending)
            pending = await self.run.call(load_pending, self.key, scope)
        return not pending
