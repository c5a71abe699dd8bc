"""How many pages of one list to request at once."""

from __future__ import annotations


class ReadAhead:
    """The number of pages to request at once: it grows by one after a useful page, and is halved after any other.

    Attributes:
        size: The number of pages to request at once, at least 1.

    Args:
        maximum: The largest size.
        start: The first size.
        delay: The number of useful pages before it starts to grow.
    """

    def __init__(self, maximum: int, *, start: int, delay: int = 0) -> None:
        self.size = start
        self._maximum = maximum
        self._delay = delay

    def grow(self) -> None:
        """Request one page more: the last page contained mostly new rows."""
        if self._delay:
            self._delay -= 1
        else:
            self.size = min(self.size + 1, self._maximum)

    def shrink(self) -> None:
        """Request half as many pages: the last page was rejected, or contained mostly known rows."""
        self.size = max(self.size // 2, 1)

    def reset(self) -> None:
        """Request one page at a time: the pages that were planned are outdated."""
        self.size = 1
