"""Decides which pages of a session's test cases to request. No I/O, no clock, no asyncio.

Cases have no number and no documented order, so that no overlap of pages proves anything. The pages are read one after
another, a case is recognised by its ID, and the session says how many cases there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UnstableListingError
from ..models import TestCase, TestStatus
from .server_limits import PageLength, PageSize, ServerLimits
from .window import Window

_MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new before a list is reported as unstable."""

_MAX_CASES = 1_000_000
"""The number of cases after which a list is reported as unstable: it may never end."""


class CasePlan:
    """Plans the requests of one read: `windows` returns the pages to request, `accept_page` takes the first of them.

    Attributes:
        is_complete: Whether the list was read to its end.
        count: The number of cases so far.
        duplicates: The number of cases that were dropped because they had been read before.

    Args:
        per_page: The page size to request.
        limits: What is known of the server; updated here.
        read_ahead: The maximum number of pages to request at once.
        status: Only cases with this status are wanted.
        expected: The number of cases, as reported by the session; None if it may still change, or is unknown.
        max_cases: The number of cases wanted; None for all.
    """

    def __init__(
        self,
        *,
        per_page: int,
        limits: ServerLimits,
        read_ahead: int,
        status: TestStatus | None,
        expected: int | None,
        max_cases: int | None,
    ) -> None:
        self.is_complete = False
        self.count = 0
        self.duplicates = 0
        self._page_size = PageSize(per_page, limits)
        self._limits = limits
        self._read_ahead = read_ahead
        self._status = status
        self._expected = expected
        self._max_cases = max_cases
        self._offset = 0  # rows read so far
        self._planned: list[Window] = []
        self._ids: set[str] = set()
        self._stalled_pages = 0

    def windows(self) -> Sequence[Window]:
        """Return the pages to request now; `accept_page` takes the page of the first window."""
        if not self._planned:
            size = self._page_size.value
            self._planned.append(Window(self._offset // size + 1, size))
        wanted = self._expected or 0
        if self._max_cases is not None:
            wanted = min(wanted, self._max_cases)
        while len(self._planned) < self._read_ahead and self._planned[-1].end < wanted:
            self._planned.append(Window(self._planned[-1].page + 1, self._planned[-1].per_page))
        return tuple(self._planned)

    def on_bad_request(self) -> bool:
        """Handle a 400 for the first window; return whether a smaller page is worth a request."""
        if not self._page_size.refuse(self._planned[0]):
            return False
        self._planned.clear()
        return True

    def accept_page(self, cases: Sequence[TestCase]) -> list[TestCase]:
        """Take the cases of the first window, and return the new ones.

        Raises:
            UnstableListingError: Too many pages in a row contained nothing new, or there are more than 1,000,000 cases.
        """
        window, rows = self._planned.pop(0), len(cases)
        length = self._limits.classify(window, rows)
        is_capped = length is PageLength.UNKNOWN
        if is_capped:
            self._page_size.lower(rows)
            self._planned.clear()
        elif rows:
            self._page_size.confirm()
        # A server that cuts pages to its own size counts offsets by that size, too.
        self._offset = (window.page - 1) * rows + rows if is_capped else window.end
        unique = {case.id: case for case in cases if case.id not in self._ids}
        self._ids.update(unique)
        self.duplicates += rows - len(unique)
        self._check_progress(has_new=bool(unique))
        new = [case for case in unique.values() if self._status is None or case.status == self._status]
        self.count += len(new)
        if self._expected is None:
            self.is_complete = not rows or length is PageLength.END
        else:  # if a short page comes too early, the server may have hidden some of its rows
            self.is_complete = not rows or self.count == self._expected
        return new

    def _check_progress(self, *, has_new: bool) -> None:
        self._stalled_pages = 0 if has_new else self._stalled_pages + 1
        if self._stalled_pages > _MAX_STALLED_PAGES:
            raise UnstableListingError(
                f"{_MAX_STALLED_PAGES} pages of test cases in a row contained nothing new: the server returns the same "
                "page again and again; try later"
            )
        if len(self._ids) > _MAX_CASES:
            raise UnstableListingError(f"the list has more than {_MAX_CASES:,} test cases: it may never end")
