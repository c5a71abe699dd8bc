"""Decides which pages of a session's test cases to request. No I/O, no clock, no asyncio.

Cases have no number and no documented order, so that no overlap of pages proves anything. The pages are read one after
another, a case is recognised by its ID, and the session says how many cases there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UnstableListingError
from ..models import TestCase, TestStatus
from .server_traits import ServerTraits
from .window import DOCUMENTED_SIZE, Window

_MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new before a list is reported as unstable."""

_MAX_CASES = 1_000_000
"""The number of cases after which a list is reported as unstable: it may never end."""


class CasePlan:
    """Plans the requests of one read: `windows` returns the pages to request, `feed` takes the first of them.

    Attributes:
        is_complete: Whether the list was read to its end.
        count: The number of cases so far.
        duplicates: The number of cases that were dropped because they had been read before.

    Args:
        per_page: The page size to request.
        traits: What is known of the server; updated here.
        read_ahead: The maximum number of pages to request at once.
        status: Only cases with this status are wanted.
        expected: The number of cases, as reported by the session; None if it may still change, or is unknown.
        max_cases: The number of cases wanted; None for all.
    """

    def __init__(
        self,
        *,
        per_page: int,
        traits: ServerTraits,
        read_ahead: int,
        status: TestStatus | None,
        expected: int | None,
        max_cases: int | None,
    ) -> None:
        self.is_complete = False
        self.count = 0
        self.duplicates = 0
        self._per_page = per_page
        self._traits = traits
        self._read_ahead = read_ahead
        self._status = status
        self._expected = expected
        self._max_cases = max_cases
        self._offset = 0  # rows read so far
        self._planned: list[Window] = []
        self._ids: set[str] = set()
        self._stalled_pages = 0
        self._suspects_cap = False  # whether `_per_page` was lowered, and is not yet known to be the server's cap

    def windows(self) -> Sequence[Window]:
        """Return the pages to request now; `feed` takes the page of the first window."""
        if not self._planned:
            size = self._per_page if self._traits.cap is None else min(self._per_page, self._traits.cap)
            self._planned.append(Window(self._offset // size + 1, size))
        wanted = self._expected or 0
        if self._max_cases is not None:
            wanted = min(wanted, self._max_cases)
        while len(self._planned) < self._read_ahead and self._planned[-1].end < wanted:
            self._planned.append(Window(self._planned[-1].page + 1, self._planned[-1].per_page))
        return tuple(self._planned)

    def on_bad_request(self) -> bool:
        """Handle a 400 for the first window; return whether a smaller page is worth a request."""
        if self._planned[0].per_page <= DOCUMENTED_SIZE:
            return False
        self._lower_size(DOCUMENTED_SIZE)
        return True

    def feed(self, cases: Sequence[TestCase]) -> list[TestCase]:
        """Take the cases of the first window, and return the new ones.

        Raises:
            UnstableListingError: Too many pages in a row contained nothing new, or there are more than 1,000,000 cases.
        """
        window, rows = self._planned.pop(0), len(cases)
        # A page that is shorter than a size that the server has honoured is probably the last one. Any other short page
        # may be cut to a size that is not known yet.
        is_short = rows < window.per_page
        is_capped = is_short and rows >= self._traits.known_size
        self._traits.known_size = max(self._traits.known_size, rows)
        if is_capped:
            self._lower_size(rows)
        elif rows and self._suspects_cap:
            self._suspects_cap = False
            self._traits.cap = self._per_page
        # A server that cuts pages to its own size counts offsets by that size, too.
        self._offset = (window.page - 1) * rows + rows if is_capped else window.end
        unique = {case.id: case for case in cases if case.id not in self._ids}
        self._ids.update(unique)
        self.duplicates += rows - len(unique)
        self._check_progress(has_new=bool(unique))
        new = [case for case in unique.values() if self._status is None or case.status == self._status]
        self.count += len(new)
        if self._expected is None:
            self.is_complete = not rows or (is_short and not is_capped)
        else:  # if a short page comes too early, the server may have hidden some of its rows
            self.is_complete = not rows or self.count == self._expected
        return new

    def _lower_size(self, size: int) -> None:
        self._per_page = size
        self._suspects_cap = True
        self._planned.clear()

    def _check_progress(self, *, has_new: bool) -> None:
        self._stalled_pages = 0 if has_new else self._stalled_pages + 1
        if self._stalled_pages > _MAX_STALLED_PAGES:
            raise UnstableListingError(
                f"{_MAX_STALLED_PAGES} pages of test cases in a row contained nothing new: the server returns the same "
                "page again and again; try later"
            )
        if len(self._ids) > _MAX_CASES:
            raise UnstableListingError(f"the list has more than {_MAX_CASES:,} test cases: it may never end")
