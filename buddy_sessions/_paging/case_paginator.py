"""The test cases of one session: an async iterator, `CasePaginator`, over the pages that a `CasePlan` requests.

Cases have no `relative_id` and no documented order, so an overlap of pages proves nothing, and a case is recognised by
its ID and that of its group. The session says how many there are, but the list may be longer. It is read to its end: to
a page with fewer cases than requested, unless the server may have cut that page. `CasePlan` decides that, without I/O,
clock and asyncio.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import attrs

from .._base.figures import Fetched, Stats
from .._base.workers import AsyncItems
from ..errors import BadRequestError
from ..models import Session, TestCase, TestStatus, case_ids
from .pacing import PageLength, PageSize, Window
from .paginator import FetchPage, PendingPages
from .reconciler import check_stability

_log = logging.getLogger("buddy_sessions")


class CasePaginator(AsyncItems):
    """The test cases of one session, in the order of the API. Each `async for` is a new read.

    Created by `BuddyClient.cases`; the constructor is not public.

    Leaving a loop ends the read, and leaves no task or connection open. If a read fails, it raises a `BuddyError`.

    Example:
        >>> async for case in buddy.cases("acme/storefront/MNbyVedg", "YDnagwGk"):
        ...     print(case.key, case.status, case.time)
    """

    def __init__(
        self,
        name: str,
        new_plan: Callable[[], CasePlan],
        open_list: Callable[[CasePlan], Awaitable[FetchPage[list[TestCase]]]],
    ) -> None:
        self._name = name
        self._new_plan = new_plan
        self._open_list = open_list  # says what is expected, and how to fetch a page
        self._latest = new_plan()

    def __repr__(self) -> str:
        return f"<CasePaginator {self._name}>"

    async def __aiter__(self) -> AsyncGenerator[TestCase, None]:
        """Iterate over the cases of a new read."""
        plan = self._latest = self._new_plan()
        fetch_page = await self._open_list(plan)

        async def fetch(window: Window) -> Fetched[list[TestCase]]:
            fetched = await fetch_page(window)
            plan.stats += fetched.stats
            return fetched

        pending = PendingPages(fetch)
        try:
            while not plan.is_done:
                windows = plan.windows()
                try:
                    page = (await pending.get(windows)).result()
                except BadRequestError:
                    if not plan.page_size.refuse(windows[0]):
                        raise
                    continue
                for case in plan.accept_page(windows[0], page):
                    plan.yielded += 1
                    yield case
        finally:
            await pending.cancel()
        if plan.is_complete and plan.expected not in (None, plan.count):
            _log.warning(
                "%s: the session counts %d test cases, but the API lists %d", self._name, plan.expected, plan.count
            )

    async def collect(self) -> list[TestCase]:
        """Return all cases of a new read."""
        return [case async for case in self]

    @property
    def stats(self) -> Stats:
        """The `Stats` of the latest read so far.

        `verified` is True if the session is finished, and as many cases were read as it reports.
        """
        plan = self._latest
        return attrs.evolve(plan.stats, cases=plan.yielded, verified=plan.is_verified)


@attrs.define(eq=False, repr=False)
class CasePlan:
    """Plans the requests of one read: `windows` returns the pages to request, `accept_page` takes the first of them."""

    page_size: PageSize
    read_ahead: int
    status: TestStatus | None
    max_cases: int | None
    is_complete: bool = False  # the list was read to its end
    expected: int | None = None  # cases with the status, as the session reports; None if unknown
    count: int = 0  # cases with the status
    yielded: int = 0  # of these, those that were yielded
    stats: Stats = attrs.Factory(Stats)  # without `cases` and `verified`
    _offset: int = 0  # rows read so far
    _ids: set[tuple[str | None, str]] = attrs.Factory(set)  # of the group and the case
    _stalled_pages: int = 0

    @property
    def is_done(self) -> bool:
        return self.is_complete or self.count == self.max_cases

    @property
    def is_verified(self) -> bool:
        """Whether the list was read to its end, and has as many cases as the session reports."""
        return self.is_complete and self.count == self.expected

    def expect(self, session: Session) -> None:
        """Expect as many cases as a session reports, unless that may still change."""
        counts = {
            None: session.tests_count,
            TestStatus.PASSED: session.passed_count,
            TestStatus.FAILED: session.failed_count,
            TestStatus.SKIPPED: session.skipped_count,
            TestStatus.ERROR: session.error_count,
        }
        self.expected = counts.get(self.status) if session.is_finished else None

    def windows(self) -> Sequence[Window]:
        """Return the pages to request now; `accept_page` takes the page of the first window."""
        size = self.page_size.value
        first = self._offset // size + 1
        last = 1 if self.expected is None else self.expected // size + 1  # with the row after the last one: the end
        if self.max_cases is not None:
            last = min(last, -(-self.max_cases // size))
        end = max(min(first + self.read_ahead, last + 1), first + 1)
        return [Window(page, size) for page in range(first, end)]

    def accept_page(self, window: Window, cases: Sequence[TestCase]) -> list[TestCase]:
        """Take the cases of the first window, and return the new ones."""
        length = self.page_size.classify(window, len(cases))
        if length is PageLength.CUT:
            self.page_size.cap = len(cases)
        self._offset = self.page_size.end_of(window)
        by_id = {case_ids(case): case for case in cases}
        unique = {ids: case for ids, case in by_id.items() if ids not in self._ids}
        self._ids.update(unique)
        self.stats += Stats(pages=1, duplicates=len(cases) - len(unique))
        self._stalled_pages = 0 if unique else self._stalled_pages + 1
        check_stability("test cases", stalled_pages=self._stalled_pages, rows_by_id=len(self._ids))
        new = [case for case in unique.values() if self.status is None or case.status == self.status]
        # If a short page comes too early, the server may have hidden some of its rows.
        ends_too_early = self.expected is not None and self.count + len(new) < self.expected
        self.is_complete = not cases or (length is PageLength.SHORT and not ends_too_early)
        if self.max_cases is not None and len(new) > self.max_cases - self.count:
            new = new[: self.max_cases - self.count]
            self.is_complete = False
        self.count += len(new)
        return new
