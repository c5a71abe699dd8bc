"""The test cases of one session: an async iterator, `CasePaginator`, over the pages that a `CasePlan` requests.

Cases have no `relative_id` and no documented order, so an overlap of pages proves nothing, and a case is recognised by
its ID and that of its group. The session says how many there are, but the list may be longer. It is read to its end: to
a page with fewer cases than requested, unless the server may have cut that page. `CasePlan` decides that, without I/O,
clock and asyncio.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import attrs

from .._base.figures import Stats
from .._base.streams import Stream
from ..errors import BadRequestError
from ..models import Session, TestCase, TestStatus, case_ids
from .pacing import PageSize, Window
from .reconciler import check_stability
from .requests import PageRequests

_log = logging.getLogger("buddy_sessions")


class CasePaginator(Stream[TestCase]):
    """The test cases of one session, in the order of the API: an async iterator, which reads them once.

    Created by `BuddyClient.cases`; the constructor is not public. Loops, cancelled steps, errors and `async with` work
    as in a `SessionPaginator`.

    Example:
        >>> async for case in buddy.cases("acme/storefront/MNbyVedg", "YDnagwGk"):
        ...     print(case.key, case.status, case.time)
    """

    def __init__(self, name: str, plan: CasePlan, requests: PageRequests[list[TestCase]]) -> None:
        super().__init__()
        self._name = name
        self._plan = plan
        self._requests = requests

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else "not complete"
        return f"<CasePaginator {self._name}: {self.stats.cases} test cases, {state}>"

    async def collect(self) -> list[TestCase]:
        """Return the rest of the cases as a list. If it fails or is cancelled, the next loop begins with them."""
        cases = await self._collect()
        self._raise_if_closed()
        return cases

    @property
    def stats(self) -> Stats:
        """The `Stats` of the read so far.

        `verified` is True if the session is finished, and as many cases were read as it reports.
        """
        plan = self._plan
        cases = plan.count - self._unread
        return attrs.evolve(plan.stats + self._requests.cost, cases=cases, verified=plan.is_verified)

    async def _read(self) -> Sequence[TestCase] | None:
        plan = self._plan
        if plan.is_done:
            if plan.is_complete and plan.expected not in (None, plan.count):
                message = "%s: the session counts %d test cases, but the API lists %d"
                _log.warning(message, self._name, plan.expected, plan.count)
            return None
        windows = plan.windows()
        try:
            cases = await self._requests.get(windows)
        except BadRequestError:
            if not plan.page_size.refuse(windows[0]):
                raise
            return ()
        return None if cases is None else plan.accept_page(windows[0], cases)

    async def _stop(self) -> None:
        await self._requests.cancel()


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
    stats: Stats = attrs.Factory(Stats)  # without `cases`, `verified` and the requests
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
        first_page = self._offset // size + 1
        last_page = 1 if self.expected is None else self.expected // size + 1  # with the row after the last: the end
        if self.max_cases is not None:
            last_page = min(last_page, -(-self.max_cases // size))
        end = max(min(first_page + self.read_ahead, last_page + 1), first_page + 1)
        return [Window(page, size) for page in range(first_page, end)]

    def accept_page(self, window: Window, cases: Sequence[TestCase]) -> list[TestCase]:
        """Take the cases of the first window, and return the new ones."""
        is_full = self.page_size.note_page(window, len(cases))
        is_cut = not is_full and self.page_size.may_be_cut(len(cases))
        if is_cut:
            self.page_size.cap = len(cases)
        self._offset = self.page_size.end_of(window)
        by_id = {case_ids(case): case for case in cases}
        unique = {ids: case for ids, case in by_id.items() if ids not in self._ids}
        self._ids.update(unique)
        self.stats += Stats(pages=1)
        self._stalled_pages = 0 if unique else self._stalled_pages + 1
        check_stability("test cases", stalled_pages=self._stalled_pages, rows_by_id=len(self._ids))
        new = [case for case in unique.values() if self.status is None or case.status == self.status]
        # If a short page comes too early, the server may have hidden some of its rows.
        ends_too_early = self.expected is not None and self.count + len(new) < self.expected
        self.is_complete = not cases or not (is_full or is_cut or ends_too_early)
        if self.max_cases is not None and len(new) > self.max_cases - self.count:
            new = new[: self.max_cases - self.count]
            self.is_complete = False
        self.count += len(new)
        return new
