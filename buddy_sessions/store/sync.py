"""Reads what is missing of one suite into the database of a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

import attrs

from .._paging.paginator import SessionPaginator
from .._stats import Stats
from ..client import BuddyClient
from ..models import Cursor, SessionPage, SuiteKey
from .plan import plan_next
from .thread import SyncThread


class _Part(NamedTuple):
    """A part of the list: the sessions above the number `after`, from the position `cursor` (None: from the top)."""

    after: int
    cursor: Cursor | None = None


class SuiteSync:
    """Reads what is missing of one suite into the database: the `SuiteReader` of a sync.

    Args:
        buddy: The client to read with.
        key: The suite.
        thread: The thread of the database.
        branch: Only sessions of this branch. They are saved, but prove nothing about other branches: coverage is
            neither used nor extended, and no session is marked as deleted.
        after: Only sessions with a higher `relative_id` are read and yielded. Others that arrive on the same pages are
            saved.
    """

    def __init__(
        self, buddy: BuddyClient, key: SuiteKey, thread: SyncThread, *, branch: str | None, after: int
    ) -> None:
        self._buddy = buddy
        self._key = key
        self._thread = thread
        self._database = thread.database
        self._branch = branch
        self._after = after
        self._paginator: SessionPaginator | None = None
        self._completed_reads = Stats()
        self._changed_sessions = 0

    @property
    def stats(self) -> Stats:
        """The cost so far; of the sessions, only the new and the changed ones are counted."""
        total = self._completed_reads
        if self._paginator is not None:
            total += self._paginator.stats
        return attrs.evolve(total, sessions=self._changed_sessions)

    async def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Read and save what is missing, and iterate over the pages that contain new or changed sessions.

        The last page is included even if it is empty.

        Raises:
            StoreError: A page cannot be saved.
            BuddyError: A page cannot be read.
        """
        newest = 0  # the newest number known before the first request; 0 if its page cannot prove a deletion
        part: _Part | None = _Part(self._after)
        if self._branch is None:
            newest, part = await self._thread.run(self._load_top)
        while part is not None:
            paginator = self._buddy.sessions(self._key, branch=self._branch, after=part.after, cursor=part.cursor)
            self._paginator = paginator
            part = None
            # Not trimmed: a known session on the same page may have changed.
            async with aclosing(paginator.pages(trim=False)) as pages:
                async for page in pages:
                    is_proof = self._branch is None and paginator.stats.verified
                    covers = page.covers if is_proof else None
                    known = newest if is_proof else 0
                    changed = await self._thread.run(self._database.save_page, self._key, page.sessions, covers, known)
                    newest = 0  # only the first page shows the top of the list
                    wanted = tuple(session for session in changed if session.relative_id > self._after)
                    self._changed_sessions += len(wanted)
                    if page.is_last and covers is not None:  # without coverage, there is nothing to plan
                        part = await self._thread.run(self._plan_below, covers[0], paginator.cursor)
                    is_last = page.is_last and part is None
                    if wanted or is_last:
                        yield attrs.evolve(page, sessions=wanted, is_last=is_last)
            self._completed_reads += paginator.stats
            self._paginator = None

    def _load_top(self) -> tuple[int, _Part]:
        """Return the newest known number, and the part above all covered numbers. Called in the database's thread."""
        highest_covered = max((high for _, high in self._database.covered(self._key)), default=0)
        return self._database.newest(self._key), _Part(max(highest_covered, self._after))

    def _plan_below(self, below: int, position: Cursor | None) -> _Part | None:
        """Return the next part below a number; None if nothing remains. Called in the database's thread.

        Its offset is an estimate: the offset of `position`, plus the number of known sessions in between. A wrong
        offset costs requests, never sessions.
        """
        covered = self._database.covered(self._key)
        unfinished = self._database.newest_unfinished(self._key, above=self._after, below=below)
        target = plan_next(covered, unfinished, after=self._after, below=below)
        if target is None or position is None:  # only an empty list has no position
            return None
        low, high = target
        between = self._database.count_sessions(self._key, high + 1, below - 1)
        return _Part(low - 1, Cursor(high + 1, position.offset + between))
