"""`Pacing`: where the next pages start, how large they are, and how many are requested at once.

All of it is estimated: a wrong estimate costs requests, and never a session, because `Frontier` checks every page.
"""

from __future__ import annotations

from collections.abc import Sequence

from .window import DOCUMENTED_SIZE, PageSize, ServerLimits, Window

_DENSE = 0.75
"""If a smaller share of the `relative_id`s is listed, pages overlap: a `relative_id` that is missing at a page border
looks like a gap, and without a shared row the page is rejected."""

_MAX_OFFSET = 10**9
"""A cursor's offset is a hint, which may be wrong. Servers refuse page numbers that are too high."""


class Pacing:
    """Where a read goes on: at `offset`, with pages that overlap the frontier by `overlap` rows, `read_ahead` at once.

    For example, after 40 rows, with an overlap of 1 and pages of up to 20 rows: page 3 with 19 rows, of which the first
    two are known. To overlap, pages of up to 20 rows are requested even if `page_size` is smaller.
    """

    def __init__(self, per_page: int, limits: ServerLimits, *, offset: int | None, max_read_ahead: int) -> None:
        self.page_size = PageSize(per_page, limits)
        self.offset = min(offset or 0, _MAX_OFFSET)  # after the last page, or an estimate after rows were skipped
        self.overlap = 0 if offset is None else 1
        self._frontier_offset = self.offset  # after the last accepted page
        self._max_read_ahead = max_read_ahead
        self._full_pages = 0  # in succession
        self._missing = 0  # rows on the last accepted page, which the server may have hidden
        self._density = 1.0  # on the last accepted page, the share of the `relative_id`s that are listed

    @property
    def read_ahead(self) -> int:
        """How many pages to request at once: 1, 1, 2, 4, … while pages are full."""
        return min(1 << max(self._full_pages - 1, 0), self._max_read_ahead)

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

    def on_accepted(self, window: Window, relative_ids: Sequence[int], known: int, *, is_full: bool) -> None:
        """Go on after an accepted page."""
        count = len(relative_ids)
        self.go_on_after(window)
        self._frontier_offset = self.offset
        if count > 1:
            self._density = count / (relative_ids[0] - relative_ids[-1] + 1)
        self._missing = self.offset - self.page_size.start_of(window) - count
        self._full_pages = self._full_pages + 1 if is_full and known * 2 < count else 0
        if known == count:
            return
        self.overlap = 0
        if self._density <= _DENSE:  # by two listed rows, as far as half a page has them
            self.overlap = max(min(-(-2 * window.per_page // count) - 1, window.per_page // 2), 1)
        self.page_size.confirm()

    def go_on_after(self, window: Window) -> None:
        """Go on after a page that may have no rows."""
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
        if start < window.start:  # the page has shown a cap, by which the server counts offsets
            self.offset = self._frontier_offset = start
        if self.offset > self._frontier_offset:
            self.offset = max(self._frontier_offset, (self._frontier_offset + start) // 2)
            self.overlap = 1
        else:
            half = max(self.page_size.value, DOCUMENTED_SIZE) // 2
            farther = max(self.overlap * 4, 4), half, self._missing + 1
            self.overlap = min(overlap for overlap in farther if overlap > self.overlap)
        return self.window_at(self.offset)
