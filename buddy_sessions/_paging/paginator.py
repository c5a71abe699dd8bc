"""The async iterators over one suite: they fetch the pages that the reconciler requests, and yield what is new."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from .._decoding.converter import DecodedPage
from .._stats import Fetched, Stats
from ..errors import BadRequestError, BuddyError
from ..models import Cursor, Session, SessionPage, SuiteKey
from .pending_pages import FetchPage, PendingPages
from .read_ahead import RequestSlots
from .reconciler import Reconciler, Step, Window

_log = logging.getLogger("buddy_sessions")


class SessionPaginator:
    """The sessions of one suite, newest first. Each `async for` is a new read.

    Created by `BuddyClient.sessions`; the constructor is not public.

    Leaving a loop ends the read: in the next steps of the event loop, its tasks and connections are closed. After an
    error, resume with `cursor=error.cursor` and the same other arguments.

    Example:
        >>> async for session in buddy.sessions("acme/storefront/MNbyVedg"):
        ...     print(session.relative_id, session.status)
    """

    def __init__(
        self,
        suite: SuiteKey,
        *,
        fetch: FetchPage[DecodedPage | None],
        new_reconciler: Callable[..., Reconciler],
        read_ahead: int,
        cursor: Cursor | None = None,
    ) -> None:
        self._suite = suite
        self._fetch = fetch
        self._new_reconciler = new_reconciler
        self._read_ahead = read_ahead
        self._start = cursor
        self._latest = _Read(cursor)

    def __repr__(self) -> str:
        return f"<SessionPaginator {self._suite} cursor={self.cursor}>"

    async def __aiter__(self) -> AsyncGenerator[Session, None]:
        """Iterate over the sessions.

        Raises:
            BuddyError: The read failed. `error.cursor` is its position.
        """
        read = self._latest = _Read(self._start)
        async with aclosing(self._iterate_pages(read, self._own_slots())) as pages:
            async for page in pages:
                read.consumed = 0
                for session in page.sessions:
                    read.consumed += 1
                    yield session

    def pages(
        self, *, trim: bool = True, check_end: bool = False, slots: RequestSlots | None = None
    ) -> AsyncGenerator[SessionPage, None]:
        """Return an async iterator over the pages of a new read. Each has only sessions that were not yielded before.

        Args:
            trim: Whether to leave out sessions at or below `after` that arrived on the same page as wanted ones.
            check_end: Whether to always check the end of the list with two more requests, unless the read reaches
                number 1. By default, the client checks its first list, then one in 50, and long lists.
            slots: The request slots of the harvest that this read belongs to: pages are requested in advance while
                slots are idle, first up to `read_ahead`, unless it is 1. None if the read belongs to no harvest.

        Raises:
            BuddyError: The read failed. `error.cursor` is its position.
        """
        self._latest = _Read(self._start)
        if slots is None or self._read_ahead == 1:
            slots = self._own_slots()
        return self._iterate_pages(self._latest, slots, trim=trim, check_end=check_end)

    async def collect(self) -> list[Session]:
        """Return all sessions of a new read.

        Raises:
            BuddyError: The read failed. The sessions read so far are lost, so do not resume from `error.cursor`.
        """
        return [session async for page in self.pages() for session in page.sessions]

    @property
    def cursor(self) -> Cursor | None:
        """The position of the latest read, after the last session that was yielded. At first, the `cursor` argument.

        If a page is out of order, the cursor stays before that page.
        """
        return self._latest.cursor

    @property
    def stats(self) -> Stats:
        """The `Stats` of the latest read so far."""
        return self._latest.stats

    @property
    def is_next_page_ready(self) -> bool:
        """Whether the request for the next page had ended when the current page was yielded.

        A program that saves pages can then save several at once. The next page may also turn out to be an error.
        """
        return self._latest.is_next_page_ready

    def _own_slots(self) -> RequestSlots:
        return RequestSlots(self._read_ahead, reads=1)

    async def _iterate_pages(
        self, read: _Read, slots: RequestSlots, *, trim: bool = True, check_end: bool = False
    ) -> AsyncGenerator[SessionPage, None]:
        reconciler = self._new_reconciler(
            read_ahead=slots.total, first_read_ahead=self._read_ahead, trim=trim, check_end=check_end
        )
        pages_ahead = 0  # of this read

        async def fetch(window: Window) -> Fetched[DecodedPage | None]:
            fetched = await self._fetch(window)
            read.add_cost(fetched.stats)
            return fetched

        pending = PendingPages(fetch)
        try:
            while not reconciler.is_done:
                windows = reconciler.windows(1 + max(pages_ahead + slots.idle, 0))
                slots.pages_ahead += len(windows) - 1 - pages_ahead
                pages_ahead = len(windows) - 1
                number = windows[0].page
                try:
                    page = (await pending.get(windows)).result()
                except BadRequestError:
                    if not reconciler.on_bad_request():
                        raise
                    continue
                if page is None:  # it was recognised as known
                    return
                step = reconciler.feed(page.sessions)
                if read.verified and not reconciler.verified:
                    _log.warning("%s is not listed newest first: sessions may be missed or repeated", self._suite)
                read.add_page(step, is_complete=reconciler.is_complete, verified=reconciler.verified)
                if step.sessions or reconciler.is_complete:
                    read.add_sessions(step)
                    read.is_next_page_ready = not reconciler.is_done and pending.is_ready(reconciler.windows(1)[0])
                    yield SessionPage(
                        suite=self._suite,
                        number=number,
                        sessions=step.sessions,
                        url=page.url,
                        html_url=page.html_url,
                        covers=step.covers,
                        is_last=reconciler.is_complete,
                    )
        except BuddyError as error:
            error.cursor = read.cursor
            raise
        finally:
            slots.pages_ahead -= pages_ahead
            await pending.cancel()


class _Read:
    """The position and the cost of one read.

    Attributes:
        consumed: How many sessions of the current page have been yielded.
        is_next_page_ready: Whether the request for the next page had ended when the current page was yielded.
        verified: Whether the client has verified so far that no session was missed or repeated.
    """

    def __init__(self, start: Cursor | None) -> None:
        self.consumed = 0
        self.is_next_page_ready = False
        self.verified = True
        self._start = start  # the cursor before the current page
        self._step = Step()  # the current page
        self._sessions_before = 0  # yielded from earlier pages
        self._pages = self._duplicates = self._rereads = 0
        self._requests = self._retries = 0
        self._waited = 0.0

    @property
    def cursor(self) -> Cursor | None:
        if not self.consumed or not self.verified:
            return self._start
        return Cursor(self._step.sessions[self.consumed - 1].relative_id, self._step.offset + self.consumed)

    @property
    def stats(self) -> Stats:
        return Stats(
            requests=self._requests,
            retries=self._retries,
            waited=self._waited,
            pages=self._pages,
            sessions=self._sessions_before + self.consumed,
            duplicates=self._duplicates,
            rereads=self._rereads,
            verified=self.verified,
        )

    def add_cost(self, stats: Stats) -> None:
        """Count the requests for a page."""
        self._requests += stats.requests
        self._retries += stats.retries
        self._waited += stats.waited

    def add_page(self, step: Step, *, is_complete: bool, verified: bool) -> None:
        """Count a page. Once the order is lost, the cursor stays at the page before."""
        if not verified:
            self._start, self.verified = self.cursor, False
        self._pages += 1
        self._duplicates += step.duplicates
        if not step.sessions and not is_complete:
            self._rereads += 1

    def add_sessions(self, step: Step) -> None:
        """Move on to a page. All its sessions count as consumed; an iterator over sessions sets `consumed` to 0."""
        self._start = self.cursor
        self._sessions_before += self.consumed
        self._step = step
        self.consumed = len(step.sessions)
