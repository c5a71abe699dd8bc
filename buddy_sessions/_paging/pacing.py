"""`Pacing`: where the next pages start, how large they are, and how many are requested at once.

All of it is estimated: a wrong estimate costs requests, and never a session, because `Frontier` checks every page.
"""

from __future__ import annotations

from collections.abc import Sequence

from .window import DOCUMENTED_SIZE, PageSize, ServerLimits, Window

_DENSE = 0.75
"""If a smaller share of the `relative_id`s exists, pages overlap by one row: a `relative_id` that is missing at a page
border looks like a gap, and without a shared row the page is rejected."""


class Pacing:
    """Where a read goes on: at `offset`, with pages that overlap the frontier by `overlap` rows, `read_ahead` at once.

    For example, after 40 rows, with an overlap of 1 and pages of up to 20 rows: page 3 with 19 rows, of which the first
    two are known. To overlap, pages of up to 20 rows are requested even if `page_size` is smaller.

    `read_ahead` grows by one after a page with mostly new rows, and is halved after any other. It starts at 1 if the
    last list ended above `relative_id` 1, because the next one may do so, too.
    """

    def __init__(
        self, per_page: int, limits: ServerLimits, *, offset: int, overlap: int, read_ahead: int, max_read_ahead: int
    ) -> None:
        self.page_size = PageSize(per_page, limits)
        self.offset = offset  # of the frontier, or an estimate after rows were skipped
        self.overlap = overlap
        self.read_ahead = read_ahead if limits.retained_rows is None else 1
        self._max_read_ahead = max_read_ahead
        self._limits = limits
        self._density = 1.0  # on the last accepted page, the share of the `relative_id`s that exist

    @property
    def is_sparse(self) -> bool:
        """Whether many `relative_id`s are not listed: if a list is that of one branch, for example."""
        return self._density <= _DENSE

    def window_at(self, offset: int) -> Window:
        """Return the window that contains the rows from `offset - overlap`, as far down as possible."""
        # To overlap and still reach a new row, a window needs a size that does not divide the offset. Some size up to
        # 20 does not divide it.
        size = self.page_size.value
        return Window.covering(max(offset - self.overlap, 0), max(size, DOCUMENTED_SIZE) if self.overlap else size)

    def unordered_window(self) -> Window:
        """Return the page with the next row: without an order, an overlap proves nothing."""
        return Window(self.offset // self.page_size.value + 1, self.page_size.value)

    def expected_end(self, max_id: int, remaining: float) -> float:
        """Return the offset of the probable end: after `max_id` more `relative_id`s, or `remaining` sessions."""
        rows = min(max_id * self._density, remaining)
        retained = self._limits.retained_rows
        return self.offset + (rows if retained is None or self.offset > retained else min(rows, retained - self.offset))

    def on_accepted(self, relative_ids: Sequence[int], known: int, offset: int) -> None:
        """Go on after an accepted page that ends at `offset`: after its new rows, or farther down if it has none."""
        count = len(relative_ids)
        self.offset = offset
        if count > 1:
            self._density = count / (relative_ids[0] - relative_ids[-1] + 1)
        if known == count:
            return
        may_be_end = offset == self._limits.retained_rows  # and an empty page would prove nothing
        self.overlap = 1 if may_be_end or self.is_sparse or not self._limits.trusts_short_pages else 0
        if known * 2 < count:
            self.read_ahead = min(self.read_ahead + 1, self._max_read_ahead)
        else:
            self._halve_read_ahead()
        self.page_size.confirm()

    def skip_ahead(self, distance: int) -> None:
        """Skip the rows of `distance` ids: a page had only rows above the frontier, so the list has grown."""
        self.offset += int(distance * self._density)
        self.overlap = 1
        self.page_size.limit(self._limits.known_size)  # a server with a lower cap would count another offset

    def step_back(self, window: Window, frontier_offset: int) -> None:
        """Go back after a page that has a gap above it: farther each time, or by half of the rows that were skipped."""
        self._halve_read_ahead()
        if self.offset > frontier_offset:
            self.offset = max(frontier_offset, (frontier_offset + window.start) // 2)
            self.overlap = 1
        else:
            self.overlap = max(self.overlap * 4, 1)

    def _halve_read_ahead(self) -> None:
        self.read_ahead = max(self.read_ahead // 2, 1)
