"""`Window`: one page request."""

from __future__ import annotations

from typing import NamedTuple

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
