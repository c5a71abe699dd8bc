"""Which pages to request next: where they start, how large they are, and how many are requested at once.

All of it is estimated: a wrong estimate costs requests, and never a session, because `Frontier` checks every page.
`ServerTraits` is what the reads of a client have learned about its server.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from attrs import define

_log = logging.getLogger("buddy_sessions")

DOCUMENTED_SIZE = 20
"""The default page size in the API's documentation: every server honours it."""
USUAL_SIZE = 100
"""The page size to request if a larger one is refused."""

_DENSE = 0.75
"""If a smaller share of the `relative_id`s is listed, pages overlap: a `relative_id` that is missing at a page border
looks like a gap, and without a shared row the page is rejected."""

_MAX_OFFSET = 10**9
"""A cursor's offset is a hint, which may be wrong. Servers refuse page numbers that are too high."""


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


@define(eq=False)
class ServerTraits:
    """The page sizes and filters of a server, as a client has learned them. Shared by all its reads."""

    longest_page: int = DOCUMENTED_SIZE  # the number of its rows; every server honours the documented size
    max_size: int | None = None  # of a page, after a larger one was refused
    ignores_branch: bool = False  # sessions of other branches were listed, too


@define(eq=False)
class PageSize:
    """The page size of one read, and how many rows the server counts for each of its pages."""

    per_page: int
    traits: ServerTraits
    cap: int | None = None  # the size to which the server cuts larger pages

    @property
    def value(self) -> int:
        """The page size to request."""
        return self.served(min(self.per_page, self.traits.max_size or self.per_page))

    def served(self, per_page: int) -> int:
        """Return how many rows a full page has."""
        return per_page if self.cap is None else min(per_page, self.cap)

    def start_of(self, window: Window) -> int:
        """Return the offset of the first row of a page. A server that cuts pages counts by its own size."""
        return (window.page - 1) * self.served(window.per_page)

    def end_of(self, window: Window) -> int:
        """Return the offset after a page."""
        return window.page * self.served(window.per_page)

    def note_page(self, window: Window, rows: int) -> bool:
        """Remember how long a page was. Return whether it has as many rows as requested, so that more may follow."""
        self.traits.longest_page = max(self.traits.longest_page, rows)
        return rows >= self.served(window.per_page)

    def learn_cap(self, rows: int) -> None:
        """Learn that the server has cut a page to so many rows, unless it has shown longer ones."""
        if self.may_be_cut(rows):
            self.cap = rows

    def may_be_cut(self, rows: int) -> bool:
        """Return whether the server may have cut a page that is not full: none was longer, and it has 20 rows."""
        return rows >= self.traits.longest_page

    def refuse(self, window: Window) -> bool:
        """Handle a 400 for a window; return whether a smaller page is worth a request."""
        if window.per_page <= DOCUMENTED_SIZE:
            self.traits.max_size = None  # the 400 has another cause
            return False
        smaller = USUAL_SIZE if window.per_page > USUAL_SIZE else DOCUMENTED_SIZE
        if self.traits.max_size is None or smaller < self.traits.max_size:
            _log.warning("the server refuses pages of %d rows: %d are requested", window.per_page, smaller)
            self.traits.max_size = smaller
        return True


class Pacing:
    """Where a read goes on: at `offset`, with pages that overlap the frontier by `overlap` rows, `read_ahead` at once.

    For example, after 40 rows, with an overlap of 1 and pages of up to 20 rows: page 3 with 19 rows, of which the first
    two were already read. To overlap, pages of up to 20 rows are requested even if `page_size` is smaller.
    """

    def __init__(self, per_page: int, traits: ServerTraits, *, offset: int | None, max_read_ahead: int) -> None:
        self.page_size = PageSize(per_page, traits)
        self.offset = min(offset or 0, _MAX_OFFSET)  # after the last page, or an estimate after rows were skipped
        self.overlap = 0 if offset is None else 1
        self._frontier_offset = self.offset  # after the last accepted page
        self._max_read_ahead = max_read_ahead
        self._full_pages = 0  # in succession
        self._density = 1.0  # on the last accepted page, the share of the `relative_id`s that are listed

    @property
    def read_ahead(self) -> int:
        """How many pages to request at once: 1, 2, 4, … while pages are full."""
        return min(1 << min(self._full_pages, 10), self._max_read_ahead)

    def window_at(self, offset: int) -> Window:
        """Return the window that contains the rows from `offset - overlap`, as far down as possible."""
        # To overlap and still reach a new row, a window needs a size that does not divide the offset. Some size up to
        # 20 does not divide it.
        size = self.page_size.value
        return Window.covering(max(offset - self.overlap, 0), max(size, DOCUMENTED_SIZE) if self.overlap else size)

    def unordered_window(self) -> Window:
        """Return the page with the next row, of at least 20 rows: without an order, an overlap proves nothing."""
        size = max(self.page_size.value, DOCUMENTED_SIZE)
        return Window(self.offset // size + 1, size)

    def expected_end(self, max_id: int, remaining: float) -> float:
        """Return the offset of the probable end: after `max_id` more `relative_id`s, or `remaining` sessions."""
        return self.offset + min(max_id * self._density, remaining)

    def on_accepted(self, window: Window, relative_ids: Sequence[int], *, is_full: bool) -> None:
        count = len(relative_ids)
        self.go_on_after(window)
        self._frontier_offset = self.offset
        if count > 1:
            self._density = count / (relative_ids[0] - relative_ids[-1] + 1)
        self._full_pages = self._full_pages + 1 if is_full else 0
        self.overlap = int(self._density <= _DENSE)

    def go_on_after(self, window: Window) -> None:
        self.offset = self.page_size.end_of(window)

    def restart(self) -> None:
        """Request one page at once, and then more again."""
        self._full_pages = 0

    def skip_ahead(self, distance: int) -> None:
        """Skip the rows of `distance` ids: a page had only rows above the frontier, so the list has grown."""
        self.offset += int(distance * self._density)
        self.overlap = 1

    def step_back(self, window: Window) -> Window:
        """Return the window to request after a page with a gap above it: farther up each time.

        After rows were skipped, it is half as far.
        """
        self.restart()
        start = self.page_size.start_of(window)
        if self.offset > self._frontier_offset:
            self.offset = max(self._frontier_offset, (self._frontier_offset + start) // 2)
            self.overlap = 1
        else:
            half = max(self.page_size.value, DOCUMENTED_SIZE) // 2
            farther = max(self.overlap * 4, 4), half
            self.overlap = min(overlap for overlap in farther if overlap > self.overlap)
        return self.window_at(self.offset)


@define(eq=False)
class RequestSlots:
    """The requests that several reads may send at once, shared between them.

    Each read has a slot for the page that it needs next, whether it uses it or not. A page is requested in advance only
    if a slot is idle, so it delays no other read.
    """

    total: int  # the maximum number of requests at once
    reads: int = 0
    pages_ahead: int = 0  # that the reads have requested in advance, and not used yet

    @property
    def idle(self) -> int:
        """The number of slots for more pages in advance. Negative if more reads were started than there are slots."""
        return self.total - self.reads - self.pages_ahead
