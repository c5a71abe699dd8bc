"""The sync of one suite: reads what the database lacks, and saves it.

All state of the sync is in the event loop. The thread of the database gets a page, saves it, and returns what has
changed. `SuiteSync._read` reads one part of the list after the other; `_save` notes what its pages have shown in
`_Found`, and from that, `_parts` decides what follows.
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
from .._paging.selection import ReadSpec
from ..errors import BuddyError, ConfigError, NotFoundError
from ..models import Cursor, Session, SuiteKey
from .case_sync import CaseSync
from .cases import load_pending
from .lock import hold_suite
from .page_rules import PageToSave, ReadRange, SavedPage, SessionToCheck
from .pages import count_above, find_missing, finish_sync, load_newest, load_start, save_page, withdraw_claims
from .prune import prune_suite, return_space
from .suites import ALL_NUMBERS, CompleteSync, Interval, SuiteState, SyncScope, mark_suite_missing
from .sync_run import SyncRun

_log = logging.getLogger("buddy_sessions")

MAX_CHECKS = 10
"""The number of unfinished sessions that the sync of a suite requests by themselves."""


@attrs.define(kw_only=True)
class _Found:
    """What the pages of a sync have shown so far. `_save` and `_withdraw_claims` note it."""

    start: SuiteState  # what the database knew before the sync
    state: SuiteState  # what it knows now
    due: dict[int, SessionToCheck]  # the unfinished sessions that no page has shown, and that are still to be checked
    top: int = 0  # the highest `relative_id` on the first page
    complete: CompleteSync | None = None  # to be saved at the end, if nothing is in doubt
    is_outdated: bool = False  # whether the first page is older than what is saved
    is_verified: bool = True  # whether the list was in order so far
    after_contradiction: bool = False  # whether a page was a contradiction: all is read once more


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
            start, due = await run.thread.run(load_start, key, run.now)
            found = _Found(start=start, state=start, due=due)
            async with aclosing(self._read(found)) as pages:
                async for page in pages:
                    if page.sessions:
                        yield attrs.evolve(page, is_last=False, cursor=None)
            self._counts += await run.update_names(key)
            has_cases = not self._counts.pages or await self._read_cases(await self._limit_scope())
            complete = found.complete if has_cases and self._counts.verified else None
            await run.thread.run(finish_sync, key, run.now, complete, top=found.top, unlisted=start.unlisted)
            if self.full and self._counts.repaired:
                _log.warning("%s: the full check has corrected %d sessions", key, self._counts.repaired)
            if self.keep is not None:
                await prune_suite(run.thread, key, await run.time_before(self.keep))
                while await run.thread.run(return_space):
                    pass
        yield SessionPage(suite=key, number=0, sessions=(), is_last=True)

    async def _limit_scope(self, sessions: Sequence[Session] = ()) -> SyncScope:
        """Return the scope without what `keep` would delete. A session with a later date may raise that limit."""
        return self.scope.limit(None if self.keep is None else await self.run.time_before(self.keep, sessions))

    async def _read(self, found: _Found) -> AsyncGenerator[SessionPage, None]:
        """Read what the database lacks; once more from the top after a contradiction. Iterate over the pages."""
        for after_contradiction in (False, True):
            async with aclosing(self._parts(found)) as parts:
                async for part in parts:
                    read = self._read_range(found, part) if isinstance(part, ReadRange) else self._check(found, part)
                    async with aclosing(read) as pages:
                        async for page in pages:
                            yield page
                    if not found.is_verified:
                        return
                    if found.after_contradiction is not after_contradiction:
                        break
                else:
                    return

    async def _parts(self, found: _Found) -> AsyncGenerator[ReadRange | SessionToCheck, None]:
        """Iterate over what to read, from what was found so far.

        The list from its top, and below the known range; around missing sessions; then, each by itself, the newest
        saved session, if the first page lacks it, and unfinished sessions.
        """
        run, key, start, known = self.run, self.key, found.start.known, found.state.known
        # After a contradiction, what was known is read again, whatever `since` is.
        all_above = start[0] - 1 if start and found.after_contradiction else ALL_NUMBERS[1]
        if known is None:
            yield ReadRange(all_above=all_above)
        else:
            yield ReadRange(low=1 if self.full else known[1], all_above=known[1])
        if not self._counts.pages:  # the first page is that of the last complete sync
            return
        end, number = found.state.end, found.state.continues_at(await self._limit_scope())
        was_found_now = end is not None and end.found_at == run.now
        if number is not None and not was_found_now:
            yield ReadRange(high=number, all_above=all_above)
        number = found.top + 1
        while number := await run.thread.run(find_missing, key, run.now, below=number):
            yield ReadRange(low=number, high=number, extends=False)
        if found.is_outdated and (newest := await run.thread.run(load_newest, key)) and newest.relative_id > found.top:
            yield newest
        for _ in range(MAX_CHECKS):
            if not found.due:
                return
            number, session = next(iter(found.due.items()))
            yield session
            if found.due.pop(number, None) is not None:  # not found: does the list go on below?
                yield ReadRange(low=number, high=number, extends=False)

    async def _read_range(self, found: _Found, part: ReadRange) -> AsyncGenerator[SessionPage, None]:
        """Read and save a range. Iterate over its pages, each with the sessions that are new or have changed."""
        reader = self._reader = await self._new_reader(found, part)
        failure: BuddyError | None = None
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    # If only the end of the list is in doubt, what the last page proves stays.
                    if not reader.stats.verified and page.proven_range is None:
                        await self._withdraw_claims(found)
                    scope = await self._limit_scope(page.sessions)
                    to_save = part.take(page, reader.listed, found.state, scope, is_verified=found.is_verified)
                    complete = CompleteSync(reader.first_digest, scope) if reader.first_digest else None
                    saved = await self._save(found, to_save, complete)
                    yield attrs.evolve(page, sessions=saved.changed)
                    if part.is_done or saved.is_contradiction:
                        break
        except BuddyError as error:
            failure = error
        finally:
            self._counts += attrs.evolve(reader.stats, sessions=0)
            self._reader = None
        if failure is not None:  # not raised above: the frames of two errors would keep pages in memory
            if isinstance(failure, NotFoundError):
                await self.run.thread.run(mark_suite_missing, self.key, self.run.now)
            if not reader.stats.verified:
                await self._withdraw_claims(found)
            raise failure

    async def _new_reader(self, found: _Found, part: ReadRange) -> PageReader:
        """Return a read of a range. It also yields the sessions below the range that are on its last page."""
        cursor, digest, complete = None, None, found.state.complete
        if part.high is not None:
            # If the offset is wrong, the read needs more requests, but misses no session.
            cursor = Cursor(part.high + 1, await self.run.thread.run(count_above, self.key, part.high))
        elif complete is None or self.full or found.due or not (await self._limit_scope()).is_within(complete.scope):
            digest = b""
        else:
            digest = complete.digest
        spec = ReadSpec(after=part.low - 1, cursor=cursor, min_id=1, slots=self.slots, known_digest=digest)
        return self.run.buddy.api.read(self.key, spec)

    async def _check(self, found: _Found, session: SessionToCheck) -> AsyncGenerator[SessionPage, None]:
        """Request and save one session. Iterate over one page, with the session if it has changed.

        If the newest one, which the first page lacks, does not exist, that page was right.
        """
        listed: tuple[Session, ...] = ()
        proven: Interval | None = None
        self._counts += Stats(requests=1)
        try:
            listed = (await self.run.buddy.session(self.key, session.id),)
        except NotFoundError:
            if not session.is_newest:
                return
            proven = found.top + 1, session.relative_id
        except ConfigError as error:
            _log.warning("%s: session %r is not checked: %s", self.key, session.id, error)
        unlisted = session.id if session.is_newest and listed else None
        if unlisted not in {None, found.state.unlisted}:
            message = "%s: the list is outdated: it does not contain the newest saved session, %d, which exists"
            _log.warning(message, self.key, session.relative_id)
        to_save = PageToSave(sessions=listed, proven=proven, checked=session.relative_id, unlisted=unlisted)
        saved = await self._save(found, to_save)
        yield SessionPage(suite=self.key, number=0, sessions=saved.changed)

    async def _save(self, found: _Found, page: PageToSave, complete: CompleteSync | None = None) -> SavedPage:
        """Save a page, in one transaction, and note what it has shown."""
        page = attrs.evolve(page, after_contradiction=found.after_contradiction)
        saved = await self.run.thread.run(save_page, self.key, page, self.run.now)
        self._counts += Stats(sessions=len(saved.changed), repaired=saved.repaired)
        if saved.is_contradiction:
            _log.warning("%s: sessions have reappeared, or the suite was created again: it is read again", self.key)
        elif page.top == 0 and saved.state.known is not None:
            _log.warning("%s: the list is empty, but sessions are saved: they stay as they are", self.key)
        found.state = saved.state
        found.after_contradiction |= saved.is_contradiction
        if page.top is not None:
            found.top, found.is_outdated, found.complete = page.top, saved.is_outdated, complete
        low, high = page.proven or (1, 0)
        shown = {page.checked, *(session.relative_id for session in (*page.listed, *page.sessions))}
        for number in [each for each in found.due if each in shown or low <= each <= high]:
            del found.due[number]
        return saved

    async def _withdraw_claims(self, found: _Found) -> None:
        """The list is out of order: undo the marks of this sync, and its changes of the known range.

        After a contradiction, the range stays dropped.
        """
        if found.is_verified:
            found.is_verified = False
            before = found.start.forget() if found.after_contradiction else found.start
            await self.run.thread.run(withdraw_claims, self.key, before, self.run.now)

    async def _read_cases(self, scope: SyncScope) -> bool:
        """Read the cases that the database lacks. Return whether none remain."""
        if scope.cases is None:
            return True
        self._case_sync = CaseSync(self.run, self.key, scope.cases, scope.details)
        pending = await self.run.thread.run(load_pending, self.key, scope, full=self.full)
        if pending:
            await self._case_sync.read(pending)
            pending = await self.run.thread.run(load_pending, self.key, scope)
        return not pending
