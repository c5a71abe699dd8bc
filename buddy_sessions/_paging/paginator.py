"""Reads one suite: fetches the pages that the reconciler requests, and returns what is new."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

import attrs

from .._base.figures import Stats
from .._base.streams import Pages, Stream
from .._decoding.converter import DecodedPage
from ..errors import BadRequestError, BuddyError
from ..models import Cursor, Session, SuiteKey
from .reconciler import Reconciler
from .requests import PageRequests
from .selection import NewSessions, ReadSpec

_P = TypeVar("_P")
_log = logging.getLogger("buddy_sessions")


@attrs.frozen(kw_only=True)
class SessionPage:
    """One page of a read, with the sessions that were not yielded before, newest first.

    Attributes:
        suite: The suite that was read.
        number: The page number that was requested, from 1; 0 if a sync requested one session instead of a page.
        sessions: The sessions that are new in this read.
        proven_range: `(low, high)`: every existing session (of the branch, if the read has one) with a `relative_id`
            from `low` to `high` has been yielded once this page has. None if that is not proved. On the last page,
            `low` is below the last session if the end of the list was checked.
        is_last: Whether the list was read to its end, or down to `after` or `since`. This page may be empty.
        cursor: The position after this page. If a page is out of order, it stays before that page. None before the
            first session, and for a page of a sync.
    """

    suite: SuiteKey
    number: int
    sessions: tuple[Session, ...]
    proven_range: tuple[int, int] | None = None
    is_last: bool = False
    cursor: Cursor | None = None

    def cursor_before(self, remaining: int, start: Cursor | None) -> Cursor | None:
        """Return the position before the last `remaining` sessions of this page; `start` is the one before the page."""
        taken = len(self.sessions) - remaining
        if not remaining or self.cursor is None:
            return self.cursor
        if not taken or self.cursor.lowest_id != self.sessions[-1].relative_id:
            return start
        return Cursor(self.sessions[taken - 1].relative_id, self.cursor.offset - remaining, self.cursor.verified)


class PageReader:
    """One read of one suite, from `spec.cursor` on: `next_page` returns one page after the other."""

    def __init__(
        self, suite: SuiteKey, spec: ReadSpec, reconciler: Reconciler, requests: PageRequests[DecodedPage]
    ) -> None:
        self.suite = suite
        self.spec = spec
        self.first_page = DecodedPage(())  # page 1, if its digest was asked for; if unchanged, no page is returned
        self.listed: tuple[Session, ...] = ()  # all sessions received since the page before, selected or not
        self.invalid_fields: dict[str, frozenset[str]] = {}  # of these, the fields that could not be read, by their IDs
        self.cursor = spec.cursor  # the position after the last page
        self.is_verified = spec.cursor is None or spec.cursor.verified  # nothing is in doubt so far
        self._reconciler = reconciler
        self._requests = requests
        self._received: tuple[Session, ...] = ()  # those of the next page
        self._invalid_fields: dict[str, frozenset[str]] = {}
        self._pages = self._sessions = 0

    @property
    def stats(self) -> Stats:
        """The cost so far."""
        return self._requests.cost + Stats(pages=self._pages, sessions=self._sessions, verified=self.is_verified)

    @property
    def total_at_most(self) -> int | None:
        """How many sessions there may be, at most; None if that is unknown."""
        spec = self.spec
        if spec.branch is not None or spec.after or spec.since is not None:
            return None
        if spec.cursor is not None:
            return spec.cursor.lowest_id - 1
        return self._reconciler.highest_id if self._pages else None

    async def next_page(self) -> SessionPage | None:
        """Return the next page; None at the end, or if it is closed. If this is cancelled, call it again."""
        reconciler, requests = self._reconciler, self._requests
        try:
            while not reconciler.is_done:
                windows = reconciler.windows(requests.max_pages)
                try:
                    decoded = await requests.get(windows)
                except BadRequestError:
                    if not reconciler.on_bad_request():
                        raise
                    continue
                if decoded is None:
                    return None
                if decoded.digest is not None:
                    self.first_page = decoded
                if decoded.is_unchanged:
                    return None
                self._received += decoded.sessions
                self._invalid_fields |= decoded.invalid_fields
                self._note_invalid_fields(decoded)
                result = reconciler.accept_page(decoded.sessions)
                self._count(result)
                if result.sessions or reconciler.is_complete:
                    return self._new_page(windows[0].page, result)
        except BuddyError as error:
            error.cursor = self.cursor
            raise
        return None

    async def pages(self) -> AsyncGenerator[SessionPage, None]:
        """Iterate over the pages. The read is closed when the loop ends, is left, or is cancelled."""
        try:
            while (page := await self.next_page()) is not None:
                yield page
        finally:
            await self.close()

    async def close(self) -> None:
        """Cancel the requests, and wait until they have ended."""
        await self._requests.cancel()

    def _new_page(self, number: int, result: NewSessions) -> SessionPage:
        self.listed, self._received = self._received, ()
        self.invalid_fields, self._invalid_fields = self._invalid_fields, {}
        if result.sessions and self._reconciler.is_ordered:
            offset = result.offset + len(result.sessions)
            self.cursor = Cursor(result.sessions[-1].relative_id, offset, self.is_verified)
        return SessionPage(
            suite=self.suite,
            number=number,
            sessions=result.sessions,
            proven_range=result.proven_range,
            is_last=self._reconciler.is_complete,
            cursor=self.cursor,
        )

    def _note_invalid_fields(self, page: DecodedPage) -> None:
        """Do not trust the selection of sessions whose branch or date cannot be read."""
        names = {name for name, value in (("ref_name", self.spec.branch), ("create_date", self.spec.since)) if value}
        ids = {session_id for session_id, fields in page.invalid_fields.items() if fields & names}
        if ids and self.is_verified:
            _log.warning("%s: sessions may be missed: the branch or date of some cannot be read", self.suite)
        if ids:
            if self.spec.branch:
                self._reconciler.leave_out(each for each in ids if "ref_name" in page.invalid_fields[each])
            self.is_verified = False

    def _count(self, result: NewSessions) -> None:
        """Count a page that the reconciler has taken. Log the first doubt."""
        reconciler = self._reconciler
        if self.is_verified and not reconciler.verified:
            _log.warning("%s: sessions may be missed or repeated: %s", self.suite, reconciler.doubt)
        self.is_verified = self.is_verified and reconciler.verified
        self._pages += 1
        self._sessions += len(result.sessions)
        if self.cursor is not None and not self.is_verified:
            self.cursor = attrs.evolve(self.cursor, verified=False)


class SessionPaginator(Stream[Session]):
    """The sessions of one suite, newest first: an async iterator, which reads the suite once.

    Created by `BuddyClient.sessions`; the constructor is not public. No request is sent before the first step.

    If you break out of a loop, the next loop over the same object continues with the next session. To cancel an
    `anext`, for instance by a timeout, loses nothing. If a request fails, the step raises a `BuddyError`, and so does
    each later one: to continue, read again with `cursor=error.cursor` and the same other arguments. Use it as
    `async with`, or call `aclose`, to stop its requests at once. Stepping through a page that was received never
    suspends.

    Example:
        >>> async for session in buddy.sessions("acme/storefront/MNbyVedg"):
        ...     print(session.relative_id, session.status)
    """

    def __init__(self, reader: PageReader) -> None:
        super().__init__()
        self._reader = reader
        self._page = SessionPage(suite=reader.suite, number=0, sessions=(), cursor=reader.cursor)  # the current one
        self._start = reader.cursor  # the position before it

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else f"cursor={self.cursor}"
        return f"<SessionPaginator {self._reader.suite}: {self.stats.sessions} sessions, {state}>"

    def pages(self) -> Pages[SessionPage]:
        """Return the rest of this read as pages. Each has only sessions that were not yielded before."""
        return Pages(self, self._take_rest, self._next_page)

    async def collect(self) -> list[Session]:
        """Return the rest of the sessions as a list.

        If it fails or is cancelled, the sessions that it has read are not lost: they are the next ones of this object,
        and `error.cursor` is the position before them.
        """
        start = self.cursor
        try:
            sessions = await self._collect()
        except BaseException as error:
            rest = tuple(self._batch)
            self._start, self._page, self._batch = start, attrs.evolve(self._page, sessions=rest), iter(rest)
            if isinstance(error, BuddyError):
                error.cursor = start
            raise
        self._raise_if_closed()
        return sessions

    @property
    def cursor(self) -> Cursor | None:
        """The position after the last session that was yielded; at first, the `cursor` argument.

        If a page is out of order, it stays before that page.
        """
        cursor = self._page.cursor_before(self._unread, self._start)
        return cursor if cursor is None or self._reader.is_verified else attrs.evolve(cursor, verified=False)

    @property
    def stats(self) -> Stats:
        """The `Stats` of the read so far."""
        stats = self._reader.stats
        return attrs.evolve(stats, sessions=stats.sessions - self._unread)

    @property
    def total_at_most(self) -> int | None:
        """How many sessions there are at most, for a progress bar: the newest `relative_id`, or that of the cursor.

        None before the first page, and with `branch`, `after` or `since`.
        """
        return self._reader.total_at_most

    async def _step(self, read: Callable[[], Awaitable[_P | None]]) -> _P:
        try:
            return await super()._step(read)
        except BuddyError as error:
            error.cursor = self.cursor  # it may be raised again, after the rest of a page
            raise

    async def _read(self) -> Sequence[Session] | None:
        page = await self._next_page()
        return None if page is None else page.sessions

    async def _next_page(self) -> SessionPage | None:
        page = await self._reader.next_page()
        if page is not None:
            self._start, self._page = self.cursor, page
        return page

    def _take_rest(self) -> SessionPage | None:
        rest = tuple(self._batch)
        return attrs.evolve(self._page, sessions=rest) if rest else None

    async def _stop(self) -> None:
        await self._reader.close()
