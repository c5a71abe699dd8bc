"""`Window`: one page request; and what the reads of a client have learned about the pages of its server."""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import NamedTuple

_log = logging.getLogger("buddy_sessions")

DOCUMENTED_SIZE = 20
"""The default page size in the API's documentation: every server honours it."""


class Window(NamedTuple):
    """One page request."""

    page: int
    per_page: int

    @property
    def start(self) -> int:
        """The offset of its first row."""
        return (self.page - 1) * self.per_page

    @property
    def end(self) -> int:
        """The offset after its last row."""
        return self.page * self.per_page

    @classmethod
    def covering(cls, offset: int, max_size: int) -> Window:
        """Return the window that contains `offset` and ends as far down as possible, with at most `max_size` rows.

        A window starts at a multiple of its size, so a smaller one may end farther down.
        """
        if offset % max_size == 0:
            return cls(offset // max_size + 1, max_size)
        best, size = cls(offset + 1, 1), max_size
        while offset + size > best.end:  # this size, or a smaller one, may still end farther down
            best = max(best, cls(offset // size + 1, size), key=lambda window: window.end)
            size -= 1
        return best

    @classmethod
    def around(cls, offset: int, max_size: int) -> Window:
        """Return the window that contains the rows before and at `offset`, as far as possible from its borders."""
        windows = [cls(max(offset - 1, 0) // size + 1, size) for size in range(1, max_size + 1)]
        return max(windows, key=lambda window: (min(offset - window.start, window.end - offset), window.per_page))


class PageLength(Enum):
    """What the number of rows on a page says about the end of the list."""

    FULL = auto()
    """As many rows as requested: more may follow."""
    SHORT = auto()
    """Fewer rows than requested, and than the longest page so far: usually the end."""
    CUT = auto()
    """Fewer rows than requested: either the end, or the server has cut the page."""


class ServerLimits:
    """What a client has learned about the pages of its server. Shared by all reads of the client."""

    def __init__(self) -> None:
        self.longest_page = DOCUMENTED_SIZE  # the number of its rows; every server honours the documented size
        self.max_size: int | None = None  # of a page, after a larger one was refused
        self.rows_follow_short_pages = False
        self._has_checked = {False: False, True: False}  # a short end of a list without, and with a filter

    def trusts_short_pages(self, *, is_filtered: bool) -> bool:
        """Return whether a short page is the end of a list."""
        return self._has_checked[is_filtered] and not self.rows_follow_short_pages

    def trust_short_pages(self, *, is_filtered: bool) -> None:
        """Trust short pages from now on: the page after one was empty."""
        self._has_checked[is_filtered] = True

    def distrust_short_pages(self) -> None:
        """Trust short pages no more: rows have followed one."""
        if not self.rows_follow_short_pages:
            self.rows_follow_short_pages = True
            _log.warning("a list goes on after a short page: the end of each list takes more requests from now on")


class PageSize:
    """The page size of one read, and how many rows the server counts for each of its pages."""

    def __init__(self, per_page: int, limits: ServerLimits) -> None:
        self._per_page = per_page
        self._limits = limits
        self._cap: int | None = None  # the size to which the server cuts larger pages
        self._cut_rows = 0  # of the last page that may have been cut
        self._is_refused = False

    @property
    def value(self) -> int:
        """The page size to request."""
        return self._served(min(self._per_page, self._limits.max_size or self._per_page))

    def start_of(self, window: Window) -> int:
        """Return the offset of the first row of a page. A server that cuts pages counts by its own size."""
        return (window.page - 1) * self._served(window.per_page)

    def end_of(self, window: Window) -> int:
        """Return the offset after a page."""
        return window.page * self._served(window.per_page)

    def classify(self, window: Window, rows: int) -> PageLength:
        """Return what the number of rows on a page says. Two pages that may have been cut, equally long, show a cap."""
        longest_page = self._limits.longest_page
        self._limits.longest_page = max(longest_page, rows)
        if self._served(window.per_page) > rows >= longest_page:
            if rows == self._cut_rows:
                self.assume_cap(rows)
            self._cut_rows = rows
        if rows >= self._served(window.per_page):
            return PageLength.FULL
        return PageLength.SHORT if rows < longest_page else PageLength.CUT

    def assume_cap(self, rows: int) -> None:
        """Request no larger pages in this read."""
        self._cap = rows

    def refuse(self, window: Window) -> bool:
        """Handle a 400 for a window; return whether a smaller page is worth a request."""
        if window.per_page <= DOCUMENTED_SIZE:
            return False
        self._is_refused = True
        self._per_page = DOCUMENTED_SIZE
        return True

    def confirm(self) -> None:
        """Take a page: if a larger one was refused, the client remembers this size."""
        if self._is_refused:
            self._limits.max_size = self._per_page

    def _served(self, per_page: int) -> int:
        # If rows are hidden, two pages may have the same length by chance.
        if self._cap is None or self._limits.rows_follow_short_pages:
            return per_page
        return min(per_page, self._cap)
