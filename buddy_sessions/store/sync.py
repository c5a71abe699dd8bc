"""The sync of one suite: reads what the database lacks, and saves it.

All state of the sync is in the event loop, in `SyncProgress`. From that, `next_part` decides what is read next. The
thread of the database gets a page, saves it, and returns what it has shown. Once all is read, `finish_sync` marks what
was not listed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial

import attrs

from .._api import Api
from .._base.figures import Stats
from .._base.validate import validate_session
from .._base.workers import LongBodies
from .._paging.pacing import RequestSlots
from .._paging.paginator import PageReader, SessionPage
from .._paging.selection import ReadSpec
from ..errors import BuddyError, ConfigError, NotFoundError
from ..models import Cursor, Session, Suite, SuiteKey, is_before
from .cases import CaseSync
from .file import DatabaseThread
from .lock import lock_suite
from .pages import finish_sync, load_start, save_page
from .prune import SAME_COMMIT, load_newest_date, prune_suite, return_space, time_before
from .suites import SyncScope, clear_suite_marks, is_project_listed, mark_suite_missing, save_names, save_state
from .sync_rules import (
    ListEvidence,
    PageEffects,
    Part,
    SessionToCheck,
    SyncProgress,
    end_part,
    next_part,
    read_range_after,
    state_after,
)

_log = logging.getLogger("buddy_sessions")


@attrs.define(eq=False, repr=False)
class SyncRun:
    """The state of one `SessionStore.sync`. `now` is the time of all marks that it sets; `wait` is its argument."""

    api: Api
    thread: DatabaseThread
    wait: float = 0.0
    now: datetime = attrs.Factory(partial(datetime.now, UTC))
    long_bodies: LongBodies = attrs.Factory(LongBodies)
    _listed_projects: set[tuple[str, str]] = attrs.Factory(set)
    _newest: datetime | None = None  # the latest `create_date` in the file, once it was needed

    async def time_before(self, age: timedelta, sessions: Sequence[Session] = ()) -> datetime:
        """Return the time that was an age ago. See `prune.time_before`; the dates of `sessions` count, too."""
        if self._newest is None:
            self._newest = await self.thread.run(load_newest_date)
        dates = (self._newest, *(session.create_date for session in sessions))
        self._newest = max(filter(None, dates), default=None)
        return time_before(age, self.now, self._newest, self.api.transport.server_time)

    async def update_names(self, key: SuiteKey) -> Stats:
        """Save the names of the suites of a project, at most once per project and day. Return the cost.

        A suite that was synced, and is not listed, is requested by itself: a narrower token may list fewer suites.
        """
        project = key[:2]
        if project in self._listed_projects:
            return Stats()
        self._listed_projects.add(project)
        if await self.thread.run(is_project_listed, *project, self.now):
            return Stats()
        suites: list[Suite] = []
        try:
            suites = await self.api.suites(*project)
        except BuddyError as error:
            _log.warning("cannot read the names of the suites of %s/%s: %s", *project, error)
            if error.retryable:  # the next sync tries again
                return Stats(requests=1)
            if not isinstance(error, NotFoundError):
                await self.thread.run(save_names, *project, suites, self.now)
                return Stats(requests=1)
        not_listed = await self.thread.run(save_names, *project, suites, self.now)
        for each in not_listed:
            try:
                await self.api.suite(each)
            except NotFoundError:
                await self.thread.run(mark_suite_missing, each, self.now)
            except BuddyError as error:
                _log.warning("cannot check whether the suite %s still exists: %s", each, error)
            else:
                await self.thread.run(clear_suite_marks, each)
        return Stats(requests=1 + len(not_listed))


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
    _reader: PageReader | None = None  # of the current part
    _digest: bytes | None = None  # of the first page
    _previous_ids: set[str] = attrs.Factory(set)  # of the sessions that the page before has listed
    _counts: Stats = attrs.Factory(Stats)  # the cost of the parts that have ended, and what was saved

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
        async with lock_suite(run.thread.path, key, wait=run.wait):
            progress = await run.thread.run(load_start, key, run.now, self.scope.since)
            if self.scope.since and progress.start.limit and self.scope.since < progress.start.limit:
                message = "%s: older sessions than %s were pruned: pass an earlier since than ever, or forget the suite"
                _log.info(message, key, progress.start.limit)
            while (part := next_part(progress, full=self.full)) is not None:
                read = self._read_part(progress, part) if isinstance(part, Part) else self._check(progress, part)
                async with aclosing(read) as pages:
                    async for page in pages:
                        if page.sessions:
                            yield attrs.evolve(page, is_last=False, cursor=None)
            self._counts += await run.update_names(key)
            await self._finish(progress)
            if self.full and self._counts.repaired:
                _log.warning("%s: the full check has corrected %d sessions", key, self._counts.repaired)
            if self.keep is not None and await prune_suite(run.thread, key, await run.time_before(self.keep)):
                await run.thread.run(return_space)
        yield SessionPage(suite=key, number=0, sessions=(), is_last=True)

    async def _finish(self, progress: SyncProgress) -> None:
        """Mark what the list lacks, and read the test cases that the database lacks."""
        run, scope = self.run, await self._kept_scope()
        at_end = self.key, progress, run.now, scope
        pending = await run.thread.run(finish_sync, *at_end, digest=self._digest, full=self.full)
        if pending and scope.cases is not None:
            self._case_sync = CaseSync(run.api, run.thread, run.long_bodies, self.key, scope.cases, scope.details)
            await self._case_sync.read(pending)
            await run.thread.run(finish_sync, *at_end, digest=self._digest, full=False)

    async def _kept_scope(self) -> SyncScope:
        """Return the scope without what `keep` deletes: no test cases of that are read."""
        if self.keep is None:
            return self.scope
        before = await self.run.time_before(self.keep)
        return attrs.evolve(self.scope, since=max(before, self.scope.since or before))

    async def _read_part(self, progress: SyncProgress, part: Part) -> AsyncGenerator[SessionPage, None]:
        """Read and save a part of the list. Iterate over its pages, each with the sessions that are new or changed."""
        reader = self._reader = await self._new_reader(progress, part)
        failure: BuddyError | None = None
        try:
            async with aclosing(reader.pages()) as pages:
                async for page in pages:
                    if not reader.is_verified:
                        await self._withdraw_claims(progress)
                    saved = await self._save_page(progress, part, page, reader)
                    yield attrs.evolve(page, sessions=saved.sessions)
                    if part.is_done:
                        break
        except BuddyError as error:
            failure = error
        finally:
            self._counts += attrs.evolve(reader.stats, sessions=0)
            self._reader = None
        if not reader.is_verified:
            await self._withdraw_claims(progress)
        if failure is not None:  # not raised above: the frames of two errors would keep pages in memory
            if isinstance(failure, NotFoundError):
                await self.run.thread.run(mark_suite_missing, self.key, self.run.now)
            raise failure
        if part.high is None:
            self._digest = reader.first_page.digest
            progress.top = progress.top or 0
            if reader.first_page.is_unchanged:
                progress.stop = "unchanged"
        end_part(progress, part)

    async def _new_reader(self, progress: SyncProgress, part: Part) -> PageReader:
        """Return a read of a part. It also yields the sessions below the part that are on its last page."""
        cursor, digest, clean = None, None, progress.state.clean
        if part.high is not None:
            # If sessions above were deleted, the offset is too large: the read needs more requests, but loses nothing.
            cursor = Cursor(part.high + 1, max((progress.top or 0) - part.high, 0))
        elif clean is None or self.full or progress.due or not (await self._kept_scope()).is_within(clean.scope):
            digest = b""
        else:
            digest = clean.digest
        spec = ReadSpec(after=part.low - 1, cursor=cursor, min_id=1, slots=self.slots, last_digest=digest)
        return self.run.api.read(self.key, spec)

    async def _save_page(
        self, progress: SyncProgress, part: Part, page: SessionPage, reader: PageReader
    ) -> PageEffects:
        """Save a page of the list, with what it proves."""
        limit, state = progress.start.limit, progress.state
        if self.keep is not None and limit is not None:
            limit = max(limit, await self.run.time_before(self.keep + SAME_COMMIT, page.sessions))
        evidence = ListEvidence(
            claimed=state, sessions=page.sessions, limit=limit, invalid_fields=reader.invalid_fields
        )
        if progress.stop is None:
            proven = part.take(page, limit)
            after = state_after(progress, part)
            progress.read_range = read_range = read_range_after(progress, part)
            evidence = attrs.evolve(
                evidence,
                claimed_next=after,
                listed=reader.listed,
                proven=proven,
                read_range=read_range,
                is_contradicted=progress.is_contradiction,
            )
        else:
            is_below = part.low > 1 and any(each.relative_id <= part.low for each in page.sessions)
            part.is_done = is_below or all(is_before(each, limit) for each in page.sessions)
        saved = await self._save_evidence(progress, evidence)
        if progress.top is None:
            progress.top = page.sessions[0].relative_id if page.sessions else 0
            if not page.sessions and state.covered is not None:
                _log.warning("%s: the list is empty, but sessions are saved: they stay as they are", self.key)
        # After a contradiction, the sync goes on below what it has read from the top: maybe not in this part.
        part.is_done |= part.high is not None and saved.state.covered != evidence.claimed_next.covered
        return saved

    async def _check(self, progress: SyncProgress, session: SessionToCheck) -> AsyncGenerator[SessionPage, None]:
        """Request one session. Save an unfinished one; iterate over one page, with the session if it has changed.

        If the newest missing one exists, the first page was outdated. If an unfinished one does not exist, the list is
        read around it.
        """
        relative_id = session.relative_id
        is_newest, progress.newest_missing = session == progress.newest_missing, None
        listed: tuple[Session, ...] = ()
        self._counts += Stats(requests=1)
        try:
            validate_session(session.id)
            listed = ((await self.run.api.session(self.key, session.id)).result(),)
        except NotFoundError:
            if not is_newest:
                del progress.due[relative_id]
                progress.missing.append(relative_id)
            return
        except ConfigError as error:
            _log.warning("%s: session %r is not checked: %s", self.key, session.id, error)
        if is_newest:
            progress.is_outdated = True
            return
        evidence = ListEvidence(claimed=progress.state, sessions=listed, checked=relative_id)
        saved = await self._save_evidence(progress, evidence)
        yield SessionPage(suite=self.key, number=0, sessions=saved.sessions)

    async def _save_evidence(self, progress: SyncProgress, evidence: ListEvidence) -> PageEffects:
        """Save a page or one session, in one transaction, and note what it has shown."""
        if progress.top is not None and evidence.repeats(self._previous_ids):
            saved = PageEffects(state=evidence.claimed_next)  # the next page or `finish_sync` saves this
        else:
            saved = await self.run.thread.run(save_page, self.key, evidence, self.run.now)
        self._previous_ids = {each.id for each in (*evidence.listed, *evidence.sessions)}
        self._counts += Stats(sessions=len(saved.sessions), repaired=saved.repaired)
        if saved.is_contradiction and not progress.is_contradiction:
            _log.warning("%s: sessions have reappeared, or the suite was created again: it is read again", self.key)
        progress.note(evidence, saved)
        return saved

    async def _withdraw_claims(self, progress: SyncProgress) -> None:
        """Claim what was claimed before this sync: the read is not verified. After a contradiction, claim nothing."""
        if progress.stop is None:
            progress.stop = "unverified"
            progress.state = attrs.evolve(progress.start, clean=None)
            if progress.is_contradiction:
                progress.state = attrs.evolve(progress.state, covered=None, below="more")
            await self.run.thread.run(save_state, self.key, progress.state)
